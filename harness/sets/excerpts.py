"""Excerpts of songs: consecutive ones without silent stems, or the segments that somebody has chosen.

Of the excerpts of the ICASSP 2024 challenge only this is published: consecutive, 10 s long, no silent segments. What
that leaves open is decided here, and noted with what is made (`DECISIONS`). Excerpts are cut from the songs as they
are, before anything else is done to them: the loudness that music keeps on its way to the microphones is the excerpt's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.challenge import PROTOCOL
from harness.console import Advance
from harness.errors import DataError, UsageError
from harness.files import locked_folder, remove_leftovers
from harness.music.songs import read_segments
from harness.sets.cutting import SILENT_LUFS, Cuts, Excerpt, cut_song, write_if_new
from harness.sets.provenance import EXCERPTS, EXCERPTS_COMMAND, excerpts_entry, hashes_of, write_provenance
from harness.sets.songs import METADATA, TRACKLIST, FoundSongs, raise_all, tracklist_of
from harness.sets.sources import Song

SECONDS = 10.0
"""Of an excerpt of the ICASSP 2024 challenge."""

DECISIONS = (
    "windows start at the song's first sample and follow each other without gap or overlap; a last one that is "
    "shorter is dropped",
    f"a window is dropped where the integrated loudness (BS.1770) of any stem in it is below {SILENT_LUFS:g} LUFS",
    "an excerpt is named after its song and its start: 'SONG (30 s)'",
    "samples are those of the source, in its own sample format; resampled or summed signals are 32 bit float",
)


def consecutive(seconds: float) -> Cuts:
    """Cuts into consecutive windows of so many seconds, named after song and start."""
    length = round(seconds * PROTOCOL.sample_rate)

    def cuts(song: Song, frames: int) -> list[tuple[str, int, int]]:
        starts = range(0, frames - length + 1, length)
        return [(f"{song.name} ({start / PROTOCOL.sample_rate:g} s)", start, start + length) for start in starts]

    return cuts


def chosen(segments: Mapping[str, tuple[int, int]]) -> Cuts:
    """Cuts out the segment of each song, under the song's own name; see `read_segments`."""

    def cuts(song: Song, _: int) -> list[tuple[str, int, int]]:
        return [(song.name, *segments[song.name])]

    return cuts


@dataclass(frozen=True)
class Excerpts:
    """What came of songs.

    Attributes:
        all: every excerpt that was looked at, song by song.
        unused: songs of which no excerpt was made.
    """

    all: tuple[Excerpt, ...]
    unused: tuple[str, ...]

    @property
    def made(self) -> list[Excerpt]:
        """Those that are there now."""
        return [excerpt for excerpt in self.all if excerpt.made]

    @property
    def dropped(self) -> list[Excerpt]:
        """Those that were not made, since a stem is silent in them."""
        return [excerpt for excerpt in self.all if not excerpt.made]


def make_consecutive(found: FoundSongs, output: Path, seconds: float, advance: Advance) -> Excerpts:
    """Cut songs into consecutive excerpts, and leave out those with silent stems.

    Args:
        found: the songs.
        output: where a folder for each excerpt is made.
        seconds: length of an excerpt.
        advance: called with 1 and a song's name after each.

    Raises:
        UsageError: `output` holds something else.
        DataError: a song cannot be read: names all of those.
        StorageError, SubmissionError: `output` cannot be written, or another process is writing to it.
    """
    options = {"seconds": seconds, "silent_below_lufs": SILENT_LUFS}
    return _make(found, found.songs, output, consecutive(seconds), options, DECISIONS, advance)


def make_segments(found: FoundSongs, output: Path, segments_file: Path, which: str, advance: Advance) -> Excerpts:
    """Cut the first challenge's segments out of songs: one of each song, under the song's name.

    A segment is made also where a stem is silent in it: it is somebody's choice.

    Args:
        found: the songs.
        output: where a folder for each excerpt is made.
        segments_file: e.g. musdb18.segments.test.json.
        which: "objective" or "subjective".
        advance: called with 1 and a song's name after each.

    Raises:
        UsageError: `output` holds something else.
        DataError: the segments are malformed, name a song that is not there, or a song cannot be read.
        StorageError, SubmissionError: `output` cannot be written, or another process is writing to it.
    """
    segments = read_segments(segments_file, which)
    by_name = {song.name: song for song in found.songs}
    missing = [f"no song {name!r}, which {segments_file} lists" for name in segments if name not in by_name]
    raise_all(missing, f"{found.folder} lacks songs")
    songs = [by_name[name] for name in segments]
    options = {"segments": segments_file.name, "which": which}
    decisions = ("samples int(start * 44100) to int(end * 44100), as the first challenge's program cuts",)
    inputs = {name: [start, end] for name, (start, end) in segments.items()}
    return _make(found, songs, output, chosen(segments), {**options, "samples": inputs}, decisions, advance, True)


def _make(
    found: FoundSongs,
    songs: Sequence[Song],
    output: Path,
    cuts: Cuts,
    options: Mapping[str, Any],
    decisions: Sequence[str],
    advance: Advance,
    keep_silent: bool = False,
) -> Excerpts:
    plan: dict[str, Any] = {
        "options": dict(options),
        "resampled": sorted({song.name for song in songs if song.resampled}),
        "decisions": list(decisions),
        "songs": hashes_of(songs),
    }
    with locked_folder(output):
        _ensure_own(output, plan)
        for folder in output.iterdir():
            if folder.is_dir():
                remove_leftovers(folder)
        if excerpts_entry(output) is None:
            # A process that is killed leaves this; what is made again later becomes what it was.
            write_provenance(output, EXCERPTS, EXCERPTS_COMMAND, {**plan, "complete": False})
        excerpts: list[Excerpt] = []
        problems = []
        for song in songs:
            try:
                excerpts += cut_song(song, output, cuts, keep_silent)
            except DataError as error:
                problems.append(str(error))
            advance(1, song.name)
        raise_all(problems, f"{found.folder}: these songs cannot be used")
        made = {excerpt.song for excerpt in excerpts if excerpt.made}
        result = Excerpts(tuple(excerpts), tuple(song.name for song in songs if song.name not in made))
        about = {song.name: song.about for song in songs if song.about}
        known = {excerpt.name: about[excerpt.song] for excerpt in result.made if excerpt.song in about}
        if known:
            write_if_new(output / TRACKLIST, tracklist_of(known))
        records: dict[str, Any] = {
            "made": [excerpt.record for excerpt in result.made],
            "dropped": [excerpt.record for excerpt in result.dropped],
        }
        write_provenance(output, EXCERPTS, EXCERPTS_COMMAND, {**plan, "complete": True, "excerpts": records})
    return result


def _ensure_own(output: Path, plan: Mapping[str, Any]) -> None:
    """Raise UsageError if a folder holds anything but excerpts of the same songs, made in the same way."""
    former = excerpts_entry(output)
    if former is None:
        if any(entry.name != METADATA for entry in output.iterdir()):
            raise UsageError(f"{output} holds something else already: name a folder that is new or empty")
        return
    for key, value in plan.items():
        if former.get(key) != value:
            raise UsageError(
                f"{output} holds excerpts that were made differently ({key}: {_difference(former.get(key), value)}): "
                "name another folder, or remove this one"
            )


def _difference(old: Any, new: Any) -> str:
    """The first key of two mappings that differs, with its values where they are short."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return "see metadata/provenance.excerpts.json there"
    key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    if isinstance(old.get(key), dict) or isinstance(new.get(key), dict):
        return str(key)
    return f"{key} was {old.get(key)}, is {new.get(key)}"
