"""Music at the microphones of a head between two loudspeakers, to the sample as the official program makes it.

The algorithm is that of `generate_at_mic_musdb18.py` (pyclarity, `recipes/cad_icassp_2024/generate_dataset`): each
loudspeaker's channel through its impulse responses to both ears, cut to the length of the music, brought back to the
loudness that the music had, and truncated towards zero to 16 bit.

Truncation turns the smallest difference in rounding into another sample, where a value lies at a whole number. So the
convolution by FFT, which is some ten times as fast as the recipe's, is used only where its error cannot have changed a
sample; where it might have, the piece is computed anew in the recipe's own way.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.enhancement import Signal

Samples = NDArray[np.int16]

FULL_SCALE = 32768.0
BLOCK = 2048
"""Samples of a Fourier transform at least. Of 2048 to 8192 the quickest; long impulse responses need more."""
CHUNK = 2**17
"""Samples that are worked on at a time: what fits into a processor's cache."""
GAIN_DOUBT = 2e-14
"""Relative error of the gain that is allowed for. Rounding in the loudness (3.6e-14 dB seen) makes 4e-15 of it."""


@dataclass(frozen=True)
class Rendered:
    """A file's worth of music.

    Attributes:
        samples: (samples, 2), 16 bit.
        clipped: how many samples of both channels were beyond full scale.
        silent: whether it is zeros because the loudness of the music, or of what arrives, cannot be measured: silent,
            or below the meter's gate of -70 LUFS throughout.
        exact: whether it was convolved in the recipe's own way.
    """

    samples: Samples
    clipped: int
    silent: bool
    exact: bool = False


@lru_cache(maxsize=1)
def meter() -> Any:
    """The loudness meter for music (BS.1770); its filters take time to design."""
    import pyloudnorm

    return pyloudnorm.Meter(PROTOCOL.sample_rate)


def loudness(signal: Signal) -> float:
    """Integrated loudness in LUFS (BS.1770, pyloudnorm) of at least 0.4 s of stereo; minus infinity for silence."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(meter().integrated_loudness(signal))


def at_microphones(music: Signal, music_loudness: float, left_speaker: Signal, right_speaker: Signal) -> Rendered:
    """Stereo music from two loudspeakers as it arrives at the microphones, at the loudness of the music.

    Music that is silent or too quiet has no loudness to restore: the recipe's gain is then not a number, and what
    becomes of that in 16 bit is left to the machine. Here it is zeros, as on the machines that made the official data.

    Args:
        music: (samples, 2), float64, full scale +-1, 0.4 s at least.
        music_loudness: its `loudness`.
        left_speaker, right_speaker: impulse responses (taps, 2) from that loudspeaker to the left and the right ear.
    """
    if music_loudness == -np.inf:
        return _silence(music)
    arriving, error = _convolved_fast(music, left_speaker, right_speaker)
    gain = _gain(arriving, music_loudness)
    if gain is None:
        return _silence(music)
    rendered = _to_16_bit(arriving, gain, error)
    if rendered is None:
        arriving = _convolved(music, left_speaker, right_speaker)
        gain = _gain(arriving, music_loudness)
        if gain is None:
            return _silence(music)
        rendered = _to_16_bit(arriving, gain)
    assert rendered is not None
    return rendered


def as_it_is(music: Signal) -> Rendered:
    """Music for headphones: what 16 bit can hold of it, truncated towards zero; 16-bit music stays what it is."""
    rendered = _to_16_bit(music, 1.0)
    assert rendered is not None
    return Rendered(rendered.samples, rendered.clipped, not rendered.samples.any())


def encoded(samples: Samples) -> bytes:
    """A WAV file of 16 bit at 44.1 kHz with these samples, to the byte what the recipe's `write_signal` writes."""
    import soundfile

    # By way of memory: of a full disk soundfile says little, and not always.
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, PROTOCOL.sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _silence(music: Signal) -> Rendered:
    return Rendered(np.zeros(music.shape, np.int16), 0, True)


