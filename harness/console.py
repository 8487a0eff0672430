"""What people see: results on standard output, everything else on standard error.

Long work shows a progress bar on a terminal, and a line now and then elsewhere (log files, Slurm).
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape as escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

LINE_SECONDS = 15.0
"""Without a terminal, progress is a line at most this often."""


def say(text: str) -> None:
    """Print a plain line for people on standard error."""
    err.print(escape(text), soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    err.print(f"[yellow]warning:[/yellow] {escape(text)}", soft_wrap=True)


def print_json(value: object) -> None:
    """Print a JSON document, alone, on standard output. Numbers keep every digit."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


Advance = Callable[[int, str], None]
"""Called with a number of finished steps and what was just done."""


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Show how long work gets on: what is done, how much of it, rate and time left."""
    if err.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[what]}"),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task(title, total=total, what="", rate="")

            def advance(count: int, what: str) -> None:
                speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
                rate = f"{60 * speed:.1f} {unit}/min" if speed else ""
                bar.update(task, advance=count, what=escape(what), rate=rate)

            yield advance
        return
    started = last = time.monotonic()
    done = 0

    def advance_lines(count: int, what: str) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last < LINE_SECONDS and (done < total or now - started < 1):
            return
        last = now
        elapsed = now - started
        left = (total - done) * elapsed / done if done else 0.0
        rate = 60 * done / elapsed if elapsed else 0.0
        say(f"{title}: {done} of {total} {unit}, {rate:.1f} per minute, {left:.0f} s left ({what})")

    yield advance_lines
