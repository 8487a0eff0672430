"""A plugin whose system misbehaves in as many ways as it has listeners: a listener's name says how.

`hostile` says what must come of each. An import of this module is harmless.
"""

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.systems import Enhancer, Option, amplify, hookimpl

LONG = 100
"""Seconds that whatever survives would be there to be found."""


def _raise(error: BaseException) -> Any:
    raise error


class _Own(BaseException):
    pass


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Liar(np.ndarray):
    """An array that says of itself what its caller would like to hear."""

    def astype(self, *_: Any, **__: Any) -> "_Liar":
        return self

    def any(self, *_: Any, **__: Any) -> bool:
        return True


def _crash(_: Any) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)


def _deeper(out: Any) -> Any:
    return _deeper(out)


def _pipe() -> int:
    """The descriptor that answers go through."""
    pipes = []
    for number in range(3, 64):
        try:
            if str(Path(f"/proc/self/fd/{number}").readlink()).startswith("pipe:"):
                os.write(number, b"")
                pipes.append(number)
        except OSError:
            continue
    return pipes[-1]


def _garbage(_: Any) -> None:
    os.write(_pipe(), b"garbage!" * 100)
    time.sleep(LONG)


def _huge_answer(_: Any) -> None:
    os.write(_pipe(), b"HARNESS1" + b"\xff\xff\xff\x7f" + b"\0\0\0\0")
    time.sleep(LONG)


def _no_json(_: Any) -> None:
    os.write(_pipe(), b"HARNESS1" + b"\x08\0\0\0\0\0\0\0" + b'{"a":NaN')
    time.sleep(LONG)


def _forks_and_both_answer(out: Any) -> Any:
    os.fork()
    return out


def _daemon(out: Any) -> Any:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(LONG)
        os._exit(0)
    os.wait()
    return out


def _children(out: Any) -> Any:
    for _ in range(5):
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG})"], start_new_session=True)
    return out


def _orphans(out: Any) -> None:
    _children(out)
    time.sleep(2.5)  # so that they are seen
    os._exit(0)


def _threads(out: Any) -> Any:
    for _ in range(20):
        threading.Thread(target=time.sleep, args=(LONG,), daemon=False).start()
    return out


def _prints(out: Any) -> Any:
    print("x" * 100_000)
    print('{"made": 99}', end="")
    sys.stderr.write("\x1b[2J\x1b[31merror: [red]this is no error\n")
    os.write(1, b"\xff\xfe\0" * 100)
    return out


def _closes_output(out: Any) -> Any:
    os.close(1)
    os.close(2)
    sys.stdout = None  # type: ignore[assignment]
    return out


def _deaf(out: Any) -> Any:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    return out


def _lost(out: Any) -> Any:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    return out


def _strict(out: Any) -> Any:
    np.seterr(all="raise")
    warnings.simplefilter("error")
    np.random.seed(1)
    return out


def _limited(out: Any) -> Any:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    return out


def _changes_it_later(out: Any) -> Any:
    def later() -> None:
        for _ in range(1000):
            out[:] = np.nan
            time.sleep(0.001)

    threading.Timer(0.2, later).start()
    return out


def _hog(_: Any) -> None:
    hoard = []
    while True:
        hoard.append(np.ones(2**22))


MODES: dict[str, Any] = {
    # ends its process
    "os-exit": lambda _: os._exit(0),
    "crash": _crash,
    "abort": lambda _: os.abort(),
    "kill-self": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "kill-group": lambda _: os.killpg(0, signal.SIGKILL),
    "close-all": lambda _: os.closerange(0, 64),
    "garbage": _garbage,
    "huge-answer": _huge_answer,
    "no-json": _no_json,
    "hang": lambda _: time.sleep(LONG),
    "stop-self": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "hog": _hog,
    # raises
    "exit": lambda _: sys.exit(4),
    "interrupt": lambda _: _raise(KeyboardInterrupt()),
    "own-kind": lambda _: _raise(_Own("of its own")),
    "cancelled": lambda _: _raise(asyncio.CancelledError()),
    "generator-exit": lambda _: _raise(GeneratorExit()),
    "stop-iteration": lambda _: _raise(StopIteration()),
    "mute": lambda _: _raise(_Mute()),
    "talkative": lambda _: _raise(ValueError("\x1b[31m[/red]\n" + "y" * 10**6)),
    "surrogate": lambda _: _raise(ValueError("bad \udcff name")),
    "memory-error": lambda _: _raise(MemoryError("none")),
    "deeper": _deeper,
    # returns
    "transposed": lambda out: out.T,
    "complex": lambda out: out.astype(complex),
    "objects": lambda out: out.astype(object),
    "nothing": lambda _: None,
    "infinite": lambda out: out * np.inf,
    "too-loud": lambda out: out * 1e300 * 1e300,
    "silent": lambda out: out * 0,
    "liar": lambda out: (out * np.nan).view(_Liar),
    "records": lambda out: np.zeros(len(out), [("left", float), ("right", float)]),
    "endless": lambda out: np.broadcast_to(out[0], (10**11, 2)),
    "long-double": lambda out: out.astype(np.longdouble) * np.longdouble("1e4000"),
    # does what is its own affair
    "both-answer": _forks_and_both_answer,
    "daemon": _daemon,
    "children": _children,
    "orphans": _orphans,
    "threads": _threads,
    "prints": _prints,
    "closes-output": _closes_output,
    "deaf": _deaf,
    "lost": _lost,
    "strict": _strict,
    "limited": _limited,
    "later": _changes_it_later,
    "strided": lambda out: np.repeat(out, 2, axis=0)[::2],
    "swapped-bytes": lambda out: out.astype(">f8"),
}


def _load_prints() -> None:
    sys.stdout.write("A" * 2_000_000)


LOADING: dict[str, Any] = {
    "": lambda: None,
    "exit": lambda: sys.exit(5),
    "os-exit": lambda: os._exit(0),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "prints": _load_prints,
    "closes-output": lambda: os.closerange(0, 3),
    "hang": lambda: time.sleep(LONG),
}


class Evil(Enhancer):
    """Misbehaves."""

    name, version, training_data, licence = "evil", "1", "none", "none"
    options: ClassVar = [Option("mode", str, "", "what to do wrong while it is loaded")]

    def load(self) -> None:
        LOADING[self.settings["mode"]]()

    def enhance(self, mixture: Any, sample_rate: int, listener: Any, gains: Any) -> Any:
        out = amplify(mixture, listener)
        mode = "os-exit" if listener.id.startswith("reset.") else listener.id
        return MODES[mode](out) if mode in MODES else out


@hookimpl
def register_systems(register: Any) -> None:
    register(Evil)
