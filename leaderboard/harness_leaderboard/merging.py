"""Two leaderboards become one: the union of their scores and runs. An export is a leaderboard of its own, made so.

Scores are facts, so they need no reconciling: what both have is compared, and ours stays. A run that both have (same
key, same evaluation set) gets the files that it lacks here; where both have a file for a pair, ours stays.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from harness_leaderboard.checks import from_text as parts_from_text
from harness_leaderboard.checks import is_margin
from harness_leaderboard.checksums import of_declaration, of_environment, of_event, of_pair
from harness_leaderboard.costs import costs_of_run, keep_costs
from harness_leaderboard.database import connect_to_read, trouble
from harness_leaderboard.entering import add_pending, enter_set
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.facts import SCORES, delete_scores, stored_score, stored_scores
from harness_leaderboard.keptchecks import bring_over
from harness_leaderboard.migrations import REVISIONS
from harness_leaderboard.models import (
    DeclarationRow,
    EnvironmentRow,
    EvaluationSetRow,
    EvaluatorRow,
    EventRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SetPairRow,
)
from harness_leaderboard.opening import NOT_OURS
from harness_leaderboard.pairs import pairs_of_run
from harness_leaderboard.records import EvaluationSetRecord, NewScore, SetPair
from harness_leaderboard.rows import (
    SET_COLUMNS,
    environment_id,
    evaluator_id,
    forget_summaries,
    forget_summaries_of,
    in_parts,
    remix_ids,
    seal_run,
    status_of,
    statuses,
    write_event,
)
from harness_leaderboard.stems import from_text, largest_difference, readable

if TYPE_CHECKING:
    from harness_leaderboard.store import Store

IMPORTED_NOTHING = "nothing was imported; ask for another export"


@dataclass
class Merged:
    """What came of a merge.

    Attributes:
        runs: how many runs are new here.
        scores: how many scores are new here.
        known: how many scores were here already, with the same numbers to the last bit.
        different: how many were here already, with other numbers; ours stay.
        largest_difference: between theirs and ours, in any ear or stem; None if there is none.
        files_kept: pairs for which both have a file, and not the same; ours stays.
        refused: how many scores, checks, files and runs of theirs were changed outside the harness, and left out.
        checks: how many checks of parts of fast scores are new here.
    """

    runs: int = 0
    scores: int = 0
    known: int = 0
    different: int = 0
    largest_difference: float | None = None
    files_kept: int = 0
    refused: int = 0
    checks: int = 0


def export(store: "Store", path: Path) -> Merged:
    """See `store.Store.export`."""
    if path.exists():
        raise LeaderboardError(f"{path} exists: name a file that does not")
    try:
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.absolute().parent) as folder:
            partial = Path(folder) / "export.db"
            with type(store).open(f"sqlite:///{partial.absolute()}", create=True) as copy:
                copy.name = str(path)
                with (
                    store.transaction(write=False) as source,
                    copy.transaction(write=True) as target,
                    _readable(f"{store.name} is damaged: put back a copy, nothing was exported"),
                ):
                    merged = merge(source, target, copy.name, "exported")
                copy.keep_summaries()
                with copy.engine.execution_options(immediate=False).connect() as connection:
                    # One file, without a log beside it.
                    connection.exec_driver_sql("COMMIT")
                    connection.exec_driver_sql("PRAGMA journal_mode = DELETE")
                    connection.exec_driver_sql("BEGIN")
            partial.rename(path)
    except OSError as error:
        raise LeaderboardError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return merged


def import_(store: "Store", path: Path, why: str) -> Merged:
    """See `store.Store.import_`."""
    opener = type(store).open
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{path.absolute()}"
        if _revision(path) not in (None, REVISIONS[-1]):
            # From an older version: brought up to date in a copy, since theirs is not ours to change.
            copy = Path(folder) / "copy.db"
            _copy(path, copy)
            url = f"sqlite:///{copy}"
            try:
                opener(url, create=True).close()
            except LeaderboardError as error:
                raise LeaderboardError(str(error).replace(str(copy), str(path))) from error
        with opener(url, create=False) as theirs:
            theirs.name = str(path)
            with theirs.transaction(write=False) as source, store.transaction(write=True) as target:
                _check(source, theirs.name)
                with _readable(f"{theirs.name} is damaged: {IMPORTED_NOTHING}"):
                    merged = merge(source, target, store.name, why)
    store.keep_summaries()
    return merged


@contextmanager
def _readable(otherwise: str) -> Iterator[None]:
    """A LeaderboardError for what no leaderboard writes: text that is no JSON, words for numbers, files of no pair."""
    try:
        yield
    except NOT_OURS as error:
        raise LeaderboardError(otherwise) from error


def _check(source: Connection, name: str) -> None:
    """Raise LeaderboardError where their database is damaged in a way that reading it may not come across."""
    if source.dialect.name != "sqlite":
        return
    found = source.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    loose = source.exec_driver_sql("PRAGMA foreign_key_check").first()
    if found != "ok" or loose is not None:
        raise LeaderboardError(f"{name} is damaged: {IMPORTED_NOTHING}")


def _revision(path: Path) -> str | None:
    """Revision of a database, None if it has none (opening it then says what is wrong)."""
    if not path.is_file():
        raise LeaderboardError(f"{path}: no such file")
    try:
        with closing(connect_to_read(path.absolute())) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row and row[0] in REVISIONS else None
    except sqlite3.Error:
        return None


def _copy(path: Path, copy: Path) -> None:
    """Copy a database with all that is in its log."""
    try:
        with (
            closing(connect_to_read(path.absolute())) as theirs,
            closing(sqlite3.connect(copy)) as ours,
        ):
            theirs.backup(ours)
    except sqlite3.Error as error:
        raise trouble(str(path), error) from error


def merge(source: Connection, target: Connection, database: str, why: str) -> Merged:
    """Bring everything of one database into another, within their transactions."""
    merged = Merged()
    sets, references = _sets(source, target, database)
    evaluators = {
        row.id: evaluator_id(target, row.fingerprint, row.details)
        for row in source.execute(select(EvaluatorRow.__table__))
    }
    environments = {
        row.id: environment_id(target, row.details)
        for row in source.execute(select(EnvironmentRow.__table__))
        if row.checksum == of_environment(row.sha256, row.details)
    }
    remixes = _remixes(source, target, references)
    _scores(source, target, remixes, evaluators, environments, merged)
    merged.checks, refused = bring_over(source, target, remixes, evaluators, environments)
    merged.refused += refused
    intact = {row.run_id: status_of(row).intact for row in source.execute(statuses())}
    for row in source.execute(select(RunRow.__table__).order_by(RunRow.id)).mappings().all():
        if intact.get(row["id"]):
            _run(source, target, dict(row), sets, evaluators, remixes, merged, why)
        else:
            merged.refused += 1
    return merged


def _sets(source: Connection, target: Connection, database: str) -> tuple[dict[int, int], dict[int, int]]:
    """Ids of evaluation sets and of references here, by their ids there."""
    sets: dict[int, int] = {}
    references: dict[int, int] = {}
    for row in source.execute(select(EvaluationSetRow.id, *SET_COLUMNS)).all():
        record = EvaluationSetRecord(**{name: getattr(row, name) for name in EvaluationSetRecord.__dataclass_fields__})
        theirs = source.execute(
            select(
                SetPairRow.scene, SetPairRow.listener, SetPairRow.track, SetPairRow.reference_id, ReferenceRow.sha256
            )
            .join(ReferenceRow, SetPairRow.reference_id == ReferenceRow.id)
            .where(SetPairRow.evaluation_set_id == row.id)
        ).all()
        pairs = [SetPair(pair.scene, pair.listener, pair.track, pair.sha256) for pair in theirs]
        sets[row.id] = enter_set(target, record, pairs, database)
        ours = {
            (scene, listener): reference
            for scene, listener, reference in target.execute(
                select(SetPairRow.scene, SetPairRow.listener, SetPairRow.reference_id).where(
                    SetPairRow.evaluation_set_id == sets[row.id]
                )
            )
        }
        references.update((pair.reference_id, ours[pair.scene, pair.listener]) for pair in theirs)
    return sets, references


def _remixes(source: Connection, target: Connection, references: dict[int, int]) -> dict[int, int]:
    """Ids of remixes here, by their ids there."""
    theirs = [
        (id_, (references[reference], file_sha256))
        for id_, reference, file_sha256 in source.execute(
            select(RemixRow.id, RemixRow.reference_id, RemixRow.file_sha256).order_by(RemixRow.id)
        )
        if reference in references
    ]
    ours: dict[int, int] = {}
    for part in in_parts(theirs, 20_000):
        found = remix_ids(target, [key for _, key in part])
        ours.update((id_, found[key]) for id_, key in part)
    return ours


def _scores(
    source: Connection,
    target: Connection,
    remixes: dict[int, int],
    evaluators: dict[int, int | None],
    environments: dict[int, int],
    merged: Merged,
) -> None:
    environment_sha256 = _pairs(target, select(EnvironmentRow.id, EnvironmentRow.sha256))
    reference_sha256 = _pairs(
        target,
        select(RemixRow.id, ReferenceRow.sha256).join(ReferenceRow, RemixRow.reference_id == ReferenceRow.id),
    )
    rows = source.execute(SCORES).mappings()
    for part in in_parts(row for row in rows if row["remix_id"] in remixes):
        keyed = {}
        for their_score in map(stored_score, part):
            known = their_score.row["environment_id"] in environments
            if not their_score.intact or not known or not _readable_score(their_score.row):
                merged.refused += 1
                continue
            row = {
                **their_score.row,
                "remix_id": remixes[their_score.row["remix_id"]],
                "evaluator_id": evaluators[their_score.row["evaluator_id"]],
                "environment_id": environments[their_score.row["environment_id"]],
            }
            row["checksum"] = their_score.checksum(
                reference_sha256[row["remix_id"]], environment_sha256[row["environment_id"]]
            )
            keyed[row["remix_id"], row["evaluator_id"], row["engine"]] = row
        found = stored_scores(target, {key[0] for key in keyed})
        # What somebody else wrote into ours is no score.
        changed = [key for key in keyed if key in found and not found[key].intact]
        delete_scores(target, changed)
        stored = {key: score.row for key, score in found.items() if score.intact}
        new = [row for key, row in keyed.items() if key not in stored]
        if new:
            target.execute(insert(ScoreRow), new)
            forget_summaries_of(target, {row["remix_id"] for row in new})
        merged.scores += len(new)
        for key in keyed.keys() & stored.keys():
            ours, theirs = stored[key], keyed[key]
            gap = largest_difference(_numbers(ours), _numbers(theirs))
            if gap:
                merged.different += 1
                merged.largest_difference = max(gap, merged.largest_difference or 0.0)
            else:
                merged.known += 1


def _readable_score(row: Mapping[str, Any]) -> bool:
    """Whether what a score says beside its numbers can be read: a stranger may have computed its checksum."""
    try:
        parts_from_text(row["in_double"])
    except (AttributeError, ValueError):
        return False
    return readable(row["stem_scores"]) and is_margin(row["margin"], row["closest"])


def _numbers(row: Mapping[str, Any]) -> NewScore:
    """The numbers of a score from a row of `models.ScoreRow`."""
    stems = from_text(row["stem_scores"])
    return NewScore("", "", row["engine"], row["left_score"], row["right_score"], stems=stems)


def _pairs(connection: Connection, statement: Any) -> dict[int, str]:
    return {row[0]: row[1] for row in connection.execute(statement)}


def _run(
    source: Connection,
    target: Connection,
    row: dict[str, Any],
    sets: dict[int, int],
    evaluators: dict[int, int | None],
    remixes: dict[int, int],
    merged: Merged,
    why: str,
) -> None:
    their_id, set_id = row.pop("id"), sets[row["evaluation_set_id"]]
    run_id = target.scalar(select(RunRow.id).where(RunRow.key == row["key"], RunRow.evaluation_set_id == set_id))
    pair_ids = _pair_ids(target, set_id)
    theirs = list(pairs_of_run(source, their_id, None))
    merged.refused += sum(pair.changed for pair in theirs)
    is_new = run_id is None
    if run_id is None:
        taken = target.scalar(select(RunRow.id).where(RunRow.name == row["name"], RunRow.evaluation_set_id == set_id))
        row |= {"evaluation_set_id": set_id, "evaluator_id": evaluators[row["evaluator_id"]]}
        row["name"] = None if taken is not None else row["name"]
        run_id = int(target.execute(insert(RunRow).values(**row).returning(RunRow.id)).scalar_one())
        seal_run(target, run_id)
    translated: list[dict[str, Any]] = [
        {
            "run_id": run_id,
            "pair_id": pair_ids[pair.scene, pair.listener],
            "state": pair.state,
            "reason": pair.reason,
            "remix_id": None if pair.remix_id is None else remixes[pair.remix_id],
            "clipped": pair.clipped,
            "checksum": of_pair(run_id, *pair[:3], pair.state, pair.reason, pair.file_sha256, pair.clipped),
        }
        for pair in theirs
    ]
    _costs(source, target, their_id, run_id)
    if is_new:
        if translated:
            target.execute(insert(RunPairRow), translated)
        add_pending(target, set_id)
        _history(source, target, their_id, run_id)
        forget_summaries(target, run_id)
        write_event(target, run_id, "imported", why, {})
        merged.runs += 1
        return
    ours = {
        pair_id: (state, remix)
        for pair_id, state, remix in target.execute(
            select(RunPairRow.pair_id, RunPairRow.state, RunPairRow.remix_id).where(RunPairRow.run_id == run_id)
        )
    }
    taken_over = 0
    for pair in translated:
        if pair["remix_id"] is None:
            continue
        state, remix = ours[pair["pair_id"]]
        if state != "enhanced":
            target.execute(
                update(RunPairRow)
                .where(RunPairRow.run_id == run_id, RunPairRow.pair_id == pair["pair_id"])
                .values({name: pair[name] for name in ("state", "reason", "remix_id", "clipped", "checksum")})
            )
            taken_over += 1
        elif remix != pair["remix_id"]:
            merged.files_kept += 1
    if taken_over:
        forget_summaries(target, run_id)
        write_event(target, run_id, "imported", why, {"files": taken_over})


def _pair_ids(connection: Connection, set_id: int) -> dict[tuple[str, str], int]:
    """Ids of an evaluation set's pairs, by scene and listener."""
    rows = connection.execute(
        select(SetPairRow.scene, SetPairRow.listener, SetPairRow.id).where(SetPairRow.evaluation_set_id == set_id)
    )
    return {(scene, listener): id_ for scene, listener, id_ in rows}


def _history(source: Connection, target: Connection, their_id: int, run_id: int) -> None:
    """Bring over what a run declared before and its log. What somebody else wrote is still known for that."""
    kinds: tuple[tuple[Any, Callable[..., str], tuple[str, ...]], ...] = (
        (DeclarationRow, of_declaration, ("declared", "replaced_at")),
        (EventRow, of_event, ("at", "what", "why", "details")),
    )
    for table, checksum, names in kinds:
        rows = source.execute(select(table.__table__).where(table.run_id == their_id).order_by(table.id)).mappings()
        for row in rows:
            said = [row[name] for name in names]
            intact = row["checksum"] == checksum(their_id, *said)
            values = {"run_id": run_id, "checksum": checksum(run_id, *said) if intact else None}
            target.execute(insert(table).values(**values, **dict(zip(names, said, strict=True))))


def _costs(source: Connection, target: Connection, their_id: int, run_id: int) -> None:
    """Bring over what pieces of music cost a run's system; what we have of a piece stays."""
    ours = {cost.piece for cost in costs_of_run(target, run_id)[0]}
    keep_costs(target, run_id, [cost for cost in costs_of_run(source, their_id)[0] if cost.piece not in ours])
