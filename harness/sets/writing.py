"""Writing metadata files: byte for byte as the official programs write them, and never over something else."""

import json
from pathlib import Path
from typing import Any

from harness.errors import SubmissionError, UsageError
from harness.files import read_bounded, write_whole
from harness.music.metadata import MAX_METADATA_BYTES

Content = dict[str, Any] | list[Any]


def as_official(content: Content) -> bytes:
    """A metadata file's bytes: indented by four, in ASCII with escapes, no line end after the last bracket."""
    return json.dumps(content, indent=4).encode("ascii")


def plain(number: float) -> float:
    """A number as people and the official files write it: 45, not 45.0."""
    return int(number) if number == int(number) else number


def write_metadata(path: Path, content: Content) -> bool:
    """Write a metadata file, whole or not at all.

    Returns:
        Whether it was written: not if the same bytes are there already.

    Raises:
        StorageError: it cannot be written.
    """
    new = as_official(content)
    if _existing(path) == new:
        return False
    write_whole(path, new)
    return True


def ensure_replaceable(path: Path, content: Content, extending: bool = False) -> None:
    """Check that writing `content` loses nothing: the file is not there, or says the same.

    Args:
        path: of the file.
        content: what is to be written.
        extending: whether the file may also say a part of it: fewer entries, or fewer keys in them.

    Raises:
        UsageError: it says something else: names the first difference.
    """
    if difference := difference_from(path, content, extending):
        raise UsageError(
            f"{path} is there already and says something else ({difference}): give --overwrite to replace it, "
            "or --output to write elsewhere"
        )


def difference_from(path: Path, content: Content, extending: bool = False) -> str | None:
    """How a metadata file differs from a content, in words; None if it is not there, or says the same.

    Args:
        path: of the file.
        content: what it is compared with.
        extending: whether saying a part of it is the same: fewer entries, or fewer keys in them.

    Raises:
        UsageError: what is there is not a regular file, or far too large.
    """
    old = _existing(path)
    return None if old is None or old == as_official(content) else _difference(old, content, extending)


def _difference(old: bytes, new: Content, extending: bool) -> str | None:
    try:
        said = json.loads(old)
    except (ValueError, RecursionError):
        return "it is not JSON"
    if extending and isinstance(said, dict) and isinstance(new, dict):
        new = {key: _part(said[key], value) for key, value in new.items() if key in said}
        return first_difference(said, {key: new[key] for key in said if key in new})
    return first_difference(said, new)


def _part(old: Any, new: Any) -> Any:
    """What a new entry says about the keys that the old one has."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {key: new[key] for key in old if key in new}


def first_difference(old: Any, new: Content) -> str | None:
    """What sets an existing content apart from a new one, in words; None if nothing does but white space."""
    if type(old) is not type(new):
        return "it holds another kind of content"
    if isinstance(old, list) or isinstance(new, list):
        return None if old == new else f"it has {len(old)} entries, and the new one {len(new)}"
    for key, value in old.items():
        if key not in new:
            return f"its entry {key[:100]!r} would be gone; it has {len(old)}, the new one {len(new)}"
        if value != new[key]:
            return f"its entry {key[:100]!r} is {json.dumps(value)[:150]} and would be {json.dumps(new[key])[:150]}"
    if len(new) > len(old):
        missing = next(key for key in new if key not in old)
        return f"it lacks {missing!r}; it has {len(old)} entries, the new one {len(new)}"
    return None if list(old) == list(new) else "its entries are in another order"


def _existing(path: Path) -> bytes | None:
    try:
        return read_bounded(path, MAX_METADATA_BYTES, follow=True)
    except FileNotFoundError:
        return None
    except SubmissionError as error:
        raise UsageError(f"{path.parent}/{error}: remove it, or give --output to write elsewhere") from None
