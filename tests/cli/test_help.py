"""What `--help` shows of every command."""

import re
from itertools import pairwise
from typing import Any

import pytest
from support import run_app, walk
from typer.main import get_command

from harness.cli import app

WIDTH = 100
COMMANDS = {"run", "enhance", "validate", "score", "leaderboard", "systems", "plugins", "evaluator"}


ALL = list(walk(get_command(app)))


@pytest.fixture(params=ALL, ids=lambda found: " ".join(found[0]) or "harness")
def shown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[str]]:
    """A command and the lines of its help in a terminal of `WIDTH` columns."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", WIDTH)
    path, command = request.param
    outcome = run_app(*path, "--help")
    assert outcome.code == 0
    return command, outcome.stdout.splitlines()


def test_these_are_the_commands() -> None:
    assert {path[0] for path, _ in ALL if path} >= COMMANDS
    assert ("evaluator", "verify") in [path for path, _ in ALL]


def test_every_option_has_a_help_text_and_its_default(shown: tuple[Any, list[str]]) -> None:
    command, lines = shown
    # Without the frame, and without the line ends of the column.
    text = " ".join(" ".join(lines).replace("│", " ").split())
    for parameter in command.params:
        assert parameter.help, parameter.name
        assert not re.search(r"\[\w", parameter.help), f"{parameter.name}: rich swallows what stands in brackets"
        assert " ".join(parameter.help.split()) in text, parameter.name
        default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
        if parameter.show_default and default not in (None, False, ()) and not parameter.required:
            default = getattr(default, "value", default)
            assert f"[default: {default}]" in text or f"[default: ({default})]" in text, parameter.name


def test_some_defaults_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    text = run_app("run", "--help").stdout
    for default in ("(demo)", "missing", "locked", "leaderboard.db", "(as many as free cores)"):
        assert f"[default: {default}]" in text


def test_no_line_ends_before_it_is_full(shown: tuple[Any, list[str]]) -> None:
    _, lines = shown
    end = next(index for index, line in enumerate(lines) if line.startswith("╭"))
    prose = [line.strip() for line in lines[:end] if "Usage:" not in line]
    assert any(prose)
    for line, following in pairwise(prose):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > WIDTH - 2, f"broken after: {line}"


def test_the_old_name_of_an_option_works_and_is_not_shown() -> None:
    for command in (("run",), ("score",), ("evaluator", "verify")):
        text = run_app(*command, "--help").stdout
        assert "--engine" in text
        assert "--evaluator" not in text
