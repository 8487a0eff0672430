"""Scores on their way into the database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from harness_leaderboard import checks, stems
from harness_leaderboard.checks import Checker, NewCheck
from harness_leaderboard.checksums import of_score
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.facts import ScoreKey, delete_scores, stored_scores
from harness_leaderboard.keptchecks import add_checks, refuse_impossible
from harness_leaderboard.models import EnvironmentRow, ScoreRow
from harness_leaderboard.pairs import pairs_of_run
from harness_leaderboard.records import Engine, NewScore
from harness_leaderboard.rows import (
    environment_id,
    evaluator_id,
    forget_summaries_of,
    now,
    reference_ids,
    remix_ids,
)


def add_scores(
    connection: Connection,
    scores: Sequence[NewScore],
    fingerprint: str,
    environments: Mapping[Engine, Mapping[str, Any]],
    new_checks: Sequence[NewCheck] = (),
) -> None:
    """Store scores and checks; see `store.Store.add_scores`."""
    for score in scores:
        for ear, value in (("left", score.left), ("right", score.right)):
            # Written so that NaN, which compares false with everything, is refused too.
            if not 0 <= value <= 1:
                raise LeaderboardError(
                    f"remix {score.file_sha256[:12]}: the {ear} score {value} is not from 0 to 1 and was not stored: "
                    "check the file"
                )
        if score.stems is not None:
            stems.check(score.stems, f"remix {score.file_sha256[:12]}")
        if not checks.is_margin(score.margin, score.closest) or not all(map(checks.is_part, score.in_double or ())):
            raise LeaderboardError(
                f"remix {score.file_sha256[:12]}: a score cannot have the margin {score.margin} of "
                f"{ascii(score.closest)[:60]}, or such parts in double precision, and was not stored"
            )
    refuse_impossible(new_checks)
    evaluator = evaluator_id(connection, fingerprint)
    if evaluator is None:
        raise LeaderboardError(f"no run was entered under evaluator {fingerprint[:12]}: enter one first")
    wanted = {score.engine for score in scores} | {ENGINE_OF[check.by] for check in new_checks}
    ids = {engine: environment_id(connection, environments[engine]) for engine in wanted}
    of_all = [(score.reference_sha256, score.file_sha256) for score in scores]
    of_all += [(check.reference_sha256, check.file_sha256) for check in new_checks]
    references = reference_ids(connection, [reference for reference, _ in of_all], make=False)
    for reference, _ in of_all:
        if reference not in references:
            raise LeaderboardError(f"no evaluation set has the reference {reference[:12]}: enter it first")
    keys = [(references[reference], file) for reference, file in of_all]
    remixes = remix_ids(connection, keys)
    # A later score of the same remix and engine in one call replaces an earlier one.
    new: dict[ScoreKey, NewScore] = {
        (remixes[key], evaluator, score.engine): score for key, score in zip(keys[: len(scores)], scores, strict=True)
    }
    stored = stored_scores(connection, {remix_id for remix_id, *_ in new})
    # What somebody else wrote is no score, and one that an audit disputes is there to be computed again.
    replaced = [
        key
        for key, score in new.items()
        if key in stored and (score.replaces or not stored[key].intact or stored[key].row["disputed_at"] is not None)
    ]
    delete_scores(connection, replaced)
    kept = stored.keys() - set(replaced)
    at = now()
    environment_sha256 = {
        engine: connection.scalar(select(EnvironmentRow.sha256).where(EnvironmentRow.id == id_))
        for engine, id_ in ids.items()
    }
    made: list[dict[str, Any]] = [
        {
            "remix_id": key[0],
            "evaluator_id": evaluator,
            "engine": score.engine,
            "left_score": float(score.left),
            "right_score": float(score.right),
            "score": (float(score.left) + float(score.right)) / 2,
            "environment_id": ids[score.engine],
            "scored_at": at,
            "disputed_at": None,
            "checksum": of_score(
                *(score.reference_sha256, score.file_sha256, fingerprint, score.engine),
                *(float(score.left), float(score.right), (float(score.left) + float(score.right)) / 2),
                *(environment_sha256[score.engine], at, None, of_stems),
                *(checks.as_text(score.in_double), score.margin, score.closest),
            ),
            "stem_scores": of_stems,
            "in_double": checks.as_text(score.in_double),
            "margin": score.margin,
            "closest": score.closest,
        }
        for key, score, of_stems in ((key, score, stems.as_text(score.stems)) for key, score in new.items())
        if key not in kept
    ]
    if made:
        connection.execute(insert(ScoreRow), made)
        forget_summaries_of(connection, [row["remix_id"] for row in made])
    checked = [(remixes[key], check) for key, check in zip(keys[len(scores) :], new_checks, strict=True)]
    of_checks = {by: ids[engine] for by, engine in ENGINE_OF.items() if engine in ids}
    add_checks(connection, checked, evaluator, fingerprint, of_checks)


ENGINE_OF: Mapping[Checker, Engine] = {"locked": "locked", "fast64": "fast"}
"""Whose environment a check has been made in."""


def judge_scores(
    connection: Connection, run_id: int, fingerprint: str, agrees: Mapping[tuple[str, str], bool], database: str
) -> None:
    """Say of the scores that count for pairs of a run whether an audit agrees; see `store.Store.note_audit`."""
    evaluator = evaluator_id(connection, fingerprint)
    remixes: dict[ScoreKey, bool] = {}
    for pair in pairs_of_run(connection, run_id, evaluator):
        engine = "locked" if pair.locked else "fast" if pair.fast else None
        if (pair.scene, pair.listener) in agrees and engine and pair.remix_id is not None and evaluator is not None:
            remixes[pair.remix_id, evaluator, engine] = agrees[pair.scene, pair.listener]
    if len(remixes) < len(agrees):
        raise LeaderboardError(f"run {run_id} in {database} was changed while it was audited: audit it again")
    stored, at = stored_scores(connection, {remix_id for remix_id, *_ in remixes}), now()
    for key, agreed in remixes.items():
        disputed_at = None if agreed else stored[key].row["disputed_at"] or at
        if disputed_at != stored[key].row["disputed_at"]:
            connection.execute(
                update(ScoreRow)
                .where(ScoreRow.remix_id == key[0], ScoreRow.evaluator_id == key[1], ScoreRow.engine == key[2])
                .values(disputed_at=disputed_at, checksum=stored[key].checksum(disputed_at=disputed_at))
            )
            forget_summaries_of(connection, [key[0]])
