"""HAAQI under the protocol of the first Cadenza challenge, task 1: eight stems, each against the true one.

Follows `recipes/cad1/task1/baseline/evaluate.py` of pyclarity at the tag v0.3.4 step by step. For each song and
listener: NumPy's global generator is seeded once from the song's name; then drums, bass, other and vocals, of each the
left ear, then the right ear. The reference is the true stem at 24 kHz, to which HAAQI itself applies NAL-R; its level
is set from its root mean square at 24 kHz. The pair's score is the mean of the eight.

HAAQI: Kates & Arehart, "The Hearing-Aid Audio Quality Index (HAAQI)", IEEE/ACM TASLP 24(2), 2016.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from harness.challenge import CAD1, EARS
from harness.enhancement import Signal
from harness.errors import EvaluatorError
from harness.haaqi.evaluator import Score, checked, failures_named, seeded
from harness.hearing import Listener

Stems = Mapping[str, NDArray[np.float32]]
"""Eight mono stems at 24 kHz by the names in `CAD1.signals`, each (samples,), full scale +-1."""


def reference_stems(stems: Mapping[str, Signal]) -> Stems:
    """What a song's submissions are compared with; it is the same for all listeners.

    Args:
        stems: the true stems by name, each (samples, 2) at 44.1 kHz.
    """
    import soxr

    found = {}
    for stem in CAD1.score_order:
        # Both channels at once and in single precision, as the recipe does it.
        resampled = soxr.resample(
            stems[stem].astype(np.float32), CAD1.sample_rate, CAD1.haaqi_sample_rate, quality="HQ"
        )
        for channel, ear in enumerate(EARS):
            found[f"{ear}_{stem}"] = resampled[:, channel]
    return found


def score_stems(
    song: str, references: Stems, processed: Stems, listener: Listener, compute: Callable[..., float] | None = None
) -> Score:
    """Score the eight stems of one song for one listener.

    Args:
        song: its name; seeds the noise.
        references: `reference_stems` of the song.
        processed: the submitted stems, scale factors applied. HAAQI cuts the longer of two signals.
        listener: the audiograms of both ears.
        compute: in place of pyclarity's `compute_haaqi`, with the same arguments and draws.

    Raises:
        EvaluatorError: a true stem is silent, or HAAQI fails or gives no number from 0 to 1.
    """
    levels = {name: _level(name, references) for name in CAD1.signals}
    with seeded(CAD1.seed(song)):
        found = {
            name: _score_one(name, references, processed, listener, levels[name], compute) for name in CAD1.signals
        }
    left, right = (float(np.mean([found[f"{ear}_{stem}"] for stem in CAD1.score_order])) for ear in EARS)
    return Score(left, right, found)


def score_stem(
    name: str,
    song: str,
    references: Stems,
    processed: Stems,
    listener: Listener,
    drawn: int,
    compute: Callable[..., float] | None = None,
) -> float:
    """Score one stem of one song for one listener: the number that `score_stems` gives for it, without the others.

    Args:
        name: one of `CAD1.signals`.
        song, references, processed, listener, compute: as for `score_stems`.
        drawn: how many random numbers the earlier stems draw (`Score.drawn_before`).

    Raises:
        EvaluatorError: as `score_stems`, for this stem.
    """
    with seeded(CAD1.seed(song), drawn):
        return _score_one(name, references, processed, listener, _level(name, references), compute)


def _level(name: str, references: Stems) -> float:
    """`level_of` a true stem. Raises EvaluatorError if it is silent."""
    level = level_of(references[name])
    if not np.isfinite(level):
        ear, _, stem = name.partition("_")
        raise EvaluatorError(f"the true {stem} of the {ear} ear is silent: HAAQI is not defined for it")
    return level


def _score_one(
    name: str,
    references: Stems,
    processed: Stems,
    listener: Listener,
    level: float,
    compute: Callable[..., float] | None,
) -> float:
    from clarity.evaluator.haaqi import compute_haaqi

    ear, _, stem = name.partition("_")
    with failures_named(ear, stem):
        score = (compute or compute_haaqi)(
            processed_signal=processed[name],
            reference_signal=references[name],
            processed_sample_rate=CAD1.stem_sample_rate,
            reference_sample_rate=CAD1.haaqi_sample_rate,
            audiogram=getattr(listener, ear).for_pyclarity(),
            equalisation=CAD1.haaqi_equalisation,
            level1=level,
        )
    return checked(ear, score, stem)


def score_stems_fast(
    song: str, references: Stems, processed: Stems, listener: Listener, *, in_double: bool = False
) -> Score:
    """The same by the fast engine; in_double: whether all is computed in double precision."""
    from harness.haaqi.fast import pairs

    compute = pairs.HaaqiFunction(in_double=in_double)
    found = score_stems(song, references, processed, listener, compute)
    how = pairs.how_computed(dict(zip(CAD1.signals, compute.results, strict=True)))
    return Score(found.left, found.right, found.stems, *how)


def level_of(reference: NDArray[np.float32]) -> float:
    """`level1` of HAAQI for a true stem: the level in dB SPL of a signal whose root mean square is 1.

    With it the stem, (samples,) at 24 kHz, is heard at 65 dB SPL before NAL-R; infinite if the stem is silent. The
    logarithm is taken in single precision, the formula in double, as the recipe does under NumPy 1.
    """
    with np.errstate(divide="ignore"):
        return CAD1.haaqi_level_db - 20 * float(np.log10(_rms(reference)))


_BUFFER = 8192
"""Elements that NumPy 1 added up at a time."""


def _rms(signal: NDArray[np.float32]) -> np.float32:
    """Root mean square in single precision, to the bit what the recipe's `compute_rms` gave under NumPy 1.

    NumPy 1 summed buffers of 8192 elements one after the other, NumPy 2 sums all at once: where that changes the last
    bit, a score changes by up to 4e-8.
    """
    total, squares = np.float32(0), np.square(signal)
    for start in range(0, len(squares), _BUFFER):
        total += np.add.reduce(squares[start : start + _BUFFER])
    return np.float32(np.sqrt(total / np.float32(max(1, len(squares)))))
