"""What only a server can do: restart, cut connections, have no more of them, refuse. With the real thing."""

import logging
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from services.postgresql import PostgreSQL
from sqlalchemy import Connection, event, inspect, text
from stored import EVALUATION_SET, FILE, FINGERPRINT, PAIRS, RUN, add, count, mark, on_postgresql
from support import run_app

from harness_leaderboard.database import named, parse_url
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.postgresql import postgresql_engine
from harness_leaderboard.records import PieceCost
from harness_leaderboard.store import Store

Start = Callable[..., int]
NewUrl = Callable[..., str]

pytestmark = [on_postgresql, pytest.mark.usefixtures("kind", "postgresql")]


@pytest.fixture
def patient_store(new_url: NewUrl) -> Iterator[Store]:
    """An empty leaderboard that is waited for."""
    with Store.open(f"{new_url('template_leaderboard')}?timeout=60", create=True) as store:
        yield store


def entered(store: Store) -> int:
    return store.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS)


# Connections that end


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


# Waiting


def test_without_a_free_connection(url: str, store: Store, postgresql: PostgreSQL) -> None:
    postgresql.execute(f"ALTER DATABASE {store.engine.url.database} CONNECTION LIMIT 1")
    store.runs()
    with pytest.raises(LeaderboardError, match="has no free connection: have fewer programs use it at a time, raise"):
        Store.open(url, create=True)
    later = threading.Timer(0.5, store.close)
    later.start()
    with Store.open(url.replace("timeout=1", "timeout=60"), create=True) as other:
        assert other.runs() == []
    later.join()


def test_readers_see_one_moment_and_cannot_write(url: str, store: Store, start: Start) -> None:
    start()
    with Store.open(url, create=False) as reader:
        with reader.transaction(write=False) as connection:
            assert connection.scalar(text("SELECT count(*) FROM runs")) == 1
            start(key="b")
            assert connection.scalar(text("SELECT count(*) FROM runs")) == 1
        assert len(reader.runs()) == 2
        with pytest.raises(LeaderboardError, match=r"is read-only \(cannot execute INSERT in"):
            reader.note(1, "noted", "")


def test_the_server_looks_at_tables_that_have_filled(store: Store, start: Start) -> None:
    def unknown() -> set[str]:
        with store.engine.connect() as connection:
            found = connection.execute(
                text("SELECT relname FROM pg_class WHERE relname = ANY(:names) AND reltuples <= 0"),
                {"names": ["scores", "run_pairs", "remixes", "declarations"]},
            )
            return set(found.scalars())

    mark(store, start(), "S1", "L1")
    add(store, "S1", "L1", 0.1, 0.2)
    assert unknown() == {"scores", "run_pairs", "remixes", "declarations"}
    store.keep_summaries()
    assert unknown() == {"declarations"}


# What databases and roles may be like


@contextmanager
def role(server: PostgreSQL, name: str, database: str) -> Iterator[str]:
    """The URL of a database for a role that writes into a schema called Team."""
    quoted = '"' + name.replace('"', '""') + '"'
    server.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD '{server.password}'")
    try:
        server.execute(f'CREATE SCHEMA "Team" AUTHORIZATION {quoted}', database)
        server.execute(f'ALTER ROLE {quoted} SET search_path = "Team"')
        yield server.url(database, quote(name, safe=""))
    finally:
        server.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}", database)


