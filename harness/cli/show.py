"""harness leaderboard, systems, plugins"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import (
    DEFAULT_DATABASE,
    Database,
    Json,
    PluginSources,
    Split,
    evaluation_set,
    load_plugins,
)

if TYPE_CHECKING:
    from harness.systems import System
    from harness_leaderboard.store import Store


class By(StrEnum):
    """What a breakdown groups pairs by."""

    listener = "listener"
    scene = "scene"
    track = "track"


def leaderboard(
    by: Annotated[By | None, typer.Option("--by", help="Break the means down.")] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="ROOT|demo", help="Only this evaluation set.  [default: all there are]"),
    ] = None,
    split: Split = None,
    db: Database = DEFAULT_DATABASE,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with all digits.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_json: Json = False,
) -> None:
    """Show the leaderboard: one ranking for each evaluation set and evaluator.

    Incomplete runs, reference systems and systems that are not eligible are shown, but have no rank.
    """
    from harness.errors import UsageError
    from harness_leaderboard import report
    from harness_leaderboard.ranking import boards as rank
    from harness_leaderboard.store import Store

    if csv + markdown + as_json > 1:
        raise UsageError("choose one of --csv, --markdown and --json")
    if split is not None and data is None:
        raise UsageError("--split goes with --data")
    only = evaluation_set(data, split).sha256 if data is not None else None
    with Store.open(db, create=False) as store:
        if not (csv or markdown or as_json):
            print_boards(store, only, by)
            return
        boards = [board for board in rank(store.runs()) if only in (None, board.evaluation_set.sha256)]
    if by is None:
        if as_json:
            console.print_json(report.boards_json(boards))
        else:
            sys.stdout.write(report.boards_csv(boards) if csv else report.boards_markdown(boards))
    elif as_json:
        console.print_json([line for board in boards for line in report.breakdown_json(board, by.value)])
    else:
        sys.stdout.write(
            "\n".join(
                report.breakdown_csv(board, by.value) if csv else report.breakdown_markdown(board, by.value)
                for board in boards
            )
        )


def print_boards(store: "Store", only: str | None = None, by: By | None = None) -> None:
    """Print the boards of a leaderboard as tables, or those of the evaluation set with the hash `only`."""
    from harness_leaderboard import report
    from harness_leaderboard.ranking import boards as rank

    boards = [board for board in rank(store.runs()) if only in (None, board.evaluation_set.sha256)]
    if not boards:
        console.say("no runs yet" + (" on this evaluation set" if only else "") + ": harness run --system NAME")
    for board in boards:
        if by is None:
            console.out.print(report.board_table(board, console.out.width))
        else:
            console.out.print(report.breakdown_table(board, by.value))


def systems(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One system, with its options.")] = None,
    plugin: PluginSources = None,
    as_json: Json = False,
) -> None:
    """List the systems, or show one with its options."""
    found = load_plugins(plugin)
    if name is not None:
        _show_system(found.system(name), as_json)
        return
    described = [_describe(system) for _, system in sorted(found.systems.items())]
    if as_json:
        console.print_json(described)
        return
    from rich.table import Table

    table = Table("system", "kind", "class", "training data", "eligible", "what", box=None, pad_edge=False)
    for system in described:
        eligible = "reference" if system["kind"] == "reference" else system["not_eligible"] or "yes"
        table.add_row(
            *(console.escape(str(system[key])) for key in ("name", "kind", "class", "training_data")),
            console.escape(eligible),
            console.escape(system["summary"]),
        )
    console.out.print(table)


def plugins(plugin: PluginSources = None, as_json: Json = False) -> None:
    """List the plugins, where they come from, and what is wrong with those that are broken."""
    from harness.systems.discovery import Plugins

    found = Plugins(plugin or ()).plugins
    if as_json:
        console.print_json([vars(each) for each in found])
        return
    from rich.table import Table

    table = Table("plugin", "from", "systems", box=None, pad_edge=False)
    for each in found:
        what = f"[red]broken:[/red] {console.escape(each.error)}" if each.error else ", ".join(each.systems)
        table.add_row(console.escape(each.name), console.escape(each.origin), what)
    console.out.print(table)


def _describe(system: "type[System]") -> dict[str, Any]:
    """What a system declares of itself with its default settings; nothing is loaded."""
    from harness.systems import Enhancer, Reference

    kind = "reference" if issubclass(system, Reference) else "enhancer" if issubclass(system, Enhancer) else "separator"
    # A system's constructor is a stranger's code, and a listing must not fail because of one of them.
    try:
        made = system()
        declared = {"training_data": made.training_data, "not_eligible": made.not_eligible, "licence": made.licence}
    except (Exception, SystemExit) as error:
        declared = {"training_data": "?", "not_eligible": f"cannot be set up: {error}", "licence": "?"}
    return {
        "name": system.name,
        "version": system.version,
        "kind": kind,
        "class": "causal" if system.causal else "non-causal",
        **declared,
        "summary": system.summary,
        "options": [
            {
                "name": option.name,
                "type": option.type.__name__,
                "default": str(option.default) if isinstance(option.default, Path) else option.default,
                "expected": option.expected,
                "help": option.help,
            }
            for option in system.options
        ],
    }


def _show_system(system: "type[System]", as_json: bool) -> None:
    described = _describe(system)
    if as_json:
        console.print_json(described)
        return
    from rich.table import Table

    console.out.print(f"[bold]{system.name}[/bold] {console.escape(system.version)}: {console.escape(system.summary)}")
    for label, key in (("kind", "kind"), ("class", "class"), ("trained on", "training_data"), ("licence", "licence")):
        console.out.print(f"  {label}: {console.escape(str(described[key]))}")
    if described["not_eligible"]:
        console.out.print(f"  not eligible: {console.escape(described['not_eligible'])}")
    if not described["options"]:
        console.out.print("  no options")
        return
    table = Table("--option", "default", "expected", "what", box=None, pad_edge=False)
    for option in described["options"]:
        default = "" if option["default"] is None else str(option["default"])
        table.add_row(*map(console.escape, (option["name"], default, option["expected"], option["help"])))
    console.out.print(table)
