"""Reading one submitted remix and one manifest: whatever is in the file, the answer is a line, and soon."""

import hashlib
import io
import json
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
from support import FRAMES, TinySet

from harness.challenge import PROTOCOL
from harness.errors import SubmissionError
from harness.music.layout import load
from harness.submission.causality import LoadRecord
from harness.submission.flac import encode, read_remix
from harness.submission.manifest import MANIFEST, CostRecord, max_manifest_bytes, read_manifest, write_manifest

LENGTHS = PROTOCOL.remix_frames(FRAMES)
NAME = "scene_V001_V1_remix.flac"


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


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


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


def change(key: str, value: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        content[key] = value
        path.write_text(json.dumps(content))

    return edit


def lack(key: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps({name: each for name, each in json.loads(path.read_text()).items() if name != key}))

    return edit


MANIFESTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no JSON": (lambda path: path.write_text("{"), "the file: Invalid JSON"),
    "not even text": (lambda path: path.write_bytes(b"\xff\xfe\x00"), "the file: Invalid JSON"),
    "a list": (lambda path: path.write_text("[]"), "the file: Input should be an object"),
    "nested without end": (lambda path: path.write_text("[" * 100_000), "the file: Invalid JSON"),
    "no system": (lack("system"), "system: Field required"),
    "no class": (lack("class"), "class: Field required"),
    "system is a number": (change("system", 5), "system: Input should be a valid string"),
    "class is unknown": (change("class", "fast"), "class: Input should be 'causal' or 'non-causal'"),
    "training data unknown": (
        change("training_data", "lots"),
        "training_data: Value error, expected one of: none, off",
    ),
    "another format": (change("format", 2), "format: Input should be 1"),
    "a strange key": (change("score", 1), "score: unknown key (known are batch, causality, chain, class, "),
    "no split": (change("evaluation_set", {"name": "tiny"}), "evaluation_set.split: Field required"),
    "files are a list": (change("files", [NAME]), "files: Input should be an object"),
    "a hash is none": (change("files", {NAME: {"sha256": "abc"}}), f"files.{NAME}.sha256: String should match pattern"),
    "fewer than no parameters": (change("parameters", -1), "parameters: Input should be greater than or equal to 0"),
    "a setting is NaN": (change("settings", {"overlap": float("nan")}), "settings.overlap"),
    "a setting is a list": (change("settings", {"overlap": [1]}), "settings.overlap"),
    "more parameters than an atom": (change("parameters", 2**53 + 1), "parameters: Input should be less than or equal"),
    "more clipped than there is": (
        change("files", {NAME: {"sha256": "0" * 64, "clipped": 2**31}}),
        f"files.{NAME}.clipped: Input should be less than 2147483648",
    ),
    "a setting of 65 bits": (change("settings", {"a": 2**63}), "settings.a: an integer must fit into 64 bits"),
    "a setting of 65 bits, negative": (change("settings", {"a": -(2**63) - 1}), "settings.a: an integer must fit"),
    "too many settings": (change("settings", dict.fromkeys(map(str, range(1001)))), "settings: has 1001 entries"),
    "NUL in a name": (change("system", "a\0b"), "system: U+0000 is not a printable character"),
    "two lines in a name": (change("version", "1\n2"), "version: U+000A is not a printable character"),
    "turned around": (change("team", "a\u202eb"), "team: U+202E is not a printable character"),
    "isolated": (change("licence", "a\u2066b"), "licence: U+2066 is not a printable character"),
    "half a character": (change("contact", "\ud800"), "the file: Invalid JSON"),
    "an escape sequence in a setting": (change("settings", {"a": "\x1b[2J"}), "settings.a: U+001B is not a print"),
    "a line end in a setting's name": (change("settings", {"a\nb": 1}), "settings.a\\nb.[key]: U+000A is not a print"),
    "a strange key of many lines": (change("a\nb", 1), "a\\nb: unknown key"),
    "a key without end": (change("x" * 10**6, 1), f"{'x' * 200}: unknown key"),
    "a line end in a file's name": (
        change("files", {"a\nb": {"sha256": "0" * 64}}),
        "files.a\\nb.[key]: U+000A is not",
    ),
    "a tab in a description": (change("description", "a\tb"), "description: U+0009 is not a printable character"),
    "the split turned around": (
        change("evaluation_set", {"name": "a", "split": "\u202e"}),
        "evaluation_set.split: U+202E is not a printable character",
    ),
    "endless text": (change("licence", "x" * 501), "licence: String should have at most 500 characters"),
    "huge": (lambda path: os.truncate(path, 2**31), f"{MANIFEST} has {2**31} bytes, at most "),
    "a link": (lambda path: path.symlink_to(path.rename(path.with_suffix(".bak"))), f"{MANIFEST} is a link"),
    "a folder": (replaced(Path.mkdir), f"{MANIFEST} is not a regular file"),
    "a pipe": (replaced(os.mkfifo), f"{MANIFEST} is not a regular file"),
}


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("case", MANIFESTS)
def test_a_wrong_manifest_names_the_key(case: str, submission: Path) -> None:
    damage, expected = MANIFESTS[case]
    damage(submission / MANIFEST)
    with pytest.raises(SubmissionError) as caught:
        read_manifest(submission)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_manifest_survives_being_written_and_read(submission: Path, tiny_set: TinySet, tmp_path: Path) -> None:
    manifest = read_manifest(submission)
    assert manifest is not None
    assert (manifest.system, manifest.class_, manifest.training_data) == ("passthrough", "causal", "none")
    assert manifest.evaluation_set.mixtures_sha256 == load(tiny_set.root).mixtures_sha256
    assert {name: record.sha256 for name, record in manifest.files.items()} == {
        name: hashlib.sha256((submission / name).read_bytes()).hexdigest() for name in tiny_set.names
    }
    write_manifest(tmp_path / "copy", manifest)
    assert read_manifest(tmp_path / "copy") == manifest
    assert read_manifest(tmp_path) is None


def test_what_a_manifest_may_hold(submission: Path) -> None:
    for key, value in (
        ("description", "Two\nlines, 愛"),
        ("system", "Motörhead 愛"),
        ("parameters", 2**53),
        ("settings", {"a": 2**63 - 1, "b": -(2**63), "c": -0.0, "d": 1e308, "e": None, "f": True}),
        ("files", {"x" * 200 + ".flac": {"sha256": "0" * 64, "clipped": 2**31 - 1}}),
    ):
        change(key, value)(submission / MANIFEST)
        manifest = read_manifest(submission)
        assert manifest is not None
        assert manifest.model_dump(by_alias=True)[key] == value


def test_a_manifest_is_as_large_as_its_evaluation_set_needs(submission: Path) -> None:
    def padded(size: int) -> None:
        content = (submission / MANIFEST).read_bytes().rstrip()
        (submission / MANIFEST).write_bytes(content + b" " * (size - len(content)))

    padded(max_manifest_bytes(4))
    assert read_manifest(submission, max_manifest_bytes(4)) is not None
    padded(max_manifest_bytes(4) + 1)
    with pytest.raises(
        SubmissionError, match=f"has {max_manifest_bytes(4) + 1} bytes, at most {max_manifest_bytes(4)}"
    ):
        read_manifest(submission, max_manifest_bytes(4))
    assert max_manifest_bytes(10**6) == 1024 * 10**6


def test_the_key_tells_apart_whatever_made_other_files(submission: Path) -> None:
    def key() -> str:
        manifest = read_manifest(submission)
        assert manifest is not None
        return manifest.key

    first = key()
    path = submission / MANIFEST
    shutil.copy(path, path.with_suffix(".bak"))
    # What is declared may be corrected: it did not make the files.
    for name, value in (
        ("files", {}),
        ("harness", "9.9.9"),
        ("class", "non-causal"),
        ("training_data", "official"),
        ("reference", True),
        ("not_eligible", "because"),
        ("parameters", 7),
        ("licence", "MIT"),
        ("team", "A Team"),
        ("contact", "a@example.org"),
        ("url", "https://example.org"),
        ("paper", "http://example.org/paper.pdf"),
        ("description", "x" * 2000),
    ):
        change(name, value)(path)
        assert key() == first
    others = set()
    for name, value in (
        ("system", "other"),
        ("version", "2"),
        ("settings", {"a": 1}),
        ("soft_clip", True),
        ("weights_sha256", "0" * 64),
        ("code_sha256", "0" * 64),
        ("inputs_sha256", {"a": "0" * 64}),
        ("pipeline_sha256", "0" * 64),
        ("packages", {"torch": "2"}),
        ("unidentified", "0" * 32),
        ("evaluation_set", {"name": "tiny", "split": "valid", "mixtures_sha256": "0" * 64}),
    ):
        shutil.copy(path.with_suffix(".bak"), path)
        change(name, value)(path)
        others.add(key())
    assert len(others) == 11
    assert first not in others


def test_the_manifest_of_a_streaming_enhancer_on_the_official_set_is_within_the_limits(submission):
    """Costs and loads are those of every pair there."""
    manifest, pairs = read_manifest(submission), 19_200
    record = manifest.files["scene_V001_V1_remix.flac"].model_copy(update={"clipped": 123_456})
    cost = CostRecord(wall_seconds=12.345678901234567, cpu_seconds=12.345678901234567, peak_bytes=1_234_567_890)
    load = LoadRecord(
        **{
            "blocks": 4009,
            "cpu_late": 1234,
            "wall_late": 1234,
            "processor": "A processor with a name of 48 characters @ 3 GHz",
        },
        **{f"{clock}_{of}": 0.12345678901234567 for clock in ("cpu", "wall") for of in ("p50", "p99", "worst")},
    )
    names = [f"scene_{number:05} L{number:05}" for number in range(pairs)]
    manifest = manifest.model_copy(
        update={
            "files": {f"{name.replace(' ', '_')}_remix.flac": record for name in names},
            "costs": dict.fromkeys(names, cost),
            "loads": dict.fromkeys(names, load),
        }
    )
    write_manifest(submission, manifest)
    assert read_manifest(submission, max_manifest_bytes(pairs)) == manifest