@pytest.mark.parametrize("name", ["Harness", "john.doe@corp.org", 'a "b" c'])
def test_names_that_have_to_be_quoted(postgresql: PostgreSQL, name: str) -> None:
    with postgresql.database() as database, role(postgresql, name, database) as url:
        with Store.open(url, create=True) as store:
            mark(store, entered(store), "S1", "L1")
            add(store, "S1", "L1", 0.1, 0.2)
            store.keep_summaries()
        with Store.open(url, create=True) as store:
            assert [run.scored for run in store.runs()] == [1]
        looked_at = "SELECT relnamespace::regnamespace::text, reltuples FROM pg_class WHERE relname = 'scores'"
        assert postgresql.execute(looked_at, database) == [('"Team"', 1.0)]


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_the_second_of_two_writers_sees_what_the_first_wrote(
    url: str, start: Start, store: Store, postgresql: PostgreSQL, isolation: str
) -> None:
    run_id = start()
    database = store.engine.url.database
    postgresql.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'")
    waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    patient = url.replace("timeout=1", "timeout=60")
    with (
        Store.open(patient, create=True) as first,
        Store.open(patient, create=True) as second,
        ThreadPoolExecutor(1) as thread,
    ):
        with first.transaction(write=True) as connection:
            marked = thread.submit(mark, second, run_id, "S1", "L1")
            deadline = time.monotonic() + 30
            while not postgresql.execute(waiting):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            connection.execute(text("UPDATE run_pairs SET clipped = 1"))
        marked.result()
        assert second.find_run(run_id).pairs["S1", "L1"].file_sha256 == FILE


# What a server refuses


@pytest.mark.parametrize("create", [True, False])
def test_what_is_not_there_is_said_at_once(new_url: NewUrl, postgresql: PostgreSQL, create: bool) -> None:
    url = new_url()
    closed = url.replace(f":{postgresql.port}/", ":9/")
    for given, says in (
        (closed, "cannot be used: connection failed: .*refused"),
        (f"{url}_not", 'cannot be used: connection failed: .*database "test_.*_not" does not exist'),
        (url.replace("harness:", "nobody:"), "cannot be used: connection failed: .*password authentication failed"),
        (url.replace(postgresql.password, "s3cret"), "cannot be used: connection failed: .*authentication failed"),
        (f"{url}?sslmode=s3cret", "cannot be used: .*invalid sslmode value"),
        (f"{url}?nonsense=1", "cannot be used: .*invalid connection option"),
    ):
        began = time.monotonic()
        with pytest.raises(LeaderboardError, match=says) as caught:
            Store.open(given, create=create)
        # The timeout is 30 s.
        assert time.monotonic() - began < 25
        assert "\n" not in str(caught.value)
        told = "".join(traceback.format_exception(caught.value))
        assert postgresql.password not in told
        assert "s3cret" not in told or "sslmode" in given


@pytest.mark.parametrize("host", ["db..example.org", f"{'x' * 64}.example.org", ".example.org"])
@pytest.mark.parametrize("create", [True, False])
def test_a_host_that_is_none_is_said_in_one_line(host: str, create: bool) -> None:
    url = f"postgresql://harness:s3cret@{host}/harness"
    with pytest.raises(LeaderboardError, match=r"\*\*\*@.* cannot be used: no host can have such a name") as caught:
        Store.open(url, create=create)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_a_password_in_what_the_driver_says_is_left_out(new_url: NewUrl) -> None:
    url = new_url().replace("harness:", "s3cret:", 1).partition("@")
    given = f"postgresql://s3cret:s3cret@{url[2]}"
    with pytest.raises(LeaderboardError, match="authentication failed") as caught:
        Store.open(given, create=False)
    # Whoever is called as their password is not called anything.
    assert "s3cret" not in str(caught.value).partition("cannot be used")[2]


def test_a_server_that_does_not_answer_is_not_waited_for_long() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://user:s3cret@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"
        with pytest.raises(LeaderboardError, match="cannot be used: connection timeout expired"):
            Store.open(url, create=False)


def test_connections_are_set_up(new_url: NewUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(url: str) -> dict[str, str]:
        with Store.open(url, create=True) as store, store.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            return dict(driver.info.get_parameters())

    url = new_url()
    names = ("connect_timeout", "keepalives_idle", "tcp_user_timeout")
    found = settings(url)
    assert [found[name] for name in names] == ["10", "60", "120000"]
    found = settings(f"{url}?connect_timeout=7&keepalives_idle=9")
    assert [found[name] for name in names] == ["7", "9", "120000"]
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "8")
    assert settings(url)["connect_timeout"] == "8"


