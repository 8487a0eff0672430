"""What the commands share: options, loading what they name, and errors as one line."""

import functools
import logging
import os
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from harness import console
from harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet
    from harness.systems.discovery import Plugins

DEMO = "demo"
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class Overwrite(StrEnum):
    """What to do with a submission that is there already."""

    never = "never"
    missing = "missing"
    always = "always"


class Evaluator(StrEnum):
    """What computes HAAQI."""

    locked = "locked"
    fast = "fast"


Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="ROOT|demo", help="Evaluation set: its folder, or the embedded one.  [default: demo]"
    ),
]
Split = Annotated[str | None, typer.Option("--split", help="Split, where the evaluation set has several.")]
Database = Annotated[str, typer.Option("--db", metavar="URL", envvar="HARNESS_DB", help="Leaderboard database.")]
DEFAULT_DATABASE = "sqlite:///leaderboard.db"
Scenes = Annotated[str | None, typer.Option("--scenes", metavar="A,B", help="Only these scenes.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N scenes.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Parallel workers.  [default: the cores that are free to use]"),
]
EvaluatorOption = Annotated[
    Evaluator,
    typer.Option("--evaluator", help="The locked evaluator, or the fast engine that is checked against it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
PluginSources = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE.py|MODULE", help="A plugin to load. May be repeated.")
]


def workers_or_default(workers: int | None) -> int:
    """The number of workers asked for, or one for each core that this process may use."""
    from harness.compute.local import available_cpus

    return workers or available_cpus()


def evaluation_set(
    data: str | None, split: str | None, scenes: str | None = None, limit: int | None = None
) -> "EvaluationSet":
    """Load the evaluation set that --data and --split name, with --scenes and --limit applied."""
    if (data or DEMO) == DEMO:
        from harness.music import demo

        if split not in (None, demo.SPLIT):
            raise UsageError(f"the embedded evaluation set has no split {split!r}: name your own with --data ROOT")
        loaded = demo.demo()
    else:
        from harness.music.layout import load

        loaded = load(Path(str(data)).expanduser(), split)
    names = None if scenes is None else [name.strip() for name in scenes.split(",") if name.strip()]
    return loaded.select(names, limit)


def load_plugins(sources: list[str] | None) -> "Plugins":
    """Discover all plugins; those that are broken are named in a warning."""
    from harness.systems.discovery import Plugins

    found = Plugins(sources or ())
    for plugin in found.plugins:
        if plugin.error:
            console.warn(f"plugin {plugin.name} ({plugin.origin}) is broken and left out: {plugin.error}")
    return found


_tracebacks = False


class _Say(logging.Handler):
    """Shows people what the program has to say while it works."""

    def emit(self, record: logging.LogRecord) -> None:
        console.say(self.format(record))


def set_up_logging(tracebacks: bool) -> None:
    """Show the harness's own messages; with `tracebacks`, also where errors and failed pairs arose."""
    global _tracebacks
    _tracebacks = tracebacks
    logger = logging.getLogger("harness")
    logger.handlers = [_Say()]
    logger.setLevel(logging.DEBUG if tracebacks else logging.INFO)


Command = TypeVar("Command", bound=Callable[..., Any])


def errors_as_lines(command: Command) -> Command:
    """Make a command print one line and exit with the right code for every error that a user can act on."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            code, line = _explain(error)
            if _tracebacks and not isinstance(error, KeyboardInterrupt):
                traceback.print_exc()
        console.err.print(f"[red]error:[/red] {console.escape(line)}", soft_wrap=True)
        raise typer.Exit(code)

    return wrapped  # type: ignore[return-value]


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code and line for an error; raises it again if it is none that a user can act on."""
    if isinstance(error, HarnessError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; run the same command again: it continues"
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone (`harness leaderboard | head`); do not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0)
    if isinstance(error, OSError) and error.filename:
        return 1, f"{error.filename}: {error.strerror}"
    if "harness_leaderboard.errors" in sys.modules:
        from harness_leaderboard.errors import LeaderboardError

        if isinstance(error, LeaderboardError):
            return 1, str(error)
    raise error
