"""One clip: an encoded sound file with its level, loudness and pictures.

Each file is written with its peak just below full scale, and the factor that brings it to its true level stands beside
it: in 16 bit, or in an MP3, little would be left of what a listener with a severe loss hears.
"""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.errors import HarnessError
from harness.listening import levels, pictures

PEAK = 10 ** (-1 / 20)
"""Largest sample of a file: 1 dB below full scale, since an MP3's decoder may go a little beyond what was encoded."""

MP3_COMPRESSION = 0.3
"""libsndfile's measure of a variable bit rate, from 0 (best) to 1: some 140 kbit/s."""


@dataclass(frozen=True)
class Clip:
    """A sound as a file.

    Attributes:
        content: an encoded stereo file, 44.1 kHz, at its own full level.
        suffix: "mp3" or "flac".
        gain: factor (linear) that brings the decoded samples to their true level; 0 for silence.
        spl: level in dB SPL under the evaluator's calibration, both ears together; None for silence.
        lufs: integrated loudness at the true level; None where it is undefined, as for silence.
        waveform: `pictures.PEAKS` peaks in time order, 0 to 1, relative to the clip's own largest.
        spectrogram: a picture (PNG), see `pictures.spectrogram`.
    """

    content: bytes
    suffix: str
    gain: float
    spl: float | None
    lufs: float | None
    waveform: tuple[float, ...]
    spectrogram: bytes


def clip(signal: Signal, full_scale: float, lossless: bool = False) -> Clip:
    """Make the clip of a signal.

    Args:
        signal: (samples, 2) at 44.1 kHz.
        full_scale: level in dB SPL of a signal whose root mean square is 1 (`levels.full_scale_spl`).
        lossless: FLAC of 16 bit, some five times as large, instead of MP3.

    Raises:
        HarnessError: libsndfile cannot write MP3.
    """
    gain = float(np.abs(signal).max(initial=0.0)) / PEAK
    scaled = signal / gain if gain > 0 else signal
    return Clip(
        content=_flac(scaled) if lossless else _mp3(scaled),
        suffix="flac" if lossless else "mp3",
        gain=gain,
        spl=levels.spl(signal, full_scale),
        lufs=levels.lufs(signal),
        waveform=pictures.waveform(signal),
        spectrogram=pictures.spectrogram(signal, full_scale),
    )


def check_mp3() -> None:
    """Check that MP3 can be written here, before work starts that takes minutes.

    Raises:
        HarnessError: it cannot.
    """
    if "MP3" not in soundfile.available_formats():
        raise HarnessError(
            f"libsndfile {soundfile.__libsndfile_version__} of this machine cannot write MP3: install soundfile's own "
            "wheel, which brings one that can (pip install --force-reinstall --only-binary :all: soundfile), or ask "
            "for lossless clips"
        )


def _mp3(signal: Signal) -> bytes:
    check_mp3()
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        signal,
        PROTOCOL.sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=MP3_COMPRESSION,
    )
    return buffer.getvalue()


def _flac(signal: Signal) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, signal, PROTOCOL.sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()
