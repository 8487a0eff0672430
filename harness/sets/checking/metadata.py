"""Checking the metadata of a split: its files, their entries, and whether they fit together."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.music.layout import POSITION_FILES
from harness.music.metadata import MAX_PAIRS, MAX_SCENES
from harness.sets.checking import entries
from harness.sets.checking.documents import EXAMPLES, MISSING, kind_of, meant, read_document
from harness.sets.checking.findings import Findings, Place, quoted, shown_text, some_of
from harness.sets.heads import Position

AT_MIC, SONGS = "audio/at_mic_music", "audio/musdb18hq"
"""The folders of music at the microphones and of whole songs (headphone form, and the first challenge)."""


@dataclass(frozen=True)
class Wanted:
    """A folder of music that the split needs.

    Attributes:
        folder: below the evaluation set's folder.
        protocol: by which it is scored.
        segment: the part that is scored, in samples at 44.1 kHz; None for all of it.
    """

    folder: str
    protocol: Protocol
    segment: tuple[int, int] | None = None


@dataclass
class Contents:
    """What the metadata of a split says of its music.

    Attributes:
        wanted: the folders that it is scored on.
        listed: all folders that it has an entry for, wanted or not.
    """

    wanted: list[Wanted] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)


def check_scenes(root: Path, split: str, findings: Findings) -> Contents:
    """Check the metadata of a split of the ICASSP 2024 challenge."""
    reader = _Reader(root / "metadata", findings)
    scenes_file, pairs_file = f"scenes.{split}.json", f"scene_listeners.{split}.json"
    gains = _check_gains(reader)
    listeners = _check_listeners(reader, split)
    place, raw_scenes = reader.entries(scenes_file, "scenes")
    pairs_place, pairs = reader.entries(pairs_file, "scene_listeners")
    scenes: dict[str, entries.SceneEntry] = {}
    for key, record in (raw_scenes or {}).items():
        entries.is_name(place.at(key), key)
        scene = entries.check_scene(place.at(key), record)
        if scene is None:
            continue
        if scene.gain is not None and gains is not None and scene.gain not in gains:
            place.at(key, "gain").problem(f"{quoted(scene.gain)} is not in gains.json{_some(gains)}")
        if pairs is None or key in pairs:
            scenes[key] = scene
    if pairs is not None:
        _check_pairs(pairs_place, pairs, raw_scenes, listeners, (scenes_file, f"listeners.{split}.json"))
        unused = [key for key in raw_scenes or () if key not in pairs]
        if unused:
            pairs_place.remark(f"nobody listens to {len(unused):,} scenes of {scenes_file} ({some_of(unused)})")
    is_made = (reader.folder / f"at_mic_music.{split}.json").exists() and not (root / "audio" / "hrtf").exists()
    used = {each.position for each in scenes.values() if each.position is not None}
    _check_positions(root, reader, used, is_made)
    return _music_of(reader, place, split, scenes)


def _music_of(reader: "_Reader", place: Place, split: str, scenes: Mapping[str, entries.SceneEntry]) -> Contents:
    """Check the metadata of music, and that every scene's is there; `place` is that of the scenes."""
    contents = Contents()
    for at_mic, kind, base in ((True, "at_mic_music", AT_MIC), (False, "musdb18", SONGS)):
        name = f"{kind}.{split}.json"
        of_form = {key: each for key, each in scenes.items() if (each.position is not None) == at_mic}
        if not of_form and not (reader.folder / name).exists():
            continue
        known = _check_at_mic(reader, name) if at_mic else _check_tracks(reader, name)
        if known is None:
            continue
        folders = {song: os.path.normpath(f"{base}/{inner}") for song, inner in known.items() if inner is not None}
        contents.listed.update(folders.values())
        entries.differ_by_case(folders.values(), reader.place(name, kind), "folders")
        for key, scene in of_form.items():
            song = f"{scene.music}-{scene.position}" if at_mic else scene.music
            if scene.music is None or song is None:
                continue
            if song not in known:
                place.at(key).problem(f"its music {quoted(song)} is not in {name}{_some(known)}")
            elif song in folders:
                contents.wanted.append(Wanted(folders[song], PROTOCOL))
    return contents


