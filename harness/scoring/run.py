"""From a judged submission to stored scores: the evaluator, the executors and the leaderboard brought together."""

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from harness.challenge import PROTOCOL, STEMS
from harness.errors import EvaluatorError, UsageError
from harness.files import canonical_sha256, sha256_of_all, write_whole
from harness.haaqi import lock
from harness.haaqi.agreement import ensure_agreement
from harness.haaqi.fast import sources_sha256
from harness.music.evaluationset import EvaluationSet, Pair, PairId
from harness.scoring.checks import DISAGREEMENT, disagreement, is_fast, is_suspect, to_check
from harness.scoring.tasks import Checked, Outcome, ScoreTask, score
from harness.submission.manifest import Manifest
from harness.submission.validation import Verdict
from harness_leaderboard.records import (
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    PairRecord,
    RunRecord,
    StoredRun,
)
from harness_leaderboard.store import Store

MUSIC = ("mixture", *STEMS)
"""The files of a piece of music that scores depend on."""

COLUMNS = ("scene", "song", "listener", "left_score", "right_score", "score")
"""Columns of the official results."""


@dataclass(frozen=True)
class Entry:
    """A submission that is to be scored.

    Attributes:
        verdict: of the submission.
        failures: pairs for which no file could be made, and why.
        replace: we made the selected files ourselves, so they take the place of those that this run had before.
        name: what to call the run on the leaderboard, or None.
    """

    verdict: Verdict
    failures: Mapping[PairId, str] = field(default_factory=dict)
    replace: bool = False
    name: str | None = None


@dataclass(frozen=True)
class Scored:
    """The outcome for the selected pairs of a submission, in the order of the evaluation set.

    Attributes:
        key: the run's identity in the leaderboard.
        rows: one for each scored pair, with the official columns.
        failures: the reason of every pair without a score.
        fast: how many scores of the run, whatever is selected, are the fast engine's.
        checked: of these, how many the locked evaluator gave too.
        largest_difference: of any ear's score between the two; None if nothing is checked.
    """

    key: str
    rows: list[dict[str, str | float]]
    failures: dict[PairId, str]
    fast: int
    checked: int
    largest_difference: float | None


def store_and_score(
    store: Store,
    entries: Sequence[Entry],
    evaluation_set: EvaluationSet,
    *,
    engine: Engine,
    workers: int,
    started: Callable[[int, int, int], None],
    advance: Callable[[int, str], None],
) -> list[Scored]:
    """Score the good files of submissions that are not scored yet, storing each score as it comes.

    The locked engine scores again what the fast one has scored. The fast engine leaves locked scores alone, and the
    locked one checks a sample of its scores (`to_check`).

    Args:
        store: open for writing.
        entries: the submissions.
        evaluation_set: its selected pairs are scored.
        engine: what computes the scores.
        workers: number of processes.
        started: called once with the number of pairs to score, of those scored already, and of the fast engine's
            scores that will be replaced by locked ones.
        advance: called after every pair.

    Returns:
        What came of each submission.

    Raises:
        EvaluatorError: the evaluator is not the locked one, or the fast engine not the same by the conformance set,
            and nothing is stored; or the engines disagree on a pair, which is stored.
        UsageError: two submissions cannot be told apart; nothing is stored.
        LeaderboardError: any trouble with the database.
    """
    lock.ensure_locked()
    if engine == "fast":
        ensure_agreement()
    _refuse_twins(entries)
    work = _Work(store, evaluation_set, engine)
    runs: list[_Run] = []
    for entry in entries:
        runs.append(work.enter(entry, {run.key for run in runs}))
    by_folder = {run.folder: run for run in runs}
    tasks = work.tasks((run, run.todo) for run in runs)
    started(len(tasks), sum(run.done for run in runs), sum(run.replaced for run in runs))
    counted = 1
    while tasks:
        for task, outcome in score(tasks, workers):
            work.record(by_folder[task.path.parent], task, outcome)
            advance(counted, " ".join(task.pair.id))
        # Where a pair that was to be checked has failed, another one is checked in its place.
        tasks = work.tasks((run, {}) for run in runs)
        counted = 0
    return [_outcome(work.find(run.key), evaluation_set, run.failures) for run in runs]


@dataclass(frozen=True)
class _Run:
    """A submission after it was entered in the leaderboard.

    Attributes:
        id, key: of its run.
        folder: where its files lie.
        failures: pairs for which no file could be made, and why.
        todo: selected pairs that are to be scored, and what their files must contain.
        done: number of selected pairs that are scored already.
        replaced: number of pairs in `todo` that have a score of the fast engine.
        suspect: pairs on which the engines disagreed when they were last scored.
    """

    id: int
    key: str
    folder: Path
    failures: Mapping[PairId, str]
    todo: Mapping[PairId, str]
    done: int
    replaced: int
    suspect: frozenset[PairId]


