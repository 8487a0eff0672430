"""The music of an evaluation set, made piece by piece: whole files, several workers, resumable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.sets.sources import Source


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
    made is noted in a journal in `metadata/` at once, so that an interrupted run resumes.

    Args:
        root: of the evaluation set.
        split: whose journal is kept.
        pieces: what is to be made; no two in one folder.
        workers: number of processes.
        advance: called after every piece with 1 and its name.

    Raises:
        StorageError: a file cannot be written.
    """
    raise NotImplementedError
