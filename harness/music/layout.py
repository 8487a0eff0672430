"""Reading an evaluation set in the official on-disk layout.

```
<root>/metadata/gains.json, listeners.<split>.json, scenes.<split>.json, scene_listeners.<split>.json
<root>/metadata/at_mic_music.<split>.json   for scenes with head_loudspeaker_positions
<root>/metadata/musdb18.<split>.json        for scenes without (headphone form)
<root>/audio/at_mic_music/<Path>/{mixture,vocals,drums,bass,other}.wav
<root>/audio/musdb18hq/<Path>/{mixture,vocals,drums,bass,other}.wav
```
Both forms of scenes may stand in one split. Music is 44.1 kHz stereo WAV. Metadata may come from strangers: every
file is checked against what is expected, and paths may not lead out of the audio folders.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from harness.errors import DataError, UsageError, first_problem
from harness.files import SAFE_NAME, is_inner_path
from harness.hearing import Audiogram, Listener
from harness.music.evaluationset import EvaluationSet, Scene

MAX_METADATA_BYTES = 64 * 2**20
"""Far above the official files (the largest has 2 MB)."""


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


class _Gains(BaseModel, extra="forbid"):
    vocals: _Decibel
    drums: _Decibel
    bass: _Decibel
    other: _Decibel


class _Listener(BaseModel):
    audiogram_cfs: list[_Frequency]
    audiogram_levels_l: list[_Level]
    audiogram_levels_r: list[_Level]

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
    music: str = Field(min_length=1, max_length=300)
    gain: str
    head_loudspeaker_positions: str | None = None


class _Music(BaseModel):
    track: str = Field(alias="Track Name", min_length=1)
    split: str = Field(alias="Split")
    path: str | None = Field(alias="Path", default=None)


def _load(path: Path, kind: Any) -> Any:
    """Read a metadata file as `kind`; errors name the file, the key and what was expected."""
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise DataError(f"{path} is larger than {MAX_METADATA_BYTES // 2**20} MB: is this the right file?")
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"missing metadata file {path}: check --data and --split") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        others = error.error_count() - 1
        more = f" (and {others} more)" if others else ""
        raise DataError(f"{path}: {first_problem(error)}{more}") from None


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
    if not root.is_dir():
        raise UsageError(f"--data {root}: no such folder (it should hold metadata/ and audio/; or use --data demo)")
    if split is None:
        found = splits(root)
        if not found:
            raise DataError(f"--data {root}: no metadata/scenes.<split>.json in it: is this the right folder?")
        if len(found) > 1:
            raise UsageError(f"--data {root}: name the split: --split {' or '.join(found)}")
        split = found[0]
    metadata = root / "metadata"
    scenes_file = metadata / f"scenes.{split}.json"
    scenes = _load(scenes_file, dict[_Name, _Scene])
    pairs_file = metadata / f"scene_listeners.{split}.json"
    scene_listeners = _load(pairs_file, dict[_Name, list[_Name]])
    listeners_file = metadata / f"listeners.{split}.json"
    listeners = {key: _listener(key, value) for key, value in _load(listeners_file, dict[_Name, _Listener]).items()}
    gains_file = metadata / "gains.json"
    gains = _load(gains_file, dict[str, _Gains])
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
        result.append(
            Scene(
                id=scene_id,
                song=song,
                track=scene.music,
                gains=gains[scene.gain].model_dump(),
                listeners=tuple(listeners[listener_id] for listener_id in listener_ids),
                folder=folder,
            )
        )
    loaded = EvaluationSet(name or root.resolve().name, split, tuple(result), tuple(result))
    names = [pair.remix_name for pair in loaded.pairs]
    if not names:
        raise DataError(f"{pairs_file}: holds no scene-listener pair")
    if len(set(names)) != len(names):
        raise DataError(f"{pairs_file}: two pairs would share one file name: rename a scene or a listener")
    return loaded


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
        return dict(_load(self.at_mic_file, dict[str, _Music]))

    @cached_property
    def tracks(self) -> dict[str, _Music]:
        return {music.track: music for music in _load(self.tracks_file, list[_Music])}

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
