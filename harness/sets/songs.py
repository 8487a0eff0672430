"""Finding songs: folders with a mixture and four stems, as MUSDB18-HQ has them or one's own.

Layout `folders`: DIR/<song>/{mixture,vocals,drums,bass,other}.wav or .flac. Layout `musdb18hq`: the same in DIR/train
and DIR/test. A song without a mixture gets the sum of its stems. Genre, Source and License of a song come from sigsep's
`tracklist.csv`, where DIR holds one.
"""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.challenge import STEMS
from harness.errors import DataError, SubmissionError, UsageError, printable
from harness.files import read_bounded
from harness.sets.provenance import excerpts_entry
from harness.sets.sources import Song, Source, length_of

LAYOUTS = ("folders", "musdb18hq")
SIGNALS = ("mixture", *STEMS)
SUFFIXES = (".wav", ".flac")

HALVES = ("train", "test")
"""The two folders of MUSDB18-HQ."""

METADATA = "metadata"
"""A folder that is no song: there `harness set excerpts` notes what it did."""

MAX_SONGS = 100_000
MAX_NAME_BYTES = 150
"""Of a song's name. With a position or a listener and a stem it becomes the name of a file, which may have 255."""

MAX_SHOWN = 20
"""Lines of a kind that a message shows; --json and the provenance have all."""

TRACKLIST = "tracklist.csv"
MAX_TRACKLIST_BYTES = 2**22
ABOUT = ("Genre", "Source", "License")
"""Columns of sigsep's tracklist.csv, beside "Track Name", that the official metadata have as well."""
MAX_ABOUT = 300


@dataclass(frozen=True)
class FoundSongs:
    """The songs in a folder.

    Attributes:
        folder: where they were looked for.
        songs: sorted by name, without regard to case.
        summed: names of the songs without a mixture, which is the sum of their stems.
        ignored: what else lies there, relative to `folder`.
    """

    folder: Path
    songs: tuple[Song, ...]
    summed: tuple[str, ...]
    ignored: tuple[str, ...]

    def ensure_apart(self, folder: Path, named: str) -> None:
        """Raise UsageError if a folder that is to be written to lies in the songs' folder, or the other way round."""
        songs, other = self.folder.resolve(), folder.resolve()
        if songs.is_relative_to(other) or other.is_relative_to(songs):
            raise UsageError(f"{named} {folder} and the songs' folder {self.folder} lie in each other: choose another")


@dataclass
class _Search:
    """What is found on the way."""

    root: Path
    resample: bool
    about: Mapping[str, Mapping[str, str]]
    songs: dict[str, Song] = field(default_factory=dict)
    """By names as a disk that does not tell "a" from "A" would take them."""
    summed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_songs(folder: Path, layout: str | None = None, resample: bool = False, split: str | None = None) -> FoundSongs:
    """Find the songs in a folder, and check names and headers of all their files.

    Names are taken in Unicode's composed form (NFC), whatever form the disk has them in: scenes are drawn with seeds
    that are made of them.

    Args:
        folder: DIR.
        layout: one of `LAYOUTS`; by default `musdb18hq` where DIR has a folder `train` or `test`, else `folders`.
        resample: whether other sample rates than 44.1 kHz will do.
        split: with the layout `musdb18hq`, which of `HALVES`; None for both.

    Raises:
        UsageError: no such folder, no such layout, or no such half.
        DataError: there is no song, or any song has a problem: names all of them.
    """
    if not folder.is_dir():
        raise UsageError(f"--songs {folder}: no such folder (it should hold a folder for each song)")
    if layout is None:
        layout = "musdb18hq" if any((folder / each).is_dir() for each in HALVES) else "folders"
    if layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: there is no such layout, choose {' or '.join(LAYOUTS)}")
    if layout == "musdb18hq" and split not in (None, *HALVES):
        raise UsageError(
            f"--split {split}: with the layout musdb18hq, the splits are {' and '.join(HALVES)}; for a split of "
            f"another name, name the folder of its songs: --songs {folder / HALVES[1]} --layout folders"
        )
    excerpts = excerpts_entry(folder)
    if excerpts is not None and not excerpts.get("complete"):
        raise DataError(f"{folder}: its excerpts are not complete: run the same harness set excerpts again")
    search = _Search(folder, resample, _tracklist(folder / TRACKLIST))
    if layout == "folders":
        _look_into(folder, search)
    else:
        for each in HALVES if split is None else (split,):
            if (folder / each).is_dir():
                _look_into(folder / each, search)
    if not search.songs and not search.problems:
        below = "<song>" if layout == "folders" else f"{split or '{train,test}'}/<song>"
        raise DataError(
            f"{folder} holds no song: expected {below}/{{{','.join(SIGNALS)}}}.wav or .flac (layout {layout})"
        )
    raise_all(search.problems, f"{folder}: these songs cannot be used")
    songs = sorted(search.songs.values(), key=lambda song: (song.name.casefold(), song.name))
    return FoundSongs(folder, tuple(songs), tuple(sorted(search.summed)), tuple(sorted(search.ignored)))


