"""One remix as a FLAC file: writing it, and reading and checking a stranger's."""

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
class Remix:
    """A submitted remix: int16 samples of shape (samples, 2) at 32 kHz, and the SHA-256 of its file."""

    samples: NDArray[np.int16]
    sha256: str

    @property
    def signal(self) -> NDArray[np.float32]:
        """The samples as the recipe reads them: float32, full scale +-1."""
        return (self.samples / 32768.0).astype(np.float32)


def encode(samples: NDArray[np.int16]) -> bytes:
    """FLAC file, 32 kHz, 16 bit, of int16 samples (samples, 2)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, PROTOCOL.remix_sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def max_bytes(music_frames: int) -> int:
    """Size in bytes that no remix of `music_frames` samples at 44.1 kHz can exceed.

    FLAC stores what does not compress as it is: the raw size, with room for headers and tags.
    """
    return int(PROTOCOL.remix_frames(music_frames)[-1] * 2 * 2 * 1.1) + 2**18


def read_remix(path: Path, music_frames: int) -> Remix:
    """Read and check one submitted remix.

    Args:
        path: the file.
        music_frames: length of the scene's music in samples at 44.1 kHz; bounds size and length.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, too large, damaged, or not FLAC, 32 kHz, 16 bit, stereo, of the right length;
            or every sample is zero.
    """
    lengths = PROTOCOL.remix_frames(music_frames)
    content = read_bounded(path, limit=max_bytes(music_frames))
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            for what, found, expected in (
                ("format", file.format, "FLAC"),
                ("bits", file.subtype, f"PCM_{PROTOCOL.bits}"),
                ("sample rate", file.samplerate, PROTOCOL.remix_sample_rate),
                ("channels", file.channels, 2),
            ):
                if found != expected:
                    raise SubmissionError(f"{path.name}: {what} is {found}, expected {expected}")
            if file.frames not in lengths:
                raise SubmissionError(
                    f"{path.name}: has {file.frames} samples, expected {lengths[0]} to {lengths[-1]} "
                    "(the music's length, with or without NAL-R's tail)"
                )
            announced = file.frames
            samples = file.read(dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SubmissionError(f"{path.name}: damaged or not FLAC inside ({error.error_string})") from None
    if len(samples) != announced:
        raise SubmissionError(f"{path.name}: truncated: {len(samples)} of {announced} samples are there")
    # FLAC's own checksum of the samples; all zeros where the encoder left it out. libsndfile does not look at it, and
    # stops where the header says, which need not be where the music ends.
    checksum = content[26:42]
    found_checksum = hashlib.md5(samples.astype("<i2").tobytes(), usedforsecurity=False).digest()
    if content.startswith(b"fLaC") and any(checksum) and checksum != found_checksum:
        raise SubmissionError(f"{path.name}: damaged: its samples are not those that its header's checksum is of")
    if not samples.any():
        raise SubmissionError(f"{path.name}: is silent: every sample is zero")
    return Remix(samples, hashlib.sha256(content).hexdigest())
