"""Every public name is documented, with every parameter, what comes back and what is raised."""

import re
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(
    {
        name
        for page in (ROOT / "docs" / "reference").glob("*.md")
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
)


def members(thing: griffe.Object) -> Iterator[griffe.Object]:
    """A public name and those in it, as the site shows them."""
    yield thing
    if isinstance(thing, (griffe.Module, griffe.Class)):
        for name, member in thing.members.items():
            if not name.startswith("_") and isinstance(member, griffe.Object):
                yield from members(member)


@pytest.fixture(scope="module")
def package() -> griffe.Object:
    loaded = griffe.load("harness", search_paths=[ROOT], docstring_parser=griffe.Parser.google)
    assert isinstance(loaded, griffe.Object)
    return loaded


def undocumented(thing: griffe.Object) -> str | None:
    """What its docstring lacks."""
    if thing.docstring is None:
        inherits = isinstance(thing.parent, griffe.Class) and any(
            thing.name in base.members for base in thing.parent.mro() if base.members[thing.name].docstring
        )
        return None if inherits else "no docstring"
    if not isinstance(thing, griffe.Function):
        return None
    sections = {section.kind: section for section in thing.docstring.parse("google")}
    wanted = {parameter.name for parameter in thing.parameters} - {"self", "cls"}
    listed = sections.get(griffe.DocstringSectionKind.parameters)
    found = {parameter.name for parameter in listed.value} if listed else set()
    missing = {name.lstrip("*") for name in wanted} - {name.lstrip("*") for name in found}
    return f"parameters without a word: {', '.join(sorted(missing))}" if missing else None


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str, package: griffe.Object) -> None:
    thing = package[name.removeprefix("harness.")]
    lacking = {member.path: undocumented(member) for member in members(thing)}
    assert {path: what for path, what in lacking.items() if what} == {}


def test_there_are_names() -> None:
    assert len(NAMES) >= 12
