"""A PostgreSQL of the tests' own, on 127.0.0.1, that can be restarted while others use it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from services.guard import Guard, daemon, free_ports, guard, guarded, wait_for

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def missing() -> str | None:
    """Why there can be no PostgreSQL here, if so."""
    return None if PROGRAMS else "postgresql not installed (make services)"


class PostgreSQL:
    """A PostgreSQL that runs."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._server = (guard.folder / "server").read_text()

    def database(self, name: str) -> str:
        """The URL of a new database."""
        with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        return f"{self._server}/{name}".replace("postgresql:", "postgresql+psycopg:")

    def stop(self) -> None:
        """Stop it; all connections break."""
        self._guard.ask("stop")

    def start(self) -> None:
        """Start it again."""
        self._guard.ask("start")


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL that ends when the context does, or when this process does."""
    with guarded("cluster.database") as found:
        yield PostgreSQL(found)


# Within the guard

# It refuses to run as root.
_USER = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
_OPTIONS = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]


def _start(folder: Path) -> None:
    if _USER:
        import pwd

        os.chown(folder, pwd.getpwnam("postgres").pw_uid, -1)
    made = subprocess.run(
        [PROGRAMS[-1] / "initdb", "-D", folder / "data", "-U", "harness", "--auth=trust", "--encoding=UTF8",
         "--locale=C.UTF-8", "--no-sync"],
        cwd=folder, env={**os.environ, "HOME": str(folder)}, capture_output=True, text=True, **_USER,
    )  # fmt: skip
    if made.returncode:
        raise SystemExit(made.stderr)
    (port,) = free_ports(1)
    (folder / "server").write_text(f"postgresql://harness@127.0.0.1:{port}")
    _serve(folder)


_server: "subprocess.Popen[bytes] | None" = None


def _serve(folder: Path) -> None:
    global _server
    url = (folder / "server").read_text()
    command = [str(PROGRAMS[-1] / "postgres"), "-D", str(folder / "data"), "-p", url.rpartition(":")[2], *_OPTIONS]
    _server = daemon(command, folder, os.environ, **_USER)

    def answers() -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"{url}/postgres", connect_timeout=5).close()
            return True
        return False

    wait_for(answers, [_server], folder)


def _asked(folder: Path, word: str) -> None:
    if word == "start":
        _serve(folder)
    elif word == "stop" and _server is not None:
        _server.send_signal(2)  # "fast": whoever is connected is not waited for
        _server.wait()


if __name__ == "__main__":
    guard("harness-postgresql-", _start, _asked)
