"""From scores to ranked boards: pure functions, no database and no printing.

Conventions:

- Scores are HAAQI values from 0 to 1; a run's figure is the mean over its scored pairs, each pair counting once.
- There is one board per evaluation set and evaluator. Scores of different ones are never compared.
- Only complete, eligible systems that are no yardsticks have a rank. The others are shown behind them.
- Fast and locked scores rank together, but fast ones only where enough of them were checked against locked ones
  (`checks_due`) and none differed by more than `CHECK_TOLERANCE`.
- Sums are exact (`math.fsum`), so that the order of the pairs cannot change a digit.

Intervals. The listeners of a scene hear the same music, so their scores are not independent: scenes are the
clusters. With n pairs in G scenes, mean m, and u_g the sum of (score - m) over the pairs of scene g, the variance
of the mean is

    V = G / (G - 1) * sum(u_g ** 2) / n ** 2

and the 95 % interval is m +- t * sqrt(V), t being the 97.5 % point of Student's distribution with G - 1 degrees
of freedom (Liang & Zeger 1986, Biometrika 73, 13-22; Cameron & Miller 2015, Journal of Human Resources 50,
317-372). Differences between two systems are treated likewise, pair by pair. A single scene gives no interval.
"""

import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from scipy import special

from harness_leaderboard.checksums import why_changed
from harness_leaderboard.records import (
    CHECK_TOLERANCE,
    By,
    EvaluationSetRecord,
    RunRecord,
    ScoredRun,
    checks_due,
)

Status = Literal["ranked", "changed", "disputed", "reference", "not eligible", "incomplete", "unchecked"]
"""Why a run has a rank or not. If several reasons hold, it is the first of these that does.

A run is "changed" if something of it was changed outside the harness, and "disputed" if an audit got other scores, or
if a pair's fast score differs from its locked one by more than `CHECK_TOLERANCE`: then none of its figures can be
believed, be it a reference or not. It is "unchecked" if it is complete, but fewer of its fast
scores were checked than `checks_due` asks for.
"""


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs with the uncertainty that comes from the choice of scenes.

    Attributes:
        mean: the mean.
        low, high: its 95 % interval, None with fewer than two scenes. Not cut to the range of the scores.
        p: two-sided p value of the mean being 0, None with fewer than two scenes.
        pairs: over how many pairs.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int


@dataclass(frozen=True)
class Row:
    """A run on a board.

    Attributes:
        rank: from 1; equal means share a rank and the next one is left out (1, 1, 3). None if not ranked.
        status: whether and why it is not ranked.
        why_not_ranked: the same in words; None if ranked.
        estimate: mean of the pairs' scores; None without scores.
        left, right: mean of each ear; None without scores.
        scored: pairs with a score.
        due: pairs that a complete run has.
        source: the run itself, with its scores.
    """

    rank: int | None
    status: Status
    why_not_ranked: str | None
    estimate: Estimate | None
    left: float | None
    right: float | None
    scored: int
    due: int
    source: ScoredRun

    @property
    def run(self) -> RunRecord:
        """What the system declares about itself."""
        return self.source.run


@dataclass(frozen=True)
class Board:
    """The runs on one evaluation set under one evaluator: ranked ones by rank, then the others by mean."""

    evaluation_set: EvaluationSetRecord
    fingerprint: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Group:
    """The mean scores of one run over the pairs of one listener, scene or track, or of a single pair."""

    row: Row
    name: str
    mean: float
    left: float
    right: float
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """How far a ranked run is behind the one above it.

    Attributes:
        row, above: the two.
        behind: the mean over their common pairs of (score of `above` - score of `row`).
    """

    row: Row
    above: Row
    behind: Estimate


def boards(runs: Iterable[ScoredRun]) -> list[Board]:
    """Rank runs, separately for each evaluation set and evaluator. Boards come by name and split of the set."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.evaluation_set.sha256, run.fingerprint].append(run)
    result = [_board(group) for group in groups.values()]

    def order(board: Board) -> tuple[str, str, str, str]:
        about = board.evaluation_set
        return about.name, about.split, about.sha256, board.fingerprint

    return sorted(result, key=order)


def breakdown(board: Board, by: By) -> list[Group]:
    """Mean scores of each run for each listener, scene, track or pair: by its name, then in the board's order.

    A pair is called "scene listener". Runs that were changed outside the harness are left out.
    """
    groups = []
    for row in board.rows:
        if row.status == "changed":
            continue
        scores = row.source.scores
        names: Sequence[str] = (
            [" ".join(pair) for pair in zip(scores.scene, scores.listener, strict=True)]
            if by == By.pair
            else getattr(scores, by)
        )
        columns: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for name, *values in zip(names, scores.score, scores.left, scores.right, strict=True):
            columns[name].append((values[0], values[1], values[2]))
        for name, found in columns.items():
            mean, left, right = (_mean(column) for column in zip(*found, strict=True))
            groups.append(Group(row, name, mean, left, right, len(found)))
    # The sort is stable: within a name the rows keep the board's order.
    return sorted(groups, key=lambda group: group.name)


def compare(board: Board) -> list[Comparison]:
    """Compare each ranked run with the one above it, pair by pair. The first has none above it."""
    ranked = [row for row in board.rows if row.rank is not None]
    comparisons = []
    for above, row in pairwise(ranked):
        # Both are complete, so they have the same pairs, and the sums of their scenes are all that it takes.
        theirs, ours = above.source.sums, row.source.sums
        sums = list(map(operator.sub, theirs.score, ours.score))
        behind = _estimate(ours.pairs, sums, theirs.totals[2] - ours.totals[2], max(theirs.score))
        comparisons.append(Comparison(row, above, behind))
    return comparisons


def estimate(scenes: Sequence[str], values: Sequence[float]) -> Estimate:
    """Mean of values, with its cluster-robust 95 % interval (see the top of the module).

    Args:
        scenes: for each pair the scene that it belongs to.
        values: for each pair its score, or a difference of two scores.

    Raises:
        ValueError: there are no values, or not as many as scenes.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for scene, value in zip(scenes, values, strict=True):
        columns[scene].append(value)
    sums = [math.fsum(column) for column in columns.values()]
    return _estimate([len(column) for column in columns.values()], sums, math.fsum(values))


