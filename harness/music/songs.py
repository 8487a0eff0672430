"""Reading an evaluation set of the first Cadenza challenge, task 1: every song for every listener.

```
<root>/metadata/musdb18.<split>.json             [{"Track Name": "Actions - One Minute Smile", "Split": "valid"}, ...]
<root>/metadata/listeners.<split>.json
<root>/metadata/musdb18.segments.<split>.json    which part of each song is scored; without it, all of it is
<root>/audio/musdb18hq/{train,test}/<Track Name>/{mixture,vocals,drums,bass,other}.wav
```
Songs of the split "test" lie in `test`, those of all others, "valid" too, in `train`. Pairs are in the official order:
the first song for every listener, then the second. Where there are segments, what is scored is cut at their samples,
out of the processed whole song and out of the true stems alike.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from harness.challenge import CAD1, STEMS
from harness.enhancement import MIN_SECONDS
from harness.errors import DataError
from harness.hearing import Listener
from harness.music.evaluationset import MAX_MUSIC_SECONDS, EvaluationSet, Scene
from harness.music.metadata import EACH_SCENE, MusicRecord, MusicRecords, Text, check_names, read, read_listeners

MAX_NAME_BYTES = 255
"""Of a file's name, on the file systems of today."""

_Seconds = Annotated[float, Field(strict=True, ge=0, le=MAX_MUSIC_SECONDS, allow_inf_nan=False)]


class _Part(BaseModel):
    start: _Seconds
    end: _Seconds


class _Objective(BaseModel):
    objective_evaluation: _Part


class _Subjective(BaseModel):
    subjective_evaluation: _Part


SEGMENTS: Mapping[str, Any] = {
    "objective": Annotated[dict[Text, _Objective], EACH_SCENE],
    "subjective": Annotated[dict[Text, _Subjective], EACH_SCENE],
}
"""The two segments of a song: what is scored, and what the panel listened to."""


def splits_of_songs(root: Path) -> Iterator[str]:
    """The splits under `root` that have songs and listeners."""
    metadata = root / "metadata"
    for path in metadata.glob("musdb18.*.json"):
        split = path.name.removeprefix("musdb18.").removesuffix(".json")
        if (metadata / f"listeners.{split}.json").exists():
            yield split


def load_songs(root: Path, split: str, name: str) -> EvaluationSet:
    """Read the metadata of an evaluation set of the first challenge.

    Args:
        root: the folder with `metadata/` and `audio/`.
        split: e.g. "valid".
        name: how to refer to it.

    Raises:
        DataError: metadata missing or malformed (names the file, the key, and what was expected).
    """
    metadata = root / "metadata"
    songs_file = metadata / f"musdb18.{split}.json"
    songs: list[MusicRecord] = read(songs_file, MusicRecords)
    listeners = tuple(read_listeners(metadata / f"listeners.{split}.json").values())
    segments_file = metadata / f"musdb18.segments.{split}.json"
    segments = read_segments(segments_file) if segments_file.exists() else None
    _check_twice(songs_file, [music.track for music in songs])
    scenes = []
    for music in songs:
        _check_song(songs_file, music.track, listeners)
        if segments is not None:
            _check_segment(segments_file, music.track, segments)
        scenes.append(
            Scene(
                id=music.track,
                song=music.track,
                track=music.track,
                gains=dict.fromkeys(STEMS, 0.0),
                listeners=listeners,
                folder=root / "audio" / "musdb18hq" / ("test" if music.split == "test" else "train") / music.track,
                protocol=CAD1,
                segment=None if segments is None else segments[music.track],
            )
        )
    loaded = EvaluationSet(name, split, tuple(scenes), tuple(scenes))
    check_names(songs_file, loaded, "songs")
    return loaded


def is_too_long(song: str, listeners: Iterable[str]) -> bool:
    """Whether a file of the song's submissions, for one of these listeners, would have too long a name."""
    longest = max(CAD1.signals, key=len)
    files = (CAD1.stem_name(song, who, longest) for who in listeners)
    return any(len(file.rpartition("/")[2].encode()) > MAX_NAME_BYTES for file in files)


def _check_song(path: Path, song: str, listeners: tuple[Listener, ...]) -> None:
    """Raise DataError if a song's name cannot be that of a folder, or part of a file's name."""
    if song in (".", "..") or any(character in song for character in "/\\\0"):
        raise DataError(f"{path}: Track Name {song!r} cannot be the name of a folder: rename the song")
    if is_too_long(song, [who.id for who in listeners]):
        raise DataError(f"{path}: Track Name {song!r} is too long for the name of a file: shorten it")


def _check_twice(path: Path, songs: list[str]) -> None:
    """Raise DataError if two names are one on a disk that does not tell forms of Unicode apart, such as macOS's."""
    known: dict[str, str] = {}
    for song in songs:
        other = known.get(form := unicodedata.normalize("NFC", song))
        if other == song:
            raise DataError(f"{path}: the Track Name {song!r} is there twice")
        if other is not None:
            raise DataError(f"{path}: {other!a} and {song!a} differ in the form of their accents: rename one of them")
        known[form] = song


def _check_segment(path: Path, song: str, segments: Mapping[str, tuple[int, int]]) -> None:
    """Raise DataError if a song has no segment, or one that is too short for music."""
    if song not in segments:
        raise DataError(f"{path}: no segment of {song!r}, which the evaluation set lists")
    first, end = segments[song]
    if end - first < MIN_SECONDS * CAD1.sample_rate:
        seconds = (end - first) / CAD1.sample_rate
        raise DataError(f"{path}: {song}.objective_evaluation: lasts {seconds:.3f} s, expected {MIN_SECONDS} s or more")


def read_segments(path: Path, which: str = "objective") -> dict[str, tuple[int, int]]:
    """The segments of songs as samples at 44.1 kHz: the first, and the one after the last.

    Args:
        path: a file such as musdb18.segments.test.json.
        which: one of `SEGMENTS`.

    Raises:
        DataError: missing or malformed.
    """
    found: dict[str, Any] = read(path, SEGMENTS[which])
    segments = {}
    for song, parts in found.items():
        part: _Part = getattr(parts, key := f"{which}_evaluation")
        # Truncated as the official program does it: 129.64 s is sample 5717123.
        first, end = int(part.start * CAD1.sample_rate), int(part.end * CAD1.sample_rate)
        if first >= end:
            raise DataError(f"{path}: {song}.{key}: ends at {part.end:g} s, before it starts")
        segments[song] = first, end
    return segments
