"""Reading an evaluation set: one of the ICASSP 2024 challenge in its official on-disk layout, or one of the first.

```
<root>/metadata/gains.json, listeners.<split>.json, scenes.<split>.json, scene_listeners.<split>.json
<root>/metadata/at_mic_music.<split>.json   for scenes with head_loudspeaker_positions
<root>/metadata/musdb18.<split>.json        for scenes without (headphone form)
<root>/metadata/head_loudspeaker_positions.json   angles of the loudspeakers (head_positions.json will do); may be
                                            missing, scores do not depend on it
<root>/audio/at_mic_music/<Path>/{mixture,vocals,drums,bass,other}.wav
<root>/audio/musdb18hq/<Path>/{mixture,vocals,drums,bass,other}.wav
```
Both forms of scenes may stand in one split. Music is 44.1 kHz stereo WAV. Metadata may come from strangers: every
file is checked against what is expected, and paths may not lead out of the audio folders. `harness.music.songs` reads
the first challenge's layout, which has neither scenes nor gains.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import FailFast

from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.errors import DataError, UsageError, printable
from harness.files import is_inner_path
from harness.music.evaluationset import EvaluationSet, Scene
from harness.music.metadata import (
    EACH_SCENE,
    MAX_LABEL,
    GainsRecord,
    MusicRecord,
    MusicRecords,
    Name,
    PositionRecord,
    SceneRecord,
    Text,
    check_names,
    read,
    read_listeners,
)
from harness.music.songs import load_songs, splits_of_songs

POSITION_FILES = ("head_loudspeaker_positions.json", "head_positions.json")
"""What the positions' file may be called: the official generator's name for it, and the challenge's own."""


def positions_file(root: Path) -> Path | None:
    """The file with the positions of an evaluation set, under one of its two names; None if there is none."""
    return next((path for name in POSITION_FILES if (path := root / "metadata" / name).exists()), None)


def splits(root: Path) -> dict[str, Protocol]:
    """The splits under `root`, sorted by name, and the protocol of each by the files that are there.

    Where both would do, it is that of ICASSP 2024: nobody writes gains for the first challenge.
    """
    found: dict[str, Protocol] = {}
    if not (root / "metadata" / "gains.json").exists():
        found.update(dict.fromkeys(splits_of_songs(root), CAD1))
    found.update(dict.fromkeys(_splits_of_scenes(root), PROTOCOL))
    return dict(sorted(found.items()))


def _splits_of_scenes(root: Path) -> Iterator[str]:
    for path in (root / "metadata").glob("scenes.*.json"):
        yield path.name.removeprefix("scenes.").removesuffix(".json")


_NEEDED = {PROTOCOL: "scenes.{split}.json", CAD1: "musdb18.{split}.json and listeners.{split}.json"}
"""What tells in metadata/ that a split can be scored by a protocol."""


def load(
    root: Path, split: str | None = None, name: str | None = None, protocol: Protocol | None = None
) -> EvaluationSet:
    """Read the metadata of an evaluation set.

    Args:
        root: the folder with `metadata/` and `audio/`.
        split: e.g. "valid"; may be left out where there is only one.
        name: how to refer to it; by default the folder's name.
        protocol: by which its scenes or songs are to be scored; by default the one whose metadata is there.

    Raises:
        DataError: metadata missing or malformed (names the file, the key, and what was expected).
        UsageError: no such folder, the split has to be named, or it cannot be scored by this protocol.
    """
    if not os.path.isdir(root):  # noqa: PTH112 - unlike Path.is_dir, False for a name that is too long
        raise UsageError(f"--data {root}: no such folder (it should hold metadata/ and audio/; or use --data demo)")
    found = splits(root) if protocol is None else _splits_by(root, protocol)
    if protocol is not None and (not found or split not in (None, *found)):
        raise UsageError(
            f"--data {root}: cannot be scored by --protocol {protocol.name}, the {protocol.title}: metadata/ lacks "
            f"{_NEEDED[protocol].format(split=split or '<split>')}; leave --protocol out, or name another set or split"
        )
    if split is None:
        if not found:
            raise DataError(
                f"--data {root}: neither metadata/scenes.<split>.json nor, for the {CAD1.title}, "
                "metadata/musdb18.<split>.json is in it: is this the right folder?"
            )
        if len(found) > 1:
            raise UsageError(f"--data {root}: name the split: --split {' or '.join(found)}")
        split = next(iter(found))
    name = name or root.resolve().name
    for what, text in (("folder", name), ("split", split)):
        _check_label(root, what, text)
    # Where nothing else is there, a split that is missing is one of songs.
    otherwise = CAD1 if found and PROTOCOL not in found.values() else PROTOCOL
    if (protocol or found.get(split, otherwise)) == CAD1:
        return load_songs(root, split, name)
    return _load_scenes(root, split, name)


