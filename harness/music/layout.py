"""Reading an evaluation set in the official on-disk layout.

```
<root>/metadata/gains.json, listeners.<split>.json, scenes.<split>.json, scene_listeners.<split>.json
<root>/metadata/at_mic_music.<split>.json   for scenes with head_loudspeaker_positions
<root>/metadata/musdb18.<split>.json        for scenes without (headphone form)
<root>/metadata/head_positions.json         angles of the loudspeakers; may be missing, scores do not depend on it
<root>/audio/at_mic_music/<Path>/{mixture,vocals,drums,bass,other}.wav
<root>/audio/musdb18hq/<Path>/{mixture,vocals,drums,bass,other}.wav
```
Both forms of scenes may stand in one split. Music is 44.1 kHz stereo WAV. Metadata may come from strangers: every
file is checked against what is expected, and paths may not lead out of the audio folders.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, FailFast, Field, TypeAdapter, ValidationError, model_validator

from harness.challenge import PROTOCOL
from harness.documents import PRINTABLE, Document, at_most, ensure_few_values
from harness.errors import DataError, SubmissionError, UsageError, first_problem, printable
from harness.files import SAFE_NAME, is_inner_path, read_bounded
from harness.hearing import Audiogram, Listener
from harness.music.evaluationset import EvaluationSet, Scene

MAX_METADATA_BYTES = 64 * 2**20
"""Far above the official files (the largest has 2 MB)."""

MAX_SCENES = 100_000
"""The official sets have up to 960 scenes, for 20 listeners each."""
MAX_PAIRS = 1_000_000
MAX_METADATA_VALUES = 1_500_000
"""In one file: those of that many pairs, each in the list of its scene, and some more."""
MAX_LABEL = 100
"""Characters of the name of a set or a split, as in a manifest."""

HAAQI_FREQUENCIES = (250, 500, 1000, 2000, 4000, 6000)
"""Frequencies in Hz that NAL-R and HAAQI use. Where one is missing, pyclarity would guess it in silence."""


LEVELS_DB_HL = (-10.0, 140.0)
"""Hearing levels that a threshold can have: audiometers start at -10 dB HL (IEC 60645-1), and none plays 140.

