"""harness leaderboard"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import console
from harness.cli.common import DEFAULT_DATABASE, Database, Json, ProtocolOption, Split, data_option, given, named_set
from harness.files import expanded
from harness_leaderboard.records import By

if TYPE_CHECKING:
    from harness_leaderboard.ranking import Board
    from harness_leaderboard.store import Store


class Class(StrEnum):
    """What kind of system."""

    live = "live"
    causal = "causal"
    non_causal = "non-causal"


def leaderboard(
    by: Annotated[
        list[By] | None, typer.Option("--by", help="Break the means down. May be repeated.", show_default=False)
    ] = None,
    data: Annotated[str | None, data_option("all there are", "Only this evaluation set.")] = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    class_: Annotated[
        Class | None,
        typer.Option(
            "--class", help="Only systems of this class, ranked among themselves. Live systems are causal too."
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B", help="The columns to show, named as in --json, in this order."),
    ] = None,
    db: Database = DEFAULT_DATABASE,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with all digits.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables, for the package booktabs.")] = False,
    svg: Annotated[
        str | None, typer.Option("--svg", metavar="FILE", callback=given, help="Write a picture of the tables.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the leaderboard: one ranking for each evaluation set and evaluator.

    Incomplete runs, reference systems and systems that are not eligible are shown, but have no rank.
    """
    from harness.errors import UsageError
    from harness_leaderboard import formats
    from harness_leaderboard.columns import stems_of
    from harness_leaderboard.store import Store

    if csv + markdown + latex + as_json + (svg is not None) > 1:
        raise UsageError("choose one of --csv, --markdown, --latex, --svg and --json")
    about_set = named_set(data, split, protocol)
    only = None if about_set is None else about_set.sha256
    if columns is not None and by:
        raise UsageError("--columns does not go with --by: choose one of them")
    names = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    _check_columns(names, stems_of((), names))
    groups = list(dict.fromkeys(by or ()))
    with Store.open(db, create=False) as store:
        boards = _boards(store, only, class_)
    # Of which stems there are columns, only the boards can tell.
    _check_columns(names, stems_of(boards))
    about = "" if class_ is None else f"only {class_.value} systems"
    if groups:
        for row in (row for board in boards for row in board.rows if row.status == "changed"):
            console.warn(f"run {row.source.id} is left out: {row.why_not_ranked}")
    if as_json:
        console.print_json(formats.breakdown_json(boards, groups) if groups else formats.boards_json(boards, names))
    elif csv:
        sys.stdout.write(formats.breakdown_csv(boards, groups) if groups else formats.boards_csv(boards, names))
    elif markdown:
        sys.stdout.write(
            formats.breakdown_markdown(boards, groups, about)
            if groups
            else formats.boards_markdown(boards, names, about)
        )
    elif latex:
        sys.stdout.write(
            formats.breakdown_latex(boards, groups, about) if groups else formats.boards_latex(boards, names, about)
        )
    elif svg is not None:
        _write_picture(expanded(svg, "--svg"), boards, groups, names, about)
    else:
        _print(boards, groups, names, about)
        if not boards:
            which = " ".join(
                filter(None, ("on this evaluation set" if only else "", "of this class" if class_ else ""))
            )
            console.say(" ".join(filter(None, ("no runs yet", which))) + ": harness run --system NAME")


def _check_columns(names: Sequence[str] | None, stems: Sequence[str]) -> None:
    """Raise UsageError for a column that there is not, with those that there are."""
    from harness.errors import UsageError
    from harness_leaderboard.columns import choose
    from harness_leaderboard.errors import LeaderboardError

    try:
        choose(names, stems=stems)
    except LeaderboardError as error:
        raise UsageError(f"--columns: {error}") from error


def print_boards(store: "Store", only: str) -> None:
    """Print the boards of the evaluation set with the hash `only` as tables."""
    _print(_boards(store, only))


def _boards(store: "Store", only: str | None, class_: Class | None = None) -> "list[Board]":
    """The boards of an evaluation set, or all; with runs of one class, or of all."""
    from harness_leaderboard.ranking import boards

    # Before the ranking, so that the ranks are those within the class.
    return boards(
        run
        for run in store.runs()
        if only in (None, run.evaluation_set.sha256) and (class_ is None or run.run.in_class(class_.value))
    )


def _print(
    boards: "Sequence[Board]", by: Sequence[By] = (), names: Sequence[str] | None = None, about: str = ""
) -> None:
    from harness_leaderboard.tables import shown

    for part in shown(boards, console.out.width, by, names, about):
        console.out.print(part)


def _write_picture(
    path: Path, boards: "Sequence[Board]", by: Sequence[By], names: Sequence[str] | None, about: str
) -> None:
    from harness.errors import UsageError
    from harness.files import write_whole
    from harness_leaderboard.tables import PICTURE_WIDTH, picture, shown

    if path.is_dir():
        raise UsageError(f"--svg {path} is a folder: name a file")
    if not boards:
        raise UsageError("there is nothing to make a picture of: no runs yet")
    write_whole(path, picture(shown(boards, PICTURE_WIDTH, by, names, about)).encode())
    console.say(f"{path}: written")