def test_rights(url: str, store: Store, start: Start, postgresql: PostgreSQL) -> None:
    start()
    database = str(store.engine.url.database)
    postgresql.execute(f"CREATE ROLE {database}_guest LOGIN PASSWORD '{postgresql.password}'")
    theirs = url.replace("harness:", f"{database}_guest:")
    says = r"does not let you do this \(permission denied for .*\): have its owner GRANT it"
    try:
        with pytest.raises(LeaderboardError, match=says):
            Store.open(theirs, create=False)
        postgresql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {database}_guest", database)
        with Store.open(theirs, create=False) as guest:
            assert len(guest.runs()) == 1
        with pytest.raises(LeaderboardError, match=says):
            Store.open(theirs, create=True)
    finally:
        postgresql.execute(f"DROP OWNED BY {database}_guest; DROP ROLE {database}_guest", database)


def test_the_database_of_another_program_is_left_as_it_is(new_url: NewUrl) -> None:
    url = new_url()
    engine = postgresql_engine(parse_url(url), True, 1)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE books (title TEXT)")
    for create in (True, False):
        with pytest.raises(LeaderboardError, match=r"holds the data of another program: choose another --db"):
            Store.open(url, create=create)
    assert inspect(engine).get_table_names() == ["books"]
    engine.dispose()


def test_numbers_that_are_too_large_are_refused(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1", clipped=2**40)
    assert store.find_run(run_id).pairs["S1", "L1"].clipped == 2**40
    with pytest.raises(LeaderboardError, match=r"refused impossible data, nothing was stored: .*out of range"):
        mark(store, run_id, "S1", "L1", clipped=2**63)
    with pytest.raises(LeaderboardError, match="out of range"):
        store.keep_costs(run_id, [PieceCost("x", 1.0, 1.0, 2**70)])
    with pytest.raises(LeaderboardError, match="out of range"):
        store.start_run(RUN, replace(EVALUATION_SET, sha256="x", scenes=2**31), FINGERPRINT, {}, PAIRS)
    with pytest.raises(LeaderboardError, match="refused impossible data, nothing was stored: invalid input syntax"):
        start(settings={"gain": float("nan")})


def test_urls_as_cloud_providers_print_them(url: str) -> None:
    for scheme in ("postgres", "postgresql+psycopg"):
        given = url.replace("postgresql", scheme, 1)
        Store.open(given, create=True).close()
        with Store.open(given, create=False) as store:
            assert store.name == named(parse_url(url))
            assert "***" in store.name


def test_the_command_line(url: str, store: Store, start: Start, postgresql: PostgreSQL, tmp_path: Path) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.1 + 0.2, 1 / 3)
    given = url.replace("postgresql:", "postgres:")
    board = run_app("leaderboard", "--json", "--db", given)
    assert (board.code, board.stderr, [line["scored"] for line in board.json]) == (0, "", [1])
    # To a file, and from it into another database, nothing is lost.
    exported = run_app("runs", "export", tmp_path / "export.db", "--db", given)
    assert exported.code == 0, exported.stderr
    assert run_app("leaderboard", "--json", "--db", tmp_path / "export.db").json == board.json
    with postgresql.database() as other:
        there = postgresql.url(other)
        imported = run_app("runs", "import", tmp_path / "export.db", "--reason", "moved", "--db", there)
        assert imported.code == 0, imported.stderr
        assert run_app("leaderboard", "--json", "--db", there).json == board.json
    said = [exported.stdout, imported.stdout, exported.stderr, imported.stderr]
    for wrong in (given.replace(postgresql.password, "s3cret"), given.replace("harness:", "s/3cret:")):
        refused = run_app("runs", "--db", wrong)
        assert (refused.code != 0, refused.stderr.count("\n")) == (True, 1)
        said.append(refused.stderr)
    assert not [text for text in said if postgresql.password in text or "3cret" in text]


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
