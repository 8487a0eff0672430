"""A second engine for HAAQI, for the same number in a fraction of the time.

It follows the reference implementation (pyclarity's `haaqi_v1` and `ear_model`, written by Kates) stage by stage, in
the order of `single.engine`. What makes it fast: single precision; bands side by side in SIMD registers; stages fused
where the memory would limit them; correlations only for the delays and lags that can matter; noise drawn by vectors,
once for all listeners of a scene; and the reference's share of the work kept for the next submission.

Where single precision cannot decide (`result.Result.certain`), an ear is computed again in double precision, by
`double.engine`. That engine can also be had by itself, which takes three times as long.

Both are believed only as far as they agree with the locked evaluator: `harness evaluator verify --engine fast` compares
them, and so does every run, on a sample of its pairs. Signals that are too odd for them (shorter than 0.25 s, silent,
not finite, not one channel of floating point numbers, absurdly loud or soft) go to the locked evaluator, so that they
get its scores and its errors.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.enhancement import Signal
from harness.haaqi.evaluator import Score
from harness.haaqi.fast.sources import sources_sha256
from harness.hearing import Listener
from harness.startup import uncollected

if TYPE_CHECKING:
    from clarity.utils.audiogram import Audiogram as ClarityAudiogram

__all__ = ["compute_haaqi", "forget", "in_double_precision", "score_pair", "sources_sha256"]

# The stages are imported when they are needed: numba and scipy.signal take seconds, and whoever only asks for the hash
# of the sources need not wait for them.


def score_pair(
    scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener, *, in_double: bool = False
) -> Score:
    """Score one submitted remix: arguments, result and errors are those of `harness.haaqi.evaluator.score_pair`.

    Fastest if called scene by scene, within a scene listener by listener: the process keeps the last scene's noise and
    the reference's share of the work for a listener that comes again. Not for several threads at once.

    Args:
        in_double: whether all is computed in double precision.
    """
    with uncollected():
        from harness.haaqi.fast import pairs

    return pairs.score_pair(scene_id, reference, processed, listener, in_double=in_double)


def forget() -> None:
    """Give back the memory of what is kept for the next pair: before the locked evaluator takes as much, say."""
    pairs = sys.modules.get(f"{__name__}.pairs")
    if pairs is not None:
        pairs.forget()


def compute_haaqi(
    processed_signal: NDArray[Any],
    reference_signal: NDArray[Any],
    processed_sample_rate: float,
    reference_sample_rate: float,
    audiogram: "ClarityAudiogram",
    equalisation: int = 1,
    level1: float = 65.0,
) -> float:
    """In place of pyclarity's function of this name: same arguments, same random draws, same errors, same result.

    The random numbers come from NumPy's global generator.
    """
    with uncollected():
        from harness.haaqi.fast import pairs

    return pairs.HaaqiFunction()(
        processed_signal, reference_signal, processed_sample_rate, reference_sample_rate,
        audiogram, equalisation, level1,
    )  # fmt: skip


def in_double_precision() -> Callable[..., float]:
    """`compute_haaqi` with everything in double precision."""
    from harness.haaqi.fast import pairs

    return pairs.HaaqiFunction(in_double=True)
