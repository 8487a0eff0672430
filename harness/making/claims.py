"""Several processes at work on one submission, on one machine or on many: who may write, whose turn it is, leftovers.

Beside a submission there may be a folder of what is not finished (`work_folder`). Whoever writes a part, or has others
write for him, has a folder of its own in it and holds a lock there as long as it lives; a lock on the whole says whose
turn it is to change the manifest. They are locks on files, opened to be written to: network file systems know locks of
folders on one machine only. A lock of that kind on the submission is all that a single process has that writes it as a
whole: from another machine, parts are not kept from beginning beside it.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import StorageError, SubmissionError
from harness.files import PARTIAL, locked_folder
from harness.music.parts import Part

WHOLE = "whole"
_LOCK = "lock"


def work_folder(folder: Path) -> Path:
    """Where what is not finished of a submission lies: beside it, so that nobody takes it for a part of it."""
    folder = folder.resolve()
    return folder.with_name(f"{PARTIAL}{folder.name}")


def has_place(folder: Path) -> bool:
    """Whether there can be a work folder beside a submission that is there."""
    parent = folder.resolve().parent
    return os.access(parent, os.W_OK) and parent.stat().st_dev == folder.stat().st_dev


@dataclass(frozen=True)
class Claim:
    """A writer's own place beside a submission.

    Attributes:
        folder: for what it has not finished; on the same file system as the submission.
        work: with those of the others.
    """

    folder: Path
    work: Path

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other writer reads or changes the manifest, and keep them from it meanwhile."""
        with _turn(self.work):
            yield


@contextlib.contextmanager
def held(folder: Path, part: Part | None) -> Iterator[None]:
    """Hold a submission as its only writer, or as one of those that each write a part.

    Args:
        folder: the submission; made if need be.
        part: ours; None for the only writer, for whom the leftovers of others are removed.

    Raises:
        SubmissionError: another process writes to it.
        StorageError: the folder cannot be made or opened, or its file system knows no locks.
    """
    if part is None:
        with locked_folder(folder):
            # Looked at only where there is one: most submissions are made by one process from the beginning to the end.
            if (work := work_folder(folder)).exists():
                with _turn(work):
                    _clear(work, folder, WHOLE)
                    _remove(work)
                _remove_empty(work)
            yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"cannot use the folder {folder}: {error.strerror}; choose another --output") from error
    try:
        if not _locked(descriptor, folder, fcntl.LOCK_SH | fcntl.LOCK_NB):
            raise SubmissionError(
                f"another harness is writing to {folder}, and not a part of it; wait until it ends, or choose another "
                "--output"
            )
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def claimed(folder: Path, part: Part | None) -> Iterator[Claim]:
    """A place beside a submission that is `held`; removed in the end, with all that is left in it.

    Raises:
        SubmissionError: another process writes this part, or a part of another number of them.
        StorageError: it cannot be made.
    """
    work = work_folder(folder)
    label = WHOLE if part is None else f"{part.number}-of-{part.count}"
    own = work / label
    with _turn(work):
        if work.stat().st_dev != folder.stat().st_dev:
            _remove(work)
            raise StorageError(
                f"{folder} is where a file system is mounted, and what is not finished has no place beside it: "
                "choose a folder in it (--output)"
            )
        _clear(work, folder, label)
        lock = _opened(own / _LOCK)
        # Nobody else has it: who wants it waits for its turn.
        _locked(lock, own, fcntl.LOCK_EX)
    try:
        yield Claim(own, work)
    finally:
        with _turn(work):
            # First: what is open cannot be removed on NFS. Nobody looks for the lock who does not have his turn.
            os.close(lock)
            shutil.rmtree(own, ignore_errors=True)
            _remove(work)
        _remove_empty(work)


def _clear(work: Path, folder: Path, label: str) -> None:
    """Remove what writers have left that were killed; call it when it is our turn.

    Raises:
        SubmissionError: a writer is at work that does not go with `label`.
    """
    for other in sorted(path for path in work.iterdir() if path.is_dir()):
        # A place is made and locked in one turn, so whoever does not hold his is gone.
        if not _is_held(other):
            shutil.rmtree(other, ignore_errors=True)
        elif WHOLE in (label, other.name) or _parts(label) != _parts(other.name) or label == other.name:
            what = "all of it" if other.name == WHOLE else f"part {other.name.replace('-of-', '/')}"
            raise SubmissionError(
                f"another harness is writing to {folder} ({what}); wait until it ends, or choose another --output"
            )


def _parts(label: str) -> str:
    """How many parts there are, from the name of a part's place."""
    return label.partition("-of-")[2]


def _remove(work: Path) -> None:
    """Remove the folder of all if nobody has a place in it; call it when it is our turn."""
    with contextlib.suppress(OSError):
        if all(path.name == _LOCK for path in work.iterdir()):
            (work / _LOCK).unlink()
            work.rmdir()


def _remove_empty(work: Path) -> None:
    """Remove the folder of all if `_remove` could not, as on NFS, where the lock in it was open: after one's turn."""
    with contextlib.suppress(OSError):
        work.rmdir()


def _is_held(own: Path) -> bool:
    try:
        descriptor = os.open(own / _LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _locked(descriptor, own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _turn(work: Path) -> Iterator[None]:
    while True:
        descriptor = _opened(work / _LOCK)
        try:
            _locked(descriptor, work, fcntl.LOCK_EX)
            # Who had it before us may have been the last, and removed it.
            again = os.open(work / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            os.close(descriptor)
            continue
        except BaseException:
            os.close(descriptor)
            raise
        same = os.path.sameopenfile(descriptor, again)
        # flock holds a lock by the open file, so that closing this one loses none; on a network file system it would.
        if same:
            break
        os.close(again)
        os.close(descriptor)
    try:
        yield
    finally:
        os.close(again)
        os.close(descriptor)


def _opened(path: Path) -> int:
    """A file to be locked, made if need be, with its folder."""
    for _ in range(100):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder was removed in between
            continue
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}; choose another --output") from error
    raise StorageError(f"cannot write {path}: its folder is removed again and again; choose another --output")


def _locked(descriptor: int, path: Path, how: int) -> bool:
    """Whether an open file could be locked.

    Raises:
        StorageError: its file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF):
            raise StorageError(
                f"cannot lock {path}: {error.strerror}; parts of a submission need a file system whose locks hold "
                "between machines (Lustre: mounted with flock): choose another --output"
            ) from error
        raise
    return True