def check_songs(root: Path, split: str, findings: Findings) -> Contents:
    """Check the metadata of a split of the first challenge, task 1."""
    folder, reader = root / "metadata", _Reader(root / "metadata", findings)
    songs_file, segments_file = f"musdb18.{split}.json", f"musdb18.segments.{split}.json"
    listeners = _check_listeners(reader, split)
    place, raw = reader.entries(songs_file, "musdb18", list)
    segments: dict[str, tuple[int, int] | None] | None = None
    if (folder / segments_file).exists():
        segments_place, raw_segments = reader.entries(segments_file, "segments")
        if raw_segments is not None:
            segments = {}
            for song, record in raw_segments.items():
                entries.is_text(segments_place.at(song), song)
                segments[song] = entries.check_segment(segments_place.at(song), record)
    contents = Contents()
    seen: dict[str, None] = {}
    strange: dict[str, list[str]] = {}
    for number, record in enumerate(raw or [], 1):
        here = _at_song(place, number, record)
        music = entries.check_music(here, record, None, None)
        if music is None or music.track is None or not entries.check_song_name(here, music.track, listeners or ()):
            continue
        if music.track in seen:
            here.problem("this Track Name is there twice: keep one of the entries")
            continue
        seen[music.track] = None
        if music.split is None:
            continue
        if music.split not in ("train", "valid", "test"):
            strange.setdefault(music.split, []).append(music.track)
        segment = None
        if segments is not None:
            if music.track not in segments:
                here.problem(f"has no segment in {segments_file}: every song needs one, or none has one")
            segment = segments.get(music.track)
        part = "test" if music.split == "test" else "train"
        contents.wanted.append(Wanted(f"{SONGS}/{part}/{music.track}", CAD1, segment))
    for name, songs in strange.items():
        place.remark(
            f'the Split {quoted(name)} of {some_of(songs)} is none of "train", "valid" and "test": '
            "such songs are looked for in the folder train"
        )
    if segments is not None and (more := [song for song in segments if song not in seen]):
        reader.place(segments_file, "segments").remark(f"{songs_file} does not list {some_of(more)}")
    entries.differ_by_case(seen, place, "songs")
    if raw is not None and not raw:
        place.problem("lists no song")
    if raw and listeners and len(raw) * len(listeners) > MAX_PAIRS:
        place.problem(f"{len(raw) * len(listeners):,} pairs of song and listener, at most {MAX_PAIRS:,} are possible")
    contents.listed = {each.folder for each in contents.wanted}
    return contents


@dataclass(frozen=True)
class _Reader:
    """Reads the files of one metadata folder."""

    folder: Path
    findings: Findings

    def place(self, name: str, kind: str) -> Place:
        return Place(self.findings, f"metadata/{name}", example=EXAMPLES[kind])

    def entries(self, name: str, kind: str, form: type = dict) -> tuple[Place, Any]:
        """The place of a file, and its entries; None if they cannot be read."""
        place, found = self.place(name, kind), read_document(self.folder, name, kind, self.findings, form)
        if found is MISSING:
            return place, None
        if len(found) > MAX_SCENES:
            place.problem(f"has {len(found):,} entries, at most {MAX_SCENES:,} are possible")
            return place, None
        return place, found


def _some(known: Mapping[str, object]) -> str:
    return f" (it has {some_of(list(known))})" if known else " (it has no entries)"


def _check_gains(reader: _Reader) -> dict[str, None] | None:
    place, raw = reader.entries("gains.json", "gains")
    if raw is None:
        return None
    unusual = []
    for key, record in raw.items():
        entries.is_text(place.at(key), key)
        if not entries.check_gains(place.at(key), record):
            unusual.append(key)
    if unusual:
        usual = ", ".join(map(str, entries.OFFICIAL_GAINS))
        place.remark(f"{some_of(unusual)}: other gains than the challenge's, which are {usual} dB")
    return dict.fromkeys(raw)


def _check_listeners(reader: _Reader, split: str) -> dict[str, None] | None:
    place, raw = reader.entries(f"listeners.{split}.json", "listeners")
    if raw is None:
        return None
    for key, record in raw.items():
        entries.is_name(place.at(key), key)
        entries.check_listener(place.at(key), key, record)
    if not raw:
        place.problem("lists no listener")
    entries.differ_by_case(raw, place, "listeners")
    return dict.fromkeys(raw)


def _check_pairs(
    place: Place,
    raw: Mapping[str, Any],
    scenes: Mapping[str, Any] | None,
    listeners: Mapping[str, Any] | None,
    files: tuple[str, str],
) -> None:
    """Check who listens to which scene; `files` are those of scenes and of listeners."""
    names: dict[str, tuple[str, str]] = {}
    count = 0
    for scene, who in raw.items():
        here = place.at(scene)
        entries.is_name(here, scene)
        if scenes is not None and scene not in scenes:
            here.problem(f"this scene is not in {files[0]}{_some(scenes)}")
        if not isinstance(who, list):
            here.problem(f"is {kind_of(who)}, expected is a list of listeners in [ ]")
            continue
        if not who:
            here.problem("names no listener: name one, or take the scene out")
        seen: set[str] = set()
        for listener in who:
            if not isinstance(listener, str):
                here.problem(f"a listener is {kind_of(listener)}, expected is a name in quotation marks")
                continue
            count += 1
            if listener in seen:
                here.problem(f"the listener {quoted(listener)} is named twice")
            elif listeners is not None and listener not in listeners:
                here.problem(f"the listener {quoted(listener)} is not in {files[1]}{_some(listeners)}")
            seen.add(listener)
            name = PROTOCOL.remix_name(scene, listener).casefold()
            other = names.setdefault(name, (scene, listener))
            if other != (scene, listener) and other[0].casefold() != scene.casefold():
                here.problem(
                    f"{shown_text(listener)} and {shown_text(' for '.join(reversed(other)))} would share the file name "
                    f"{shown_text(name)}: rename a scene or a listener"
                )
    if not count:
        place.problem("names no scene with a listener: there is nothing to be scored")
    if count > MAX_PAIRS:
        place.problem(f"has {count:,} pairs of scene and listener, at most {MAX_PAIRS:,} are possible")
    entries.differ_by_case(raw, place, "scenes")


