"""Several processes at once, and processes that die: nothing is lost, nothing is half there."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from stored import count

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import ScoredRun
from harness_leaderboard.store import Store

NewUrl = Callable[..., str]

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

def score(store, n, engine, me=0):
    left = n / 12 if engine == "locked" else n / 12 + 1e-9
    score = NewScore(f"file {n % 10}", PAIRS[n].reference_sha256, engine, left, 0.5, replaces=True)
    store.add_scores([score], "f", {engine: {"engine": engine, "of": me}})
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
        if store.path is None:
            # Every reference is checked there; a lock that nobody holds any more would stop all others.
            return connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar() == 0
        return (
            connection.execute(text("PRAGMA integrity_check")).all() == [("ok",)]
            and connection.execute(text("PRAGMA foreign_key_check")).all() == []
        )


@pytest.mark.parametrize("order", [("locked", "fast"), ("fast", "locked")])
def test_scores_of_both_engines_from_two_processes_at_once(new_url: NewUrl, order: tuple[str, str]) -> None:
    url = new_url()
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
            assert (run.scored, run.fast, run.checked, run.only_fast, run.failed) == (12, 12, 24, 0, 0)
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


def test_killed_at_any_moment_and_done_again(new_url: NewUrl) -> None:
    whole = new_url()
    process = start(MORTAL, whole)
    began = time.monotonic()
    said, complained = process.communicate(timeout=120)
    assert said == "done\n", complained
    takes = time.monotonic() - began
    url, draw, killed = new_url(), random.Random(3), 0
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


MANY = """
print("ready", flush=True)
sys.stdin.readline()
me, writers = map(int, sys.argv[2:])
with Store.open(sys.argv[1], create=True) as store:
    shared = enter(store, "shared")
    enter(store, f"own {me}")
    for n in range(12):
        # All of them the same scores, under environments of their own; each some files that nobody else touches.
        score(store, n, "locked", me)
        score(store, n, "fast", me)
        if n % writers == me:
            store.mark_failed(shared, {(PAIRS[n].scene, PAIRS[n].listener): f"said {me}"})
"""


@pytest.mark.parametrize("writers", [2, 4, 8])
def test_many_writers_at_once(new_url: NewUrl, writers: int) -> None:
    """From the first table on: they make the database together."""
    url = new_url()
    processes = [start(MANY, url, str(me), str(writers)) for me in range(writers)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    with Store.open(url, create=False) as store:
        assert sound(store)
        assert sorted(run.run.key for run in store.runs()) == [*(f"own {me}" for me in range(writers)), "shared"]
        tables = ("evaluation_sets", "set_pairs", "evaluators", "remixes", "scores")
        assert [count(store, table) for table in tables] == [1, 12, 1, 12, 24]
        assert count(store, "run_pairs") == 12 * (writers + 1)
        assert count(store, "events") == writers + 1
        assert count(store, "environments") == 2 * writers
        (shared,) = (run.id for run in store.runs() if run.run.key == "shared")
        reasons = [pair.reason for pair in store.find_run(shared).pairs.values()]
        # Who enters the run later says that all files are there.
        assert {reason for reason in reasons if reason} <= {f"said {me}" for me in range(writers)}
        for run in store.runs():
            assert not run.changed


HOLDER = """
with Store.open(sys.argv[1], create=True) as store:
    run_id = enter(store, "a")
    with store.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE runs SET visibility = 'hidden'")
        print("ready", flush=True)
        sys.stdin.readline()
"""


def test_a_writer_that_hangs_is_told_of_and_one_that_is_killed_is_in_nobodys_way(new_url: NewUrl) -> None:
    url = new_url()
    holder = start(HOLDER, url)
    says = r"is locked: another program is writing to it; wait for it .*, or add \?timeout=SECONDS"
    with Store.open(url, create=False) as reader:
        assert [run.run.key for run in reader.runs()] == ["a"]
        with pytest.raises(LeaderboardError, match=says):
            Store.open(f"{url}?timeout=0.3", create=True)
        holder.send_signal(signal.SIGKILL)
        holder.communicate(timeout=120)
        with Store.open(url, create=True) as store:
            assert [run.run.key for run in store.runs()] == ["a"]
            store.set_visibility(1, "hidden", "")
        assert reader.runs() == []
