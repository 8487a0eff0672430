"""Locks and leftovers of folders; paths as users write them."""

import os
import signal
import time
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.files import PARTIAL, expanded, locked_folder, remove_leftovers, write_whole


def test_a_lock_ends_with_the_work_although_a_forked_child_lives_on(tmp_path: Path) -> None:
    with locked_folder(tmp_path):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with locked_folder(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_lock_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked_folder(tmp_path):
        raise ZeroDivisionError
    with locked_folder(tmp_path):
        pass


def test_only_our_own_leftovers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [".partial-thesis", ".partial-thesisxy", ".partial-harness-notes.txt", "partial-harness-abcdefgh"]
    for name in kept:
        (tmp_path / name).write_text("a user's own")
    (tmp_path / f"{PARTIAL}folder__").mkdir()
    with monkeypatch.context() as patch:  # killed between the two

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "file", b"content")
    assert len(list(tmp_path.glob(f"{PARTIAL}*"))) == 3
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*kept, f"{PARTIAL}folder__"}


def test_home_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert expanded("~/a", "--csv") == Path("/home/me/a")
    assert expanded("a/~", "--csv") == Path("a/~")
    with pytest.raises(UsageError, match=r"^--csv ~nobody-at-all/a: Could not determine home directory; write out the"):
        expanded("~nobody-at-all/a", "--csv")
