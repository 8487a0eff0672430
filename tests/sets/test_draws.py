"""Drawing scenes and listeners: the official program's bytes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sets.official import run_official

from harness.challenge import PROTOCOL
from harness.errors import DataError, UsageError
from harness.sets.draws import choose, seeded
from harness.sets.gains import official_gains
from harness.sets.positions import official_positions, records_of
from harness.sets.scenes import draw_listeners, draw_scenes

GOLDEN = Path(__file__).parents[3] / "shared" / "golden_data" / "metadata"
needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout")
FILES = ("scenes.train.json", "scene_listeners.train.json")


def write(root, name, content):
    (root / "metadata").mkdir(parents=True, exist_ok=True)
    (root / "metadata" / name).write_text(json.dumps(content))


def listeners(*names):
    cfs = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
    levels = [20] * 8
    each = {"audiogram_cfs": cfs, "audiogram_levels_l": levels, "audiogram_levels_r": levels}
    return {name: {"name": name, **each} for name in names}


def make_root(root, songs=("Übung - Nr. 4", "Two", "Golden's & so"), gains=9, positions=7, people=5):
    write(root, "musdb18.train.json", [{"Track Name": song, "Split": "train"} for song in songs])
    write(root, "gains.json", dict(list(official_gains().items())[:gains]))
    write(root, "head_loudspeaker_positions.json", records_of(dict(list(official_positions().items())[:positions])))
    # Not in the order of the names: the file's order counts.
    write(root, "listeners.train.json", listeners(*(f"L{n:04}" for n in reversed(range(people)))))
    return root


def texts(root):
    return [(root / "metadata" / name).read_bytes() for name in FILES]


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 9])
def test_choosing_draws_what_numpy_draws(size):
    items = list("abcdefgh")
    state = seeded("Übung")
    np.random.seed(PROTOCOL.seed("Übung"))
    expected = items if size >= len(items) else list(np.random.choice(items, size, replace=False))
    assert choose(state, items, size) == expected
    assert state.randint(10**6) == np.random.randint(10**6)


def test_choosing_from_nothing_gives_nothing():
    assert choose(seeded("x"), [], 1) == []


def test_the_published_examples():
    """Example rows on the challenge's site: CHALLENGE pages, scenes.train.json and scene_listeners.train.json."""
    assert len(official_gains()) == 1105
    assert official_gains()["gain_0001"] == {"vocals": 0, "drums": 0, "bass": 0, "other": 0}
    assert official_gains()["gain_0007"] == {"vocals": 10, "drums": 0, "bass": 0, "other": 0}
    assert official_gains()["gain_0138"] == {"vocals": 0, "drums": -10, "bass": 6, "other": 0}
    assert official_gains()["gain_0381"] == {"vocals": 3, "drums": 10, "bass": -6, "other": 0}
    assert len({tuple(each.values()) for each in official_gains().values()}) == 1105
    assert len(set(official_positions().values())) == 144
    assert records_of(official_positions())["hlp_0001"] == {
        "subject": "VP_E1",
        "left_angle": -37.5,
        "right_angle": 22.5,
        "mic": "BTE_fr",
    }
    scenes = draw_scenes(["A Classic Education - NightOwl"], list(official_gains()), list(official_positions()), 4)
    assert scenes["scene_10001"] == {
        "music": "A Classic Education - NightOwl",
        "gain": "gain_0639",
        "head_loudspeaker_positions": "hlp_0056",
    }


def test_more_scenes_or_listeners_keep_the_first_ones():
    gains, positions = list(official_gains()), list(official_positions())
    four, six = (list(draw_scenes(["A", "B"], gains, positions, n).values()) for n in (4, 6))
    assert four == six[:4] + six[6:10]
    two, three = (draw_listeners(["s1", "s2", "s3"], list("abcdef"), n) for n in (2, 3))
    assert two == {scene: people[:2] for scene, people in three.items()}
    assert draw_listeners(["s1", "s2"], list("ba"), 2) == {"s1": ["b", "a"], "s2": ["b", "a"]}


def test_without_positions_scenes_are_in_headphone_form():
    (scene,) = draw_scenes(["A"], list(official_gains()), [], 1).values()
    assert list(scene) == ["music", "gain"]


def test_too_few_are_refused():
    with pytest.raises(UsageError, match="positions twice, and there are 3: choose --per-song 3"):
        draw_scenes(["A"], list("abcd"), list("abc"), 4)
    with pytest.raises(UsageError, match="sets of gains"):
        draw_scenes(["A"], [], list("abcd"), 1)
    with pytest.raises(DataError):
        draw_listeners(["s"], [], 2)


@pytest.mark.parametrize(
    ("sizes", "per_song", "per_scene"),
    [({}, 4, 2), ({"gains": 5, "positions": 4, "people": 2}, 4, 2), ({"people": 1}, 7, 3)],
)
def test_the_files_are_those_of_the_official_program(tmp_path, run_cli, sizes, per_song, per_scene):
    ours, theirs = make_root(tmp_path / "ours", **sizes), make_root(tmp_path / "theirs", **sizes)
    settings = (
        f"scene.number_scenes_per_song={per_song}",
        f"scene_listener.number_listeners_per_scene={per_scene}",
    )
    run_official("generate_train_scenes", theirs, *settings)
    done = run_cli("set", "scenes", ours, "--per-song", per_song, "--listeners", per_scene)
    assert done.code == 0, done.stderr
    assert texts(ours) == texts(theirs)


