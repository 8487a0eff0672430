"""What an evaluation set was made from and by what: `metadata/provenance.<split>.json`.

One entry for each command that made something: {"set new": {"made": "2026-01-31T12:00:00Z", "versions": {...}, ...}}.
A command that runs again replaces its own entry.
"""

import json
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from harness.documents import ensure_few_values
from harness.errors import DataError, SubmissionError
from harness.files import read_bounded, sha256_of_all, write_whole
from harness.music.metadata import MAX_METADATA_BYTES, MAX_METADATA_VALUES
from harness.sets.sources import Song

LIBRARIES = ("numpy", "scipy", "pyloudnorm", "soundfile", "soxr")
"""What the samples of an evaluation set depend on, beside this package."""

EXCERPTS, EXCERPTS_COMMAND = "excerpts", "set excerpts"
"""Excerpts are songs, and of no split yet: what is noted of them stands in provenance.excerpts.json."""


def provenance_file(root: Path, split: str) -> Path:
    """Where the provenance of a split is kept."""
    return root / "metadata" / f"provenance.{split}.json"


def read_provenance(root: Path, split: str) -> dict[str, Any]:
    """The entries of a split by command, e.g. "set new"; none where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = provenance_file(root, split)
    try:
        content = read_bounded(path, MAX_METADATA_BYTES, follow=True)
        ensure_few_values(content, MAX_METADATA_VALUES)
        entries = json.loads(content)
    except FileNotFoundError:
        return {}
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}: remove it, or restore it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}: remove it, or restore it") from None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise DataError(f"{path}: expected an entry for each command that made something: remove it, or restore it")
    return entries


def excerpts_entry(folder: Path) -> dict[str, Any] | None:
    """What `harness set excerpts` noted in a folder of songs; None if it did not make them. Raises DataError."""
    entry: dict[str, Any] | None = read_provenance(folder, EXCERPTS).get(EXCERPTS_COMMAND)
    return entry


def write_provenance(root: Path, split: str, command: str, content: Mapping[str, JsonValue]) -> None:
    """Write the entry of a command, with the versions of what made it; those of other commands stay.

    Nothing is written where the entry says the same already but for the time.

    Args:
        root: of the evaluation set.
        split: whose provenance it is.
        command: e.g. "set new".
        content: what else is to be known: options, seeds, hashes of the inputs, decisions, silent and clipped files.

    Raises:
        DataError: the file that is there is damaged.
        StorageError: it cannot be written.
    """
    entries = read_provenance(root, split)
    entry: dict[str, Any] = {"versions": versions(), **content}
    former = entries.get(command, {})
    if {key: value for key, value in former.items() if key != "made"} == entry:
        return
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries[command] = {"made": now, **entry}
    write_whole(provenance_file(root, split), json.dumps(entries, indent=4).encode())


def hashes_of(songs: Iterable[Song]) -> dict[str, JsonValue]:
    """SHA-256 of the files of songs, by song and signal; a mixture that is a sum of stems has none of its own."""
    songs = list(songs)
    sources = [source for song in songs for source in song.signals.values()]
    hashes = sha256_of_all(list(dict.fromkeys(path for source in sources for path in source.paths)))
    return {
        song.name: {
            signal: "sum of the stems" if source.added else hashes[source.path]
            for signal, source in song.signals.items()
        }
        for song in songs
    }


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the libraries that make the samples."""
    found = {"harness": version("cadenza-harness"), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
