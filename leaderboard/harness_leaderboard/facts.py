"""Scores as they are stored, whichever runs have the files: each with what it is held against its checksum by."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, tuple_

from harness_leaderboard.checksums import of_score
from harness_leaderboard.models import ScoreRow
from harness_leaderboard.rows import in_parts, with_hashes

ScoreKey = tuple[int, int, str]
"""Remix, evaluator and engine."""


@dataclass(frozen=True)
class StoredScore:
    """A row of `models.ScoreRow`, and what its numbers stand for.

    Attributes:
        row: the columns of the table.
        about: hashes of reference, file and evaluator, and the engine.
        environment_sha256: hash of its environment.
    """

    row: Mapping[str, Any]
    about: tuple[str, str, str, str]
    environment_sha256: str

    @property
    def key(self) -> ScoreKey:
        """By which it is found."""
        return self.row["remix_id"], self.row["evaluator_id"], self.row["engine"]

    @property
    def intact(self) -> bool:
        """Whether the harness wrote it."""
        return bool(self.row["checksum"] == self.checksum())

    def checksum(
        self, reference_sha256: str | None = None, environment_sha256: str | None = None, **changed: Any
    ) -> str:
        """What its checksum has to be, or would have to be with another reference or environment or other columns."""
        row = {**self.row, **changed}
        about = (reference_sha256 or self.about[0], *self.about[1:])
        values = (row["left_score"], row["right_score"], row["score"])
        environment = environment_sha256 or self.environment_sha256
        when = row["scored_at"], row["disputed_at"]
        how = row["in_double"], row["margin"], row["closest"]
        return of_score(*about, *values, environment, *when, row["stem_scores"], *how)


_COLUMNS = tuple(column.name for column in ScoreRow.__table__.columns)
SCORES = with_hashes(ScoreRow)
"""A SELECT for `stored_score`."""


def stored_score(row: Mapping[Any, Any]) -> StoredScore:
    """The score in a row of `SCORES`."""
    about = row["reference_sha256"], row["file_sha256"], row["fingerprint"], row["engine"]
    return StoredScore({name: row[name] for name in _COLUMNS}, about, row["environment_sha256"])


def stored_scores(connection: Connection, remixes: Iterable[int]) -> dict[ScoreKey, StoredScore]:
    """All scores of remixes."""
    found: dict[ScoreKey, StoredScore] = {}
    for part in in_parts(remixes):
        for row in connection.execute(SCORES.where(ScoreRow.remix_id.in_(part))).mappings():
            score = stored_score(row)
            found[score.key] = score
    return found


def delete_scores(connection: Connection, keys: Collection[ScoreKey]) -> None:
    """Delete scores. Whoever calls this forgets the sums that they are in."""
    key = tuple_(ScoreRow.remix_id, ScoreRow.evaluator_id, ScoreRow.engine)
    for part in in_parts(keys, 200):
        connection.execute(delete(ScoreRow).where(key.in_(part)))
