"""A report's folder appears whole or not at all, and never in place of anything else."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import StorageError, UsageError
from harness.files import locked_folder

MARK = "report.json"
"""Lies in every report: only a folder with it is ever replaced."""

PARTIAL = ".partial-harness-report-"
"""Folders of unfinished reports begin with this."""


def ensure_ours(folder: Path) -> None:
    """Check that a report may be written here.

    Raises:
        UsageError: there is something else than a report or an empty folder.
    """
    if folder.is_dir():
        if any(folder.iterdir()) and not (folder / MARK).is_file():
            raise UsageError(f"{folder} holds something else than a report: choose another --output, or empty it")
    elif folder.exists():
        raise UsageError(f"{folder} is not a folder: choose another --output")


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to write a report to; if no exception ends the context, it takes that one's place.

    Raises:
        UsageError: there is something else than a report.
        StorageError: it cannot be written.
    """
    ensure_ours(folder)
    try:
        with locked_folder(folder.parent, wait=True):
            # What a killed process left; we hold the folder, so nobody is at work there now.
            for leftover in folder.parent.glob(f"{PARTIAL}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder.parent))
            try:
                yield partial
                partial.chmod(0o755)
                _put(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise StorageError(
            f"cannot write the report to {folder}: {error.strerror or error}; make room, or choose another --output"
        ) from error


def _put(partial: Path, folder: Path) -> None:
    if not folder.exists():
        partial.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder.parent))
    folder.rename(old / "old")
    try:
        partial.rename(folder)
    except BaseException:
        (old / "old").rename(folder)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
