"""Connections to a database: reading its URL, opening it, and saying in one line what is wrong with it.

Conventions of a leaderboard's URL are those of `store`; what is peculiar to PostgreSQL is in `postgresql`. For SQLite,
connections start no transaction by themselves: the engine's "begin" does, with a lock from the start where the
execution option `immediate` is set.
"""

import math
import os
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from harness_leaderboard import postgresql
from harness_leaderboard.errors import LeaderboardError

DEFAULT_TIMEOUT = 30.0
"""Seconds to wait for another process that is writing."""

MAKE_ONE = "harness run --system NAME makes one"

_SQLITE_TROUBLE = {
    sqlite3.SQLITE_ERROR: "is damaged or was changed by another program ({cause}): put back a copy",
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


OTHERS = ("mysql", "mariadb", "mssql", "oracle", "cockroachdb", "duckdb", "snowflake", "redshift")
"""Databases that people may think of, and that the leaderboard was never tested with."""


def trouble(name: str, cause: BaseException | None) -> LeaderboardError:
    """The error to raise for what the database called `name` reports."""
    if not isinstance(cause, sqlite3.Error) and hasattr(cause, "sqlstate"):
        return LeaderboardError(f"{name} " + postgresql.reason(cause).format(cause=one_line(cause)))
    # The low byte is the kind of error, the rest a detail of it.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    reason = _SQLITE_TROUBLE.get(code, "cannot be used: {cause}")
    if isinstance(cause, sqlite3.Error) and "Could not decode to UTF-8" in str(cause):
        reason = _SQLITE_TROUBLE[sqlite3.SQLITE_CORRUPT]
    closed = _closed(Path(name)) if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) else []
    if closed:
        reason = f"cannot be opened: {' and '.join(closed)} beside it belongs to another user; make it yours (chown)"
    return LeaderboardError(f"{name} " + reason.format(cause=one_line(cause), beside=Path(name).parent))


def damaged(name: str) -> LeaderboardError:
    """The error to raise for a database whose content makes no sense."""
    return LeaderboardError(f"{name} {_SQLITE_TROUBLE[sqlite3.SQLITE_CORRUPT]}")


