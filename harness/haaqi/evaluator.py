"""HAAQI under the protocol of the ICASSP 2024 Cadenza challenge.

Follows `recipes/cad_icassp_2024/baseline/evaluate.py` of pyclarity step by step. For each scene-listener pair:
reference mixture = true stems with the target gains, at the loudness of the mixture; per ear, NAL-R on the
reference; both signals at 24 kHz; NumPy's global generator seeded once per pair from the scene's name, then the left
ear, then the right ear: HAAQI adds noise from that generator, so the seed and this order are part of the protocol.

HAAQI: Kates & Arehart, "The Hearing-Aid Audio Quality Index (HAAQI)", IEEE/ACM TASLP 24(2), 2016.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.challenge import EARS, PROTOCOL, Gains
from harness.enhancement import Signal, amplify_ear, remix
from harness.errors import EvaluatorError
from harness.hearing import Audiogram, Listener

EngineName = Literal["locked", "fast", "fast64"]
"""What computes scores: the locked evaluator; the fast engine; that one with everything in double precision."""

ENGINES: tuple[EngineName, ...] = ("locked", "fast", "fast64")


@dataclass(frozen=True)
class Score:
    """HAAQI of one scene-listener pair: 0 (worst) to 1 (identical to the reference).

    Attributes:
        left, right: of each ear; where stems are scored, the mean over those of that ear.
        stems: of each stem by its name, "left_drums" and so on, where the protocol scores stems.
        in_double: parts, "left", "right" or names of stems, that the fast engine computed in double precision.
        margin: how close the closest decision of the fast engine was that single precision made, as a multiple of what
            it can decide (`harness.haaqi.fast.result`): 1 or more. None if it made none.
        closest: the part in which that was.
        draws: of each part that the fast engine computed, how many random numbers HAAQI draws for it.
    """

    left: float
    right: float
    stems: Mapping[str, float] | None = field(default=None, hash=False)
    in_double: frozenset[str] = field(default=frozenset(), compare=False)
    margin: float | None = field(default=None, compare=False)
    closest: str | None = field(default=None, compare=False)
    draws: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def mean(self) -> float:
        """Mean of both ears, the pair's score."""
        return float(np.mean([self.left, self.right]))

    @property
    def parts(self) -> dict[str, float]:
        """What was scored by itself, in the order of its random numbers: the stems, where they are scored, or ears."""
        return dict(self.stems) if self.stems else {"left": self.left, "right": self.right}

    def drawn_before(self, part: str) -> int | None:
        """How many random numbers HAAQI draws before a part; None if the fast engine did not compute all of it."""
        names = list(self.parts)
        before = names[: names.index(part)]
        return sum(self.draws[name] for name in before) if all(name in self.draws for name in before) else None


def reference_mixture(stems: Mapping[str, Signal], mixture: Signal, gains: Gains) -> Signal:
    """The mixture that the listener should have heard: (samples, 2) at 44.1 kHz, before NAL-R.

    It is the same for all listeners of a scene.
    """
    return remix(stems, gains, mixture)


def score_pair(scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener) -> Score:
    """Score one submitted remix.

    Args:
        scene_id: name of the scene; seeds the noise.
        reference: `reference_mixture` of the scene, (samples, 2) at 44.1 kHz.
        processed: the submitted remix as read from its FLAC, (samples, 2) at 32 kHz, float32 (the recipe reads
            and resamples it in single precision), full scale +-1. HAAQI cuts the longer of the two signals.
        listener: the audiograms of both ears.

    Raises:
        EvaluatorError: a silent reference, or HAAQI fails or gives no number from 0 to 1.
    """
    with seeded(PROTOCOL.seed(scene_id)):
        left = _score_ear("left", reference[:, 0], processed[:, 0], listener.left)
        right = _score_ear("right", reference[:, 1], processed[:, 1], listener.right)
    return Score(left, right)


def score_ear(
    ear: str,
    scene_id: str,
    reference: Signal,
    processed: NDArray[np.float32],
    listener: Listener,
    drawn: int,
    compute: Callable[..., float] | None = None,
) -> float:
    """Score one ear of a submitted remix: the number that `score_pair` gives for it, without the other ear's work.

    Args:
        ear: "left" or "right".
        scene_id, reference, processed, listener: as for `score_pair`.
        drawn: how many random numbers the pair's earlier ear draws (`Score.drawn_before`).
        compute: in place of pyclarity's `compute_haaqi`, with the same arguments and draws.

    Raises:
        EvaluatorError: as `score_pair`.
    """
    channel = EARS.index(ear)
    with seeded(PROTOCOL.seed(scene_id), drawn):
        return _score_ear(ear, reference[:, channel], processed[:, channel], getattr(listener, ear), compute)


