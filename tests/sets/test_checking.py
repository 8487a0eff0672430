"""`harness set check`: every problem at once, in plain words, and all that loading or reading a set refuses."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from reliability.mutations import mutated_flac, mutated_metadata
from support import AT_MIC, FRAMES, HEADPHONES, RunCli, TinySet

from harness.challenge import CAD1, PROTOCOL, STEMS, Protocol
from harness.errors import HarnessError
from harness.music.finding import EMBEDDED, load_evaluation_set
from harness.music.layout import load
from harness.sets.checking import whole
from harness.sets.checking.audio import look_at
from harness.sets.checking.findings import MAX_OF_A_FILE, Findings
from harness.sets.checking.metadata import CHECKS, Wanted

LIBRARY_WORDS = re.compile(
    r"Input should|Field required|Extra inputs|validation|pydantic|Expecting|Traceback|Errno|\bNone\b|\bdict\b|"
    r"\bstr\b|\bfloat64\b|LibsndfileError|Error opening|Unspecified|object at 0x|\bTrue\b|\bFalse\b"
)
GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
Damage = Callable[[TinySet], Any]


def edit(name: str, change: Callable[[Any], Any]) -> Damage:
    return lambda tiny: tiny.edit(name, change)


def put(name: str, *path_and_value: Any) -> Damage:
    def change(content: Any) -> None:
        *path, last, value = path_and_value
        for key in path:
            content = content[key]
        content[last] = value

    return edit(name, change)


def drop(name: str, *path: Any) -> Damage:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return edit(name, change)


def text(name: str, content: str | bytes) -> Damage:
    return lambda tiny: tiny.metadata(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def music(name: str, damage: Callable[[Path], Any], scene: str = "scene_V001") -> Damage:
    return lambda tiny: damage(tiny.music(name, scene))


def written(
    rate: int = 44100,
    channels: int = 2,
    frames: int = FRAMES,
    kind: str = "WAV",
    subtype: str = "PCM_16",
    level: float = 0.1,
) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        signal = level * np.random.default_rng(1).standard_normal((frames, channels))
        soundfile.write(path, signal, rate, format=kind, subtype=subtype)

    return write


def not_finite(path: Path) -> None:
    signal, rate = soundfile.read(path)
    signal[4410, 1] = np.nan
    soundfile.write(path, signal, rate, subtype="FLOAT")


def silent_stems(tiny: TinySet) -> None:
    for stem in STEMS:
        signal, rate = soundfile.read(tiny.music(stem))
        signal[:, 1] = 0
        soundfile.write(tiny.music(stem), signal, rate)


def renamed(path: Path) -> None:
    path.rename(path.with_name(path.name.capitalize()))


LEFT = ("V1", "audiogram_levels_l")
CFS = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]

DAMAGES: dict[str, tuple[Damage, str]] = {
    # what is wrong: how it is done, what is said of it
    "no file": (lambda tiny: tiny.metadata("gains").unlink(), "metadata/gains.json: is missing"),
    "no scenes": (lambda tiny: tiny.metadata("scene_listeners").unlink(), "scene_listeners.valid.json: is missing"),
    "no music": (
        lambda tiny: tiny.metadata("at_mic_music").unlink(),
        "at_mic_music.valid.json: is missing: fetch it with its music, or have harness set at-mic make both",
    ),
    "capital file": (
        lambda tiny: tiny.metadata("listeners").rename(tiny.root / "metadata/Listeners.valid.json"),
        "Listeners.valid.json is there: if that is meant, rename it to listeners.valid.json",
    ),
    "empty file": (text("gains", ""), "gains.json: is empty, entries are expected"),
    "comma missing": (
        text("gains", '{"gain_scene_V001": {"vocals": 6\n"drums": 0}}'),
        "gains.json: is not JSON: line 2, column 1: a comma is missing here",
    ),
    "comma too many": (text("gains", '{"a": {},\n}'), "line 2, column 1: a name in double quotation marks"),
    "single quotes": (text("gains", "{'a': {}}"), "line 1, column 2: a name in double quotation marks is expected"),
    "cut": (text("scenes", '{"scene_V001": {"music": '), "it ends in line 1 in the middle of an entry"),
    "two files in one": (text("gains", "{}\n{}"), "line 2, column 1: the file should end here"),
    "binary": (text("listeners", b"\x89PNG\r\n\x1a\n"), "line 1: a character is not in UTF-8"),
    "byte order mark": (text("gains", b"\xef\xbb\xbf{}"), "begins with a byte order mark"),
    "deep": (text("gains", "[" * 5000 + "]" * 5000), "brackets in brackets hundreds deep"),
    "a little deep": (text("gains", '{"a":' + "[" * 300 + "]" * 300 + "}"), "brackets in brackets hundreds deep"),
    "many digits": (text("gains", '{"a": %s}' % ("9" * 5000)), "a number of thousands of digits"),
    "half a character": (put("at_mic_music", AT_MIC, "Path", "\udcff"), "holds half a character"),
    "many values": (text("gains", "[" + "1," * 1_500_001 + "1]"), "values, at most 1,500,000 are expected"),
    "a list": (edit("scenes", lambda content: [content]), "scenes.valid.json: is a list, expected are entries in { }"),
    "an object": (
        edit("musdb18", lambda _: {}),
        "musdb18.valid.json: is an object in { }, expected are entries in [ ]",
    ),
    "a folder": (
        lambda tiny: (tiny.metadata("gains").unlink(), tiny.metadata("gains").mkdir()),
        "gains.json: is not a regular file: a text file is expected",
    ),
    "twice": (
        text("gains", '{"gain_scene_V001": {"vocals": 0, "vocals": 6, "drums": 0, "bass": 0, "other": 0}}'),
        'gain_scene_V001: "vocals" stands there more than once',
    ),
    "scene without gain": (drop("scenes", "scene_V001", "gain"), 'scene_V001: "gain" is missing'),
    "scene is a text": (put("scenes", "scene_V001", "loud"), "scene_V001: is a text, expected is a scene in { }"),
    "scene id leads out": (put("scenes", "../x", {}), "../x: this name cannot be part of a file's name"),
    "misspelled key": (
        edit("scenes", lambda each: each["scene_V001"].update(head_position=each["scene_V001"].pop("gain"))),
        'scene_V001: "gain" is missing',
    ),
    "misspelled position": (
        edit(
            "scenes",
            lambda each: each["scene_V001"].update(
                head_loudspeaker_position=each["scene_V001"].pop("head_loudspeaker_positions")
            ),
        ),
        '"head_loudspeaker_position" means nothing here; is "head_loudspeaker_positions" meant?',
    ),
    "unknown gain": (put("scenes", "scene_V001", "gain", "gain_9"), 'scene_V001, gain: "gain_9" is not in gains.json'),
    "unknown music": (drop("at_mic_music", AT_MIC), f'its music "{AT_MIC}" is not in at_mic_music.valid.json'),
    "unknown song": (edit("musdb18", lambda _: []), f'its music "{HEADPHONES}" is not in musdb18.valid.json'),
    "path leads out": (put("at_mic_music", AT_MIC, "Path", "valid/../../../secret"), "leads out of audio/at_mic_music"),
    "path is absolute": (put("at_mic_music", AT_MIC, "Path", "/etc"), 'its Path "/etc" leads out of'),
    "split leads out": (put("musdb18", 0, "Split", ".."), "leads out of audio/musdb18hq"),
    "other track name": (put("at_mic_music", AT_MIC, "Track Name", "x"), 'its Track Name is "x": it must be that of'),
    "song twice": (edit("musdb18", lambda songs: songs * 2), f"{HEADPHONES}: this Track Name is there twice"),
    "gain is a text": (put("gains", "gain_scene_V001", "drums", "6"), "drums: is a text, expected is a number of dB"),
    "gain is huge": (put("gains", "gain_scene_V001", "drums", 10**400), "drums: is a number of many digits dB"),
    "gain is NaN": (
        put("gains", "gain_scene_V001", "drums", float("nan")),
        "drums: is nan dB, expected is -100 to 100",
    ),
    "no gain": (drop("gains", "gain_scene_V001", "drums"), "gain_scene_V001: no gain for the drums"),
    "strange stem": (
        put("gains", "gain_scene_V001", "piano", 3),
        '"piano" means nothing here; expected: vocals, drums',
    ),
    "capital stem": (
        edit("gains", lambda each: each["gain_scene_V001"].update(Bass=each["gain_scene_V001"].pop("bass"))),
        '"Bass" means nothing here; is "bass" meant?',
    ),
    "unknown scene": (put("scene_listeners", "scene_9", ["V1"]), "scene_9: this scene is not in scenes.valid.json"),
    "unknown listener": (
        put("scene_listeners", "scene_V001", ["V9"]),
        '"V9" is not in listeners.valid.json (it has V1',
    ),
    "listener twice": (put("scene_listeners", "scene_V001", ["V1", "V1"]), 'the listener "V1" is named twice'),
    "listeners are a text": (
        put("scene_listeners", "scene_V001", "V1"),
        "scene_V001: is a text, expected is a list of",
    ),
    "nobody": (put("scene_listeners", "scene_V001", []), "scene_V001: names no listener"),
    "no pair": (edit("scene_listeners", lambda _: {}), "there is nothing to be scored"),
    "scenes but for case": (
        lambda tiny: (
            tiny.edit("scenes", lambda each: each.update(scene_v001=each["scene_V001"])),
            tiny.edit("scene_listeners", lambda each: each.update(scene_v001=["V1"])),
        ),
        "the scenes scene_V001 and scene_v001 differ in capital letters only",
    ),
    "listeners but for case": (
        lambda tiny: (
            tiny.edit("listeners", lambda each: each.update(v1={**each["V1"], "name": "v1"})),
            tiny.edit("scene_listeners", lambda each: each["scene_V001"].append("v1")),
        ),
        "the listeners V1 and v1 differ in capital letters only",
    ),
    "other name": (put("listeners", "V1", "name", "V3"), 'its "name" is "V3", its entry "V1": they must be the same'),
    "level is a text": (put("listeners", *LEFT, 2, "40"), "V1, left ear, 1000 Hz: is a text, expected is a number"),
    "level is nothing": (put("listeners", *LEFT, 2, None), "V1, left ear, 1000 Hz: is empty (null)"),
    "level is true": (put("listeners", *LEFT, 2, True), "V1, left ear, 1000 Hz: is true or false"),
    "level is deadly": (put("listeners", *LEFT, 0, 141), "left ear, 250 Hz: is 141 dB HL, expected is -10 to 140"),
    "no left ear": (drop("listeners", *LEFT), '"audiogram_levels_l" is missing: the hearing levels of the left ear'),
    "too few levels": (drop("listeners", *LEFT, 7), "V1, left ear: has 7 hearing levels for 8 frequencies"),
    "frequencies descend": (put("listeners", "V1", "audiogram_cfs", CFS[::-1]), "the frequencies must ascend"),
    "no frequencies": (put("listeners", "V1", "audiogram_cfs", []), "lacks 250, 500, 1000, 2000, 4000, 6000 Hz"),
    "endless frequencies": (put("listeners", "V1", "audiogram_cfs", list(range(101))), "has 101 frequencies, at most"),
    "frequency is a text": (put("listeners", "V1", "audiogram_cfs", 0, "250"), "audiogram_cfs: is a text, expected is"),
    "turned around": (put("scenes", "scene_V001", "music", "a\u202eb"), "cannot be printed (U+202E)"),
    "escape in a key": (put("gains", "\x1b[2J", {}), "\\x1b[2J: holds a character that cannot be printed"),
    "no stem": (music("bass", Path.unlink), f"{AT_MIC}/bass.wav: is missing"),
    "capital file name": (music("bass", renamed), "bass.wav: is missing; Bass.wav is there: if that is meant, rename"),
    "capital folder": (
        lambda tiny: tiny.music().parent.parent.rename(tiny.root / "audio/at_mic_music/Valid"),
        "audio/at_mic_music holds no folder valid; Valid is there: if that is meant, rename it to valid",
    ),
    "48 kHz": (
        music("mixture", written(rate=48000)),
        "mixture.wav: has a sample rate of 48,000 Hz, expected are 44,100",
    ),
    "mono": (music("drums", written(channels=1)), "drums.wav: is mono, expected are two channels"),
    "six channels": (music("drums", written(channels=6)), "drums.wav: is of 6 channels"),
    "FLAC inside": (music("vocals", written(kind="FLAC")), "vocals.wav: is FLAC inside, expected is WAV"),
    "no sound": (music("other", lambda path: path.write_text("la la la")), "other.wav: is no sound file, expected is"),
    "Git LFS": (
        music("other", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n")),
        "other.wav: is a pointer of Git LFS and not the music itself",
    ),
    "no bytes": (music("other", lambda path: path.write_bytes(b"")), "other.wav: is empty (0 bytes)"),
    "no samples": (music("other", written(frames=0)), "other.wav: lasts 0.000 s, expected are 0.4 s"),
    "too short": (music("other", written(frames=17000)), "other.wav: lasts 0.385 s, expected are 0.4 s"),
    "another length": (music("other", written(frames=FRAMES + 1)), "the files must be equally long"),
    "NaN": (
        music("vocals", not_finite),
        "vocals.wav: 1 samples are no numbers (NaN or infinite), the first at 0.100 s",
    ),
    "integers as floats": (
        music("vocals", written(subtype="FLOAT", level=9000)),
        "times full scale, at most 1000 is music: were 16-bit values written as floats?",
    ),
    "a pipe": (music("bass", lambda path: (path.unlink(), os.mkfifo(path))), "bass.wav: is no file, a WAV file is"),
    "a folder for a file": (music("bass", lambda path: (path.unlink(), path.mkdir())), "bass.wav: is no file, a WAV"),
    "a dead link": (
        music("bass", lambda path: (path.unlink(), path.symlink_to("nowhere"))),
        "bass.wav: is a link to a file that is not there",
    ),
    "silent mixture": (music("mixture", written(level=0)), "mixture.wav: is silent: there is nothing to hear"),
    "silent ear": (silent_stems, "all four stems are silent in the right channel"),
    "no metadata": (lambda tiny: shutil.rmtree(tiny.root / "metadata"), "metadata: this folder is not there"),
    "no split": (
        lambda tiny: tiny.metadata("scenes").unlink(),
        "metadata: holds neither scenes.<split>.json (ICASSP 2024) nor musdb18.<split>.json",
    ),
    "position's sign": (
        lambda tiny: write_positions(tiny, left_angle=30.0, right_angle=-30.0),
        "hlp_0001, left_angle: is 30 degrees: the left loudspeaker's must be negative",
    ),
    "no position": (
        lambda tiny: write_positions(tiny, key="hlp_0009"),
        "hlp_0001: a scene uses this position, and it is not there (it has hlp_0009)",
    ),
    "two files of positions": (
        lambda tiny: (
            write_positions(tiny, left_angle=-22.5),
            write_positions(tiny, name="head_positions.json"),
        ),
        "head_positions.json: differs from head_loudspeaker_positions.json",
    ),
}


def write_positions(
    tiny: TinySet, key: str = "hlp_0001", name: str = "head_loudspeaker_positions.json", **angles: float
) -> None:
    position = {"subject": "VP_E1", "left_angle": -30.0, "right_angle": 30.0, "mic": "BTE_fr", **angles}
    (tiny.root / "metadata" / name).write_text(json.dumps({key: position}))


def refused(root: Path) -> bool:
    """Whether the harness cannot load the set or read its music, which its scores would need."""
    try:
        loaded = load(root)
        for scene in loaded.scenes:
            scene.read("mixture")
            scene.read_stems()
        loaded.check_music(STEMS)
    except HarnessError:
        return True
    return False


def why_not_loaded(root: Path, protocol: Protocol) -> str:
    """What loading a set says against it; empty if nothing."""
    try:
        load(root, "valid", protocol=protocol)
    except HarnessError as error:
        return str(error)
    return ""


def test_a_good_set_has_no_problem(tiny_set: TinySet, run_cli: RunCli) -> None:
    outcome = run_cli("set", "check", tiny_set.root)
    assert outcome.code == 0, outcome.stdout
    assert "valid (ICASSP 2024 Cadenza Grand Challenge): no problems" in outcome.stdout
    assert run_cli("set", "check", tiny_set.root, "--json").json["problems"] == []


@pytest.mark.usefixtures("must_not_hang")
@pytest.mark.parametrize("case", DAMAGES)
def test_each_damage_is_said_in_plain_words(
    case: str, tiny_set: TinySet, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, expected = DAMAGES[case]
    damage(tiny_set)
    caught = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except HarnessError as error:
            caught.append(error)
            raise

    monkeypatch.setattr(whole, "load", watched)
    outcome = run_cli("set", "check", tiny_set.root, "--workers", "1")
    assert outcome.code == 1
    problems = [line for line in outcome.stdout.splitlines() if line.startswith("problem: ")]
    assert any(expected in line for line in problems), outcome.stdout
    assert not caught, "only loading at the end noticed it"
    assert not LIBRARY_WORDS.search(outcome.stdout), outcome.stdout
    assert outcome.stdout.isprintable() or set(filter(lambda c: not c.isprintable(), outcome.stdout)) == {"\n"}


@pytest.mark.usefixtures("must_not_hang")
def test_most_of_these_damages_are_refused_by_the_harness_itself(tiny_set: TinySet, tmp_path: Path) -> None:
    """Or else it would prove little that the check reports them all."""
    count = 0
    for number, (damage, _) in enumerate(DAMAGES.values()):
        tiny = TinySet(shutil.copytree(tiny_set.root, tmp_path / str(number)))
        damage(tiny)
        count += refused(tiny.root)
        shutil.rmtree(tiny.root)
    assert count >= 60


@pytest.mark.parametrize("part", range(4))
def test_nothing_that_loading_refuses_gets_past_the_check_of_metadata(
    part: int, tiny_set: TinySet, tmp_path: Path
) -> None:
    write_positions(tiny_set)
    draw = random.Random(f"check {part}")
    names = sorted(path.name for path in (tiny_set.root / "metadata").iterdir())
    refusals = 0
    for _ in range(150):
        path = tiny_set.root / "metadata" / draw.choice(names)
        good = path.read_bytes()
        damaged = mutated_metadata(draw, json.loads(good))
        path.write_bytes(damaged)
        findings = Findings()
        CHECKS[PROTOCOL](tiny_set.root, "valid", findings)
        for each in findings.problems + findings.remarks:
            assert not LIBRARY_WORDS.search(each.message), (each, damaged)
            assert (each.file + each.entry + each.message).isprintable(), each
        if why := why_not_loaded(tiny_set.root, PROTOCOL):
            refusals += 1
            assert findings.problems, (why, damaged)
        path.write_bytes(good)
    assert refusals > 30


def test_a_song_of_the_first_challenge(tmp_path: Path, run_cli: RunCli) -> None:
    cad1 = write_songs(tmp_path / "cad1")
    outcome = run_cli("set", "check", cad1)
    assert (outcome.code, "valid (first Cadenza challenge, task 1): no problems, no remarks" in outcome.stdout) == (
        0,
        True,
    )
    assert load(cad1).protocol == CAD1


def write_songs(root: Path, songs: tuple[str, ...] = ("One", "Zwölf"), frames: int = FRAMES) -> Path:
    """An evaluation set of the first challenge with one listener."""
    (root / "metadata").mkdir(parents=True)
    listing = [{"Track Name": song, "Split": "valid"} for song in songs]
    (root / "metadata/musdb18.valid.json").write_text(json.dumps(listing))
    record = {"name": "L1", "audiogram_cfs": CFS, "audiogram_levels_l": [20] * 8, "audiogram_levels_r": [30] * 8}
    (root / "metadata/listeners.valid.json").write_text(json.dumps({"L1": record}))
    for song in songs:
        folder = root / "audio/musdb18hq/train" / song
        folder.mkdir(parents=True)
        for name in ("mixture", *STEMS):
            written(frames=frames)(folder / f"{name}.wav")
    return root


def silent_part(path: Path) -> None:
    signal, rate = soundfile.read(path)
    signal[-20_000:, 0] = 0
    soundfile.write(path, signal, rate)


def songs_edit(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edited(root: Path) -> None:
        path = root / "metadata/musdb18.valid.json"
        content = json.loads(path.read_text())
        changed = change(content)
        path.write_text(json.dumps(content if changed is None else changed))

    return edited


def segments(**parts: Any) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        each = {"objective_evaluation": {"start": 0.1, "end": 0.6, "duration": 0.5}}
        content = {"One": {**each, **parts}, "Zwölf": each}
        (root / "metadata/musdb18.segments.valid.json").write_text(json.dumps(content))

    return write


def part(**bounds: Any) -> dict[str, Any]:
    return {"start": 0.1, "end": 0.6, **bounds}


OF_SONGS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "silent stem": (
        lambda root: written(level=0)(root / "audio/musdb18hq/train/One/bass.wav"),
        "One/bass.wav: both channels are silent: a silent stem cannot be scored",
    ),
    "silent segment": (
        lambda root: (
            segments(objective_evaluation=part(start=0.25, end=0.69))(root),
            silent_part(root / "audio/musdb18hq/train/One/drums.wav"),
        ),
        "One/drums.wav: the left channel is silent in the segment that is scored",
    ),
    "slash": (songs_edit(lambda songs: songs[0].update({"Track Name": "AC/DC"})), "cannot be the name of a folder"),
    "dots": (songs_edit(lambda songs: songs[0].update({"Track Name": ".."})), "cannot be the name of a folder"),
    "long": (songs_edit(lambda songs: songs[0].update({"Track Name": "é" * 130})), "too long for the name of a file"),
    "twice": (songs_edit(lambda songs: songs * 2), "One: this Track Name is there twice"),
    "case": (songs_edit(lambda songs: songs[1].update({"Track Name": "one"})), "differ in capital letters only"),
    "no songs": (songs_edit(lambda _: []), "musdb18.valid.json: lists no song"),
    "no split": (songs_edit(lambda songs: songs[0].pop("Split") and None), 'One: "Split" is missing'),
    "no folder": (
        songs_edit(lambda songs: songs[0].update({"Split": "test"})),
        "audio/musdb18hq/test/One: this folder of music is not there: audio/musdb18hq holds no folder test",
    ),
    "no listener": (
        lambda root: (root / "metadata/listeners.valid.json").write_text("{}"),
        "listeners.valid.json: lists no listener",
    ),
    "segment after the end": (
        segments(objective_evaluation=part(end=30)),
        "One: its segment ends at 30.00 s, the music at 0.70 s",
    ),
    "segment turned round": (segments(objective_evaluation=part(end=0.05)), "ends at 0.05 s, before it starts"),
    "segment of nothing": (segments(objective_evaluation=part(end=0.2)), "lasts 0.100 s: at least 0.4 s are needed"),
    "segment in words": (segments(objective_evaluation=part(end="0.6")), "end: is a text, expected is a number of sec"),
    "segment without end": (segments(objective_evaluation={"start": 0.1}), '"end" is missing, in seconds'),
    "segment misspelled": (
        lambda root: (root / "metadata/musdb18.segments.valid.json").write_text(
            json.dumps({"One": {"objective_evalution": part()}, "Zwölf": {"objective_evaluation": part()}})
        ),
        'One: "objective_evaluation" is missing: the part that is scored',
    ),
    "segment missing": (
        lambda root: (root / "metadata/musdb18.segments.valid.json").write_text("{}"),
        "One: has no segment in musdb18.segments.valid.json",
    ),
}


@pytest.mark.parametrize("case", OF_SONGS)
def test_each_damage_to_a_set_of_the_first_challenge(case: str, tmp_path: Path, run_cli: RunCli) -> None:
    damage, expected = OF_SONGS[case]
    root = write_songs(tmp_path / "cad1")
    damage(root)
    outcome = run_cli("set", "check", root, "--workers", "1")
    assert outcome.code == 1
    problems = [line for line in outcome.stdout.splitlines() if line.startswith("problem: ")]
    assert any(expected in line for line in problems), outcome.stdout
    assert not LIBRARY_WORDS.search(outcome.stdout), outcome.stdout


def test_songs_that_loading_refuses_do_not_get_past_the_check(tmp_path: Path) -> None:
    root = write_songs(tmp_path / "cad1")
    segments()(root)
    draw = random.Random("songs")
    names = sorted(path.name for path in (root / "metadata").iterdir())
    refusals = 0
    for _ in range(300):
        path = root / "metadata" / draw.choice(names)
        good = path.read_bytes()
        path.write_bytes(damaged := mutated_metadata(draw, json.loads(good)))
        findings = Findings()
        CHECKS[CAD1](root, "valid", findings)
        assert not any(LIBRARY_WORDS.search(each.message) for each in findings.problems), (findings, damaged)
        if why := why_not_loaded(root, CAD1):
            refusals += 1
            assert findings.problems, (why, damaged)
        path.write_bytes(good)
    assert refusals > 50


@pytest.mark.usefixtures("must_not_hang")
def test_damaged_sound_files_that_reading_refuses_do_not_get_past_the_check(tiny_set: TinySet) -> None:
    draw = random.Random("sound")
    folder = tiny_set.music().parent
    wanted = Wanted(str(folder.relative_to(tiny_set.root)), PROTOCOL)
    scene = load(tiny_set.root).scenes[0]
    path = tiny_set.music("bass")
    good = path.read_bytes()
    refusals = said = 0
    for _ in range(80):
        path.write_bytes(mutated_flac(draw, good[:44] if draw.random() < 0.1 else good))
        found = look_at((tiny_set.root, wanted))
        assert not any(LIBRARY_WORDS.search(message) for _, message in found.problems), found.problems
        try:
            scene.read_stems()
        except HarnessError:
            refusals += 1
            said += bool(found.problems)
    assert refusals == said > 20


REMARKS: dict[str, tuple[Damage, str]] = {
    "unusual gain": (
        put("gains", "gain_scene_V001", "drums", 4),
        "other gains than the challenge's, which are -10, -6",
    ),
    "no name": (drop("listeners", "V1", "name"), 'V1: has no "name", which the official programs put into file names'),
    "unused scene": (drop("scene_listeners", "scene_V002"), "nobody listens to 1 scenes of scenes.valid.json"),
    "silent stem": (music("vocals", written(level=0)), "vocals.wav: is silent throughout: there are no vocals to sepa"),
    "quiet stem": (
        music("vocals", written(level=1e-5, subtype="FLOAT")),
        "vocals.wav: is so quiet that it has no loudness (never above -70 LUFS)",
    ),
    "clipped": (music("drums", written(level=1)), "drums.wav: is clipped: "),
    "over full scale": (music("drums", written(level=1, subtype="FLOAT")), "drums.wav: exceeds full scale at "),
    "24 bit": (music("drums", written(subtype="PCM_24")), "audio: other than 16 bit in 1 of 2 folders (24 bit in 1)"),
    "unused music": (
        lambda tiny: shutil.copytree(tiny.music().parent, tiny.root / "audio/at_mic_music/valid/Old"),
        "audio/at_mic_music: 1 folders of music are named by no entry (valid/Old)",
    ),
    "other split": (
        lambda tiny: (tiny.root / "metadata/listeners.train.json").write_text("{}"),
        'the split "train" is not complete, and was not checked: only listeners.train.json of it',
    ),
    "no positions": (lambda tiny: None, "head_loudspeaker_positions.json: is missing"),
    "old name": (
        lambda tiny: write_positions(tiny, name="head_positions.json"),
        "head_positions.json: the official generator and harness set at-mic look for head_loudspeaker_positions.json",
    ),
    "no impulse responses": (
        lambda tiny: ((tiny.root / "audio/hrtf").mkdir(), write_positions(tiny)),
        "2 files of impulse responses are not in audio/hrtf (BTE_fr-VP_E1-n30.0",
    ),
}


@pytest.mark.parametrize("case", REMARKS)
def test_what_is_unusual_is_a_remark(case: str, tiny_set: TinySet, run_cli: RunCli) -> None:
    damage, expected = REMARKS[case]
    damage(tiny_set)
    outcome = run_cli("set", "check", tiny_set.root, "--workers", "1")
    assert outcome.code == 0, outcome.stdout
    remarks = [line for line in outcome.stdout.splitlines() if line.startswith("remark: ")]
    assert any(expected in line for line in remarks), outcome.stdout
    assert not refused(tiny_set.root)


def test_music_that_lies_elsewhere_is_a_remark(tiny_set: TinySet, tmp_path: Path, run_cli: RunCli) -> None:
    away = tmp_path / "away.wav"
    tiny_set.music().rename(away)
    tiny_set.music().symlink_to(away)
    outcome = run_cli("set", "check", tiny_set.root)
    assert outcome.code == 0
    assert "mixture.wav: is a link that leads out of the set" in outcome.stdout


def test_folders_that_differ_in_case_are_told_once_in_the_files_order(tiny_set: TinySet, run_cli: RunCli) -> None:
    for name in ("A - a", "a - A"):
        entry = {"Track Name": name, "Split": "valid", "Path": f"valid/{name}"}
        tiny_set.edit("at_mic_music", lambda content, name=name, entry=entry: content.update({name: entry}))
    found = run_cli("set", "check", tiny_set.root, "--json").json
    told = [each for each in found["problems"] if "differ in capital letters" in str(each)]
    assert len(told) == 1
    assert "at_mic_music" in str(told[0])
    assert str(told[0]).index("A - a") < str(told[0]).index("a - A")


def test_all_problems_come_at_once_and_the_same_ones_as_one_line(tiny_set: TinySet, run_cli: RunCli) -> None:
    for name in ("bass", "drums"):
        tiny_set.music(name).unlink()
    tiny_set.edit("gains", lambda content: content["gain_scene_V001"].update(bass="3"))
    tiny_set.edit("listeners", lambda content: content["V2"].update(audiogram_levels_r=[20] * 7))
    tiny_set.edit("scenes", lambda content: content.update({f"scene_{n}": {"music": "x"} for n in range(2000)}))
    outcome = run_cli("set", "check", tiny_set.root)
    lines = outcome.stdout.splitlines()
    assert [line for line in lines if "bass.wav" in line] == [
        f"problem: audio/at_mic_music/valid/{AT_MIC}/drums.wav: is missing; the same in 1 other place: "
        f"audio/at_mic_music/valid/{AT_MIC}/bass.wav"
    ]
    assert sum("gain_scene_V001, bass" in line for line in lines) == 1
    assert sum("V2, right ear" in line for line in lines) == 1
    assert sum('"gain" is missing' in line for line in lines) == 1
    assert f"{2000 - MAX_OF_A_FILE:,} more findings were left off" in outcome.stdout
    found = run_cli("set", "check", tiny_set.root, "--json").json
    assert len(found["problems"]) == 4 + MAX_OF_A_FILE
    assert found["left_off"] == {"metadata/scenes.valid.json": 2000 - MAX_OF_A_FILE}
    assert found["splits"] == [{"split": "valid", "protocol": "cad_icassp_2024"}]


def test_the_split_and_the_protocol_may_be_named(tiny_set: TinySet, tmp_path: Path, run_cli: RunCli) -> None:
    unknown = run_cli("set", "check", tiny_set.root, "--split", "test")
    assert (unknown.code, 'nothing of the split "test"; it has files of valid' in unknown.stdout) == (1, True)
    other = run_cli("set", "check", tiny_set.root, "--protocol", "cad1")
    assert "no folder train" in other.stdout
    nowhere = run_cli("set", "check", tmp_path / "nowhere")
    assert (nowhere.code, "no such folder" in nowhere.error) == (2, True)
    for path in list((tiny_set.root / "metadata").glob("*.valid.json")):
        shutil.copy(path, path.with_name(path.name.replace(".valid.", ".train.")))
    both = run_cli("set", "check", tiny_set.root, "--json").json
    assert [each["split"] for each in both["splits"]] == ["train", "valid"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_sets_are_good(name: str, run_cli: RunCli) -> None:
    folder = load_evaluation_set(name).scenes[0].folder
    root = next(each.parent for each in folder.parents if each.name == "audio")
    outcome = run_cli("set", "check", root)
    assert (outcome.code, "no problems" in outcome.stdout) == (0, True), outcome.stdout


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout")
def test_the_golden_set_is_good_and_its_silent_stem_is_found(run_cli: RunCli) -> None:
    outcome = run_cli("set", "check", GOLDEN)
    assert (outcome.code, "no problems" in outcome.stdout) == (0, True), outcome.stdout
    assert "Golden - Silent Vocals-hlp_0012/vocals.wav: is silent throughout" in outcome.stdout
