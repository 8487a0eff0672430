"""Scores on their way into the database."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.models import ScoreRow
from harness_leaderboard.records import Engine, NewScore
from harness_leaderboard.rows import (
    environment_id,
    evaluator_id,
    forget_summaries_of,
    in_parts,
    now,
    reference_ids,
    remix_ids,
)


def add_scores(
    connection: Connection,
    scores: Sequence[NewScore],
    fingerprint: str,
    environments: Mapping[Engine, Mapping[str, Any]],
) -> None:
    """Store scores; see `store.Store.add_scores`."""
    for score in scores:
        for ear, value in (("left", score.left), ("right", score.right)):
            # Written so that NaN, which compares false with everything, is refused too.
            if not 0 <= value <= 1:
                raise LeaderboardError(
                    f"remix {score.file_sha256[:12]}: the {ear} score {value} is not from 0 to 1 and was not stored: "
                    "check the file"
                )
    evaluator = evaluator_id(connection, fingerprint)
    if evaluator is None:
        raise LeaderboardError(f"no run was entered under evaluator {fingerprint[:12]}: enter one first")
    ids = {engine: environment_id(connection, environments[engine]) for engine in {score.engine for score in scores}}
    references = reference_ids(connection, [score.reference_sha256 for score in scores], make=False)
    for score in scores:
        if score.reference_sha256 not in references:
            raise LeaderboardError(f"no evaluation set has the reference {score.reference_sha256[:12]}: enter it first")
    keys = [(references[score.reference_sha256], score.file_sha256) for score in scores]
    remixes = remix_ids(connection, keys)
    # A later score of the same remix and engine in one call replaces an earlier one.
    new = {(remixes[key], score.engine): score for key, score in zip(keys, scores, strict=True)}
    replaced = [key for key, score in new.items() if score.replaces]
    for part in in_parts(replaced):
        connection.execute(
            delete(ScoreRow).where(
                ScoreRow.evaluator_id == evaluator, tuple_(ScoreRow.remix_id, ScoreRow.engine).in_(part)
            )
        )
    stored: set[tuple[int, str]] = set()
    for part_of_ids in in_parts({remix_id for remix_id, _ in new}):
        rows = connection.execute(
            select(ScoreRow.remix_id, ScoreRow.engine).where(
                ScoreRow.evaluator_id == evaluator, ScoreRow.remix_id.in_(part_of_ids)
            )
        )
        stored.update((remix_id, engine) for remix_id, engine in rows)
    at = now()
    made: list[dict[str, Any]] = [
        {
            "remix_id": remix_id,
            "evaluator_id": evaluator,
            "engine": engine,
            "left_score": float(score.left),
            "right_score": float(score.right),
            "score": (float(score.left) + float(score.right)) / 2,
            "environment_id": ids[engine],
            "scored_at": at,
        }
        for (remix_id, engine), score in new.items()
        if (remix_id, engine) not in stored
    ]
    if made:
        connection.execute(insert(ScoreRow), made)
        forget_summaries_of(connection, [row["remix_id"] for row in made])
