"""What the kinds of trials share: a tiny evaluation set, the command line, and what a finished run must look like."""

import hashlib
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HARNESS = (sys.executable, "-m", "harness")
SUBMISSION, DATABASE = "made", "board.db"
PATIENCE = 300.0
"""Seconds after which a command is taken for hanging."""


@dataclass
class Tally:
    """What came of some trials.

    Attributes:
        counts: how many there were, by row of the table.
        failures: (row, what went wrong) of each that failed.
    """

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: str, problems: Sequence[str] = ()) -> None:
        """Count one trial, which failed if there are problems."""
        self.counts[row] = self.counts.get(row, 0) + 1
        if problems:
            self.failures.append((row, "; ".join(problems)))

    def merge(self, other: "Tally") -> None:
        for row, count in other.counts.items():
            self.counts[row] = self.counts.get(row, 0) + count
        self.failures += other.failures


@dataclass(frozen=True)
class Task:
    """Trials that are done one after the other in one process.

    Attributes:
        work: does them in a folder of its own.
        repeat: what a failure is told with, so that it can be repeated.
    """

    work: Callable[[Path], Tally]
    repeat: str


def evaluation_set() -> Path:
    """The tiny evaluation set: 2 scenes, 2 listeners, 0.7 s of music."""
    return Path(os.environ["TRIALS_BASE"]) / "tiny"


# ---- processes ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: by that signal; None: it had to be ended), and what it said."""

    code: int | None
    stdout: str
    stderr: str

    def problems(self, *codes: int) -> list[str]:
        """What is wrong with its end, if one of these exit codes is expected."""
        found = []
        if self.code is None:
            found.append(f"hangs after {PATIENCE:.0f} s")
        elif self.code not in codes:
            found.append(f"exit code {self.code}: {self.stderr.strip()[-300:]!r}")
        if "Traceback" in self.stdout + self.stderr:
            found.append(f"traceback: {self.stderr.strip()[-600:]!r}")
        if "database is locked" in self.stderr:
            found.append("database is locked")
        return found


def forked(arguments: Sequence[str], folder: Path, before: Callable[[], None] = lambda: None) -> Ended:
    """Run `harness ARGUMENTS` in a fork of this process, which has imported everything; in `folder`.

    Args:
        before: called in the fork first.
    """
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            os.chdir(folder)
            for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if number else 0)), number)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            from harness.cli import main

            sys.argv[1:] = arguments
            before()
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    until = time.monotonic() + PATIENCE
    while (waited := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return said(folder, None)
        time.sleep(0.005)
    return said(folder, os.waitstatus_to_exitcode(waited[1]))


def said(folder: Path, code: int | None) -> Ended:
    """How a command ended whose output went to files in `folder`; they are removed."""
    texts = [(folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
    for name in ("stdout", "stderr"):
        (folder / name).unlink()
    return Ended(code, *texts)


def left_of(tag: str) -> list[str]:
    """What is wrong if processes are left of commands whose environment has LC_HARNESS_TRIAL=tag; they are killed."""
    from hostile import survivors

    return [f"process left: {command}" for command in survivors(tag, 10.0)]


# ---- what a run leaves ----------------------------------------------------------------------------------

Scores = Mapping[tuple[str, str, str], tuple[float, ...]]
"""Left, right and mean score by (reference, file, engine)."""


@dataclass(frozen=True)
class State:
    """What a finished run leaves, but for what differs by nature: times, costs, and which pairs were checked."""

    scores: Scores
    checks: int
    pairs: Sequence[tuple[Any, ...]]
    runs: int
    files: Mapping[str, str]
    manifest: Mapping[str, Any]


def scores_in(database: Path) -> Scores:
    """All scores in a database; none where there are no tables yet."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
            rows = connection.execute(
                "SELECT sha256, file_sha256, engine, left_score, right_score, score FROM scores "
                "JOIN remixes ON remix_id = remixes.id JOIN reference_signals ON reference_id = reference_signals.id"
            ).fetchall()
    except sqlite3.OperationalError:
        return {}
    assert len({row[:3] for row in rows}) == len(rows)
    return {row[:3]: row[3:] for row in rows}


def state_of(folder: Path) -> State:
    """What a finished run has left in a folder."""
    database, made = folder / DATABASE, folder / SUBMISSION
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        pairs = connection.execute(
            "SELECT run_id, scene, listener, state, reason, file_sha256, clipped FROM run_pairs "
            "JOIN set_pairs ON pair_id = set_pairs.id LEFT JOIN remixes ON remix_id = remixes.id ORDER BY 1, 2, 3"
        ).fetchall()
        (runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        (checks,) = connection.execute("SELECT count(*) FROM checks").fetchone()
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made.glob("*.flac")}
    manifest = json.loads((made / "submission.json").read_bytes())
    return State(scores_in(database), checks, pairs, runs, files, {k: v for k, v in manifest.items() if k != "costs"})


def differences(folder: Path, expected: State, locked: Scores) -> list[str]:
    """What is wrong with what a run has left in a folder.

    Args:
        expected: what it leaves when nothing disturbs it.
        locked: the locked engine's scores of all files: whichever pairs it checked, these are what it must have found.
    """
    left = {path.name for path in folder.iterdir()} - {SUBMISSION, DATABASE, f"{SUBMISSION}.log"}
    strange = {path.name for path in (folder / SUBMISSION).iterdir()} - {*expected.files, "submission.json"}
    problems = [f"left over: {', '.join(sorted(left | strange))}"] if left | strange else []
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=10)) as connection:
        for pragma, good in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
            if (found := connection.execute(f"PRAGMA {pragma}").fetchall()) != good:
                problems.append(f"{pragma}: {found[:3]}")
    now = state_of(folder)
    for name in ("pairs", "runs", "files", "manifest"):
        if getattr(now, name) != getattr(expected, name):
            problems.append(f"{name} differ")
    engines = {engine for *_, engine in expected.scores}
    for engine in engines:
        if "fast" not in engines or engine == "fast":
            mine, due = (_of(engine, scores) for scores in (now.scores, expected.scores))
            if mine != due:
                problems.append(f"{engine} scores differ: {len(mine)} of {len(due)}")
    checks = _of("locked", now.scores)
    if not checks.items() <= locked.items():
        problems.append("locked scores differ")
    if now.checks < expected.checks:
        problems.append(f"{now.checks} checks are made, {expected.checks} expected")
    return problems


def _of(engine: str, scores: Scores) -> dict[tuple[str, str, str], tuple[float, ...]]:
    return {key: value for key, value in scores.items() if key[2] == engine}
