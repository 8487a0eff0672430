"""Music files for listening: anything that libsndfile reads, and WAV or FLAC to write."""

import io
from pathlib import Path

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.errors import UsageError
from harness.files import write_whole
from harness.music.evaluationset import MAX_MUSIC_SECONDS, MAX_SAMPLE

MAX_RATE = 384_000
"""Hz; far above what music is recorded with."""

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
"""Of files that are written, by their suffix: 44.1 kHz, 24 bit, stereo."""


def read_music(path: Path) -> Signal:
    """Read a music file at 44.1 kHz.

    Args:
        path: a file that libsndfile reads (WAV, FLAC, OGG, MP3, AIFF, ...), mono or stereo, of any rate; resampled by
            soxr if that is not 44.1 kHz. Mono becomes the same signal in both channels.

    Returns:
        (samples, 2), float64, full scale +-1.

    Raises:
        UsageError: not there, no music file, more than two channels, empty, longer than `MAX_MUSIC_SECONDS`, or with
            samples that are not finite or larger than `MAX_SAMPLE`.
    """
    import soundfile
    import soxr

    if not path.is_file():
        raise UsageError(f"no such music file: {path}")
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels = file.samplerate, file.channels
            if channels > 2:
                raise UsageError(f"{path} has {channels} channels, expected 1 or 2: mix it down to stereo")
            if rate > MAX_RATE:
                raise UsageError(f"{path} has a sample rate of {rate} Hz, at most {MAX_RATE} are music: convert it")
            longest = round(MAX_MUSIC_SECONDS * rate)
            # Not what the header announces: as much as may be, and one sample to notice that there is more.
            signal = file.read(longest + 1 if file.frames > longest else -1, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path} cannot be read as music ({error}): convert it to WAV or FLAC") from None
    if len(signal) > longest:
        raise UsageError(f"{path} lasts longer than {MAX_MUSIC_SECONDS / 60:.0f} minutes: cut it")
    if not len(signal):
        raise UsageError(f"{path} is empty: it has no samples")
    if not np.isfinite(signal).all() or np.abs(signal).max() > MAX_SAMPLE:
        raise UsageError(f"{path} holds samples that are not finite or over {MAX_SAMPLE:g}: convert it anew")
    if rate != PROTOCOL.sample_rate:
        signal = soxr.resample(signal, rate, PROTOCOL.sample_rate)
    return np.repeat(signal, 2, axis=1) if channels == 1 else np.asarray(signal)


def check_writable(path: Path) -> None:
    """Check the name of a file that music is to be written to.

    Raises:
        UsageError: its suffix is none of `FORMATS`, or it is a folder.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--output {path}: expected a name that ends in {' or '.join(FORMATS)}")
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder: name a file")


def write_music(path: Path, signal: Signal) -> None:
    """Write music at 44.1 kHz and 24 bit, whole or not at all; the suffix says in which of `FORMATS`.

    Args:
        path: the file; replaced if it is there.
        signal: (samples, 2), within +-1.

    Raises:
        UsageError: as `check_writable`.
        StorageError: it cannot be written.
    """
    import soundfile

    check_writable(path)
    content = io.BytesIO()
    soundfile.write(content, signal, PROTOCOL.sample_rate, "PCM_24", format=FORMATS[path.suffix.lower()])
    write_whole(path, content.getvalue())
