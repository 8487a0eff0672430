"""The command line itself: help, version, exit codes, one line for an error, and nothing heavy before it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import RunCli, TinySet
from typer.main import get_command

from harness import __version__
from harness.cli import app

COMMANDS = ["run", "enhance", "validate", "score", "leaderboard", "systems", "plugins", "evaluator verify"]
HARNESS = [sys.executable, "-c", "from harness.cli import main; main()"]
HEAVY = {"numpy", "scipy", "torch", "numba", "sqlalchemy", "alembic", "pandas", "soundfile", "soxr", "clarity", "av"}
HEAVY |= {"demucs", "openunmix", "pydantic", "matplotlib", "librosa"}


@pytest.mark.parametrize("command", ["", *COMMANDS, "evaluator"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(command: str, option: str, run_cli: RunCli) -> None:
    outcome = run_cli(*command.split(), option)
    assert outcome.code == 0
    assert f"Usage: harness {command}".rstrip() in " ".join(outcome.stdout.split())
    assert outcome.stderr == ""


def test_there_are_no_other_commands_and_every_option_has_a_help_text() -> None:
    commands = dict(get_command(app).commands.items())  # type: ignore[attr-defined]
    assert set(commands) == {name.split()[0] for name in COMMANDS}
    for name, command in commands.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", "") or parameter.name == "help", (name, parameter.name)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_an_unknown_option_is_a_usage_error(command: str, run_cli: RunCli) -> None:
    outcome = run_cli(*command.split(), "--no-such-option")
    assert outcome.code == 2
    assert "No such option: --no-such-option" in outcome.stderr
    assert outcome.stdout == ""


@pytest.mark.parametrize(
    "args",
    [
        ["dance"],
        ["run"],
        ["enhance", "--system"],
        ["validate"],
        ["score"],
        ["validate", ".", "--workers", "0"],
        ["validate", ".", "--limit", "none"],
        ["run", "--system", "oracle", "--overwrite", "perhaps"],
        ["leaderboard", "--by", "weather"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_a_usage_error(args: list[str], run_cli: RunCli) -> None:
    outcome = run_cli(*args)
    assert outcome.code == 2
    assert "Error" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_options_that_do_not_go_together(run_cli: RunCli) -> None:
    outcome = run_cli("leaderboard", "--csv", "--json")
    assert (outcome.code, outcome.error) == (2, "choose one of --csv, --markdown and --json")
    outcome = run_cli("leaderboard", "--split", "valid")
    assert (outcome.code, outcome.error) == (2, "--split goes with --data")


def test_the_version(run_cli: RunCli) -> None:
    assert run_cli("--version").stdout == f"harness {__version__}\n"


def test_nothing_heavy_is_imported_to_show_help() -> None:
    program = (
        "import sys\n"
        "from harness.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=True)
    assert "leaderboard" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "harness" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", ["systems", "plugins"])
def test_listing_systems_imports_no_library_of_theirs(command: str) -> None:
    program = (
        "import sys\nfrom harness.cli import app\n"
        "app(standalone_mode=False)\nprint(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, command, "--json"], capture_output=True, text=True, check=True
    )
    assert "demucs" in json.dumps(json.loads(done.stdout))
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert loaded & {"torch", "torchaudio", "demucs", "openunmix", "numba", "sqlalchemy", "pandas", "clarity"} == set()


def test_an_error_is_one_line_and_traceback_shows_where_it_arose(tiny_set: TinySet) -> None:
    tiny_set.metadata("gains").unlink()
    args = ["enhance", "--system", "passthrough", *tiny_set.args]

    def run(*before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HARNESS, *before, *args], cwd=tiny_set.root, capture_output=True, text=True, check=False
        )

    plain, traced = run(), run("--traceback")
    assert plain.returncode == 2
    assert "Traceback" not in plain.stderr
    last = plain.stderr.splitlines()[-1]
    assert last.startswith("error: missing metadata file ")
    assert traced.returncode == 2
    assert "Traceback (most recent call last)" in traced.stderr
    assert "in load\n" in traced.stderr
    assert traced.stderr.splitlines()[-1] == last


def test_traceback_also_shows_where_a_pair_failed(tiny_set: TinySet, plugin: object) -> None:
    path = plugin("def separate(self, mixture, sample_rate):\n    raise RuntimeError('here')")  # type: ignore[operator]
    args = ["--traceback", "enhance", "--system", "probe", "--plugin", str(path), *tiny_set.args]
    done = subprocess.run([*HARNESS, *args], cwd=tiny_set.root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert f'File "{path}", line 13, in separate' in done.stderr


def test_a_long_error_is_not_wrapped_and_needs_no_terminal(tiny_set: TinySet, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    done = subprocess.run(
        [*HARNESS, "score", str(deep)],
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {deep}: no such folder\n"
    assert done.stdout == ""
