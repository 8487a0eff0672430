"""Checks of parts of fast scores: kept beside them, counted while the score is the same, moved and guarded as they."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from stored import FILE, FINGERPRINT, add, by_hand, count, mark, pair_of, reference

from harness_leaderboard.checks import Checker, from_text, is_margin
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.merging import Merged
from harness_leaderboard.ranking import Row, boards
from harness_leaderboard.records import NewCheck, NewScore
from harness_leaderboard.store import Store

Start = Callable[..., int]

ENVIRONMENTS: dict[Any, dict[str, str]] = {"locked": {"numpy": "2.0"}, "fast": {"numpy": "2.0", "fast_engine": "f"}}


def fast(
    store: Store,
    listener: str = "L1",
    left: float = 0.1 + 0.2,
    scene: str = "S1",
    in_double: tuple[str, ...] | None = (),
    margin: float | None = 1.5,
    closest: str | None = "right",
    replaces: bool = False,
    stems: dict[str, float] | None = None,
) -> None:
    """Store a fast score; the right ear's is 1/3."""
    found = NewScore(
        *(FILE, reference(scene, listener), "fast", left, 1 / 3, replaces, stems),
        *(in_double, margin, closest),
    )
    store.add_scores([found], FINGERPRINT, ENVIRONMENTS)


def check(
    store: Store,
    part: str = "left",
    by: Checker = "locked",
    score: float = 0.1 + 0.2,
    of: float = 0.1 + 0.2,
    listener: str = "L1",
) -> None:
    """Store a check."""
    found = NewCheck(FILE, reference("S1", listener), part, by, score, of)
    store.add_scores([], FINGERPRINT, ENVIRONMENTS, [found])


def row(store: Store) -> Row:
    (board,) = boards(store.runs())
    (found,) = board.rows
    return found


def complete(store: Store, start: Start) -> int:
    """A run with fast scores of all its pairs."""
    run_id = start()
    for scene in ("S1", "S2"):
        for listener in ("L1", "L2"):
            mark(store, run_id, scene, listener)
            fast(store, listener, scene=scene)
    return run_id


