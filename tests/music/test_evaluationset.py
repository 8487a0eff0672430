"""Reading an evaluation set: the good path, and every malformed file as one line that says what to fix."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support import AT_MIC, FRAMES, HEADPHONES, Change, RunCli, TinySet, drop, put

from harness.errors import DataError, UsageError
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load

PASSTHROUGH = ("enhance", "--system", "passthrough")
ORACLE = ("enhance", "--system", "oracle")


def _without_1000_hz(listeners: Any) -> None:
    for key in ("audiogram_cfs", "audiogram_levels_l", "audiogram_levels_r"):
        del listeners["V1"][key][2]


FREQUENCIES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
LEFT = ("V1", "audiogram_levels_l")

MALFORMED: dict[str, tuple[str, Change, str]] = {
    # what is wrong: the file, how it is changed, what the message says after the file's name
    "scenes are a list": ("scenes", lambda content: [content], "the file: Input should be an object"),
    "a scene is a text": ("scenes", put("scene_V001", "loud"), "scene_V001: Input should be an object"),
    "scene without gain": ("scenes", drop("scene_V001", "gain"), "scene_V001.gain: Field required"),
    "scene without music key": ("scenes", drop("scene_V001", "music"), "scene_V001.music: Field required"),
    "unknown gain": ("scenes", put("scene_V001", "gain", "gain_9"), "scene_V001.gain: 'gain_9' is not in gains.json"),
    "scene id leads out": ("scenes", put("../x", {}), "../x.[key]: String should match pattern"),
    "scene without music": ("at_mic_music", drop(AT_MIC), f"no music {AT_MIC!r}, which scene_V001 needs"),
    "headphone scene without music": ("musdb18", lambda _: [], f"no music {HEADPHONES!r}, which scene_V002 needs"),
    "music path leads out": (
        "at_mic_music",
        put(AT_MIC, "Path", "valid/../../../secret"),
        f"{AT_MIC}: Path 'valid/../../../secret' leads out of",
    ),
    "music path is absolute": ("at_mic_music", put(AT_MIC, "Path", "/etc"), f"{AT_MIC}: Path '/etc' leads out of"),
    "music split leads out": ("musdb18", put(0, "Split", ".."), f"{HEADPHONES}: Path '../{HEADPHONES}' leads out of"),
    "music without name": ("musdb18", drop(0, "Track Name"), "0.Track Name: Field required"),
    "gains lack a stem": ("gains", drop("gain_scene_V001", "drums"), "gain_scene_V001.drums: Field required"),
    "gain is a text": ("gains", put("gain_scene_V001", "drums", "6"), "drums: Input should be a valid number"),
    "gain is NaN": ("gains", put("gain_scene_V001", "drums", float("nan")), "drums: Input should be "),
    "gain for a strange stem": ("gains", put("gain_scene_V001", "piano", 3), "piano: Extra inputs are not permitted"),
    "unknown scene": ("scene_listeners", put("scene_9", ["V1"]), "scene_9: not in scenes.valid.json"),
    "unknown listener": ("scene_listeners", put("scene_V001", ["V9"]), "V9 is not in listeners.valid.json"),
    "listener named twice": ("scene_listeners", put("scene_V001", ["V1", "V1"]), "a listener is named twice"),
    "listeners are a text": ("scene_listeners", put("scene_V001", "V1"), "scene_V001: Input should be a valid array"),
    "listener id leads out": ("listeners", put("../V1", {}), "../V1.[key]: String should match pattern"),
    "no pair": ("scene_listeners", lambda _: {}, "holds no scene-listener pair"),
    "listener without audiogram": ("listeners", put("V1", {"name": "V1"}), "V1.audiogram_cfs: Field required"),
    "listener without left ear": ("listeners", drop(*LEFT), "V1.audiogram_levels_l: Field required"),
    "level is a text": ("listeners", put(*LEFT, 2, "40"), "V1.audiogram_levels_l.2: Input should be a valid number"),
    "level is missing": ("listeners", put(*LEFT, 2, None), "V1.audiogram_levels_l.2: Input should be a valid number"),
    "level is negative": ("listeners", put(*LEFT, 2, -10.5), "l.2: Input should be greater than or equal to -10"),
    "level is deadly": ("listeners", put(*LEFT, 2, 141), "l.2: Input should be less than or equal to 140"),
    "level is NaN": ("listeners", put(*LEFT, 2, float("nan")), "V1.audiogram_levels_l.2: Input should be "),
    "too few levels": ("listeners", drop(*LEFT, 7), "audiogram_levels_l has 7 levels for 8 frequencies"),
    "frequencies descend": ("listeners", put("V1", "audiogram_cfs", FREQUENCIES[::-1]), "audiogram_cfs must ascend"),
    "song turned around": ("scenes", put("scene_V001", "music", "a\u202eb"), "scene_V001.music: U+202E is not a print"),
    "NUL in a path": (
        "at_mic_music",
        put(AT_MIC, "Path", "a\0b"),
        f"{AT_MIC}.Path: U+0000 is not a printable character",
    ),
    "line end in a split": ("musdb18", put(0, "Split", "a\nb"), "0.Split: U+000A is not a printable character"),
    "escape sequence in a track": (
        "musdb18",
        put(0, "Track Name", "\x1b[2J"),
        "0.Track Name: U+001B is not a printable",
    ),
    "half a character": ("at_mic_music", put(AT_MIC, "Path", "\udcff"), "the file: Invalid JSON"),
    "a key of many lines": ("gains", put("a\nb", {}), "a\\nb.[key]: U+000A is not a printable character"),
    "two scenes but for case": (
        "scene_listeners",
        lambda content: {"scene_v001": ["V1"], "scene_V001": ["V2"]},
        "scenes scene_v001 and scene_V001 differ in case only: rename one of them",
    ),
    "two listeners but for case": (
        "scene_listeners",
        lambda content: {"scene_V001": ["V1"], "scene_V002": ["v1"]},
        "listeners V1 and v1 differ in case only: rename one of them",
    ),
    "endless frequencies": (
        "listeners",
        put("V1", "audiogram_cfs", list(range(1, 102))),
        "V1.audiogram_cfs: List should have at most 100 items",
    ),
    "a frequency is missing": ("listeners", _without_1000_hz, "audiogram_cfs lacks 1000 Hz"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_metadata_is_one_line_with_file_key_and_expectation(
    case: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    name, change, expected = MALFORMED[case]
    tiny_set.edit("scenes", lambda content: content.update(scene_v001=content["scene_V001"]))
    tiny_set.edit("listeners", lambda content: content.update(v1=content["V1"]))
    path = tiny_set.edit(name, change)
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args)
    assert outcome.code == 2
    assert path.name in outcome.error
    assert expected in outcome.error


@pytest.mark.parametrize("name", ["scenes", "scene_listeners", "listeners", "gains", "at_mic_music", "musdb18"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "missing metadata file {}"),
        (b"", "{}: the file: Invalid JSON"),
        (b'{"a": ', "{}: the file: Invalid JSON"),
    ],
    ids=["missing", "empty", "cut"],
)
def test_a_metadata_file_that_is_missing_or_no_json(
    name: str, content: bytes | None, expected: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    path = tiny_set.metadata(name)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    outcome = run_cli(*PASSTHROUGH, *tiny_set.args, "--split", "valid")
    assert outcome.code == 2
    assert expected.format(path) in outcome.error


def test_two_pairs_that_would_share_a_file_name(tiny_set: TinySet) -> None:
    def rename(content: dict[str, Any]) -> dict[str, Any]:
        return {{"scene_V001": "a", "scene_V002": "a_b"}.get(key, key): value for key, value in content.items()}

    for name in ("scenes", "scene_listeners"):
        tiny_set.edit(name, rename)
    tiny_set.edit("listeners", lambda content: {"b_c": content["V1"], "c": content["V2"]})
    tiny_set.edit("scene_listeners", lambda content: {"a": ["b_c"], "a_b": ["c"]})
    with pytest.raises(DataError, match=r"scene_listeners.valid.json: two pairs would share one file name"):
        load(tiny_set.root)


def test_the_split_must_be_clear(tiny_set: TinySet, run_cli: RunCli, tmp_path: Path) -> None:
    unknown = run_cli(*PASSTHROUGH, *tiny_set.args, "--split", "test")
    assert (unknown.code, "scenes.test.json: check --data and --split" in unknown.error) == (2, True)

    shutil.copy(tiny_set.metadata("scenes"), tiny_set.root / "metadata" / "scenes.train.json")
    several = run_cli(*PASSTHROUGH, *tiny_set.args)
    assert (several.code, "name the split: --split train or valid" in several.error) == (2, True)
    assert run_cli(*PASSTHROUGH, *tiny_set.args, "--split", "valid").code == 0

    (tmp_path / "bare").mkdir()
    bare = run_cli(*PASSTHROUGH, "--data", tmp_path / "bare")
    assert (bare.code, "neither metadata/scenes.<split>.json nor" in bare.error) == (2, True)
    nowhere = run_cli(*PASSTHROUGH, "--data", tmp_path / "nowhere")
    assert (nowhere.code, "nowhere: no such folder" in nowhere.error) == (2, True)
    demo = run_cli(*PASSTHROUGH, "--split", "valid")
    assert (demo.code, "has no split 'valid'" in demo.error) == (2, True)


def rewrite(
    rate: int = 44100, channels: int = 2, frames: int = FRAMES, kind: str = "WAV", subtype: str = "PCM_16"
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        signal = 0.1 * np.random.default_rng(1).standard_normal((frames, channels))
        soundfile.write(path, signal, rate, format=kind, subtype=subtype)

    return write


MUSIC: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (Path.unlink, "no music file {}"),
    "another rate": (rewrite(rate=48000), "{}: sample rate is 48000, expected 44100"),
    "mono": (rewrite(channels=1), "{}: channels is 1, expected 2"),
    "too many channels": (rewrite(channels=6), "{}: channels is 6, expected 2"),
    "empty file": (lambda path: path.write_bytes(b""), "{} cannot be read as audio"),
    "no samples": (rewrite(frames=0), "{}: lasts 0.000 s, expected 0.4 s to"),
    "too short": (rewrite(frames=17000), "{}: lasts 0.385 s, expected 0.4 s to"),
    "text": (lambda path: path.write_text("la la la"), "{} cannot be read as audio"),
    "FLAC inside": (rewrite(kind="FLAC"), "{}: format is FLAC, expected WAV"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "no music file {}"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "no music file {}"),
}


@pytest.mark.parametrize("name", ["mixture", "bass"])
@pytest.mark.parametrize("case", MUSIC)
def test_music_that_cannot_be_used_is_found_before_work_starts(
    case: str, name: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    damage, expected = MUSIC[case]
    path = tiny_set.music(name, "scene_V002")
    damage(path)
    outcome = run_cli(*ORACLE, *tiny_set.args)
    assert outcome.code == 2
    assert expected.format(path) in outcome.error
    assert not Path("submissions").exists()


def test_a_stem_of_another_length(tiny_set: TinySet, run_cli: RunCli) -> None:
    rewrite(frames=FRAMES + 1)(tiny_set.music("vocals"))
    outcome = run_cli(*ORACLE, *tiny_set.args)
    assert outcome.code == 2
    assert f"{AT_MIC}: the files differ in length (mixture {FRAMES}, vocals {FRAMES + 1}" in outcome.error


@pytest.mark.parametrize(("name", "system"), [("mixture", "passthrough"), ("drums", "oracle")])
def test_music_that_is_not_finite_fails_its_pairs_and_no_others(
    name: str, system: str, tiny_set: TinySet, run_cli: RunCli
) -> None:
    path = tiny_set.music(name)
    signal, rate = soundfile.read(path)
    signal[100] = np.nan
    soundfile.write(path, signal, rate, subtype="FLOAT")
    outcome = run_cli("enhance", "--system", system, *tiny_set.args, "--json")
    assert outcome.code == 1
    assert [(each["scene"], each["listener"]) for each in outcome.json["failures"]] == [
        ("scene_V001", "V1"),
        ("scene_V001", "V2"),
    ]
    assert all(f"{path} holds values that are not finite" in each["reason"] for each in outcome.json["failures"])
    assert outcome.json["made"] == 2


def test_the_good_path(tiny_set: TinySet) -> None:
    # The order is that of scene_listeners, which need not be that of scenes.
    tiny_set.edit("scene_listeners", lambda content: {"scene_V002": ["V2", "V1"], "scene_V001": ["V1"]})
    loaded = load(tiny_set.root)
    assert (loaded.name, loaded.split) == ("tiny", "valid")
    assert [pair.id for pair in loaded.pairs] == [("scene_V002", "V2"), ("scene_V002", "V1"), ("scene_V001", "V1")]
    assert loaded.pairs[0].remix_name == "scene_V002_V2_remix.flac"
    headphones, at_mic = loaded.scenes
    assert (at_mic.song, at_mic.track) == (AT_MIC, "Vector One")
    assert (headphones.song, headphones.track) == (HEADPHONES, HEADPHONES)
    assert at_mic.gains == {"vocals": 6, "drums": -3, "bass": 0, "other": -10}
    asymmetric = headphones.listeners[0]
    assert asymmetric.left.frequencies == tuple(FREQUENCIES)
    assert asymmetric.left.levels == (60, 65, 70, 75, 80, 85, 95, 95)
    assert asymmetric.right.levels == (0,) * 8
    mixture = at_mic.read("mixture")
    assert (mixture.shape, mixture.dtype, at_mic.frames) == ((FRAMES, 2), np.float64, FRAMES)
    assert np.array_equal(mixture * 32768, soundfile.read(tiny_set.music(), dtype="int16")[0])
    assert set(at_mic.read_stems()) == {"vocals", "drums", "bass", "other"}


def test_selection(tiny_set: TinySet, run_cli: RunCli) -> None:
    loaded = load(tiny_set.root)

    def chosen(selected: EvaluationSet) -> list[str]:
        return [scene.id for scene in selected.scenes]

    assert chosen(loaded.select(["scene_V002", "scene_V001"])) == ["scene_V001", "scene_V002"]
    assert chosen(loaded.select(["scene_V002"])) == ["scene_V002"]
    assert chosen(loaded.select(limit=1)) == ["scene_V001"]
    assert chosen(loaded.select(limit=99)) == ["scene_V001", "scene_V002"]
    part = loaded.select(["scene_V002"], limit=1)
    assert len(part.all_pairs) == 4
    assert part.sha256 == loaded.sha256
    with pytest.raises(UsageError, match="no scene is selected"):
        loaded.select([])

    unknown = run_cli(*PASSTHROUGH, *tiny_set.args, "--scenes", "scene_V001,scene_9")
    assert (unknown.code, "no scene scene_9 in tiny (it has scene_V001" in unknown.error) == (2, True)
    one = run_cli(*PASSTHROUGH, *tiny_set.args, "--scenes", " scene_V002 ,", "--json")
    assert (one.code, one.json["made"]) == (0, 2)
    assert run_cli(*PASSTHROUGH, *tiny_set.args, "--limit", "0").code == 2


def test_the_hash_knows_content_not_form_or_place(tiny_set: TinySet, tmp_path: Path) -> None:
    before = load(tiny_set.root)
    moved = TinySet(shutil.copytree(tiny_set.root, tmp_path / "elsewhere" / "renamed"))
    for path in (moved.root / "metadata").iterdir():
        path.write_text(json.dumps(json.loads(path.read_text()), indent=7))
    moved.edit("gains", lambda content: dict(reversed(content.items())))
    moved.edit("listeners", lambda content: {**dict(reversed(content.items())), "V3": content["V1"]})
    after = load(moved.root)
    assert (after.sha256, after.mixtures_sha256) == (before.sha256, before.mixtures_sha256)


def _change_sample(tiny_set: TinySet, name: str) -> None:
    path = tiny_set.music(name)
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # however well the change is hidden


@pytest.mark.parametrize(
    ("change", "systems_see_it"),
    [
        (lambda tiny: _change_sample(tiny, "mixture"), True),
        (lambda tiny: _change_sample(tiny, "drums"), False),
        (lambda tiny: tiny.edit("gains", put("gain_scene_V001", "vocals", 6.5)), True),
        (lambda tiny: tiny.edit("listeners", put(*LEFT, 0, 11)), True),
        (lambda tiny: tiny.edit("scene_listeners", put("scene_V001", ["V1"])), True),
    ],
    ids=["mixture", "stem", "gain", "level", "pairs"],
)
def test_the_hash_changes_with_whatever_changes_a_score(
    change: Callable[[TinySet], Any], systems_see_it: bool, tiny_set: TinySet
) -> None:
    before = load(tiny_set.root)
    hashes = before.sha256, before.mixtures_sha256
    change(tiny_set)
    after = load(tiny_set.root)
    assert after.sha256 != hashes[0]
    assert (after.mixtures_sha256 != hashes[1]) is systems_see_it
