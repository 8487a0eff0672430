"""Whole runs, with the scores of all their pairs as columns: what data frames are made of.

A leaderboard may hold a million scores, so that what stands for each of them is no object of its own.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from sys import intern
from typing import Any

from sqlalchemy import Connection

from harness_leaderboard.checks import as_text, difference
from harness_leaderboard.costs import costs_of_run
from harness_leaderboard.pairs import pairs_of_run
from harness_leaderboard.reading import in_words, scored_runs
from harness_leaderboard.records import Engine, PairScores, PieceCost, ScoredRun, State, Visibility
from harness_leaderboard.rows import evaluator_id, status_of, statuses
from harness_leaderboard.stems import StemScores, in_order


@dataclass(frozen=True)
class PairColumns:
    """All pairs of a run under one evaluator as parallel columns, in the order of the evaluation set.

    Where both engines scored a file, the locked score counts. What was changed outside the harness counts as
    `records.PairRecord` says: a pair whose file is not certain is pending, a score that is not certain is none.

    Attributes:
        state: as `records.PairRecord.state`.
        engine: whose score it is; None, as `left`, `right` and `score`, where there is none.
        left, right, score: of each ear and their mean, from 0 to 1.
        clipped: number of samples that were clipped, or None.
        difference: as `records.PairRecord.difference`.
        reason: why it failed, or None.
        file_sha256: hash of the remix, or None.
        environment: hash of the environment in which the score was computed, or None.
        in_double: of the fast score, the parts that were computed in double precision, with blanks between; None where
            nobody knows.
        margin: of the fast score, see `records.NewScore`.
        stems: the scores of each stem, by its name, where the evaluator scores stems; None where there are none.
    """

    scene: list[str] = field(default_factory=list)
    listener: list[str] = field(default_factory=list)
    track: list[str] = field(default_factory=list)
    state: list[State] = field(default_factory=list)
    engine: list[Engine | None] = field(default_factory=list)
    left: list[float | None] = field(default_factory=list)
    right: list[float | None] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)
    clipped: list[int | None] = field(default_factory=list)
    difference: list[float | None] = field(default_factory=list)
    reason: list[str | None] = field(default_factory=list)
    file_sha256: list[str | None] = field(default_factory=list)
    environment: list[str | None] = field(default_factory=list)
    in_double: list[str | None] = field(default_factory=list)
    margin: list[float | None] = field(default_factory=list)
    stems: dict[str, list[float | None]] = field(default_factory=dict)

    def scores(self) -> PairScores:
        """The pairs that have a score."""
        names = ("scene", "listener", "track", "left", "right", "score")
        there = [value is not None for value in self.score]
        scene, listener, track, left, right, score = (tuple(compress(getattr(self, name), there)) for name in names)
        stems = {name: tuple(compress(column, there)) for name, column in self.stems.items()}
        # As `stems.columns`: only those that every pair with a score has.
        complete: dict[str, Any] = {name: column for name, column in stems.items() if None not in column}
        return PairScores(scene, listener, track, left, right, score, complete)


@dataclass(frozen=True)
class WholeRun:
    """A run under one evaluator with all that is stored of its pairs.

    Attributes:
        scored: the run as the ranking sees it.
        visibility: whether it stands on its board.
        pairs: all its pairs.
        costs: what pieces of music cost its system, as far as that was measured.
    """

    scored: ScoredRun
    visibility: Visibility
    pairs: PairColumns
    costs: Sequence[PieceCost]


def whole_runs(
    connection: Connection,
    load: Callable[[int, int], PairScores],
    visibilities: Collection[Visibility],
    pairs_of: Collection[int] | None = None,
) -> list[WholeRun]:
    """All runs that are `visibilities`, once under each evaluator that scored them, oldest first.

    Args:
        load: reads the scores of (run, evaluator) for `ScoredRun.scores`, if somebody asks for them.
        pairs_of: the numbers of the runs whose pairs are wanted, or None for all.
    """
    shown = {status.id: status.visibility for status in map(status_of, connection.execute(statuses()))}
    found = []
    for run in scored_runs(connection, load, visibilities):
        costs, _ = costs_of_run(connection, run.id)
        if pairs_of is not None and run.id not in pairs_of:
            found.append(WholeRun(run, shown[run.id], PairColumns(), costs))
            continue
        pairs, counts = _pairs(connection, run.id, evaluator_id(connection, run.fingerprint))
        changed = in_words(counts)
        if not changed and run.scored != len(pairs.score) - pairs.score.count(None):
            # Scores that are gone have no checksum to be missed: the sums that are kept still tell of them.
            changed = ("its scores",)
        if changed and not run.changed:
            run = replace(run, changed=changed)
        if not changed:
            run = replace(run, load_scores=pairs.scores)  # they are here: nobody need read them again
        found.append(WholeRun(run, shown[run.id], pairs, costs))
    return found


def _pairs(connection: Connection, run_id: int, evaluator: int | None) -> tuple[PairColumns, dict[str, int]]:
    """The pairs of a run, and how many of its files and scores were changed outside the harness."""
    columns = PairColumns()
    stems: list[StemScores] = []
    counts = {"changed_files": 0, "changed_scores": 0, "changed_checks": 0}
    for pair in pairs_of_run(connection, run_id, evaluator):
        locked, fast = pair.locked, pair.fast
        said = locked or fast
        counts["changed_files"] += pair.changed
        counts["changed_scores"] += len(pair.changed_scores)
        counts["changed_checks"] += pair.changed_checks
        # Each name is kept in memory once.
        columns.scene.append(intern(pair.scene))
        columns.listener.append(intern(pair.listener))
        columns.track.append(intern(pair.track))
        columns.state.append(pair.state if said is None else "scored")
        columns.engine.append(None if said is None else "locked" if locked else "fast")
        columns.left.append(None if said is None else said.left)
        columns.right.append(None if said is None else said.right)
        columns.score.append(None if said is None else said.score)
        columns.clipped.append(pair.clipped)
        columns.difference.append(difference(pair))
        columns.in_double.append(as_text(fast.in_double) if fast else None)
        columns.margin.append(fast.margin if fast else None)
        columns.reason.append(pair.reason)
        columns.file_sha256.append(pair.file_sha256)
        columns.environment.append(None if said is None else intern(said.environment_sha256))
        stems.append((said and said.stems) or {})
    names = in_order({name for each in stems for name in each})
    columns.stems.update((name, [each.get(name) for each in stems]) for name in names)
    return columns, counts
