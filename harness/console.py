"""What people see: results on standard output, everything else on standard error.

Long work shows a progress bar on a terminal, and a line now and then elsewhere (log files, Slurm).
"""

import io
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import rich.markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.errors import StorageError, printable

# Where nobody's terminal sets a width (files, pipes), a table may take the room that it needs. Names of strangers may
# look like rich's emoji: they stay what they are.
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
err = Console(stderr=True, highlight=False, emoji=False)

LINE_SECONDS = 15.0
"""Without a terminal, progress is a line at most this often."""


class ReaderGone(Exception):
    """Whoever read our standard output has gone (`harness leaderboard | head`)."""


class _Results(io.TextIOWrapper):
    """Standard output; its failures cannot be taken for those of another file or pipe."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _lost(error) from error

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _lost(error) from error


def _lost(error: OSError) -> Exception:
    """What it means that standard output cannot be written to; there will be no second complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return ReaderGone()
    return StorageError(f"cannot write to standard output: {error.strerror}; send it to another file or program")


class _Messages(io.TextIOWrapper):
    """Standard error: that nobody can read what is said is no reason to stop."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def take_over_streams() -> None:
    """Make standard output and error fit for anything: characters that they lack are shown as escapes."""
    for name, kind in (("stdout", _Results), ("stderr", _Messages)):
        stream = getattr(sys, name)
        settings = {
            "encoding": stream.encoding,
            "errors": "backslashreplace",
            "line_buffering": stream.line_buffering,
            "write_through": stream.write_through,
        }
        setattr(sys, name, kind(stream.detach(), **settings))


def _plain_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def escape(text: str) -> str:
    """Text as it may stand in what rich prints: no markup, and no control characters but line ends."""
    return rich.markup.escape(_plain_lines(text))


def say(text: str) -> None:
    """Print a plain line for people on standard error."""
    err.print(_plain_lines(text), markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    err.print(Text.assemble(("warning:", "yellow"), " ", _plain_lines(text)), soft_wrap=True)


def complain(text: str) -> None:
    """Print an error on standard error."""
    err.print(Text.assemble(("error:", "red"), " ", _plain_lines(text)), soft_wrap=True)


def print_json(value: object) -> None:
    """Print a JSON document, alone, on standard output. Numbers keep every digit.

    It is ASCII. A lone surrogate, as Python has them in names of files that are not UTF-8, is no character: it becomes
    the text of its escape, backslash included.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    sys.stdout.write(re.sub(r"[^\x00-\x7f]", _json_escape, text) + "\n")


def _json_escape(character: re.Match[str]) -> str:
    escaped = json.dumps(character[0])[1:-1]
    return f"\\{escaped}" if "\ud800" <= character[0] <= "\udfff" else escaped


Advance = Callable[[int, str], None]
"""Called with a number of finished steps and what was just done."""


class Pace:
    """How fast work gets on, from the times at which results came.

    The first results say little: code is compiled for them, caches are cold, and each worker brings its own. So time
    is measured from when there were as many results as workers, and only over the later half of what came since: a
    slow beginning is soon forgotten, while rare slow steps among many still count. Nothing is said until there are
    `ENOUGH` results, and as many as workers, over `ENOUGH_SECONDS` at least.
    """

    ENOUGH = 4
    ENOUGH_SECONDS = 2.0

    def __init__(self, total: int, workers: int = 1) -> None:
        self.total = total
        self.done = 0
        self._workers = workers
        self._results = 0
        self._events: list[tuple[float, int]] = []
        """When there were how many results, from the end of the first ones on."""

    def add(self, now: float, count: int) -> None:
        """Note that `count` more steps are done.

        Args:
            now: seconds on a clock that never goes back.
            count: steps that came together. No work was done for more than one (they were there already), so they
                tell nothing of the pace; nor does 0.
        """
        self.done += count
        if count != 1:
            return
        self._results += 1
        if self._results >= self._workers:
            self._events.append((now, self._results))

    @property
    def per_second(self) -> float | None:
        """Steps per second lately; None while that means nothing."""
        if not self._events:
            return None
        end, results = self._events[-1]
        # The later half, but a result of each worker at least: results may come in bursts.
        since = min(len(self._events) // 2, len(self._events) - 1 - max(self.ENOUGH, self._workers))
        if since < 0:
            return None
        start, before = self._events[since]
        if end - start < self.ENOUGH_SECONDS:
            start, before = self._events[0]
        return (results - before) / (end - start) if end - start >= self.ENOUGH_SECONDS else None

    def seconds_left(self, now: float) -> float | None:
        """Seconds until everything is done; None while that cannot be told."""
        rate = self.per_second
        if rate is None:
            return None
        return max(0.0, (self.total - self.done) / rate - (now - self._events[-1][0]))


@contextmanager
def progress(title: str, total: int, unit: str, workers: int = 1) -> Iterator[Advance]:
    """Show how long work gets on: what is done, how much of it, rate and time left.

    Args:
        title: what is being done.
        total: steps that there are.
        unit: what a step is, in the plural.
        workers: how many of them are worked on at a time.
    """
    title = printable(title)
    started = last = time.monotonic()
    pace = Pace(total, workers)

    def shown_pace() -> list[str]:
        """Rate and time left, as far as they are known."""
        rate, left = pace.per_second, pace.seconds_left(time.monotonic())
        if rate is None or left is None:
            return []
        return [f"{60 * rate:.3g} {unit}/min", f"{timedelta(seconds=round(left))} left"]

    if err.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[what]}", markup=False),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task(title, total=total, what="", pace="")

            def advance(count: int, what: str) -> None:
                pace.add(time.monotonic(), count)
                bar.update(task, advance=count, what=printable(what), pace=", ".join(shown_pace()))

            yield advance
        return

    def advance_lines(count: int, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        pace.add(now, count)
        if now - last < LINE_SECONDS and (pace.done < total or now - started < 1):
            return
        last = now
        say(f"{title}: {', '.join(filter(None, (f'{pace.done} of {total} {unit}', *shown_pace(), printable(what))))}")

    yield advance_lines
