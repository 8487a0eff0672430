"""The program on a machine in bad shape: one line and the right exit code, whatever is closed, full, gone or too small.

These are real processes, since what is tested is what a process is given.
"""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer
from support import RunCli, TinySet

from harness.challenge import Protocol
from harness.cli.common import MAX_WORKERS, errors_as_lines, output_folder
from harness.errors import UsageError
from harness.haaqi import lock
from harness.haaqi.evaluator import Score

HARNESS = [sys.executable, "-m", "harness"]


def run(
    *args: object, redirect: str = "", before: str = ":", **variables: str | None
) -> subprocess.CompletedProcess[str]:
    """Run `harness ARGS` in a shell, with redirections, after a command of the shell, with variables changed."""
    environment = {name: value for name, value in {**os.environ, **variables}.items() if value is not None}
    return subprocess.run(
        ["/bin/sh", "-c", f'{before}; exec "$@" {redirect}', "sh", *HARNESS, *map(str, args)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        errors="surrogateescape",
        # A test run in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def lines(done: subprocess.CompletedProcess[str]) -> tuple[int, list[str]]:
    return done.returncode, done.stderr.splitlines()


# Standard streams


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["systems"], ["systems", "--json"]], ids=" ".join)
@pytest.mark.parametrize(
    ("redirect", "why"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
    ids=["full", "closed"],
)
def test_results_that_cannot_be_written_are_an_error(args: list[str], redirect: str, why: str) -> None:
    said = f"error: cannot write to standard output: {why}; send it to another file or program"
    assert lines(run(*args, redirect=redirect)) == (1, [said])


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-", "<&- 2>&-"])
def test_that_nobody_can_read_messages_stops_nothing(redirect: str, tiny_set: TinySet, tmp_path: Path) -> None:
    made = tmp_path / "made"
    done = run("enhance", "--system", "passthrough", *tiny_set.args, "--output", made, "--json", redirect=redirect)
    assert (done.returncode, json.loads(done.stdout)["made"]) == (0, 4)
    assert len(list(made.glob("*.flac"))) == 4


def test_a_closed_stream_is_not_taken_for_the_next_file(tmp_path: Path, tiny_set: TinySet) -> None:
    made = tmp_path / "made"
    args = ["enhance", "--system", "passthrough", *tiny_set.args, "--output", made, "--json"]
    assert run(*args, redirect="<&- >&- 2>&-").returncode == 1  # the results could not be printed
    again = run("validate", made, *tiny_set.args)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("args", [["--help"], ["systems"], ["systems", "--json"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(args: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as gone:
        done = subprocess.run([*HARNESS, *args], stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert lines(done) == (0, [])


def test_another_broken_pipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    @errors_as_lines
    def command() -> None:
        os.write(writing, b"x")

    try:
        with pytest.raises(typer.Exit) as end:
            command()
    finally:
        os.close(writing)
    assert (end.value.exit_code, capsys.readouterr().err) == (1, "error: Broken pipe\n")


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_names_that_the_streams_lack_characters_for(
    variables: dict[str, str], plugin: Callable[..., Path], tmp_path: Path
) -> None:
    whole = plugin("def separate(self, mixture, sample_rate): ...", file="Größe.py")
    done = run("plugins", "--plugin", whole, **variables)
    assert lines(done) == (0, [])
    assert "Gr\\" in done.stdout
    assert json.loads(run("plugins", "--plugin", whole, "--json", **variables).stdout)
    broken = tmp_path / "Straße.py"
    broken.write_text("raise RuntimeError('Ärger 😄')\n", encoding="utf-8")
    code, (said,) = lines(run("plugins", "--plugin", broken, **variables))
    assert code == 2
    assert said.startswith("error: plugin ")
    assert said.endswith("RuntimeError: \\xc4rger \\U0001f604")
    # A name that is not UTF-8.
    missing = run("validate", b"no\xff\xc3\xa4".decode("utf-8", "surrogateescape"), "--json", **variables)
    assert missing.returncode == 2
    assert json.loads(missing.stdout)


@pytest.mark.parametrize("columns", ["0", "1", "-5", "9" * 5000, "wide", ""])
def test_a_width_that_no_terminal_has(columns: str) -> None:
    done = run("systems", COLUMNS=columns)
    assert lines(done) == (0, [])
    assert "passthrough" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


# Limits


def test_few_open_files_are_enough_or_an_error(tiny_set: TinySet, submission: Path) -> None:
    done = run("validate", submission, *tiny_set.args, before="ulimit -n 20")
    assert done.returncode == 0, done.stderr
    args = ["score", submission, *tiny_set.args, "--workers", 2, "--db", submission.parent / "own.db"]
    code, said = lines(run(*args, before="ulimit -n 12"))
    assert code == 1
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    assert "oo many open files" in said[-1]
    assert not any("Traceback" in line for line in said)


@pytest.mark.parametrize("importing", [False, True])
def test_too_many_open_files_are_one_line(importing: bool, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    @errors_as_lines
    def command() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            os.close(os.open("/", os.O_RDONLY))
        except OSError as error:
            if importing:  # as the dynamic linker says it
                raise ImportError(f"libsome.so: cannot open shared object file: {error.strerror}") from None
            raise
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    with pytest.raises(typer.Exit) as end:
        command()
    said = f"error: too many open files, {soft} are allowed: allow more (ulimit -n 1024) and run the command again\n"
    assert (end.value.exit_code, capsys.readouterr().err) == (1, said)


def test_absurdly_many_workers_are_refused(run_cli: RunCli) -> None:
    for many in (str(MAX_WORKERS + 1), "9" * 300, "9" * 5000):
        outcome = run_cli("score", ".", "--workers", many)
        assert outcome.code == 2
        assert "'--workers'" in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_workers_that_are_killed_at_birth_are_an_error_and_nothing_is_scored(
    run_cli: RunCli, tiny_set: TinySet, submission: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    outcome = run_cli("score", submission, *tiny_set.args, "--workers", 2)
    assert outcome.code == 1
    assert outcome.error.startswith("worker processes cannot start (signal 9): ")


# Folders that are not there


@pytest.mark.parametrize(
    ("args", "variables", "said"),
    [
        (["enhance", "--system", "passthrough", "--data", "~nobody-at-all/x"], {}, "--data ~nobody-at-all/x"),
        (["enhance", "--system", "passthrough"], {"HARNESS_CACHE": "~nobody-at-all"}, "HARNESS_CACHE ~nobody-at-all"),
        (["leaderboard", "--db", "~nobody-at-all/x"], {}, "--db ~nobody-at-all/x"),
    ],
    ids=["data", "cache", "db"],
)
def test_the_home_folder_of_nobody(
    args: list[str], variables: dict[str, str], said: str, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = run_cli(*args)
    assert (outcome.code, outcome.error) == (2, f"{said}: Could not determine home directory; write out the folder")


def test_a_user_without_a_home_folder(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "HARNESS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    outcome = run_cli("enhance", "--system", "passthrough")
    assert outcome.code == 2
    assert outcome.error == "there is no home folder to keep the cache in: set HARNESS_CACHE to a folder"


def test_where_output_leads_is_settled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert output_folder("made", Path("other")) == tmp_path / "made"
    assert output_folder(None, Path("other")) == tmp_path / "other"
    assert output_folder("/a/b", Path("other")) == Path("/a/b")
    assert output_folder("~/made", Path("other")) == Path("/home/me/made")
    with pytest.raises(UsageError, match=r"^--output ~nobody-at-all: Could not determine home directory; write out"):
        output_folder("~nobody-at-all", Path("other"))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match=r"^the current folder is gone: "):
        output_folder("made", Path("other"))


# Ctrl-C before and while a command begins


@pytest.mark.parametrize("module", ["typer", "rich.console", "harness.cli.work", "numpy", "pydantic", "soundfile"])
def test_ctrl_c_during_an_import_is_one_line(module: str, tmp_path: Path, tiny_set: TinySet) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Press:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Press())\n"
    )
    done = run("enhance", "--system", "passthrough", *tiny_set.args, PYTHONPATH=str(tmp_path))
    assert lines(done) == (130, ["error: interrupted; run the same command again: it continues"])


AS_THE_PROGRAM = """
signal.signal(signal.SIGINT, signal.default_int_handler)
startup.leave_on_interrupt()
startup.raise_on_interrupt()
try:
    command()
except Exception as end:
    raise SystemExit(end.exit_code)
"""


def commanded(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program's `command` where Ctrl-C does what it does in ours."""
    done = [sys.executable, "-c", program + AS_THE_PROGRAM]
    return subprocess.run(done, capture_output=True, text=True, check=False, timeout=60)


def test_ctrl_c_of_which_a_library_makes_another_error_is_one_line() -> None:
    program = """
import os, signal
from harness import startup
from harness.cli.common import errors_as_lines

@errors_as_lines
def command():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise SystemError("a function returned a result with an exception set") from None
"""
    done = commanded(program)
    assert lines(done) == (130, ["error: interrupted; run the same command again: it continues"])


def test_ctrl_c_while_libsndfile_reads_is_no_damaged_file() -> None:
    program = """
import io, os, signal
import numpy as np
import soundfile
from harness import startup
from harness.cli.common import errors_as_lines

class Pressed(io.BytesIO):
    def readinto(self, buffer):
        if self.tell() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return super().readinto(buffer)

@errors_as_lines
def command():
    soundfile.write(content := io.BytesIO(), np.ones((9, 2)), 44100, format="FLAC")
    read, _ = soundfile.read(Pressed(content.getvalue()))
    print(len(read), flush=True)
    while True:
        pass
"""
    done = commanded(program)
    assert lines(done) == (130, ["error: interrupted; run the same command again: it continues"])
    assert done.stdout in ("9\n", "")


def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    program = (
        "import os, signal\nfrom harness import startup\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "startup.leave_on_interrupt()\nos.kill(os.getpid(), signal.SIGINT)\nprint('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "alive\n"


# Scores are those of what is installed


PATCH = """
import harness.haaqi.evaluator as evaluator, harness.haaqi.fast as fast
evaluator.score_pair = fast.score_pair = lambda *_: evaluator.Score(1.0, 1.0)
"""


@pytest.fixture
def args(tiny_set: TinySet, submission: Path) -> Sequence[object]:
    """What scores two pairs by both engines."""
    return ["score", submission, *tiny_set.args, "--scenes", "scene_V001", "--engine", "fast", "--json"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_modules_of_the_users_own_change_no_score(
    workers: int, args: list[object], run_cli: RunCli, tmp_path: Path
) -> None:
    due = run_cli(*args, "--workers", 1).json
    assert 0 < due["mean"] < 0.9
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(PATCH)
    done = run(*args, "--workers", workers, "--db", tmp_path / "own.db", PYTHONPATH=str(own))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["mean"] == pytest.approx(due["mean"], abs=1e-8)
    assert found["engine"]["checked_in_double"] == 2


@pytest.mark.slow
def test_what_code_in_the_main_process_does_changes_no_score(
    args: list[object], run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = run_cli(*args, "--workers", 1).json
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(PATCH)
    ensure_locked = lock.ensure_locked

    def do_evil(protocol: Protocol) -> None:
        """As a stranger's code might while the command runs. All this is put back afterwards."""
        ensure_locked(protocol)
        monkeypatch.setenv("PYTHONPATH", str(own))
        monkeypatch.syspath_prepend(str(own))
        monkeypatch.setattr(sys, "executable", "/bin/false")
        monkeypatch.setattr("multiprocessing.spawn._python_exe", "/bin/false")
        multiprocessing.set_start_method("fork", force=True)
        for name in ("haaqi.evaluator.score_pair", "haaqi.fast.score_pair", "scoring.tasks.score_pair"):
            monkeypatch.setattr(f"harness.{name}", lambda *_: Score(1.0, 1.0))
        monkeypatch.setattr("harness.scoring.tasks.score_ear", lambda *_: 1.0)

    monkeypatch.setattr(lock, "ensure_locked", do_evil)
    try:
        outcome = run_cli(*args, "--workers", 2, "--db", tmp_path / "own.db")
    finally:
        multiprocessing.set_start_method(None, force=True)
    assert outcome.code == 0, outcome.stderr
    assert sys.executable == "/bin/false"
    assert outcome.json["mean"] == pytest.approx(due["mean"], abs=1e-8)
    assert outcome.json["engine"]["checked_in_double"] == 2
