"""What a system prints: shown on standard error, and kept in a log."""

import contextlib
import os
import re
import select
import threading
import time
from pathlib import Path

from harness import console
from harness.errors import printable

MAX_SHOWN = 500
"""Lines of one run that are shown; the log has more."""

MAX_LOGGED = 64 * 2**20
"""Bytes of the log of one run."""

MAX_LINE = 2000

LAST_WORDS = 0.5
"""Seconds that are given to what a child printed before it ended; a survivor of it may print for ever."""

_EARLY = 2**20
"""Bytes that are kept until it is known where the log is."""


_DOUBTFUL = re.compile(r"[^\n\t\x20-\x7e]+")
"""Where `printable` could have something to do; most of what is printed needs none of it."""


class Output:
    """Collects what a run's children print. The log is made only when there is something to say.

    Nothing that is printed can move the cursor or colour the terminal: it is shown escaped, line by line.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early = b""
        self._path: Path | None = None
        self._logged = 0
        self._shown = 0

    @property
    def path(self) -> Path | None:
        """The log, if there is one."""
        return self._path if self._logged else None

    def log_to(self, path: Path) -> None:
        """Say where the log is to be; it is added to if it is there."""
        with self._lock:
            self._path = path
            early, self._early = self._early, b""
        if early:
            self.log(early)

    def log(self, content: bytes) -> None:
        """Add to the log; what a terminal would obey is escaped there as well, for those who look at it on one."""
        text = content.decode(errors="backslashreplace").replace("\r", "\n")
        content = _DOUBTFUL.sub(lambda found: printable(found[0]), text).encode()
        with self._lock:
            if self._path is None:
                self._early = (self._early + content)[:_EARLY]
                return
            if self._logged > MAX_LOGGED:
                return
            if not self._logged:
                content = time.strftime("---- %Y-%m-%d %H:%M:%S\n").encode() + content
            self._logged += len(content)
            if self._logged > MAX_LOGGED:
                content += b"\n---- more than is kept\n"
            # The log is a convenience: that it cannot be written is no reason to fail.
            with contextlib.suppress(OSError), self._path.open("ab") as file:
                file.write(content)

    def show(self, line: bytes) -> None:
        """Show a line on standard error."""
        text = line.decode(errors="backslashreplace").rstrip()
        if not text:
            return
        self._shown += 1
        if self._shown == MAX_SHOWN:
            console.say("(it prints more; the rest is in its log)")
        elif self._shown < MAX_SHOWN:
            console.say(text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]} ...")


class Pump:
    """Moves what one child prints to an `Output`, until it is closed."""

    def __init__(self, descriptor: int, output: Output) -> None:
        self._descriptor, self._output = descriptor, output
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take what is still there, and stop: whoever else holds the pipe is not waited for."""
        self._stop.set()
        self._thread.join()
        os.close(self._descriptor)

    def _run(self) -> None:
        rest, until = b"", float("inf")
        poll = select.poll()  # knows descriptors above 1023, too
        poll.register(self._descriptor, select.POLLIN)
        while time.monotonic() < until:
            stopping = self._stop.is_set()
            if stopping:
                until = min(until, time.monotonic() + LAST_WORDS)
            if not poll.poll(0 if stopping else 50):
                if stopping:
                    break
                continue
            content = os.read(self._descriptor, 2**16)
            if not content:
                break
            # A progress bar writes over its own line: each state is a line here.
            *lines, rest = (rest + content).replace(b"\r", b"\n").split(b"\n")
            if len(rest) > 10 * MAX_LINE:
                lines, rest = [*lines, rest], b""
            self._pass_on(lines)
        self._pass_on([rest] if rest else [])

    def _pass_on(self, lines: list[bytes]) -> None:
        # Whole lines: several processes may write to one log.
        if lines:
            self._output.log(b"\n".join(lines) + b"\n")
        for line in lines:
            self._output.show(line)
