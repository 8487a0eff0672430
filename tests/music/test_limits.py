"""What an evaluation set may be at most: sizes, names, loudness, kinds of files. All beyond is refused, and soon."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from support import AT_MIC, FRAMES, RunCli, TinySet

from harness.errors import DataError
from harness.music import metadata
from harness.music.evaluationset import max_bytes
from harness.music.layout import load

PASSTHROUGH = ("enhance", "--system", "passthrough")


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("name", ["gains", "scenes", "at_mic_music"])
@pytest.mark.parametrize(
    ("put_there", "expected"),
    [
        (os.mkfifo, "{} is not a regular file"),
        (Path.mkdir, "{} is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "{} is not a regular file"),
        (lambda path: path.symlink_to(path.name), "{} cannot be read: Too many levels of symbolic links"),
        (lambda path: path.touch() or os.truncate(path, 2**40), "{} has 1099511627776 bytes, at most"),
    ],
    ids=["pipe", "folder", "device", "link to itself", "terabyte"],
)
def test_metadata_that_is_no_file(
    name: str, put_there: Callable[[Path], Any], expected: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    path = tiny_set.metadata(name)
    path.unlink()
    put_there(path)
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args, "--split", "valid")
    assert outcome.code == 2
    assert expected.format(path) in outcome.error


def test_metadata_may_be_linked(tiny_set: TinySet) -> None:
    """People link large sets together; only what a link leads to matters."""
    expected = load(tiny_set.root).sha256
    for path in (tiny_set.metadata("gains"), tiny_set.music()):
        path.symlink_to(path.rename(path.with_name("elsewhere")))
    assert load(tiny_set.root).sha256 == expected


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (b"x" * 150, "has 150 characters"),
        (b"a\nb", "has characters that are not printable"),
        (b"nu\xff", "has characters that are not printable"),
    ],
    ids=["long", "two lines", "not UTF-8"],
)
def test_the_name_of_a_set_must_fit(name: bytes, wrong: str, tiny_set: TinySet, run_cli: RunCli) -> None:
    root = tiny_set.root.rename(tiny_set.root.parent / os.fsdecode(name))
    outcome = run_cli(*PASSTHROUGH, "--data", root)
    assert outcome.code == 2
    assert f"the name of the folder {wrong}, 1 to 100 printable ones are possible: rename it" in outcome.error


@pytest.mark.parametrize("split", ["q" * 120, "a\x1bb"])
def test_the_name_of_a_split_must_fit(split: str, tiny_set: TinySet) -> None:
    for path in (tiny_set.root / "metadata").glob("*.valid.json"):
        path.rename(path.with_name(path.name.replace(".valid.", f".{split}.")))
    with pytest.raises(DataError, match=r"the name of the split has .* 1 to 100 printable ones"):
        load(tiny_set.root)


def test_a_path_that_is_too_long(tiny_set: TinySet, run_cli: RunCli) -> None:
    outcome = run_cli(*PASSTHROUGH, "--data", "x" * 300)
    assert (outcome.code, "no such folder" in outcome.error) == (2, True)
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args, "--split", "x" * 90)
    assert (outcome.code, "missing metadata file" in outcome.error) == (2, True)
    tiny_set.edit("at_mic_music", lambda content: content[AT_MIC].update(Path="x" * 300))
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args)
    assert (outcome.code, "no music file" in outcome.error) == (2, True)


def test_as_many_scenes_and_pairs_as_are_allowed(tiny_set: TinySet) -> None:
    scene = json.loads(tiny_set.metadata("scenes").read_text())["scene_V001"]

    def many(count: int) -> None:
        names = [f"scene_{number}" for number in range(count)]
        tiny_set.edit("scenes", lambda content: dict.fromkeys(names, scene))
        tiny_set.edit("scene_listeners", lambda content: {name: ["V1", "V2"] for name in names})

    many(2000)
    assert len(load(tiny_set.root).pairs) == 4000
    many(metadata.MAX_SCENES + 1)
    with pytest.raises(DataError, match=r"scenes.valid.json: the file: has 100001 entries, at most 100000"):
        load(tiny_set.root)


def test_too_many_pairs(tiny_set: TinySet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_PAIRS", 3)
    with pytest.raises(DataError, match="holds 4 scene-listener pairs, at most 3 are expected"):
        load(tiny_set.root)


def test_what_lies_behind_the_music_is_bounded(tiny_set: TinySet, run_cli: RunCli) -> None:
    """A WAV file with gigabytes of nothing behind its music was read whole; pictures and other tags may be there."""
    path = tiny_set.music()
    os.truncate(path, path.stat().st_size + 2**20)
    assert run_cli(*PASSTHROUGH, *tiny_set.args).code == 0
    limit = max_bytes(FRAMES)
    os.truncate(path, 6 * 2**30)
    for args in (PASSTHROUGH, (*PASSTHROUGH, "--scenes", "scene_V002")):  # what is not selected is hashed, too
        outcome = run_cli(*args, *tiny_set.args)
        assert outcome.code == 2
        assert f"{path} has 6,442,450,944 bytes, at most " in outcome.error
    with pytest.raises(DataError, match=f"at most {limit:,} are expected of its music: fetch it again"):
        load(tiny_set.root).scenes[0].read("mixture")


@pytest.mark.parametrize(("loudness", "subtype"), [(1e30, "FLOAT"), (1e300, "DOUBLE"), (2000, "FLOAT")])
def test_music_that_is_absurdly_loud_is_named(
    loudness: float, subtype: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    path = tiny_set.music()
    signal, rate = soundfile.read(path)
    signal[100] = -loudness
    soundfile.write(path, signal, rate, subtype=subtype)
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args, "--json")
    assert outcome.code == 1
    reasons = [each["reason"] for each in outcome.json["failures"]]
    assert len(reasons) == 2
    assert all(f"{path} peaks at {loudness:.3g} times full scale, at most 1000 is music" in each for each in reasons)
    signal[100] = -1000
    soundfile.write(path, signal, rate, subtype=subtype)
    assert load(tiny_set.root).scenes[0].read("mixture").min() == -1000
