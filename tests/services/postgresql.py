"""A PostgreSQL of the tests' own, for as long as a test session lives: one server, a database for each test.

It lies in a folder of its own and listens on 127.0.0.1 only; nothing in /etc or /var is read or written. Root runs it
as the user `postgres`, anybody else as themselves. It is fast (fsync is off): what is committed
survives a crash of the server, but not of the machine.

A guard between the tests and the server ends it when the tests end, however they end:

    python tests/services/postgresql.py [SETTINGS]   # prints where it is; lives until its input is closed
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

PATIENCE = 120

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "40",
    "autovacuum": "off",
    "lc_messages": "C",
}


def programs() -> Path | None:
    """The folder of the newest server that is installed: Debian keeps them out of everybody's PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    somewhere = shutil.which("initdb")
    return None if somewhere is None else Path(somewhere).resolve().parent


def missing() -> str | None:
    """Why there can be no PostgreSQL here, if so."""
    if programs() is None:
        return "PostgreSQL is not installed (make services)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed (pip install 'cadenza-harness[postgresql]')"
    return None


@dataclass(frozen=True)
class PostgreSQL:
    """A server that runs.

    Attributes:
        folder: of its data and its log.
        port: on 127.0.0.1.
        password: of the user `harness`, who may make databases, and of the superuser `postgres`.
    """

    folder: Path
    port: int
    password: str
    _numbers: Iterator[int]

    def url(self, database: str, user: str = "harness") -> str:
        """URL of a database."""
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres", user: str = "postgres") -> list[Any]:
        """Execute a statement outside a transaction; returns its rows, if it has any."""
        import psycopg

        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """A database like `template` that belongs to `harness`; yields its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER harness TEMPLATE {template}")
        try:
            yield name
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def stop(self, how: str = "fast") -> None:
        """Stop the server: "fast" ends transactions, "immediate" is a crash."""
        _pg_ctl(self.folder, "stop", "-m", how)

    def start(self) -> None:
        """Start it again."""
        _pg_ctl(self.folder, "start", "-l", str(self.folder / "log"))


@contextmanager
def running_postgresql(**settings: str) -> Iterator[PostgreSQL]:
    """A server that ends when the context does, or when this process does; settings in place of `SETTINGS`."""
    # Somebody may take a port that was free a moment before.
    for _ in range(3):
        guard = subprocess.Popen(
            [sys.executable, __file__, json.dumps(settings)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert guard.stdout is not None
        if said := guard.stdout.readline():
            break
        problem = guard.communicate()[1]
    else:
        raise RuntimeError(f"PostgreSQL does not start: {problem}")
    told = json.loads(said)
    try:
        yield PostgreSQL(Path(told["folder"]), told["port"], told["password"], count(1))
    finally:
        guard.communicate(timeout=PATIENCE)  # closes its standard input


# The guard


def _guard(settings: dict[str, str]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    folder = Path(tempfile.mkdtemp(prefix="harness-postgresql-"))
    try:
        port, password = _start(folder, settings)
        print(json.dumps({"folder": str(folder), "port": port, "password": password}), flush=True)
        sys.stdin.read()
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            _pg_ctl(folder, "stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, settings: dict[str, str]) -> tuple[int, str]:
    password = secrets.token_hex(8)
    (folder / "password").write_text(password)
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        for path in (folder, folder / "password"):
            os.chown(path, account.pw_uid, account.pw_gid)
    _run(
        *(folder, "initdb", "--no-sync", "--no-instructions", "--username=postgres", "--auth=scram-sha-256"),
        *(f"--pwfile={folder / 'password'}", "--encoding=UTF8", "--locale=C.UTF-8", "-D", str(folder / "data")),
    )
    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = int(opened.getsockname()[1])
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in {**SETTINGS, **settings, "port": port}.items())
    _pg_ctl(folder, "start", "-l", str(folder / "log"))
    server = PostgreSQL(folder, port, password, count())
    server.execute(f"CREATE ROLE harness LOGIN CREATEDB PASSWORD '{password}'")
    return port, password


def _pg_ctl(folder: Path, what: str, *arguments: str) -> None:
    _run(folder, "pg_ctl", what, "-w", "-t", str(PATIENCE), "-s", "-D", str(folder / "data"), *arguments)


def _run(folder: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, which root must not."""
    where = programs()
    assert where is not None
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        other = {"user": "postgres", "group": "postgres", "extra_groups": []}
    # Its output goes to a file: a server keeps what it is given open.
    with (folder / f"{program}.log").open("wb") as log:
        done = subprocess.run(
            [where / program, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **other
        )
    if done.returncode:
        logs = [path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*log"))]
        raise SystemExit("\n".join([f"{program} {' '.join(arguments)} failed", *logs]))


if __name__ == "__main__":
    _guard(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
