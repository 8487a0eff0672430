"""The music of an evaluation set, made piece by piece: whole files, several workers, resumable.

Pieces of one song are made together, so that each of its files is read, and its loudness measured, once for all heads.
What limits that is the disk and the measuring of loudness; a worker holds about three times one file of the song in
double precision (a tenth of a GB for each minute, 0.7 GB for four), however many pieces there are.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from harness.challenge import STEMS
from harness.compute.local import map_unordered
from harness.errors import DataError, HarnessError
from harness.files import cannot_write, canonical_sha256, remove_leftovers, sha256_of, sha256_of_all, write_whole
from harness.music.microphones import Rendered, as_it_is, at_microphones, encoded, loudness
from harness.sets.heads import read_impulse_responses
from harness.sets.journal import Entry, appending, journal_file, read_journal
from harness.sets.sources import Source

SIGNALS = (*STEMS, "mixture")
"""A piece's files in the order in which they are made.

The mixture comes last, and an old one is removed first: a piece that is new in part lacks it, so that nobody takes it
for a whole one.
"""

RECIPE = 1
"""Counts the changes after which the same sources give other samples."""

TOGETHER = 8
"""Pieces of one song that are made together at most: what an interruption loses."""


@dataclass(frozen=True)
class Piece:
    """A folder of music that is to be made: mixture.wav and the four stems, 16 bit, 44.1 kHz, stereo.

    Attributes:
        name: in the metadata, and in messages.
        folder: where the files go, below the evaluation set's `audio/`.
        signals: what each file is made from: "mixture" and the four stems.
        speakers: the files with the impulse responses from the left and from the right loudspeaker to both ears;
            None: headphone form, the music as it is.
    """

    name: str
    folder: Path
    signals: Mapping[str, Source]
    speakers: tuple[Path, Path] | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """All files that it is made from."""
        return (*(path for source in self.signals.values() for path in source.paths), *(self.speakers or ()))


@dataclass(frozen=True)
class Made:
    """What came of a piece.

    Attributes:
        piece: which.
        sha256: of its five files by their names ("mixture", ...).
        clipped: how many samples of each file were clipped.
        silent: the files that are zeros since their source is silent, or too quiet to have a loudness.
        kept: whether all of it was there already, made from the same.
        problem: why it could not be made; None if it was.
    """

    piece: Piece
    sha256: Mapping[str, str]
    clipped: Mapping[str, int]
    silent: tuple[str, ...]
    kept: bool
    problem: str | None = None


def make_pieces(
    root: Path, split: str, pieces: Sequence[Piece], workers: int, advance: Callable[[int, str], None]
) -> list[Made]:
    """Make what is missing or was made from something else, and say what came of each piece, in their order.

    A piece is kept where its five files are what was made then, and what it is made from (the sources' content, what
    is taken of them, the impulse responses, the recipe) is the same: by content, never by names or counts. What was
    made is noted in a journal in `metadata/` at once, so that an interrupted run resumes. A piece that cannot be made
    does not stop the others. Call it with `root` locked.

    Args:
        root: of the evaluation set.
        split: whose journal is kept.
        pieces: what is to be made; no two in one folder.
        workers: number of processes.
        advance: called with a number of pieces that are done, and the name of the last.

    Raises:
        DataError: two pieces have one folder, or the journal is damaged as a whole.
        StorageError: a file cannot be written.
    """
    _ensure_apart(pieces)
    path = journal_file(root, split)
    done = {made.piece.folder: made for made in _kept(root, pieces, read_journal(path))}
    if done:
        advance(len(done), next(reversed(done.values())).piece.name)
    tasks = _shared_out(root, [piece for piece in pieces if piece.folder not in done], workers)
    with appending(path) as append:
        for _, results in map_unordered(_make, tasks, workers):
            for made, made_from in results:
                if made.problem is None:
                    append(
                        Entry(
                            made.piece.folder.as_posix(), made_from, dict(made.sha256), dict(made.clipped), made.silent
                        )
                    )
                done[made.piece.folder] = made
                advance(1, made.piece.name)
    return [done[piece.folder] for piece in pieces]


def silent_in(made: Iterable[Made]) -> dict[str, list[str]]:
    """The files that are zeros, by the names of pieces."""
    return {each.piece.name: list(each.silent) for each in made if each.silent}


def clipped_in(made: Iterable[Made]) -> dict[str, dict[str, int]]:
    """How many samples were clipped, by the names of pieces and files; those without any are left out."""
    found = {each.piece.name: {name: count for name, count in each.clipped.items() if count} for each in made}
    return {name: counts for name, counts in found.items() if counts}


def _ensure_apart(pieces: Iterable[Piece]) -> None:
    """Raise DataError if two pieces have one folder, be it on a disk that does not tell "a" from "A"."""
    seen: dict[str, Piece] = {}
    for piece in pieces:
        other = seen.setdefault(piece.folder.as_posix().casefold(), piece)
        if other is not piece:
            raise DataError(
                f"{other.name!r} and {piece.name!r} would be made in one folder, {piece.folder}: rename one of them"
            )


def _kept(root: Path, pieces: Sequence[Piece], journal: Mapping[str, Entry]) -> list[Made]:
    """The pieces that are there already, made from the same."""
    known = [(piece, journal[piece.folder.as_posix()]) for piece in pieces if piece.folder.as_posix() in journal]
    known = [(piece, entry) for piece, entry in known if all(map(_is_there, _files(root, piece)))]
    paths = {path for piece, _ in known for path in _files(root, piece)}
    hashes = sha256_of_all(sorted(paths))
    return [
        Made(piece, entry.sha256, entry.clipped, entry.silent, kept=True)
        for piece, entry in known
        if entry.made_from in (_made_from(piece, hashes), _made_from(_unresampled(piece), hashes))
        and entry.sha256 == {name: hashes[_target(root, piece, name)] for name in SIGNALS}
    ]


def _unresampled(piece: Piece) -> Piece:
    """The same piece without leave to resample: what was made without it would be the same with it."""
    return replace(piece, signals={name: replace(source, resample=False) for name, source in piece.signals.items()})


def _files(root: Path, piece: Piece) -> list[Path]:
    """What has to be hashed to know whether a piece is what the journal says."""
    return [*piece.inputs, *(_target(root, piece, name) for name in SIGNALS)]


def _is_there(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _target(root: Path, piece: Piece, name: str) -> Path:
    return root / "audio" / piece.folder / f"{name}.wav"


def _made_from(piece: Piece, hashes: Mapping[Path, str]) -> str:
    """A hash of all that determines a piece's samples."""
    signals = {
        name: [[hashes[path] for path in source.paths], source.start, source.end, source.resample]
        for name, source in piece.signals.items()
    }
    speakers = None if piece.speakers is None else [hashes[path] for path in piece.speakers]
    return canonical_sha256({"recipe": RECIPE, "signals": signals, "speakers": speakers})