def _estimate(pairs: Sequence[int], sums: Sequence[float], total: float, scale: float | None = None) -> Estimate:
    """The same from what each scene has.

    Args:
        pairs: how many values.
        sums: the sums of these.
        total: the sum of all values.
        scale: what the sums were rounded to, by default the largest of them.
    """
    count = sum(pairs)
    mean = total / count
    clusters = len(sums)
    if clusters < 2:
        return Estimate(mean, None, None, None, count)
    # Of a scene, sum(score - m) is its sum less n times m. Where all values are equal, rounding would leave a spread
    # of 1e-17 and a p value that means nothing.
    residuals = [total - number * mean for number, total in zip(pairs, sums, strict=True)]
    largest = max(map(abs, sums)) if scale is None else scale
    residuals = [0.0 if abs(residual) < 1e-14 * largest else residual for residual in residuals]
    squares = math.fsum(residual**2 for residual in residuals)
    error = math.sqrt(clusters / (clusters - 1) * squares) / count
    # scipy.stats.t gives the same numbers; importing it takes longer than everything else here.
    width = error * float(special.stdtrit(clusters - 1, 0.975))
    # Without any spread the statistic is 0 for a mean of 0, infinite for any other.
    statistic = abs(mean) / error if error > 0 else math.inf if mean else 0.0
    p = 2 * float(special.stdtr(clusters - 1, -statistic))
    return Estimate(mean, mean - width, mean + width, p, count)


def _board(runs: Sequence[ScoredRun]) -> Board:
    """The board of runs that share evaluation set and evaluator."""

    def order(row: Row) -> tuple[bool, float, str, str, str]:
        mean = row.estimate.mean if row.estimate else -1.0
        # After the mean anything that does not depend on the order in which the runs came.
        return row.status != "ranked", -mean, row.run.system, row.run.version, row.run.key

    rows: list[Row] = []
    for position, row in enumerate(sorted(map(_unranked, runs), key=order), start=1):
        if row.status != "ranked":
            rank = None
        elif rows and rows[-1].estimate and row.estimate and rows[-1].estimate.mean == row.estimate.mean:
            rank = rows[-1].rank
        else:
            rank = position
        rows.append(replace(row, rank=rank))
    return Board(runs[0].evaluation_set, runs[0].fingerprint, tuple(rows))


def _unranked(source: ScoredRun) -> Row:
    """The row of a run, before its rank is known."""
    sums, run = source.sums, source.run
    scored, due = source.scored, source.evaluation_set.pairs
    status: Status = "ranked"
    why = None
    # Where every pair has a locked score, those are what counts, and the fast ones beside them decide nothing.
    checks = checks_due(source.fast) if source.only_fast else 0
    if source.changed:
        status, why = "changed", why_changed(source.id, source.changed)
    elif source.disputed:
        scores = "1 score differs" if source.disputed == 1 else f"{source.disputed} scores differ"
        status = "disputed"
        why = f"{scores} from what an audit computed: score the run again with harness runs rescore {source.id}"
    elif source.only_fast and source.largest_difference is not None and source.largest_difference > CHECK_TOLERANCE:
        status = "disputed"
        why = f"fast and locked scores differ by {source.largest_difference:.3g}, more than {CHECK_TOLERANCE:.0e}"
    elif run.reference:
        status, why = "reference", "a reference, not a system that competes"
    elif run.not_eligible is not None:
        status, why = "not eligible", run.not_eligible
    elif run.isolation == "in-process":
        status, why = "not eligible", "was run in the harness's own process (--in-process), for debugging"
    elif scored < due:
        failed = f", {source.failed} failed" if source.failed else ""
        status, why = "incomplete", f"{scored} of {due} pairs scored{failed}"
    elif source.checked < checks:
        status, why = "unchecked", f"{source.checked} of {checks} checks against the locked engine made"
    return Row(
        rank=None,
        status=status,
        why_not_ranked=why,
        estimate=_estimate(sums.pairs, sums.score, sums.totals[2]) if scored else None,
        left=sums.totals[0] / scored if scored else None,
        right=sums.totals[1] / scored if scored else None,
        scored=scored,
        due=due,
        source=source,
    )


def _mean(values: Sequence[float]) -> float:
    """The mean, the same for any order of the values."""
    return math.fsum(values) / len(values)
