"""Opening a database: looking whether it is a leaderboard, bringing it up to date, and transactions."""

import functools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy import Engine as DatabaseEngine
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from harness_leaderboard import postgresql
from harness_leaderboard.database import (
    DEFAULT_TIMEOUT,
    MAKE_ONE,
    check_path,
    check_structure,
    damaged,
    named,
    one_line,
    parse_url,
    sqlite_engine,
    trouble,
    use_write_ahead_log,
    wait_time,
)
from harness_leaderboard.errors import LeaderboardError, Unreachable
from harness_leaderboard.migrations import REVISIONS

if TYPE_CHECKING:
    from alembic.config import Config

# A child of the program's, which decides what is shown.
log = logging.getLogger("harness.leaderboard")

Result = TypeVar("Result")
Method = TypeVar("Method", bound=Callable[..., Any])

NOT_OURS = (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading raises where the values in a database are of no kind that a leaderboard writes."""


def patient(repeatable: bool) -> Callable[[Method], Method]:
    """A method of an open database that waits for a server that was restarted, or to which the connection was cut.

    What was not committed is undone then, so the method is called again, until the timeout of the database's URL is
    over. SQLite files have no server.

    Args:
        repeatable: whether doing it twice is the same as doing it once. Otherwise it is not done again where the
            connection was lost while it was committed.
    """

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def patiently(self: "OpenDatabase", *args: Any, **kwargs: Any) -> Any:
            return self.patiently(lambda: method(self, *args, **kwargs), repeatable)

        return cast(Method, patiently)

    return decorate


class OpenDatabase:
    """A database that holds a leaderboard, open. `store.Store` is what reads and writes it."""

    def __init__(
        self, engine: DatabaseEngine, name: str, path: Path | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        self.engine = engine
        self.timeout = timeout
        """Seconds to wait for others that write, and for a server that is not there."""
        self.name = name
        """What messages call the database: the path of the file, or the URL without its password."""
        self.path = path
        """Where the file lies, whatever the working folder becomes; None if the database is no file."""

        @event.listens_for(engine, "handle_error")
        def note(context: ExceptionContext) -> None:
            # While two databases are merged, the trouble of one passes through the transaction of the other.
            if context.sqlalchemy_exception is not None:
                vars(context.sqlalchemy_exception)["database"] = self.name

    @classmethod
    def open(cls, url: str, create: bool) -> Self:
        """Open a leaderboard.

        Args:
            url: see `store`.
            create: True to write: the database is made if there is none, and brought up to date if it is
                older. False to read: no data is changed and nothing is left beside the file, which may be read-only.

        Raises:
            LeaderboardError: the URL is malformed; there is no such database or folder; it is not a
                leaderboard, damaged, from a newer version, older and not to be written, read-only, or locked.
        """
        parsed = parse_url(url)
        timeout = wait_time(parsed)
        if parsed.get_backend_name() == "sqlite":
            path = Path(str(parsed.database))
            check_path(path, create)
            store = cls(sqlite_engine(path, create, timeout), str(path), path.absolute(), timeout)
        else:
            store = cls(postgresql.postgresql_engine(parsed, create, timeout), named(parsed), timeout=timeout)
        try:
            store.patiently(lambda: store._look(create), repeatable=True, opening=True)
            if create and store.engine.name == "sqlite":
                # The connection that migrates does not enforce foreign keys: it must not be used again.
                store.engine.dispose()
                use_write_ahead_log(path.absolute(), timeout)
        except BaseException:
            store.close()
            raise
        return store

    def _look(self, create: bool) -> None:
        with self.transaction(write=create, migrate=create) as connection:
            self._bring_up_to_date(connection, create)

    def patiently(self, work: Callable[[], Result], repeatable: bool, opening: bool = False) -> Result:
        """Do what begins a transaction; see `patient`. On `opening`, only where the server says that it soon has time:
        it may not be there at all."""
        deadline, pause, said = time.monotonic() + self.timeout, 0.1, False
        while True:
            try:
                return work()
            except Unreachable as error:
                hopeless = (opening and not error.passing) or (error.doubtful and not repeatable)
                if hopeless or time.monotonic() + pause > deadline:
                    raise
                if not said:
                    log.warning("%s; trying again for %g s ...", error, self.timeout)
                said = True
                time.sleep(pause)
                pause = min(2.0, pause * 1.5)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, write: bool, migrate: bool = False) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any error; trouble is a LeaderboardError."""
        committing = False
        try:
            with self.engine.execution_options(immediate=write, migrate=migrate).begin() as connection:
                yield connection
                committing = write
        except UnicodeDecodeError as error:
            # Of text that is damaged, even SQLite's messages cannot be read.
            raise damaged(self.name) from error
        except OverflowError as error:
            raise LeaderboardError(f"{self.name} has no room for a number that large, nothing was stored") from error
        except (DataError, IntegrityError) as error:
            raise LeaderboardError(
                f"{self._troubled(error)} refused impossible data, nothing was stored: {one_line(error.orig)}"
            ) from error
        except SQLAlchemyError as error:
            raise self._trouble(error, committing) from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads: what no leaderboard writes (words for numbers, text that is no JSON) is damage."""
        with self.transaction(write=False) as connection:
            try:
                yield connection
            except NOT_OURS as error:
                raise damaged(self.name) from error

    def check(self) -> None:
        """Have the database check how the file is put together, all of it, however long that takes.

        Raises:
            LeaderboardError: it is damaged.
        """
        if self.path is not None:
            with self.transaction(write=False) as connection:
                check_structure(connection, self.path, self.name, whole=True)

    def look_at_tables(self, connection: Connection) -> None:
        """Have a server notice what was stored; see `postgresql`."""
        if self.path is None:
            postgresql.look_at_tables(connection)

    def _trouble(self, error: SQLAlchemyError, committing: bool) -> LeaderboardError:
        """What to raise for an error of the database."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        told = trouble(self._troubled(error), cause)
        if self.path is not None:
            return told
        said = postgresql.without_passwords(str(told), self.engine.url)
        if said != str(told):
            # Nor may a traceback show it.
            error.__cause__ = error.__context__ = None
            error.args = (said,)
        if postgresql.is_lost(error):
            return Unreachable(said, committing, postgresql.is_passing(cause))
        return LeaderboardError(said)

    def _troubled(self, error: SQLAlchemyError) -> str:
        """The name of the database that an error comes from."""
        return str(vars(error).get("database", self.name))

    def _bring_up_to_date(self, connection: Connection, create: bool) -> None:
        """Check that the database is one of ours, and migrate it to the newest revision if `create`."""
        try:
            revision = self._revision(connection, create)
            outdated = revision != REVISIONS[-1]
            if self.path is not None and revision is not None and (create or not outdated):
                # A migration reads and writes everything, so everything has to be sound.
                check_structure(connection, self.path, self.name, whole=outdated)
        except NOT_OURS as error:
            raise damaged(self.name) from error
        if not outdated and create:
            # Of a read-only file SQLite says so at the first statement that could write, this one, and not
            # when the transaction begins.
            connection.execute(text("DELETE FROM alembic_version WHERE 1 = 0"))
        elif outdated and not create:
            raise LeaderboardError(
                f"{self.name} was written by an older version: "
                "harness run or harness score brings it up to date, keep a copy before"
            )
        elif outdated:
            # Imported here since it takes longer than everything else, and is hardly ever needed.
            from alembic import command

            command.upgrade(alembic_config(connection), "head")
        if create and self.path is None:
            postgresql.repair(connection)
            postgresql.look_at_tables(connection)

    def _revision(self, connection: Connection, create: bool) -> str | None:
        """The revision that a database is at; None if it is empty and may be filled."""
        tables = set(inspect(connection).get_table_names())
        if "alembic_version" not in tables:
            if tables:
                raise LeaderboardError(f"{self.name} holds the data of another program: choose another --db")
            if not create:
                raise LeaderboardError(f"no leaderboard at {self.name} yet: {MAKE_ONE}")
            return None
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if not tables >= {"runs", "scores", "evaluation_sets"}:
            raise LeaderboardError(f"{self.name} holds the data of another program: choose another --db")
        if revision not in REVISIONS:
            raise LeaderboardError(
                f"{self.name} was written by a newer version (revision {revision}): "
                "update this program, or choose another --db"
            )
        return str(revision)


def alembic_config(connection: Connection) -> "Config":
    """What Alembic's commands need to work on a connection. There is no alembic.ini."""
    from alembic.config import Config

    config = Config()
    # Alembic reads "%" as the start of a substitution.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