class _Work:
    """Scoring on one evaluation set with one engine: what is to be done, and storing what is done."""

    def __init__(self, store: Store, evaluation_set: EvaluationSet, engine: Engine) -> None:
        self.store = store
        self.evaluation_set = evaluation_set
        self.engine = engine
        self.fingerprint = lock.fingerprint()
        self.hashes = evaluation_set.hashes(MUSIC)
        self.environment = lock.environment()
        if engine == "fast":
            self.environment["fast_engine"] = sources_sha256()

    def find(self, key: str) -> StoredRun:
        run = self.store.find_run(key, self.evaluation_set.sha256, self.fingerprint)
        assert run is not None, "start_run has made it"
        return run

    def enter(self, entry: Entry, taken: Collection[str]) -> _Run:
        """Make a submission's run or take it up, and say in it which files are there and which pairs failed."""
        verdict, evaluation_set = entry.verdict, self.evaluation_set
        key = _key(self.store, entry, evaluation_set, self.fingerprint, taken)
        run_id = self.store.start_run(
            _run_record(key, verdict, evaluation_set),
            EvaluationSetRecord(
                name=evaluation_set.name,
                split=evaluation_set.split,
                sha256=evaluation_set.sha256,
                scenes=len(evaluation_set.whole),
                pairs=len(evaluation_set.all_pairs),
            ),
            self.fingerprint,
            lock.lock(),
            [(*pair.id, pair.scene.track) for pair in evaluation_set.all_pairs],
        )
        before = self.find(key)
        messages = {problem.file: problem.message for problem in verdict.problems}
        invalid = {
            pair.id: messages[pair.remix_name]
            for pair in evaluation_set.pairs
            if pair.remix_name in messages and pair.id not in entry.failures
        }
        clipped = {name: record.clipped for name, record in verdict.manifest.files.items()} if verdict.manifest else {}
        files = {
            pair.id: EnhancedFile(*pair.id, verdict.hashes[pair.remix_name], clipped.get(pair.remix_name))
            for pair in evaluation_set.pairs
            if pair.remix_name in verdict.hashes and pair.id not in invalid
        }
        self.store.mark_all_enhanced(run_id, list(files.values()))
        for pair_id, reason in entry.failures.items():
            # That a system failed to make a file again takes nothing from the score of the one that it had made.
            if before.pairs[pair_id].state != "scored":
                self.store.mark_failed(run_id, *pair_id, reason)
        for pair_id, reason in invalid.items():
            self.store.mark_failed(run_id, *pair_id, reason)
        stored = self.find(key)
        todo = {pair_id: file.file_sha256 for pair_id, file in files.items() if not self._stands(stored.pairs[pair_id])}
        return _Run(
            id=run_id,
            key=key,
            folder=verdict.folder,
            failures=entry.failures,
            todo=todo,
            done=len(files) - len(todo),
            replaced=0 if self.engine == "fast" else sum(is_fast(stored.pairs[pair_id]) for pair_id in todo),
            suspect=frozenset(pair_id for pair_id, pair in before.pairs.items() if is_suspect(pair)),
        )

    def _stands(self, pair: PairRecord) -> bool:
        """Whether a pair needs no scoring: it has a score, undisputed, and the locked one if that is asked for."""
        return pair.score is not None and not is_suspect(pair) and (self.engine == "fast" or not is_fast(pair))

    def tasks(self, runs: Iterable[tuple[_Run, Mapping[PairId, str]]]) -> list[ScoreTask]:
        """The tasks for those pairs of runs that are to be scored, and for the checks that are due with them.

        By scene, then by listener, then by submission: neighbours share the reference.
        """
        found = []
        for run, todo in runs:
            files, check = dict(todo), set[PairId]()
            if self.engine == "fast":
                stored = self.find(run.key)
                check = to_check(stored, todo.keys(), run.failures.keys()) | (todo.keys() & run.suspect)
                files.update((pair_id, stored.pairs[pair_id].file_sha256 or "") for pair_id in check - todo.keys())
            found += [
                (position, self._task(pair, run.folder, files[pair.id], pair.id in check))
                for position, pair in enumerate(self.evaluation_set.all_pairs)
                if pair.id in files
            ]
        return [task for _, task in sorted(found, key=itemgetter(0))]

    def _task(self, pair: Pair, folder: Path, sha256: str, check: bool) -> ScoreTask:
        music = tuple((path, self.hashes[path]) for path in (pair.scene.folder / f"{name}.wav" for name in MUSIC))
        return ScoreTask(pair, folder / pair.remix_name, sha256, music, self.engine, check)

    def record(self, run: _Run, task: ScoreTask, outcome: Outcome) -> None:
        """Store what came of a pair.

        Raises:
            EvaluatorError: the engines disagree.
        """
        problem = disagreement(outcome) if isinstance(outcome, Checked) else None
        given, locked = (outcome.fast, outcome.locked) if isinstance(outcome, Checked) else (outcome, None)
        if isinstance(given, str) or isinstance(locked, str):
            reason = f"{DISAGREEMENT}{problem}" if problem else str(given)
            self.store.mark_failed(run.id, *task.pair.id, reason)
        else:
            self.store.add_score(
                run.id,
                *task.pair.id,
                task.sha256,
                given.left,
                given.right,
                self.fingerprint,
                self.environment,
                engine=task.engine,
                locked=None if locked is None else (locked.left, locked.right),
            )
        if problem:
            raise EvaluatorError(
                f"{run.folder} {' '.join(task.pair.id)}: {problem}. The run is not ranked like this: "
                "score it with --engine locked, and see harness evaluator verify --engine fast"
            )