def _check_at_mic(reader: _Reader, name: str) -> dict[str, str | None] | None:
    place, raw = reader.entries(name, "at_mic_music")
    if raw is None:
        return None
    found: dict[str, str | None] = {}
    for song, record in raw.items():
        here = place.at(song)
        entries.is_text(here, song)
        music = entries.check_music(here, record, song, AT_MIC)
        found[song] = None if music is None else music.inner
        if music and music.track not in (None, song):
            here.problem(f"its Track Name is {quoted(str(music.track))}: it must be that of the entry")
    return found


def _check_tracks(reader: _Reader, name: str) -> dict[str, str | None] | None:
    place, raw = reader.entries(name, "musdb18", list)
    if raw is None:
        return None
    found: dict[str, str | None] = {}
    for number, record in enumerate(raw, 1):
        here = _at_song(place, number, record)
        music = entries.check_music(here, record, None, SONGS)
        if music is None or music.track is None:
            continue
        if music.track in found:
            here.problem("this Track Name is there twice, and only the last would count: keep one of the entries")
        found[music.track] = music.inner
    return found


def _at_song(place: Place, number: int, record: Any) -> Place:
    name = record.get("Track Name") if isinstance(record, dict) else None
    return place.at(name if isinstance(name, str) and name.strip() else f"entry {number}")


def _check_positions(root: Path, reader: _Reader, used: set[str], is_made: bool) -> None:
    """Check the positions of heads and loudspeakers, on which no score depends.

    Args:
        root: the evaluation set's folder.
        reader: of its metadata.
        used: the positions that scenes name.
        is_made: whether the music is there, and its heads elsewhere if anywhere: then no head is missed.
    """
    there = [name for name in POSITION_FILES if (reader.folder / name).exists()]
    right = POSITION_FILES[0]
    if not there:
        if used:
            reader.place(right, "positions").remark(
                f"is missing{meant(reader.folder, right)}: where the loudspeakers stand is not known, and "
                "harness set at-mic cannot make music; no score depends on it"
            )
        return
    place, raw = reader.entries(there[0], "positions")
    if there[0] != right:
        place.remark(f"the official generator and harness set at-mic look for {right}: rename it")
    if len(there) > 1 and raw is not None:
        _, other = reader.entries(there[1], "positions")
        if other is not None and json.dumps(other, sort_keys=True) != json.dumps(raw, sort_keys=True):
            reader.place(there[1], "positions").problem(f"differs from {right}: remove the one that is wrong")
    if raw is None:
        return
    lacking: list[str] = []
    for key, record in raw.items():
        entries.is_text(place.at(key), key)
        if entries.check_position(place.at(key), record) and key in used and not is_made:
            lacking += [name for name in _impulse_responses(record) if not _is_there(root, name)]
    for position in sorted(used - set(raw)):
        place.at(position).problem(f"a scene uses this position, and it is not there{_some(raw)}")
    lacking = list(dict.fromkeys(lacking))
    if lacking:
        place.remark(
            f"{len(lacking):,} files of impulse responses are not in audio/hrtf ({some_of(lacking)}): "
            "harness set at-mic would need them, harness run does not"
        )


def _is_there(root: Path, name: str) -> bool:
    if "/" in name or "\0" in name:
        return False
    try:
        return (root / "audio" / "hrtf" / name).is_file()
    except OSError:  # a name that is too long, for one
        return False


def _impulse_responses(record: Mapping[str, Any]) -> tuple[str, str]:
    """The files of both loudspeakers of a good position."""
    return Position(record["subject"], record["left_angle"], record["right_angle"], record["mic"]).speakers


CHECKS: Mapping[Protocol, Callable[[Path, str, Findings], Contents]] = {PROTOCOL: check_scenes, CAD1: check_songs}
"""What checks the metadata of a split, by its protocol."""
