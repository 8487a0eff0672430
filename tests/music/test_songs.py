"""Evaluation sets of the first challenge: every song for every listener, and metadata that may come from strangers."""

import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reliability.mutations import mutated_metadata
from support import SONG_FRAMES, SONGS, TinySet, TinySongs

from harness.challenge import CAD1, PROTOCOL, STEMS
from harness.errors import DataError, HarnessError, UsageError
from harness.music.layout import load, splits


def rename(song: str) -> Callable[[Any], Any]:
    return lambda songs: songs[0].update({"Track Name": song})


def test_every_song_for_every_listener_in_the_order_of_the_files(tiny_songs: TinySongs) -> None:
    tiny_songs.edit("listeners", lambda listeners: dict(reversed(listeners.items())))
    loaded = load(tiny_songs.root)
    assert [pair.id for pair in loaded.pairs] == [(song, who) for song in SONGS for who in ("V2", "V1")]
    assert (loaded.name, loaded.split, loaded.protocol) == ("songs", "valid", CAD1)
    assert all(set(scene.gains) == set(STEMS) and not any(scene.gains.values()) for scene in loaded.scenes)
    loaded.check_music(STEMS)


@pytest.mark.parametrize(
    ("split", "folder"), [("train", "train"), ("valid", "train"), ("Test", "train"), ("test", "test")]
)
def test_only_songs_of_test_lie_there(split: str, folder: str, tiny_songs: TinySongs) -> None:
    tiny_songs.edit("musdb18", lambda songs: [song.update(Split=split) for song in songs] and None)
    assert {scene.folder.parent.name for scene in load(tiny_songs.root).scenes} == {folder}


def test_segments_are_cut_at_the_official_samples(tiny_songs: TinySongs) -> None:
    """129.64 s is sample 5717123: the product is a little less than a whole number, and is truncated."""
    tiny_songs.cut(129.64, 159.64)
    assert load(tiny_songs.root).scenes[0].segment == (5717123, 7040123)
    with pytest.raises(DataError, match="its segment ends at sample 7040123, its music has 26460"):
        load(tiny_songs.root).check_music([])


def test_what_is_scored_is_part_of_a_sets_identity(tiny_songs: TinySongs) -> None:
    whole = load(tiny_songs.root)
    tiny_songs.cut(0.1, 0.55)
    part = load(tiny_songs.root)
    assert whole.sha256 != part.sha256
    assert not set(whole.references().values()) & set(part.references().values())
    assert part.scenes[0].scored_frames == 19845
    assert part.scenes[0].frames == SONG_FRAMES


