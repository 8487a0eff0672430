"""The sandbox of `--isolate`: what a stranger's system can see and take.

Made by bubblewrap (`bwrap`) of namespaces of its own: no network, no other processes, a read-only view of Python and
the system, an empty home and /tmp of limited size. Neither the evaluation set nor submissions, databases, the user's
home or environment are there. Where it cannot be made, that is an error: it is never silently less.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import psutil

from harness.errors import UsageError

MAX_PROCESSES = 256
"""Processes that a system may have at a time."""

SPACE = 2**30
"""Bytes of each of its own file systems (home, /tmp, /dev/shm), and of a file: they are kept in memory."""

HEADROOM = 8 * 2**30
"""Address space that it may have beyond its memory: libraries reserve far more than they use."""

DEFAULT_TIMEOUT = 3600.0
"""Seconds for a piece of music unless the user says otherwise."""

HOME = "/home/system"

_LINKS = ("/lib", "/lib64", "/lib32", "/bin", "/sbin")


def default_memory() -> int:
    """Bytes that a sandboxed system may have unless the user says otherwise: half of the machine's."""
    return int(psutil.virtual_memory().total // 2)


@dataclass(frozen=True)
class View:
    """What a sandboxed system can read besides the operating system.

    Attributes:
        readable: files and folders, seen under the paths that they have.
    """

    readable: tuple[Path, ...]

    def path(self, entries: Iterable[str]) -> list[str]:
        """Those entries of sys.path that can be seen in the sandbox."""
        found = [Path(entry or ".").absolute() for entry in entries]
        shown = [Path("/usr"), *self.readable]
        return [str(entry) for entry in found if any(entry.is_relative_to(folder) for folder in shown)]

    def limits(self, memory: int | None) -> dict[str, int]:
        """Resource limits of each process."""
        return {
            "AS": (memory or default_memory()) + HEADROOM,
            "FSIZE": SPACE,
            "CORE": 0,
            "NPROC": 16 * MAX_PROCESSES,  # the kernel counts threads
            "NOFILE": 1024,
        }

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command line that runs `arguments` in the sandbox."""
        size = ["--size", str(SPACE)]
        shown = ["--ro-bind", "/usr", "/usr"]
        for link in _LINKS:
            if Path(link).is_symlink():
                shown += ["--symlink", os.readlink(link), link]  # noqa: PTH115 (as it stands, relative or not)
            elif Path(link).is_dir():
                shown += ["--ro-bind", link, link]
        for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
            shown += ["--ro-bind-try", name, name]
        # Own file systems before what is shown: some of that may lie in /tmp.
        own = [*size, "--tmpfs", "/tmp", *size, "--tmpfs", HOME, *size, "--tmpfs", "/dev/shm"]
        # Where the user is, but empty: paths that the user gave relative to it still name what is shown.
        here = str(Path.cwd())
        shown += ["--dir", here]
        for path in sorted(self.readable):
            shown += ["--ro-bind", str(path), str(path)]
        # Last: the root and /dev are file systems in memory as well, of no limited size.
        sealed = ["--remount-ro", "/dev", "--remount-ro", "/"]
        variables = {
            "HOME": HOME,
            "PATH": "/usr/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        for name, value in variables.items():
            shown += ["--setenv", name, value]
        return [
            _program(),
            *("--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
            *("--cap-drop", "ALL", "--clearenv", "--proc", "/proc", "--dev", "/dev"),
            *own,
            *shown,
            *sealed,
            *("--chdir", here, "--"),
            *arguments,
        ]


def _program() -> str:
    found = shutil.which("bwrap", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
    if found is None:
        raise UsageError(
            "--isolate needs bubblewrap, which is not installed: install it (apt-get install bubblewrap, dnf install "
            "bubblewrap), or run the harness in a container of its own and leave --isolate out"
        )
    return found


def ensure_possible() -> None:
    """Raise UsageError, with what to do, unless sandboxes can be made here."""
    command = View(()).command(["/usr/bin/true"])
    try:
        tried = subprocess.run(command, env={}, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"--isolate: {command[0]} cannot be run: {error}") from None
    if tried.returncode:
        said = " ".join(tried.stderr.split())[:200] or f"exit code {tried.returncode}"
        raise UsageError(
            f"--isolate: no sandbox can be made here ({said}): ask the administrator to allow user namespaces for "
            "bwrap (docs/how-to/strangers-code.md), or run the harness in a container of its own and leave "
            "--isolate out"
        )


def python_places(python: Path | None) -> list[Path]:
    """Folders that an interpreter needs: its environment, the Python that this stands on, installed packages.

    Raises:
        UsageError: the interpreter cannot be run.
    """
    if python is not None:
        ask = "import sys; print(sys.prefix); print(sys.base_prefix)"
        try:
            told = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise UsageError(f"--python {python}: it cannot be run: {error}") from None
        # Of the harness, only what its side of the protocol is.
        return [*map(Path, told.stdout.splitlines()), Path(__file__).parent.parent]
    places = [Path(prefix) for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}]
    places += [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    # Packages that are installed in place, ours among them, lie elsewhere.
    for name in {
        "harness",
        *(point.value.partition(":")[0].partition(".")[0] for point in entry_points(group="harness")),
    }:
        with contextlib.suppress(ImportError, ValueError):
            spec = find_spec(name)
            if spec is not None and spec.origin:
                places.append(Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin))
    return places


def view_of(places: Iterable[Path], hidden: Iterable[Path]) -> View:
    """What a sandbox shows: these places, if nothing that must stay hidden lies in them.

    Args:
        places: files and folders that a system needs.
        hidden: the evaluation set, submissions, databases; the user's home always is.

    Raises:
        UsageError: a place does not exist, or would show what must be hidden.
    """
    shown = set()
    covered = [Path("/usr")]
    secret, home = [path.resolve() for path in hidden], Path.home().resolve()
    for place in places:
        path = place.absolute()
        if not path.exists():
            raise UsageError(f"--isolate: no such file or folder: {place}")
        for target in {path, path.resolve()}:
            if any(target.is_relative_to(folder) for folder in covered):
                continue
            for inner in (*secret, home):
                # What a system needs may lie in the user's home, but not among music, submissions or scores.
                if inner.is_relative_to(target) or (inner != home and target.is_relative_to(inner)):
                    raise UsageError(
                        f"--isolate: the system would see {inner}, since it needs to read {target}: "
                        "move the plugin and its weights to a folder of their own"
                    )
            shown.add(target)
    return View(tuple(sorted(shown)))
