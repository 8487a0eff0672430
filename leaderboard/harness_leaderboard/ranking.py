"""From scores to ranked boards: pure functions, no database and no printing.

Conventions:

- Scores are HAAQI values from 0 to 1; a run's figure is the mean over its scored pairs, each pair counting once.
- There is one board per evaluation set and evaluator. Scores of different ones are never compared.
- Only complete, eligible systems that are no yardsticks have a rank. The others are shown behind them.
- Fast and locked scores rank together, but fast ones only where enough of them were checked (`checks`) and none
  differed from its check by more than `CHECK_TOLERANCE`.
- Sums are exact (`math.fsum`), so that the order of the pairs cannot change a digit.

- Ranked runs are compared two by two over all pairs. A run is in the group of the first run above it that it cannot be
  told apart from (`ties`). Means and differences have the intervals of `estimates`, clustered by scene.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from harness_leaderboard.checksums import why_changed
from harness_leaderboard.estimates import Estimate, of_sums
from harness_leaderboard.records import (
    CHECK_TOLERANCE,
    By,
    EvaluationSetRecord,
    RunRecord,
    ScoredRun,
)
from harness_leaderboard.stems import in_order
from harness_leaderboard.ties import Compared, compare_all, groups

Status = Literal["ranked", "changed", "disputed", "reference", "not eligible", "incomplete", "unchecked"]
"""Why a run has a rank or not. If several reasons hold, it is the first of these that does.

A run is "changed" if something of it was changed outside the harness, and "disputed" if an audit got other scores, or
if a fast score differs from its check by more than `CHECK_TOLERANCE`: then none of its figures can be believed, be it a
reference or not. It is "unchecked" if it is complete, but fewer of its fast scores were checked than `checks` asks for.
"""


@dataclass(frozen=True)
class Row:
    """A run on a board.

    Attributes:
        rank: from 1; equal means share a rank and the next one is left out (1, 1, 3). None if not ranked.
        group: from 1; which ranked runs it cannot be told apart from, see `ties.groups`. None if not ranked.
        status: whether and why it is not ranked.
        why_not_ranked: the same in words; None if ranked.
        estimate: mean of the pairs' scores; None without scores.
        left, right: mean of each ear; None without scores.
        scored: pairs with a score.
        due: pairs that a complete run has.
        source: the run itself, with its scores.
    """

    rank: int | None
    group: int | None
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

    @cached_property
    def stems(self) -> dict[str, float]:
        """Mean of each stem by its name, in the order in which they are shown; none where no stems are scored."""
        return {name: total / self.scored for name, total in self.source.sums.stems.items()}


@dataclass(frozen=True)
class Board:
    """The runs on one evaluation set under one evaluator.

    Attributes:
        rows: ranked runs by rank, then the others by mean.
        compared: every two ranked runs, by their places in `rows`, the one above first.
    """

    evaluation_set: EvaluationSetRecord
    fingerprint: str
    rows: tuple[Row, ...]
    compared: Mapping[tuple[int, int], Compared] = field(default_factory=dict)

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The runs that have a rank."""
        return tuple(row for row in self.rows if row.rank is not None)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Names of the stems that are scored, in the order in which they are shown; none where remixes are."""
        return in_order({name for row in self.rows for name in row.source.sums.stems})

    @property
    def unit(self) -> str:
        """What scenes are: where stems are scored, a song stands for one."""
        return "song" if self.stems else "scene"

    @property
    def protocol(self) -> str:
        """Name of the protocol that the evaluator is locked to; "" where nobody said."""
        return next((row.source.protocol for row in self.rows), "")


@dataclass(frozen=True)
class Group:
    """The mean scores of one run over the pairs of one listener, scene or track, or of a single pair.

    Attributes:
        stems: means of stems by their names, where stems are scored.
    """

    row: Row
    name: str
    mean: float
    left: float
    right: float
    pairs: int
    stems: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Comparison:
    """How far a ranked run is behind the one above it.

    Attributes:
        row, above: the two.
        behind: the mean over all pairs of (score of `above` - score of `row`), clustered by scene.
        p_adjusted: its p value, adjusted over every two ranked runs of the board (Holm); None without a p value.
    """

    row: Row
    above: Row
    behind: Estimate
    p_adjusted: float | None


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
        columns: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
        for name, *values in zip(names, scores.score, scores.left, scores.right, *scores.stems.values(), strict=True):
            columns[name].append(tuple(values))
        for name, found in columns.items():
            mean, left, right, *stems = (_mean(column) for column in zip(*found, strict=True))
            means = dict(zip(scores.stems, stems, strict=True))
            groups.append(Group(row, name, mean, left, right, len(found), means))
    # The sort is stable: within a name the rows keep the board's order.
    return sorted(groups, key=lambda group: group.name)


def compare(board: Board) -> list[Comparison]:
    """Compare each ranked run with the one above it, pair by pair. The first has none above it."""
    ranked = board.ranked
    comparisons = []
    for place in range(1, len(ranked)):
        found = board.compared[place - 1, place]
        comparisons.append(Comparison(ranked[place], ranked[place - 1], found.difference, found.p_adjusted))
    return comparisons


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
    # Ranked runs are complete, so they have the same pairs, and the sums of their scenes are all that it takes.
    ranked = [row for row in rows if row.rank is not None]
    compared = compare_all([row.source.sums for row in ranked])
    rows[: len(ranked)] = [
        replace(row, group=group) for row, group in zip(ranked, groups(len(ranked), compared), strict=True)
    ]
    return Board(runs[0].evaluation_set, runs[0].fingerprint, tuple(rows), compared)


def _unranked(source: ScoredRun) -> Row:
    """The row of a run, before its rank is known."""
    sums, run = source.sums, source.run
    scored, due = source.scored, source.evaluation_set.pairs
    status: Status = "ranked"
    why = None
    # Where every pair has a locked score, those are what counts, and the fast ones beside them decide nothing.
    lacking = source.checks_lacking if source.only_fast else ()
    if source.changed:
        status, why = "changed", why_changed(source.id, source.changed)
    elif source.disputed:
        scores = "1 score differs" if source.disputed == 1 else f"{source.disputed} scores differ"
        status = "disputed"
        why = f"{scores} from what an audit computed: score the run again with harness runs rescore {source.id}"
    elif source.only_fast and source.largest_difference is not None and source.largest_difference > CHECK_TOLERANCE:
        status = "disputed"
        why = f"a fast score differs from its check by {source.largest_difference:.3g}, more than {CHECK_TOLERANCE:.0e}"
    elif run.reference:
        status, why = "reference", "a reference, not a system that competes"
    elif run.not_eligible is not None:
        status, why = "not eligible", run.not_eligible
    elif run.isolation == "in-process":
        status, why = "not eligible", "ran in the harness's own process (--in-process, or handed to harness.evaluate)"
    elif scored < due:
        failed = f", {source.failed} failed" if source.failed else ""
        status, why = "incomplete", f"{scored} of {due} pairs scored{failed}"
    elif lacking:
        status, why = "unchecked", ", ".join(lacking)
    return Row(
        rank=None,
        group=None,
        status=status,
        why_not_ranked=why,
        estimate=of_sums(sums.pairs, sums.score, sums.totals[2]) if scored else None,
        left=sums.totals[0] / scored if scored else None,
        right=sums.totals[1] / scored if scored else None,
        scored=scored,
        due=due,
        source=source,
    )


def _mean(values: Sequence[float]) -> float:
    """The mean, the same for any order of the values."""
    return math.fsum(values) / len(values)
