"""The journal of what was made: a line for each piece of music, appended once all its files are on disk."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from harness.documents import ensure_few_values
from harness.errors import DataError, SubmissionError
from harness.files import cannot_write, read_bounded

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 64 * 2**20
MAX_VALUES = 1_500_000
"""Some 60,000 pieces of music."""

_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(strict=True, ge=0)]
_Name = Annotated[str, Field(max_length=100)]


@dataclass(frozen=True)
class Entry:
    """What is known of a piece that was made.

    Attributes:
        folder: where its files lie, below `audio/`, with "/" between folders.
        made_from: hash of all that it was made from.
        sha256: of its files by their names.
        clipped: how many samples of each file were clipped.
        silent: files that are zeros.
    """

    folder: Annotated[str, Field(max_length=2000)]
    made_from: _Hash
    sha256: Annotated[dict[_Name, _Hash], Field(max_length=10)]
    clipped: Annotated[dict[_Name, _Count], Field(max_length=10)]
    silent: Annotated[tuple[_Name, ...], Field(max_length=10)]


def journal_file(root: Path, split: str) -> Path:
    """Where the journal of a split is kept."""
    return root / "metadata" / f"made.{split}.jsonl"


def read_journal(path: Path) -> dict[str, Entry]:
    """The entries of a journal by folder; of several for one folder the last.

    Lines that are no entries are passed over: a process that was killed may have left half of one. What they told of is
    made again.

    Raises:
        DataError: it is too large, or not a regular file.
    """
    try:
        content = read_bounded(path, MAX_BYTES, follow=True)
        ensure_few_values(content, MAX_VALUES)
    except FileNotFoundError:
        return {}
    except (SubmissionError, ValueError) as error:
        raise DataError(f"{path}: {error}; remove it, and all music is made again") from None
    adapter = TypeAdapter(Entry)
    entries = {}
    for line in content.splitlines():
        try:
            entry = adapter.validate_json(line)
        except ValidationError:
            continue
        entries[entry.folder] = entry
    return entries


@contextmanager
def appending(path: Path) -> "Iterator[Callable[[Entry], None]]":
    """Append entries to a journal: each is on disk when the call returns.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Text from a killed process may lack its line end: begin on a line of our own.
        with path.open("ab") as file:
            if file.tell():
                file.write(b"\n")

            def append(entry: Entry) -> None:
                try:
                    file.write(json.dumps(asdict(entry), separators=(",", ":")).encode("ascii") + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                except OSError as error:
                    raise cannot_write(path, error) from error

            yield append
    except OSError as error:
        raise cannot_write(path, error) from error
