"""The embedded evaluation sets: real music (`harness.music.excerpt`) in the official layouts, for standard listeners.

`demo`: two scenes at the ear microphones of a listener before two loudspeakers, by a model of a head
(`harness.music.heads`), one scene in headphone form. `demo-kemar`: the same scenes before a measured head, the KEMAR
dummy of Gardner & Martin 1994, made as the official generator makes them. `demo-cad1`: two songs of three seconds in
the layout of the first Cadenza challenge, to be demixed into stems.

Listeners have standard audiograms (`harness.music.audiograms`).
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal
from harness.music.audiograms import AUDIOGRAMS, listener_record
from harness.music.embedded import Embedded, as_16_bit, write_json, write_wav
from harness.music.evaluationset import EvaluationSet
from harness.music.excerpt import ABOUT, ATTRIBUTION, TRACK, read_excerpt
from harness.music.heads import (
    KEMAR_ATTRIBUTION,
    KEMAR_FOLDER,
    KEMAR_MIC,
    KEMAR_SUBJECT,
    impulse_responses,
)
from harness.music.microphones import FULL_SCALE, at_microphones, loudness

SCENE_SECONDS = 4.0
"""Scenes are cut to four seconds, so that a first result takes minutes: HAAQI needs a second of computing for each
second of one ear."""
SONG_SECONDS = 3.0
"""In `demo-cad1`, where each pair has eight signals of one ear."""

LISTENERS = {
    "L0001": ("normal", "normal"),
    "L0002": ("N2", "N2"),  # mild
    "L0003": ("N3", "N3"),  # moderate
    "L0004": ("N5", "N5"),  # severe
    "L0005": ("S2", "N3"),  # asymmetric, steep in the left ear
}
"""Audiogram of the left and of the right ear."""

POSITIONS: dict[str, dict[str, Any]] = {
    "hlp_0001": {"subject": "sphere", "left_angle": -30.0, "right_angle": 30.0, "mic": "model"},
    "hlp_0002": {"subject": "sphere", "left_angle": -22.5, "right_angle": 37.5, "mic": "model"},
}
"""Angles of the two loudspeakers in degrees, in the form of the official head_loudspeaker_positions.json."""

KEMAR: dict[str, dict[str, Any]] = {
    "hlp_0001": {"subject": KEMAR_SUBJECT, "left_angle": -30.0, "right_angle": 30.0, "mic": KEMAR_MIC},
    "hlp_0002": {"subject": KEMAR_SUBJECT, "left_angle": -25.0, "right_angle": 35.0, "mic": KEMAR_MIC},
}
"""The same for the measured head, at angles that were measured."""

GAINS = {
    "gain_0001": {"vocals": 6, "drums": 0, "bass": 0, "other": -6},
    "gain_0002": {"vocals": 0, "drums": -10, "bass": 6, "other": 0},
    "gain_0003": {"vocals": 10, "drums": 0, "bass": -3, "other": 0},
}

SCENES: dict[str, dict[str, Any]] = {
    "scene_00001": {"start": 0.0, "gain": "gain_0001", "position": "hlp_0001"},
    "scene_00002": {"start": 1.6, "gain": "gain_0002", "position": "hlp_0002"},
    "scene_00003": {"start": 0.8, "gain": "gain_0003", "position": None},
}
"""Start in seconds after the click. A scene without position is in headphone form."""

SCENE_LISTENERS = {
    "scene_00001": ["L0001", "L0003", "L0005"],
    "scene_00002": ["L0002", "L0004", "L0005"],
    "scene_00003": ["L0002", "L0003"],
}

SONGS = (0.0, 2.4)
"""Where the songs of `demo-cad1` start, in seconds after the click."""
SONG_LISTENERS = ("L0002", "L0003", "L0005")


def _write_demo(root: Path) -> None:
    music = read_excerpt()
    _write_metadata(root, DEMO.split, POSITIONS)

    def speaker(path: Path, angle: float) -> Signal:
        # Half scale, since towards the ear the response rises above one; loudness is restored after it.
        response = 0.5 * impulse_responses(angle)
        write_wav(path, response)
        return as_16_bit(response)

    _write_scenes(root, DEMO.split, music, POSITIONS, speaker)


def _write_kemar(root: Path) -> None:
    import soundfile

    # The official generator reads music of 16 bit.
    music = {name: as_16_bit(signal) for name, signal in read_excerpt().items()}
    _write_metadata(root, DEMO_KEMAR.split, KEMAR)

    def speaker(path: Path, _: float) -> Signal:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(KEMAR_FOLDER / path.name, path)
        return np.asarray(soundfile.read(path, dtype="float64")[0])

    _write_scenes(root, DEMO_KEMAR.split, music, KEMAR, speaker)


def _write_cad1(root: Path) -> None:
    music, split = read_excerpt(), DEMO_CAD1.split
    write_json(root, f"listeners.{split}.json", _listeners(SONG_LISTENERS))
    tracks = [{"Track Name": _track(start), **ABOUT, "Split": split} for start in SONGS]
    write_json(root, f"musdb18.{split}.json", tracks)
    for start in SONGS:
        # The challenge's validation songs are a part of MUSDB18's training set, and lie there.
        folder = root / "audio" / "musdb18hq" / "train" / _track(start)
        for name in ("mixture", *STEMS):
            write_wav(folder / f"{name}.wav", _part(music[name], start, SONG_SECONDS))


DEMO = Embedded("demo", "demo", 2, (ATTRIBUTION,), _write_demo)
DEMO_KEMAR = Embedded("demo-kemar", "demo", 1, (ATTRIBUTION, KEMAR_ATTRIBUTION), _write_kemar)
DEMO_CAD1 = Embedded("demo-cad1", "valid", 1, (ATTRIBUTION,), _write_cad1)
SETS = {each.name: each for each in (DEMO, DEMO_KEMAR, DEMO_CAD1)}
"""By name; the first is what commands work on unless somebody names another."""


def demo() -> EvaluationSet:
    """The evaluation set `demo`; see `Embedded.load`."""
    return DEMO.load()


def _track(start: float) -> str:
    return f"{TRACK} ({start:g} s)"


def _part(signal: Signal, start: float, seconds: float) -> Signal:
    first = round(start * PROTOCOL.sample_rate)
    return signal[first : first + round(seconds * PROTOCOL.sample_rate)]


def _listeners(names: tuple[str, ...]) -> dict[str, dict[str, object]]:
    return {name: listener_record(name, *(AUDIOGRAMS[ear] for ear in LISTENERS[name])) for name in names}


def _write_metadata(root: Path, split: str, positions: Mapping[str, Mapping[str, Any]]) -> None:
    write_json(root, "gains.json", GAINS)
    write_json(root, "head_loudspeaker_positions.json", positions)
    write_json(root, f"listeners.{split}.json", _listeners(tuple(LISTENERS)))
    write_json(root, f"scene_listeners.{split}.json", SCENE_LISTENERS)
    scenes: dict[str, dict[str, str]] = {}
    at_mic: dict[str, dict[str, str]] = {}
    tracks = []
    for scene_id, scene in SCENES.items():
        track = _track(scene["start"])
        scenes[scene_id] = {"music": track, "gain": scene["gain"]}
        tracks.append({"Track Name": track, "Split": split, "Path": f"{split}/{track}"})
        if scene["position"]:
            scenes[scene_id]["head_loudspeaker_positions"] = scene["position"]
            song = f"{track}-{scene['position']}"
            at_mic[song] = {"Track Name": song, "Split": split, "Path": f"{split}/{song}"}
    write_json(root, f"scenes.{split}.json", scenes)
    write_json(root, f"at_mic_music.{split}.json", at_mic)
    write_json(root, f"musdb18.{split}.json", tracks)


def _write_scenes(
    root: Path,
    split: str,
    music: Mapping[str, Signal],
    positions: Mapping[str, Mapping[str, Any]],
    speaker: Callable[[Path, float], Signal],
) -> None:
    """Write the audio of `SCENES`; `speaker` writes a loudspeaker's impulse responses, and says what is in the file."""
    audio = root / "audio"
    for scene in SCENES.values():
        track, name_of = _track(scene["start"]), scene["position"]
        excerpts = {name: _part(music[name], scene["start"], SCENE_SECONDS) for name in ("mixture", *STEMS)}
        if name_of is None:
            for name, excerpt in excerpts.items():
                write_wav(audio / "musdb18hq" / split / track / f"{name}.wav", excerpt)
            continue
        at = positions[name_of]
        speakers = [
            speaker(audio / "hrtf" / f"{at['mic']}-{at['subject']}-{sign}{abs(angle)}.wav", angle)
            for sign, angle in (("n", float(at["left_angle"])), ("p", float(at["right_angle"])))
        ]
        folder = audio / "at_mic_music" / split / f"{track}-{name_of}"
        for name, excerpt in excerpts.items():
            heard = at_microphones(excerpt, loudness(excerpt), *speakers)
            write_wav(folder / f"{name}.wav", heard.samples / FULL_SCALE)