def test_how_a_score_was_computed_comes_back(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    fast(store, in_double=("right", "left"), margin=1 + 1e-9, closest="left")
    found = pair_of(store, run_id).fast
    assert found is not None
    assert (found.in_double, found.margin, found.closest) == (("left", "right"), 1 + 1e-9, "left")
    fast(store, in_double=None, margin=None, closest=None, replaces=True)
    found = pair_of(store, run_id).fast
    assert found is not None
    assert (found.in_double, found.margin, found.closest) == (None, None, None)
    assert not pair_of(store, run_id).changed


def test_a_check_comes_back_to_the_last_bit(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    fast(store)
    assert (pair_of(store, run_id).checks, pair_of(store, run_id).difference) == ((), None)
    check(store, score=0.3)
    check(store, "right", "fast64", 1 / 3 + 1e-9, 1 / 3)
    pair = pair_of(store, run_id)
    left, right = pair.checks
    assert (left.part, left.by, left.score, left.fast) == ("left", "locked", 0.3, 0.1 + 0.2)
    assert store.environments()[left.environment_sha256] == ENVIRONMENTS["locked"]
    assert store.environments()[right.environment_sha256] == ENVIRONMENTS["fast"]
    assert pair.difference == right.difference == (1 / 3 + 1e-9) - 1 / 3
    assert not pair.disputed
    (run,) = store.runs()
    assert (run.fast, run.parts, run.in_single, run.in_double) == (1, 2, 2, 0)
    assert (run.checked, run.checked_in_double, run.largest_difference) == (1, 1, right.difference)
    # The later one counts.
    check(store, score=0.3 + 2e-6)
    assert pair_of(store, run_id).disputed
    assert [run.checked for run in store.runs()] == [1]


def test_a_check_counts_only_for_the_score_that_was_checked(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    fast(store)
    check(store, score=0.9)
    assert pair_of(store, run_id).disputed
    fast(store, left=0.9, replaces=True)
    assert (pair_of(store, run_id).checks, pair_of(store, run_id).changed) == ((), False)
    assert [(run.checked, run.largest_difference) for run in store.runs()] == [(0, None)]
    # Kept all the same.
    fast(store, replaces=True)
    assert pair_of(store, run_id).disputed


def test_a_locked_score_of_a_pair_checks_all_its_parts(store: Store, start: Start) -> None:
    run_id = complete(store, start)
    add(store, "S1", "L1", 0.3, 1 / 3)
    check(store, score=0.3 + 1e-9)
    (run,) = store.runs()
    assert (run.checked, run.only_fast, run.largest_difference) == (2, 3, (0.3 + 1e-9) - (0.1 + 0.2))
    assert store.find_run(run_id).pairs["S1", "L1"].score.engine == "locked"  # type: ignore[union-attr]


def test_a_run_ranks_once_it_is_checked(store: Store, start: Start) -> None:
    complete(store, start)
    assert (row(store).status, row(store).why_not_ranked) == ("unchecked", "0 of 2 checks by double precision made")
    check(store, by="fast64")
    assert row(store).status == "unchecked"
    check(store, "right", "fast64", 1 / 3, 1 / 3)
    assert row(store).rank == 1
    check(store, "right", "locked", 1 / 3 + 2e-6, 1 / 3)
    assert row(store).status == "disputed"
    assert str(row(store).why_not_ranked).startswith("a fast score differs from its check by 2e-06")


def test_runs_from_before_stay_as_checked_as_they_were(store: Store, start: Start) -> None:
    """Scores that say nothing of precision, two of four pairs with both engines'."""
    run_id = start()
    for scene in ("S1", "S2"):
        for listener in ("L1", "L2"):
            mark(store, run_id, scene, listener)
            add(store, scene, listener, 0.5, 0.5, "fast")
    assert row(store).source.checks_lacking == ()
    add(store, "S1", "L1", 0.5, 0.5)
    add(store, "S2", "L2", 0.5, 0.5)
    assert (row(store).rank, row(store).source.checked, row(store).source.in_single) == (1, 4, 0)


@pytest.mark.parametrize(
    ("part", "score", "of"),
    [("left", 1.1, 0.5), ("left", float("nan"), 0.5), ("left", 0.5, -0.1), ("", 0.5, 0.5), ("middle", 0.5, 0.5)],
)
def test_what_cannot_be_a_check_is_refused(store: Store, start: Start, part: str, score: float, of: float) -> None:
    start()
    with pytest.raises(LeaderboardError, match=rf"'locked' cannot have checked '{part}' with .* it was not stored"):
        check(store, part, "locked", score, of)
    with pytest.raises(LeaderboardError, match="'quick' cannot have checked 'left'"):
        check(store, by="quick")  # type: ignore[arg-type]
    assert count(store, "checks") == count(store, "remixes") == 0


@pytest.mark.parametrize(
    "how",
    [
        {"margin": 0.9},
        {"margin": float("nan")},
        {"margin": float("inf")},
        {"closest": "nose"},
        {"margin": None},
        {"in_double": ("a b",)},
    ],
)
def test_what_no_score_can_say_of_itself_is_refused(store: Store, start: Start, how: dict[str, Any]) -> None:
    start()
    with pytest.raises(LeaderboardError, match="a score cannot have the margin"):
        fast(store, **how)
    assert count(store, "scores") == 0


def test_names_of_parts_and_margins() -> None:
    assert [from_text(each) for each in (None, "", "left", "left right_vocals")] == [
        None, (), ("left",), ("left", "right_vocals"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not what a leaderboard writes"):
        from_text("left  right")
    assert is_margin(None, None)
    assert is_margin(1.0, "left")
    assert not is_margin(None, "left")
    assert not is_margin("2", "left")


BY_HAND = [
    ("UPDATE checks SET score = 0.5 WHERE part = 'left'", "1 check"),
    ("UPDATE checks SET fast_score = 0.5", "2 checks"),
    ("UPDATE checks SET part = 'right_vocals' WHERE part = 'left'", "1 check"),
    ("UPDATE checks SET checked_at = '2020-01-01T00:00:00Z' WHERE part = 'left'", "1 check"),
    ("UPDATE checks SET checksum = NULL", "2 checks"),
    ("UPDATE scores SET in_double = 'left' WHERE remix_id = 1", "1 score"),
    ("UPDATE scores SET in_double = NULL WHERE remix_id = 1", "1 score"),
    ("UPDATE scores SET margin = 2 WHERE remix_id = 1", "1 score"),
    ("UPDATE scores SET closest = 'left' WHERE remix_id = 1", "1 score"),
]


@pytest.mark.parametrize(("statement", "what"), BY_HAND)
@pytest.mark.parametrize("kept", [False, True])
def test_what_is_changed_by_hand_is_noticed_and_dropped(
    store: Store, start: Start, statement: str, what: str, kept: bool
) -> None:
    run_id = complete(store, start)
    check(store, by="fast64")
    check(store, "right", "fast64", 1 / 3, 1 / 3)
    assert row(store).rank == 1
    if kept:
        store.keep_summaries()
    by_hand(store, statement)
    assert (row(store).status, row(store).source.changed) == ("changed", (what,))
    assert store.find_run(run_id).changed == ("1 pair",)
    (whole,) = store.whole_runs()
    assert whole.scored.changed == (what,)
    assert store.drop_changed(run_id) == int(what[0])
    assert row(store).status == ("unchecked" if "check" in what else "incomplete")


def test_checks_that_are_gone_are_missed(store: Store, start: Start) -> None:
    run_id = complete(store, start)
    check(store, by="fast64")
    check(store, "right", "fast64", 1 / 3, 1 / 3)
    store.keep_summaries()
    by_hand(store, "DELETE FROM checks WHERE part = 'left'")
    assert row(store).status == "unchecked"
    store.keep_summaries()
    # Without the triggers, the sums that are kept still tell of them.
    by_hand(store, "DROP TRIGGER checks_deleted", "DELETE FROM checks")
    assert store.find_run(run_id).changed == ("its scores",)


def test_a_check_reaches_the_sums_of_every_run_with_the_file(store: Store, start: Start) -> None:
    runs = start(), start(key="b" * 64)
    for run_id in runs:
        mark(store, run_id, "S1", "L1")
    fast(store)
    store.keep_summaries()
    check(store)
    assert [run.checked for run in store.runs()] == [1, 1]


@pytest.fixture
def other(new_url: Callable[..., str]) -> Any:
    with Store.open(new_url() + "?timeout=1", create=True) as opened:
        yield opened


def test_checks_move_with_their_scores(store: Store, start: Start, other: Store, tmp_path: Path) -> None:
    run_id = complete(store, start)
    check(store, by="fast64")
    check(store, "right", "locked", 1 / 3 + 2e-6, 1 / 3, "L2")
    assert store.export(tmp_path / "all.db") == Merged(runs=1, scores=4, checks=2)
    assert other.import_(tmp_path / "all.db", "") == Merged(runs=1, scores=4, checks=2)
    assert other.import_(tmp_path / "all.db", "") == Merged(known=4)
    for listener in ("L1", "L2"):
        theirs, ours = (pair_of(each, run_id, listener=listener) for each in (store, other))
        assert (ours.checks, ours.fast, ours.changed) == (theirs.checks, theirs.fast, False)
    assert row(other).status == "disputed"


def test_checks_that_somebody_else_wrote_stay_behind(store: Store, start: Start, other: Store, tmp_path: Path) -> None:
    complete(store, start)
    check(store, by="fast64")
    check(store, "right", "fast64", 1 / 3, 1 / 3)
    by_hand(store, "UPDATE checks SET score = 0.5 WHERE part = 'left'")
    store.export(tmp_path / "all.db")
    merged = other.import_(tmp_path / "all.db", "")
    assert (merged.checks, merged.refused) == (1, 0)
    assert count(other, "checks") == 1
    # Ours that somebody else wrote gives way to theirs.
    check(store, by="fast64")
    by_hand(other, "UPDATE checks SET score = 0.5")
    (tmp_path / "all.db").unlink()
    store.export(tmp_path / "all.db")
    assert other.import_(tmp_path / "all.db", "").checks == 2
    assert row(other).rank == 1


def test_stems_are_checked_one_by_one(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    stems = {"left_bass": 0.25, "left_drums": 0.35, "right_bass": 1 / 3, "right_drums": 1 / 3}
    fast(store, left=0.3, stems=stems, in_double=("left_bass",), closest="right_bass")
    check(store, "left_drums", "fast64", 0.35 - 1e-9, 0.35)
    check(store, "left", "fast64", 0.9, 0.3)  # is none: ears are means here
    (run,) = store.runs()
    assert (run.parts, run.in_single, run.in_double, run.checked_in_double) == (4, 3, 1, 1)
    assert run.largest_difference == pytest.approx(1e-9, rel=1e-6)
    with store.engine.connect() as connection:
        assert connection.execute(text("SELECT in_double, closest FROM scores")).one() == ("left_bass", "right_bass")
