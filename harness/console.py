"""What people see: results on standard output, everything else on standard error.

Long work shows a progress bar on a terminal, and a line now and then elsewhere (log files, Slurm).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import rich.markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Where nobody's terminal sets a width (files, pipes), a table may take the room that it needs.
out = Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
err = Console(stderr=True, highlight=False)

LINE_SECONDS = 15.0
"""Without a terminal, progress is a line at most this often."""


def escape(text: str) -> str:
    """Text as it may be printed by rich: no markup, and no control characters.

    Names of files and systems come from strangers, and a terminal obeys what is printed to it.
    """
    shown = (c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    return rich.markup.escape("".join(shown))


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
    started = last = time.monotonic()
    done = 0

    def pace() -> tuple[str, str]:
        """Rate and time left, from the mean pace so far: results may come in bursts, one from each worker."""
        elapsed = time.monotonic() - started
        if not done or not elapsed:
            return "", ""
        left = round((total - done) * elapsed / done)
        return f"{60 * done / elapsed:.3g} {unit}/min", f"{timedelta(seconds=left)} left"

    if err.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[pace]}"),
            TextColumn("{task.fields[what]}"),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task(title, total=total, what="", pace="")

            def advance(count: int, what: str) -> None:
                nonlocal done
                done += count
                bar.update(task, advance=count, what=escape(what), pace=", ".join(filter(None, pace())))

            yield advance
        return

    def advance_lines(count: int, what: str) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last < LINE_SECONDS and (done < total or now - started < 1):
            return
        last = now
        say(f"{title}: {', '.join(filter(None, (f'{done} of {total} {unit}', *pace(), what)))}")

    yield advance_lines
