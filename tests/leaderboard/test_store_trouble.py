"""Everything that can be wrong with a database, with the real thing: one line, and what to do about it."""

import os
import shutil
import sqlite3
import subprocess
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stored import on_sqlite, set_pairs

from harness_leaderboard import database
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import EvaluationSetRecord, RunRecord
from harness_leaderboard.store import Store

Start = Callable[..., int]
Drop = Callable[[], Any]


def refused(url: str, create: bool, says: str) -> None:
    with pytest.raises(LeaderboardError, match=says) as caught:
        Store.open(url, create=create)
    assert "\n" not in str(caught.value)


def make(path: Path) -> None:
    """A small leaderboard, closed."""
    with Store.open(f"sqlite:///{path}", create=True) as store:
        run = RunRecord("a", "s", "1", {}, True, 0, "none", "none", "", None, False, "s")
        about = EvaluationSetRecord("demo", "valid", "e", 100, 2000)
        pairs = set_pairs((f"scene {i}", f"listener {j}", "track") for i in range(100) for j in range(20))
        store.start_run(run, about, "f", {}, pairs)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("leaderboard.db", "is not the URL of a database: write it like sqlite:///leaderboard.db"),
        ("", "is not the URL of a database"),
        ("nosuch:///x.db", "is not the URL of a database"),
        ("sqlite://leaderboard.db", "is not the URL of an SQLite file: write it like sqlite:///"),
        ("sqlite:///x.db?mode=ro", "is not the URL of an SQLite file"),
        ("sqlite+aiosqlite:///x.db", "is not the URL of an SQLite file"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///x.db?timeout=soon", "timeout=soon of --db: expected seconds"),
        ("sqlite:///x.db?timeout=-1", "timeout=-1 of --db: expected seconds"),
        ("sqlite:///x.db?timeout=nan", "timeout=nan of --db: expected seconds"),
        ("sqlite:///x.db?timeout=1&timeout=2", "timeout=.* of --db: expected seconds"),
        (f"sqlite:///{'x' * 5000}", "cannot be opened: File name too long"),
        (
            "oracle+oracledb://user:secret@host/x",
            "oracle databases are refused until they are tested: use an SQLite file",
        ),
        ("mysql+pymysql://user:secret@host/x", "mysql databases are refused until they are tested"),
        ("mssql+pyodbc://user:secret@host/x", "mssql databases are refused until they are tested"),
        ("postgresql+psycopg2://user:secret@host/x", "write postgresql://..., which uses psycopg 3"),
        ("postgresql+asyncpg://user:secret@host/x", "write postgresql://..., which uses psycopg 3"),
        ("postgresql://user:s/cret@host/x", "write .* in a user's name or password as %40"),
        ("postgresql://user:se@cret@host:5432/x", "write @, .* in a user's name or password as %40"),
        ("postgresql://us@er@host/x", "write @, .* in a user's name or password as %40"),
        ("postgresql://host/x?timeout=soon", "timeout=soon of --db: expected seconds"),
        ("sqlite:////data/h#a?sh/x.db", r"a path must not contain '\?': write it like sqlite:///leaderboard.db"),
        ("sqlite:///a?b.db?timeout=1", r"a path must not contain '\?'"),
        ("sqlite:///x.db?", r"a path must not contain '\?'"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_malformed_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: str, create: bool) -> None:
    monkeypatch.chdir(tmp_path)
    refused(url, create, says)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host:port/x",
        "postgresql://user:s3cret@host:99999999/x?password=s3cret",
        "postgresql://user:p@s3cret@host:port/x",
        "postgresql://user:p@s3cret@host.invalid:5432/x",
        "nosuch://user:s3cret@host/x",
        "oracle+oracledb://user:s3cret@host/x?token=s3cret",
        "sqlite://user:s3cret@host/x.db",
        "sqlite:///x.db?key=s3cret@",
        "user:s3cret@host",
        "postgresql://user:s3cret://@host:port/x",
        "postgresql://host:port/x?password=s3cret",
        "postgresql://host:port/x?password=a@s3cret",
        "://s3cret@",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(LeaderboardError) as caught:
        Store.open(url, create=False)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("create", [True, False])
def test_only_a_file_can_be_a_database(tmp_path: Path, create: bool, must_not_hang: None) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link, Path("/dev/zero")):
        refused(f"sqlite:///{path}", create, f"{path} is a device or a pipe, not a file: choose another --db")


