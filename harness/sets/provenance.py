"""What an evaluation set was made from and by what: `metadata/provenance.<split>.json`.

One entry for each command that made something: {"set new": {"made": "2026-01-31T12:00:00Z", "versions": {...}, ...}}.
A command that runs again replaces its own entry.
"""

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from harness.errors import DataError, SubmissionError
from harness.files import read_bounded, write_whole
from harness.music.metadata import MAX_METADATA_BYTES, MAX_METADATA_VALUES

LIBRARIES = ("numpy", "scipy", "pyloudnorm", "soundfile", "soxr")
"""What the samples of an evaluation set depend on, beside this package."""


def provenance_file(root: Path, split: str) -> Path:
    """Where the provenance of a split is kept."""
    return root / "metadata" / f"provenance.{split}.json"


def read_provenance(root: Path, split: str) -> dict[str, Any]:
    """The entries of a split by command, e.g. "set new"; none where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    from harness.documents import ensure_few_values

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


def write_provenance(root: Path, split: str, command: str, content: Mapping[str, JsonValue]) -> None:
    """Write the entry of a command, with the versions of what made it; those of other commands stay.

    Args:
        root: of the evaluation set.
        split: whose provenance it is.
        command: e.g. "set new".
        content: what else is to be known: options, seeds, hashes of the inputs, decisions, silent and clipped files.

    Raises:
        DataError: the file that is there is damaged.
        StorageError: it cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = {"made": now, "versions": versions(), **content}
    entries = {**read_provenance(root, split), command: entry}
    write_whole(provenance_file(root, split), json.dumps(entries, indent=4).encode())


def versions() -> dict[str, str]:
    """Versions of this package, of Python and of the libraries that make the samples."""
    found = {"harness": version("cadenza-harness"), "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
