"""What a long run asks of its process: memory that is kept, a progress bar, and an end after the step at hand."""

import contextlib
import ctypes
import signal
import threading
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def keep_memory() -> None:
    """Let the C library keep large blocks instead of giving each back to the system, which clears them anew.

    With it a step on a CPU takes about half the time. Only glibc has these settings (mallopt(3)).
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    with contextlib.suppress(OSError, AttributeError, TypeError):
        c_library = ctypes.CDLL(None)
        c_library.mallopt(mmap_max, 0)
        c_library.mallopt(trim_threshold, -1)
        c_library.mallopt(top_pad, 1 << 28)


def progress_bar(console: Console) -> Progress:
    """A bar with losses and speed; a task of it has the fields `loss`, `held_out` and `speed`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]} | held-out {task.fields[held_out]} | {task.fields[speed]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


@contextlib.contextmanager
def interruption() -> Iterator[threading.Event]:
    """Let the first Ctrl-C (or request to terminate) be seen at the end of a step; a second one is immediate."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # signals reach the main thread alone
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(*_: Any) -> None:
        interrupted.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield interrupted
    finally:
        restore()