def test_a_path_means_the_same_file_wherever_the_program_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("x.db"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for create in (True, False):
        with Store.open("sqlite:///x.db", create=create) as store:
            monkeypatch.chdir(elsewhere)
            store.engine.dispose()
            assert len(store.runs()) == 1
            if create:
                store.set_visibility(1, "hidden", "")
                store.set_visibility(1, "unhidden", "")
        monkeypatch.chdir(tmp_path)
    assert list(elsewhere.iterdir()) == []


def test_no_such_database(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.db"
    refused(f"sqlite:///{path}", False, f"no leaderboard at {path} yet: harness run --system NAME makes one")
    assert not path.exists()
    path.touch()
    refused(f"sqlite:///{path}", False, f"no leaderboard at {path} yet: harness run --system NAME makes one")


def test_no_such_folder(tmp_path: Path) -> None:
    refused(f"sqlite:///{tmp_path}/no/x.db", True, f"folder {tmp_path}/no does not exist: make it, or")
    refused(f"sqlite:///{tmp_path}/no/x.db", False, "no leaderboard at .* yet")


@pytest.mark.parametrize("create", [True, False])
def test_a_folder(tmp_path: Path, create: bool) -> None:
    refused(f"sqlite:///{tmp_path}", create, f"{tmp_path} is a folder: name a file in it")


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("revision", ["9999", "beef", ""])
def test_a_newer_database(tmp_path: Path, create: bool, revision: str) -> None:
    path = tmp_path / "x.db"
    make(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = path.read_bytes()
    refused(f"sqlite:///{path}", create, rf"newer version \(revision {revision}\): update this program, or choose")
    assert path.read_bytes() == before


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("tables", [["books"], ["books", "alembic_version"], ["runs"]])
def test_the_database_of_another_program_is_left_as_it_is(tmp_path: Path, create: bool, tables: list[str]) -> None:
    path = tmp_path / "books.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
            connection.execute(f"INSERT INTO {table} VALUES ('0001')")
    before = path.read_bytes()
    refused(f"sqlite:///{path}", create, f"{path} holds the data of another program: choose another --db")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["books.db"]


@pytest.mark.parametrize("create", [True, False])
def test_not_a_database(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes.\n" * 1000)
    refused(f"sqlite:///{path}", create, "is not a database or its beginning is damaged: choose another --db")
    assert path.read_text() == "These are notes.\n" * 1000


@pytest.mark.parametrize("create", [True, False])
def test_a_damaged_database(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "x.db"
    make(path)
    content = bytearray(path.read_bytes())
    # All pages but the first: the tables are known, what is in them is not.
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LeaderboardError, match="is damaged: put back a copy, or move it away and start a new one"):
        Store.open(f"sqlite:///{path}", create=create).runs()


def test_damage_in_the_middle_of_a_large_database_is_noticed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    make(path)
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'run_pairs'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = b"\xff" * size
    path.write_bytes(content)
    refused(f"sqlite:///{path}", False, "is damaged: put back a copy")
    refused(f"sqlite:///{path}", True, "is damaged: put back a copy")
    monkeypatch.setattr(database, "CHECKED_WHOLE", 0)
    with Store.open(f"sqlite:///{path}", create=False) as store:
        for read in (lambda: store.find_run(1), store.check):
            with pytest.raises(LeaderboardError, match="is damaged: put back a copy"):
                read()


def test_a_truncated_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(LeaderboardError, match="is damaged"):
        Store.open(f"sqlite:///{path}", create=True).runs()


@on_sqlite
def test_a_locked_database(url: str, store: Store, start: Start) -> None:
    run_id = start()
    with closing(sqlite3.connect(store.name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        says = r"is locked: another program is writing to it; wait for it or close it, or add \?timeout=SECONDS"
        with pytest.raises(LeaderboardError, match=says):
            store.mark_failed(run_id, {("S1", "L1"): "it raised"})
        refused(url, True, says)
        other.execute("ROLLBACK")
    store.mark_failed(run_id, {("S1", "L1"): "it raised"})
    assert [run.failed for run in store.runs()] == [1]


def test_a_database_locked_while_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused(f"sqlite:///{path}?timeout=0.2", True, "is locked")
        refused(f"sqlite:///{path}?timeout=0.2", False, "is locked")


def test_a_read_only_file(open_folder: Path, without_privileges: Drop) -> None:
    path = open_folder / "x.db"
    make(path)
    path.chmod(0o444)
    open_folder.chmod(0o777)
    with without_privileges():
        refused(f"sqlite:///{path}", True, f"is read-only: make the file and its folder {open_folder} writable")
        with Store.open(f"sqlite:///{path}", create=False) as store:
            assert len(store.runs()) == 1


def test_a_read_only_folder(open_folder: Path, without_privileges: Drop) -> None:
    path = open_folder / "x.db"
    make(path)
    path.chmod(0o666)
    open_folder.chmod(0o555)
    with without_privileges():
        refused(f"sqlite:///{path}", True, f"is read-only: make the file and its folder {open_folder} writable")
        refused(f"sqlite:///{open_folder}/new.db", True, "cannot be opened: it needs a file that you may read")
        with Store.open(f"sqlite:///{path}", create=False) as store:
            assert len(store.runs()) == 1
            with pytest.raises(LeaderboardError, match="is read-only"):
                store.mark_failed(1, {("scene 0", "listener 0"): "it raised"})
    open_folder.chmod(0o755)


def test_changes_in_a_log_that_cannot_be_read_are_not_passed_over(open_folder: Path, without_privileges: Drop) -> None:
    path, copy = open_folder / "x.db", open_folder / "copy"
    make(path)
    copy.mkdir()
    with Store.open(f"sqlite:///{path}", create=True) as store:
        store.mark_failed(1, {("scene 0", "listener 0"): "it raised"})
        # As a crash would leave them: the change is in the log only.
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", copy)
    copy.chmod(0o555)
    with without_privileges():
        refused(f"sqlite:///{copy / 'x.db'}", False, "cannot be opened: changes in x.db-wal cannot be read without")
    copy.chmod(0o755)
    with Store.open(f"sqlite:///{copy / 'x.db'}", create=False) as store:
        assert [run.failed for run in store.runs()] == [1]


def test_an_unreadable_file(open_folder: Path, without_privileges: Drop) -> None:
    path = open_folder / "x.db"
    make(path)
    path.chmod(0)
    with without_privileges():
        refused(f"sqlite:///{path}", False, "cannot be opened: it needs a file that you may read")
        refused(f"sqlite:///{path}", True, "cannot be opened: it needs a file that you may read")


def test_a_closed_folder(open_folder: Path, without_privileges: Drop) -> None:
    path = open_folder / "closed" / "x.db"
    path.parent.mkdir(mode=0o700)
    make(path)
    if os.geteuid() != 0:
        path.parent.chmod(0)
    with without_privileges():
        refused(f"sqlite:///{path}", False, "Permission denied|cannot be opened")
        refused(f"sqlite:///{path}", True, "Permission denied|cannot be opened")
    path.parent.chmod(0o700)


def beside(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file != path)


@pytest.mark.parametrize(("file", "folder"), [(0o666, 0o777), (0o444, 0o777), (0o666, 0o555), (0o444, 0o555)])
def test_reading_leaves_nothing_behind(open_folder: Path, without_privileges: Drop, file: int, folder: int) -> None:
    path = open_folder / "x.db"
    make(path)
    path.chmod(file)
    open_folder.chmod(folder)
    with without_privileges():
        with Store.open(f"sqlite:///{path}", create=False) as store:
            assert len(store.runs()) == 1
            board = store.runs()
        assert beside(path) == []
        # Scores are read when they are asked for, by then without the leaderboard.
        assert board[0].scores.scene == ()
        assert beside(path) == []
    open_folder.chmod(0o777)
    if os.geteuid() != 0:
        return
    # Nor do several at once, and the owner can write all the while.
    with without_privileges(), Store.open(f"sqlite:///{path}", create=False) as store:
        store.runs()
        os.seteuid(0)
        with Store.open(f"sqlite:///{path}", create=True) as ours:
            ours.set_visibility(1, "hidden", "")
    assert beside(path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes two users")
def test_a_database_that_is_written_to_while_it_is_read_without_locks(
    open_folder: Path, without_privileges: Drop
) -> None:
    path = open_folder / "x.db"
    make(path)
    path.chmod(0o444)
    with without_privileges():
        theirs = Store.open(f"sqlite:///{path}", create=False)
    with Store.open(f"sqlite:///{path}", create=True) as ours:
        ours.set_visibility(1, "hidden", "")
    says = f"{path} was written to while it was read: run the command again"
    with without_privileges(), theirs, pytest.raises(LeaderboardError, match=says):
        theirs.runs()


def test_files_of_another_user_that_are_in_the_way_are_named(open_folder: Path, without_privileges: Drop) -> None:
    path, index = open_folder / "x.db", open_folder / "x.db-shm"
    make(path)
    path.chmod(0o666)
    open_folder.chmod(0o777)
    index.write_bytes(b"")
    index.chmod(0)
    says = "x.db cannot be opened: x.db-shm beside it belongs to another user; make it yours"
    with without_privileges():
        refused(f"sqlite:///{path}", True, says)
        refused(f"sqlite:///{path}", False, says)


def test_reading_does_not_write(tmp_path: Path, without_privileges: Drop) -> None:
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes()
    with Store.open(f"sqlite:///{path}", create=False) as store:
        store.runs()
        with pytest.raises(LeaderboardError, match="is read-only"):
            store.mark_failed(1, {("scene 0", "listener 0"): "it raised"})
    assert path.read_bytes() == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk to fill cannot be mounted here (it takes root)")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_full_disk(small_disk: Path, run_record: RunRecord) -> None:
    about = EvaluationSetRecord("demo", "valid", "e", 5000, 5000)
    pairs = set_pairs((f"scene {i} {'x' * 100}", "L1", "track") for i in range(5000))
    with Store.open(f"sqlite:///{small_disk / 'x.db'}", create=True) as store:
        run_id = store.start_run(run_record, about, "f", {}, pairs[:10])
        with pytest.raises(LeaderboardError, match=r"the disk is full( or failing .*)?: free some space and repeat"):
            store.start_run(run_record, about, "f", {}, pairs)
        assert len(store.find_run(run_id).pairs) == 10
        store.mark_failed(run_id, {(pairs[0].scene, pairs[0].listener): "there is space for this"})


def test_a_disk_full_from_the_start(small_disk: Path) -> None:
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)) == 4096 and shutil.disk_usage(small_disk).free:
            pass
    refused(f"sqlite:///{small_disk / 'x.db'}", True, "the disk is full")
    (small_disk / "filler").unlink()
    make(small_disk / "x.db")
