"""`harness set check` on sets of the first challenge: songs, their segments and listeners."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from reliability.mutations import mutated_metadata
from sets.damage import CFS, LIBRARY_WORDS, why_not_loaded, written
from support import FRAMES, RunCli

from harness.challenge import CAD1, STEMS
from harness.music.layout import load
from harness.sets.checking.findings import Findings
from harness.sets.checking.metadata import CHECKS


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


def test_a_song_of_the_first_challenge(tmp_path: Path, run_cli: RunCli) -> None:
    cad1 = write_songs(tmp_path / "cad1")
    outcome = run_cli("set", "check", cad1)
    assert (outcome.code, "valid (first Cadenza challenge, task 1): no problems, no remarks" in outcome.stdout) == (
        0,
        True,
    )
    assert load(cad1).protocol == CAD1


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