def _closed(path: Path) -> list[str]:
    """The files that SQLite keeps beside a database and that we may not use, where we may use the database itself."""
    if not may(path, os.R_OK | os.W_OK):
        return []
    beside = (path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm", "journal"))
    return [file.name for file in beside if file.exists() and not may(file, os.R_OK | os.W_OK)]


def may(path: Path, mode: int) -> bool:
    """Whether this process may read or write a file (`os.R_OK`, `os.W_OK`)."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def shown(url: str) -> str:
    """A URL as messages may quote it: what could be a password, wherever it stands, is left out."""
    if "@" not in url and (url.startswith("sqlite:") or not re.search(r"://|\?", url)):
        return repr(url)
    scheme = re.match(r"[\w+.-]+://", url)
    return repr(f"{scheme[0] if scheme else ''}***")


def parse_url(url: str) -> URL:
    """Read a database URL; raise LeaderboardError if it is none."""
    example = "write it like sqlite:///leaderboard.db"
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend in ("postgres", "postgresql"):
            # Else what follows is taken for the host, which messages name.
            if re.search(r"[@/?#]", url.partition("://")[2].rpartition("@")[0]):
                raise LeaderboardError(
                    f"{shown(url)} is not the URL of a database: "
                    "write @, /, ? and # in a user's name or password as %40, %2F, %3F and %23"
                )
            return postgresql.url_of(parsed)
        if backend in OTHERS:
            raise LeaderboardError(
                f"{backend} databases are refused until they are tested: "
                "use an SQLite file (sqlite:///leaderboard.db) or PostgreSQL (postgresql://user@host/database)"
            )
        dialect = parsed.get_dialect()
    except (ArgumentError, ImportError, NoSuchModuleError, ValueError):
        raise LeaderboardError(f"{shown(url)} is not the URL of a database: {example}") from None
    if backend != "sqlite":
        raise LeaderboardError(f"{shown(url)} is not the URL of a database that can be used here: {example}")
    # What follows a question mark is options; where it is part of a name, another file would be opened.
    _, mark, options = url.partition("?")
    if mark and not re.fullmatch(r"timeout=[^?&/]*(&timeout=[^?&/]*)*", options):
        raise LeaderboardError(
            f"{shown(url)} is not the URL of an SQLite file, and a path must not contain '?': "
            f"{example}[?timeout=SECONDS]"
        )
    if dialect.driver != "pysqlite" or parsed.host or parsed.username or set(parsed.query) - {"timeout"}:
        raise LeaderboardError(f"{shown(url)} is not the URL of an SQLite file: {example}[?timeout=SECONDS]")
    if not parsed.database or parsed.database == ":memory:":
        raise LeaderboardError(f"{shown(url)} names no file, and a leaderboard has to be kept: {example}")
    return parsed


def named(url: URL) -> str:
    """What messages call a database that is no file: its URL, without passwords and options."""
    return url.set(query={}).render_as_string(hide_password=True)


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
    """Raise LeaderboardError for a path where SQLite would only say that it cannot open it, or wait for ever."""
    try:
        if path.is_dir():
            raise LeaderboardError(f"{path} is a folder: name a file in it, like {path / 'leaderboard.db'}")
        if path.exists() and not path.is_file():
            raise LeaderboardError(f"{path} is a device or a pipe, not a file: choose another --db")
        if create and not path.parent.is_dir():
            raise LeaderboardError(f"folder {path.parent} does not exist: make it, or choose another --db")
        if not create and not path.exists():
            raise LeaderboardError(f"no leaderboard at {path} yet: {MAKE_ONE}")
    except OSError as error:
        raise LeaderboardError(f"{path} cannot be opened: {error.strerror}; choose another --db") from error


def sqlite_engine(path: Path, create: bool, timeout: float) -> Engine:
    """An engine whose connections enforce foreign keys and wait for locks, read-only unless `create`."""
    path = path.absolute()
    alone = Alone(path)

    def connect() -> sqlite3.Connection:
        return _connect(path, "rwc", timeout) if create else connect_to_read(path, timeout, alone)

    # Scores may be read after a leaderboard was closed (`records.ScoredRun.scores`): a connection that a pool keeps
    # would stay open then, and leave its files beside the database.
    engine = create_engine("sqlite://", creator=connect, poolclass=None if create else NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        alone.check()
        # A transaction that reads first and writes later cannot wait for a lock without risking that what it
        # has read is no longer so; SQLite then fails at once. Those that write therefore lock at the start.
        options = connection.get_execution_options()
        if options.get("migrate"):
            # A migration may replace a table by a changed copy. Dropping the old one would else delete all that
            # refers to it: the pairs and scores of every run. This cannot be switched within a transaction.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("immediate") else "BEGIN")

    @event.listens_for(engine, "commit")
    def commit(_: Connection) -> None:
        alone.check()

    return engine


def connect_to_read(path: Path, timeout: float = DEFAULT_TIMEOUT, alone: "Alone | None" = None) -> sqlite3.Connection:
    """A connection that cannot write, and leaves nothing beside the database.

    Whoever may write opens it like a writer: SQLite then removes its log and its index when the last one closes the
    database. Whoever may not would leave these files behind, and shut out the owner. Where they are not there already
    nobody is writing and no change is outside the database, so that it can be read as it is.

    Args:
        path: absolute.
        timeout: seconds to wait for a lock.
        alone: told where the database is read as it is, so without locks.

    Raises:
        LeaderboardError: there are changes outside the database that cannot be read.
    """
    if may(path, os.W_OK) and may(path.parent, os.W_OK):
        return _connect(path, "rw", timeout, reads_only=True)
    log, index = (path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm"))
    if log.exists() and index.exists():
        return _connect(path, "ro", timeout)
    if log.exists() and log.stat().st_size > 0:
        raise LeaderboardError(
            f"{path} cannot be opened: changes in {log.name} cannot be read without {index.name}; "
            "have its owner run harness leaderboard, or copy both files to a folder that you may write in"
        )
    if alone is not None:
        alone.begin()
    return _connect(path, "ro&immutable=1", timeout)


class Alone:
    """Sees to it that a database that is read without locks is not written to meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before: tuple[int, ...] | None = None

    def begin(self) -> None:
        """From now on it must not change."""
        self._before = self._before or self._state()

    def check(self) -> None:
        """Raise LeaderboardError if it has changed."""
        if self._before is not None and self._before != self._state():
            raise LeaderboardError(f"{self._path} was written to while it was read: run the command again")

    def _state(self) -> tuple[int, ...]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino


def _connect(path: Path, mode: str, timeout: float, reads_only: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions: `begin` above starts them."""
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        # Damaged pages are noticed, and what a stranger's database says in its schema is not executed with our rights.
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        if reads_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


CHECKED_WHOLE = 32_000_000
"""Bytes up to which a database is checked whole whenever it is opened, which takes up to 0.2 s."""

READ_BY_BOARDS = ("alembic_version", "evaluation_sets", "evaluators", "runs", "summaries", "events", "declarations")
"""Small tables, which are checked in any database."""


def check_structure(connection: Connection, path: Path, name: str, whole: bool) -> None:
    """Have SQLite look whether a database is put together as it can be.

    Costs, by `python benchmarks/commands.py` on two shared cores: 0.33 s for 10 runs of 19,200 scores (66 MB), 4.1 s
    for 100 (617 MB), that is some 6 ms for each MB. That is too long to wait for whenever a board is shown, so of
    databases larger than `CHECKED_WHOLE` only the tables that boards are read from are checked (11 ms for 100 runs).
    What is wrong with the scores in them their checksums tell; `harness runs audit` and `import` check any size whole.

    Args:
        connection: to the database.
        path: of its file.
        name: what messages call it.
        whole: check it whole, whatever its size.

    Raises:
        LeaderboardError: it is damaged.
    """
    whole = whole or path.stat().st_size <= CHECKED_WHOLE
    for check in ("quick_check(1)",) if whole else tuple(f"quick_check('{table}')" for table in READ_BY_BOARDS):
        if connection.exec_driver_sql(f"PRAGMA {check}").scalar() != "ok":
            raise damaged(name)


def use_write_ahead_log(path: Path, timeout: float) -> None:
    """Switch a database to a write-ahead log; it stays so, and nothing happens if it is so already."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with closing(_connect(path.absolute(), "rw", timeout)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.Error as error:
            # SQLite does not wait by itself here if another process is just making the same switch.
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise trouble(str(path), error) from error
            time.sleep(0.05)


def one_line(error: BaseException | None) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), "")
