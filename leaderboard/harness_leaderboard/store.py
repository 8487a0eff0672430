"""The database: write runs and scores into it, read them back, manage runs. Nothing else talks to it.

Conventions:

- A leaderboard is named by an SQLAlchemy URL. `sqlite:///leaderboard.db` is a file in the working folder,
  `sqlite:////data/leaderboard.db` one at an absolute path, in which there must be no "?"; `?timeout=SECONDS` says how
  long to wait for another process that is writing (default 30). `postgresql://user:password@host/database` is one of a
  PostgreSQL server (see `postgresql`), where that is also how long to wait for a server that is restarted. Other
  databases are refused.
- As many as like read while others write: SQLite keeps a write-ahead log. Those who write take turns: a transaction
  that writes takes its lock at its start, and waits for it.
- Every method is one transaction. When it returns its changes are on disk; when it raises nothing changed.
- Whatever goes wrong with the database is a `LeaderboardError`, one line that says what to do.

Scores are HAAQI values from 0 to 1. A fingerprint is the hash of the locked evaluator that gave them.
Details, settings and environments are JSON objects: strings, numbers, booleans, None, lists, mappings.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from harness_leaderboard import costs, entering, merging, reading, repairing, scoring, whole
from harness_leaderboard.checksums import of_declaration, of_environment, of_event
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.history import Event, OldDeclaration
from harness_leaderboard.models import DeclarationRow, EnvironmentRow, EventRow, RunRow
from harness_leaderboard.opening import OpenDatabase, patient
from harness_leaderboard.records import (
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    NewCheck,
    NewScore,
    PairScores,
    PieceCost,
    RunRecord,
    RunStatus,
    ScoredRun,
    SetPair,
    StoredRun,
    Visibility,
)
from harness_leaderboard.rows import status_of, statuses, write_event

VERBS: Mapping[str, tuple[Visibility, tuple[Visibility, ...]]] = {
    "hidden": ("hidden", ("shown",)),
    "unhidden": ("shown", ("hidden",)),
    "removed": ("removed", ("shown", "hidden")),
    "restored": ("shown", ("removed",)),
}
"""What may be done to a run's place on the board: what it is afterwards, and what it may be before."""


