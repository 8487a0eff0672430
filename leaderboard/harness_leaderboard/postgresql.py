"""A leaderboard in a PostgreSQL database, by psycopg 3: the same promises as those of an SQLite file.

- Writers take turns: a transaction that writes takes an advisory lock at its start, which is freed when it ends, or
  its process or connection does. That is what SQLite's BEGIN IMMEDIATE is, so what is read before it is written is
  still so then. Each statement sees what others have committed (READ COMMITTED).
- Readers wait for nobody, and see the database as it was when they began (REPEATABLE READ).
- Nothing waits for ever: for a lock, or for a server that is just restarted, as long as `?timeout=` says.
"""

import os
import re
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.migrations.triggers import OF_CHECKS, TRIGGERS, creating

DRIVER = "postgresql+psycopg"

WRITERS = 4702111234474983745
"""The advisory lock of those who write; any number that no other program in the database is likely to use."""

CONNECT_TIMEOUT = 10
"""Seconds to wait for a server that does not answer, unless the URL or PGCONNECT_TIMEOUT says otherwise."""

FORSAKEN = 600_000
"""Milliseconds after which the server ends a writer's transaction in which nothing happens: its machine may be gone,
and with it whoever could free the lock."""

KEEP_ALIVE = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6, "tcp_user_timeout": 120_000}
"""Firewalls keep connections on which something happens, and a server that is gone is noticed within two minutes."""

OURS = (
    "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
    " WHERE nspname = current_schema() AND pg_has_role(relowner, 'USAGE')"
)
"""Where to look for tables that we own. Names are compared as they are: a cast to regrole or regnamespace reads them as
SQL does, `Harness` as `harness`."""

_TROUBLE = {
    "55P03": (
        "is locked: another program is writing to it; wait for it or end it, "
        "or add ?timeout=SECONDS to the URL to wait longer"
    ),
    "42501": "does not let you do this ({cause}): have its owner GRANT it, or choose another --db",
    "25006": "is read-only ({cause}): choose another --db",
    "53100": "could not be written, the server's disk is full: free some space and repeat",
    "53200": "could not be used, the server is out of memory: repeat it later",
    "3D000": "cannot be opened ({cause}): make it with createdb, or choose another --db",
}
"""For the SQLSTATE of an error what follows the name of the database."""

_FULL = re.compile("too many (clients|connections)|connection slots")
_RESTARTING = re.compile("starting up|shutting down|recovery mode|not yet accepting")


def url_of(given: URL) -> URL:
    """The URL with the driver that is used; raise LeaderboardError for another driver."""
    if given.drivername not in ("postgres", "postgresql", DRIVER):
        raise LeaderboardError(
            f"the driver of {given.drivername} is not one that the harness was tested with: "
            "write postgresql://..., which uses psycopg 3"
        )
    return given.set(drivername=DRIVER)


def postgresql_engine(url: URL, writes: bool, timeout: float) -> Engine:
    """An engine whose transactions are those of this module.

    Args:
        url: see `url_of`; "timeout" among its options is not passed on.
        writes: False if nothing may be changed.
        timeout: seconds to wait for locks.

    Raises:
        LeaderboardError: the driver is not installed, or the URL has impossible options.
    """
    settings = dict(KEEP_ALIVE)
    if "PGCONNECT_TIMEOUT" not in os.environ:
        settings["connect_timeout"] = CONNECT_TIMEOUT
    # What the URL says comes first.
    settings = {name: value for name, value in settings.items() if name not in url.query}
    try:
        engine = create_engine(
            url.difference_update_query(["timeout"]),
            connect_args=settings,
            # An idle connection may have been cut meanwhile.
            pool_pre_ping=True,
            # Scores may be read after a leaderboard was closed, when nobody would close what a pool keeps.
            poolclass=None if writes else NullPool,
        )
    except ImportError as error:
        raise LeaderboardError(
            "the driver for PostgreSQL is not installed: pip install 'cadenza-harness[postgresql]', "
            "or use sqlite:///leaderboard.db"
        ) from error
    except ArgumentError as error:
        raise LeaderboardError("the URL of --db has impossible options: write it like postgresql://...") from error

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Dialect, _: object, arguments: Any, options: Any) -> DBAPIConnection:
        try:
            return dialect.connect(*arguments, **options)
        except UnicodeError:
            # Not an error of the driver's: Python raises it when it looks up a host like "db..example.org".
            raise LeaderboardError(
                f"{url.set(query={}).render_as_string()} cannot be used: "
                "no host can have such a name; check the spelling of the URL"
            ) from None

    # 0 would be for ever.
    wait = max(1, round(timeout * 1000))

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        if immediate:
            # One statement, one way to the server and back. Whoever waits longer than `wait` gets an error.
            # Databases and roles may have another default, with which a writer would see what was there before it
            # waited, and fail.
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = {wait}; SET LOCAL idle_in_transaction_session_timeout = {FORSAKEN};"
                f" SET TRANSACTION ISOLATION LEVEL READ COMMITTED{'' if writes else ' READ ONLY'};"
                f" SELECT pg_advisory_xact_lock({WRITERS})"
            )
        elif immediate is not None:
            connection.exec_driver_sql(
                f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = {wait}"
            )

    return engine