Slightly negative levels are real (better than average hearing, as in the challenge's own listeners).
"""


_Name = Annotated[str, Field(pattern=rf"^{SAFE_NAME.pattern}$", max_length=100)]


_Level = Annotated[float, Field(strict=True, ge=LEVELS_DB_HL[0], le=LEVELS_DB_HL[1], allow_inf_nan=False)]


_Decibel = Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]


_Frequency = Annotated[float, Field(strict=True, gt=0, le=24000, allow_inf_nan=False)]


_Text = Annotated[str, Field(min_length=1, max_length=300), PRINTABLE]


_Levels = Annotated[list[_Level], Field(max_length=100), FailFast()]


class _Gains(Document, extra="forbid"):
    vocals: _Decibel
    drums: _Decibel
    bass: _Decibel
    other: _Decibel


class _Listener(BaseModel):
    audiogram_cfs: Annotated[list[_Frequency], Field(max_length=100), FailFast()]
    audiogram_levels_l: _Levels
    audiogram_levels_r: _Levels

    @model_validator(mode="after")
    def _complete(self) -> "_Listener":
        frequencies = self.audiogram_cfs
        if frequencies != sorted(set(frequencies)):
            raise ValueError("audiogram_cfs must ascend")
        missing = [str(frequency) for frequency in HAAQI_FREQUENCIES if frequency not in frequencies]
        if missing:
            raise ValueError(f"audiogram_cfs lacks {', '.join(missing)} Hz")
        for key in ("audiogram_levels_l", "audiogram_levels_r"):
            levels = getattr(self, key)
            if len(levels) != len(frequencies):
                raise ValueError(f"{key} has {len(levels)} levels for {len(frequencies)} frequencies")
        return self


class _Scene(BaseModel):
    music: _Text
    gain: _Text
    head_loudspeaker_positions: _Text | None = None


class _Music(BaseModel):
    track: _Text = Field(alias="Track Name")
    split: Annotated[str, Field(max_length=300), PRINTABLE] = Field(alias="Split")
    path: Annotated[str, Field(max_length=1000), PRINTABLE] | None = Field(alias="Path", default=None)


_Angle = Annotated[float, Field(strict=True, ge=-360, le=360, allow_inf_nan=False)]


class _Position(BaseModel):
    left_angle: _Angle
    right_angle: _Angle


_EACH_SCENE = at_most(MAX_SCENES)


def _load(path: Path, kind: Any) -> Any:
    """Read a metadata file as `kind`; errors name the file, the key and what was expected."""
    try:
        content = read_bounded(path, MAX_METADATA_BYTES, follow=True)
        ensure_few_values(content, MAX_METADATA_VALUES)
        return TypeAdapter(kind).validate_json(content)
    except FileNotFoundError:
        raise DataError(f"missing metadata file {path}: check --data and --split") from None
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}: is this the right file?") from None
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def splits(root: Path) -> list[str]:
    """The splits for which there are scenes under `root`."""
    found = sorted((root / "metadata").glob("scenes.*.json"))
    return [path.name.removeprefix("scenes.").removesuffix(".json") for path in found]


def load(root: Path, split: str | None = None, name: str | None = None) -> EvaluationSet:
    """Read the metadata of an evaluation set.

    Args:
        root: the folder with `metadata/` and `audio/`.
        split: e.g. "valid"; may be left out where there is only one.
        name: how to refer to it; by default the folder's name.

    Raises:
        DataError: metadata missing or malformed (names the file, the key, and what was expected).
        UsageError: no such folder, or the split has to be named.
    """
    if not os.path.isdir(root):  # noqa: PTH112 - unlike Path.is_dir, False for a name that is too long
        raise UsageError(f"--data {root}: no such folder (it should hold metadata/ and audio/; or use --data demo)")
    if split is None:
        found = splits(root)
        if not found:
            raise DataError(f"--data {root}: no metadata/scenes.<split>.json in it: is this the right folder?")
        if len(found) > 1:
            raise UsageError(f"--data {root}: name the split: --split {' or '.join(found)}")
        split = found[0]
    name = name or root.resolve().name
    for what, text in (("folder", name), ("split", split)):
        _check_label(root, what, text)
    metadata = root / "metadata"
    scenes_file = metadata / f"scenes.{split}.json"
    scenes = _load(scenes_file, Annotated[dict[_Name, _Scene], _EACH_SCENE])
    pairs_file = metadata / f"scene_listeners.{split}.json"
    scene_listeners = _load(pairs_file, Annotated[dict[_Name, Annotated[list[_Name], FailFast()]], _EACH_SCENE])
    listeners_file = metadata / f"listeners.{split}.json"
    known = _load(listeners_file, Annotated[dict[_Name, _Listener], _EACH_SCENE])
    listeners = {key: _listener(key, value) for key, value in known.items()}
    gains_file = metadata / "gains.json"
    gains = _load(gains_file, Annotated[dict[_Text, _Gains], _EACH_SCENE])
    positions_file = metadata / "head_positions.json"
    at_mic = any(scene.head_loudspeaker_positions is not None for scene in scenes.values())
    positions: dict[str, _Position] = {}
    if at_mic and positions_file.exists():
        positions = _load(positions_file, Annotated[dict[_Text, _Position], _EACH_SCENE])
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
    _check_names(pairs_file, loaded)
    return loaded


def _check_label(root: Path, what: str, text: str) -> None:
    """Raise DataError if a set's or a split's name cannot stand in manifests and on the leaderboard."""
    if not 1 <= len(text) <= MAX_LABEL or not text.isprintable():
        wrong = f"has {len(text)} characters" if text.isprintable() else "has characters that are not printable"
        raise DataError(
            f"--data {printable(str(root))}: the name of the {what} {wrong}, "
            f"1 to {MAX_LABEL} printable ones are possible: rename it"
        )


def _check_names(pairs_file: Path, loaded: EvaluationSet) -> None:
    """Raise DataError if there is no pair, or if two names are one on a disk that does not tell "a" from "A"."""
    count = sum(len(scene.listeners) for scene in loaded.scenes)
    if not count:
        raise DataError(f"{pairs_file}: holds no scene-listener pair")
    if count > MAX_PAIRS:
        raise DataError(f"{pairs_file}: holds {count:,} scene-listener pairs, at most {MAX_PAIRS:,} are expected")
    used = {listener.id for scene in loaded.scenes for listener in scene.listeners}
    for what, ids in (("scenes", [scene.id for scene in loaded.scenes]), ("listeners", sorted(used))):
        folded: dict[str, str] = {}
        for each in ids:
            if (other := folded.setdefault(each.casefold(), each)) != each:
                raise DataError(f"{pairs_file}: the {what} {other} and {each} differ in case only: rename one of them")
    names = {PROTOCOL.remix_name(scene.id, who.id).casefold() for scene in loaded.scenes for who in scene.listeners}
    if len(names) != count:
        raise DataError(f"{pairs_file}: two pairs would share one file name: rename a scene or a listener")


def _listener(listener_id: str, raw: _Listener) -> Listener:
    frequencies = tuple(raw.audiogram_cfs)
    return Listener(
        listener_id,
        Audiogram(frequencies, tuple(raw.audiogram_levels_l)),
        Audiogram(frequencies, tuple(raw.audiogram_levels_r)),
    )


class _MusicFolders:
    """Finds the folder of a scene's music; reads only the metadata that the scenes need."""

    def __init__(self, root: Path, split: str) -> None:
        self.audio = root / "audio"
        self.at_mic_file = root / "metadata" / f"at_mic_music.{split}.json"
        self.tracks_file = root / "metadata" / f"musdb18.{split}.json"

    @cached_property
    def at_mic(self) -> dict[str, _Music]:
        return dict(_load(self.at_mic_file, Annotated[dict[_Text, _Music], _EACH_SCENE]))

    @cached_property
    def tracks(self) -> dict[str, _Music]:
        kind = Annotated[list[_Music], Field(max_length=MAX_SCENES), FailFast()]
        return {music.track: music for music in _load(self.tracks_file, kind)}

    def find(self, scene_id: str, scene: _Scene) -> tuple[str, Path]:
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
