"""docs/how-to/slurm.md: every command in it exists, and what it says of the configuration is what there is."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from harness.cli import app
from harness.compute.cluster.config import Jobs, read_jobs
from harness.compute.cluster.slurm import GIGABYTES

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """The harness's commands, in blocks of code and in sentences, as lists of arguments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.startswith("harness ")]
    sentences = re.sub(r"^```.*?^```", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line)[1:] for line in [*lines, *re.findall(r"`(harness [^`]+)`", sentences)]]


def test_its_configuration_is_one_and_has_every_key(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "slurm.yaml").write_text(block)
    score, enhance = (read_jobs(tmp_path / "slurm.yaml", purpose) for purpose in ("score", "enhance"))
    assert (score.jobs, score.queue, score.workers_of_job) == (32, "standard", 8)
    assert (enhance.jobs, enhance.queue, enhance.workers_of_job) == (2, "gpu", 1)
    assert set(Jobs.model_fields) <= set(re.findall(r"^ *(\w+):", block, re.MULTILINE))


def test_the_defaults_that_it_names_are_those_that_there_are() -> None:
    assert (Jobs().jobs, Jobs().cores, Jobs().folder) == (1, 4, "harness-cluster")
    assert GIGABYTES == {"score": 2, "enhance": 8}


def test_they_are_found() -> None:
    assert {name for name, *_ in commands()} == {"run", "enhance", "score", "runs", "leaderboard", "evaluator"}


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_in_it_exists(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("--")} <= known
