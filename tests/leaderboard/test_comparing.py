"""Differences between two runs, which runs tie, and the sentence that says so."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import statsmodels.api
from statsmodels.stats.multitest import multipletests

from harness_leaderboard import comparing, ties
from harness_leaderboard.comparing import basis, differences, in_words
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.estimates import Estimate, estimate
from harness_leaderboard.ranking import Board, boards
from harness_leaderboard.records import EvaluationSetRecord, SceneSums, ScoredRun
from harness_leaderboard.ties import Compared, compare_all, groups

MakeRun = Callable[..., ScoredRun]
Rows = list[tuple[str, str, str, float, float]]

SCENES, LISTENERS = 30, 4


def made(
    scored_run: MakeRun, means: Sequence[float], noise: float = 0.02, scenes: int = SCENES, **declared: Any
) -> Board:
    """A board of systems A, B, ... around these means; scenes of unequal size, three scenes to a track."""
    draw = np.random.default_rng(7)
    pairs = [(s, who) for s in range(scenes) for who in range(LISTENERS) if who <= s % LISTENERS]
    about = EvaluationSetRecord("made", "valid", "e" * 64, scenes, len(pairs))
    common = draw.uniform(0.3, 0.6, scenes)
    runs = []
    for number, mean in enumerate(means):
        scores = [common[s] + mean + draw.normal(0, noise) for s, _ in pairs]
        rows = [
            (f"S{s:02}", f"L{who}", f"T{s // 3}", score, score) for (s, who), score in zip(pairs, scores, strict=True)
        ]
        runs.append(scored_run(rows, about=about, system=chr(ord("A") + number), **declared))
    (board,) = boards(runs)
    return board


def test_differences_are_paired_and_clustered_by_scene_and_by_track(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.01, 0.0])
    (found,) = differences(board.rows)
    first, second = (row.source.scores for row in board.rows)
    assert first.scene == second.scene
    gaps = [ours - theirs for ours, theirs in zip(first.score, second.score, strict=True)]
    assert (found.first, found.second) == board.rows
    for by, clusters in ((found.by_scene, first.scene), (found.by_track, first.track)):
        expected = estimate(clusters, gaps)
        assert (by.mean, by.low, by.high) == pytest.approx((expected.mean, expected.low, expected.high), rel=1e-9)
        assert by.p == pytest.approx(expected.p, rel=1e-6)
        assert (by.pairs, by.clusters, by.df) == (expected.pairs, expected.clusters, pytest.approx(expected.df))
        assert by.clusters == len(set(clusters))
    assert found.won == sum(gap > 0 for gap in gaps)
    assert found.lost == sum(gap < 0 for gap in gaps)
    assert (found.tied, found.pairs) == (0, len(gaps))


def test_the_other_way_round_everything_is_turned(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.01, 0.0])
    (one,), (other,) = differences(board.rows), differences(board.rows[::-1])
    assert one.by_scene.low is not None
    assert (one.by_scene.mean, one.by_scene.low, one.won) == pytest.approx(
        (-other.by_scene.mean, -(other.by_scene.high or 0), other.lost), rel=1e-12
    )
    assert one.by_scene.p == pytest.approx(other.by_scene.p, rel=1e-9)


def test_scenes_of_one_size_are_statsmodels_clusters(scored_run: MakeRun) -> None:
    draw = np.random.default_rng(3)
    pairs = [(f"S{s}", f"L{who}", f"T{s // 2}") for s in range(8) for who in range(3)]
    first, second = draw.uniform(0.2, 0.8, (2, len(pairs)))
    runs = [scored_run([(*pair, x, x) for pair, x in zip(pairs, xs, strict=True)]) for xs in (first, second)]
    about = EvaluationSetRecord("made", "valid", "e" * 64, 8, 24)
    (board,) = boards([replace(run, evaluation_set=about, id=number) for number, run in enumerate(runs)])
    rows = sorted(board.rows, key=lambda row: row.source.id)
    (found,) = differences(rows)
    for by, place in ((found.by_scene, 0), (found.by_track, 2)):
        clusters = np.unique([pair[place] for pair in pairs], return_inverse=True)[1]
        fitted = statsmodels.api.OLS(first - second, np.ones(24)).fit(
            cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True
        )
        assert (by.mean, by.low, by.high) == pytest.approx((fitted.params[0], *fitted.conf_int()[0]), rel=1e-9)
        assert by.p == pytest.approx(fitted.pvalues[0], rel=1e-9)


def test_p_values_of_all_comparisons_are_adjusted_together(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.012, 0.006, 0.003, 0.0])
    found = differences(board.rows)
    assert [(d.first.run.system, d.second.run.system) for d in found] == list(
        itertools.combinations([row.run.system for row in board.rows], 2)
    )
    for raw, adjusted in (("by_scene", "p_adjusted"), ("by_track", "p_adjusted_by_track")):
        expected = multipletests([getattr(d, raw).p for d in found], method="holm")[1]
        assert [getattr(d, adjusted) for d in found] == pytest.approx(expected.tolist(), rel=1e-12)
    assert {d.significant for d in found} == {True, False}
    assert all(d.significant == ((d.p_adjusted or 0) < 0.05) for d in found)


def test_boards_and_differences_say_the_same(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.012, 0.006, 0.003, 0.0])
    by_pairs = differences(board.ranked)
    assert len(board.compared) == len(by_pairs) == 6
    for (places, by_sums), by_pair in zip(board.compared.items(), by_pairs, strict=True):
        assert (board.rows[places[0]], board.rows[places[1]]) == (by_pair.first, by_pair.second)
        assert by_sums.difference.mean == pytest.approx(by_pair.by_scene.mean, abs=1e-15)
        assert by_sums.difference.low == pytest.approx(by_pair.by_scene.low, abs=1e-14)
        assert by_sums.p_adjusted == pytest.approx(by_pair.p_adjusted, rel=1e-6)


def test_runs_with_holes_are_compared_over_what_both_have(scored_run: MakeRun) -> None:
    pairs = [(f"S{s}", f"L{who}", f"T{s}") for s in range(4) for who in range(2)]
    about = EvaluationSetRecord("made", "valid", "e" * 64, 4, 8)
    one = scored_run([(*pair, 0.5, 0.5) for pair in pairs[:6]], about=about, system="one")
    values = [(*pair, 0.1 * place, 0.1 * place) for place, pair in enumerate(pairs)]
    two = scored_run(values[2:], about=about, system="two")
    (board,) = boards([one, two])
    one_row, two_row = sorted(board.rows, key=lambda row: row.run.system)
    (found,) = differences([one_row, two_row])
    # Over S1 and S2: 0.5 less 0.2, 0.3 | 0.4, 0.5.
    assert (found.pairs, found.by_scene.clusters) == (4, 2)
    assert found.by_scene.mean == pytest.approx(0.15)
    assert (found.won, found.lost, found.tied) == (3, 0, 1)
    three = scored_run([(*pair, 0.5, 0.5) for pair in pairs[:2]], about=about, system="three")
    (board,) = boards([two, three])
    with pytest.raises(LeaderboardError, match=r"runs \d and \d have no scored pair in common"):
        differences(board.rows)


def test_equal_runs_and_a_single_scene(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.0, 0.0], noise=0.0)
    (found,) = differences(board.rows)
    assert (found.by_scene.mean, found.by_scene.low, found.p_adjusted) == (0, 0, 1)
    assert (found.won, found.lost, found.tied) == (0, 0, found.pairs)
    assert not found.significant
    board = made(scored_run, [0.1, 0.0], scenes=1)
    (found,) = differences(board.rows)
    assert (found.by_scene.p, found.p_adjusted, found.significant) == (None, None, False)
    assert differences(board.rows[:1]) == differences([]) == []


def test_a_difference_that_is_always_the_same_is_beyond_doubt(scored_run: MakeRun) -> None:
    # 0.1 cannot be written in binary: rounding must not become a spread.
    board = made(scored_run, [0.1, 0.0], noise=0.0)
    (found,) = differences(board.rows)
    assert found.by_scene.mean == pytest.approx(0.1)
    assert (found.by_scene.p, found.by_track.p) == (0, 0)
    assert board.compared[0, 1].difference.p == 0


def compared(runs: int, apart: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Compared]:
    """Comparisons of which these are significant."""
    nothing = Estimate(0.01, 0.0, 0.02, 0.01, 10, 5, 4.0)
    return {
        places: Compared(nothing, 0.01 if places in apart else 0.5) for places in itertools.combinations(range(runs), 2)
    }


@pytest.mark.parametrize(
    ("runs", "apart", "expected"),
    [
        (0, [], []),
        (1, [], [1]),
        (2, [], [1, 1]),
        (2, [(0, 1)], [1, 2]),
        # Each is tied with the one above it, and the third not with the first: no chain.
        (3, [(0, 2)], [1, 1, 2]),
        (4, [(0, 2), (0, 3), (1, 3)], [1, 1, 2, 2]),
        # A noisy run below one that is apart from the first still ties with the first.
        (3, [(0, 1)], [1, 2, 1]),
        # Two of a group that differ from each other stay in it: it says who is not different from its first.
        (3, [(1, 2)], [1, 1, 1]),
        (4, list(itertools.combinations(range(4), 2)), [1, 2, 3, 4]),
    ],
)
def test_groups_are_anchored_at_their_first(runs: int, apart: list[tuple[int, int]], expected: list[int]) -> None:
    assert groups(runs, compared(runs, apart)) == expected


def test_groups_on_a_board(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.2, 0.198, 0.1, 0.0])
    assert [(row.run.system, row.rank, row.group) for row in board.rows] == [
        ("A", 1, 1), ("B", 2, 1), ("C", 3, 2), ("D", 4, 3)
    ]  # fmt: skip
    (board,) = boards([row.source for row in board.rows[:2]] + [scored_run([], about=board.evaluation_set, system="E")])
    assert [row.group for row in board.rows] == [1, 1, None]


def test_runs_over_different_pairs_are_not_compared_by_sums() -> None:
    one, two = SceneSums(("S1", "S2"), (1, 2)), SceneSums(("S1", "S2"), (2, 1))
    with pytest.raises(ValueError, match="over the same pairs"):
        compare_all([one, two])


@pytest.mark.parametrize(
    ("means", "sentence"),
    [
        ([], "No run is ranked yet."),
        ([0.1], "A is the only ranked run: there is nothing to compare it with."),
        ([0.2, 0.1], "A is ahead of B."),
        ([0.1, 0.0999], "A and B cannot be told apart."),
        ([0.2, 0.1, 0.0], "Each of the 3 ranked runs can be told apart from every other; A is the first."),
        ([0.1, 0.0999, 0.0998], "A, B and C cannot be told apart."),
        ([0.1, 0.0999, 0.0998, 0.0997], "None of the 4 ranked runs can be told apart from any other."),
        ([0.2, 0.1, 0.0999], "A is ahead of every other ranked run; B cannot be told apart from C."),
        (
            [0.2, 0.1999, 0.1998, 0.1997, 0.1996, 0.1, 0.0999],
            "A cannot be told apart from B, C, D or 1 other; F cannot be told apart from G.",
        ),
        (
            [0.5, 0.4999, 0.4, 0.3999, 0.3, 0.2999, 0.2, 0.1999],
            "A cannot be told apart from B; C cannot be told apart from D; E cannot be told apart from F; "
            "and so on for 1 more group.",
        ),
    ],
)
def test_the_sentence(scored_run: MakeRun, means: list[float], sentence: str) -> None:
    draw = np.random.default_rng(0)
    pairs = [(f"S{s:02}", "L1", f"T{s}") for s in range(24)]
    about = EvaluationSetRecord("made", "valid", "e" * 64, 24, 24)
    runs = [scored_run([], about=about, system="none yet")]
    base = draw.uniform(0.2, 0.4, 24)
    noise = draw.normal(0, 0.01, (9, 24))
    for number, mean in enumerate(means):
        # Noise without a mean, so that the order is the one that is given.
        scores = base + mean + noise[number] - noise[number].mean()
        runs.append(
            scored_run(
                [(*pair, score, score) for pair, score in zip(pairs, scores, strict=True)],
                about=about,
                system="ABCDEFGH"[number],
            )
        )
    (board,) = boards(runs)
    assert in_words(board) == sentence
    count = len(means) * (len(means) - 1) // 2
    over = f", adjusted over all {count} comparisons (Holm)" if count > 1 else ""
    expected = [f"Told apart means p < 0.05: paired, clustered by scene{over}."] if count else []
    assert basis(board) == expected


def test_a_tie_with_the_first_is_not_a_tie_among_the_others(
    scored_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = made(scored_run, [0.2, 0.199, 0.198])
    board = replace(board, compared=compared(3, [(1, 2)]))
    assert in_words(board) == "A is the first, but none of the other 2 ranked runs can be told apart from it."


def test_few_scenes_are_said_to_be_few(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.2, 0.1], scenes=19)
    assert basis(board)[-1].startswith("Intervals are rough: 19 scenes are few")
    assert len(basis(made(scored_run, [0.2, 0.1], scenes=20))) == 1
    one = made(scored_run, [0.2, 0.1], scenes=1)
    assert in_words(one) == "All scores come from one scene, which says nothing about how sure the order is."
    assert basis(one) == []
    assert [row.group for row in one.rows] == [1, 1]


def test_names_of_strangers_in_the_sentence_are_printable_and_short(scored_run: MakeRun) -> None:
    board = made(scored_run, [0.2, 0.1])
    evil = "x" * 100 + "\x1b[2J\n<b>" + "y" * 100
    rows = tuple(replace(row, source=replace(row.source, name=evil + row.run.system)) for row in board.rows)
    sentence = in_words(replace(board, rows=rows))
    assert sentence.isprintable()
    assert len(sentence) < 2 * comparing.LONGEST_NAME + 20
    assert "yA is ahead of x" in sentence


def test_a_hundred_runs_of_a_real_sets_size_are_compared_in_well_under_a_second() -> None:
    draw = np.random.default_rng(0)
    names = tuple(f"scene_{s:05}" for s in range(960))
    runs = []
    for number in range(100):
        sums = draw.uniform(8, 12, 960) + 0.01 * number
        runs.append(SceneSums(names, (20,) * 960, (), (), tuple(sums.tolist()), (0, 0, float(sums.sum()))))
    started = time.process_time()
    found = ties.compare_all(runs)
    assert len(groups(100, found)) == 100
    assert len(found) == 4950
    assert time.process_time() - started < 2  # 0.04 s on a quiet machine
