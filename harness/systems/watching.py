"""Seeing which files are read while a system is made and loaded."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_active: list[set[str]] = []
_lock = threading.Lock()
_installed = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    # Called for every audited event of the process from now on: a hook cannot be taken away again.
    if not _active or event != "open":
        return
    path, _, flags = arguments
    if not isinstance(path, (str, bytes)) or not isinstance(flags, int):
        return
    # Only what is read: O_ACCMODE tells reading and writing apart, whoever opens the file.
    if flags & (os.O_WRONLY | os.O_RDWR) == 0 and not flags & os.O_DIRECTORY:
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 (no Path: this runs at each open)
        for seen in _active:
            seen.add(name)


@contextmanager
def files_read() -> Iterator[set[str]]:
    """Collect the absolute paths of all files that are opened for reading, by any thread, while the context lasts.

    What a library opens without Python (safetensors, `torch.jit.load`) is not seen.
    """
    global _installed
    with _lock:
        if not _installed:
            sys.addaudithook(_hook)
            _installed = True
    seen: set[str] = set()
    _active.append(seen)
    try:
        yield seen
    finally:
        # By identity: two sets that are equal are still two.
        _active[:] = [other for other in _active if other is not seen]


SYSTEM_FOLDERS = tuple(
    map(Path, ("/dev", "/etc", "/proc", "/run/systemd", "/sys", "/usr/lib", "/usr/lib64", "/usr/share", "/var/cache"))
)
"""What lies there belongs to the machine: certificates, time zones, fonts. Elsewhere in /usr and /var may be data."""


def belongs_to_the_machine(path: Path, also: list[Path]) -> bool:
    """Whether a file is the operating system's, Python's, an installed package's, or below one of `also`."""
    python = [Path(prefix) for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}]
    site = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    # Not is_relative_to: this also runs in other Python environments, from 3.8 on.
    return any(folder == path or folder in path.parents for folder in (*SYSTEM_FOLDERS, *python, *site, *also))