def look_at_tables(connection: Connection) -> None:
    """Have the server look at tables that have filled since it last did, if it ever did.

    By itself it comes round after a minute or more, and until then plans as for tables of a few rows: reading a run of
    19,200 scores that were just stored took 26 s instead of 0.7 s. Others than the owner of the tables may not do this.
    """
    filled = connection.exec_driver_sql(
        f"SELECT relname {OURS} AND relkind = 'r' AND reltuples <= 0 AND pg_relation_size(c.oid) > 0"
    )
    for (table,) in filled.all():
        connection.exec_driver_sql(f'ANALYZE "{table}"')


def repair(connection: Connection) -> None:
    """Give a database what the early revisions 0003 and 0004 gave SQLite files only.

    This is no revision of its own: that would make SQLite files, which lack nothing, be checked whole and closed to
    readers until somebody writes. Writers call it, which take turns. Others than the owner of the tables may not do
    this, and work without.
    """
    may = connection.exec_driver_sql(f"SELECT 1 {OURS} AND relname = 'runs' AND has_schema_privilege(n.oid, 'CREATE')")
    if may.first() is None:
        return
    found = connection.exec_driver_sql(
        "SELECT tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = current_schema()"
    )
    missing = {*TRIGGERS, *OF_CHECKS} - set(found.scalars())
    for name in sorted(missing):
        for statement in creating(name, "postgresql"):
            connection.exec_driver_sql(statement)
    if missing:
        # Nobody has deleted the sums of what was changed until now.
        connection.exec_driver_sql("DELETE FROM summaries")
    # 0003 copied runs with their numbers, which a sequence does not count.
    connection.exec_driver_sql(
        "SELECT setval(pg_get_serial_sequence('runs', 'id'), max(id)) FROM runs HAVING max(id) >"
        " coalesce(pg_sequence_last_value(pg_get_serial_sequence('runs', 'id')::regclass), 0)"
    )


def is_lost(error: Exception) -> bool:
    """Whether an error says that there is no connection to the server: it is down, full, or the way to it is cut.

    What was not committed by then is undone.
    """
    if not isinstance(error, DBAPIError) or getattr(error.orig, "sqlstate", None) == "3D000":
        return False
    if error.connection_invalidated:
        return True
    # Errors of connecting have no code.
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) is None


def is_passing(error: BaseException | None) -> bool:
    """Whether the server says, to whoever connects, that it will soon have time."""
    return bool(_FULL.search(str(error)) or _RESTARTING.search(str(error)))


def reason(error: BaseException | None) -> str:
    """What follows the name of the database in a message about an error; {cause} stands for the error's own words."""
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return _TROUBLE.get(code, "cannot be used: {cause}")
    if _FULL.search(str(error)):
        return (
            "has no free connection: have fewer programs use it at a time, raise its max_connections, "
            "or add ?timeout=SECONDS to the URL to wait longer"
        )
    return "cannot be used: {cause}"


def without_passwords(text: str, url: URL) -> str:
    """A server's or driver's message as it may be shown."""
    secrets = [url.password, *(value for name, value in url.query.items() if "pass" in name)]
    for secret in secrets:
        for each in secret if isinstance(secret, tuple) else (secret,):
            if each:
                text = text.replace(str(each), "***")
    return text
