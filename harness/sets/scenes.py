"""Scenes and their listeners, drawn as the official `generate_train_scenes.py` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from harness.errors import DataError, UsageError
from harness.files import locked_folder, sha256_of
from harness.music.layout import POSITION_FILES, positions_file
from harness.music.metadata import EACH_SCENE, GainsRecord, MusicRecords, Text, read, read_listeners
from harness.sets.draws import choose, seeded
from harness.sets.gains import official_gains
from harness.sets.positions import official_positions, position_ids, records_of
from harness.sets.provenance import write_provenance
from harness.sets.writing import ensure_replaceable, write_metadata

FIRST_SCENE = 10001
LISTENERS_SEED = "icassp2024"
"""The text that seeds the draw of listeners in the recipe."""

Scenes = dict[str, dict[str, str]]
"""The content of scenes.<split>.json."""


def draw_scenes(tracks: Sequence[str], gains: Sequence[str], positions: Sequence[str], per_song: int) -> Scenes:
    """Draw the scenes of songs: each song is the seed of its own, and has no gains and no position twice.

    Args:
        tracks: Track Names, in the order of musdb18.<split>.json.
        gains: ids, in the order of gains.json.
        positions: ids, in the order of head_loudspeaker_positions.json; empty: headphone form.
        per_song: scenes of a song. With more of them a song keeps those that it has with fewer.

    Returns:
        Scenes by id from "scene_10001" on: `per_song` for each song, in the order of the songs.

    Raises:
        UsageError: there are fewer gains or positions than scenes of a song (the recipe's program stops there).
    """
    for what, ids in (("sets of gains", gains), ("positions", positions)):
        if len(ids) < per_song and (ids or ids is gains):
            raise UsageError(
                f"--per-song {per_song}: a song has no {what} twice, and there are {len(ids)}: "
                f"choose --per-song {len(ids)} or less, or list more {what}"
            )
    scenes: Scenes = {}
    for track in tracks:
        state = seeded(track)
        gains_left, positions_left = list(gains), list(positions)
        for _ in range(per_song):
            # The gains first: one random stream serves both.
            (gain,) = choose(state, gains_left, 1)
            gains_left.remove(gain)
            scene = {"music": track, "gain": gain}
            for position in choose(state, positions_left, 1):
                positions_left.remove(position)
                scene["head_loudspeaker_positions"] = position
            scenes[f"scene_{FIRST_SCENE + len(scenes):04d}"] = scene
    return scenes


def draw_listeners(
    scene_ids: Sequence[str], listener_ids: Sequence[str], per_scene: int, seed: str = LISTENERS_SEED
) -> dict[str, list[str]]:
    """Draw the listeners of scenes, all on one random stream; a listener may have many scenes.

    Args:
        scene_ids: in the order of scenes.<split>.json.
        listener_ids: in the order of listeners.<split>.json.
        per_scene: listeners of a scene; where there are no more than that, each scene has all, in their order.
        seed: a text.

    Returns:
        The content of scene_listeners.<split>.json.

    Raises:
        DataError: there is no listener.
    """
    if not listener_ids:
        raise DataError("there is no listener to draw: list at least one")
    state = seeded(seed)
    return {scene_id: choose(state, listener_ids, per_scene) for scene_id in scene_ids}


@dataclass(frozen=True)
class Drawn:
    """What `make_scenes` did.

    Attributes:
        scenes, scene_listeners: the contents of the files.
        files: those that were drawn, by whether they have been written: False where they said the same already.
        official: the files of gains and positions that were not there, and have been written with the official lists.
    """

    scenes: Scenes
    scene_listeners: dict[str, list[str]]
    files: dict[Path, bool]
    official: tuple[Path, ...]


def make_scenes(
    root: Path, split: str, per_song: int, per_scene: int, output: Path | None = None, overwrite: bool = False
) -> Drawn:
    """Draw the scenes of a split and their listeners, and write scenes.<split>.json and scene_listeners.<split>.json.

    Reads musdb18.<split>.json, listeners.<split>.json, gains.json and head_loudspeaker_positions.json in
    `root/metadata`. Where the latter two are missing, the official lists are used, and written beside the scenes.

    Args:
        root: an evaluation set in the making, in the official layout.
        split: e.g. "train".
        per_song: scenes of a song.
        per_scene: listeners of a scene.
        output: where `metadata/` is written; by default `root`.
        overwrite: whether files that say something else are replaced.

    Raises:
        DataError: metadata missing or malformed.
        UsageError: fewer gains or positions than `per_song`, or a file says something else.
        StorageError: a file cannot be written.
        SubmissionError: another process holds the folder.
    """
    tracks = track_names(root / "metadata" / f"musdb18.{split}.json")
    listeners_file = root / "metadata" / f"listeners.{split}.json"
    if not listeners_file.exists():
        raise DataError(
            f"missing metadata file {listeners_file}: the challenge's 83 training listeners are written there by "
            f"harness set listeners clarity --output {listeners_file}"
        )
    listener_ids = list(read_listeners(listeners_file))
    to_write: dict[Path, Any] = {}
    metadata = (output or root) / "metadata"
    gains_file, hlp_file = root / "metadata" / "gains.json", positions_file(root)
    if gains_file.exists():
        gain_ids = list(read(gains_file, Annotated[dict[Text, GainsRecord], EACH_SCENE]))
    else:
        to_write[metadata / "gains.json"] = gains = official_gains()
        gain_ids = list(gains)
    if hlp_file is not None:
        ids = position_ids(hlp_file)
    else:
        to_write[metadata / POSITION_FILES[0]] = records_of(official_positions())
        ids = list(official_positions())
    if not gain_ids or not ids:
        raise DataError(
            f"{hlp_file if gain_ids else gains_file}: is empty: list at least one entry, or remove the file"
        )
    official = tuple(to_write)
    scenes = draw_scenes(tracks, gain_ids, ids, per_song)
    scene_listeners = draw_listeners(list(scenes), listener_ids, per_scene)
    to_write[metadata / f"scenes.{split}.json"] = scenes
    to_write[metadata / f"scene_listeners.{split}.json"] = scene_listeners
    with locked_folder(output or root):
        if not overwrite:
            for path, content in to_write.items():
                ensure_replaceable(path, content)
        written = {path: write_metadata(path, content) for path, content in to_write.items()}
        inputs = [root / "metadata" / f"musdb18.{split}.json", listeners_file, gains_file, hlp_file]
        write_provenance(
            output or root,
            split,
            "set scenes",
            {
                "per_song": per_song,
                "listeners": per_scene,
                "seeds": {"scenes": "the song's Track Name", "listeners": LISTENERS_SEED},
                "metadata": {path.name: sha256_of(path) for path in inputs if path is not None and path.exists()},
                "official": [path.name for path in official],
            },
        )
    return Drawn(
        scenes,
        scene_listeners,
        {path: fresh for path, fresh in written.items() if path not in official},
        tuple(path for path in official if written[path]),
    )


def track_names(path: Path) -> list[str]:
    """The Track Names in musdb18.<split>.json, in its order.

    Raises:
        DataError: missing or malformed, no track, or one twice.
    """
    tracks = [music.track for music in read(path, MusicRecords)]
    if not tracks:
        raise DataError(f"{path}: lists no song")
    if len(set(tracks)) != len(tracks):
        twice = next(track for track in tracks if tracks.count(track) > 1)
        raise DataError(f"{path}: {twice!r} is listed twice: each song has one entry")
    return tracks
