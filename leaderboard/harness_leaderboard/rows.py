"""Finding rows by what identifies them, making those that are missing: shared by all that reads and writes."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from harness_leaderboard.checksums import of_environment, of_event, of_run
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.models import (
    CheckRow,
    EnvironmentRow,
    EvaluationSetRow,
    EvaluatorRow,
    EventRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SummaryRow,
)
from harness_leaderboard.records import Causality, EvaluationSetRecord, Load, RunRecord, RunStatus
from harness_leaderboard.texts import storable

Item = TypeVar("Item")

AT_A_TIME = 500
"""Values in one statement: databases limit the parameters that one may have."""

SET_COLUMNS = tuple(getattr(EvaluationSetRow, name) for name in EvaluationSetRecord.__dataclass_fields__)
STATUS_COLUMNS = (
    *(column.label(f"run_{column.name}") for column in RunRow.__table__.columns),
    *(column.label(f"set_{column.name}") for column in EvaluationSetRow.__table__.columns),
    EvaluatorRow.fingerprint,
)
"""All that `status_of` reads; the columns of two tables have the same names."""


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def in_parts(items: Iterable[Item], size: int = AT_A_TIME) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    waiting = iter(items)
    while part := list(islice(waiting, size)):
        yield part


def statuses() -> Any:
    """A SELECT of runs with their evaluation sets and evaluators, for `status_of`."""
    return (
        select(*STATUS_COLUMNS)
        .select_from(RunRow)
        .join(EvaluationSetRow, RunRow.evaluation_set_id == EvaluationSetRow.id)
        .join(EvaluatorRow, RunRow.evaluator_id == EvaluatorRow.id)
    )


def status_of(row: Row[Any]) -> RunStatus:
    """The run in a row of `statuses`.

    Raises:
        LeaderboardError: it was changed outside the harness, to something that no run can be.
    """
    found = row._mapping
    intact = found["run_checksum"] == of_run(dict(found))
    declared = {name: found[f"run_{name}"] for name in RunRecord.__dataclass_fields__}
    try:
        if not intact and not all(isinstance(found[name], kinds) for name, kinds in _KINDS.items()):
            raise TypeError("a column holds what its type cannot be")
        for name, kind in (("causality", Causality), ("load", Load)):
            if declared[name] is not None:
                declared[name] = kind.of_json(declared[name])
    except (TypeError, ValueError) as error:
        raise LeaderboardError(
            f"run {found['run_id']} was changed outside the harness and cannot be read: put back a copy of the database"
        ) from error
    return RunStatus(
        intact=intact,
        id=found["run_id"],
        name=found["run_name"],
        visibility=found["run_visibility"],
        run=RunRecord(**declared),
        evaluation_set=EvaluationSetRecord(
            **{name: found[f"set_{name}"] for name in EvaluationSetRecord.__dataclass_fields__}
        ),
        fingerprint=found["fingerprint"],
        created_at=found["run_created_at"],
        updated_at=found["run_updated_at"],
    )


def _kinds() -> dict[str, tuple[type, ...]]:
    """What each column of `statuses` has to be."""
    kinds: dict[str, tuple[type, ...]] = {}
    for prefix, table in (("run_", RunRow.__table__), ("set_", EvaluationSetRow.__table__)):
        for column in table.columns:
            nothing = (type(None),) if column.nullable else ()
            kinds[f"{prefix}{column.name}"] = (column.type.python_type, *nothing)
    return kinds


_KINDS = _kinds()


def with_hashes(table: type[ScoreRow] | type[CheckRow]) -> Select[Any]:
    """A SELECT of scores or checks, each with the hashes of what it is about."""
    return (
        select(
            table.__table__,
            ReferenceRow.sha256.label("reference_sha256"),
            RemixRow.file_sha256,
            EvaluatorRow.fingerprint,
            EnvironmentRow.sha256.label("environment_sha256"),
        )
        .join(RemixRow, table.remix_id == RemixRow.id)
        .join(ReferenceRow, RemixRow.reference_id == ReferenceRow.id)
        .join(EvaluatorRow, table.evaluator_id == EvaluatorRow.id)
        .outerjoin(EnvironmentRow, table.environment_id == EnvironmentRow.id)
    )


def seal_run(connection: Connection, run_id: int) -> None:
    """Write the checksum of a run after it was written or changed."""
    row = connection.execute(statuses().where(RunRow.id == run_id)).one()
    connection.execute(update(RunRow).where(RunRow.id == run_id).values(checksum=of_run(dict(row._mapping))))


def evaluator_id(connection: Connection, fingerprint: str, details: Mapping[str, Any] | None = None) -> int | None:
    """Id of an evaluator; made with its details if they are given, None if there is none."""
    found = connection.scalar(select(EvaluatorRow.id).where(EvaluatorRow.fingerprint == fingerprint))
    if found is None and details is not None:
        made = insert(EvaluatorRow).values(fingerprint=fingerprint, details=dict(details)).returning(EvaluatorRow.id)
        found = connection.execute(made).scalar_one()
    return found


def environment_id(connection: Connection, environment: Mapping[str, Any]) -> int:
    """Id of an environment, made if there is none like it."""
    canonical = json.dumps(environment, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    found = connection.scalar(select(EnvironmentRow.id).where(EnvironmentRow.sha256 == sha256))
    if found is None:
        checksum = of_environment(sha256, environment)
        made = insert(EnvironmentRow).values(sha256=sha256, details=dict(environment), checksum=checksum)
        made = made.returning(EnvironmentRow.id)
        found = connection.execute(made).scalar_one()
    return int(found)


def reference_ids(connection: Connection, hashes: Iterable[str], make: bool = True) -> dict[str, int]:
    """Ids of references by their hashes; those that are missing are made, or left out."""
    wanted = list(dict.fromkeys(hashes))
    found: dict[str, int] = {}
    for part in in_parts(wanted):
        rows = connection.execute(select(ReferenceRow.sha256, ReferenceRow.id).where(ReferenceRow.sha256.in_(part)))
        found.update((sha256, id_) for sha256, id_ in rows)
    missing = [{"sha256": sha256} for sha256 in wanted if sha256 not in found]
    if missing and make:
        connection.execute(insert(ReferenceRow), missing)
        found.update(reference_ids(connection, [row["sha256"] for row in missing], make=False))
    return found


def remix_ids(connection: Connection, remixes: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """Ids of remixes by reference id and file hash; those that are missing are made."""
    found = _stored_remixes(connection, remixes)
    missing = [{"reference_id": key[0], "file_sha256": key[1]} for key in dict.fromkeys(remixes) if key not in found]
    if missing:
        connection.execute(insert(RemixRow), missing)
        found.update(_stored_remixes(connection, [key for key in remixes if key not in found]))
    return found


def _stored_remixes(connection: Connection, remixes: Sequence[tuple[int, str]]) -> dict[tuple[int, str], int]:
    found: dict[tuple[int, str], int] = {}
    wanted = set(remixes)
    for part in in_parts({reference_id for reference_id, _ in remixes}):
        rows = connection.execute(
            select(RemixRow.reference_id, RemixRow.file_sha256, RemixRow.id).where(RemixRow.reference_id.in_(part))
        )
        found.update(
            ((reference_id, sha256), id_) for reference_id, sha256, id_ in rows if (reference_id, sha256) in wanted
        )
    return found


def forget_summaries(connection: Connection, run_id: int) -> None:
    """Delete the summaries of a run and of those that share files with it; called before and after its files change."""
    ours = select(RunPairRow.remix_id).where(RunPairRow.run_id == run_id, RunPairRow.remix_id.is_not(None))
    holders = select(RunPairRow.run_id).where(RunPairRow.remix_id.in_(ours)).distinct()
    connection.execute(delete(SummaryRow).where((SummaryRow.run_id == run_id) | SummaryRow.run_id.in_(holders)))


def forget_summaries_of(connection: Connection, remixes: Iterable[int]) -> None:
    """Delete the summaries of every run that has one of these remixes."""
    for part in in_parts(remixes):
        holders = select(RunPairRow.run_id).where(RunPairRow.remix_id.in_(part)).distinct()
        connection.execute(delete(SummaryRow).where(SummaryRow.run_id.in_(holders)))


def write_event(
    connection: Connection, run_id: int | None, what: str, why: str, details: Mapping[str, Any] | None = None
) -> None:
    """Add a line to the log."""
    at, why, given = now(), storable(why), dict(details or {})
    checksum = of_event(run_id, at, what, why, given)
    connection.execute(
        insert(EventRow).values(at=at, run_id=run_id, what=what, why=why, details=given, checksum=checksum)
    )
