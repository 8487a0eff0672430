"""Evaluation sets and runs on their way into the database: what is declared, and which files a run has."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, literal, select, update

from harness_leaderboard.checksums import of_declaration, of_pair
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.facts import stored_scores
from harness_leaderboard.models import (
    UNRESOLVED,
    CheckRow,
    DeclarationRow,
    EvaluationSetRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SetPairRow,
)
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, RunRecord, SetPair
from harness_leaderboard.rows import (
    SET_COLUMNS,
    evaluator_id,
    forget_summaries,
    forget_summaries_of,
    in_parts,
    now,
    reference_ids,
    remix_ids,
    seal_run,
    status_of,
    statuses,
    write_event,
)
from harness_leaderboard.texts import storable

WHERE = ("submission", "folder")
"""What says where a run's files lie. It may change without the run being declared anew."""


def enter_set(connection: Connection, record: EvaluationSetRecord, pairs: Sequence[SetPair], database: str) -> int:
    """Id of an evaluation set, made with its pairs if it is new.

    Raises:
        LeaderboardError: a pair is given twice; a set with this hash and other numbers of scenes or pairs is stored.
    """
    names = [(pair.scene, pair.listener) for pair in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LeaderboardError(f"evaluation set {record.name} has the pair {twice[0]} for {twice[1]} twice")
    stored = connection.execute(
        select(EvaluationSetRow.id, *SET_COLUMNS).where(EvaluationSetRow.sha256 == record.sha256)
    ).one_or_none()
    if stored is None:
        made = insert(EvaluationSetRow).values(**vars(record)).returning(EvaluationSetRow.id)
        set_id = int(connection.execute(made).scalar_one())
    elif (stored.scenes, stored.pairs) != (record.scenes, record.pairs):
        raise LeaderboardError(
            f"evaluation set {record.name} has {record.scenes} scenes and {record.pairs} pairs, but "
            f"{stored.scenes} and {stored.pairs} under the same hash in {database}: choose another --db"
        )
    else:
        set_id = int(stored.id)
    known = {
        (row.scene, row.listener): row
        for row in connection.execute(
            select(SetPairRow.id, SetPairRow.scene, SetPairRow.listener, SetPairRow.reference_id, ReferenceRow.sha256)
            .join(ReferenceRow, SetPairRow.reference_id == ReferenceRow.id)
            .where(SetPairRow.evaluation_set_id == set_id)
        )
    }
    resolved = {
        known[name].reference_id: pair.reference_sha256
        for name, pair in zip(names, pairs, strict=True)
        if name in known
        and known[name].sha256.startswith(UNRESOLVED)
        # Another database may know no more of it than this one.
        and not pair.reference_sha256.startswith(UNRESOLVED)
    }
    if resolved:
        resolve(connection, resolved)
    missing = [pair for name, pair in zip(names, pairs, strict=True) if name not in known]
    if len(known) + len(missing) > record.pairs:
        # Complete runs are compared scene by scene, which takes that they have the same pairs.
        raise LeaderboardError(
            f"evaluation set {record.name} has {record.pairs} pairs, but {len(known) + len(missing)} were named: "
            f"choose another --db than {database}"
        )
    if missing:
        references = reference_ids(connection, [pair.reference_sha256 for pair in missing])
        connection.execute(
            insert(SetPairRow),
            [
                {
                    "evaluation_set_id": set_id,
                    "scene": pair.scene,
                    "listener": pair.listener,
                    "track": pair.track,
                    "reference_id": references[pair.reference_sha256],
                }
                for pair in missing
            ],
        )
        add_pending(connection, set_id)
    return set_id


def add_pending(connection: Connection, set_id: int) -> None:
    """Give every run on an evaluation set the pairs that it lacks."""
    has = (
        select(RunPairRow.run_id)
        .where(RunPairRow.run_id == RunRow.id, RunPairRow.pair_id == SetPairRow.id)
        .correlate(RunRow, SetPairRow)
        .exists()
    )
    lacking = (
        select(RunRow.id, SetPairRow.id, literal("pending"))
        .join(SetPairRow, SetPairRow.evaluation_set_id == RunRow.evaluation_set_id)
        .where(RunRow.evaluation_set_id == set_id, ~has)
    )
    connection.execute(insert(RunPairRow).from_select(["run_id", "pair_id", "state"], lacking))


def resolve(connection: Connection, hashes: Mapping[int, str]) -> None:
    """Give references of which little was known their hashes; one that is there already takes over all of theirs.

    Args:
        hashes: by the id of the unresolved reference.
    """
    there = reference_ids(connection, hashes.values(), make=False)
    for id_, sha256 in hashes.items():
        of_reference = select(RemixRow.id).where(RemixRow.reference_id == id_)
        scores = stored_scores(connection, connection.scalars(of_reference).all())
        # The checksum of a score that somebody else wrote stays wrong.
        checksums = {key: score.checksum(sha256) if score.intact else None for key, score in scores.items()}
        if sha256 not in there:
            connection.execute(update(ReferenceRow).where(ReferenceRow.id == id_).values(sha256=sha256))
            there[sha256] = id_
            for key, checksum in checksums.items():
                connection.execute(
                    update(ScoreRow)
                    .where(ScoreRow.remix_id == key[0], ScoreRow.evaluator_id == key[1], ScoreRow.engine == key[2])
                    .values(checksum=checksum)
                )
            continue
        target = there[sha256]
        for old, file_sha256 in connection.execute(
            select(RemixRow.id, RemixRow.file_sha256).where(RemixRow.reference_id == id_)
        ).all():
            (new,) = remix_ids(connection, [(target, file_sha256)]).values()
            forget_summaries_of(connection, [old, new])
            has = select(ScoreRow.evaluator_id, ScoreRow.engine).where(ScoreRow.remix_id == new)
            stored = {tuple(row) for row in connection.execute(has)}
            for key, score in scores.items():
                if key[0] == old and key[1:] not in stored:
                    moved = {**score.row, "remix_id": new, "checksum": checksums[key]}
                    connection.execute(insert(ScoreRow).values(**moved))
            connection.execute(delete(ScoreRow).where(ScoreRow.remix_id == old))
            # Nothing is checked before its reference is known; whatever is here somebody else wrote.
            connection.execute(delete(CheckRow).where(CheckRow.remix_id == old))
            connection.execute(update(RunPairRow).where(RunPairRow.remix_id == old).values(remix_id=new))
            connection.execute(delete(RemixRow).where(RemixRow.id == old))
        connection.execute(update(SetPairRow).where(SetPairRow.reference_id == id_).values(reference_id=target))
        connection.execute(delete(ReferenceRow).where(ReferenceRow.id == id_))


def enter_run(
    connection: Connection,
    run: RunRecord,
    set_id: int,
    fingerprint: str,
    evaluator_details: Mapping[str, Any],
    run_id: int | None,
    why: str,
) -> int:
    """Make a run, or declare one anew: what it declared before goes into its history.

    Args:
        run_id: the run to declare anew; None for the one with the same key, made if there is none.
        why: for the log, if something is declared anew.

    Raises:
        LeaderboardError: there is no run `run_id` on the evaluation set; what it declares cannot be stored.
    """
    at = now()
    evaluator = evaluator_id(connection, fingerprint, evaluator_details)
    try:
        told = run.as_json()
    except (TypeError, ValueError) as error:
        raise LeaderboardError(
            f"the causality or load of {run.system} holds what cannot be stored ({error}): it needs finite numbers"
        ) from error
    declared = {name: storable(value) if isinstance(value, str) else value for name, value in told.items()}
    which = RunRow.id == run_id if run_id is not None else RunRow.key == run.key
    before = connection.execute(select(RunRow.__table__).where(which, RunRow.evaluation_set_id == set_id)).one_or_none()
    if before is None and run_id is not None:
        raise LeaderboardError(f"there is no run {run_id} on this evaluation set: harness runs lists them")
    if before is None:
        made = insert(RunRow).values(
            **declared,
            evaluation_set_id=set_id,
            evaluator_id=evaluator,
            visibility="shown",
            created_at=at,
            updated_at=at,
        )
        new_id = int(connection.execute(made.returning(RunRow.id)).scalar_one())
        add_pending(connection, set_id)
        seal_run(connection, new_id)
        write_event(connection, new_id, "entered", "", {"submission": run.submission})
        return new_id
    old = {name: before._mapping[name] for name in RunRecord.__dataclass_fields__}
    changed = sorted(name for name in declared if name not in WHERE and declared[name] != old[name])
    if changed:
        checksum = of_declaration(before.id, old, at)
        connection.execute(
            insert(DeclarationRow).values(run_id=before.id, declared=old, replaced_at=at, checksum=checksum)
        )
        write_event(connection, before.id, "declared anew", why, {"changed": changed})
    if before.evaluator_id != evaluator:
        # A run without any score is shown under its evaluator, and no longer under the one that it had.
        forget_summaries(connection, before.id)
    if before.visibility == "removed":
        write_event(connection, before.id, "restored", "entered again")
    connection.execute(
        update(RunRow)
        .where(RunRow.id == before.id)
        .values(
            **declared,
            evaluator_id=evaluator,
            updated_at=at,
            visibility="shown" if before.visibility == "removed" else before.visibility,
        )
    )
    seal_run(connection, before.id)
    return int(before.id)


def change_run(connection: Connection, run_id: int, **values: Any) -> None:
    """Change something of a run. If it was changed outside the harness before, that stays to be seen."""
    row = connection.execute(statuses().where(RunRow.id == run_id)).one()
    connection.execute(update(RunRow).where(RunRow.id == run_id).values(**values))
    if status_of(row).intact:
        seal_run(connection, run_id)


def set_files(connection: Connection, run_id: int, files: Sequence[EnhancedFile], database: str) -> None:
    """Say which files a run has for some of its pairs; see `store.Store.mark_all_enhanced`."""
    pairs = pairs_of(connection, run_id, {(file.scene, file.listener) for file in files}, database)
    remixes = remix_ids(connection, [(pairs[file.scene, file.listener].reference, file.file_sha256) for file in files])
    forget_summaries(connection, run_id)
    changes = []
    for file in files:
        pair = pairs[file.scene, file.listener]
        says = file.scene, file.listener, pair.track, "enhanced", None, file.file_sha256, file.clipped
        changes.append(
            {
                "of": pair.id,
                "new_remix": remixes[pair.reference, file.file_sha256],
                "new_clipped": file.clipped,
                "new_checksum": of_pair(run_id, *says),
            }
        )
    if changes:
        connection.execute(
            update(RunPairRow)
            .where(RunPairRow.run_id == run_id, RunPairRow.pair_id == bindparam("of"))
            .values(
                state="enhanced",
                reason=None,
                remix_id=bindparam("new_remix"),
                clipped=bindparam("new_clipped"),
                checksum=bindparam("new_checksum"),
            ),
            changes,
        )
    forget_summaries(connection, run_id)


def drop_files(
    connection: Connection, run_id: int, reasons: Mapping[tuple[str, str], str | None], database: str
) -> None:
    """Say that some pairs of a run have no file: they failed, or without a reason are pending again."""
    known = pairs_of(connection, run_id, set(reasons), database)
    forget_summaries(connection, run_id)
    changes = []
    for (scene, listener), given in reasons.items():
        pair, reason = known[scene, listener], None if given is None else storable(given)
        state = "pending" if reason is None else "failed"
        checksum = of_pair(run_id, scene, listener, pair.track, state, reason, None, None)
        changes.append({"of": pair.id, "new_state": state, "new_reason": reason, "new_checksum": checksum})
    if changes:
        connection.execute(
            update(RunPairRow)
            .where(RunPairRow.run_id == run_id, RunPairRow.pair_id == bindparam("of"))
            .values(
                state=bindparam("new_state"),
                reason=bindparam("new_reason"),
                remix_id=None,
                clipped=None,
                checksum=bindparam("new_checksum"),
            ),
            changes,
        )


class Place(NamedTuple):
    """A pair of a run: its number, its piece of music, and the number of its reference."""

    id: int
    track: str
    reference: int


def pairs_of(
    connection: Connection, run_id: int, wanted: set[tuple[str, str]], database: str
) -> dict[tuple[str, str], Place]:
    """Some of a run's pairs, by scene and listener.

    Raises:
        LeaderboardError: the run has no such pair.
    """
    found: dict[tuple[str, str], Place] = {}
    for scenes in in_parts({scene for scene, _ in wanted}):
        rows = connection.execute(
            select(SetPairRow.scene, SetPairRow.listener, SetPairRow.id, SetPairRow.track, SetPairRow.reference_id)
            .join(RunPairRow, RunPairRow.pair_id == SetPairRow.id)
            .where(RunPairRow.run_id == run_id, SetPairRow.scene.in_(scenes))
        )
        found.update(((row.scene, row.listener), Place(row.id, row.track, row.reference_id)) for row in rows)
    missing = sorted(wanted - found.keys())
    if missing:
        scene, listener = missing[0]
        raise LeaderboardError(
            f"run {run_id} in {database} has no pair {scene} for {listener}: its evaluation set has no such pair"
        )
    return found
