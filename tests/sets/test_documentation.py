"""docs/how-to/songs-and-listeners.md: its example works when pasted, and every command in it exists."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from support import RunCli

from harness.cli import app

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "songs-and-listeners.md").read_text(encoding="utf-8")
EXAMPLE = TEXT.split("## A set of your own, from songs to a leaderboard", 1)[1].split("\n## ", 1)[0]


def commands(text: str) -> list[list[str]]:
    """The commands in its blocks of code, as lists of arguments."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [
        line
        for language, block in blocks
        if language in ("", "{.sh .run}")
        for line in block.splitlines()
        if line.startswith("harness ")
    ]
    # In the overview, two spaces and more set off what a command is for.
    return [shlex.split(re.split(r"\s{2,}", line)[0])[1:] for line in lines]


def test_the_example_goes_from_songs_to_a_leaderboard(run_cli: RunCli, tmp_path: Path) -> None:
    (table,) = re.findall(r"^```csv[^\n]*\n(.*?)^```", EXAMPLE, re.MULTILINE | re.DOTALL)
    (tmp_path / "listeners.csv").write_text(table, encoding="utf-8")
    said = {}
    for arguments in commands(EXAMPLE):
        outcome = run_cli(*arguments)
        assert outcome.code == 0, (arguments, outcome.stdout, outcome.stderr)
        said[" ".join(arguments[:2])] = outcome.stdout
    assert list(said) == [
        "set excerpts", "set new", "set check", "set show", "run --data", "leaderboard",
    ]  # fmt: skip
    assert len(list((tmp_path / "my-songs").glob("*/mixture.wav"))) == 3
    assert "no problems" in said["set check"]
    about = run_cli("set", "show", "my-set", "--json").json
    assert {key: about[key] for key in ("songs", "scenes", "listeners", "pairs")} == {
        "songs": 3, "scenes": 3, "listeners": 2, "pairs": 6,
    }  # fmt: skip
    assert "set new" in about["provenance"]
    board = run_cli("leaderboard", "--json").json
    assert {row["system"] for row in board} == {"passthrough", "centre"}


def ensure_exists(arguments: list[str]) -> None:
    """The command that these arguments begin with is there, and has their options."""
    command = typer.main.get_command(app)
    for name in arguments[: 2 if arguments[0] == "set" else 1]:
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", " ".join(arguments))) <= known


@pytest.mark.parametrize("arguments", commands(TEXT), ids=" ".join)
def test_every_command_in_it_exists(arguments: list[str]) -> None:
    ensure_exists(arguments)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`harness (set [a-z-]+[^`]*)`", TEXT))))
def test_commands_within_sentences_exist_too(line: str) -> None:
    ensure_exists(line.split())


def test_every_option_of_set_new_that_it_explains_is_there() -> None:
    section = TEXT.split("## What to choose in `harness set new`", 1)[1].split("\n## ", 1)[0]
    ensure_exists(["set", "new", *re.findall(r"--[a-z-]+", section)])
