"""What the commands share: options, loading what they name, and errors as one line."""

import errno
import functools
import inspect
import logging
import os
import resource
import sys
import traceback
from collections.abc import Callable, Collection
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from harness import console, startup
from harness.errors import HarnessError, UsageError
from harness.files import database_url, expanded

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet

DEMO = "demo"
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


class Overwrite(StrEnum):
    """What to do with a submission that is there already."""

    never = "never"
    missing = "missing"
    always = "always"


class Engine(StrEnum):
    """What computes HAAQI."""

    locked = "locked"
    fast = "fast"
    fast64 = "fast64"


class ProtocolName(StrEnum):
    """By which challenge's protocol an evaluation set is enhanced and scored."""

    cad_icassp_2024 = "cad_icassp_2024"
    cad1 = "cad1"


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
        console.complain(line)
        raise typer.Exit(code)

    return wrapped  # type: ignore[return-value]


@errors_as_lines
def given(parameter: typer.CallbackParam, value: str | None) -> str | None:
    """An option's value; an empty one, such as that of a shell variable that is not set, is refused.

    Raises:
        UsageError: it is empty.
    """
    if value is not None and not value.strip():
        raise UsageError(f"{parameter.opts[0]} is empty: give it a value, or leave it out")
    return value


@errors_as_lines
def _run_name(parameter: typer.CallbackParam, value: str | None) -> str | None:
    if given(parameter, value) is None:
        return None
    from harness.scoring.entries import checked_name

    return checked_name(str(value))


RunName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", callback=_run_name, help="What to call this run on the leaderboard."),
]


@errors_as_lines
def _database(parameter: typer.CallbackParam, value: str) -> str:
    given(parameter, value)
    return database_url(value)


def data_option(default: str, help: str) -> Any:
    """The option --data: `default` says what it stands for where it is not given."""
    return typer.Option("--data", metavar="ROOT|demo", callback=given, show_default=default, help=help)


Data = Annotated[
    str | None, data_option(DEMO, "Evaluation set: its folder, or an embedded one: demo, demo-kemar, demo-cad1.")
]
Split = Annotated[str | None, typer.Option("--split", help="Split, where the evaluation set has several.")]
ProtocolOption = Annotated[
    ProtocolName | None,
    typer.Option(
        "--protocol",
        show_default="by its metadata",
        help="The challenge whose protocol applies, where the evaluation set allows both.",
    ),
]
Database = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="FILE|URL",
        envvar="HARNESS_DB",
        callback=_database,
        help="Leaderboard database: an SQLite file, or the URL of another one.",
    ),
]
DEFAULT_DATABASE = "leaderboard.db"
Scenes = Annotated[str | None, typer.Option("--scenes", metavar="A,B", help="Only these scenes.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N scenes.")]
MAX_WORKERS = 1024
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        max=MAX_WORKERS,
        show_default="as many as free cores",
        help="Parallel workers.",
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What computes the scores: the locked evaluator, the fast engine that is checked against it, or that one "
        "with everything in double precision.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
PluginSources = Annotated[
    list[str] | None, typer.Option("--plugin", metavar="FILE.py|MODULE", help="A plugin to load. May be repeated.")
]


def workers_or_default(workers: int | None) -> int:
    """The number of workers asked for, or one for each core that this process may use."""
    from harness.compute.local import available_cpus

    return workers or available_cpus()


def output_folder(output: str | None, default: Path) -> Path:
    """Where --output leads: an absolute path, so that it stays the same place whatever a stranger's code does.

    Call it before any code of a system or a plugin runs.

    Args:
        output: the option's value.
        default: for when it is not given.

    Raises:
        UsageError: the home folder in the path is nobody's, or the current folder is gone.
    """
    try:
        return (default if output is None else expanded(output, "--output")).absolute()
    except FileNotFoundError:
        raise UsageError("the current folder is gone: change to another one, or give --output a full path") from None


