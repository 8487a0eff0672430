"""Runs can be renamed, hidden, removed and restored, declared anew, and everything that was done is in the log."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, add, count, mark

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import RunRecord
from harness_leaderboard.store import Store

Start = Callable[..., int]


def log(store: Store, run_id: int) -> list[tuple[str, str]]:
    return [(event.what, event.why) for event in store.history(run_id)[1]]


def test_a_hidden_run_is_off_the_board_until_it_is_unhidden(store: Store, start: Start) -> None:
    run_id, other = start(), start(key="b")
    for each in (run_id, other):
        mark(store, each, "S1", "L1")
    add(store, "S1", "L1", 0.5, 0.5)
    store.set_visibility(run_id, "hidden", "not yet")
    assert [run.id for run in store.runs()] == [other]
    # What is not shown is not spoken of.
    assert store.runs()[0].shares == {}
    assert [run.id for run in store.runs(("shown", "hidden"))] == [run_id, other]
    assert [run.id for run in store.runs(("hidden",))] == [run_id]
    assert [(status.id, status.visibility) for status in store.statuses()] == [(run_id, "hidden"), (other, "shown")]
    store.set_visibility(run_id, "unhidden", "now")
    assert [(run.id, run.scored) for run in store.runs()] == [(run_id, 1), (other, 1)]
    assert log(store, run_id) == [("entered", ""), ("hidden", "not yet"), ("unhidden", "now")]
    assert log(store, other) == [("entered", "")]


def test_a_removed_run_can_be_restored_with_everything(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.5, 0.5)
    before = store.find_run(run_id)
    store.set_visibility(run_id, "removed", "a mistake")
    assert store.runs(("shown", "hidden")) == []
    assert (count(store, "scores"), count(store, "runs")) == (1, 1)
    store.set_visibility(run_id, "restored", "no mistake")
    assert store.find_run(run_id) == before
    assert log(store, run_id) == [("entered", ""), ("removed", "a mistake"), ("restored", "no mistake")]


def test_a_removed_run_is_back_when_it_is_entered_again_and_a_hidden_one_is_not(store: Store, start: Start) -> None:
    run_id, hidden = start(), start(key="b")
    store.set_visibility(run_id, "removed", "")
    store.set_visibility(hidden, "hidden", "")
    assert (start(), start(key="b")) == (run_id, hidden)
    assert [status.visibility for status in store.statuses()] == ["shown", "hidden"]
    assert log(store, run_id)[-1] == ("restored", "entered again")


@pytest.mark.parametrize(
    ("done", "what", "says"),
    [
        ([], "unhidden", "run 1 is shown, so it cannot be unhidden"),
        ([], "restored", "run 1 is shown, so it cannot be restored"),
        (["hidden"], "hidden", "run 1 is hidden, so it cannot be hidden"),
        (["hidden", "removed"], "unhidden", "run 1 is removed, so it cannot be unhidden"),
        (["removed"], "removed", "run 1 is removed, so it cannot be removed"),
    ],
)
def test_what_cannot_be_done(store: Store, start: Start, done: list[str], what: str, says: str) -> None:
    run_id = start()
    for each in done:
        store.set_visibility(run_id, each, "")
    before = log(store, run_id)
    with pytest.raises(LeaderboardError, match=says):
        store.set_visibility(run_id, what, "")
    assert log(store, run_id) == before


def test_a_run_that_is_not_there(store: Store, run_record: RunRecord) -> None:
    says = r"there is no run 7 .*: harness runs lists them"
    with pytest.raises(LeaderboardError, match=says):
        store.set_visibility(7, "hidden", "")
    with pytest.raises(LeaderboardError, match=says):
        store.rename(7, "x", "")
    with pytest.raises(LeaderboardError, match=says):
        store.start_run(run_record, EVALUATION_SET, FINGERPRINT, {}, PAIRS, run_id=7)
    with pytest.raises(LeaderboardError, match=r"refused impossible data, nothing was stored: .*(?i:foreign key)"):
        store.note(7, "audited", "")
    assert (count(store, "events"), count(store, "runs")) == (0, 0)
    assert store.history(7) == ([], [])


def test_names_are_taken_once_on_an_evaluation_set(store: Store, start: Start, run_record: RunRecord) -> None:
    first, second = start(), start(key="b")
    elsewhere = store.start_run(run_record, replace(EVALUATION_SET, sha256="0" * 64), FINGERPRINT, {}, PAIRS)
    store.rename(first, "best", "we like it")
    store.rename(elsewhere, "best", "")
    with pytest.raises(LeaderboardError, match="run 1 on this evaluation set is called 'best': choose another name"):
        store.rename(second, "best", "")
    assert [status.name for status in store.statuses()] == ["best", None, "best"]
    assert [run.name for run in store.runs()] == ["best", None, "best"]
    event = store.history(first)[1][-1]
    assert (event.what, event.why, event.details) == ("renamed", "we like it", {"from": None, "to": "best"})
    # The name that it has is no news, and one that is given up is free.
    store.rename(first, "best", "again")
    store.rename(first, None, "no more")
    store.rename(second, "best", "")
    assert log(store, first) == [("entered", ""), ("renamed", "we like it"), ("renamed", "no more")]
    # Any number of runs may have no name.
    store.rename(second, None, "")
    assert [status.name for status in store.statuses()] == [None, None, "best"]


def test_a_corrected_declaration_is_one_row_with_a_history(store: Store, start: Start, run_record: RunRecord) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.5, 0.5)
    assert start(team="us", parameters=3, why="a typo") == run_id
    # Another key: the owner says that it is this run.
    assert start(run_id=run_id, key="b", settings={"overlap": 0.5}) == run_id
    assert count(store, "runs") == 1
    found = store.find_run(run_id)
    assert found.run == replace(run_record, key="b", settings={"overlap": 0.5})
    assert found.pairs["S1", "L1"].state == "scored"
    declared, events = store.history(run_id)
    assert [old.run["parameters"] for old in declared] == [83_900_000, 3]
    assert RunRecord(**declared[0].run) == run_record
    assert declared[0].replaced_at.endswith("Z")
    assert [event.what for event in events] == ["entered", "declared anew", "declared anew"]
    assert (events[1].why, events[1].details) == ("a typo", {"changed": ["parameters", "team"]})
    assert events[2].details == {"changed": ["key", "parameters", "settings", "team"]}


def test_where_the_files_lie_may_change_without_notice(store: Store, start: Start) -> None:
    run_id = start()
    start(submission="moved", folder="/elsewhere")
    assert store.find_run(run_id).run.folder == "/elsewhere"
    assert (count(store, "declarations"), count(store, "events")) == (0, 1)


def test_notes_go_into_the_log_and_nothing_else_changes(store: Store, start: Start) -> None:
    run_id = start()
    before = store.find_run(run_id)
    store.note(run_id, "audited", "doubts", {"sample": 3, "largest": 0.0})
    event = store.history(run_id)[1][-1]
    assert (event.run_id, event.what, event.why) == (run_id, "audited", "doubts")
    assert event.details == {"sample": 3, "largest": 0.0}
    assert event.at.endswith("Z")
    assert store.find_run(run_id) == before
