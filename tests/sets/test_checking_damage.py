"""`harness set check`: each damage is said in plain words, and nothing that loading or reading refuses gets past."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from reliability.mutations import mutated_flac, mutated_metadata
from sets.damage import (
    CFS,
    LIBRARY_WORDS,
    Damage,
    drop,
    edit,
    music,
    put,
    refused,
    why_not_loaded,
    write_positions,
    written,
)
from support import AT_MIC, FRAMES, HEADPHONES, RunCli, TinySet

from harness.challenge import PROTOCOL, STEMS
from harness.errors import HarnessError
from harness.music.layout import load
from harness.sets.checking import whole
from harness.sets.checking.audio import look_at
from harness.sets.checking.findings import Findings
from harness.sets.checking.metadata import CHECKS, Wanted


def text(name: str, content: str | bytes) -> Damage:
    return lambda tiny: tiny.metadata(name).write_bytes(content if isinstance(content, bytes) else content.encode())


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


# At random


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
