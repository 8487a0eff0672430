"""Two leaderboards become one, and one becomes a file of its own."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import text
from stored import EVALUATION_SET, FILE, FINGERPRINT, OTHER_FILE, PAIRS, RUN, add, by_hand, count, mark, set_pairs

from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.merging import Merged
from harness_leaderboard.models import Base
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.ranking import boards
from harness_leaderboard.store import Store

Start = Callable[..., int]


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Store]:
    """Another leaderboard."""
    with Store.open(f"sqlite:///{tmp_path / 'theirs.db'}", create=True) as opened:
        yield opened


def enter(store: Store, key: str, *scores: float, **declared: Any) -> int:
    """A run with locked scores of some of its pairs, of files that are its own."""
    run_id = store.start_run(replace(RUN, key=key, **declared), EVALUATION_SET, FINGERPRINT, {"a": 1}, PAIRS)
    for pair, value in zip(PAIRS, scores, strict=False):
        mark(store, run_id, pair.scene, pair.listener, f"{key} {pair.scene}", clipped=3)
        add(store, pair.scene, pair.listener, value, value, file=f"{key} {pair.scene}", environment={"of": key})
    return run_id


def content(store: Store) -> dict[str, int]:
    return {table: count(store, table) for table in Base.metadata.tables}


def path_of(store: Store, folder: Path) -> Path:
    """Where its file lies, or that of an export of a database that is none."""
    if store.path is not None:
        return store.path
    exported = folder / "exported.db"
    exported.unlink(missing_ok=True)
    store.export(exported)
    return exported


def figures(store: Store) -> list[Any]:
    found = []
    for board in boards(store.runs()):
        for row in board.rows:
            found.append((board.evaluation_set, board.fingerprint, row.run, row.rank, row.status, row.estimate))
    return found


def test_the_union_of_both(store: Store, theirs: Store, tmp_path: Path) -> None:
    ours = enter(store, "a", 0.1, 0.2, 0.3, 0.4)
    enter(theirs, "b", 1 / 3, 0.1 + 0.2, 0.5, 0.6, system="other")
    theirs.mark_failed(enter(theirs, "c", 0.5), {("S2", "L1"): "it raised"})
    before = content(theirs)
    assert store.import_(path_of(theirs, tmp_path), "a good reason") == Merged(runs=2, scores=5)
    first, second, third = store.runs()
    assert (first.id, first.scored) == (ours, 4)
    assert (second.run.key, second.scores.left) == ("b", (1 / 3, 0.1 + 0.2, 0.5, 0.6))
    assert (third.run.key, third.scored, third.failed) == ("c", 1, 1)
    pair = store.find_run(second.id).pairs["S1", "L1"]
    assert (pair.clipped, pair.file_sha256) == (3, "b S1")
    assert pair == theirs.find_run(1).pairs["S1", "L1"]
    assert pair.locked is not None
    assert store.environments()[pair.locked.environment_sha256] == {"of": "b"}
    assert content(theirs) == before
    assert count(store, "summaries") == 3
    # Twice is once.
    both = content(store)
    assert store.import_(path_of(theirs, tmp_path), "again") == Merged(known=5)
    assert content(store) == both
    # The other way round it is the same board.
    assert theirs.import_(path_of(store, tmp_path), "") == Merged(runs=1, scores=4, known=5)
    assert figures(theirs) == figures(store)


def test_a_run_that_both_have_gets_the_files_that_it_lacks(store: Store, theirs: Store, tmp_path: Path) -> None:
    ours = enter(store, "a", 0.1, 0.2)
    store.mark_failed(ours, {("S2", "L1"): "it raised"})
    run_id = enter(theirs, "a", 0.1, 0.2, 0.3, 0.4)
    mark(theirs, run_id, "S1", "L2", OTHER_FILE)
    assert store.import_(path_of(theirs, tmp_path), "more") == Merged(scores=2, known=2, files_kept=1)
    (run,) = store.runs()
    assert (run.id, run.scores.left, run.failed) == (ours, (0.1, 0.2, 0.3, 0.4), 0)
    assert store.find_run(ours).pairs["S1", "L2"].file_sha256 == "a S1"
    event = store.history(ours)[1][-1]
    assert (event.what, event.why, event.details) == ("imported", "more", {"files": 2})


def test_where_they_contradict_ours_stays_and_the_largest_difference_is_told(
    store: Store, theirs: Store, tmp_path: Path
) -> None:
    ours = enter(store, "a", 0.1, 0.2, 0.3, 0.4)
    enter(theirs, "a", 0.1, 0.2 + 1e-9, 0.3, 0.4 + 0.125)
    found = store.import_(path_of(theirs, tmp_path), "")
    assert found == Merged(known=2, different=2, largest_difference=(0.4 + 0.125) - 0.4)
    assert store.runs()[0].scores.left == (0.1, 0.2, 0.3, 0.4)
    assert [event.what for event in store.history(ours)[1]] == ["entered"]


def test_scores_without_a_run_and_those_of_other_engines_and_evaluators_come_along(
    store: Store, theirs: Store, tmp_path: Path
) -> None:
    ours = enter(store, "a", 0.1, 0.2)
    enter(theirs, "b")
    add(theirs, "S1", "L1", 0.1 + 1e-9, 0.1, "fast", file="a S1")
    theirs.start_run(replace(RUN, key="b"), EVALUATION_SET, "0" * 64, {"a": 2}, PAIRS)
    add(theirs, "S1", "L1", 0.9, 0.9, file="a S1", fingerprint="0" * 64)
    assert store.import_(path_of(theirs, tmp_path), "") == Merged(runs=1, scores=2)
    pair = store.find_run(ours).pairs["S1", "L1"]
    assert pair.fast is not None
    assert pair.fast.left == 0.1 + 1e-9
    assert [(run.id, run.fingerprint, run.scored) for run in store.runs()][:2] == [
        (ours, FINGERPRINT, 2),
        (ours, "0" * 64, 1),
    ]


def test_declarations_events_names_and_visibility_come_along(store: Store, theirs: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1)
    run_id = enter(theirs, "b", 0.5)
    enter(theirs, "b", team="us")
    theirs.rename(run_id, "ours", "it is")
    theirs.set_visibility(run_id, "hidden", "not yet")
    store.import_(path_of(theirs, tmp_path), "a merge")
    (status,) = (status for status in store.statuses() if status.run.key == "b")
    assert (status.name, status.visibility, status.run.team) == ("ours", "hidden", "us")
    declared, events = store.history(status.id)
    assert [old.run["team"] for old in declared] == [None]
    assert declared == theirs.history(run_id)[0]
    assert [event.what for event in events] == ["entered", "declared anew", "renamed", "hidden", "imported"]
    assert (events[-1].why, {event.run_id for event in events}) == ("a merge", {status.id})


def test_a_name_that_is_taken_here_is_left_behind(store: Store, theirs: Store, tmp_path: Path) -> None:
    ours = enter(store, "a", 0.1)
    store.rename(ours, "best", "")
    theirs.rename(enter(theirs, "b", 0.5), "best", "")
    store.import_(path_of(theirs, tmp_path), "")
    assert [status.name for status in store.statuses()] == ["best", None]


def test_a_set_that_is_larger_there_is_completed(store: Store, theirs: Store, tmp_path: Path) -> None:
    about = replace(EVALUATION_SET, scenes=3, pairs=5)
    more = [*PAIRS, *set_pairs([("S3", "L1", "track three")])]
    for each, pairs in ((store, PAIRS), (theirs, more)):
        each.start_run(RUN, about, FINGERPRINT, {}, pairs)
    mark(theirs, 1, "S3", "L1")
    store.import_(path_of(theirs, tmp_path), "")
    assert store.find_run(1).pairs["S3", "L1"].file_sha256 == FILE


def test_other_numbers_under_the_hash_of_a_set_are_refused_and_nothing_is_stored(
    store: Store, theirs: Store, tmp_path: Path
) -> None:
    enter(store, "a", 0.1)
    theirs.start_run(replace(RUN, key="b"), replace(EVALUATION_SET, pairs=5), FINGERPRINT, {}, PAIRS)
    before = content(store)
    with pytest.raises(LeaderboardError, match="has 2 scenes and 5 pairs, but 2 and 4 under the same hash"):
        store.import_(path_of(theirs, tmp_path), "")
    assert content(store) == before


def test_an_export_is_a_leaderboard_of_its_own(store: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1, 0.2, 0.3, 0.4)
    hidden = enter(store, "b", 1 / 3, system="other")
    store.set_visibility(hidden, "hidden", "not yet")
    path = tmp_path / "away" / "export.db"
    path.parent.mkdir()
    assert store.export(path) == Merged(runs=2, scores=5)
    assert [file.name for file in path.parent.iterdir()] == ["export.db"]
    with Store.open(f"sqlite:///{path}", create=False) as copy:
        assert figures(copy) == figures(store)
        assert [status.visibility for status in copy.statuses()] == ["shown", "hidden"]
        assert copy.find_run(1).pairs == store.find_run(1).pairs
        assert count(copy, "summaries") == 2
    assert store.import_(path, "back") == Merged(known=5)


def test_an_export_refuses_a_file_that_exists(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    path.write_text("mine")
    with pytest.raises(LeaderboardError, match=r"export.db exists: name a file that does not"):
        store.export(path)
    assert path.read_text() == "mine"


def test_an_export_that_fails_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1)
    with pytest.raises(LeaderboardError, match=r"cannot write .*: No such file or directory; choose another place"):
        store.export(tmp_path / "no" / "export.db")
    folder = tmp_path / "away"
    folder.mkdir()
    # A table that is damaged is met in the middle of the work.
    by_hand(store, "DROP TABLE events")
    with pytest.raises(LeaderboardError, match=r'no such table: events|relation "events" does not exist'):
        store.export(folder / "export.db")
    assert list(folder.iterdir()) == []


def old(path: Path, *more: str) -> None:
    """A database of the second revision with one scored pair."""
    engine = sqlite_engine(path, create=True, timeout=1)
    at = "2024-01-31T12:00:00Z"
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0002")
        for statement in (
            "INSERT INTO evaluation_sets VALUES (1, 'demo', 'valid', '" + "e" * 64 + "', 2, 4)",
            "INSERT INTO evaluators VALUES ('" + FINGERPRINT + "', '{}')",
            "INSERT INTO environments VALUES (1, '0', '{}')",
            f"INSERT INTO runs VALUES (1, 'old', 1, '{FINGERPRINT}', 's', '1', '{{}}', 0, 7, 'official', 'MIT', 'd',"
            f" NULL, 0, 's', 4, '{at}', '{at}')",
            "INSERT INTO pairs VALUES (1, 1, 'S1', 'L1', 'track one', 'scored', NULL, 'old file', 0)",
            f"INSERT INTO scores VALUES (1, 0.125, 0.5, 0.3125, '{FINGERPRINT}', 1, '{at}', 'locked', NULL, NULL)",
            *more,
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_an_older_file_is_migrated_in_a_copy(store: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1)
    path = tmp_path / "of 2 % old.db"
    old(path)
    before = path.read_bytes()
    assert store.import_(path, "") == Merged(runs=1, scores=1)
    assert store.import_(path, "") == Merged(known=1)
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.iterdir()} >= {path.name}
    run = store.runs()[1]
    assert (run.run.key, run.scores.left) == ("old", (0.125,))
    # Its references are those that are known here.
    assert count(store, "reference_signals") == 4
    assert len(store.find_run(run.id).pairs) == 4


def test_what_is_in_an_older_files_log_only_comes_along(store: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1)
    path, copy = tmp_path / "old.db", tmp_path / "copy"
    copy.mkdir()
    old(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("INSERT INTO pairs VALUES (2, 1, 'S1', 'L2', 'track one', 'failed', 'why', NULL, NULL)")
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", copy)
    store.import_(copy / "old.db", "")
    assert store.find_run(2).pairs["S1", "L2"].reason == "why"


def test_two_older_files_of_which_no_reference_is_known(store: Store, tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        old(tmp_path / name)
    assert store.import_(tmp_path / "one.db", "") == Merged(runs=1, scores=1)
    assert store.import_(tmp_path / "two.db", "") == Merged(known=1)
    enter(store, "a")
    assert [run.scores.left for run in store.runs()] == [(0.125,), ()]
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM reference_signals")).scalar() == 4


def test_files_that_are_no_leaderboards_are_refused_in_one_line(store: Store, theirs: Store, tmp_path: Path) -> None:
    enter(store, "a", 0.1)
    for number in range(50):
        enter(theirs, f"{number}", 0.5)
    theirs.close()
    damaged, foreign, notes, newer = (tmp_path / name for name in ("damaged.db", "foreign.db", "notes.txt", "newer.db"))
    sound = path_of(theirs, tmp_path).read_bytes()
    damaged.write_bytes(sound[:4096] + os.urandom(len(sound) - 4096))
    newer.write_bytes(sound)
    notes.write_text("These are notes.\n" * 1000)
    for path, statement in (
        (foreign, "CREATE TABLE books (title TEXT)"),
        (newer, "UPDATE alembic_version SET version_num = '9999'"),
    ):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)
    before = content(store)
    for path, says in (
        (damaged, "is damaged: put back a copy"),
        (foreign, "holds the data of another program"),
        (notes, "is not a database or its beginning is damaged"),
        (newer, r"was written by a newer version \(revision 9999\)"),
        (tmp_path / "none.db", "none.db: no such file"),
        (tmp_path, "no such file"),
    ):
        with pytest.raises(LeaderboardError, match=says) as caught:
            store.import_(path, "")
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    assert content(store) == before
