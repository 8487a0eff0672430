"""What the entries of a zip file are called in a submission, whatever folders and programs they come from."""

import unicodedata
import zipfile
from collections.abc import Collection

from harness.errors import ArchiveRefused

_SAYS_UTF8 = 0x800
"""The flag of an entry whose name is UTF-8."""


def flattened(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Entries by file name, without the one top folder that may hold everything.

    Raises:
        ArchiveRefused: other folders, or a name that is there twice.
    """
    files = {}
    tops = {info.filename.split("/")[0] for info in infos}
    one_folder = len(tops) == 1 and all("/" in info.filename for info in infos)
    for info in infos:
        name = info.filename.partition("/")[2] if one_folder else info.filename
        if not name:
            continue  # the top folder itself
        if "/" in name:
            raise ArchiveRefused(f"holds folders ({info.filename}): pack its files alone, or in one folder")
        if name in files:
            raise ArchiveRefused(f"holds {name} twice")
        files[name] = info
    if not files:
        raise ArchiveRefused("holds no files")
    return files


def nested(infos: list[zipfile.ZipInfo], known: Collection[str]) -> dict[str, zipfile.ZipInfo]:
    """Entries by their paths in the submission, which may lie in some folders of its own.

    Raises:
        ArchiveRefused: a name that is there twice, or no files.
    """
    # macOS takes accents apart: its names are the known ones once they are put together again.
    spelled = {unicodedata.normalize("NFC", name): name for name in known}
    named = [(unicodedata.normalize("NFC", _name_of(info)), info) for info in infos if not info.is_dir()]
    top = next((top for name, _ in named if (top := _top(name, spelled)) is not None), "")
    files: dict[str, zipfile.ZipInfo] = {}
    for path, info in named:
        inner = path.removeprefix(top)
        name = spelled.get(inner, inner)
        if name in files:
            raise ArchiveRefused(f"holds {name} twice")
        files[name] = info
    if not files:
        raise ArchiveRefused("holds no files")
    return files


def _name_of(info: zipfile.ZipInfo) -> str:
    """The name of an entry. Many programs write UTF-8 and do not say so, and zipfile takes it for code page 437."""
    if info.flag_bits & _SAYS_UTF8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _top(name: str, known: Collection[str]) -> str | None:
    """The folders that a known file lies in, with a "/" at the end if there are any; None if it is none."""
    parts = name.split("/")
    for start in range(len(parts)):
        if "/".join(parts[start:]) in known:
            return "".join(f"{part}/" for part in parts[:start])
    return None