def evaluation_set(
    data: str | None,
    split: str | None,
    scenes: str | None = None,
    limit: int | None = None,
    protocol: ProtocolName | None = None,
    part: str | None = None,
) -> "EvaluationSet":
    """Load the evaluation set that --data, --split and --protocol name, with --scenes, --limit and --part applied."""
    from harness.challenge import PROTOCOLS
    from harness.music.finding import load_evaluation_set
    from harness.music.parts import Part, part_of

    wanted = None if protocol is None else PROTOCOLS[protocol.value]
    loaded = load_evaluation_set(DEMO if data is None else data, split, wanted)
    names = None if scenes is None else _names_in(scenes, {scene.id for scene in loaded.scenes})
    selected = loaded.select(names, limit)
    return selected if part is None else part_of(selected, Part.parse(part))


def _names_in(text: str, known: Collection[str]) -> list[str]:
    """The names in a list with commas between them, of which songs' names may hold some themselves."""
    parts = text.split(",")
    names = []
    while parts:
        lengths = range(len(parts), 0, -1)
        length = next((each for each in lengths if ",".join(parts[:each]).strip() in known), 1)
        names.append(",".join(parts[:length]).strip())
        del parts[:length]
    return [name for name in names if name]


def data_folder(data: str | None) -> Path | None:
    """The folder that --data names; None for an embedded evaluation set."""
    from harness.music.finding import EMBEDDED

    return None if data is None or data in EMBEDDED else expanded(data, "--data").absolute()


def named_set(data: str | None, split: str | None, protocol: ProtocolName | None = None) -> "EvaluationSet | None":
    """The evaluation set that the options name, for commands that do without one; None if none is named.

    Raises:
        UsageError: a split or a protocol is named without its set.
    """
    if data is None and (split is not None or protocol is not None):
        raise UsageError("--split goes with --data" if protocol is None else "--protocol goes with --data")
    return None if data is None else evaluation_set(data, split, protocol=protocol)


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


def add_command(app: typer.Typer, command: Callable[..., Any], name: str | None = None) -> None:
    """Add a function as a command, of the same name unless another is given.

    What all commands share is added to it: errors as lines, --traceback, paragraphs of its docstring that are wrapped
    to the terminal, and options that have been renamed under their old names.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from harness.compute.local import kept_surroundings

        startup.raise_on_interrupt()
        if kwargs.pop(_TRACEBACK.name):
            set_up_logging(True)
        with kept_surroundings():
            return errors_as_lines(command)(*args, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    wrapped.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), _TRACEBACK]
    )
    wrapped.__annotations__ = {**command.__annotations__, _TRACEBACK.name: _TRACEBACK.annotation}
    context = {"token_normalize_func": lambda name: RENAMED.get(name, name)}
    app.command(name, help=_paragraphs(command.__doc__ or ""), context_settings=context)(wrapped)


RENAMED = {"evaluator": "engine"}
"""Old names of options, which still work."""

Traceback = Annotated[bool, typer.Option("--traceback", help="Show where an error arose.")]

_TRACEBACK = inspect.Parameter("traceback", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Traceback)


def _paragraphs(docstring: str) -> str:
    """A docstring with each paragraph on a line of its own: Typer would keep the line ends of the source."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(docstring).split("\n\n"))


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code and line for an error; raises it again if it is none that a user can act on."""
    if isinstance(error, HarnessError):
        return error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt) or (startup.was_interrupted() and not isinstance(error, typer.Exit)):
        return INTERRUPTED, "interrupted; run the same command again: it continues"
    if isinstance(error, console.ReaderGone):
        raise typer.Exit(0)
    if _is_about_open_files(error):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return 1, f"too many open files, {limit} are allowed: allow more (ulimit -n 1024) and run the command again"
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if "harness_leaderboard.errors" in sys.modules:
        from harness_leaderboard.errors import LeaderboardError

        if isinstance(error, LeaderboardError):
            return 1, str(error)
    raise error


def _is_about_open_files(error: BaseException) -> bool:
    """Whether an error is that too many files are open, be it while a library is imported."""
    if isinstance(error, OSError):
        return error.errno in (errno.EMFILE, errno.ENFILE)
    # The dynamic linker says it in words.
    return isinstance(error, ImportError) and os.strerror(errno.EMFILE) in str(error)