@needs_golden
def test_the_files_are_the_golden_ones(tmp_path, run_cli):
    shutil.copytree(GOLDEN / "small" / "in", tmp_path / "in" / "metadata")
    done = run_cli("set", "scenes", tmp_path / "in", "--output", tmp_path / "out", "--json")
    assert done.code == 0, done.stderr
    assert (done.json["scenes"], done.json["pairs"]) == (16, 32)
    for name, text in zip(FILES, texts(tmp_path / "out"), strict=True):
        assert text == (GOLDEN / "small" / "out" / name).read_bytes()
    assert not (tmp_path / "in" / "metadata" / FILES[0]).exists()


@needs_golden
def test_the_challenges_training_scenes(tmp_path, run_cli):
    """Its 83 listeners are drawn as published; gains and positions are written where they are not there."""
    shutil.copytree(make_root(tmp_path / "in"), tmp_path / "root")
    metadata = tmp_path / "root" / "metadata"
    (metadata / "gains.json").unlink()
    (metadata / "head_loudspeaker_positions.json").unlink()
    shutil.copy(GOLDEN / "listeners.clarity83.json", metadata / "listeners.train.json")
    write(tmp_path / "root", "musdb18.train.json", [{"Track Name": "A Classic Education - NightOwl", "Split": "train"}])
    done = run_cli("set", "scenes", tmp_path / "root")
    assert done.code == 0, done.stderr
    assert "gains.json was not there" in done.stderr
    assert json.loads((metadata / "gains.json").read_text()) == official_gains()
    assert json.loads((metadata / "scene_listeners.train.json").read_text())["scene_10001"] == ["L0066", "L0057"]
    assert json.loads((metadata / "scenes.train.json").read_text())["scene_10001"]["gain"] == "gain_0639"


def test_the_provenance_says_what_was_drawn(tmp_path, run_cli):
    root = make_root(tmp_path / "root")
    (root / "metadata" / "gains.json").unlink()
    assert run_cli("set", "scenes", root, "--per-song", 3).code == 0
    entry = json.loads((root / "metadata" / "provenance.train.json").read_text())["set scenes"]
    assert (entry["per_song"], entry["listeners"], entry["official"]) == (3, 2, ["gains.json"])
    assert entry["seeds"]["listeners"] == "icassp2024"
    assert "musdb18.train.json" in entry["metadata"]


def test_nothing_is_overwritten_unasked(tmp_path, run_cli):
    root = make_root(tmp_path / "root")
    assert run_cli("set", "scenes", root).code == 0
    before = texts(root)
    again = run_cli("set", "scenes", root, "--json")
    assert (again.code, again.json["written"]) == (0, [])

    refused = run_cli("set", "scenes", root, "--per-song", 2)
    assert refused.code == 2
    assert "scene_10003" in refused.error
    assert "--overwrite" in refused.error
    assert texts(root) == before
    # The scenes are the same, the listeners are not: neither is written.
    refused = run_cli("set", "scenes", root, "--listeners", 3)
    assert refused.code == 2
    assert "scene_listeners.train.json is there already" in refused.error
    assert run_cli("set", "scenes", root, "--per-song", 2, "--overwrite").code == 0
    assert len(json.loads(texts(root)[0])) == 6


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("musdb18.train.json", [], "lists no song"),
        ("musdb18.train.json", [{"Track Name": "A", "Split": "train"}] * 2, "'A' is listed twice"),
        ("musdb18.train.json", {"A": 1}, "musdb18.train.json"),
        ("gains.json", {}, "gains.json: is empty"),
        ("gains.json", {"g": {"vocals": 1}}, "g.drums"),
        ("head_loudspeaker_positions.json", {}, "head_loudspeaker_positions.json: is empty"),
        ("head_loudspeaker_positions.json", ["hlp_0001"], "head_loudspeaker_positions.json"),
        ("listeners.train.json", {}, "there is no listener"),
    ],
)
def test_damaged_metadata_is_one_line(tmp_path, run_cli, name, content, said):
    root = make_root(tmp_path / "root")
    write(root, name, content)
    done = run_cli("set", "scenes", root)
    assert done.code == 2
    assert said in done.error
    assert not (root / "metadata" / FILES[0]).exists()


def test_what_is_missing_is_said(tmp_path, run_cli):
    assert "no such folder" in run_cli("set", "scenes", tmp_path / "nowhere").error
    root = make_root(tmp_path / "root")
    (root / "metadata" / "listeners.train.json").unlink()
    assert "harness set listeners clarity" in run_cli("set", "scenes", root).error
    (root / "metadata" / "musdb18.train.json").unlink()
    assert "missing metadata file" in run_cli("set", "scenes", root).error
    for path in ("../metadata/x", "a/b"):
        assert run_cli("set", "scenes", root, "--split", path).code == 2
