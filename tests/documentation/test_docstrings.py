"""Every public name is on the site, and documented: every parameter and attribute has its words."""

import re
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

import harness
import harness.systems

ROOT = Path(__file__).parents[2]
NAMES = [
    name
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
SAID_IN_WORDS = {
    "STEMS",
    "TRAINING_DATA",
    "Gains",
    "Signal",
    "Listener",
    "Audiogram",
    "hookimpl",
    "parse_options",
    "Stream",
}
"""Of `harness.systems`: constants and types that the pages describe, and what only the harness's own parts need."""

Lacking = tuple[str, str]


@pytest.fixture(scope="module")
def package() -> griffe.Object:
    loaded = griffe.load("harness", search_paths=[ROOT], docstring_parser=griffe.Parser.google)
    assert isinstance(loaded, griffe.Object)
    return loaded


def listed(thing: griffe.Object, kind: griffe.DocstringSectionKind) -> set[str]:
    """Names in a section of a docstring."""
    if thing.docstring is None:
        return set()
    sections = [section for section in thing.docstring.parse("google") if section.kind is kind]
    return {name.strip() for section in sections for entry in section.value for name in entry.name.split(",")}


def lineage(thing: griffe.Class) -> list[griffe.Class]:
    return [thing, *thing.mro()]


def lacking(thing: griffe.Object) -> Iterator[Lacking]:
    """What is not documented of a public name and of those in it: where, and what."""
    if isinstance(thing, griffe.Class):
        if thing.docstring is None:
            yield thing.path, "the class"
        classes = lineage(thing)
        described = set().union(*(listed(base, griffe.DocstringSectionKind.attributes) for base in classes))
        for name, member in thing.members.items():
            if name.startswith("_") or not isinstance(member, griffe.Object):
                continue
            inherited = [base.members[name] for base in classes if name in base.members]
            if name not in described and not any(found.docstring for found in inherited):
                yield member.path, "no docstring"
            if isinstance(member, griffe.Function) and member.docstring:
                yield from lacking(member)
    elif thing.docstring is None:
        yield thing.path, "no docstring"
    elif isinstance(thing, griffe.Function):
        words = thing.docstring.value
        known = listed(thing, griffe.DocstringSectionKind.parameters)
        for parameter in thing.parameters:
            name = parameter.name
            # A short docstring may name them in its sentence.
            if name not in ("self", "cls") and name not in known and f"`{name}`" not in words:
                yield thing.path, name


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_documented(name: str, package: griffe.Object) -> None:
    thing = package[name.removeprefix("harness.")]
    if isinstance(thing, griffe.Alias):
        thing = thing.final_target
    assert list(lacking(thing)) == []


def test_every_public_name_is_on_the_site() -> None:
    short = {name.rsplit(".", 1)[-1] for name in NAMES}
    assert set(harness._WHERE) - {"STEMS"} - short == set()
    assert set(harness.systems.__all__) - SAID_IN_WORDS - short == set()
