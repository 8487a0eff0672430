"""With a real server: its connections, transactions, databases and roles, and the command line."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from services.postgresql import PostgreSQL
from sqlalchemy import text
from stored import FILE, add, entered, mark, on_postgresql
from support import run_app

from harness_leaderboard.database import named, parse_url
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.store import Store

Start = Callable[..., int]
NewUrl = Callable[..., str]

pytestmark = [on_postgresql, pytest.mark.usefixtures("kind", "postgresql")]


# Connections


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


# Transactions and tables


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
