"""Exports and imports: two leaderboards become the union of both, and nothing of ours is lost."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import EnhancedFile, NewScore
from harness_leaderboard.store import Store

FINGERPRINT = "f" * 64
Start = Callable[..., int]


def fill(store: Store, run_id: int, value: float, file: str = "a", pair: tuple[str, str] = ("S1", "L1")) -> None:
    reference = {("S1", "L1"): "1", ("S1", "L2"): "2", ("S2", "L1"): "3"}[pair] * 64
    store.mark_all_enhanced(run_id, [EnhancedFile(*pair, file * 64, 0)])
    score = NewScore(file * 64, reference, "locked", value, value)
    store.add_scores([score], FINGERPRINT, {"locked": {"numpy": "2"}})


@pytest.fixture
def theirs(start: Start, store: Store, tmp_path: Path) -> Path:
    """An export of a leaderboard with two runs, one of them declared anew and named."""
    run_id = start()
    fill(store, run_id, 0.5)
    start(team="us")
    store.rename(run_id, "ours", "why not")
    fill(store, start(key="b" * 64, system="other"), 0.25, "b", ("S1", "L2"))
    merged = store.export(tmp_path / "theirs.db")
    assert (merged.runs, merged.scores) == (2, 2)
    return tmp_path / "theirs.db"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    return tmp_path / "empty.db"


def test_an_export_is_a_leaderboard_of_its_own(theirs: Path, store: Store) -> None:
    assert [path.name for path in theirs.parent.glob("theirs.db*")] == ["theirs.db"]
    assert not list(theirs.parent.glob(".partial-*"))
    with Store.open(f"sqlite:///{theirs}", create=False) as copy:
        assert [(run.run, run.sums, run.name) for run in copy.runs()] == [
            (run.run, run.sums, run.name) for run in store.runs()
        ]
        old, events = copy.history(1)
    assert [each.run["team"] for each in old] == [None]
    assert [event.what for event in events] == ["entered", "declared anew", "renamed", "imported"]


def test_an_existing_file_is_not_overwritten(theirs: Path, store: Store) -> None:
    before = theirs.read_bytes()
    with pytest.raises(LeaderboardError, match="exists: name a file that does not"):
        store.export(theirs)
    assert theirs.read_bytes() == before
    with pytest.raises(LeaderboardError, match="cannot write"):
        store.export(theirs.parent / "no such folder" / "x.db")


def test_importing_is_a_union_and_twice_is_once(theirs: Path, empty: Path, store: Store) -> None:
    with Store.open(f"sqlite:///{empty}", create=True) as ours:
        first = ours.import_(theirs, "a merge")
        assert (first.runs, first.scores, first.known, first.different) == (2, 2, 0, 0)
        second = ours.import_(theirs, "again")
        assert (second.runs, second.scores, second.known, second.different) == (0, 0, 2, 0)
        assert [run.sums for run in ours.runs()] == [run.sums for run in store.runs()]


def test_what_contradicts_is_counted_and_ours_stays(theirs: Path, store: Store) -> None:
    with closing(sqlite3.connect(theirs)) as connection:
        connection.execute("UPDATE scores SET left_score = 0.75, score = 0.625 WHERE left_score = 0.5")
        connection.execute("UPDATE remixes SET file_sha256 = 'c' WHERE id = 2")
        connection.commit()
    before = [run.sums for run in store.runs()]
    merged = store.import_(theirs, "a merge")
    assert (merged.runs, merged.scores, merged.known, merged.different) == (0, 1, 0, 1)
    assert merged.largest_difference == 0.25
    assert merged.files_kept == 1
    assert [run.sums for run in store.runs()] == before


def test_files_that_a_run_lacks_are_taken_over(theirs: Path, store: Store) -> None:
    with Store.open(f"sqlite:///{theirs}", create=True) as copy:
        fill(copy, 1, 0.125, "d", ("S2", "L1"))
    store.mark_failed(1, {("S1", "L1"): "lost"})
    merged = store.import_(theirs, "a merge")
    assert (merged.runs, merged.scores, merged.files_kept) == (0, 1, 0)
    assert store.runs()[0].scored == 2
    assert store.history(1)[1][-1].details == {"files": 2}


def test_a_name_that_is_taken_is_dropped(theirs: Path, empty: Path, start: Start, store: Store) -> None:
    del store
    with Store.open(f"sqlite:///{empty}", create=True) as ours:
        ours.import_(theirs, "a merge")
        ours.rename(1, None, "give it away")
        ours.rename(2, "ours", "taken")
        assert [status.name for status in ours.statuses()] == [None, "ours"]
        with pytest.raises(LeaderboardError, match="run 2 on this evaluation set is called 'ours'"):
            ours.rename(1, "ours", "again")


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such file"), (b"", "no leaderboard at"), (b"SQLite format 3\0" + b"x" * 2000, "is damaged|is not")],
)
def test_what_is_no_leaderboard_is_refused(content: bytes | None, says: str, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "strange.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LeaderboardError, match=says) as caught:
        store.import_(path, "a merge")
    assert "\n" not in str(caught.value)
    assert store.runs() == []


def test_a_run_is_hidden_shown_removed_and_restored(start: Start, store: Store) -> None:
    run_id = start()
    fill(store, run_id, 0.5)
    for what, visible in (("hidden", 0), ("unhidden", 1), ("hidden", 0), ("removed", 0), ("restored", 1)):
        store.set_visibility(run_id, what, f"because it is {what}")
        assert len(store.runs()) == visible
        assert len(store.runs(("shown", "hidden", "removed"))) == 1
    with pytest.raises(LeaderboardError, match="run 1 is shown, so it cannot be restored"):
        store.set_visibility(run_id, "restored", "")
    events = store.history(run_id)[1]
    assert [(event.what, event.why) for event in events[-2:]] == [
        ("removed", "because it is removed"),
        ("restored", "because it is restored"),
    ]
    store.set_visibility(run_id, "removed", "once more")
    start()  # entered again
    assert len(store.runs()) == 1
    assert store.history(run_id)[1][-1].what == "restored"


def test_a_copy_of_a_database_can_be_imported(theirs: Path, empty: Path) -> None:
    shutil.copy(theirs, empty)
    with Store.open(f"sqlite:///{empty}", create=True) as ours:
        assert ours.import_(theirs, "itself").known == 2