class Store(OpenDatabase):
    """An open leaderboard. Made by `Store.open`, used in a `with` statement."""

    # Writing

    @patient(repeatable=True)
    def start_run(
        self,
        run: RunRecord,
        evaluation_set: EvaluationSetRecord,
        fingerprint: str,
        evaluator_details: Mapping[str, Any],
        pairs: Sequence[SetPair],
        run_id: int | None = None,
        why: str = "",
    ) -> int:
        """Make a run, or take up the one with the same key and evaluation set.

        A run that is taken up keeps its pairs' files. If it now declares something else, what it declared before goes
        into its history.

        Args:
            run: what it declares.
            evaluation_set: what it is evaluated on.
            fingerprint: of the evaluator.
            evaluator_details: what the evaluator consists of; kept the first time its fingerprint is seen.
            pairs: all pairs of the evaluation set.
            run_id: take up this run, whatever its key.
            why: for the log, if something is declared anew.

        Returns:
            The run's id, for the other methods.

        Raises:
            LeaderboardError: a pair is given twice; the evaluation set is stored with other numbers of scenes
                or pairs under the same hash; a value that the constraints exclude; any trouble with the
                database.
        """
        with self.transaction(write=True) as connection:
            set_id = entering.enter_set(connection, evaluation_set, pairs, self.name)
            return entering.enter_run(connection, run, set_id, fingerprint, evaluator_details, run_id, why)

    @patient(repeatable=True)
    def mark_all_enhanced(self, run_id: int, files: Sequence[EnhancedFile]) -> None:
        """Say that the files of some pairs are there: all of them, or none if there is an error.

        Whatever score a file has, from whichever run, counts for the pair at once.

        Raises:
            LeaderboardError: the run has no such pair; a negative count; any trouble with the database.
        """
        with self.transaction(write=True) as connection:
            entering.set_files(connection, run_id, files, self.name)

    @patient(repeatable=True)
    def mark_failed(self, run_id: int, failures: Mapping[tuple[str, str], str]) -> None:
        """Say which pairs of a run failed, and why: they have no file any more. Scores stay: they belong to files.

        Raises:
            LeaderboardError: the run has no such pair; any trouble with the database.
        """
        with self.transaction(write=True) as connection:
            entering.drop_files(connection, run_id, failures, self.name)

    @patient(repeatable=True)
    def mark_pending(self, run_id: int, pairs: Sequence[tuple[str, str]]) -> None:
        """Say that some pairs of a run have no file yet."""
        with self.transaction(write=True) as connection:
            entering.drop_files(connection, run_id, dict.fromkeys(pairs), self.name)

    @patient(repeatable=True)
    def add_scores(
        self,
        scores: Sequence[NewScore],
        fingerprint: str,
        environments: Mapping[Engine, Mapping[str, Any]],
        checks: Sequence[NewCheck] = (),
    ) -> None:
        """Store scores and checks of fast ones. The mean over the ears is computed here.

        A score that is there already stays, unless the new one says that it replaces it, an audit disputes it, or it
        was changed outside the harness: then the same engine's earlier score goes. The locked engine's scores are never
        touched by the fast one's.

        Args:
            scores: facts about files; their references must be those of a stored evaluation set.
            fingerprint: of the evaluator that gave them.
            environments: by engine, the versions and the platform under which it computed.
            checks: of parts, each in place of an earlier one by the same. One of a score that is not the stored one
                says nothing.

        Raises:
            LeaderboardError: a score is NaN or not from 0 to 1; an unknown evaluator, reference or engine; any trouble
                with the database. Nothing is stored then.
        """
        with self.transaction(write=True) as connection:
            scoring.add_scores(connection, scores, fingerprint, environments, checks)

    @patient(repeatable=True)
    def keep_costs(self, run_id: int, costs_of_pieces: Sequence[PieceCost]) -> None:
        """Store what pieces of music cost a run's system, in place of what is stored of the same pieces.

        Raises:
            LeaderboardError: there is no such run; a piece's name is empty or longer than 300 characters; a cost is
                negative or not finite; any trouble with the database. Nothing is stored then.
        """
        with self.transaction(write=True) as connection:
            self._ensure_run(connection, run_id)
            costs.keep_costs(connection, run_id, costs_of_pieces)

    @patient(repeatable=True)
    def keep_summaries(self) -> None:
        """Sum up what has changed, so that the leaderboard need not: worth it at the end of work."""
        with self.transaction(write=True) as connection:
            self.look_at_tables(connection)
            reading.keep_summaries(connection)

    # Reading

    @patient(repeatable=True)
    def statuses(self) -> list[RunStatus]:
        """All runs, hidden and removed ones too, oldest first."""
        with self.reading() as connection:
            return [status_of(row) for row in connection.execute(statuses().order_by(RunRow.id))]

    @patient(repeatable=True)
    def find_run(self, run_id: int, fingerprint: str | None = None) -> StoredRun:
        """A run and all its pairs.

        Args:
            run_id: its number.
            fingerprint: under which evaluator its scores are wanted; by default the one that scored it last.

        Raises:
            LeaderboardError: there is no such run; any trouble with the database.
        """
        with self.reading() as connection:
            row = connection.execute(statuses().where(RunRow.id == run_id)).one_or_none()
            if row is None:
                raise self._no_run(run_id)
            status = status_of(row)
            if fingerprint is not None:
                status = RunStatus(**{**vars(status), "fingerprint": fingerprint})
            return reading.stored_run(connection, status)

    @patient(repeatable=True)
    def runs(self, visibilities: Sequence[Visibility] = ("shown",)) -> list[ScoredRun]:
        """Runs summed up, once under each evaluator that scored them, oldest first: what the ranking starts from.

        Raises:
            LeaderboardError: any trouble with the database.
        """
        with self.reading() as connection:
            return reading.scored_runs(connection, self._pair_scores, visibilities)

    @patient(repeatable=True)
    def whole_runs(
        self, visibilities: Sequence[Visibility] = ("shown", "hidden"), pairs_of: Collection[int] | None = None
    ) -> list[whole.WholeRun]:
        """Runs with all their pairs, once under each evaluator that scored them, oldest first.

        Args:
            visibilities: which runs.
            pairs_of: the numbers of the runs whose pairs are wanted; of the others there are none. By default all.

        Raises:
            LeaderboardError: any trouble with the database.
        """
        with self.reading() as connection:
            return whole.whole_runs(connection, self._pair_scores, visibilities, pairs_of)

    @patient(repeatable=True)
    def _pair_scores(self, run_id: int, evaluator_id: int) -> PairScores:
        with self.reading() as connection:
            return reading.pair_scores(connection, run_id, evaluator_id)

    @patient(repeatable=True)
    def environments(self) -> dict[str, dict[str, Any]]:
        """Under which versions and on which platforms scores were computed, by hash."""
        with self.reading() as connection:
            rows = connection.execute(select(EnvironmentRow.sha256, EnvironmentRow.details, EnvironmentRow.checksum))
            return {
                row.sha256: row.details
                if row.checksum == of_environment(row.sha256, row.details)
                else {"changed": "changed outside the harness"}
                for row in rows
            }

    @patient(repeatable=True)
    def history(self, run_id: int) -> tuple[list[OldDeclaration], list[Event]]:
        """What a run declared before, and what was done to it, both from the oldest to the newest."""

        def checked(words: Sequence[object], value: object) -> None:
            if not isinstance(value, dict) or not all(isinstance(word, str) for word in words):
                raise TypeError("a line of the log is not what a leaderboard writes")

        with self.reading() as connection:
            old = connection.execute(
                select(DeclarationRow.declared, DeclarationRow.replaced_at, DeclarationRow.checksum)
                .where(DeclarationRow.run_id == run_id)
                .order_by(DeclarationRow.id)
            )
            events = connection.execute(
                select(
                    *(EventRow.at, EventRow.run_id, EventRow.what, EventRow.why, EventRow.details, EventRow.checksum)
                )
                .where(EventRow.run_id == run_id)
                .order_by(EventRow.id)
            )
            declarations, log = [], []
            for declared, at, checksum in old:
                checked((at,), declared)
                declarations.append(OldDeclaration(declared, at, checksum == of_declaration(run_id, declared, at)))
            for at, of_run, what, why, details, checksum in events:
                checked((at, what, why), details)
                intact = checksum == of_event(of_run, at, what, why, details)
                log.append(Event(at, of_run, what, why, details, intact))
            return declarations, log

    # Managing

    @patient(repeatable=False)
    def set_visibility(self, run_id: int, what: str, why: str) -> None:
        """Hide, unhide, remove or restore a run.

        Args:
            run_id: its number.
            what: "hidden", "unhidden", "removed" or "restored".
            why: for the log.

        Raises:
            LeaderboardError: there is no such run, or it is not in a state in which that can be done.
        """
        after, before = VERBS[what]
        with self.transaction(write=True) as connection:
            now_ = connection.scalar(select(RunRow.visibility).where(RunRow.id == run_id))
            if now_ is None:
                raise self._no_run(run_id)
            if now_ not in before:
                raise LeaderboardError(f"run {run_id} is {now_}, so it cannot be {what}: harness runs lists them")
            entering.change_run(connection, run_id, visibility=after)
            write_event(connection, run_id, what, why)

    @patient(repeatable=False)
    def rename(self, run_id: int, name: str | None, why: str) -> None:
        """Choose what a run is called; None takes the name away.

        Raises:
            LeaderboardError: there is no such run; another run on the same evaluation set is called so.
        """
        with self.transaction(write=True) as connection:
            found = connection.execute(select(RunRow.evaluation_set_id, RunRow.name).where(RunRow.id == run_id))
            row = found.one_or_none()
            if row is None:
                raise self._no_run(run_id)
            taken = connection.scalar(
                select(RunRow.id).where(
                    RunRow.name == name, RunRow.evaluation_set_id == row.evaluation_set_id, RunRow.id != run_id
                )
            )
            if name is not None and taken is not None:
                raise LeaderboardError(f"run {taken} on this evaluation set is called {name!r}: choose another name")
            if row.name != name:
                entering.change_run(connection, run_id, name=name)
                write_event(connection, run_id, "renamed", why, {"from": row.name, "to": name})

    @patient(repeatable=False)
    def note_audit(
        self,
        run_id: int,
        fingerprint: str,
        agrees: Mapping[tuple[str, str], bool],
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep the outcome of an audit: in the log, and with the scores that it has looked at.

        A run with a score that an audit disputes has no rank until that score is computed again, or another audit of
        the pair agrees with it.

        Args:
            run_id: its number.
            fingerprint: of the evaluator whose scores were audited.
            agrees: for every pair (scene, listener) that was scored again, whether the same came out.
            details: for the log.

        Raises:
            LeaderboardError: there is no such run; one of the pairs has no score any more.
        """
        with self.transaction(write=True) as connection:
            self._ensure_run(connection, run_id)
            scoring.judge_scores(connection, run_id, fingerprint, agrees, self.name)
            write_event(connection, run_id, "audited", "", details)

    @patient(repeatable=False)
    def drop_changed(self, run_id: int) -> int:
        """Delete what was changed outside the harness of a run's files, scores, checks, sums and costs; this is logged.

        Pairs whose file is no longer known for certain are pending afterwards. What the run declares is put right when
        it is next declared (`start_run`).

        Returns:
            How many files, scores, checks and costs were dropped.
        """
        with self.transaction(write=True) as connection:
            self._ensure_run(connection, run_id)
            return repairing.drop_changed(connection, run_id)

    def _ensure_run(self, connection: Connection, run_id: int) -> None:
        if connection.scalar(select(RunRow.id).where(RunRow.id == run_id)) is None:
            raise self._no_run(run_id)

    def _no_run(self, run_id: int) -> LeaderboardError:
        return LeaderboardError(f"there is no run {run_id} in {self.name}: harness runs lists them")

    @patient(repeatable=False)
    def note(self, run_id: int, what: str, why: str, details: Mapping[str, Any] | None = None) -> None:
        """Write into the log what was done to a run."""
        with self.transaction(write=True) as connection:
            write_event(connection, run_id, what, why, details)

    # Files of their own

    def export(self, path: Path) -> merging.Merged:
        """Write a copy of the leaderboard, whole or not at all: a database at `path`, made anew.

        Raises:
            LeaderboardError: `path` exists or cannot be written.
        """
        return merging.export(self, path)

    @patient(repeatable=False)
    def import_(self, path: Path, why: str) -> merging.Merged:
        """Merge another leaderboard into this one: the union of both. Where they contradict, ours stays.

        Raises:
            LeaderboardError: `path` is not a leaderboard, is damaged or from a newer version.
        """
        return merging.import_(self, path, why)
