"""Building an embedded evaluation set: once, into the user's cache folder, and again when it is damaged."""

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.enhancement import Signal
from harness.errors import StorageError
from harness.files import cache_folder, locked_folder, sha256_of
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness.music.microphones import FULL_SCALE, as_it_is, encoded


@dataclass(frozen=True)
class Embedded:
    """An evaluation set that everybody has.

    Attributes:
        name: what it is called on the command line and on the leaderboard, e.g. "demo".
        split: its only split.
        revision: part of its folder's name; raised whenever anything that `write` writes changes.
        attribution: sentences that have to stand wherever its music is heard.
        write: writes metadata and audio in the official layout into an empty folder.
    """

    name: str
    split: str
    revision: int
    attribution: tuple[str, ...]
    write: Callable[[Path], None]

    def load(self) -> EvaluationSet:
        """The evaluation set; built if it does not exist yet, rebuilt if a file is missing or damaged.

        Raises:
            DataError: its music is missing or not the known one, or cannot be decoded.
            StorageError: the cache folder cannot be written.
        """
        root = cache_folder() / f"{self.name}-{self.revision}"
        if not _intact(root):
            with locked_folder(root.parent, wait=True, instead="set HARNESS_CACHE to another one"):
                if not _intact(root):  # somebody else may have built it meanwhile
                    _build(root, self.write)
        return load(root, self.split, self.name)


def write_json(root: Path, name: str, content: object) -> None:
    """Write a file of the metadata, as the official generator writes its own."""
    path = root / "metadata" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def as_16_bit(signal: Signal) -> Signal:
    """What a file of 16 bit keeps of a signal: clipped and truncated towards zero, as the official generator does."""
    return np.asarray(as_it_is(signal).samples / FULL_SCALE)


def write_wav(path: Path, signal: Signal) -> None:
    """Write a signal as `as_16_bit`: 44.1 kHz, PCM.

    Args:
        path: the file; its folders are made.
        signal: (samples, 2), full scale +-1.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(as_it_is(signal).samples))


def _intact(root: Path) -> bool:
    """Whether exactly the files that were built are present, with the content they had then."""
    try:
        lines = (root / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        return lines == _sums(root)
    except (OSError, ValueError):
        return False


def _sums(root: Path) -> list[str]:
    """A line with hash and path for every file under `root` but the list itself, as sha256sum writes it."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return [f"{sha256_of(path)}  {path.relative_to(root).as_posix()}" for path in files]


def _build(root: Path, write: Callable[[Path], None]) -> None:
    try:
        # What a killed process left; we hold the folder, so nobody is building there now.
        for leftover in root.parent.glob(".demo-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with ExitStack() as stack:
            partial = Path(tempfile.mkdtemp(prefix=".demo-", dir=root.parent))
            stack.callback(shutil.rmtree, partial, ignore_errors=True)
            write(partial)
            (partial / "SHA256SUMS").write_text("\n".join(_sums(partial)), encoding="utf-8")
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)
    except OSError as error:
        raise StorageError(
            f"cannot build the embedded evaluation set in {root.parent}: {error.strerror or error}; "
            "make room there, or set HARNESS_CACHE to a folder that can be written"
        ) from error
