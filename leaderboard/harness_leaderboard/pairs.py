"""The pairs of a run as they are stored, each held against its checksums: all that reads scores comes by here."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, text

from harness_leaderboard.checks import CheckRecord, parts_of
from harness_leaderboard.checks import from_text as parts_from_text
from harness_leaderboard.checksums import of_check, of_pair, of_score
from harness_leaderboard.keptchecks import checks_of_run
from harness_leaderboard.models import EnvironmentRow, EvaluatorRow
from harness_leaderboard.records import State
from harness_leaderboard.stems import StemScores, from_text

PAIRS_OF_RUN = text(
    "SELECT p.scene, p.listener, p.track, b.sha256, r.remix_id, r.state, r.reason, r.clipped, r.checksum,"
    " m.file_sha256,"
    " CASE WHEN p.evaluation_set_id = u.evaluation_set_id AND (m.id IS NULL OR m.reference_id = p.reference_id)"
    " THEN 1 ELSE 0 END,"
    " l.engine, l.left_score, l.right_score, l.score, l.environment_id, l.scored_at, l.disputed_at, l.checksum,"
    " l.stem_scores, l.in_double, l.margin, l.closest,"
    " f.engine, f.left_score, f.right_score, f.score, f.environment_id, f.scored_at, f.disputed_at, f.checksum,"
    " f.stem_scores, f.in_double, f.margin, f.closest"
    " FROM run_pairs r JOIN runs u ON u.id = r.run_id JOIN set_pairs p ON p.id = r.pair_id"
    " JOIN reference_signals b ON b.id = p.reference_id"
    " LEFT JOIN remixes m ON m.id = r.remix_id"
    " LEFT JOIN scores l ON l.remix_id = r.remix_id AND l.evaluator_id = :evaluator AND l.engine = 'locked'"
    " LEFT JOIN scores f ON f.remix_id = r.remix_id AND f.evaluator_id = :evaluator AND f.engine = 'fast'"
    " WHERE r.run_id = :run ORDER BY r.pair_id"
)
"""Plain SQL: without the layers above it reading half a million scores takes a third of the time."""


class Values(NamedTuple):
    """What a score says: see `records.ScoreRecord`."""

    left: float
    right: float
    score: float
    environment_sha256: str
    scored_at: str
    disputed_at: str | None
    stems: StemScores | None = None
    in_double: tuple[str, ...] | None = None
    margin: float | None = None
    closest: str | None = None


class Pair(NamedTuple):
    """A pair of a run, with what of it agrees with its checksums.

    Attributes:
        remix_id: number of the file, and of the reference that it is held against; None without a file.
        state, reason, clipped, file_sha256: as the run has them. Where somebody else wrote them, the pair is pending.
        changed: whether somebody else wrote them.
        locked, fast: the scores of the file; None where there is none, or one that somebody else wrote.
        changed_scores: the engines whose scores somebody else wrote.
        checks: of the parts of the fast score.
        changed_checks: how many checks somebody else wrote; they are none.
    """

    scene: str
    listener: str
    track: str
    reference_sha256: str
    remix_id: int | None
    state: State
    reason: str | None
    clipped: int | None
    file_sha256: str | None
    changed: bool
    locked: Values | None
    fast: Values | None
    changed_scores: tuple[str, ...]
    checks: tuple[CheckRecord, ...] = ()
    changed_checks: int = 0


def pairs_of_run(connection: Connection, run_id: int, evaluator: int | None) -> Iterator[Pair]:
    """The pairs of a run in the order of their numbers, with their files' scores under an evaluator.

    Rows are taken in small parts: nearly twice as fast as all at once, which keeps hundreds of thousands of rows for
    the garbage collector to look through.

    Raises:
        TypeError: a name is no text; only damage does that.
    """
    fingerprint = connection.scalar(select(EvaluatorRow.fingerprint).where(EvaluatorRow.id == evaluator))
    environments: dict[int, str] = {
        row.id: row.sha256 for row in connection.execute(select(EnvironmentRow.id, EnvironmentRow.sha256))
    }
    checks = checks_of_run(connection, run_id, evaluator)
    found = connection.execute(PAIRS_OF_RUN, {"run": run_id, "evaluator": evaluator})
    for rows in found.partitions(500):
        for row in rows:
            pair = _checked(row, run_id, fingerprint, environments)
            rows_of_checks = checks.get(pair.remix_id)
            yield pair if rows_of_checks is None else _with_checks(pair, rows_of_checks, fingerprint, environments)


def _checked(row: Any, run_id: int, fingerprint: str | None, environments: dict[int, str]) -> Pair:
    scene, listener, track, reference, remix_id, state, reason, clipped, checksum, file_sha256, fits, *scores = row
    if not (isinstance(scene, str) and isinstance(listener, str) and isinstance(track, str)):
        raise TypeError("the name of a pair is no text")
    if not fits or checksum != of_pair(run_id, scene, listener, track, state, reason, file_sha256, clipped):
        return Pair(scene, listener, track, reference, None, "pending", None, None, None, True, None, None, ())
    values: list[Values | None] = []
    changed: tuple[str, ...] = ()
    for first in (0, 12):
        engine, left, right, score, environment, scored_at, disputed_at, of_this, *more = scores[first : first + 12]
        if engine is None:
            values.append(None)
            continue
        environment = environments.get(environment, "")
        said = left, right, score, environment, scored_at, disputed_at
        if of_this == of_score(reference, file_sha256, fingerprint, engine, *said, *more):
            stems, in_double, margin, closest = more
            values.append(Values(*said, from_text(stems), parts_from_text(in_double), margin, closest))
        else:
            values.append(None)
            changed += (engine,)
    locked, fast = values
    return Pair(
        *(scene, listener, track, reference, remix_id, state, reason, clipped, file_sha256),
        *(False, locked, fast, changed),
    )


def _with_checks(pair: Pair, rows: list[Any], fingerprint: str | None, environments: dict[int, str]) -> Pair:
    """The pair with those checks that agree with their checksums, and are of its present fast score."""
    found: list[CheckRecord] = []
    changed = 0
    parts = {} if pair.fast is None else parts_of(pair.fast)
    for row in rows:
        environment = environments.get(row.environment_id, "")
        about = pair.reference_sha256, pair.file_sha256, fingerprint
        said = row.part, row.checked_by, row.score, row.fast_score, environment, row.checked_at
        if row.checksum != of_check(*about, *said):
            changed += 1
        elif parts.get(row.part) == row.fast_score:
            found.append(CheckRecord(*said))
    return pair._replace(checks=tuple(found), changed_checks=changed)
