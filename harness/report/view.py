"""What pages and charts start from: a board, its frames, and all that is compared on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from harness.music.evaluationset import EvaluationSet
from harness.results.frames import Results
from harness_leaderboard import labels
from harness_leaderboard.comparing import Difference, differences
from harness_leaderboard.ranking import Board, Row

MOST_SYSTEMS = 12
"""On charts and in the matrix; more can be told apart by nobody."""

COLOURS = 10
"""How many colours there are: --c0 to --c9 of the style sheet."""

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
"""The shape of a system's marks, as Vega calls them. With the colours, thirty systems look different."""


@dataclass(frozen=True)
class BoardView:
    """A board with all that its pages show.

    Attributes:
        board: the board.
        rows: the runs that charts show, in the board's order: the first `MOST_SYSTEMS` of those that are complete; if
            none is, of those that have scored pairs in common. Runs whose figures cannot be believed (changed,
            disputed) are not among them.
        labels: what runs are called, by their numbers. Strangers' text.
        numbers: by the runs' numbers, a number from 0 that fixes a run's colour and shape on all pages.
        runs: the frame of the board's runs, see `harness.results.frames`.
        pairs: the frame of the scored pairs of `rows`, with a column `label` (categories in the board's order).
        listeners, audiograms, gains, scenes: see `harness.results.frames`; None without the evaluation set.
        evaluation_set: the music itself, if it is there.
    """

    board: Board
    rows: tuple[Row, ...]
    labels: Mapping[int, str]
    numbers: Mapping[int, int]
    runs: pd.DataFrame
    pairs: pd.DataFrame
    listeners: pd.DataFrame | None
    audiograms: pd.DataFrame | None
    gains: pd.DataFrame | None
    scenes: pd.DataFrame | None
    evaluation_set: EvaluationSet | None

    @cached_property
    def differences(self) -> Sequence[Difference]:
        """Every two of `rows` compared; p values are adjusted over all of these."""
        return differences(self.rows)

    @cached_property
    def compared(self) -> Mapping[tuple[int, int], tuple[Difference, int]]:
        """The comparison of any two of `rows`, by their numbers; and 1, or -1 if it is the other way round."""
        found = {}
        for each in self.differences:
            first, second = each.first.source.id, each.second.source.id
            found[first, second] = each, 1
            found[second, first] = each, -1
        return found


def board_view(board: Board, results: Results, evaluation_set: EvaluationSet | None) -> BoardView:
    """The view of a board.

    Args:
        board: one of `ranking.boards`.
        results: the frames of the database that it is from; with the evaluation set's, if there is one.
        evaluation_set: what the board is about, if it is at hand.
    """
    named = {row.source.id: label for row, label in zip(board.rows, labels.labels(board), strict=True)}
    credible = [row for row in board.rows if row.scored and row.status not in ("changed", "disputed")]
    complete = [row for row in credible if row.scored == row.due]
    rows = tuple((complete or _comparable(credible))[:MOST_SYSTEMS])
    shown = [row.source.id for row in rows]
    on_board = results.runs["run"].isin(list(named)) & (results.runs["evaluator"] == board.fingerprint)
    pairs = results.pairs
    pairs = pairs[pairs["run"].isin(shown) & (pairs["evaluator"] == board.fingerprint) & pairs["score"].notna()]
    order = pd.CategoricalDtype([named[run] for run in shown], ordered=True)
    return BoardView(
        board=board,
        rows=rows,
        labels=named,
        numbers={run: number for number, run in enumerate(named)},
        runs=results.runs[on_board],
        pairs=pairs.assign(label=pairs["run"].map(named).astype(order)),
        listeners=results.listeners,
        audiograms=results.audiograms,
        gains=results.gains,
        scenes=results.scenes,
        evaluation_set=evaluation_set,
    )


def _comparable(rows: Sequence[Row]) -> list[Row]:
    """Of incomplete runs those that have scored pairs in common, each with each; those that come first stay."""
    kept: list[tuple[Row, set[tuple[str, str]]]] = []
    for row in rows:
        scores = row.source.scores
        pairs = set(zip(scores.scene, scores.listener, strict=True))
        if all(pairs & others for _, others in kept):
            kept.append((row, pairs))
    return [row for row, _ in kept]
