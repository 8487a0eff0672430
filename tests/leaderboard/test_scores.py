"""Scores belong to files: what is stored comes back to the last bit, and counts wherever the file is."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from stored import FILE, FINGERPRINT, PAIRS, add, count, give_score, mark, pair_of, reference

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import (
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    NewScore,
    RunRecord,
)
from harness_leaderboard.store import Store

Start = Callable[..., int]


def test_a_score_comes_back_to_the_last_bit(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id, 0.1 + 0.2, 1 / 3)
    pair = pair_of(store, run_id)
    assert (pair.state, pair.file_sha256, pair.clipped, pair.reason) == ("scored", FILE, 7, None)
    assert pair.locked is not None
    assert (pair.locked.left, pair.locked.right) == (0.1 + 0.2, 1 / 3)
    assert pair.locked.score == (0.1 + 0.2 + 1 / 3) / 2
    assert store.environments()[pair.locked.environment_sha256] == {"numpy": "2.0"}
    assert (pair.score, pair.locked.engine, pair.fast) == (pair.locked, "locked", None)
    assert (pair.difference, pair.disputed) == (None, False)


def test_a_score_counts_for_every_run_that_has_the_file(store: Store, start: Start) -> None:
    first, second = start(), start(key="b" * 64)
    # Stored before any run has the file.
    add(store, "S1", "L1", 0.4, 0.6)
    assert [run.scored for run in store.runs()] == [0, 0]
    for run_id in (first, second):
        mark(store, run_id, "S1", "L1")
        assert pair_of(store, run_id).state == "scored"
    assert [run.scores.score for run in store.runs()] == [(0.5,), (0.5,)]
    assert [run.shares for run in store.runs()] == [{second: 1}, {first: 1}]
    assert count(store, "scores") == 1


def test_a_file_belongs_to_its_reference(store: Store, start: Start) -> None:
    """The same bytes for another listener are another remix: silence scores differently for each."""
    run_id = start()
    give_score(store, run_id)
    mark(store, run_id, "S1", "L2")
    assert pair_of(store, run_id, "S1", "L2").state == "enhanced"


def test_listeners_with_the_same_audiograms_share_scores(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    pairs = [PAIRS[0], replace(PAIRS[1], reference_sha256=PAIRS[0].reference_sha256)]
    first, second = (
        store.start_run(replace(run_record, key=key), evaluation_set, FINGERPRINT, {}, pairs) for key in "ab"
    )
    add(store, "S1", "L1", 0.4, 0.6)
    for run_id in (first, second):
        store.mark_all_enhanced(run_id, [EnhancedFile("S1", listener, FILE, 0) for listener in ("L1", "L2")])
    assert [run.scored for run in store.runs()] == [2, 2]
    # It is one file that they share.
    assert [run.shares for run in store.runs()] == [{second: 1}, {first: 1}]


def both(store: Store, run_id: int, listener: str, fast: float, locked: tuple[float, float] | None = None) -> None:
    """Give the first scene a fast score, the right ear's being 0.2, and a locked one."""
    mark(store, run_id, "S1", listener)
    add(store, "S1", listener, fast, 0.2, "fast")
    if locked is not None:
        add(store, "S1", listener, *locked)


def test_a_checked_score_comes_back_with_its_check(store: Store, start: Start) -> None:
    run_id = start()
    both(store, run_id, "L1", 0.1 + 0.2, (0.3, 0.2 + 1e-9))
    found = pair_of(store, run_id)
    assert found.fast is not None
    assert found.locked is not None
    assert (found.fast.engine, found.fast.left, found.fast.right) == ("fast", 0.1 + 0.2, 0.2)
    assert (found.locked.engine, found.locked.left, found.locked.right) == ("locked", 0.3, 0.2 + 1e-9)
    assert found.score is found.locked
    assert found.difference == (0.2 + 1e-9) - 0.2
    assert not found.disputed


@pytest.mark.parametrize("locked", [(0.5, 0.2), (0.5 + 1.001e-6, 0.2), (0.5, 0.2 - 1.001e-6), (0.5 - 0.999e-6, 0.2)])
def test_a_score_is_disputed_from_the_tolerance_on(store: Store, start: Start, locked: tuple[float, float]) -> None:
    run_id = start()
    both(store, run_id, "L1", 0.5, locked)
    gap = max(abs(locked[0] - 0.5), abs(locked[1] - 0.2))
    assert pair_of(store, run_id).difference == gap
    assert pair_of(store, run_id).disputed == (gap > 1e-6)
    assert [run.largest_difference for run in store.runs()] == [gap]


def test_runs_count_fast_and_checked_scores(store: Store, start: Start) -> None:
    run_id = start()
    start(key="b" * 64)
    both(store, run_id, "L1", 0.5, (0.5 + 2e-9, 0.2))
    both(store, run_id, "L2", 0.5)
    mark(store, run_id, "S2", "L1")
    add(store, "S2", "L1", 0.1, 0.2)
    store.mark_failed(run_id, {("S2", "L2"): "it raised"})
    first, second = store.runs()
    assert (first.fast, first.checked, first.only_fast) == (2, 2, 1)
    assert first.largest_difference == (0.5 + 2e-9) - 0.5
    assert (first.failed, first.scored, len(first.scores.score)) == (1, 3, 3)
    assert (second.fast, second.checked, second.only_fast, second.largest_difference) == (0, 0, 0, None)
    # The right ear counts as much as the left, and the locked score is the one that counts.
    add(store, "S1", "L2", 0.5, 0.2 - 3e-9)
    (first, _) = store.runs()
    assert (first.fast, first.checked, first.only_fast) == (2, 4, 0)
    assert first.largest_difference == 0.2 - (0.2 - 3e-9)
    assert set(first.scores.left) == {0.5 + 2e-9, 0.5, 0.1}


