"""Where the music of an evaluation set comes from: songs on disk, whole or in part."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import MIN_SECONDS, Signal
from harness.errors import DataError
from harness.music.evaluationset import MAX_MUSIC_SECONDS, MAX_SAMPLE, max_bytes

if TYPE_CHECKING:
    import soundfile

FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")
"""libsndfile's names of the formats that are read."""

SUBTYPES = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
"""Sample formats that are read, by libsndfile's names, with the bits of a sample."""

RATES = (8_000, 384_000)
"""Hz; the sample rates of music, from the lowest to the highest."""


@dataclass(frozen=True)
class Source:
    """One signal of a song, the mixture or a stem: a file or a part of it, or the sum of several files.

    Attributes:
        path: the WAV or FLAC file.
        start, end: the first sample at 44.1 kHz, and the one after the last; None for the file's end.
        resample: whether another sample rate than 44.1 kHz is resampled to it (soxr HQ), and not refused.
        added: files that are added to it sample by sample: of a song without a mixture, the other three stems.
    """

    path: Path
    start: int = 0
    end: int | None = None
    resample: bool = False
    added: tuple[Path, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that it is read from."""
        return (self.path, *self.added)

    def read(self) -> Signal:
        """Read it: (samples, 2), float64, full scale +-1, 44.1 kHz. Integer samples are scaled by a power of two.

        Raises:
            DataError: not there, not stereo, another sample rate, not finite, too short, too long or too loud: names
                the file and what is expected.
        """
        signal = self._read(self.path)
        for path in self.added:
            more = self._read(path)
            if len(more) != len(signal):
                raise DataError(
                    f"{path} has {len(more)} samples, {self.path.name} has {len(signal)}: "
                    "bring the stems to one length, or add a mixture"
                )
            signal += more
        return signal

    def _read(self, path: Path) -> Signal:
        import soundfile

        with opened(path, self.resample) as file:
            rate, total = file.samplerate, file.frames
            whole = rate != PROTOCOL.sample_rate
            start, end = (0, total) if whole else (self.start, total if self.end is None else self.end)
            if not whole:
                self._check_part(path, total)
            try:
                file.seek(start)
                signal: Signal = file.read(end - start, dtype="float64", always_2d=True)
            except (soundfile.LibsndfileError, OSError) as error:
                raise DataError(f"{path} cannot be read as audio ({error}): copy or convert it anew") from None
        if len(signal) != end - start:
            raise DataError(f"{path} ends after {start + len(signal)} of {total} samples: copy or convert it anew")
        if not np.isfinite(signal).all():
            raise DataError(f"{path} holds samples that are not finite (NaN or infinity): convert it anew")
        loudest = max(signal.max(), -signal.min())
        if loudest > MAX_SAMPLE:
            raise DataError(
                f"{path} peaks at {loudest:.3g} times full scale, at most {MAX_SAMPLE:g} is music: "
                "scale it, or convert it anew"
            )
        if whole:
            import soxr

            # The whole file, whatever part is asked for: so that parts are those of one and the same signal.
            signal = soxr.resample(signal, rate, PROTOCOL.sample_rate, quality="HQ")
            self._check_part(path, len(signal))
            signal = signal[self.start : self.end].copy()
        return signal

    def _check_part(self, path: Path, frames: int) -> None:
        """Raise DataError if the part that is asked for is not in a file of that many samples, or is too short."""
        end = frames if self.end is None else self.end
        if not 0 <= self.start < end <= frames:
            raise DataError(
                f"{path} has {frames} samples at {PROTOCOL.sample_rate} Hz ({frames / PROTOCOL.sample_rate:.2f} s), "
                f"the part from sample {self.start} to {end} is not in it"
            )
        if end - self.start < MIN_SECONDS * PROTOCOL.sample_rate:
            raise DataError(
                f"{path}: {(end - self.start) / PROTOCOL.sample_rate:.3f} s are too short for its loudness to be "
                f"measured, expected {MIN_SECONDS} s or more"
            )


@dataclass(frozen=True)
class Song:
    """A song: mixture and four stems.

    Attributes:
        name: its Track Name, which is also that of its folder.
        signals: "mixture" and the four stems.
        about: what else its entry in musdb18.<split>.json says: "Genre", "Source", "License".
    """

    name: str
    signals: Mapping[str, Source]
    about: Mapping[str, str]

    @property
    def resampled(self) -> bool:
        """Whether a file has another sample rate than 44.1 kHz. Raises DataError if one cannot be read."""
        paths = {path for source in self.signals.values() for path in source.paths}
        return any(length_of(path, resample=True)[1] != PROTOCOL.sample_rate for path in paths)


@contextmanager
def opened(path: Path, resample: bool = False) -> "Iterator[soundfile.SoundFile]":
    """Open a music file whose header is that of stereo music: WAV or FLAC, 16, 24 or 32 bit or float, 44.1 kHz.

    Args:
        path: the file.
        resample: whether other sample rates will do.

    Raises:
        DataError: not there, or something else: names the file and what is expected.
    """
    import soundfile

    try:
        # O_NONBLOCK: a named pipe in place of a file must not make us wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a regular file")
        _ensure_whole(path, os.pread(descriptor, 8, 0), status.st_size)
        try:
            file = soundfile.SoundFile(descriptor, closefd=False)
        except (soundfile.LibsndfileError, OSError):
            raise DataError(f"{path} cannot be read as WAV or FLAC: copy or convert it anew") from None
        with file:
            _check_header(path, file, resample, status.st_size)
            yield file
    finally:
        os.close(descriptor)


def _ensure_whole(path: Path, start: bytes, size: int) -> None:
    """Raise DataError if a WAV file is shorter than it says, of which libsndfile would read what is left."""
    announced = int.from_bytes(start[4:], "little") + 8
    # A program that wrote into a pipe knew no size: all ones.
    if start[:4] == b"RIFF" and size < announced != 2**32 + 7:
        raise DataError(f"{path} ends early, it has {size:,} bytes of {announced:,}: copy or convert it anew")


def length_of(path: Path, resample: bool = False) -> tuple[int, int]:
    """Number of samples of a music file, and its sample rate in Hz; as `opened` raises DataError."""
    with opened(path, resample) as file:
        return file.frames, file.samplerate


def _check_header(path: Path, file: "soundfile.SoundFile", resample: bool, size: int) -> None:
    if file.format not in FORMATS or file.subtype not in SUBTYPES:
        raise DataError(
            f"{path} is {file.format} with samples as {file.subtype}, "
            "expected WAV or FLAC of 16, 24 or 32 bit or float: convert it"
        )
    if file.channels != 2:
        found = "mono" if file.channels == 1 else f"of {file.channels} channels"
        raise DataError(f"{path} is {found}, expected stereo: convert it (both channels may hold the same)")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise DataError(f"{path} has a sample rate of {file.samplerate} Hz, which is none of music: convert it")
    if file.samplerate != PROTOCOL.sample_rate and not resample:
        raise DataError(
            f"{path} has a sample rate of {file.samplerate} Hz, expected {PROTOCOL.sample_rate} Hz: "
            "convert it, or have it resampled with --resample"
        )
    seconds = file.frames / file.samplerate
    if not MIN_SECONDS <= seconds <= MAX_MUSIC_SECONDS:
        raise DataError(f"{path} lasts {seconds:.3f} s, expected {MIN_SECONDS} s to {MAX_MUSIC_SECONDS:.0f} s")
    if size > max_bytes(file.frames):
        raise DataError(f"{path} has {size:,} bytes for {file.frames:,} samples: copy or convert it anew")
