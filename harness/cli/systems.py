"""harness systems, plugins"""

from typing import Annotated, Any

import typer

from harness import console
from harness.cli.common import Json, PluginSources
from harness.errors import PluginError, UsageError, first_problem


def systems(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One system, with its options.")] = None,
    plugin: PluginSources = None,
    as_json: Json = False,
) -> None:
    """List the systems, or show one with its options."""
    plugins, described = listed(plugin)
    for each in plugins:
        if each["error"]:
            console.warn(f"plugin {each['name']} ({each['origin']}) is broken and left out: {each['error']}")
    if name is not None:
        chosen = next((system for system in described if system["name"] == name), None)
        if chosen is None:
            known = ", ".join(system["name"] for system in described)
            broken = ", ".join(each["name"] for each in plugins if each["error"])
            more = f"; broken plugins: {broken} (see: harness plugins)" if broken else ""
            raise UsageError(f"no system named {name!r} (known: {known}){more}")
        _show_system(chosen, as_json)
        return
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
    found, _ = listed(plugin)
    if as_json:
        console.print_json(found)
        return
    from rich.table import Column, Table

    # Folded, not cut: a plugin's name may be a long path, of which the end tells most.
    table = Table(Column("plugin", overflow="fold"), "from", "systems", box=None, pad_edge=False)
    for each in found:
        error = each["error"]
        what = f"[red]broken:[/red] {console.escape(error)}" if error else console.escape(", ".join(each["systems"]))
        table.add_row(console.escape(each["name"]), console.escape(each["origin"]), what)
    console.out.print(table)


def listed(plugin: list[str] | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All plugins and all systems, as a process of their own describes them.

    Raises:
        PluginError: one of those named is broken, or what it says of itself is no description.
    """
    from pydantic import BaseModel, Field, TypeAdapter, ValidationError

    from harness.apart.running import list_systems

    class Plugin(BaseModel):
        name: str
        origin: str
        systems: list[str]
        error: str | None

    class Setting(BaseModel):
        name: str
        type: str
        default: bool | int | float | str | None
        expected: str
        help: str

    class Described(BaseModel):
        name: str
        version: str
        kind: str
        streaming: bool
        class_: str = Field(alias="class")
        training_data: str
        not_eligible: str | None
        licence: str
        summary: str
        options: list[Setting]

    found = list_systems(plugin or ())
    try:
        plugins = TypeAdapter(list[Plugin]).validate_python(found.get("plugins"))
        systems = TypeAdapter(list[Described]).validate_python(found.get("systems"))
    except ValidationError as error:
        raise PluginError(f"a system describes itself wrongly: {first_problem(error)}") from None
    return [each.model_dump() for each in plugins], [each.model_dump(by_alias=True) for each in systems]


def _show_system(described: dict[str, Any], as_json: bool) -> None:
    if as_json:
        console.print_json(described)
        return
    from rich.table import Table

    version, summary = console.escape(described["version"]), console.escape(described["summary"])
    console.out.print(f"[bold]{described['name']}[/bold] {version}: {summary}")
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
