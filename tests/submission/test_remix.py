"""Reading one submitted remix: whatever is in the file, the answer is a line, and soon."""

import hashlib
import io
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from submission.damage import NAME, replaced
from support import FRAMES

from harness.challenge import PROTOCOL
from harness.errors import SubmissionError
from harness.submission.flac import encode, read_remix

LENGTHS = PROTOCOL.remix_frames(FRAMES)


def noise(frames: int = LENGTHS[0], channels: int = 2) -> np.ndarray:
    return np.random.default_rng(3).integers(-9000, 9000, (frames, channels)).astype(np.int16)


def put(
    path: Path, frames: int = LENGTHS[0], channels: int = 2, rate: int = 32000, kind: str = "FLAC", bits: str = "PCM_16"
) -> None:
    soundfile.write(path, noise(frames, channels), rate, format=kind, subtype=bits)


def flip(position: float) -> Callable[[Path], None]:
    """Flip one bit at a place from 0 (the start) to 1 (the end)."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[int(position * (len(content) - 1))] ^= 4
        path.write_bytes(content)

    return damage


def announce(samples: int) -> Callable[[Path], None]:
    """Have the header (STREAMINFO, 36 bits from bit 108 of it) announce another number of samples."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[21] = (content[21] & 0xF0) | samples >> 32
        content[22:26] = (samples & 0xFFFFFFFF).to_bytes(4, "big")
        path.write_bytes(content)

    return damage


def _with_checksum(path: Path, checksum: bytes) -> bytes:
    content = path.read_bytes()
    return content[:26] + checksum + content[42:]


ID3 = b"ID3\x04\0\0\0\0\x01\0" + bytes(128)