@dataclass(frozen=True)
class _Task:
    """Pieces that are made from the same music."""

    root: Path
    pieces: tuple[Piece, ...]


def _shared_out(root: Path, pieces: Sequence[Piece], workers: int) -> list[_Task]:
    """The pieces of a song together, but no more than leaves something to every worker."""
    most = min(TOGETHER, max(1, len(pieces) // max(1, workers)))
    songs: dict[Any, list[Piece]] = {}
    for piece in pieces:
        songs.setdefault(tuple(sorted(piece.signals.items(), key=lambda each: each[0])), []).append(piece)
    return [
        _Task(root, tuple(same[start : start + most])) for same in songs.values() for start in range(0, len(same), most)
    ]


# In a worker


def _make(task: _Task) -> list[tuple[Made, str]]:
    """Make pieces from the same music: what came of each, and the hash of what it was made from."""
    ready: list[_Work] = []
    failed: list[tuple[Made, str]] = []
    for piece in task.pieces:
        try:
            ready.append(_Work.begin(task.root, piece))
        except DataError as error:
            failed.append((_failure(piece, error), ""))
    if not ready:
        return failed
    try:
        signals = ready[0].piece.signals
        first: tuple[str, int] | None = None
        for name in SIGNALS:
            music = signals[name].read()
            first = first or (name, len(music))
            if len(music) != first[1]:
                raise DataError(
                    f"{signals[name].path}: {name} has {len(music)} samples and {first[0]} has {first[1]}: "
                    "bring the files of a song to one length"
                )
            level = loudness(music) if any(work.speakers for work in ready) else None
            for work in ready:
                work.render(name, music, level)
            del music  # before the next one is read
    except DataError as error:
        return failed + [(_failure(work.piece, error), "") for work in ready]
    return failed + [(work.made, work.made_from) for work in ready]


def _failure(piece: Piece, error: HarnessError) -> Made:
    return Made(piece, {}, {}, (), kept=False, problem=str(error))


@dataclass
class _Work:
    """A piece that is being made."""

    root: Path
    piece: Piece
    speakers: tuple[Any, Any] | None
    made_from: str
    made: Made

    @classmethod
    def begin(cls, root: Path, piece: Piece) -> "_Work":
        """Read and hash what it is made from, and make room for it.

        Raises:
            DataError: something is missing or not what is expected.
            StorageError: the folder cannot be written to.
        """
        if sorted(piece.signals) != sorted(SIGNALS):
            raise DataError(f"{piece.name}: has {', '.join(piece.signals)}, expected {', '.join(SIGNALS)}")
        left, right = piece.speakers or (None, None)
        speakers = None
        if left is not None and right is not None:
            speakers = (read_impulse_responses(left), read_impulse_responses(right))
        made_from = _made_from(piece, {path: _hash(path) for path in piece.inputs})
        folder = root / "audio" / piece.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
            _target(root, piece, "mixture").unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        return cls(root, piece, speakers, made_from, Made(piece, {}, {}, (), kept=False))

    def render(self, name: str, music: Any, level: float | None) -> None:
        """Make one of its files, and note what came of it.

        Raises:
            StorageError: it cannot be written.
        """
        rendered: Rendered
        if self.speakers is None or level is None:
            rendered = as_it_is(music)
        else:
            rendered = at_microphones(music, level, *self.speakers)
        content = encoded(rendered.samples)
        write_whole(_target(self.root, self.piece, name), content)
        made = self.made
        self.made = replace(
            made,
            sha256={**made.sha256, name: _sha256(content)},
            clipped={**made.clipped, name: rendered.clipped},
            silent=(*made.silent, *((name,) if rendered.silent else ())),
        )


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _hash(path: Path) -> str:
    """SHA-256 of a file, remembered while it stays the same.

    Raises:
        DataError: it cannot be read.
    """
    try:
        status = path.stat()
        return _remembered(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _remembered(path: Path, *_stamp: int) -> str:
    return sha256_of(path)


def song_folder(split: str, name: str, what: str) -> Path:
    """The folder of a song, `<split>/<name>`, whose parts come from metadata.

    Raises:
        DataError: one of them cannot be a folder's name.
    """
    for text in (split, name):
        if not text or "/" in text or "\0" in text or text in (".", "..") or len(os.fsencode(text)) > 255:
            raise DataError(
                f"{what}: {text[:100]!r} cannot be the name of a folder: expected 1 to 255 bytes, no / in it"
            )
    return Path(PurePosixPath(split, name))
