"""harness systems, plugins"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import Json, PluginSources, load_plugins

if TYPE_CHECKING:
    from harness.systems import System


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
