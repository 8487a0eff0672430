"""The figures, by hand and by other ways of computing them; and who is ranked at all."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from harness_leaderboard.estimates import estimate
from harness_leaderboard.ranking import boards, breakdown, compare
from harness_leaderboard.records import By, EvaluationSetRecord, PairScores, SceneSums, ScoredRun

MakeRun = Callable[..., ScoredRun]
Rows = list[tuple[str, str, str, float, float]]


def rows(*scores: float) -> Rows:
    """Two scenes with two listeners each, both ears alike."""
    pairs = [("S1", "L1", "one"), ("S1", "L2", "one"), ("S2", "L1", "two"), ("S2", "L2", "two")]
    return [(*pair, score, score) for pair, score in zip(pairs, scores, strict=False)]


def test_the_order_of_pairs_changes_no_digit(scored_run: MakeRun) -> None:
    random_numbers = random.Random(3)
    many: Rows = [
        (f"S{i % 40}", f"L{i // 40}", "track", random_numbers.random(), random_numbers.random()) for i in range(400)
    ]
    other = many.copy()
    random_numbers.shuffle(other)
    (one,) = boards([scored_run(many)])[0].rows
    (two,) = boards([scored_run(other)])[0].rows
    assert replace(one, source=two.source) == two
    assert one.source.sums == two.source.sums


def test_ranks_by_mean_and_shares_them(scored_run: MakeRun) -> None:
    (board,) = boards(
        [
            scored_run(rows(0.5, 0.5, 0.5, 0.5), system="third"),
            scored_run(rows(0.9, 0.7, 0.8, 0.8), system="second"),
            scored_run(rows(0.1, 0.1, 0.1, 0.1), system="last"),
            scored_run(rows(0.7, 0.9, 0.8, 0.8), system="first"),
        ]
    )
    assert [(row.rank, row.run.system) for row in board.rows] == [
        (1, "first"),
        (1, "second"),
        (3, "third"),
        (4, "last"),
    ]
    assert all(row.why_not_ranked is None and row.status == "ranked" for row in board.rows)


def test_the_order_of_runs_changes_nothing(scored_run: MakeRun) -> None:
    runs = [scored_run(rows(0.5, 0.5, 0.5, score), system=f"s{i}") for i, score in enumerate((0.5, 0.4, 0.5))]
    assert boards(runs) == boards(runs[::-1])


def test_who_is_not_ranked_and_why(scored_run: MakeRun) -> None:
    best = rows(0.9, 0.9, 0.9, 0.9)
    (board,) = boards(
        [
            scored_run(best, system="oracle", reference=True),
            scored_run(best, system="htdemucs", not_eligible="trained on private data"),
            scored_run(rows(1, 1, 1), system="hopeful", failed=1),
            scored_run([], system="new"),
            scored_run(rows(0.1, 0.1, 0.1, 0.1), system="modest"),
        ]
    )
    assert [(row.rank, row.run.system, row.status, row.why_not_ranked) for row in board.rows] == [
        (1, "modest", "ranked", None),
        (None, "hopeful", "incomplete", "3 of 4 pairs scored, 1 failed"),
        (None, "htdemucs", "not eligible", "trained on private data"),
        (None, "oracle", "reference", "a reference, not a system that competes"),
        (None, "new", "incomplete", "0 of 4 pairs scored"),
    ]
    hopeful, new = board.rows[1], board.rows[4]
    assert hopeful.estimate is not None
    assert (hopeful.estimate.mean, hopeful.scored, hopeful.due) == (1, 3, 4)
    assert (new.estimate, new.left, new.right) == (None, None, None)


def test_fast_and_locked_scores_rank_together(scored_run: MakeRun) -> None:
    (board,) = boards(
        [
            scored_run(rows(0.5, 0.5, 0.5, 0.5), system="locked"),
            scored_run(rows(0.6, 0.6, 0.6, 0.6), system="fast", fast=4, checked=2, largest_difference=3e-10),
            scored_run(rows(0.4, 0.4, 0.4, 0.4), system="mixed", fast=1, checked=1, largest_difference=0.0),
            scored_run(rows(0.3, 0.3, 0.3, 0.3), system="close", fast=4, checked=4, largest_difference=1e-6),
        ]
    )
    assert [(row.rank, row.run.system, row.status) for row in board.rows] == [
        (1, "fast", "ranked"),
        (2, "locked", "ranked"),
        (3, "mixed", "ranked"),
        (4, "close", "ranked"),
    ]


def test_a_disputed_run_is_that_before_all_else(scored_run: MakeRun) -> None:
    best = rows(0.9, 0.9, 0.9, 0.9)
    dispute = {"fast": 4, "checked": 1, "largest_difference": 2.5e-6}
    (board,) = boards(
        [
            scored_run(best, system="complete", **dispute),
            scored_run(best, system="oracle", reference=True, **dispute),
            scored_run(best, system="private", not_eligible="trained on private data", **dispute),
            scored_run(best[:3], system="part", **{**dispute, "fast": 3}),
            scored_run(rows(0.1, 0.1, 0.1, 0.1), system="modest"),
        ]
    )
    assert board.rows[0].run.system == "modest"
    why = "a fast score differs from its check by 2.5e-06, more than 1e-06"
    assert [(row.rank, row.status, row.why_not_ranked) for row in board.rows[1:]] == [(None, "disputed", why)] * 4
    assert [row.run.system for row in board.rows[1:]] == ["complete", "oracle", "part", "private"]


def test_a_run_with_too_few_checks_is_that_last_of_all(scored_run: MakeRun) -> None:
    best = rows(0.9, 0.9, 0.9, 0.9)
    (board,) = boards(
        [
            scored_run(best, system="a", fast=4, checked_in_double=1, largest_difference=0.0),
            scored_run(best, system="b", fast=1, checked_in_double=0),
            scored_run(best, system="c", fast=4, reference=True),
            scored_run(best, system="d", fast=4, not_eligible="private"),
            scored_run(best[:3], system="e", fast=3),
        ]
    )
    assert [(row.rank, row.run.system, row.status, row.why_not_ranked) for row in board.rows] == [
        (None, "a", "unchecked", "1 of 2 checks by double precision made"),
        (None, "b", "unchecked", "0 of 2 checks by double precision made"),
        (None, "c", "reference", "a reference, not a system that competes"),
        (None, "d", "not eligible", "private"),
        (None, "e", "incomplete", "3 of 4 pairs scored"),
    ]


def test_a_part_of_the_set_is_not_the_set(scored_run: MakeRun) -> None:
    (row,) = boards([scored_run(rows(0.9, 0.9))])[0].rows
    assert (row.rank, row.status, row.why_not_ranked) == (None, "incomplete", "2 of 4 pairs scored")


def test_evaluators_and_sets_are_never_mixed(scored_run: MakeRun, evaluation_set: EvaluationSetRecord) -> None:
    complete = rows(0.5, 0.5, 0.5, 0.5)
    other = replace(evaluation_set, sha256="0" * 64)
    found = boards(
        [
            scored_run(complete, system="a"),
            scored_run(complete, system="b", fingerprint="0" * 64),
            scored_run(complete, system="c", about=other),
            scored_run(complete, system="d", about=replace(other, name="another")),
            scored_run(complete, system="e"),
        ]
    )
    # The set's hash is its identity, so "c" and "d" are on one board whatever it is called.
    assert [[row.run.system for row in board.rows] for board in found] == [["c", "d"], ["b"], ["a", "e"]]
    assert [board.rows[0].rank for board in found] == [1, 1, 1]


def test_means_of_the_ears(scored_run: MakeRun) -> None:
    (row,) = boards([scored_run([("S1", "L1", "one", 0.2, 0.4), ("S2", "L1", "one", 0.4, 0.8)])])[0].rows
    assert (row.left, row.right) == pytest.approx((0.3, 0.6))
    assert row.estimate is not None
    assert row.estimate.mean == pytest.approx(0.45)


def test_breakdowns(scored_run: MakeRun) -> None:
    pairs: Rows = [
        ("S1", "L1", "one", 0.1, 0.3),
        ("S2", "L1", "one", 0.3, 0.5),
        ("S3", "L2", "two", 0.6, 0.8),
    ]
    (board,) = boards([scored_run(pairs, system="a"), scored_run(pairs[:1], system="b")])
    found = [(group.name, group.row.run.system, group.pairs) for group in breakdown(board, By.track)]
    assert found == [("one", "a", 2), ("one", "b", 1), ("two", "a", 1)]
    first = breakdown(board, By.listener)[0]
    assert (first.name, first.pairs) == ("L1", 2)
    assert (first.mean, first.left, first.right) == pytest.approx((0.3, 0.2, 0.4))
    assert [group.name for group in breakdown(board, By.scene)] == ["S1", "S1", "S2", "S3"]


def test_comparison_is_paired(scored_run: MakeRun) -> None:
    (board,) = boards(
        [
            scored_run(rows(0.10, 0.50, 0.30, 0.90), system="below"),
            # The same pairs in another order.
            scored_run(rows(0.12, 0.54, 0.36, 0.98)[::-1], system="above"),
            scored_run(rows(1, 1, 1, 1), system="oracle", reference=True),
        ]
    )
    (comparison,) = compare(board)
    assert (comparison.above.run.system, comparison.row.run.system) == ("above", "below")
    # Differences 0.02, 0.04 | 0.06, 0.08: mean 0.05, sums of residuals -0.04, 0.04: V = 2 * 0.0032 / 16
    assert comparison.behind.mean == pytest.approx(0.05)
    assert comparison.behind.high == pytest.approx(0.05 + 12.706204736 * 0.02)
    assert comparison.behind.p == pytest.approx(1 - 2 / math.pi * math.atan(0.05 / 0.02))
    assert comparison.behind.pairs == 4


def test_comparison_takes_scenes_of_different_sizes_for_what_they_are(
    scored_run: MakeRun, evaluation_set: EvaluationSetRecord
) -> None:
    about = replace(evaluation_set, scenes=2, pairs=5)
    extra = [("S2", "L3", "two", 0.5, 0.5)]
    (board,) = boards(
        [
            scored_run([*rows(0.1, 0.2, 0.3, 0.4), *extra], about=about, system="below"),
            scored_run([*extra, *rows(0.2, 0.4, 0.3, 0.7)], about=about, system="above"),
        ]
    )
    (comparison,) = compare(board)
    expected = estimate(["S1", "S1", "S2", "S2", "S2"], [0.1, 0.2, 0.0, 0.3, 0.0])
    assert comparison.behind.pairs == 5
    assert comparison.behind.mean == pytest.approx(expected.mean, abs=1e-15)
    assert (comparison.behind.low, comparison.behind.high, comparison.behind.p) == pytest.approx(
        (expected.low, expected.high, expected.p), abs=1e-12
    )


def test_equal_runs_are_nothing_apart(scored_run: MakeRun) -> None:
    (board,) = boards([scored_run(rows(0.1, 0.7, 0.3, 0.2), system=name) for name in "ab"])
    (comparison,) = compare(board)
    assert [row.rank for row in board.rows] == [1, 1]
    assert (comparison.behind.mean, comparison.behind.low, comparison.behind.high) == (0, 0, 0)
    assert comparison.behind.p == 1


def test_columns_of_unequal_length_are_noticed() -> None:
    with pytest.raises(ValueError, match="zip"):
        SceneSums.of(PairScores(("S1",), ("L1",), ("one",), (0.5,), (0.5,), (0.5, 0.6)))


def test_sums_are_exact_whatever_the_order() -> None:
    draw = random.Random(11)
    pairs: list[tuple[Any, ...]] = [
        (f"S{i % 7}", f"L{i // 7}", "t", *(draw.random() for _ in range(3))) for i in range(700)
    ]
    sums = SceneSums.of(PairScores(*zip(*pairs, strict=True)))
    draw.shuffle(pairs)
    assert SceneSums.of(PairScores(*zip(*pairs, strict=True))) == sums
    assert sums.scene == tuple(f"S{i}" for i in range(7))
    assert sums.pairs == (100,) * 7
    exact = sum((Fraction(float(pair[5])) for pair in pairs if pair[0] == "S3"), Fraction())
    assert sums.score[3] == float(exact)
    assert SceneSums.of(PairScores()) == SceneSums()


def test_scores_of_pairs_are_read_once_and_only_for_a_breakdown(scored_run: MakeRun) -> None:
    run = scored_run(rows(0.1, 0.2, 0.3, 0.4))
    read = []

    def load() -> PairScores:
        read.append(1)
        return run.scores

    (board,) = boards([replace(run, load_scores=load)])
    compare(board)
    assert read == []
    breakdown(board, By.listener)
    breakdown(board, By.pair)
    assert read == [1]


def test_fast_scores_beside_locked_ones_decide_nothing(scored_run: MakeRun) -> None:
    best = rows(0.9, 0.9, 0.9, 0.9)
    (board,) = boards(
        [
            scored_run(best, fast=4, checked=4, largest_difference=0.1, only_fast=0),
            scored_run(best, system="b", fast=3, only_fast=0, checked_in_double=0),
        ]
    )
    assert [row.status for row in board.rows] == ["ranked", "ranked"]
