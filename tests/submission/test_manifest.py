"""Reading and writing a manifest: whatever is in the file, the answer is a line; what may be in it, and its key."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from submission.damage import NAME, replaced
from support import TinySet

from harness.errors import SubmissionError
from harness.music.layout import load
from harness.submission.causality import LoadRecord
from harness.submission.manifest import MANIFEST, CostRecord, max_manifest_bytes, read_manifest, write_manifest


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
