"""What a PostgreSQL server refuses, or cannot do, is said in one line, at once, and without the password."""

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import pytest
from services.postgresql import PostgreSQL
from sqlalchemy import inspect
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN, mark, on_postgresql

from harness_leaderboard.database import parse_url
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.postgresql import postgresql_engine
from harness_leaderboard.records import PieceCost
from harness_leaderboard.store import Store

Start = Callable[..., int]
NewUrl = Callable[..., str]

pytestmark = [on_postgresql, pytest.mark.usefixtures("kind", "postgresql")]


# Connections


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


# Data


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