def _gain(arriving: Signal, music_loudness: float) -> float | None:
    """The factor that restores the loudness, rounded as the recipe rounds it; None if what arrives has none."""
    found = loudness(arriving)
    if found == -np.inf:
        return None
    return float(np.power(10.0, ((found + (music_loudness - found)) - found) / 20.0))


def _convolved(music: Signal, left_speaker: Signal, right_speaker: Signal) -> Signal:
    """What arrives at the ears, as the recipe computes it."""
    from scipy.signal import lfilter

    return np.stack(
        [
            lfilter(left_speaker[:, ear], 1, music[:, 0]) + lfilter(right_speaker[:, ear], 1, music[:, 1])
            for ear in (0, 1)
        ],
        axis=1,
    )


def _convolved_fast(music: Signal, left_speaker: Signal, right_speaker: Signal) -> tuple[Signal, float]:
    """The same by Fourier transforms of overlapping blocks (overlap-save), two of them in for four filters.

    SciPy's `oaconvolve` transforms each channel once for each filter, and all blocks of a song before it multiplies
    the first: it takes about as long as the recipe's filters.

    Returns:
        What arrives, (samples, 2), and by how much a value may differ from the recipe's.
    """
    from scipy import fft

    taps = max(len(left_speaker), len(right_speaker))
    size = max(BLOCK, 1 << (4 * taps - 1).bit_length())
    step = size - taps + 1
    many = max(1, CHUNK // size)
    spectra = [fft.rfft(speaker, size, axis=0).T for speaker in (left_speaker, right_speaker)]
    frames = len(music)
    arriving = np.empty((frames, 2))
    padded = np.zeros((2, many * step + taps - 1))
    for start in range(0, frames, many * step):
        stop = min(frames, start + many * step)
        first = start - (taps - 1)
        padded[:] = 0.0
        piece = music[max(0, first) : stop].T
        padded[:, max(0, -first) : max(0, -first) + piece.shape[1]] = piece
        blocks = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, ::step]
        left, right = fft.rfft(blocks, axis=-1)
        for ear in (0, 1):
            heard = fft.irfft(left * spectra[0][ear] + right * spectra[1][ear], size, axis=-1)
            arriving[start:stop, ear] = heard[:, taps - 1 :].reshape(-1)[: stop - start]
    # The rounding error of a convolution by FFT goes with the norms of what is convolved, not with the result. The norm
    # of a block is sqrt(size) times its largest sample at most; of that a quarter is some forty times the errors seen.
    loudest = max(music.max(), -music.min())
    energy = sum(float(np.sqrt(np.square(speaker).sum(axis=0)).max()) for speaker in (left_speaker, right_speaker))
    return arriving, float(np.finfo(np.float64).eps * np.sqrt(size) / 4 * loudest * energy)


def _to_16_bit(signal: Signal, gain: float, error: float | None = None) -> Rendered | None:
    """Scale a signal, clip it and truncate it to 16 bit.

    Args:
        signal: (samples, 2).
        gain: what it is multiplied by.
        error: by how much a value may be wrong; None: not at all.

    Returns:
        None if the error may have changed a sample.
    """
    samples = np.empty(signal.shape, np.int16)
    clipped = 0
    for start in range(0, len(signal), CHUNK):
        scaled = gain * signal[start : start + CHUNK]
        scaled *= FULL_SCALE
        if error is not None:
            # The gain's own error follows from the signal's, hence twice; see GAIN_DOUBT for what else it has.
            doubt = FULL_SCALE * (2 * error * gain + GAIN_DOUBT)
            whole = np.rint(scaled)
            near = np.abs(scaled - whole) < doubt
            # Values on both sides of zero become zero, and all beyond full scale become full scale.
            if np.any(near & (whole != 0) & (whole >= -FULL_SCALE) & (whole < FULL_SCALE)):
                return None
        clipped += int(np.count_nonzero((scaled > FULL_SCALE - 1) | (scaled < -FULL_SCALE)))
        samples[start : start + CHUNK] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled)
    return Rendered(samples, clipped, silent=False, exact=error is None)
