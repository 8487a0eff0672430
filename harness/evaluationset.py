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

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import MIN_SECONDS, Signal, check_signal
from harness.errors import DataError, UsageError, first_problem
from harness.files import SAFE_NAME, canonical_sha256, is_inner_path, sha256_of_all
from harness.hearing import Audiogram, Listener

MAX_METADATA_BYTES = 64 * 2**20
"""Far above the official files (the largest has 2 MB)."""

MAX_MUSIC_SECONDS = 1800.0
"""Far above any song: half an hour. Bounds the memory that one piece of music can take."""

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


@dataclass(frozen=True)
class Scene:
    """One scene: a piece of music with target gains, for some listeners.

    Attributes:
        id: e.g. "scene_10001".
        song: name of the music as the official results call it ("<track>-<position>" at the microphone).
        track: name of the track.
        gains: target gain of each stem in dB.
        listeners: the listeners for whom it is to be remixed, in the official order.
        folder: where mixture.wav and the four stems lie.
    """

    id: str
    song: str
    track: str
    gains: Gains = field(hash=False)
    listeners: tuple[Listener, ...]
    folder: Path

    def read(self, name: str, hashes: Mapping[Path, str] | None = None) -> Signal:
        """Read "mixture" or one stem: (samples, 2), float64, full scale +-1, 44.1 kHz.

        Args:
            name: "mixture" or a stem.
            hashes: what the file must contain (`EvaluationSet.hashes`), so that what is read is what the evaluation
                set's identity stands for, also hours after that was computed. None: whatever is there.

        Raises:
            DataError: missing, changed, not 44.1 kHz stereo WAV, too short or long, or not finite.
        """
        path = self.folder / f"{name}.wav"
        frames(path)
        try:
            content = path.read_bytes()
            if hashes is not None and hashlib.sha256(content).hexdigest() != hashes[path]:
                raise DataError(f"{path} was changed while we worked: restore it, and run the same command again")
            signal, _ = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
            check_signal(signal, str(path))
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            raise DataError(f"{self.id}: {error}") from None
        return np.asarray(signal)

    def read_stems(self, hashes: Mapping[Path, str] | None = None) -> dict[str, Signal]:
        """Read the four true stems, as `read` does; all must be as long as the mixture."""
        stems = {name: self.read(name, hashes) for name in STEMS}
        expected = self.frames
        for name, stem in stems.items():
            if len(stem) != expected:
                raise DataError(
                    f"{self.folder / name}.wav has {len(stem)} samples, its mixture has {expected}: "
                    "fetch or make this music again"
                )
        return stems

    @property
    def frames(self) -> int:
        """Length of the mixture in samples at 44.1 kHz, from the file's header."""
        return frames(self.folder / "mixture.wav")


PairId = tuple[str, str]
"""A scene-listener pair by the identifiers of its scene and its listener."""


@dataclass(frozen=True)
class Pair:
    """A scene for one of its listeners: what one remix is made for."""

    scene: Scene
    listener: Listener

    @property
    def id(self) -> PairId:
        """Identifiers of scene and listener."""
        return self.scene.id, self.listener.id

    @property
    def remix_name(self) -> str:
        """File name of its remix in a submission."""
        return PROTOCOL.remix_name(*self.id)