@pytest.mark.parametrize("order", [("locked", "fast"), ("fast", "locked")])
@pytest.mark.parametrize("replaces", [False, True])
def test_the_locked_score_counts_whoever_came_first(
    store: Store, start: Start, order: tuple[Engine, Engine], replaces: bool
) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    for engine in order:
        add(store, "S1", "L1", *{"locked": (0.6, 0.2), "fast": (0.5, 0.2)}[engine], engine, replaces=replaces)
    pair = pair_of(store, run_id)
    assert pair.locked is not None
    assert pair.fast is not None
    assert (pair.locked.left, pair.fast.left, pair.score) == (0.6, 0.5, pair.locked)
    assert [run.scores.left for run in store.runs()] == [(0.6,)]


def test_an_unknown_engine_is_refused(store: Store, start: Start) -> None:
    start()
    with pytest.raises(LeaderboardError, match=r"refused impossible data.*ck_scores_engine"):
        add(store, "S1", "L1", 0.5, 0.2, "quick")  # type: ignore[arg-type]
    assert (count(store, "scores"), count(store, "remixes")) == (0, 0)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_range_are_scores(store: Store, start: Start, value: float) -> None:
    give_score(store, start(), value, value)
    (run,) = store.runs()
    assert run.scores.score == (value,)


def test_a_score_stays_unless_it_is_replaced(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id, 0.1, 0.1)
    add(store, "S1", "L1", 0.3, 0.3, environment={"numpy": "2.1"})
    assert [run.scores.score for run in store.runs()] == [(0.1,)]
    add(store, "S1", "L1", 0.3, 0.3, environment={"numpy": "2.1"}, replaces=True)
    assert [run.scores.score for run in store.runs()] == [(0.3,)]
    locked = pair_of(store, run_id).locked
    assert locked is not None
    assert store.environments()[locked.environment_sha256] == {"numpy": "2.1"}
    # Of two in one call the later one.
    twice = [NewScore(FILE, reference("S1", "L1"), "locked", value, value, replaces=True) for value in (0.4, 0.5)]
    store.add_scores(twice, FINGERPRINT, {"locked": {}, "fast": {}})
    assert [run.scores.score for run in store.runs()] == [(0.5,)]


def test_equal_environments_are_stored_once(store: Store, start: Start) -> None:
    start()
    for listener, environment in (("L1", {"a": "1", "b": "2"}), ("L2", {"b": "2", "a": "1"})):
        add(store, "S1", listener, 0.5, 0.5, environment=environment)
    assert count(store, "environments") == 1


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
@pytest.mark.parametrize("ear", ["left", "right"])
def test_impossible_scores_are_refused(store: Store, start: Start, ear: str, value: float) -> None:
    start()
    good = NewScore(FILE, reference("S1", "L1"), "locked", 0.5, 0.5)
    ears = {"left": 0.5, "right": 0.5, ear: value}
    bad = NewScore(FILE, reference("S1", "L2"), "fast", ears["left"], ears["right"])
    with pytest.raises(LeaderboardError, match=f"remix 1{{12}}: the {ear} score {value} is not from 0 to 1"):
        store.add_scores([good, bad], FINGERPRINT, {"locked": {}, "fast": {}})
    assert count(store, "scores") == 0


def test_scores_of_an_unknown_evaluator_or_reference_are_refused(store: Store, start: Start) -> None:
    start()
    with pytest.raises(LeaderboardError, match="no run was entered under evaluator 000000000000: enter one first"):
        add(store, "S1", "L1", 0.5, 0.5, fingerprint="0" * 64)
    with pytest.raises(LeaderboardError, match=r"no evaluation set has the reference [0-9a-f]{12}: enter it first"):
        add(store, "S9", "L1", 0.5, 0.5)
    assert (count(store, "scores"), count(store, "environments")) == (0, 0)


def test_each_evaluator_has_its_own_scores(store: Store, start: Start) -> None:
    run_id, other = start(), "0" * 64
    give_score(store, run_id, 0.1, 0.2)
    add(store, "S1", "L1", 0.1, 0.2, "fast")
    assert start(fingerprint=other) == run_id
    assert [(run.fingerprint, run.scored) for run in store.runs()] == [(FINGERPRINT, 1), (other, 0)]
    assert store.find_run(run_id).status.fingerprint == other
    assert pair_of(store, run_id).state == "enhanced"
    add(store, "S1", "L1", 0.7, 0.8, fingerprint=other)
    old, new = store.find_run(run_id, FINGERPRINT).pairs["S1", "L1"], pair_of(store, run_id)
    assert old.locked is not None
    assert old.fast is not None
    assert new.locked is not None
    assert (old.locked.left, new.locked.left, new.fast) == (0.1, 0.7, None)
    first, second = store.runs()
    assert (first.fingerprint, first.scores.left, first.fast) == (FINGERPRINT, (0.1,), 1)
    assert (second.fingerprint, second.scores.left, second.fast) == (other, (0.7,), 0)
