"""A server that restarts and connections that are cut: what was written is neither lost nor there twice."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from services.postgresql import PostgreSQL
from sqlalchemy import Connection, event
from stored import FILE, add, count, entered, mark, on_postgresql

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.store import Store

NewUrl = Callable[..., str]

pytestmark = [on_postgresql, pytest.mark.usefixtures("kind", "postgresql")]


@pytest.fixture
def patient_store(new_url: NewUrl) -> Iterator[Store]:
    """An empty leaderboard that is waited for."""
    with Store.open(f"{new_url('template_leaderboard')}?timeout=60", create=True) as store:
        yield store


# Between writes


def test_between_two_writes_the_server_was_restarted(patient_store: Store, postgresql: PostgreSQL) -> None:
    run_id = entered(patient_store)
    postgresql.stop()
    postgresql.start()
    mark(patient_store, run_id, "S1", "L1")
    postgresql.stop("immediate")
    postgresql.start()
    add(patient_store, "S1", "L1", 0.1, 0.2)
    assert [run.scored for run in patient_store.runs()] == [1]


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_write_waits_for_a_server_that_is_down(
    patient_store: Store, postgresql: PostgreSQL, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = entered(patient_store)
    postgresql.stop(how)
    later = threading.Timer(1, postgresql.start)
    later.start()
    try:
        with caplog.at_level(logging.WARNING):
            mark(patient_store, run_id, "S1", "L1")
    finally:
        later.join()
    assert [run.scored for run in patient_store.runs()] == [0]
    assert patient_store.find_run(run_id).pairs["S1", "L1"].file_sha256 == FILE
    (said,) = caplog.messages
    assert "trying again for 60 s" in said
    assert postgresql.password not in said


# In the middle


def cut(store: Store, postgresql: PostgreSQL, before: str, times: int = 1) -> list[str]:
    """End the store's connections before a statement, or before it commits, as a firewall or an administrator would."""
    left, done = [before] * times, []

    def end() -> None:
        done.append(left.pop())
        database = store.engine.url.database
        postgresql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    @event.listens_for(store.engine, "before_cursor_execute")
    def execute(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if left and statement.startswith(before):
            end()

    @event.listens_for(store.engine, "commit")
    def commit(_: Connection) -> None:
        if left and before == "COMMIT":
            end()

    return done


@pytest.mark.parametrize("before", ["SET LOCAL", "INSERT INTO remixes", "INSERT INTO scores", "COMMIT"])
def test_cut_in_the_middle_scores_are_stored_once(patient_store: Store, postgresql: PostgreSQL, before: str) -> None:
    entered(patient_store)
    done = cut(patient_store, postgresql, before, times=2)
    add(patient_store, "S1", "L1", 0.1, 0.2)
    assert len(done) == 2
    assert [count(patient_store, table) for table in ("scores", "remixes", "environments")] == [1, 1, 1]


@pytest.mark.parametrize("before", ["INSERT INTO run_pairs", "INSERT INTO events", "COMMIT"])
def test_cut_in_the_middle_a_run_is_entered_once(patient_store: Store, postgresql: PostgreSQL, before: str) -> None:
    done = cut(patient_store, postgresql, before)
    assert entered(patient_store) == entered(patient_store)
    assert len(done) == 1
    assert [count(patient_store, table) for table in ("runs", "run_pairs", "events")] == [1, 4, 1]


def test_what_may_be_in_the_log_already_is_not_written_twice(patient_store: Store, postgresql: PostgreSQL) -> None:
    run_id = entered(patient_store)
    done = cut(patient_store, postgresql, "COMMIT")
    with pytest.raises(LeaderboardError, match="cannot be used"):
        patient_store.note(run_id, "noted", "")
    assert len(done) == 1
    done = cut(patient_store, postgresql, "INSERT INTO events")
    patient_store.note(run_id, "noted", "")
    assert len(done) == 1
    assert [event.what for event in patient_store.history(run_id)[1]] == ["entered", "noted"]


WRITER = """
import sys
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN, add, mark
from harness_leaderboard.rows import seal_run
from harness_leaderboard.store import Store
with Store.open(sys.argv[1], create=True) as store:
    run_id = store.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS)
    print("ready", flush=True)
    for n in range(200):
        pair = PAIRS[n % 4]
        mark(store, run_id, pair.scene, pair.listener, f"{n:064}")
        add(store, pair.scene, pair.listener, n / 200, 0.5, file=f"{n:064}")
"""


def test_a_server_restarted_in_the_middle_of_other_peoples_work_loses_nothing(
    new_url: NewUrl, postgresql: PostgreSQL
) -> None:
    url = f"{new_url()}?timeout=60"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, url],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for how in ("fast", "immediate"):
        # In the middle: something was written since, and something is still to come.
        with Store.open(url, create=False) as store:
            before = count(store, "scores")
            while count(store, "scores") == before:
                assert any(writer.poll() is None for writer in writers)
                time.sleep(0.01)
        postgresql.stop(how)
        postgresql.start()
    for writer in writers:
        _, said = writer.communicate(timeout=300)
        assert writer.returncode == 0, said
    with Store.open(url, create=False) as store:
        assert [count(store, table) for table in ("runs", "remixes", "scores", "environments")] == [1, 200, 200, 1]
        assert [run.scored for run in store.runs()] == [4]
        assert store.find_run(1).changed == ()


# The tests' own server

KILLED = """
import os, signal
from services.postgresql import running_postgresql
with running_postgresql() as server:
    print(server.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_outlives_a_session_that_is_killed() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    folder = Path(killed.stdout.strip())
    assert folder.name.startswith("harness-postgresql-")
    deadline = time.monotonic() + 60

    def left() -> bool:
        return folder.exists() or any(
            str(folder) in " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
        )

    while left():
        assert time.monotonic() < deadline
        time.sleep(0.1)
