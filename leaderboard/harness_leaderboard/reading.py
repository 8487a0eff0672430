"""Runs on their way out of the database: one with all its pairs, or all of them summed up for the ranking."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.orm import aliased

from harness_leaderboard.checks import EARS, difference, differences
from harness_leaderboard.checksums import of_summary, why_changed
from harness_leaderboard.costs import costs_of_run
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.models import EvaluatorRow, RunRow, SummaryRow
from harness_leaderboard.pairs import Values, pairs_of_run
from harness_leaderboard.records import (
    Engine,
    PairRecord,
    PairScores,
    RunStatus,
    SceneSums,
    ScoredRun,
    ScoreRecord,
    StoredRun,
)
from harness_leaderboard.rows import evaluator_id, status_of, statuses
from harness_leaderboard.stems import StemScores
from harness_leaderboard.stems import columns as stem_columns

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
    records = {}
    for pair in pairs_of_run(connection, status.id, evaluator):
        locked, fast = _record("locked", pair.locked), _record("fast", pair.fast)
        records[pair.scene, pair.listener] = PairRecord(
            scene=pair.scene,
            listener=pair.listener,
            track=pair.track,
            reference_sha256=pair.reference_sha256,
            state="scored" if locked or fast else pair.state,
            reason=pair.reason,
            file_sha256=pair.file_sha256,
            clipped=pair.clipped,
            locked=locked,
            fast=fast,
            changed=pair.changed or bool(pair.changed_scores or pair.changed_checks),
            checks=pair.checks,
        )
    costs, changed = costs_of_run(connection, status.id)
    counts = {
        "fast": sum(pair.fast is not None for pair in records.values()),
        "checked": sum(len(differences(pair, "locked")) for pair in records.values()),
        "checked_in_double": sum(len(differences(pair, "fast64")) for pair in records.values()),
        "failed": sum(pair.state == "failed" for pair in records.values()),
    }
    lost = evaluator is not None and _contradicts_sums(connection, status.id, evaluator, counts, _scored(records))
    return StoredRun(status, records, tuple(costs), len(changed), lost)


def _scored(records: Mapping[tuple[str, str], PairRecord]) -> int:
    return sum(pair.score is not None for pair in records.values())


def _contradicts_sums(
    connection: Connection, run_id: int, evaluator: int, counts: Mapping[str, int], scored: int
) -> bool:
    """Whether sums that are kept tell of more or fewer scores than there are: scores that are gone have no checksum."""
    found = connection.execute(
        text("SELECT summary, checksum FROM summaries WHERE run_id = :run AND evaluator_id = :evaluator"),
        {"run": run_id, "evaluator": evaluator},
    ).one_or_none()
    if found is None:
        return False
    written = found[0] if isinstance(found[0], str) else json.dumps(found[0])
    if found[1] != of_summary(run_id, _fingerprints(connection).get(evaluator), written):
        return False
    kept = json.loads(written)
    sums = SceneSums.of_json(kept)
    return sum(sums.pairs) != scored or any(
        kept[name] != counts[name] for name in ("fast", "checked", "checked_in_double", "failed")
    )


def _record(engine: Engine, said: Values | None) -> ScoreRecord | None:
    if said is None:
        return None
    return ScoreRecord(
        *(engine, said.left, said.right, said.score, said.scored_at, said.environment_sha256, said.disputed_at),
        stems=said.stems,
        in_double=said.in_double,
        margin=said.margin,
        closest=said.closest,
    )


def pair_scores(connection: Connection, run_id: int, evaluator: int) -> PairScores:
    """The scored pairs of a run.

    Raises:
        LeaderboardError: somebody else wrote some of its scores or files.
    """
    scores, counts = _read_through(connection, run_id, evaluator)
    changed = in_words(counts)
    if not changed and _contradicts_sums(connection, run_id, evaluator, counts, len(scores.score)):
        changed = ("its scores",)
    if changed:
        raise LeaderboardError(f"run {run_id}: {why_changed(run_id, changed)}")
    return scores


def summarise(connection: Connection, run_id: int, evaluator: int) -> dict[str, Any]:
    """What the ranking needs of a run, from its scores: the content of `models.SummaryRow`."""
    scores, counts = _read_through(connection, run_id, evaluator)
    shares = {str(other): count for other, count in connection.execute(SHARES_OF_RUN, {"run": run_id})}
    return {**SceneSums.of(scores).as_json(), **counts, "shares": shares}


def _read_through(connection: Connection, run_id: int, evaluator: int) -> tuple[PairScores, dict[str, Any]]:
    """The scored pairs of a run as columns, and what else there is to count."""
    columns: tuple[list[Any], ...] = ([], [], [], [], [], [])
    stems: list[StemScores | None] = []
    counts = dict.fromkeys(COUNTS, 0)
    last_scored: str | None = None
    largest: float | None = None
    for pair in pairs_of_run(connection, run_id, evaluator):
        counts["failed"] += pair.state == "failed"
        counts["changed_files"] += pair.changed
        counts["changed_scores"] += len(pair.changed_scores)
        counts["changed_checks"] += pair.changed_checks
        locked, fast = pair.locked, pair.fast
        if fast is not None:
            counts["fast"] += 1
            counts["only_fast"] += locked is None
            parts = len(fast.stems) if fast.stems else len(EARS)
            counts["parts"] += parts
            if fast.in_double is not None:
                counts["in_single"] += parts - len(fast.in_double)
                counts["in_double"] += len(fast.in_double)
            gap = difference(pair)
            if gap is not None:
                counts["checked"] += len(differences(pair, "locked"))
                counts["checked_in_double"] += len(differences(pair, "fast64"))
                largest = gap if largest is None else max(gap, largest)
        said = locked or fast
        if said is None:
            continue
        counts["disputed"] += said.disputed_at is not None
        last_scored = said.scored_at if last_scored is None else max(said.scored_at, last_scored)
        # Each name is kept in memory once: a thousand scenes make twenty thousand pairs.
        names = map(sys.intern, (pair.scene, pair.listener, pair.track))
        for column, value in zip(columns, (*names, said.left, said.right, said.score), strict=True):
            column.append(value)
        stems.append(said.stems)
    scene, listener, track, left, right, score = map(tuple, columns)
    found = PairScores(scene, listener, track, left, right, score, stem_columns(stems))
    return found, {**counts, "last_scored": last_scored, "largest_difference": largest}


COUNTS = (
    *("failed", "fast", "only_fast", "parts", "in_single", "in_double", "checked", "checked_in_double"),
    *("disputed", "changed_files", "changed_scores", "changed_checks"),
)
"""What is counted beside the sums."""


def in_words(counts: Mapping[str, int]) -> tuple[str, ...]:
    """What of a run somebody else wrote, from its summary: "1 file", "3 scores"."""
    found = ((what, counts[f"changed_{what}s"]) for what in ("file", "score", "check"))
    return tuple(f"{count} {what}{'s' if count > 1 else ''}" for what, count in found if count)


def _fingerprints(connection: Connection) -> dict[int, str]:
    """The fingerprint of each evaluator, by its number."""
    rows = connection.execute(select(EvaluatorRow.id, EvaluatorRow.fingerprint))
    return {row.id: row.fingerprint for row in rows}


def _protocols(connection: Connection) -> dict[int, str]:
    """The name of the protocol that each evaluator is locked to, by its number; "" where its details do not say."""
    found = {}
    for row in connection.execute(select(EvaluatorRow.id, EvaluatorRow.details)):
        protocol = row.details.get("protocol")
        name = protocol.get("name") if isinstance(protocol, dict) else None
        found[row.id] = name if isinstance(name, str) else ""
    return found


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
    fingerprints = _fingerprints(connection)
    for run_id, evaluator in _missing_summaries(connection):
        summary = summarise(connection, run_id, evaluator)
        known = connection.scalar(
            select(SummaryRow.run_id).where(SummaryRow.run_id == run_id, SummaryRow.evaluator_id == evaluator)
        )
        if known is None:
            checksum = of_summary(run_id, fingerprints.get(evaluator), json.dumps(summary))
            connection.execute(
                insert(SummaryRow).values(run_id=run_id, evaluator_id=evaluator, summary=summary, checksum=checksum)
            )


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
    fingerprints, protocols = _fingerprints(connection), _protocols(connection)
    summaries: dict[tuple[int, int], dict[str, Any]] = {}
    changed = set()
    for run_id, evaluator, summary, checksum in connection.execute(
        text("SELECT run_id, evaluator_id, summary, checksum FROM summaries")
    ).all():
        # Other databases than SQLite read JSON by themselves.
        written = summary if isinstance(summary, str) else json.dumps(summary)
        if checksum == of_summary(run_id, fingerprints.get(evaluator), written):
            summaries[run_id, evaluator] = json.loads(written)
        else:
            summaries[run_id, evaluator] = summarise(connection, run_id, evaluator)
            changed.add((run_id, evaluator))
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
                sums=SceneSums.of_json(summary),
                failed=summary["failed"],
                last_scored=summary["last_scored"],
                fast=summary["fast"],
                checked=summary["checked"],
                largest_difference=summary["largest_difference"],
                only_fast=summary["only_fast"],
                shares={other: count for other, count in shares.get(run_id, {}).items() if other in runs},
                load_scores=lambda run_id=run_id, evaluator=evaluator: load(run_id, evaluator),  # type: ignore[misc]
                disputed=summary["disputed"],
                changed=(
                    *(() if status.intact else ("its declaration",)),
                    *in_words(summary),
                    *(("its sums",) if (run_id, evaluator) in changed else ()),
                ),
                protocol=protocols[evaluator],
                **{name: summary[name] for name in ("parts", "in_single", "in_double", "checked_in_double")},
            )
        )
    return found
