"""Connections to a database: reading its URL, opening it, and saying in one line what is wrong with it.

Conventions of a leaderboard's URL are those of `store`. For SQLite, connections start no transaction by
themselves: the engine's "begin" does, with a lock from the start where the execution option `immediate` is set.
"""

import math
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from harness_leaderboard.errors import LeaderboardError

DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for another process that is writing."""

MAKE_ONE = "harness run --system NAME makes one"

_SQLITE_TROUBLE = {
    sqlite3.SQLITE_BUSY: (
        "is locked: another program is writing to it; wait for it or close it, "
        "or add ?timeout=SECONDS to the URL to wait longer"
    ),
    sqlite3.SQLITE_READONLY: ("is read-only: make the file and its folder {beside} writable, or choose another --db"),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened: it needs a file that you may read and a folder {beside} that you may write in; "
        "change the permissions, or choose another --db"
    ),
    sqlite3.SQLITE_FULL: "could not be written, the disk is full: free some space and repeat",
    sqlite3.SQLITE_IOERR: (
        "could not be read or written, the disk is full or failing ({cause}): free some space and repeat"
    ),
    sqlite3.SQLITE_CORRUPT: "is damaged: put back a copy, or move it away and start a new one",
    sqlite3.SQLITE_NOTADB: (
        "is not a database or its beginning is damaged: choose another --db, put back a copy, or move it away"
    ),
}
"""For kinds of SQLite errors what follows the name of the database."""


def trouble(name: str, cause: BaseException | None) -> LeaderboardError:
    """The error to raise for what the database called `name` reports."""
    # The low byte is the kind of error, the rest a detail of it.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    reason = _SQLITE_TROUBLE.get(code, "cannot be used: {cause}")
    return LeaderboardError(f"{name} " + reason.format(cause=one_line(cause), beside=Path(name).parent))


def parse_url(url: str) -> URL:
    """Read a database URL; raise LeaderboardError if it is none."""
    example = "write it like sqlite:///leaderboard.db"
    try:
        parsed = make_url(url)
        dialect = parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise LeaderboardError(f"{url!r} is not the URL of a database: {example}") from None
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if dialect.driver != "pysqlite" or parsed.host or parsed.username or set(parsed.query) - {"timeout"}:
        raise LeaderboardError(f"{url!r} is not the URL of an SQLite file: {example}[?timeout=SECONDS]")
    if not parsed.database or parsed.database == ":memory:":
        raise LeaderboardError(f"{url!r} names no file, and a leaderboard has to be kept: {example}")
    return parsed


def wait_time(url: URL) -> float:
    """Seconds to wait for a lock: from the URL, or the default."""
    given = url.query.get("timeout", str(DEFAULT_TIMEOUT))
    try:
        timeout = float(str(given))
    except ValueError:
        timeout = math.nan
    if not 0 <= timeout <= 86400:
        raise LeaderboardError(f"timeout={given} of --db: expected seconds from 0 to 86400")
    return timeout


def check_path(path: Path, create: bool) -> None:
    """Raise LeaderboardError for a path where SQLite would only say that it cannot open it."""
    try:
        if path.is_dir():
            raise LeaderboardError(f"{path} is a folder: name a file in it, like {path / 'leaderboard.db'}")
        if create and not path.parent.is_dir():
            raise LeaderboardError(f"folder {path.parent} does not exist: make it, or choose another --db")
        if not create and not path.exists():
            raise LeaderboardError(f"no leaderboard at {path} yet: {MAKE_ONE}")
    except OSError as error:
        raise LeaderboardError(f"{path} cannot be opened: {error.strerror}; choose another --db") from error


def sqlite_engine(path: Path, create: bool, timeout: float) -> Engine:
    """An engine whose connections enforce foreign keys and wait for locks, read-only unless `create`."""

    def connect() -> sqlite3.Connection:
        if create:
            return _connect(path, "rwc", timeout)
        connection = _connect(path, "ro", timeout)
        try:
            # The first look at the file; opening alone does not touch it.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            log = path.with_name(path.name + "-wal")
            unopened = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not unopened or (log.exists() and log.stat().st_size > 0):
                raise
            # In a folder that it may not write in, SQLite cannot make the files that it coordinates with
            # writers by. Without a log there are no changes outside the file, so it can be read as it is.
            connection = _connect(path, "ro&immutable=1", timeout)
        return connection

    engine = create_engine("sqlite://", creator=connect)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for a lock without risking that what it
        # has read is no longer so; SQLite then fails at once. Those that write therefore lock at the start.
        options = connection.get_execution_options()
        if options.get("migrate"):
            # A migration may replace a table by a changed copy. Dropping the old one would else delete all that
            # refers to it: the pairs and scores of every run. This cannot be switched within a transaction.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")

    return engine


def _connect(path: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """A connection without implicit transactions: `begin` above starts them."""
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def use_write_ahead_log(path: Path, timeout: float) -> None:
    """Switch a database to a write-ahead log; it stays so, and nothing happens if it is so already."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with closing(_connect(path, "rw", timeout)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as error:
            # SQLite does not wait by itself here if another process is just making the same switch.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise trouble(str(path), error) from error
            time.sleep(0.05)


def other_engine(url: URL) -> Engine:
    """An engine for anything that is not SQLite."""
    try:
        return create_engine(url)
    except ImportError as error:
        raise LeaderboardError(
            f"the driver for {url.drivername} databases is not installed ({error.name}): "
            f"pip install {error.name}, or use sqlite:///leaderboard.db"
        ) from error


def one_line(error: BaseException | None) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), "")
