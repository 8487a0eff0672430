"""The command line: commands parse, call, print; nothing else.

Heavy libraries (torch, numba, scipy, SQLAlchemy, pandas) are imported inside the commands that use them, so that
`harness --help` answers at once.
"""

import sys
from contextlib import suppress
from typing import Annotated

import typer

from harness import __version__, console
from harness.cli import (
    causality,
    common,
    comparing,
    evaluator,
    judging,
    leaderboard,
    live,
    managing,
    reporting,
    sets,
    systems,
    work,
)

app = typer.Typer(
    name="harness",
    help="Evaluate music enhancement for people with hearing loss, and keep the leaderboard.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"harness {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    traceback: common.Traceback = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version  # its callback has done it
    common.set_up_logging(traceback)


for _command in (
    work.run,
    work.enhance,
    causality.audit_causality,
    live.live,
    judging.validate,
    judging.score,
    leaderboard.leaderboard,
    comparing.compare,
    reporting.report,
    systems.systems,
    systems.plugins,
):
    common.add_command(app, _command)
app.add_typer(managing.runs, name="runs")
app.add_typer(evaluator.app, name="evaluator")
app.add_typer(sets.app, name="set")


def main() -> None:
    """Run the command that the arguments name; the program's own entry point is `harness.__main__.main`.

    Raises:
        SystemExit: with the exit code.
    """
    try:
        try:
            common.errors_as_lines(app)(prog_name="harness")  # a name, also where Python was asked to run a module
        finally:
            # What cannot be written is found out now, where it can still be said.
            with suppress(console.ReaderGone):
                common.errors_as_lines(sys.stdout.flush)()
    except typer.Exit as end:
        sys.exit(end.exit_code)
