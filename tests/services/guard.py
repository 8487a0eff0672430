"""A process between the tests and the daemons that they start, which ends these when the tests end, however they end.

A module that starts daemons calls `guard` when it is run as a program, and `guarded` from the tests.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 60


class Guard:
    """The guard as the tests see it: where its daemons have their files, and how it is asked for something."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self.process = process
        self.folder = folder

    def ask(self, word: str) -> None:
        """Have it do something, and wait until it is done."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(word, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n", word


_RUN = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module(sys.argv.pop(1), run_name='__main__')"
"""Runs a module of the tests as a program, and tells nobody else where they are, as PYTHONPATH would."""


@contextmanager
def guarded(module: str, *arguments: object) -> Iterator[Guard]:
    """Run a module as a guard: its daemons are up, and end with the context, or with this process."""
    # Somebody may take a port that was free a moment before.
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(Path(__file__).parents[1]), module, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        if folder := process.stdout.readline().strip():
            break
        problem = process.communicate()[1]
    else:
        raise RuntimeError(f"{module} does not start: {problem}")
    try:
        yield Guard(process, Path(folder))
    finally:
        process.communicate(timeout=PATIENCE)  # closes its standard input


def guard(name: str, start: Callable[[Path], None], asked: Callable[[Path, str], None] | None = None) -> None:
    """Be the guard, until standard input ends.

    Args:
        name: begins the name of the folder that the daemons get.
        start: starts them, as children of this process, and returns when they are up. Raises SystemExit.
        asked: does what the tests ask for.
    """
    # What loses its parent becomes our child: also what daemons start apart from themselves.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    # Not in pytest's folders: sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix=name))
    try:
        start(folder)
        print(folder, flush=True)
        for line in sys.stdin:
            assert asked is not None
            asked(folder, line.strip())
            print("done", flush=True)
    finally:
        _end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _end_all() -> None:
    """End everything that we started, and what that started."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)
        # Those that were given to us are not reaped by anybody else.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


# For those who start daemons


def daemon(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], **more: Any
) -> "subprocess.Popen[bytes]":
    """Start a program that stays in the foreground; what it says goes into the folder `log`."""
    (folder / "log").mkdir(exist_ok=True)
    with (folder / "log" / f"{Path(command[0]).name}.output").open("ab") as output:
        return subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **more
        )


def wait_for(condition: Callable[[], bool], daemons: "Sequence[subprocess.Popen[bytes]]", folder: Path) -> None:
    """Wait until daemons have done something. Raises SystemExit: one has ended, or they do not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline or any(each.poll() is not None for each in daemons):
            logs = sorted((folder / "log").iterdir())
            raise SystemExit("\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs))
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
