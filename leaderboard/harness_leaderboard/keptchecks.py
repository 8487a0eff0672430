"""Checks in the database: written, read, and brought over from another one."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, tuple_

from harness_leaderboard.checks import CHECKERS, Checker, NewCheck, is_part
from harness_leaderboard.checksums import of_check
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.models import CheckRow, EnvironmentRow, ReferenceRow, RemixRow
from harness_leaderboard.rows import forget_summaries_of, in_parts, now, with_hashes

CHECKS_OF_RUN = text(
    "SELECT DISTINCT c.remix_id, c.part, c.checked_by, c.score, c.fast_score, c.environment_id, c.checked_at,"
    " c.checksum FROM run_pairs r JOIN checks c ON c.remix_id = r.remix_id"
    " WHERE r.run_id = :run AND c.evaluator_id = :evaluator ORDER BY c.remix_id, c.part, c.checked_by"
)

CheckKey = tuple[int, int, str, str]
"""Remix, evaluator, part, and what checked."""

_KEY = tuple_(CheckRow.remix_id, CheckRow.evaluator_id, CheckRow.part, CheckRow.checked_by)
_COLUMNS = tuple(column.name for column in CheckRow.__table__.columns)
_CHECKS = with_hashes(CheckRow)


@dataclass(frozen=True)
class StoredCheck:
    """A row of `models.CheckRow`, with what its numbers stand for.

    Attributes:
        row: the columns of the table.
        about: hashes of reference, file and evaluator.
        environment_sha256: hash of its environment.
    """

    row: Mapping[str, Any]
    about: tuple[str, str, str]
    environment_sha256: str

    @property
    def key(self) -> CheckKey:
        """By which it is found."""
        return self.row["remix_id"], self.row["evaluator_id"], self.row["part"], self.row["checked_by"]

    @property
    def intact(self) -> bool:
        """Whether the harness wrote it."""
        return bool(self.row["checksum"] == self.checksum()) and is_part(self.row["part"])

    def checksum(self, reference_sha256: str | None = None) -> str:
        """What its checksum has to be, or would have to be with another reference."""
        row = self.row
        about = (reference_sha256 or self.about[0], *self.about[1:], row["part"], row["checked_by"])
        return of_check(*about, row["score"], row["fast_score"], self.environment_sha256, row["checked_at"])


def refuse_impossible(checks: Iterable[NewCheck]) -> None:
    """Refuse what cannot be a check.

    Raises:
        LeaderboardError: nothing checks that is called so, or no part is; a score is NaN or not from 0 to 1.
    """
    for check in checks:
        # Written so that NaN, which compares false with everything, is refused too.
        possible = 0 <= check.score <= 1 and 0 <= check.fast <= 1
        if not possible or not is_part(check.part) or check.by not in CHECKERS:
            raise LeaderboardError(
                f"remix {check.file_sha256[:12]}: {ascii(check.by)[:60]} cannot have checked {ascii(check.part)[:60]} "
                f"with {check.score} for {check.fast}: it was not stored"
            )


def add_checks(
    connection: Connection,
    checks: Sequence[tuple[int, NewCheck]],
    evaluator: int,
    fingerprint: str,
    environments: Mapping[Checker, int],
) -> None:
    """Store checks in place of earlier ones of the same parts.

    Args:
        checks: each with the number of its remix.
        evaluator, fingerprint: number and hash of the evaluator.
        environments: the number of the environment of "locked" and of "fast64" checks.
    """
    at = now()
    hashes = {row.id: row.sha256 for row in connection.execute(select(EnvironmentRow.id, EnvironmentRow.sha256))}
    made = {}
    for remix_id, check in checks:
        environment = environments[check.by]
        said = check.part, check.by, float(check.score), float(check.fast), hashes[environment], at
        made[remix_id, evaluator, check.part, check.by] = {
            "remix_id": remix_id,
            "evaluator_id": evaluator,
            "part": check.part,
            "checked_by": check.by,
            "score": float(check.score),
            "fast_score": float(check.fast),
            "environment_id": environment,
            "checked_at": at,
            "checksum": of_check(check.reference_sha256, check.file_sha256, fingerprint, *said),
        }
    if made:
        delete_checks(connection, made)
        connection.execute(insert(CheckRow), list(made.values()))
        forget_summaries_of(connection, {remix_id for remix_id, *_ in made})


def checks_of_run(connection: Connection, run_id: int, evaluator: int | None) -> Mapping[int | None, list[Any]]:
    """The checks of a run's files under an evaluator as they are stored, by the number of the remix."""
    found: defaultdict[int | None, list[Any]] = defaultdict(list)
    for row in connection.execute(CHECKS_OF_RUN, {"run": run_id, "evaluator": evaluator}):
        found[row.remix_id].append(row)
    return found


def stored_checks(connection: Connection, remixes: Iterable[int]) -> dict[CheckKey, StoredCheck]:
    """All checks of remixes."""
    found: dict[CheckKey, StoredCheck] = {}
    for part in in_parts(remixes):
        for row in connection.execute(_CHECKS.where(CheckRow.remix_id.in_(part))).mappings():
            check = _stored(row)
            found[check.key] = check
    return found


def _stored(row: Mapping[Any, Any]) -> StoredCheck:
    about = row["reference_sha256"], row["file_sha256"], row["fingerprint"]
    return StoredCheck({name: row[name] for name in _COLUMNS}, about, row["environment_sha256"])


def delete_checks(connection: Connection, keys: Collection[CheckKey]) -> None:
    """Delete checks. Whoever calls this forgets the sums that they are in."""
    for part in in_parts(keys, 200):
        connection.execute(delete(CheckRow).where(_KEY.in_(part)))


def bring_over(
    source: Connection,
    target: Connection,
    remixes: Mapping[int, int],
    evaluators: Mapping[int, int | None],
    environments: Mapping[int, int],
) -> tuple[int, int]:
    """Bring over the checks of another database: how many are new here, how many were changed and left out.

    Args:
        remixes, evaluators, environments: numbers here, by those there.
    """
    new = refused = 0
    ours = select(RemixRow.id, ReferenceRow.sha256).join(ReferenceRow, RemixRow.reference_id == ReferenceRow.id)
    reference_sha256 = {row.id: row.sha256 for row in target.execute(ours)}
    rows = source.execute(_CHECKS).mappings()
    for part in in_parts(row for row in rows if row["remix_id"] in remixes):
        keyed: dict[CheckKey, dict[str, Any]] = {}
        for theirs in map(_stored, part):
            evaluator = evaluators[theirs.row["evaluator_id"]]
            if not theirs.intact or theirs.row["environment_id"] not in environments or evaluator is None:
                refused += 1
                continue
            remix = remixes[theirs.row["remix_id"]]
            row = {
                **theirs.row,
                "remix_id": remix,
                "evaluator_id": evaluator,
                "environment_id": environments[theirs.row["environment_id"]],
                "checksum": theirs.checksum(reference_sha256[remix]),
            }
            keyed[remix, evaluator, row["part"], row["checked_by"]] = row
        found = stored_checks(target, {key[0] for key in keyed})
        # What somebody else wrote into ours is no check.
        delete_checks(target, [key for key in keyed if key in found and not found[key].intact])
        lacking = [row for key, row in keyed.items() if key not in found or not found[key].intact]
        if lacking:
            target.execute(insert(CheckRow), lacking)
            forget_summaries_of(target, {row["remix_id"] for row in lacking})
        new += len(lacking)
    return new, refused
