"""A report on the embedded set with real systems, a real browser to look at it, and a made-up view for charts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support import run_app
from synthetic import synthetic_view

from harness.report.view import BoardView


@pytest.fixture(scope="session")
def board(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A leaderboard with three systems on the embedded set, scored by the fast engine."""

    def make(folder: Path) -> None:
        db = f"sqlite:///{folder / 'leaderboard.db'}"
        for system in ("passthrough", "centre", "oracle"):
            done = run_app(
                "run", "--system", system, "--engine", "fast", "--db", db, "--output", folder / "submissions" / system
            )
            assert done.code == 0, done.stderr

    return once("board", make) / "leaderboard.db"


@pytest.fixture(scope="session")
def site(board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on `board`, with the sound of two pairs."""
    folder = tmp_path_factory.mktemp("site") / "report"
    done = run_app("report", "--db", f"sqlite:///{board}", "--output", folder, "--audio", "2")
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def view() -> BoardView:
    """A leaderboard with made-up scores of scenes."""
    return synthetic_view()
