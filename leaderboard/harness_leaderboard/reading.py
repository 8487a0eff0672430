"""Runs on their way out of the database: one with all its pairs, or all of them summed up for the ranking."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.orm import aliased

from harness_leaderboard.models import (
    EnvironmentRow,
    EvaluatorRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SetPairRow,
    SummaryRow,
)
from harness_leaderboard.records import (
    PairRecord,
    PairScores,
    RunStatus,
    SceneSums,
    ScoredRun,
    ScoreRecord,
    State,
    StoredRun,
)
from harness_leaderboard.rows import evaluator_id, status_of, statuses

SCORES_OF_RUN = text(
    "SELECT p.scene, p.listener, p.track,"
    " coalesce(l.left_score, f.left_score), coalesce(l.right_score, f.right_score), coalesce(l.score, f.score)"
    " FROM run_pairs r JOIN set_pairs p ON p.id = r.pair_id"
    " LEFT JOIN scores l ON l.remix_id = r.remix_id AND l.evaluator_id = :evaluator AND l.engine = 'locked'"
    " LEFT JOIN scores f ON f.remix_id = r.remix_id AND f.evaluator_id = :evaluator AND f.engine = 'fast'"
    " WHERE r.run_id = :run AND r.remix_id IS NOT NULL AND (l.score IS NOT NULL OR f.score IS NOT NULL)"
)
"""Plain SQL: without the layers above it reading half a million scores takes a third of the time."""

COUNTS_OF_RUN = text(
    "SELECT coalesce(sum(CASE WHEN r.state = 'failed' THEN 1 ELSE 0 END), 0) AS failed,"
    " max(CASE WHEN l.score IS NOT NULL THEN l.scored_at ELSE f.scored_at END) AS last_scored,"
    " count(f.score) AS fast,"
    " coalesce(sum(CASE WHEN f.score IS NOT NULL AND l.score IS NOT NULL THEN 1 ELSE 0 END), 0) AS checked,"
    " coalesce(sum(CASE WHEN f.score IS NOT NULL AND l.score IS NULL THEN 1 ELSE 0 END), 0) AS only_fast,"
    " max(abs(f.left_score - l.left_score)) AS left_gap, max(abs(f.right_score - l.right_score)) AS right_gap"
    " FROM run_pairs r"
    " LEFT JOIN scores l ON l.remix_id = r.remix_id AND l.evaluator_id = :evaluator AND l.engine = 'locked'"
    " LEFT JOIN scores f ON f.remix_id = r.remix_id AND f.evaluator_id = :evaluator AND f.engine = 'fast'"
    " WHERE r.run_id = :run"
)

SHARES_OF_RUN = text(
    "SELECT b.run_id, count(DISTINCT a.remix_id) FROM run_pairs a"
    " JOIN run_pairs b ON b.remix_id = a.remix_id AND b.run_id <> a.run_id"
    " JOIN runs r ON r.id = a.run_id JOIN runs o ON o.id = b.run_id AND o.evaluation_set_id = r.evaluation_set_id"
    " WHERE a.run_id = :run AND a.remix_id IS NOT NULL GROUP BY b.run_id"
)
"""Files are counted, not pairs: listeners with the same audiograms may have one file between them."""

EVALUATORS_OF_RUN = text(
    "SELECT DISTINCT s.evaluator_id FROM run_pairs r JOIN scores s ON s.remix_id = r.remix_id WHERE r.run_id = :run"
)


def stored_run(connection: Connection, status: RunStatus) -> StoredRun:
    """A run with all its pairs, and their scores under the evaluator that its status names."""
    evaluator = evaluator_id(connection, status.fingerprint)
    scores: dict[int, dict[str, ScoreRecord]] = {}
    of_run = select(RunPairRow.remix_id).where(RunPairRow.run_id == status.id, RunPairRow.remix_id.is_not(None))
    for row in connection.execute(
        select(ScoreRow.__table__, EnvironmentRow.sha256)
        .join(EnvironmentRow, ScoreRow.environment_id == EnvironmentRow.id)
        .where(ScoreRow.evaluator_id == evaluator, ScoreRow.remix_id.in_(of_run))
    ):
        scores.setdefault(row.remix_id, {})[row.engine] = ScoreRecord(
            row.engine, row.left_score, row.right_score, row.score, row.scored_at, row.sha256
        )
    rows = connection.execute(
        select(RunPairRow.__table__, SetPairRow.scene, SetPairRow.listener, SetPairRow.track)
        .add_columns(ReferenceRow.sha256.label("reference_sha256"), RemixRow.file_sha256)
        .join(SetPairRow, RunPairRow.pair_id == SetPairRow.id)
        .join(ReferenceRow, SetPairRow.reference_id == ReferenceRow.id)
        .outerjoin(RemixRow, RunPairRow.remix_id == RemixRow.id)
        .where(RunPairRow.run_id == status.id)
        .order_by(RunPairRow.pair_id)
    )
    pairs = {}
    for row in rows:
        given = scores.get(row.remix_id, {})
        state: State = "scored" if given else row.state
        pairs[row.scene, row.listener] = PairRecord(
            scene=row.scene,
            listener=row.listener,
            track=row.track,
            reference_sha256=row.reference_sha256,
            state=state,
            reason=row.reason,
            file_sha256=row.file_sha256,
            clipped=row.clipped,
            locked=given.get("locked"),
            fast=given.get("fast"),
        )
    return StoredRun(status, pairs)


def pair_scores(connection: Connection, run_id: int, evaluator: int) -> PairScores:
    """The scored pairs of a run.

    Rows are taken in small parts and turned into columns at once: nearly twice as fast as all at once, which keeps
    hundreds of thousands of rows for the garbage collector to look through.
    """
    columns: tuple[list[Any], ...] = ([], [], [], [], [], [])
    found = connection.execute(SCORES_OF_RUN, {"run": run_id, "evaluator": evaluator})
    for rows in found.partitions(500):
        scene, listener, track, *scores = zip(*rows, strict=True)
        # Each name is kept in memory once: a thousand scenes make twenty thousand pairs.
        names = (map(sys.intern, column) for column in (scene, listener, track))
        for column, values in zip(columns, (*names, *scores), strict=True):
            column.extend(values)
    return PairScores(*map(tuple, columns))


def summarise(connection: Connection, run_id: int, evaluator: int) -> dict[str, Any]:
    """What the ranking needs of a run, from its scores: the content of `models.SummaryRow`."""
    counts = connection.execute(COUNTS_OF_RUN, {"run": run_id, "evaluator": evaluator}).one()
    sums = SceneSums.of(pair_scores(connection, run_id, evaluator))
    shares = {str(other): count for other, count in connection.execute(SHARES_OF_RUN, {"run": run_id})}
    return {
        "sums": [list(getattr(sums, name)) for name in SceneSums.__dataclass_fields__],
        "failed": counts.failed,
        "last_scored": counts.last_scored,
        "fast": counts.fast,
        "checked": counts.checked,
        "only_fast": counts.only_fast,
        "largest_difference": max(counts.left_gap, counts.right_gap) if counts.checked else None,
        "shares": shares,
    }


def _missing_summaries(connection: Connection) -> list[tuple[int, int]]:
    """(run, evaluator) of every summary that is not kept, for each evaluator under which a run has scores."""
    summary, run = aliased(SummaryRow), aliased(RunRow)
    # A run whose summaries were deleted has none of its own evaluator: they are deleted together.
    runs = connection.execute(
        select(run.id, run.evaluator_id)
        .outerjoin(summary, (summary.run_id == run.id) & (summary.evaluator_id == run.evaluator_id))
        .where(summary.run_id.is_(None))
    ).all()
    several = (connection.scalar(select(func.count()).select_from(EvaluatorRow)) or 0) > 1
    missing = []
    for run_id, own in runs:
        found = {own}
        if several:
            found |= set(connection.scalars(EVALUATORS_OF_RUN, {"run": run_id}))
        missing += [(run_id, evaluator) for evaluator in sorted(found)]
    return missing


def keep_summaries(connection: Connection) -> None:
    """Compute and keep every summary that is missing."""
    for run_id, evaluator in _missing_summaries(connection):
        summary = summarise(connection, run_id, evaluator)
        known = connection.scalar(
            select(SummaryRow.run_id).where(SummaryRow.run_id == run_id, SummaryRow.evaluator_id == evaluator)
        )
        if known is None:
            connection.execute(insert(SummaryRow).values(run_id=run_id, evaluator_id=evaluator, summary=summary))


def scored_runs(
    connection: Connection, load: Callable[[int, int], PairScores], visibilities: Iterable[str]
) -> list[ScoredRun]:
    """All runs that are `visibilities`, once under each evaluator that scored them, oldest first.

    Args:
        load: reads the scores of (run, evaluator) later, if somebody asks for them.
    """
    runs = {
        status.id: status
        for status in map(status_of, connection.execute(statuses().order_by(RunRow.id)))
        if status.visibility in visibilities
    }
    fingerprints = {
        row.id: row.fingerprint for row in connection.execute(select(EvaluatorRow.id, EvaluatorRow.fingerprint))
    }
    summaries: dict[tuple[int, int], dict[str, Any]] = {
        (run_id, evaluator): json.loads(summary) if isinstance(summary, str) else summary
        for run_id, evaluator, summary in connection.execute(
            text("SELECT run_id, evaluator_id, summary FROM summaries")
        )
    }
    for run_id, evaluator in _missing_summaries(connection):
        summaries[run_id, evaluator] = summarise(connection, run_id, evaluator)
    shares: dict[int, dict[int, int]] = {}
    for (run_id, _), summary in summaries.items():
        for other, count in summary["shares"].items():
            # Files are shared both ways, and either of the two may have been summed up before they were.
            shares.setdefault(run_id, {})[int(other)] = count
            shares.setdefault(int(other), {})[run_id] = count
    found = []
    for (run_id, evaluator), summary in sorted(summaries.items()):
        status = runs.get(run_id)
        if status is None:
            continue
        found.append(
            ScoredRun(
                id=run_id,
                name=status.name,
                run=status.run,
                evaluation_set=status.evaluation_set,
                fingerprint=fingerprints[evaluator],
                sums=SceneSums(*map(tuple, summary["sums"])),
                failed=summary["failed"],
                last_scored=summary["last_scored"],
                fast=summary["fast"],
                checked=summary["checked"],
                largest_difference=summary["largest_difference"],
                only_fast=summary["only_fast"],
                shares={other: count for other, count in shares.get(run_id, {}).items() if other in runs},
                load_scores=lambda run_id=run_id, evaluator=evaluator: load(run_id, evaluator),  # type: ignore[misc]
            )
        )
    return found
