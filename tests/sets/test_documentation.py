"""docs/evaluation-set.md: its example works when pasted, and every command in it exists."""

import re
import shlex
from pathlib import Path

import pytest
from support import RunCli

TEXT = (Path(__file__).parents[2] / "docs" / "evaluation-set.md").read_text(encoding="utf-8")
EXAMPLE = TEXT.split("## A set of your own, from songs to a leaderboard", 1)[1].split("\n## ", 1)[0]


def commands(text: str) -> list[list[str]]:
    """The commands in its blocks of code, as lists of arguments."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("harness ")]
    # In the overview, two spaces and more set off what a command is for.
    return [shlex.split(re.split(r"\s{2,}", line)[0])[1:] for line in lines]


def test_the_example_goes_from_songs_to_a_leaderboard(run_cli: RunCli, tmp_path: Path) -> None:
    (table,) = re.findall(r"^```csv\n(.*?)^```", EXAMPLE, re.MULTILINE | re.DOTALL)
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
    assert {row["system"] for each in board for row in each["rows"]} == {"passthrough", "centre"}


@pytest.mark.parametrize("arguments", commands(TEXT), ids=" ".join)
def test_every_command_in_it_exists(arguments: list[str], run_cli: RunCli) -> None:
    command = arguments[:2] if arguments[0] == "set" else arguments[:1]
    shown = run_cli(*command, "--help")
    assert shown.code == 0
    for option in re.findall(r"--[a-z-]+", " ".join(arguments)):
        assert option in shown.stdout


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`harness (set [a-z-]+[^`]*)`", TEXT))))
def test_commands_within_sentences_exist_too(line: str, run_cli: RunCli) -> None:
    shown = run_cli(*line.split()[:2], "--help")
    assert shown.code == 0
    for option in re.findall(r"--[a-z-]+", line):
        assert option in shown.stdout


def test_every_option_of_set_new_that_it_explains_is_there(run_cli: RunCli) -> None:
    section = TEXT.split("## What to choose in `harness set new`", 1)[1].split("\n## ", 1)[0]
    shown = run_cli("set", "new", "--help").stdout
    for option in set(re.findall(r"--[a-z-]+", section)):
        assert option in shown, option
