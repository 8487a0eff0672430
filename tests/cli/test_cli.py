"""The command line itself: help, version, exit codes, one line for an error, and nothing heavy before it is needed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import RunCli, TinySet

from harness import __version__
from harness.cli.common import database_url

COMMANDS = ["run", "enhance", "validate", "score", "leaderboard", "systems", "plugins", "evaluator verify"]
HARNESS = [sys.executable, "-m", "harness"]
HEAVY = {"numpy", "scipy", "torch", "numba", "sqlalchemy", "alembic", "pandas", "soundfile", "soxr", "clarity", "av"}
HEAVY |= {"demucs", "openunmix", "pydantic", "matplotlib", "librosa"}


@pytest.mark.parametrize("command", ["", *COMMANDS, "evaluator"])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(command: str, option: str, run_cli: RunCli) -> None:
    outcome = run_cli(*command.split(), option)
    assert outcome.code == 0
    assert f"Usage: harness {command}".rstrip() in " ".join(outcome.stdout.split())
    assert outcome.stderr == ""


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
        ["leaderboard", "--class", "first"],
        ["run", "--system", "oracle", "--engine", "steam"],
        ["run", "--system", "oracle", "--evaluator", "steam"],
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
    assert (outcome.code, outcome.error) == (
        2,
        "choose one of --csv, --markdown, --latex, --svg and --json",
    )
    outcome = run_cli("leaderboard", "--split", "valid")
    assert (outcome.code, outcome.error) == (2, "--split goes with --data")


def test_columns_that_there_are_not_are_named_with_those_that_there_are(run_cli: RunCli) -> None:
    outcome = run_cli("leaderboard", "--columns", "rank,colour")
    assert outcome.code == 2
    assert outcome.error.startswith("--columns: no column 'colour'; there are evaluation_set, split, ")
    outcome = run_cli("leaderboard", "--columns", "rank", "--by", "scene")
    assert (outcome.code, outcome.error) == (2, "--columns does not go with --by: choose one of them")


@pytest.mark.parametrize(
    "args",
    [
        ["run", "--system", "passthrough", "--db", ""],
        ["run", "--system", "passthrough", "--data", ""],
        ["run", "--system", "passthrough", "--output", ""],
        ["run", "--system", "passthrough", "--name", " "],
        ["enhance", "--system", "passthrough", "--output="],
        ["validate", ".", "--data", ""],
        ["score", ".", "--db", ""],
        ["leaderboard", "--data", ""],
        ["leaderboard", "--db", " "],
        ["leaderboard", "--svg", ""],
    ],
    ids=" ".join,
)
def test_an_empty_value_is_refused_in_one_line(args: list[str], run_cli: RunCli, tmp_path: Path) -> None:
    outcome = run_cli(*args)
    option = next(arg for arg in reversed(args) if arg.startswith("--")).rstrip("=")
    assert outcome.code == 2
    assert outcome.error == f"{option} is empty: give it a value, or leave it out"
    assert len(outcome.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("foo.db", "sqlite:///foo.db"),
        ("/a/b.db?timeout=3", "sqlite:////a/b.db?timeout=3"),
        ("~/b.db", "sqlite:////home/me/b.db"),
        ("sqlite:///~/b.db", "sqlite:///~/b.db"),
        ("postgresql://host/b", "postgresql://host/b"),
    ],
)
def test_a_database_is_a_file_or_a_url(given: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert database_url(given) == url


def test_a_database_at_a_path_that_is_not_there(run_cli: RunCli, tmp_path: Path) -> None:
    outcome = run_cli("leaderboard", "--db", "foo.db")
    assert outcome.code == 1
    assert outcome.error.startswith("no leaderboard at foo.db yet")
    assert run_cli("leaderboard", "--db", "~nobody-of-this-name/foo.db").code == 2


def test_the_evaluation_set_is_looked_at_before_weights_are_loaded(
    run_cli: RunCli, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    body = (
        "def load(self):\n    open('loaded', 'w').close()\n"
        "def separate(self, mixture, sample_rate):\n    raise RuntimeError"
    )
    args = ("--system", "probe", "--plugin", plugin(body))
    for command in ("run", "enhance"):
        assert run_cli(command, *args, "--data", "nowhere").code == 2
        assert run_cli(command, *args, "--option", "no=such").code == 2
    assert run_cli("run", *args, "--db", "no/folder/board.db").error.startswith("folder no/folder does not exist")
    assert not (tmp_path / "loaded").exists()
    assert run_cli("enhance", *args, "--limit", "1").code == 1
    assert (tmp_path / "loaded").exists()


def test_python_runs_the_package_under_the_name_of_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "-h"], capture_output=True, text=True, check=True)
    assert "Usage: harness [OPTIONS]" in done.stdout


def test_the_shell_can_complete_what_is_typed() -> None:
    def completed(line: str) -> set[str]:
        place = len(line.split()) - (not line.endswith(" "))
        words = {"_HARNESS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place)}
        done = subprocess.run(HARNESS, env={**os.environ, **words}, capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert {"run", "leaderboard", "evaluator"} <= completed("harness ")
    assert completed("harness run --en") == {"--engine"}
    assert completed("harness run --engine ") == {"locked", "fast", "fast64"}
    shown = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [*HARNESS, "--show-completion", "bash"], env=shown, capture_output=True, text=True, check=False
    )
    assert "complete -o default -F _harness_completion harness" in done.stdout


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


def test_a_run_on_this_machine_imports_nothing_of_the_extras(tiny_set: TinySet, tmp_path: Path) -> None:
    program = (
        "import sys\nfrom harness.cli import app\n"
        "app(standalone_mode=False)\nprint(' '.join(sys.modules), file=sys.stderr)"
    )
    command = ["run", "--system", "passthrough", *tiny_set.args, "--scenes", "scene_V001", "--engine", "fast"]
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "sqlalchemy" in loaded
    assert loaded & {"dask", "distributed", "dask_jobqueue", "cryptography", "psycopg"} == set()


def test_an_error_is_one_line_and_traceback_shows_where_it_arose(tiny_set: TinySet) -> None:
    tiny_set.metadata("gains").unlink()
    args = ["enhance", "--system", "passthrough", *tiny_set.args]

    def run(*before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HARNESS, *before, *args], cwd=tiny_set.root, capture_output=True, text=True, check=False
        )

    plain, traced = run(), run("--traceback")
    args.append("--traceback")
    assert run().stderr.splitlines()[:-1] == traced.stderr.splitlines()[:-1]
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
    assert done.stderr == f"error: {deep}: no such folder or zip file\n"
    assert done.stdout == ""
