"""What the program sees to before it imports anything heavy, and then: Ctrl-C, standard streams, the terminal's width.

Only modules that every Python has loaded anyway are imported here.
"""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_interrupted = False
_postponed = False

_LOSING = ("vio_get_filelen", "vio_seek", "vio_read", "vio_write", "vio_tell")
"""Functions of soundfile by which libsndfile reads and writes files in memory: what they raise is not raised."""


def leave_on_interrupt() -> None:
    """Let Ctrl-C end the program on the spot, in one line: for where nothing has to be put in order.

    Where it is ignored (in the background of a script), it stays so.
    """
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise):
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from here on, if `leave_on_interrupt` was called before."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, _raise)


def was_interrupted() -> bool:
    """Whether Ctrl-C was pressed. Libraries make other errors of it where they import or run compiled code."""
    return _interrupted


def _leave(signal_number: int, frame: FrameType | None) -> None:
    del signal_number, frame
    show_cursor = b"\x1b[?25h\n" if os.isatty(2) else b""  # a progress bar hides it
    os.write(2, show_cursor + b"error: interrupted; run the same command again: it continues\n")
    os._exit(130)


def _press_again() -> None:
    global _postponed
    _postponed = False
    os.kill(os.getpid(), signal.SIGINT)


def _raise(signal_number: int, frame: FrameType | None) -> None:
    global _interrupted, _postponed
    _interrupted = True
    inner = frame
    while inner is not None:
        if inner.f_code.co_name in _LOSING and inner.f_code.co_filename.endswith("soundfile.py"):
            # C calls it, and goes on as if the file were damaged: again in a moment, when it is through. Once for all
            # that come until then: another would come while the first is being answered.
            if not _postponed:
                from threading import Timer

                _postponed = True
                again = Timer(0.01, _press_again)
                again.daemon = True
                again.start()
            return
        # An exception would be lost in Python's own code for imports, or become another one in a half-made library.
        if inner.f_code.co_filename.startswith("<frozen importlib"):
            _leave(signal_number, frame)
        inner = inner.f_back
    raise KeyboardInterrupt


def open_standard_streams() -> None:
    """Open those that are closed: otherwise the next file to be opened, a database say, would be one.

    What is written to a closed standard output fails, as it would without this.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def forget_odd_width() -> None:
    """Take no width from COLUMNS that no terminal has: nothing would fit into it."""
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (columns.isascii() and columns.isdigit() and 20 <= int(columns[:9]) <= 10_000):
        del os.environ["COLUMNS"]


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage meanwhile: for imports. Also a decorator.

    What they make stays anyway, and there is so much of it that looking through it takes a tenth of their time.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