@dataclass(frozen=True)
class EvaluationSet:
    """An evaluation set: its scenes, in the official order.

    Attributes:
        name: how it is shown, e.g. "demo".
        split: e.g. "valid".
        scenes: the selected scenes; all of them at first.
        whole: all scenes of the set, whatever is selected.
    """

    name: str
    split: str
    scenes: tuple[Scene, ...]
    whole: tuple[Scene, ...]

    @property
    def pairs(self) -> list[Pair]:
        """The selected scene-listener pairs, in the official order."""
        return [Pair(scene, listener) for scene in self.scenes for listener in scene.listeners]

    @property
    def all_pairs(self) -> list[Pair]:
        """All pairs of the set, whatever is selected."""
        return [Pair(scene, listener) for scene in self.whole for listener in scene.listeners]

    def select(self, ids: Sequence[str] | None = None, limit: int | None = None) -> "EvaluationSet":
        """The same set with only some scenes selected: those named, then the first `limit` of them.

        Raises:
            UsageError: a scene that is not in the set, or nothing is left.
        """
        scenes = self.scenes
        if ids is not None:
            unknown = sorted(set(ids) - {scene.id for scene in scenes})
            if unknown:
                some = ", ".join(scene.id for scene in scenes[:3])
                raise UsageError(f"no scene {', '.join(unknown)} in {self.name} (it has {some}, ...)")
            scenes = tuple(scene for scene in scenes if scene.id in ids)
        if limit is not None:
            scenes = scenes[:limit]
        if not scenes:
            raise UsageError("no scene is selected: see --scenes and --limit")
        return EvaluationSet(self.name, self.split, scenes, self.whole)

    @cached_property
    def mixtures_sha256(self) -> str:
        """Identity of what systems are given: metadata and mixtures, independent of where they lie."""
        return self._sha256(["mixture"])

    def hashes(self, names: Sequence[str]) -> dict[Path, str]:
        """SHA-256 of these files ("mixture", stems) of all scenes, by path."""
        paths = sorted({scene.folder / f"{name}.wav" for scene in self.whole for name in names})
        for path in paths:
            if not path.is_file():
                raise DataError(_missing_music(path))
        return sha256_of_all(paths)

    @cached_property
    def sha256(self) -> str:
        """Identity of what scores depend on: metadata, mixtures and true stems."""
        return self._sha256(["mixture", *STEMS])

    def _sha256(self, names: Sequence[str]) -> str:
        hashes = self.hashes(names)
        return canonical_sha256(
            {
                "split": self.split,
                "scenes": [
                    {
                        "scene": scene.id,
                        "song": scene.song,
                        "gains": dict(scene.gains),
                        "listeners": [
                            [who.id, who.left.frequencies, who.left.levels, who.right.levels] for who in scene.listeners
                        ],
                        "audio": {name: hashes[scene.folder / f"{name}.wav"] for name in names},
                    }
                    for scene in self.whole
                ],
            }
        )

    def check_music(self, names: Sequence[str]) -> None:
        """Check the header of the selected scenes' files before work starts that may take hours.

        Raises:
            DataError: a file is missing or not 44.1 kHz stereo WAV, or a stem is not as long as its mixture.
        """
        for folder in dict.fromkeys(scene.folder for scene in self.scenes):
            lengths = {name: frames(folder / f"{name}.wav") for name in dict.fromkeys(["mixture", *names])}
            if len(set(lengths.values())) > 1:
                listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise DataError(f"{folder}: the files differ in length ({listed} samples): make this music again")


def _missing_music(path: Path) -> str:
    return f"no music file {path}: fetch or generate the audio of this split, or check --data"


def frames(path: Path) -> int:
    """Number of samples of a 44.1 kHz stereo WAV file, from its header.

    Raises:
        DataError: missing, another rate, format or number of channels, too short or too long.
    """
    if not path.is_file():
        raise DataError(_missing_music(path))
    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio ({error}): fetch it again") from None
    seconds = header.frames / header.samplerate
    for what, found, expected in (
        ("format", header.format, ("WAV", "WAVEX")),
        ("sample rate", header.samplerate, (PROTOCOL.sample_rate,)),
        ("channels", header.channels, (2,)),
    ):
        if found not in expected:
            raise DataError(f"{path}: {what} is {found}, expected {expected[0]}: convert the file")
    if not MIN_SECONDS <= seconds <= MAX_MUSIC_SECONDS:
        raise DataError(f"{path}: lasts {seconds:.3f} s, expected {MIN_SECONDS} s to {MAX_MUSIC_SECONDS:.0f} s")
    return int(header.frames)


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
        name: how to call it; by default the folder's name.

    Raises:
        DataError: metadata missing or malformed (names the file, the key, and what was expected).
        UsageError: no such folder, or the split has to be named.
    """
    if not root.is_dir():
        raise UsageError(f"--data {root}: no such folder (it should hold metadata/ and audio/; or use --data demo)")
    if split is None:
        found = splits(root)
        if len(found) != 1:
            listed = f"--split {' or '.join(found)}" if found else "no metadata/scenes.<split>.json in it"
            raise UsageError(f"--data {root}: name the split: {listed}")
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
