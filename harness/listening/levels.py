"""How loud signals are: in dB SPL under the evaluator's calibration, and in LUFS."""

import math

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import MIN_SECONDS, Signal
from harness.errors import EvaluatorError
from harness.music.microphones import meter


def rms(signal: Signal) -> float:
    """Root mean square over all samples of all channels, in the signal's unit."""
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64))))


def full_scale_spl(reference: Signal) -> float:
    """Level in dB SPL of a signal whose root mean square is 1, so that the scene's reference has 65 dB SPL.

    This is HAAQI's `level1`, 65 - 20 log10(rms), with one difference: the evaluator takes the root mean square of each
    ear by itself, since it scores one ear at a time, and so brings both ears to 65 dB SPL. For listening it is taken
    of both channels together, which keeps the level difference between the ears as it is in the music.

    Args:
        reference: the scene's reference mixture before NAL-R (`haaqi.evaluator.reference_mixture`), as a whole,
            (samples, 2).

    Raises:
        EvaluatorError: it is silent.
    """
    level = rms(reference)
    if not level > 0:
        raise EvaluatorError("the reference of the scene is silent: its signals have no level in dB SPL")
    return PROTOCOL.haaqi_level_db - 20 * math.log10(level)


def spl(signal: Signal, full_scale: float) -> float | None:
    """Level of a signal in dB SPL, both ears together.

    Args:
        signal: (samples, 2).
        full_scale: what `full_scale_spl` gives for the scene.

    Returns:
        The level, or None if every sample is zero.
    """
    level = rms(signal)
    return full_scale + 20 * math.log10(level) if level > 0 else None


def lufs(signal: Signal) -> float | None:
    """Integrated loudness in LUFS (ITU-R BS.1770-4, pyloudnorm) of a signal at 44.1 kHz, (samples, 2).

    It is measured with the peak at full scale, and the scaling taken away again. At its own level, the standard's
    absolute gate of -70 LUFS would leave nothing of most sound as a listener with a severe loss hears it.

    Returns:
        The loudness; None for silence, and for what is shorter than one gating block of 0.4 s.
    """
    peak = float(np.abs(signal).max(initial=0.0))
    if not peak > 0 or len(signal) < MIN_SECONDS * PROTOCOL.sample_rate:
        return None
    # A lone click may lie below the gate nevertheless; the meter then takes the logarithm of zero.
    with np.errstate(divide="ignore", invalid="ignore"):
        loudness = float(meter().integrated_loudness(signal / peak))
    return loudness + 20 * math.log10(peak) if math.isfinite(loudness) else None