REFUSED: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "a dot": ("musdb18", rename("."), "Track Name '.' cannot be the name of a folder"),
    "two dots": ("musdb18", rename(".."), "Track Name '..' cannot be the name of a folder"),
    "a path": ("musdb18", rename("../../etc/passwd"), "cannot be the name of a folder"),
    "an absolute path": ("musdb18", rename("/etc"), "cannot be the name of a folder"),
    "a path of Windows": ("musdb18", rename("..\\x"), "cannot be the name of a folder"),
    "a zero byte": ("musdb18", rename("a\0b"), "Track Name"),
    "a line end": ("musdb18", rename("a\nb"), "Track Name"),
    "empty": ("musdb18", rename(""), "Track Name"),
    "too long": ("musdb18", rename("x" * 240), "is too long for the name of a file: shorten it"),
    "too many bytes": ("musdb18", rename("ö" * 125), "is too long for the name of a file: shorten it"),
    "twice": ("musdb18", rename(SONGS[1]), f"the Track Name {SONGS[1]!r} is there twice"),
    "a case that differs": ("musdb18", rename(SONGS[1].upper()), "differ in case only: rename one of them"),
    "accents that differ": (
        "musdb18",
        rename(unicodedata.normalize("NFD", SONGS[1])),
        "differ in the form of their accents: rename one of them",
    ),
    "no songs": ("musdb18", lambda _: [], "holds no scene-listener pair"),
    "a listener that is a path": ("listeners", lambda found: {"../x": found["V1"]}, "../x"),
    "segments that lack a song": ("musdb18.segments", lambda found: {SONGS[0]: found[SONGS[0]]}, "no segment of"),
    "a segment that ends first": (
        "musdb18.segments",
        lambda found: found[SONGS[0]]["objective_evaluation"].update(start=0.4, end=0.1),
        "Vector One.objective_evaluation: ends at 0.1 s, before it starts",
    ),
    "a segment too short for music": (
        "musdb18.segments",
        lambda found: found[SONGS[0]]["objective_evaluation"].update(end=0.1),
        "Vector One.objective_evaluation: lasts 0.100 s, expected 0.4 s or more",
    ),
    "a segment before the song": (
        "musdb18.segments",
        lambda found: found[SONGS[0]]["objective_evaluation"].update(start=-1),
        "Vector One.objective_evaluation.start",
    ),
    "a segment in words": (
        "musdb18.segments",
        lambda found: found[SONGS[0]]["objective_evaluation"].update(start="0.1"),
        "Vector One.objective_evaluation.start",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_metadata_is_refused_in_one_line(case: str, tiny_songs: TinySongs) -> None:
    name, change, said = REFUSED[case]
    if name == "musdb18.segments":
        tiny_songs.cut(0.0, 0.5)
    path = tiny_songs.edit(name, change)
    with pytest.raises(DataError) as caught:
        load(tiny_songs.root)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_set_without_listeners(tiny_songs: TinySongs) -> None:
    tiny_songs.edit("listeners", lambda _: {})
    with pytest.raises(DataError, match=r"musdb18\.valid\.json: holds no scene-listener pair"):
        load(tiny_songs.root)


def test_splits_and_their_protocols(tiny_songs: TinySongs, tiny_set: TinySet, tmp_path: Path) -> None:
    assert splits(tiny_songs.root) == {"valid": CAD1}
    assert splits(tiny_set.root) == {"valid": PROTOCOL}
    for path in (tiny_songs.metadata("musdb18"), tiny_songs.metadata("listeners")):
        path.with_name(path.name.replace("valid", "test")).write_bytes(path.read_bytes())
    assert splits(tiny_songs.root) == {"test": CAD1, "valid": CAD1}
    with pytest.raises(UsageError, match="name the split: --split test or valid"):
        load(tiny_songs.root)
    assert load(tiny_songs.root, "test").split == "test"
    with pytest.raises(DataError, match=r"missing metadata file .*musdb18\.none\.json"):
        load(tiny_songs.root, "none")
    with pytest.raises(UsageError, match=r"cannot be scored by --protocol cad_icassp_2024.* lacks scenes\.test\.json"):
        load(tiny_songs.root, "test", protocol=PROTOCOL)
    (tiny_set.root / "metadata" / "musdb18.valid.json").unlink()
    with pytest.raises(
        UsageError, match=r"cannot be scored by --protocol cad1.* lacks musdb18\.<split>\.json and list"
    ):
        load(tiny_set.root, protocol=CAD1)


def test_damaged_metadata(tiny_songs: TinySongs) -> None:
    draw = random.Random(4)
    tiny_songs.cut(0.0, 0.5)
    names = ("musdb18", "listeners", "musdb18.segments")
    documents = {tiny_songs.metadata(name): json.loads(tiny_songs.metadata(name).read_text()) for name in names}
    said: list[str] = []
    for _ in range(300):
        path = draw.choice(list(documents))
        path.write_bytes(mutated_metadata(draw, documents[path]))
        try:
            loaded = load(tiny_songs.root)
            loaded.check_music(["vocals"])
            inner = {scene.folder.resolve().parent for scene in loaded.scenes}
            assert inner <= {tiny_songs.root / "audio" / "musdb18hq" / part for part in ("train", "test")}
            assert len({name for pair in loaded.pairs for name in pair.files}) == 17 * len(loaded.pairs)
        except HarnessError as error:
            said.append(str(error))
        path.write_text(json.dumps(documents[path]))
    assert len(said) > 100, "the mutations do no damage"
    assert all(each.isprintable() and len(each) < 1500 for each in said)
