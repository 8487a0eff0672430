"""The page of the bundled systems and their options, from the systems themselves."""

from typing import Any

from harness.cli.systems import listed


def systems() -> str:
    """Every bundled system: what it is, declares and takes, as `harness systems NAME` has it."""
    plugins, described = listed(None)
    bundled = {name for plugin in plugins if "cadenza-harness" in plugin["origin"] for name in plugin["systems"]}
    lines = [
        "# The systems' options",
        "",
        "What `harness systems NAME` says of the systems that come with the harness. Give options as "
        "`--option NAME=VALUE`. [The systems](systems.md) says more about some of them.",
    ]
    for system in sorted(described, key=lambda each: str(each["name"])):
        if system["name"] in bundled:
            lines += ["", f"## {system['name']}", "", *_described(system)]
    return "\n".join(lines) + "\n"


def _described(system: dict[str, Any]) -> list[str]:
    summary = system["summary"]
    lines = [
        f"{summary[:1].upper()}{summary[1:]}. Class: {system['class']}. Trained on: {system['training_data']}. "
        f"Licence of the weights: {system['licence']}.",
        "",
    ]
    if not system["options"]:
        return [*lines, "It has no options."]
    return [*lines, "| option | default | expected | |", "|---|---|---|---|", *map(_row, system["options"])]


def _row(option: dict[str, Any]) -> str:
    default = "" if option["default"] is None else f"`{option['default']}`"
    return f"| `{option['name']}` | {default} | {option['expected']} | {option['help']} |"
