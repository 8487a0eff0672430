"""The baseline's Enhancement block after separation: gains, remix, loudness, NAL-R, 32 kHz, 16 bit.

Follows the published recipe step by step (pyclarity, `recipes/cad_icassp_2024/baseline/enhance.py` and
`evaluate.py`), so that its output agrees with the official one to the sample.

Conventions: signals are float64 arrays of shape (samples, 2) at `PROTOCOL.sample_rate`, full scale +-1;
loudness is integrated loudness in LUFS (ITU-R BS.1770, pyloudnorm). Signals must be finite, stereo and at least
0.4 s long (one gating block of BS.1770); callers check that with `check_signal`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL, STEMS, Gains
from harness.errors import SystemFailure
from harness.hearing import Audiogram, Listener

Signal = NDArray[np.floating[Any]]

MIN_SECONDS = 0.4
"""Shortest signal that BS.1770's integrated loudness is defined for: one gating block."""

LOUDEST = 1e30
"""Full scale is 1: on what is louder than this, the resampler, which works in 32 bit, might overflow into silence."""


def check_signal(signal: Any, what: str, frames: int | None = None) -> None:
    """Check that `signal` is a finite stereo signal that the loudness meter accepts.

    Args:
        signal: expected to be an array of shape (samples, 2).
        what: how to call it in the message.
        frames: exact number of samples that it must have, if that is known.

    Raises:
        ValueError: says what is wrong and what was expected.
    """
    if not isinstance(signal, np.ndarray) or not np.issubdtype(signal.dtype, np.floating):
        found = f"{signal.dtype} array" if isinstance(signal, np.ndarray) else type(signal).__name__
        raise ValueError(f"{what} is a {found}, expected a NumPy array of floats")
    if signal.ndim != 2 or signal.shape[1] != 2:
        raise ValueError(f"{what} has shape {signal.shape}, expected (samples, 2)")
    if frames is not None and signal.shape[0] != frames:
        raise ValueError(f"{what} has {signal.shape[0]} samples, expected {frames}")
    if signal.shape[0] < MIN_SECONDS * PROTOCOL.sample_rate:
        raise ValueError(
            f"{what} lasts {signal.shape[0] / PROTOCOL.sample_rate:.3f} s, loudness needs at least {MIN_SECONDS} s"
        )
    if not np.isfinite(signal).all():
        raise ValueError(f"{what} holds values that are not finite (NaN or infinity)")


@lru_cache(maxsize=1)
def _meter() -> Any:
    import pyloudnorm

    return pyloudnorm.Meter(PROTOCOL.sample_rate)


def _lufs(signal: Signal) -> float:
    """Integrated loudness in LUFS; silence counts as -80 LUFS, as in the recipe."""
    # The meter takes the logarithm of zero on silence; the recipe handles the result, and so do we.
    with np.errstate(divide="ignore", invalid="ignore"):
        loudness = float(_meter().integrated_loudness(signal))
    return PROTOCOL.silent_lufs if loudness == -np.inf else loudness


def _to_lufs(signal: Signal, loudness: float, target: float) -> Signal:
    """Scale a signal of the given loudness to the target, as `pyloudnorm.normalize.loudness` does."""
    scaled: Signal = np.power(10.0, (target - loudness) / 20.0) * signal
    return scaled


def apply_gains(stems: Mapping[str, Signal], gains: Gains) -> dict[str, Signal]:
    """Apply each stem's gain in dB by way of its integrated loudness (`apply_gains` of the recipe)."""
    gained = {}
    for stem in STEMS:
        loudness = _lufs(stems[stem])
        gained[stem] = _to_lufs(stems[stem], loudness, loudness + gains[stem])
    return gained


def remix(stems: Mapping[str, Signal], gains: Gains, mixture: Signal) -> Signal:
    """Remix four stems with the target gains, at the loudness of the mixture.

    Args:
        stems: the four VDBO stems, each (samples, 2).
        gains: dB for each stem.
        mixture: the mixture whose loudness the remix takes, (samples, 2).

    Returns:
        The remix, (samples, 2), float64. Not limited to +-1.
    """
    gained = apply_gains(stems, gains)
    total = np.zeros(mixture.shape)
    for stem in PROTOCOL.sum_order:
        total += gained[stem]
    return match_loudness(total, mixture)


def match_loudness(signal: Signal, reference: Signal) -> Signal:
    """Scale a signal to the integrated loudness of another (`level_normalisation` of the recipe)."""
    loudness = _lufs(signal)
    # Written as the recipe computes it, so that it rounds as the recipe rounds.
    return _to_lufs(signal, loudness, loudness + (_lufs(reference) - loudness))


@lru_cache(maxsize=256)
def nalr_fir(audiogram: Audiogram) -> NDArray[np.float64]:
    """The filter of `amplify_ear`, (221,)."""
    from clarity.enhancer.nalr import NALR

    nalr = NALR(nfir=PROTOCOL.nalr_order, sample_rate=PROTOCOL.sample_rate)
    fir, _ = nalr.build(audiogram.for_pyclarity())
    fir.flags.writeable = False  # shared by all callers through the cache
    return np.asarray(fir)


def amplify_ear(channel: Signal, audiogram: Audiogram) -> Signal:
    """NAL-R for one ear (Byrne & Dillon 1986, as pyclarity's `NALR`): a linear-phase FIR of 221 taps.

    Args:
        channel: one channel, (samples,).
        audiogram: that ear's audiogram.

    Returns:
        The amplified channel, (samples + 220,); the filter delays it by 110 samples.
    """
    return np.convolve(channel, nalr_fir(audiogram))


def amplify(signal: Signal, listener: Listener) -> Signal:
    """NAL-R for both ears of a listener, see `amplify_ear`.

    Args:
        signal: (samples, 2) at 44.1 kHz, left and right.
        listener: the audiograms of both ears.

    Returns:
        The amplified signal, (samples + 220, 2); the filters delay it by 110 samples.
    """
    return np.stack([amplify_ear(signal[:, 0], listener.left), amplify_ear(signal[:, 1], listener.right)], axis=1)


def to_remix_format(signal: Signal, soft_clip: bool = False) -> tuple[NDArray[np.int16], int]:
    """Bring an amplified signal into the form of a submission: 32 kHz, clipped to +-1, 16 bit.

    Args:
        signal: (samples, 2) at 44.1 kHz, finite.
        soft_clip: pass the signal through tanh before it is clipped, as the recipe's `soft_clip` does.

    Returns:
        The remix as int16, (samples at 32 kHz, 2), truncated towards zero as the recipe's `to_16bit` does,
        and the number of samples (of both channels) that were clipped.

    Raises:
        SystemFailure: the signal is so loud (over `LOUDEST`) that it cannot be resampled.
    """
    import soxr

    peak = max(signal.max(initial=0.0), -signal.min(initial=0.0))
    if peak > LOUDEST:
        raise SystemFailure(f"its remix is {peak:.3g} times as loud as full scale: nothing of it would be left")
    resampled = soxr.resample(signal, PROTOCOL.sample_rate, PROTOCOL.remix_sample_rate, quality="HQ")
    if soft_clip:
        resampled = np.tanh(resampled)
    clipped = int(np.count_nonzero(np.abs(resampled) > 1.0))
    return to_16_bit(resampled), clipped


def to_16_bit(signal: Signal) -> NDArray[np.int16]:
    """A signal as int16: clipped to +-1, truncated towards zero as the recipe's `to_16bit` does."""
    samples: NDArray[np.int16] = np.clip(np.clip(signal, -1.0, 1.0) * 32768.0, -32768.0, 32767.0).astype(np.int16)
    return samples
