"""Submissions as zip files: looked at with suspicion, and unpacked into a folder of the cache.

A zip file may come from a stranger. Its directory is bounded before it is parsed; nothing is written but files
that a submission may hold, under the names of the evaluation set, none larger than such a file can be; and what comes
out of an entry is compared with what the directory says of it.
"""

import contextlib
import copy
import fcntl
import io
import logging
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from harness.errors import ArchiveRefused, DataError, StorageError, SubmissionError
from harness.files import cache_folder, locked_folder
from harness.music.evaluationset import EvaluationSet
from harness.submission.entries import flattened, nested
from harness.submission.forms import Form
from harness.submission.manifest import MANIFEST, max_manifest_bytes
from harness.submission.protocols import form_of
from harness.submission.validation import MAX_STRAYS, Problem, ensure_readable, why_stray

log = logging.getLogger(__name__)

MAX_ENTRIES = 100_000
"""The official set has 19,200 pairs; macOS adds an entry of its own to each."""
MAX_DIRECTORY_BYTES = 32 * 2**20
"""Of the list of entries at the end of a zip file: over 300 bytes for each."""
MAX_RATIO = 100
"""What unpacks to more than this many times its size is neither FLAC files nor a manifest..."""
RATIO_MATTERS = 2**20
"""...if it unpacks to more bytes than this."""
CHUNK = 2**20
_ENTRY = b"PK\x01\x02"
_LOCAL_HEADER_BYTES = 30


def file_limits(evaluation_set: EvaluationSet) -> dict[str, int]:
    """Largest size in bytes of each file that a submission may hold, by name.

    Raises:
        DataError: none of the evaluation set's music is there.
    """
    frames: dict[Path, int] = {}
    missing: DataError | None = None
    for scene in evaluation_set.whole:
        if scene.folder not in frames:
            # Of scenes that are not selected the music need not be there.
            try:
                frames[scene.folder] = scene.frames
            except DataError as error:
                missing = error
    if not frames:
        assert missing is not None, "an evaluation set has scenes"
        raise missing
    longest = max(frames.values())
    form = form_of(evaluation_set.protocol)
    files = {
        name: form.max_bytes(name, frames.get(pair.scene.folder, longest))
        for pair in evaluation_set.all_pairs
        for name in pair.files
    }
    return {MANIFEST: max_manifest_bytes(len(files)), **files}


