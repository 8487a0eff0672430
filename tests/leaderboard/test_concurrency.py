"""Several processes at once, and processes that die: nothing is lost, nothing is half there."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from harness_leaderboard.records import ScoredRun
from harness_leaderboard.store import Store

WORK = """
import sys
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, RunRecord, SetPair
from harness_leaderboard.store import Store

PAIRS = [SetPair(f"S{n // 2}", f"L{n % 2}", "track", f"reference {n}") for n in range(12)]
SET = EvaluationSetRecord("demo", "valid", "e", 6, 12)

def enter(store, key):
    run = RunRecord(key, key, "1", {}, True, 0, "none", "none", "", None, False, key)
    run_id = store.start_run(run, SET, "f", {}, PAIRS)
    files = [EnhancedFile(pair.scene, pair.listener, f"file {n % 10}", n) for n, pair in enumerate(PAIRS)]
    store.mark_all_enhanced(run_id, files)
    return run_id

def score(store, n, engine):
    left = n / 12 if engine == "locked" else n / 12 + 1e-9
    score = NewScore(f"file {n % 10}", PAIRS[n].reference_sha256, engine, left, 0.5, replaces=True)
    store.add_scores([score], "f", {engine: {"engine": engine}})
"""

SCORER = """
engine = sys.argv[2]
with Store.open(sys.argv[1], create=True) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    run_id = enter(store, engine)
    for n in range(12):
        score(store, n, engine)
        # What one of them says of its own run is nothing to the other.
        store.mark_failed(run_id, {(PAIRS[n].scene, PAIRS[n].listener): "it raised"})
    enter(store, engine)
    store.keep_summaries()
"""

MORTAL = """
with Store.open(sys.argv[1], create=True) as store:
    print("ready", flush=True)
    for key in "ab":
        run_id = enter(store, key)
        store.mark_failed(run_id, {(PAIRS[0].scene, PAIRS[0].listener): "it raised"})
        for n in range(1, 12):
            for engine in ("fast", "locked"):
                score(store, n, engine)
        store.keep_summaries()
    print("done", flush=True)
"""


def start(code: str, *arguments: str) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
        [sys.executable, "-c", WORK + code, *arguments], text=True, **pipes
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    return process


def sound(store: Store) -> bool:
    with store.engine.connect() as connection:
        return (
            connection.execute(text("PRAGMA integrity_check")).all() == [("ok",)]
            and connection.execute(text("PRAGMA foreign_key_check")).all() == []
        )


@pytest.mark.parametrize("order", [("locked", "fast"), ("fast", "locked")])
def test_scores_of_both_engines_from_two_processes_at_once(tmp_path: Path, order: tuple[str, str]) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    processes = [start(SCORER, url, engine) for engine in order]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    with Store.open(url, create=False) as store:
        assert sound(store)
        runs = store.runs()
        assert sorted(run.run.key for run in runs) == ["fast", "locked"]
        for run in runs:
            assert (run.scored, run.fast, run.checked, run.only_fast, run.failed) == (12, 12, 12, 0, 0)
            assert sorted(run.scores.left) == [n / 12 for n in range(12)]
            for pair in store.find_run(run.id).pairs.values():
                assert pair.locked is not None
                assert pair.fast is not None
                assert pair.score == pair.locked


def figures(store: Store) -> list[tuple[Any, ...]]:
    """All that a board shows of the runs but ids and times."""

    def of(run: ScoredRun) -> tuple[Any, ...]:
        return run.run, run.sums, run.failed, run.fast, run.checked, run.largest_difference, list(run.shares.values())

    return [of(run) for run in store.runs()]


def test_killed_at_any_moment_and_done_again(tmp_path: Path) -> None:
    whole = f"sqlite:///{tmp_path / 'whole.db'}"
    process = start(MORTAL, whole)
    began = time.monotonic()
    said, complained = process.communicate(timeout=120)
    assert said == "done\n", complained
    takes = time.monotonic() - began
    url, draw, killed = f"sqlite:///{tmp_path / 'killed.db'}", random.Random(3), 0
    for _ in range(3):
        process = start(MORTAL, url)
        time.sleep(draw.uniform(0, takes / 2))
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=120)
        killed += said == ""
        with Store.open(url, create=False) as store:
            assert sound(store)
            # Whatever of it is there is right.
            with_summaries = figures(store)
        with Store.open(url, create=True) as store, store.engine.begin() as connection:
            connection.execute(text("DELETE FROM summaries WHERE :some").bindparams(some=draw.random() < 0.5))
        with Store.open(url, create=False) as store:
            assert figures(store) == with_summaries
    assert killed >= 1
    said, complained = start(MORTAL, url).communicate(timeout=120)
    assert said == "done\n", complained
    with Store.open(url, create=False) as again, Store.open(whole, create=False) as at_once:
        assert sound(again)
        assert figures(again) == figures(at_once)
        assert len(figures(again)) == 2