def _refuse_twins(entries: Sequence[Entry]) -> None:
    """Raise UsageError if a submission is given twice: whose scores were whose could not be told."""
    seen: dict[tuple[str, frozenset[tuple[str, str]]], Path] = {}
    for verdict in (entry.verdict for entry in entries):
        other = seen.setdefault((_declared(verdict), frozenset(verdict.hashes.items())), verdict.folder)
        if other is not verdict.folder:
            raise UsageError(
                f"{other} and {verdict.folder} declare the same and have the same files (of those selected), so "
                "they cannot be told apart: leave one out"
            )


def _declared(verdict: Verdict) -> str:
    """Identity of what a submission says it is: by its manifest, or the folder's name without one."""
    return verdict.manifest.key if verdict.manifest else canonical_sha256({"submission": verdict.folder.name})


def _key(store: Store, entry: Entry, evaluation_set: EvaluationSet, fingerprint: str, taken: Collection[str]) -> str:
    """Identity of the run that a submission belongs to.

    What a submission declares finds the run again when more of it is scored. But it is only a declaration: unless
    every file that the run knows is in this submission with the same content, and the run is not `taken` by another
    submission of this command, this is another one, known by its content, and the scores that are there stay.
    """
    declared = _declared(entry.verdict)
    run = store.find_run(declared, evaluation_set.sha256, fingerprint)
    if run is None:
        return declared
    contents = _contents(entry.verdict, evaluation_set)
    replaced = {pair.id for pair in evaluation_set.pairs} if entry.replace else set()
    for pair_id, known in run.pairs.items():
        found = contents.get(PROTOCOL.remix_name(*pair_id))
        if declared in taken or (known.file_sha256 not in (None, found) and pair_id not in replaced):
            return canonical_sha256({"declared": declared, "files": contents})
    return declared


MAX_REMIX_BYTES = 2**30
"""Nothing that is larger can be a remix; it is not even hashed."""


def _contents(verdict: Verdict, evaluation_set: EvaluationSet) -> dict[str, str]:
    """SHA-256 of every remix in the folder, whatever is selected."""
    others = (verdict.folder / pair.remix_name for pair in evaluation_set.all_pairs)
    regular = [
        path
        for path in others
        if path.name not in verdict.hashes
        and path.is_file()
        and not path.is_symlink()
        and path.stat().st_size <= MAX_REMIX_BYTES
    ]
    return {**{path.name: sha256 for path, sha256 in sha256_of_all(regular).items()}, **verdict.hashes}


def _run_record(key: str, verdict: Verdict, evaluation_set: EvaluationSet) -> RunRecord:
    folder = verdict.folder.resolve().name
    manifest = verdict.manifest or undeclared(folder, evaluation_set)
    return RunRecord(
        key=key,
        system=manifest.system,
        version=manifest.version,
        settings=manifest.settings,
        causal=manifest.class_ == "causal",
        parameters=manifest.parameters,
        training_data=manifest.training_data,
        licence=manifest.licence,
        weights_sha256=manifest.weights_sha256,
        not_eligible=manifest.why_not_eligible,
        reference=manifest.reference,
        submission=folder,
        pairs_due=len(evaluation_set.all_pairs),
    )


def undeclared(folder: str, evaluation_set: EvaluationSet) -> Manifest:
    """Stands in for the manifest of a submission that has none: nothing is declared, so it cannot be ranked."""
    return Manifest.model_validate(
        {
            "format": 1,
            "system": folder[:100],
            "version": "?",
            "class": "non-causal",
            "training_data": "unknown",
            "evaluation_set": {"name": evaluation_set.name, "split": evaluation_set.split},
        }
    )


def _outcome(run: StoredRun, evaluation_set: EvaluationSet, unmade: Mapping[PairId, str]) -> Scored:
    rows: list[dict[str, str | float]] = []
    failures = dict(unmade)
    for pair in evaluation_set.pairs:
        stored = run.pairs[pair.id]
        if stored.score is None:
            failures.setdefault(pair.id, stored.reason or "no valid file")
            continue
        scores = (stored.score.left, stored.score.right, stored.score.score)
        values = (pair.scene.id, pair.scene.song, pair.listener.id, *scores)
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    fast = [pair.score for pair in run.pairs.values() if pair.score is not None and pair.score.engine == "fast"]
    differences = [score.difference for score in fast if score.difference is not None]
    return Scored(run.run.key, rows, failures, len(fast), len(differences), max(differences, default=None))


def write_csv(path: Path, rows: list[dict[str, str | float]]) -> None:
    """Write scores with the official columns, every number with all its digits, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # csv writes a float as repr() does: the shortest text that reads back the same
    write_whole(path, buffer.getvalue().encode())
