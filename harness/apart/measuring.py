"""What a child takes, and keeping it from taking too much."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOSE, TIGHT = 1.0, 0.1
"""Seconds between looks at a child's memory: only to know its peak, or to hold it to limits."""


@dataclass(frozen=True)
class Cost:
    """What a piece of music cost a system.

    Attributes:
        wall_seconds: from handing it over to having the result.
        cpu_seconds: of all its processes, in user and system mode.
        peak_bytes: most memory (resident) that its processes had at a time.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


class Meter:
    """Measures a process with all that it started, and ends them if they take too much.

    Args:
        pid: of the process.
        memory: bytes of resident memory that all may have together, or None.
        processes: number of processes that there may be, or None.
    """

    def __init__(self, pid: int, memory: int | None = None, processes: int | None = None) -> None:
        self._root = psutil.Process(pid)
        self._memory, self._processes = memory, processes
        self._peak = 0
        self._known: list[psutil.Process] = []
        self._looked = 0.0
        self._stop = threading.Event()
        self.violation: str | None = None
        """What the processes took too much of, for which they were ended."""
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop measuring."""
        self._stop.set()
        self._thread.join()

    def family(self) -> list[psutil.Process]:
        """The process and all that it started, as far as they are its descendants or were at the last look."""
        found = []
        with contextlib.suppress(psutil.Error):
            found = [self._root, *self._root.children(recursive=True)]
        # When a process dies, those that it started are nobody's descendants any more.
        self._known = found + [each for each in self._known if each not in found and each.is_running()]
        self._looked = time.monotonic()
        return self._known

    def _recent(self) -> list[psutil.Process]:
        """The same as it was some seconds ago: to look anew takes a millisecond and more, a piece may take few."""
        return self._known if time.monotonic() - self._looked < 2 * LOOSE else self.family()

    def start_piece(self) -> float:
        """Begin to look for the peak anew; returns the CPU seconds so far."""
        self._peak = 0
        for process in self._recent():
            with contextlib.suppress(OSError):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the kernel's own peak starts again as well
        return self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """CPU time of the process, of those that it waited for, and of those that are alive."""
        total = 0.0
        for process in self._recent():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += _own_seconds(process.pid, times.user + times.system)
                total += times.children_user + times.children_system
        return total

    def peak_bytes(self) -> int:
        """The peak since `start_piece`."""
        family = self._recent()
        return max(self._peak, _resident(family), *_kernel_peaks(family), 0)

    def _look(self) -> None:
        limited = self._memory is not None or self._processes is not None
        while not self._stop.wait(TIGHT if limited else LOOSE):
            family = self.family()
            resident = _resident(family)
            self._peak = max(self._peak, resident)
            if self._memory is not None and resident > self._memory:
                self.violation = f"took more than {self._memory / 1e9:g} GB of memory"
            elif self._processes is not None and len(family) > self._processes:
                self.violation = f"started more than {self._processes} processes"
            if self.violation:
                end(family)
                return


def _own_seconds(pid: int, counted: float) -> float:
    """CPU time of one process by the clock that Linux keeps of it, in nanoseconds; elsewhere what was `counted`.

    The counted times go in steps of 10 ms, and a short piece of music may take less. The clock's number is made of
    the process's own as clock_getcpuclockid(3) makes it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime((~pid << 3) | 2)
    return counted


def _resident(family: list[psutil.Process]) -> int:
    total = 0
    for process in family:
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _kernel_peaks(family: list[psutil.Process]) -> Iterator[int]:
    """The peak of each process by itself, as the Linux kernel knows it; nothing elsewhere."""
    for process in family:
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            yield int(status.partition("VmHWM:")[2].split()[0]) * 1024


def end(family: list[psutil.Process]) -> None:
    """Kill processes; first all are stopped, so that none can start another one meanwhile."""
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.suspend()
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()
