"""Files that appear whole or not at all, hashes, and names that cannot lead out of a folder."""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from harness.errors import StorageError, SubmissionError, UsageError

log = logging.getLogger(__name__)

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""Identifiers that may become part of a file name (scenes, listeners, submissions)."""


PARTIAL = ".partial-harness-"
"""Unfinished files begin with this; so much of a name is no user's."""

WORTH_SAYING = 200 * 10**6
"""Bytes to hash that take long enough to be announced."""


def expanded(path: str, named: str) -> Path:
    """A path as a user wrote it: ~ and ~user stand for home folders.

    Args:
        path: relative or absolute.
        named: what it was given as, for the message: "--output".

    Raises:
        UsageError: the home folder is nobody's.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{named} {path}: {error}".rstrip(".") + "; write out the folder") from error


def database_url(db: str | Path, named: str = "--db") -> str:
    """The URL of a database: as it is given, or that of the SQLite file at a path.

    Args:
        db: a URL or a path.
        named: what it was given as, for the message.

    Raises:
        UsageError: the home folder in the path is nobody's.
    """
    return str(db) if "://" in str(db) else f"sqlite:///{expanded(str(db), named)}"


def cache_folder() -> Path:
    """The harness's folder for things that can be made again: HARNESS_CACHE, or the user's cache folder.

    Raises:
        UsageError: neither is known.
    """
    import platformdirs

    chosen = os.environ.get("HARNESS_CACHE")
    if chosen:
        return expanded(chosen, "HARNESS_CACHE")
    try:
        return Path(platformdirs.user_cache_dir("harness")).expanduser()  # some versions leave the ~ to others
    except RuntimeError:
        raise UsageError("there is no home folder to keep the cache in: set HARNESS_CACHE to a folder") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is either there in full or not there: beside, fsync, rename.

    Raises:
        StorageError: the folder cannot be written to, or the disk is full. Nothing is left behind.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A leading dot: whoever lists the folder meanwhile can tell an unfinished file (see `remove_leftovers`).
        descriptor, temporary = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # mkstemp makes private files; a submission is for others to read.
            os.fchmod(file.fileno(), 0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> StorageError:
    """What is wrong with a file or folder that cannot be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror or error}; "
        "make room or choose another place, then run the same command again: it continues"
    )


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files that a killed run may have left. Call it with the folder locked."""
    for leftover in folder.glob(f"{PARTIAL}????????"):  # as mkstemp makes names
        if leftover.is_file():
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def locked_folder(folder: Path, wait: bool = False, instead: str = "choose another --output") -> Iterator[None]:
    """Hold a folder for one writer at a time, across processes.

    The lock goes with the process, however it ends, but for one that is killed while children live that it has forked.

    Args:
        folder: made if need be.
        wait: wait for another process that holds it, rather than refuse.
        instead: what the user can do, for messages.

    Raises:
        SubmissionError: another process holds it.
        StorageError: the folder cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"cannot use the folder {folder}: {error.strerror}; {instead}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise SubmissionError(f"another harness is writing to {folder}; wait until it ends, or {instead}") from None
        try:
            yield
        finally:
            # Closing would not be enough: the lock is also that of children that were forked meanwhile.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_tree(path: Path) -> str:
    """SHA-256 of what lies at a path: a file's content, or names and contents of all files in a folder.

    Raises:
        UsageError: there is nothing.
    """
    if path.is_file():
        return sha256_of_all([path])[path]
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder")
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    hashes = sha256_of_all(files)
    return canonical_sha256({inner.relative_to(path).as_posix(): hashes[inner] for inner in files})


def canonical_sha256(value: object) -> str:
    """SHA-256 of a JSON value, independent of the order of its keys and of white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sha256_of_all(paths: list[Path]) -> dict[Path, str]:
    """SHA-256 of many files, remembered between calls.

    An evaluation set is 8 GB of audio that hardly ever changes, so hashes are kept in the cache folder and used
    again while a file's inode, size and times of change stay the same. Not its device: machines that share a disk each
    give it a number of their own, and would hash everything again; times are in nanoseconds and tell enough.
    """
    store = cache_folder() / "hashes.json"
    known = _known_hashes(store)
    entries: dict[Path, list[object]] = {}
    unknown: dict[Path, list[object]] = {}
    size = 0
    for path in paths:
        status = path.stat()
        stamp = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        entry = known.get(str(path.absolute()))
        if isinstance(entry, list) and entry[-5:-1] == stamp:  # older versions kept the device in front
            entries[path] = entry
        else:
            unknown[path] = list(stamp)
            size += status.st_size
    if size > WORTH_SAYING:
        log.info("hashing %d files, %.1f GB; this is remembered ...", len(unknown), size / 1e9)
    with ThreadPoolExecutor() as pool:  # hashing and reading release the GIL
        for path, sha256 in zip(unknown, pool.map(sha256_of, unknown), strict=True):
            entries[path] = [*unknown[path], sha256]
    if unknown:
        fresh = {str(path.absolute()): entries[path] for path in unknown}
        # The memory is a convenience: where it cannot be kept, the next call hashes again.
        with contextlib.suppress(StorageError):
            # Another process may have added its own meanwhile.
            write_whole(store, json.dumps({**_known_hashes(store), **fresh}).encode())
    return {path: str(entry[-1]) for path, entry in entries.items()}


def _known_hashes(store: Path) -> dict[str, object]:
    try:
        known = json.loads(store.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def is_inner_path(text: str) -> bool:
    """Whether a path from metadata stays inside the folder that it is relative to."""
    path = PurePosixPath(text)
    return bool(text) and not path.is_absolute() and ".." not in path.parts and "\0" not in text


def read_bounded(path: Path, limit: int, follow: bool = False) -> bytes:
    """Read a stranger's file: a regular file, not larger than `limit` bytes.

    Args:
        path: the file.
        limit: the most bytes that it may have.
        follow: whether it may be a link.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, not a regular file, too large, or it cannot be read; begins with the file's name.
    """
    try:
        # O_NONBLOCK: a named pipe in place of a file must not make us wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SubmissionError(f"{path.name} is not a regular file")
            if status.st_size > limit:
                raise SubmissionError(f"{path.name} has {status.st_size} bytes, at most {limit} are expected")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise SubmissionError(f"{path.name} is a link: submit the file itself") from None
        raise SubmissionError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > limit:  # it has grown since
        raise SubmissionError(f"{path.name} has more than {limit} bytes")
    return content