DRAWN_AT_ONCE = 2**18


@contextmanager
def seeded(seed: int, drawn: int = 0) -> Iterator[None]:
    """Seed NumPy's global generator, from which HAAQI draws, and leave it as it was found.

    Args:
        seed: the seed.
        drawn: how many normal numbers are taken from it first: those of what is scored before.
    """
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        for start in range(0, drawn, DRAWN_AT_ONCE):
            np.random.standard_normal(min(DRAWN_AT_ONCE, drawn - start))
        yield
    finally:
        np.random.set_state(state)


@dataclass(frozen=True)
class EarSignals:
    """What HAAQI compares for one ear.

    Attributes:
        reference: with NAL-R, (samples,) at 24 kHz, float64.
        processed: (samples,) at 24 kHz, float32.
        level1: level in dB SPL of a signal whose root mean square is 1.
    """

    reference: Signal
    processed: NDArray[np.float32]
    level1: float


def ear_signals(ear: str, reference: Signal, processed: NDArray[np.float32], audiogram: Audiogram) -> EarSignals:
    """Bring one ear's channels into the form that HAAQI takes; the arguments are channels of those of `score_pair`.

    Raises:
        EvaluatorError: the reference is silent.
    """
    level1 = level_of(ear, reference)
    amplified = amplify_ear(reference, audiogram)
    return EarSignals(
        resampled(amplified, PROTOCOL.sample_rate), resampled(processed, PROTOCOL.remix_sample_rate), level1
    )


def level_of(ear: str, reference: Signal) -> float:
    """`EarSignals.level1` for a reference before NAL-R. Raises EvaluatorError if it is silent."""
    from clarity.utils.signal_processing import compute_rms

    rms = compute_rms(reference)
    if not rms > 0:
        raise EvaluatorError(f"the reference of the {ear} ear is silent: HAAQI is not defined for it")
    level: np.float64 = PROTOCOL.haaqi_level_db - 20 * np.log10(rms)
    return level


def resampled(signal: Any, rate: int) -> Any:
    """A signal of some rate, (samples,), at HAAQI's; it keeps its precision."""
    import soxr

    return soxr.resample(signal, rate, PROTOCOL.haaqi_sample_rate, quality="HQ")


def part_named(ear: str, stem: str = "") -> str:
    """What is scored by itself, in words: an ear, or a stem of it."""
    return f"the {stem} of the {ear} ear" if stem else f"the {ear} ear"


@contextmanager
def failures_named(ear: str, stem: str = "") -> Iterator[None]:
    """Turn whatever HAAQI fails with on an ear, or on a stem of it, into an EvaluatorError.

    It fails in several ways on signals with next to nothing in them (a lone click, say). One such pair must not end a
    run of thousands. What it logs of signals below the threshold of hearing, its score says too.
    """
    logger = logging.getLogger("clarity")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # A silent processed channel has it take the logarithm of zero, which it handles.
        with np.errstate(divide="ignore", invalid="ignore"):
            yield
    except EvaluatorError:
        raise
    except Exception as error:
        if _is_interrupt(error):
            raise KeyboardInterrupt from error
        raise EvaluatorError(f"HAAQI fails on {part_named(ear, stem)} ({type(error).__name__}: {error})") from error
    finally:
        logger.setLevel(level)


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: if it comes while compiled code runs, numba makes a SystemError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def checked(ear: str, score: float, stem: str = "") -> float:
    """The score, if it is one. Raises EvaluatorError if it is not a number from 0 to 1."""
    if not 0.0 <= score <= 1.0:
        raise EvaluatorError(f"HAAQI of {part_named(ear, stem)} is {score}, not a number from 0 to 1")
    return float(score)


def _score_ear(
    ear: str,
    reference: Signal,
    processed: NDArray[np.float32],
    audiogram: Audiogram,
    compute: Callable[..., float] | None = None,
) -> float:
    from clarity.evaluator.haaqi import compute_haaqi

    signals = ear_signals(ear, reference, processed, audiogram)
    rate = PROTOCOL.haaqi_sample_rate
    with failures_named(ear):
        score = (compute or compute_haaqi)(
            processed_signal=signals.processed,
            reference_signal=signals.reference,
            processed_sample_rate=rate,
            reference_sample_rate=rate,
            audiogram=audiogram.for_pyclarity(),
            equalisation=PROTOCOL.haaqi_equalisation,
            level1=signals.level1,
        )
    return checked(ear, score)
