"""The pages of the site: every block of code on them runs, every command that is named exists, what is shown is so."""

import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import typer
from support import walk

from harness.cli import app
from website.blocks import blocks, comparable, run

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
RUN = [page for page in PAGES if any(block.is_run for block in blocks((DOCS / page).read_text(encoding="utf-8")))]


FOREIGN = {"--no-deps", "--nthreads"}
"""Options of pip and of Dask."""


@pytest.fixture(scope="module")
def options() -> Collection[str]:
    parameters = [parameter for _, command in walk(typer.main.get_command(app)) for parameter in command.params]
    return FOREIGN.union(*(parameter.opts for parameter in parameters))


def commands(page: str) -> Iterator[list[str]]:
    """The arguments of every `harness ...` on a page: in blocks, and within sentences."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in blocks(text):
        whole = re.sub(r"\\\n\s*", "", block.body)
        for line in block.commands or whole.splitlines():
            if line.startswith("harness "):
                # In overviews, two spaces and more set off what a command is for.
                yield shlex.split(re.split(r"\s{2,}", line)[0], comments=True)[1:]
    for line in re.findall(r"`harness ([a-z-]+[^`]*)`", re.sub(r"(?s)```.*?```", "", text)):
        yield line.split()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_it_exists(page: str) -> None:
    for arguments in commands(page):
        command = typer.main.get_command(app)
        rest = [argument for argument in arguments if argument not in ("--traceback", "COMMAND")]
        if rest == ["--help"] or not rest:
            continue
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command = command.commands[rest.pop(0)]
        assert command.name != "harness", arguments
        known = {option for parameter in command.params for option in parameter.opts}
        named = {option.split("=")[0] for option in rest if option.startswith("--")}
        assert named <= known | {"--help"}, arguments


@pytest.mark.parametrize("page", PAGES)
def test_every_option_in_its_sentences_exists(page: str, options: Collection[str]) -> None:
    sentences = re.sub(r"(?s)```.*?```", "", (DOCS / page).read_text(encoding="utf-8"))
    assert set(re.findall(r"`(--[a-z][a-z-]*)", sentences)) <= options


@pytest.mark.parametrize("page", RUN)
def test_its_blocks_run_and_print_what_it_shows(page: str, tmp_path: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert comparable(run(text, tmp_path)) == comparable(text)
