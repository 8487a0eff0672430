"""One submitted signal as a FLAC file: writing it, and reading and checking a stranger's."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.errors import SubmissionError
from harness.files import read_bounded


@dataclass(frozen=True)
class Flac:
    """What a submitted file holds: int16 samples of shape (samples, channels), and the SHA-256 of the file."""

    samples: NDArray[np.int16]
    sha256: str

    @property
    def signal(self) -> NDArray[np.float32]:
        """The samples as the recipe reads them: float32, full scale +-1."""
        return (self.samples / 32768.0).astype(np.float32)


def encode(samples: NDArray[np.int16], rate: int = PROTOCOL.remix_sample_rate) -> bytes:
    """FLAC file, 16 bit, of int16 samples (samples, channels), or (samples,) for one channel."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def max_bytes(frames: int, channels: int) -> int:
    """Size in bytes that no FLAC file of 16 bit with so many samples and channels can exceed.

    FLAC stores what does not compress as it is: the raw size, with room for headers and tags.
    """
    return int(frames * channels * 2 * 1.1) + 2**18


def read_remix(path: Path, music_frames: int, known: bool = False) -> Flac:
    """Read and check one submitted remix: stereo, 32 kHz.

    Args:
        path: the file.
        music_frames: length of the scene's music in samples at 44.1 kHz; bounds size and length.
        known: as for `read_flac`.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: as `read_flac`; or every sample is zero.
    """
    return read_flac(path, PROTOCOL.remix_sample_rate, 2, PROTOCOL.remix_frames(music_frames), known=known)


def read_flac(
    path: Path, rate: int, channels: int, lengths: range, may_be_silent: bool = False, known: bool = False
) -> Flac:
    """Read and check one submitted file.

    Args:
        path: the file.
        rate: sample rate in Hz that it must have.
        channels: how many it must have.
        lengths: numbers of samples that it may have; they bound its size too.
        may_be_silent: whether every sample may be zero.
        known: the caller holds the SHA-256 against that of a file that was checked: what lies around the music is not
            looked at, which would take as long again as decoding it.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, too large, damaged, or not FLAC of 16 bit with this rate, channels and length;
            something lies before or behind the music; or every sample is zero.
    """
    content = read_bounded(path, limit=max_bytes(lengths[-1], channels))
    try:
        samples = _decode(path.name, content, rate, channels, lengths)
    except soundfile.LibsndfileError as error:
        raise SubmissionError(f"{path.name}: damaged or not FLAC inside ({error.error_string})") from None
    if not known:
        _check_around(path.name, content, samples)
    if not may_be_silent and not samples.any():
        raise SubmissionError(f"{path.name}: is silent: every sample is zero")
    return Flac(samples, hashlib.sha256(content).hexdigest())


def _decode(name: str, content: bytes, rate: int, channels: int, lengths: range) -> NDArray[np.int16]:
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        for what, found, expected in (
            ("format", file.format, "FLAC"),
            ("bits", file.subtype, f"PCM_{PROTOCOL.bits}"),
            ("sample rate", file.samplerate, rate),
            ("channels", file.channels, channels),
        ):
            if found != expected:
                raise SubmissionError(f"{name}: {what} is {found}, expected {expected}")
        if file.frames not in lengths:
            raise SubmissionError(
                f"{name}: has {file.frames} samples, expected {lengths[0]} to {lengths[-1]} "
                "(the music's length, with or without NAL-R's tail)"
            )
        announced = file.frames
        samples = np.asarray(file.read(dtype="int16", always_2d=True))
    if len(samples) != announced:
        raise SubmissionError(f"{name}: truncated: {len(samples)} of {announced} samples are there")
    return samples


_STREAM_INFO = (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")
"""How the block begins that comes first, with the checksum: its type (with a mark if no other follows), 34 bytes."""


def _check_around(name: str, content: bytes, samples: NDArray[np.int16]) -> None:
    """Check what libsndfile does not look at: that nothing lies around the music, and FLAC's own checksum of it.

    Raises:
        SubmissionError: something does, or the checksum is of other samples.
    """
    if not content.startswith(b"fLaC"):  # libsndfile skips ID3 tags
        raise SubmissionError(f"{name}: something lies before the music, such as an ID3 tag: remove it")
    if content[4:8] not in _STREAM_INFO:
        raise SubmissionError(f"{name}: damaged: it does not begin with FLAC's STREAMINFO: encode it again")
    # All zeros where the encoder left it out. libsndfile stops where the header says, which need not be where the
    # music ends.
    checksum = content[26:42]
    if any(checksum) and checksum != hashlib.md5(samples.astype("<i2").tobytes(), usedforsecurity=False).digest():
        raise SubmissionError(f"{name}: damaged: its samples are not those that its header's checksum is of")
    # A frame does not say how long it is. But it ends with a checksum without which no decoder accepts it: if nothing
    # follows the last frame, the music cannot be decoded without the file's last byte.
    try:
        without, _ = soundfile.read(io.BytesIO(content[:-1]), dtype="int16", always_2d=True)
    except soundfile.LibsndfileError:
        return
    if np.array_equal(without, samples):
        raise SubmissionError(f"{name}: something lies behind the music, such as a tag: remove it, or encode again")
