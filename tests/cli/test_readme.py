"""The README's words work when pasted."""

import re
import shlex
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Write your own system", 1)[1].split("\n## ", 1)[0]
PLUGIN, COMMAND = (block.split("\n", 1)[1] for block in re.findall(r"```(.*?)```", SECTION, re.DOTALL)[:2])


def test_the_example_system_runs_as_written(run_cli, tmp_path):
    (tmp_path / "halves.py").write_text(PLUGIN, encoding="utf-8")
    program, *arguments = shlex.split(COMMAND)
    assert program == "harness"
    result = run_cli(*arguments, "--scenes", "scene_00003")
    assert result.code == 0, result.stderr
    assert len(list((tmp_path / "submissions/halves").glob("*_remix.flac"))) == 2
    assert "halves" in result.stdout


def test_the_example_is_about_twenty_lines_long():
    assert len([line for line in PLUGIN.splitlines() if line.strip()]) <= 25


@pytest.mark.parametrize("line", re.findall(r"^harness .*$", README, re.MULTILINE))
def test_every_command_of_the_readme_exists(line, run_cli):
    _, command, *rest = line.split()
    sub = rest[:1] if command in ("evaluator", "set") else []
    result = run_cli(command, *sub, "--help")
    assert result.code == 0
    for option in re.findall(r"--[a-z-]+", line):
        assert option in result.stdout


def test_what_is_said_of_managing_runs_is_what_there_is(run_cli):
    (listed,) = re.findall(r"^harness runs .*: (.*)$", README, re.MULTILINE)
    shown = run_cli("runs", "--help").stdout
    for command in listed.split(", "):
        assert re.search(rf"^\W*{command}\b", shown, re.MULTILINE), command


def test_it_reads_without_its_neighbours():
    """On an index page relative links lead nowhere: only the pictures are some, and every file that is named exists."""
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not link.startswith("https://")] == [
        "docs/pictures/board.svg",
        "docs/pictures/report.png",
        "docs/pictures/pair.png",
    ]
    root = Path(__file__).parents[2]
    named = set(re.findall(r"\b(?:docs|submissions|benchmarks|tests)/[\w./-]+\.\w+", README)) | {
        "CONTRIBUTING.md",
        "CITATION.cff",
    }
    assert len(named) >= 7
    for name in named:
        assert (root / name).is_file(), name