def raise_all(problems: list[str], what: str) -> None:
    """Raise one DataError that names all problems, up to `MAX_SHOWN`; nothing happens if there is none."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        raise DataError(in_short(f"{what}:", problems))


def in_short(head: str, lines: Sequence[str]) -> str:
    """A heading and indented lines, `MAX_SHOWN` at most, with how many more there are."""
    more = [f"... and {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else []
    return "\n  ".join([head, *lines[:MAX_SHOWN], *more])


def _entries(folder: Path) -> Iterator[Path]:
    """What lies in a folder and is not hidden, sorted."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from None
    if len(entries) > MAX_SONGS:
        raise DataError(f"{folder} holds {len(entries):,} files and folders, at most {MAX_SONGS:,} songs are expected")
    yield from (entry for entry in entries if not entry.name.startswith("."))


def _look_into(folder: Path, search: _Search) -> None:
    """Find the songs that lie in one folder."""
    for entry in _entries(folder):
        relative = printable(entry.relative_to(search.root).as_posix())
        if entry == search.root / METADATA or entry == search.root / TRACKLIST:
            continue
        if not entry.is_dir():
            search.ignored.append(relative)
            continue
        try:
            _ensure_inside(entry, search.root)
            _look_at(entry, relative, search)
        except DataError as error:
            search.problems.append(str(error))


def _look_at(folder: Path, relative: str, search: _Search) -> None:
    """Take a folder for a song, if any of its files looks like a part of one."""
    found: dict[str, Path] = {}
    others = []
    twice = []
    for path in _entries(folder):
        signal, suffix = path.stem.casefold(), path.suffix.casefold()
        if signal not in SIGNALS or suffix not in SUFFIXES:
            others.append(f"{relative}/{printable(path.name)}")
        elif signal in found:
            twice.append(f"{relative} holds both {found[signal].name} and {path.name}: remove one of them")
        else:
            found[signal] = path
    if not found:
        search.ignored.append(relative)
        return
    search.ignored += others
    search.problems += twice
    name = _checked_name(folder.name, relative)
    missing = [stem for stem in STEMS if stem not in found]
    if missing:
        search.problems.append(
            f"{relative} lacks {', '.join(missing)}: expected {', '.join(STEMS)} as .wav or .flac"
            " (a stem that is silent is a file of zeros)"
        )
    lengths = {}
    for signal in (each for each in SIGNALS if each in found):
        try:
            _ensure_inside(found[signal], search.root)
            lengths[signal] = length_of(found[signal], search.resample)
        except DataError as error:
            search.problems.append(str(error))
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{signal} {length} at {rate} Hz" for signal, (length, rate) in lengths.items())
        search.problems.append(
            f"{relative}: its files differ in length or rate ({listed}): bring them to one number of samples"
        )
    other = search.songs.get(name.casefold())
    if other is not None:
        first = printable(next(iter(other.signals.values())).path.parent.relative_to(search.root).as_posix())
        search.problems.append(f"{first} and {relative} have the same name but for case or form: rename one of them")
        return
    if missing:
        return
    signals = {signal: Source(path, resample=search.resample) for signal, path in found.items()}
    if "mixture" not in found:
        first_stem, *more = (found[stem] for stem in STEMS)
        signals["mixture"] = Source(first_stem, resample=search.resample, added=tuple(more))
        search.summed.append(name)
    signals = {signal: signals[signal] for signal in SIGNALS}
    search.songs[name.casefold()] = Song(name, signals, search.about.get(_letters(name), {}))


def _checked_name(name: str, relative: str) -> str:
    """A song's name, in composed form, if it can be that of a folder and stand in metadata; else raises DataError."""
    name = unicodedata.normalize("NFC", name)
    if not name.isprintable() or "\\" in name:
        raise DataError(f"{relative}: the name of a song has printable characters only, and no backslash: rename it")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise DataError(f"{relative}: the name of a song has at most {MAX_NAME_BYTES} bytes: shorten it")
    return name


def _ensure_inside(path: Path, root: Path) -> None:
    """Raise DataError if a file is a link that leads out of the songs' folder."""
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        raise DataError(f"{path} is a link that leads nowhere: put the music itself there") from None
    if not inside:
        raise DataError(f"{path} is a link that leads out of {root}: put the music itself there")


def _letters(name: str) -> str:
    """A name without punctuation and case, since tracklist.csv does not spell all of them as the folders do."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFC", name).casefold()))


def _tracklist(path: Path) -> dict[str, dict[str, str]]:
    """What sigsep's tracklist.csv says of each song, by `_letters` of its name; nothing where there is no such file."""
    try:
        text = read_bounded(path, MAX_TRACKLIST_BYTES, follow=True).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except FileNotFoundError:
        return {}
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): correct it, or remove it") from None
    if rows and "Track Name" not in rows[0]:
        raise DataError(f"{path} has no column 'Track Name', as sigsep's has: correct it, or remove it")
    found = {}
    for row in rows:
        about = {column: (row.get(column) or "").strip() for column in ABOUT}
        # What cannot stand in metadata is left out, like what is not known.
        about = {column: text for column, text in about.items() if text.isprintable() and 0 < len(text) <= MAX_ABOUT}
        found[_letters(row["Track Name"] or "")] = about
    return found


def tracklist_of(about: Mapping[str, Mapping[str, str]]) -> bytes:
    """A tracklist.csv as `find_songs` reads it: what is known of each song, by its name."""
    text = io.StringIO()
    rows = csv.DictWriter(text, ("Track Name", *ABOUT), restval="", lineterminator="\n")
    rows.writeheader()
    rows.writerows({"Track Name": name, **each} for name, each in about.items())
    return text.getvalue().encode()
