"""The database: open it, write runs and scores into it, read them back. Nothing else talks to it.

Conventions:

- A leaderboard is named by an SQLAlchemy URL. `sqlite:///leaderboard.db` is a file in the working folder,
  `sqlite:////data/leaderboard.db` one at an absolute path; `?timeout=SECONDS` says how long to wait for
  another process that is writing (default 30). Other databases work where their driver is installed.
- One process writes, as many as like read: SQLite keeps a write-ahead log. Should several write, they take
  turns: a transaction that writes takes its lock at its start, and waits for it.
- Every method is one transaction. When it returns its changes are on disk; when it raises nothing changed.
- Whatever goes wrong with the database is a `LeaderboardError`, one line with the way out.

Scores are HAAQI values from 0 to 1. A fingerprint is the hash of the locked evaluator that gave them.
Details, settings and environments are JSON objects: strings, numbers, booleans, None, lists, mappings.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy import Engine as DatabaseEngine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from harness_leaderboard.database import (
    MAKE_ONE,
    check_path,
    one_line,
    other_engine,
    parse_url,
    sqlite_engine,
    trouble,
    use_write_ahead_log,
    wait_time,
)
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.migrations import REVISIONS
from harness_leaderboard.models import Environment, EvaluationSet, Evaluator, Pair, Run, Score
from harness_leaderboard.records import (
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    PairRecord,
    PairScores,
    RunRecord,
    ScoredRun,
    ScoreRecord,
    StoredRun,
)

if TYPE_CHECKING:
    from alembic.config import Config


class Store:
    """An open leaderboard. Made by `Store.open`, used in a `with` statement."""

    def __init__(self, engine: DatabaseEngine, name: str) -> None:
        self.engine = engine
        self.name = name
        """What messages call the database: the path of the file, or the URL without its password."""

    @classmethod
    def open(cls, url: str, create: bool) -> Self:
        """Open a leaderboard.

        Args:
            url: see the top of the module.
            create: True to write: the database is made if there is none, and brought up to date if it is
                older. False to read: nothing is written, so this works on a read-only file.

        Raises:
            LeaderboardError: the URL is malformed; there is no such database or folder; it is not a
                leaderboard, damaged, from a newer version, older and not to be written, read-only, or locked.
        """
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            path, timeout = Path(str(parsed.database)), wait_time(parsed)
            check_path(path, create)
            store = cls(sqlite_engine(path, create, timeout), str(path))
        else:
            store = cls(other_engine(parsed), parsed.render_as_string(hide_password=True))
        try:
            with store._transaction(write=create, migrate=create) as connection:
                store._bring_up_to_date(connection, create)
            if create and store.engine.name == "sqlite":
                # The connection that migrates does not enforce foreign keys: it must not be used again.
                store.engine.dispose()
                use_write_ahead_log(path, timeout)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def start_run(
        self,
        run: RunRecord,
        evaluation_set: EvaluationSetRecord,
        fingerprint: str,
        evaluator_details: Mapping[str, Any],
        pairs: Sequence[tuple[str, str, str]],
    ) -> int:
        """Make a run, or take up the one with the same key, evaluation set and evaluator.

        A run that is taken up has its declared properties replaced by those given. Its pairs keep their state
        and their scores; pairs that it does not have yet are added as pending.

        Args:
            run: the run.
            evaluation_set: what it is evaluated on.
            fingerprint: of the evaluator.
            evaluator_details: what the evaluator consists of; kept the first time its fingerprint is seen.
            pairs: (scene, listener, track) of each pair to be done.

        Returns:
            The run's id, for the other methods.

        Raises:
            LeaderboardError: a pair is given twice; the evaluation set is stored with other numbers of scenes
                or pairs under the same hash; a value that the constraints exclude; any trouble with the
                database.
        """
        now = _now()
        declared = {**vars(run), "settings": dict(run.settings), "updated_at": now}
        with self._transaction(write=True) as connection:
            set_id = self._evaluation_set_id(connection, evaluation_set)
            known = select(Evaluator.fingerprint).where(Evaluator.fingerprint == fingerprint)
            if connection.scalar(known) is None:
                connection.execute(insert(Evaluator).values(fingerprint=fingerprint, details=dict(evaluator_details)))
            run_id = connection.scalar(
                select(Run.id).where(
                    Run.key == run.key, Run.evaluation_set_id == set_id, Run.fingerprint == fingerprint
                )
            )
            if run_id is None:
                made = insert(Run).values(**declared, evaluation_set_id=set_id, fingerprint=fingerprint, created_at=now)
                run_id = int(connection.execute(made.returning(Run.id)).scalar_one())
            else:
                connection.execute(update(Run).where(Run.id == run_id).values(**declared))
            stored = {
                (scene, listener)
                for scene, listener in connection.execute(
                    select(Pair.scene, Pair.listener).where(Pair.run_id == run_id)
                )
            }
            missing = [
                {"run_id": run_id, "scene": scene, "listener": listener, "track": track, "state": "pending"}
                for scene, listener, track in pairs
                if (scene, listener) not in stored
            ]
            if missing:
                connection.execute(insert(Pair), missing)
            return run_id

    def mark_enhanced(self, run_id: int, scene: str, listener: str, file_sha256: str, clipped: int | None) -> None:
        """Say that a pair's file is there. See `mark_all_enhanced`."""
        self.mark_all_enhanced(run_id, [EnhancedFile(scene, listener, file_sha256, clipped)])

    def mark_all_enhanced(self, run_id: int, files: Sequence[EnhancedFile]) -> None:
        """Say that the files of some pairs are there: all of them, or none if there is an error.

        A pair that is scored stays scored if its file is still the same. If the file is another one, the
        score is deleted and the pair waits to be scored again.

        Raises:
            LeaderboardError: the run has no such pair; a negative count; any trouble with the database.
        """
        with self._transaction(write=True) as connection:
            pairs = self._pairs(connection, run_id, {file.scene for file in files})
            outdated, changes = [], []
            for file in files:
                pair = self._known(pairs, run_id, file.scene, file.listener)
                keeps = pair.state == "scored" and pair.file_sha256 == file.file_sha256
                if not keeps:
                    outdated.append({"of": pair.id})
                changes.append(
                    {
                        "of": pair.id,
                        "new_state": "scored" if keeps else "enhanced",
                        "new_file": file.file_sha256,
                        "new_clipped": file.clipped,
                    }
                )
            if outdated:
                connection.execute(delete(Score).where(Score.pair_id == bindparam("of")), outdated)
            if changes:
                changed = (
                    update(Pair)
                    .where(Pair.id == bindparam("of"))
                    .values(
                        state=bindparam("new_state"),
                        reason=None,
                        file_sha256=bindparam("new_file"),
                        clipped=bindparam("new_clipped"),
                    )
                )
                connection.execute(changed, changes)

    def mark_failed(self, run_id: int, scene: str, listener: str, reason: str) -> None:
        """Say that a pair failed, and why. A score that it had is deleted: its file is gone or not valid.

        Raises:
            LeaderboardError: the run has no such pair; any trouble with the database.
        """
        with self._transaction(write=True) as connection:
            pair = self._pair(connection, run_id, scene, listener)
            connection.execute(delete(Score).where(Score.pair_id == pair.id))
            connection.execute(
                update(Pair)
                .where(Pair.id == pair.id)
                .values(state="failed", reason=reason, file_sha256=None, clipped=None)
            )

    def add_score(
        self,
        run_id: int,
        scene: str,
        listener: str,
        file_sha256: str,
        left: float,
        right: float,
        fingerprint: str,
        environment: Mapping[str, Any],
        engine: Engine = "locked",
        locked: tuple[float, float] | None = None,
    ) -> None:
        """Store the score of a pair; its mean over the ears is computed here. An older score is replaced.

        A fast score is stored however far it is from the locked one: the ranking refuses the run then.

        Args:
            run_id, scene, listener: the pair, whose file must be marked as enhanced.
            file_sha256: hash of the file that was scored.
            left, right: the score of each ear, from 0 to 1.
            fingerprint: of the evaluator that gave the score.
            environment: the versions and the platform under which it did.
            engine: what computed the score.
            locked: the locked engine's scores of both ears of the same file, where a fast score was checked.

        Raises:
            LeaderboardError: a score is NaN or not from 0 to 1; the evaluator is not the run's; the file is
                not the one that the pair has now; the run has no such pair; there is no such engine; a locked
                score is said to be checked; any trouble with the database.
        """
        where = f"{scene} for {listener}"
        values = {"left": left, "right": right}
        if locked is not None:
            values |= {"locked left": locked[0], "locked right": locked[1]}
        for ear, value in values.items():
            # Written so that NaN, which compares false with everything, is refused too.
            if not 0 <= value <= 1:
                raise LeaderboardError(
                    f"{where}: the {ear} score {value} is not from 0 to 1 and was not stored: check the file"
                )
        canonical = json.dumps(environment, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        environment_sha256 = hashlib.sha256(canonical.encode()).hexdigest()
        with self._transaction(write=True) as connection:
            pair = self._pair(connection, run_id, scene, listener)
            due = connection.scalar(select(Run.fingerprint).where(Run.id == run_id))
            if due != fingerprint:
                raise LeaderboardError(
                    f"{where}: scored by evaluator {fingerprint[:12]}, but the run is under {str(due)[:12]}: "
                    "start a run with this evaluator"
                )
            if pair.file_sha256 != file_sha256:
                raise LeaderboardError(
                    f"{where}: the file that was scored ({file_sha256[:12]}) is not the one that the run has "
                    f"({(pair.file_sha256 or pair.state)[:12]}): score it again"
                )
            environment_id = connection.scalar(select(Environment.id).where(Environment.sha256 == environment_sha256))
            if environment_id is None:
                made = insert(Environment).values(sha256=environment_sha256, details=dict(environment))
                environment_id = connection.execute(made.returning(Environment.id)).scalar_one()
            connection.execute(delete(Score).where(Score.pair_id == pair.id))
            connection.execute(
                insert(Score).values(
                    pair_id=pair.id,
                    left_score=float(left),
                    right_score=float(right),
                    score=(float(left) + float(right)) / 2,
                    fingerprint=fingerprint,
                    environment_id=environment_id,
                    scored_at=_now(),
                    engine=engine,
                    locked_left=None if locked is None else float(locked[0]),
                    locked_right=None if locked is None else float(locked[1]),
                )
            )
            connection.execute(update(Pair).where(Pair.id == pair.id).values(state="scored"))

    # Reading

    def find_run(self, key: str, evaluation_set_sha256: str, fingerprint: str) -> StoredRun | None:
        """The run with this identity and all its pairs, or None if there is none.

        Raises:
            LeaderboardError: any trouble with the database.
        """
        with self._transaction(write=False) as connection:
            found = connection.execute(
                select(Run.__table__, *_SET_COLUMNS)
                .join(EvaluationSet, Run.evaluation_set_id == EvaluationSet.id)
                .where(
                    Run.key == key,
                    EvaluationSet.sha256 == evaluation_set_sha256,
                    Run.fingerprint == fingerprint,
                )
            ).one_or_none()
            if found is None:
                return None
            pairs = connection.execute(
                select(
                    Pair.scene,
                    Pair.listener,
                    Pair.track,
                    Pair.state,
                    Pair.reason,
                    Pair.file_sha256,
                    Pair.clipped,
                    Score.left_score,
                    Score.right_score,
                    Score.score,
                    Score.scored_at,
                    Score.engine,
                    Score.locked_left,
                    Score.locked_right,
                )
                .outerjoin(Score, Score.pair_id == Pair.id)
                .where(Pair.run_id == found.id)
            ).all()
        records = {}
        for (
            scene,
            listener,
            track,
            state,
            reason,
            file_sha256,
            clipped,
            left,
            right,
            score,
            scored_at,
            *how,
        ) in pairs:
            records[scene, listener] = PairRecord(
                scene=scene,
                listener=listener,
                track=track,
                state=state,
                reason=reason,
                file_sha256=file_sha256,
                clipped=clipped,
                score=None if score is None else ScoreRecord(left, right, score, scored_at, *how),
            )
        return StoredRun(
            id=found.id,
            run=_run_record(found),
            evaluation_set=_set_record(found),
            fingerprint=found.fingerprint,
            created_at=found.created_at,
            updated_at=found.updated_at,
            pairs=records,
        )

    def runs(self) -> list[ScoredRun]:
        """All runs with their scores, oldest first: what the ranking starts from.

        Raises:
            LeaderboardError: any trouble with the database.
        """
        with self._transaction(write=False) as connection:
            runs = connection.execute(
                select(Run.__table__, *_SET_COLUMNS)
                .join(EvaluationSet, Run.evaluation_set_id == EvaluationSet.id)
                .order_by(Run.id)
            ).all()
            result = []
            for run in runs:
                sums = connection.execute(_SUMS.where(Pair.run_id == run.id)).one()
                result.append(
                    ScoredRun(
                        id=run.id,
                        name=None,
                        run=_run_record(run),
                        evaluation_set=_set_record(run),
                        fingerprint=run.fingerprint,
                        scores=_scores(connection, run.id),
                        failed=sums.failed,
                        last_scored=sums.last_scored,
                        fast=sums.fast,
                        checked=sums.checked,
                        largest_difference=max(sums.left, sums.right) if sums.checked else None,
                    )
                )
        return result

    # How it is done

    @contextmanager
    def _transaction(self, write: bool, migrate: bool = False) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on any error; trouble is a LeaderboardError."""
        try:
            with self.engine.execution_options(immediate=write, migrate=migrate).begin() as connection:
                yield connection
        except IntegrityError as error:
            raise LeaderboardError(
                f"{self.name} refused impossible data, nothing was stored: {one_line(error.orig)}"
            ) from error
        except SQLAlchemyError as error:
            raise trouble(self.name, error.orig if isinstance(error, DBAPIError) else error) from error

    def _bring_up_to_date(self, connection: Connection, create: bool) -> None:
        """Check that the database is one of ours, and migrate it to the newest revision if `create`."""
        tables = set(inspect(connection).get_table_names())
        if "alembic_version" not in tables:
            if tables:
                raise LeaderboardError(f"{self.name} holds the data of another program: choose another --db")
            if not create:
                raise LeaderboardError(f"no leaderboard at {self.name} yet: {MAKE_ONE}")
            revision = None
        else:
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
            if not tables >= {"runs", "pairs", "scores"}:
                raise LeaderboardError(f"{self.name} holds the data of another program: choose another --db")
            if revision not in REVISIONS:
                raise LeaderboardError(
                    f"{self.name} was written by a newer version (revision {revision}): "
                    "update this program, or choose another --db"
                )
        if revision == REVISIONS[-1]:
            if create:
                # Of a read-only file SQLite says so at the first statement that could write, this one, and not
                # when the transaction begins.
                connection.execute(text("DELETE FROM alembic_version WHERE 1 = 0"))
            return
        if not create:
            raise LeaderboardError(
                f"{self.name} was written by an older version: "
                "harness run or harness score brings it up to date, keep a copy before"
            )
        # Imported here since it takes longer than everything else, and is hardly ever needed.
        from alembic import command

        command.upgrade(alembic_config(connection), "head")

    def _evaluation_set_id(self, connection: Connection, record: EvaluationSetRecord) -> int:
        """Id of the evaluation set with this hash, made if there is none."""
        stored = connection.execute(
            select(EvaluationSet.id, *_SET_COLUMNS).where(EvaluationSet.sha256 == record.sha256)
        ).one_or_none()
        if stored is None:
            made = insert(EvaluationSet).values(**vars(record)).returning(EvaluationSet.id)
            return int(connection.execute(made).scalar_one())
        known = _set_record(stored)
        if (known.scenes, known.pairs) != (record.scenes, record.pairs):
            raise LeaderboardError(
                f"evaluation set {record.name} has {record.scenes} scenes and {record.pairs} pairs, but "
                f"{known.scenes} and {known.pairs} under the same hash in {self.name}: choose another --db"
            )
        return int(stored.id)

    def _pairs(self, connection: Connection, run_id: int, scenes: set[str]) -> dict[tuple[str, str], Any]:
        """Rows (id, state, file_sha256, ...) of a run's pairs in some scenes, by scene and listener."""
        rows = connection.execute(
            select(Pair.scene, Pair.listener, Pair.id, Pair.state, Pair.file_sha256).where(
                Pair.run_id == run_id, Pair.scene.in_(scenes)
            )
        )
        return {(row.scene, row.listener): row for row in rows}

    def _known(self, pairs: Mapping[tuple[str, str], Any], run_id: int, scene: str, listener: str) -> Any:
        """The row of one of `pairs`; raise LeaderboardError if it is not among them."""
        if (scene, listener) not in pairs:
            raise LeaderboardError(
                f"run {run_id} in {self.name} has no pair {scene} for {listener}: start it with this pair"
            )
        return pairs[scene, listener]

    def _pair(self, connection: Connection, run_id: int, scene: str, listener: str) -> Any:
        """Row (id, state, file_sha256, ...) of a pair; raise LeaderboardError if there is none."""
        return self._known(self._pairs(connection, run_id, {scene}), run_id, scene, listener)


def alembic_config(connection: Connection) -> "Config":
    """What Alembic's commands need to work on a connection. There is no alembic.ini."""
    from alembic.config import Config

    config = Config()
    # Alembic reads "%" as the start of a substitution.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


_SET_COLUMNS = (
    EvaluationSet.name,
    EvaluationSet.split,
    EvaluationSet.sha256,
    EvaluationSet.scenes,
    EvaluationSet.pairs,
)

_SCORES_OF_RUN = text(
    "SELECT scene, listener, track, left_score, right_score, score"
    " FROM pairs JOIN scores ON scores.pair_id = pairs.id WHERE run_id = :run_id"
)
"""Plain SQL: without the layers above it reading half a million scores takes a third of the time."""

_SUMS = (
    select(
        func.count(Pair.id).filter(Pair.state == "failed").label("failed"),
        func.max(Score.scored_at).label("last_scored"),
        func.count(Score.pair_id).filter(Score.engine == "fast").label("fast"),
        func.count(Score.locked_left).label("checked"),
        func.max(func.abs(Score.left_score - Score.locked_left)).filter(Score.locked_left.is_not(None)).label("left"),
        func.max(func.abs(Score.right_score - Score.locked_right))
        .filter(Score.locked_left.is_not(None))
        .label("right"),
    )
    .select_from(Pair)
    .outerjoin(Score, Score.pair_id == Pair.id)
)
"""One pass over the pairs of a run for all that is counted. Filters cost less than CASE or computing with NULL."""


def _run_record(row: Any) -> RunRecord:
    """The run of a row that has all columns of `runs`."""
    return RunRecord(**{name: getattr(row, name) for name in RunRecord.__dataclass_fields__})


def _set_record(row: Any) -> EvaluationSetRecord:
    """The evaluation set of a row that has all columns of `evaluation_sets`, under their own names."""
    return EvaluationSetRecord(**{name: getattr(row, name) for name in EvaluationSetRecord.__dataclass_fields__})


def _scores(connection: Connection, run_id: int) -> PairScores:
    """The scored pairs of a run.

    Rows are taken in small parts and turned into columns at once: nearly twice as fast as all at once, which keeps
    hundreds of thousands of rows for the garbage collector to look through.
    """
    columns: tuple[list[Any], ...] = ([], [], [], [], [], [])
    for rows in connection.execute(_SCORES_OF_RUN, {"run_id": run_id}).partitions(500):
        scene, listener, track, *scores = zip(*rows, strict=True)
        # Each name is kept in memory once: a thousand scenes make twenty thousand pairs.
        names = (map(sys.intern, column) for column in (scene, listener, track))
        for column, values in zip(columns, (*names, *scores), strict=True):
            column.extend(values)
    return PairScores(*map(tuple, columns))


def _now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