@contextlib.contextmanager
def unpacking_folder() -> Iterator[Path]:
    """An empty folder in the cache that is removed at the end; what killed processes left there is removed too.

    Raises:
        StorageError: it cannot be made.
    """
    parent = cache_folder() / "archives"
    # The parent is locked meanwhile, so that nobody takes a folder that is not locked yet for a leftover.
    with locked_folder(parent, wait=True, instead="set HARNESS_CACHE to another folder"):
        for folder in parent.iterdir():
            _remove_unless_locked(folder)
        try:
            made = Path(tempfile.mkdtemp(dir=parent))
            lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StorageError(f"cannot unpack in {parent}: {error.strerror}; set HARNESS_CACHE to another") from error
        fcntl.flock(lock, fcntl.LOCK_EX)  # goes with the process, however that ends
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def _remove_unless_locked(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # another process works there
    finally:
        os.close(descriptor)


class _Bounded(io.FileIO):
    """A zip file of which no directory is read that is too large to be parsed: zipfile reads it in one go."""

    def read(self, size: int | None = -1) -> bytes:
        """At most `MAX_DIRECTORY_BYTES`, and at most `MAX_ENTRIES` entries of a directory.

        Raises:
            ArchiveRefused: more is asked for.
        """
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise ArchiveRefused(f"its directory has {size:,} bytes, at most {MAX_DIRECTORY_BYTES:,} are expected")
        content = super().read(MAX_DIRECTORY_BYTES if size is None or size < 0 else size) or b""
        if content.count(_ENTRY) > MAX_ENTRIES:
            raise ArchiveRefused(f"holds more than {MAX_ENTRIES:,} entries")
        return content


class Archive:
    """An open zip file whose directory was found sound.

    Attributes:
        path: of the zip file.
        entries: its files by name; without those of macOS, and without the folders that hold everything.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile, known: Collection[str]) -> None:
        self.path = path
        self._file = file
        infos = file.infolist()
        wanted = [info for info in infos if not _of_macos(info.filename)]
        if len(wanted) < len(infos):
            log.info("%s: ignored %d entries that macOS has added", path, len(infos) - len(wanted))
        for info in wanted:
            _check_entry(info)
        _check_overlaps(infos, file.start_dir)
        in_folders = any("/" in name for name in known)
        self.entries = nested(wanted, known) if in_folders else flattened(wanted)

    def unpack(
        self, folder: Path, limits: Mapping[str, int], advance: Callable[[int, str], None] = lambda _, __: None
    ) -> list[Problem]:
        """Write files into a folder.

        Args:
            folder: where to.
            limits: the names of the files that are wanted, and the largest size in bytes that each may have.
            advance: called with 1 and a file's name after every file.

        Returns:
            What is wrong with single files: too large, or damaged. They are not there.

        Raises:
            ArchiveRefused: there is a bomb among them.
            StorageError: there is no room.
        """
        due = [(name, info) for name, info in self.entries.items() if name in limits]
        sizes = [(name, info.file_size, info.compress_size) for name, info in due]
        sizes.append(("all of it", sum(size for _, size, _ in sizes), sum(packed for *_, packed in sizes)))
        for what, size, packed in sizes:
            if size > max(RATIO_MATTERS, MAX_RATIO * packed):
                raise ArchiveRefused(f"unpacks to over {MAX_RATIO} times its size ({what}): no submission does")
        needed = sum(info.file_size for name, info in due if info.file_size <= limits[name])
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise StorageError(
                f"{self.path} needs {needed / 1e9:.1f} GB when unpacked, {folder.parent} has {free / 1e9:.1f} GB left: "
                "make room, or set HARNESS_CACHE to another folder"
            )
        problems = []
        # In the order in which they lie in the file.
        for name, info in sorted(due, key=lambda item: item[1].header_offset):
            if info.file_size > limits[name]:
                problem: str | None = f"has {info.file_size} bytes, at most {limits[name]} are expected"
            else:
                problem = self._unpack_one(info, folder / name)
            if problem:
                problems.append(Problem(name, problem))
            advance(1, name)
        return problems

    def strays(self, known: Collection[str], form: Form) -> list[Problem]:
        """The files that do not belong to a submission; they are not unpacked."""
        names = [name for name in self.entries if name not in known]
        problems = [Problem(name, why_stray(name, form)) for name in names[:MAX_STRAYS]]
        if len(names) > MAX_STRAYS:
            problems.append(Problem("", f"holds {len(names) - MAX_STRAYS} more entries that do not belong"))
        return problems

    def _unpack_one(self, info: zipfile.ZipInfo, path: Path) -> str | None:
        """Write one file; returns why it could not be, and leaves nothing then."""
        # zipfile would stop in silence at the size that the directory says: let it read one byte further.
        further = copy.copy(info)
        further.file_size += 1
        left = info.file_size
        try:
            path.parent.mkdir(parents=True, exist_ok=True)  # `path` is one of the names that are known
            with self._file.open(further) as packed, path.open("xb") as file:
                while chunk := packed.read(min(CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        break
                    file.write(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, UnicodeDecodeError, NotImplementedError) as e:
            path.unlink(missing_ok=True)
            return f"is damaged in the zip file ({e}): pack it again".replace(f" '{info.filename}'", "")
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageError(
                f"cannot unpack {self.path}: {error.strerror or error}; make room, or set HARNESS_CACHE"
            ) from error
        if left:
            path.unlink()
            return f"is not of the {info.file_size} bytes that the zip file's directory says: pack it again"
        return None


@contextlib.contextmanager
def open_archive(path: Path, known: Collection[str]) -> Iterator[Archive]:
    """Open a zip file and check its directory.

    Args:
        path: of the zip file.
        known: the files that a submission may hold, by name.

    Raises:
        UsageError: there is none.
        SubmissionError: it may not be read.
        ArchiveRefused: it is damaged or truncated, too much is in it, or an entry is a link, encrypted, compressed in
            an unusual way, in a folder where there should be none (one that holds everything is fine), or named so that
            it could lead elsewhere.
    """
    ensure_readable(path)
    with contextlib.ExitStack() as stack:
        try:
            raw = stack.enter_context(_Bounded(path))
        except OSError as error:
            raise SubmissionError(f"{path} cannot be read: {error.strerror}") from None
        try:
            file = stack.enter_context(zipfile.ZipFile(raw))
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError, OSError) as error:
            raise ArchiveRefused(f"is damaged, truncated or no zip file ({error}): pack it again") from None
        yield Archive(path, file, known)


def _of_macos(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _check_entry(info: zipfile.ZipInfo) -> None:
    """Raise ArchiveRefused if an entry is not one that a submission may have, before anything of it is read."""
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packing system knows no such thing
    if name.startswith("/") or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise ArchiveRefused(f"holds an entry with the name {name!r}, which could lead elsewhere")
    if kind == stat.S_IFLNK:
        raise ArchiveRefused(f"holds a link, {name}: pack the file itself")
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        raise ArchiveRefused(f"holds {name}, which is not a regular file")
    if info.flag_bits & 0x2041:  # encrypted, strongly encrypted, masked directory
        raise ArchiveRefused(f"is encrypted ({name}): pack it without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveRefused(f"{name} is compressed in an unusual way ({info.compress_type}): use deflate")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise ArchiveRefused(f"{name} is stored with two different sizes: pack it again")


def _check_overlaps(infos: list[zipfile.ZipInfo], directory: int) -> None:
    """Raise ArchiveRefused if two entries share bytes, as those of small archives that unpack to terabytes do."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [*(info.header_offset for info in ordered[1:]), directory]
    for info, following in zip(ordered, starts, strict=False):
        size = _LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
        if info.header_offset < 0 or info.header_offset + size > following:
            raise ArchiveRefused(f"{info.filename} overlaps what follows it: pack it again")