def before(prefix: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(prefix + path.read_bytes())


def cut(kept: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, kept(path.stat().st_size))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    # what was done to the file, what is said
    "cut in half": (cut(lambda size: size // 2), "damaged or not FLAC inside"),
    "last 10 bytes cut": (cut(lambda size: size - 10), "damaged or not FLAC inside"),
    "only the header": (cut(lambda size: 60), "damaged or not FLAC inside"),
    "empty": (cut(lambda size: 0), "damaged or not FLAC inside"),
    "a bit flipped in the magic": (flip(0), "damaged or not FLAC inside"),
    "a bit flipped early": (flip(0.3), "damaged or not FLAC inside"),
    "a bit flipped late": (flip(0.8), "damaged or not FLAC inside"),
    "WAV inside": (lambda path: put(path, kind="WAV"), "format is WAV, expected FLAC"),
    "OGG inside": (lambda path: put(path, kind="OGG", bits="VORBIS"), "format is OGG, expected FLAC"),
    "text inside": (lambda path: path.write_text("la la la " * 99), "damaged or not FLAC inside"),
    "44.1 kHz": (lambda path: put(path, rate=44100), "sample rate is 44100, expected 32000"),
    "24 bit": (lambda path: put(path, bits="PCM_24"), "bits is PCM_24, expected PCM_16"),
    "8 bit": (lambda path: put(path, bits="PCM_S8"), "bits is PCM_S8, expected PCM_16"),
    "mono": (lambda path: put(path, channels=1), "channels is 1, expected 2"),
    "three channels": (lambda path: put(path, channels=3), "channels is 3, expected 2"),
    "a sample too few": (
        lambda path: put(path, frames=LENGTHS[0] - 1),
        f"has {LENGTHS[0] - 1} samples, expected {LENGTHS[0]} to {LENGTHS[-1]}",
    ),
    "a sample too many": (
        lambda path: put(path, frames=LENGTHS[-1] + 1),
        f"has {LENGTHS[-1] + 1} samples, expected {LENGTHS[0]} to {LENGTHS[-1]}",
    ),
    "no samples": (lambda path: put(path, frames=0), "damaged or not FLAC inside"),
    "announces 2^36 samples": (announce(2**36 - 1), f"has {2**36 - 1} samples, expected"),
    "announces fewer than it has": (
        lambda path: (put(path, frames=LENGTHS[0] + 9), announce(LENGTHS[0])(path)),
        "damaged: its samples are not those",
    ),
    "another checksum": (lambda path: path.write_bytes(_with_checksum(path, b"x" * 16)), "damaged: its samples are"),
    "announces more than it has": (announce(LENGTHS[-1]), "damaged or not FLAC inside"),
    "silent": (lambda path: path.write_bytes(encode(np.zeros((LENGTHS[0], 2), np.int16))), "is silent: every sample"),
    "2 GB": (lambda path: os.truncate(path, 2**31), f"{NAME} has {2**31} bytes, at most "),
    "a link": (lambda path: path.symlink_to(path.rename(path.with_suffix(".bak"))), f"{NAME} is a link"),
    "a link out": (replaced(lambda path: path.symlink_to("/etc/passwd")), f"{NAME} is a link"),
    "a link to nothing": (replaced(lambda path: path.symlink_to("nothing")), f"{NAME} is a link"),
    "a link to itself": (replaced(lambda path: path.symlink_to(path.name)), f"{NAME} is a link"),
    "a folder": (replaced(Path.mkdir), f"{NAME} is not a regular file"),
    "a pipe": (replaced(os.mkfifo), f"{NAME} is not a regular file"),
    "a tag before": (before(ID3), "something lies before the music"),
    "a tag before, another checksum": (
        lambda path: path.write_bytes(ID3 + _with_checksum(path, b"x" * 16)),
        "something lies before the music",
    ),
    "padding before the header": (
        lambda path: path.write_bytes(b"fLaC\x01\0\0\x26" + bytes(38) + path.read_bytes()[4:]),
        "damaged",
    ),
    "announces fewer, without a checksum": (
        lambda path: (
            put(path, frames=LENGTHS[0] + 9000),
            path.write_bytes(_with_checksum(path, bytes(16))),
            announce(LENGTHS[0])(path),
        ),
        "something lies behind the music",
    ),
}


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_remix_is_refused(case: str, tmp_path: Path) -> None:
    damage, expected = DAMAGE[case]
    path = tmp_path / NAME
    put(path)
    read_remix(path, FRAMES)
    damage(path)
    with pytest.raises(SubmissionError) as caught:
        read_remix(path, FRAMES)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("frames", [LENGTHS[0], LENGTHS[-1]], ids=["without tail", "with tail"])
def test_what_is_written_is_what_is_read(frames: int, tmp_path: Path) -> None:
    samples = noise(frames)
    path = tmp_path / NAME
    path.write_bytes(encode(samples))
    read = read_remix(path, FRAMES)
    assert np.array_equal(read.samples, samples)
    assert read.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read.signal.dtype == np.float32
    assert np.array_equal(read.signal, samples / 32768)
    path.write_bytes(_with_checksum(path, bytes(16)))  # as encoders that do not know it at the start leave it
    assert np.array_equal(read_remix(path, FRAMES).samples, samples)
    with pytest.raises(FileNotFoundError):
        read_remix(tmp_path / "another.flac", FRAMES)


def by_ffmpeg(samples: np.ndarray, level: int) -> bytes:
    """The same as another encoder writes it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=32000, layout="stereo", options={"compression_level": str(level)})
        stream.format = "s16"
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = 32000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return buffer.getvalue()


def by_libsndfile(samples: np.ndarray, level: float) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 32000, format="FLAC", subtype="PCM_16", compression_level=level)
    return buffer.getvalue()


def by_reference_encoder(samples: np.ndarray, level: int) -> bytes:
    program = shutil.which("flac")
    if program is None:
        pytest.skip("the program flac is not installed")
    form = ["--force-raw-format", "--endian=little", "--sign=signed", "--channels=2", "--bps=16", "--sample-rate=32000"]
    run = [program, "--silent", "--stdout", f"-{level}", *form, "-"]
    return subprocess.run(run, input=samples.astype("<i2").tobytes(), capture_output=True, check=True).stdout


def sine(frames: int) -> np.ndarray:
    return np.round(9000 * np.sin(np.arange(frames)[:, None] / [20, 30])).astype(np.int16)


SIGNALS: dict[str, Callable[[int], np.ndarray]] = {
    "noise": noise,
    "a sine": sine,
    "constant": lambda frames: np.ones((frames, 2), np.int16),
    "noise at full scale": lambda frames: np.sign(noise(frames)) * np.int16(32767),
}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("encoder", "levels"),
    [(by_libsndfile, (0.0, 0.25, 0.5, 0.75, 1.0)), (by_ffmpeg, (0, 1, 5, 8, 12)), (by_reference_encoder, (0, 5, 8))],
)
def test_whatever_lies_behind_the_music_is_found(
    encoder: Callable[[np.ndarray, float], bytes], levels: Sequence[float], signal: str, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    for level in levels:
        for frames in (LENGTHS[0], LENGTHS[-1]):
            samples = SIGNALS[signal](frames)
            content = encoder(samples, level)
            path.write_bytes(content)
            assert np.array_equal(read_remix(path, FRAMES).samples, samples)
            another = content[content.index(b"\xff\xf8", 42) :]  # its frames alone
            for garbage in (b"\0", b"\xff", bytes(100), b"TAG" + bytes(125), b"\xff\xf8" + bytes(50), content, another):
                path.write_bytes(content + garbage)
                with pytest.raises(SubmissionError, match=f"{NAME}: something lies behind the music"):
                    read_remix(path, FRAMES)
                path.write_bytes(_with_checksum(path, bytes(16)))
                with pytest.raises(SubmissionError, match=f"{NAME}: something lies behind the music"):
                    read_remix(path, FRAMES)


def test_refusing_many_files_uses_up_no_descriptors(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc here to count open files with")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "big")
    before = len(list(descriptors.iterdir()))
    for name in ["folder", "pipe", "big"] * 5:
        with pytest.raises(SubmissionError):
            read_remix(tmp_path / name, 50)
    assert len(list(descriptors.iterdir())) == before