def _splits_by(root: Path, protocol: Protocol) -> dict[str, Protocol]:
    """The splits under `root` that can be scored by a protocol."""
    names = splits_of_songs(root) if protocol == CAD1 else _splits_of_scenes(root)
    return dict.fromkeys(sorted(names), protocol)


def _load_scenes(root: Path, split: str, name: str) -> EvaluationSet:
    metadata = root / "metadata"
    scenes_file = metadata / f"scenes.{split}.json"
    scenes = read(scenes_file, Annotated[dict[Name, SceneRecord], EACH_SCENE])
    pairs_file = metadata / f"scene_listeners.{split}.json"
    scene_listeners = read(pairs_file, Annotated[dict[Name, Annotated[list[Name], FailFast()]], EACH_SCENE])
    listeners_file = metadata / f"listeners.{split}.json"
    listeners = read_listeners(listeners_file)
    gains_file = metadata / "gains.json"
    gains = read(gains_file, Annotated[dict[Text, GainsRecord], EACH_SCENE])
    positions: dict[str, PositionRecord] = {}
    at_mic = any(scene.head_loudspeaker_positions is not None for scene in scenes.values())
    hlp_file = positions_file(root)
    if at_mic and hlp_file is not None:
        positions = read(hlp_file, Annotated[dict[Text, PositionRecord], EACH_SCENE])
    music = _MusicFolders(root, split)

    result = []
    for scene_id, listener_ids in scene_listeners.items():
        if not listener_ids:
            raise DataError(f"{pairs_file}: {scene_id}: names no listener")
        if scene_id not in scenes:
            raise DataError(f"{pairs_file}: {scene_id}: not in {scenes_file.name}")
        scene = scenes[scene_id]
        if scene.gain not in gains:
            raise DataError(f"{scenes_file}: {scene_id}.gain: {scene.gain!r} is not in {gains_file.name}")
        for listener_id in listener_ids:
            if listener_id not in listeners:
                raise DataError(f"{pairs_file}: {scene_id}: {listener_id} is not in {listeners_file.name}")
        if len(set(listener_ids)) != len(listener_ids):
            raise DataError(f"{pairs_file}: {scene_id}: a listener is named twice")
        song, folder = music.find(scene_id, scene)
        position = positions.get(scene.head_loudspeaker_positions or "")
        result.append(
            Scene(
                id=scene_id,
                song=song,
                track=scene.music,
                gains=gains[scene.gain].model_dump(),
                listeners=tuple(listeners[listener_id] for listener_id in listener_ids),
                folder=folder,
                position=scene.head_loudspeaker_positions,
                angles=None if position is None else (position.left_angle, position.right_angle),
            )
        )
    loaded = EvaluationSet(name, split, tuple(result), tuple(result))
    check_names(pairs_file, loaded)
    return loaded


def _check_label(root: Path, what: str, text: str) -> None:
    """Raise DataError if a set's or a split's name cannot stand in manifests and on the leaderboard."""
    if not 1 <= len(text) <= MAX_LABEL or not text.isprintable():
        wrong = f"has {len(text)} characters" if text.isprintable() else "has characters that are not printable"
        raise DataError(
            f"--data {printable(str(root))}: the name of the {what} {wrong}, "
            f"1 to {MAX_LABEL} printable ones are possible: rename it"
        )


class _MusicFolders:
    """Finds the folder of a scene's music; reads only the metadata that the scenes need."""

    def __init__(self, root: Path, split: str) -> None:
        self.audio = root / "audio"
        self.at_mic_file = root / "metadata" / f"at_mic_music.{split}.json"
        self.tracks_file = root / "metadata" / f"musdb18.{split}.json"

    @cached_property
    def at_mic(self) -> dict[str, MusicRecord]:
        return dict(read(self.at_mic_file, Annotated[dict[Text, MusicRecord], EACH_SCENE]))

    @cached_property
    def tracks(self) -> dict[str, MusicRecord]:
        return {music.track: music for music in read(self.tracks_file, MusicRecords)}

    def find(self, scene_id: str, scene: SceneRecord) -> tuple[str, Path]:
        """Song name and folder of a scene's music."""
        if scene.head_loudspeaker_positions is not None:
            song = f"{scene.music}-{scene.head_loudspeaker_positions}"
            source, known, folder = self.at_mic_file, self.at_mic, self.audio / "at_mic_music"
        else:
            song = scene.music
            source, known, folder = self.tracks_file, self.tracks, self.audio / "musdb18hq"
        if song not in known:
            raise DataError(f"{source}: no music {song!r}, which {scene_id} needs")
        inner = known[song].path or f"{known[song].split}/{song}"
        if not is_inner_path(inner):
            raise DataError(f"{source}: {song}: Path {inner!r} leads out of {folder}")
        return song, folder / inner
