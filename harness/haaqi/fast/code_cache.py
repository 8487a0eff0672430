"""Compiled code that is kept on disk: whole or compiled again, and nobody's but our own.

numba reads its cache as it is: from a damaged file it may load other code, or end the process. Here each file ends with
the SHA-256 of what comes before, and a file with another one is as good as none. That is against accidents; against
people the folder must be ours alone, since whoever can write to it chooses what is executed.
"""

import contextlib
import hashlib
import io
import logging
import os
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

from harness.errors import StorageError
from harness.files import cache_folder
from harness.haaqi.fast.sources import sources_sha256

log = logging.getLogger(__name__)

_DIGEST = hashlib.sha256().digest_size


@lru_cache(maxsize=1)
def code_folder() -> Path | None:
    """Where compiled code is kept, for this state of the sources; None if the cache folder cannot be written to.

    Raises:
        StorageError: others own the folder, or may write to it.
    """
    folder = cache_folder() / "compiled" / sources_sha256()
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            each.mkdir(mode=0o700, exist_ok=True)
            _refuse_unless_ours(each)
    except OSError as error:
        log.info("code is compiled each time (set HARNESS_CACHE to a writable folder): %s", error)
        return None
    return folder


def _refuse_unless_ours(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise StorageError(
            f"{folder} holds compiled code and belongs to another user: remove it, or set HARNESS_CACHE to a folder "
            "of your own"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StorageError(
            f"{folder} holds compiled code, and others may write to it: if you trust what it holds, "
            f"chmod go-w {folder}, otherwise remove it"
        )


def kept_on_disk(function: Callable[..., Any], compiled: Any) -> Any:
    """Have numba keep what it compiles of a function.

    numba's own cache looks at the file of a function alone, not at those that it calls: one folder for each state
    of the sources makes sure that no code of an older version is run.

    Args:
        function: in Python.
        compiled: what numba.njit made of it.

    Returns:
        compiled.
    """
    folder = code_folder()
    if folder is not None:
        before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
        try:
            compiled._cache = _Cache(function)
        finally:
            numba.config.CACHE_DIR = before
    return compiled


class _Cache(FunctionCache):  # type: ignore[misc]
    """numba's cache of a function, on files that are checked; what cannot be loaded is compiled again."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFiles(
            self._cache_path, self._impl.filename_base, self._impl.locator.get_source_stamp()
        )

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return super().load_overload(signature, context)
        except Exception as error:
            log.debug("compiled again, since what is kept cannot be loaded (%s): %s", error, self)
            return None


class _CheckedFiles(IndexDataCacheFile):  # type: ignore[misc]
    """numba's files for a function, with a SHA-256 at the end of each; reading a pickle stops before that."""

    def _load_index(self) -> Any:
        with contextlib.suppress(Exception):
            if _is_whole(self._index_path):
                return super()._load_index()
        return {}

    def _load_data(self, name: str) -> Any:
        if not _is_whole(self._data_path(name)):
            raise FileNotFoundError(name)  # as good as gone, which numba understands
        return super()._load_data(name)

    @contextlib.contextmanager
    def _open_for_write(self, path: str) -> Iterator[BinaryIO]:
        buffer = io.BytesIO()
        yield buffer
        content = buffer.getvalue()
        try:
            with super()._open_for_write(path) as file:
                file.write(content + hashlib.sha256(content).digest())
        except OSError as error:
            raise StorageError(
                f"cannot keep compiled code in {Path(path).parent}: {error.strerror}; make room there, "
                "or set HARNESS_CACHE to another folder"
            ) from error


def _is_whole(path: str) -> bool:
    try:
        content = Path(path).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]
