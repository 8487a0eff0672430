"""From judged submissions to stored scores: the evaluator, the workers and the leaderboard brought together."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean

from harness.challenge import PROTOCOL
from harness.compute.executor import Executor
from harness.errors import EvaluatorError
from harness.haaqi import lock
from harness.haaqi.agreement import ensure_agreement
from harness.haaqi.evaluator import Score
from harness.music.evaluationset import EvaluationSet, Pair, PairId
from harness.scoring.checks import DISAGREEMENT, disagreement, is_suspect, to_check
from harness.scoring.classes import causality_of, classified
from harness.scoring.entries import Entry, costs_of, match, run_record
from harness.scoring.rows import Row, row_of
from harness.scoring.tasks import Checked, Outcome, Proof, Result, ScoreTask, described, score, shared_by_scene, task_of
from harness.scoring.waiting import Waiting
from harness.submission.manifest import Manifest
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import (
    Causality,
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    NewScore,
    PairRecord,
    SetPair,
    StoredRun,
)
from harness_leaderboard.store import Store

__all__ = ["Entry", "Replaced", "Scored", "store_and_score"]


@dataclass(frozen=True)
class Replaced:
    """What the board said of a run before some of its scored files were replaced: a mean over so many pairs."""

    mean: float
    pairs: int


@dataclass(frozen=True)
class Scored:
    """The outcome for the selected pairs of a submission, in the order of the evaluation set.

    Attributes:
        run_id: the run's number in the leaderboard.
        key: the run's identity there.
        rows: one for each scored pair, see `rows.row_of`.
        failures: the reason of every pair without a score.
        fast: how many pairs of the run, whatever is selected, have a score of the fast engine.
        checked: of these, how many the locked evaluator gave too.
        largest_difference: of any ear's or stem's score between the two; None if nothing is checked.
        replaced: the figure that this one takes the place of, if scored files were replaced.
    """

    run_id: int
    key: str
    rows: list[Row]
    failures: dict[PairId, str]
    fast: int
    checked: int
    largest_difference: float | None
    replaced: Replaced | None = None


def store_and_score(
    store: Store,
    entries: Sequence[Entry],
    evaluation_set: EvaluationSet,
    *,
    engine: Engine,
    executor: Executor,
    started: Callable[[int, int, int], None],
    advance: Callable[[int, str], None],
    anew: bool = False,
) -> list[Scored]:
    """Score the good files of submissions that have no score yet, storing each score as it comes.

    A file that was scored before, in whichever run, is not scored again. The locked engine scores what only the fast
    one has scored. The fast engine leaves files with a locked score alone, and the locked one checks a sample of its
    scores (`checks.to_check`).

    Args:
        store: open for writing.
        entries: the submissions.
        evaluation_set: its selected pairs are scored.
        engine: what computes the scores.
        executor: who computes.
        started: called once with the number of pairs to score, of those scored already, and of the fast engine's
            scores that locked ones will stand beside.
        advance: called after every pair.
        anew: also compute scores again that an earlier version of the fast engine gave.

    Returns:
        What came of each submission.

    Raises:
        EvaluatorError: the evaluator is not the locked one, or the fast engine not the same by the conformance set,
            and nothing is stored; or the engines disagree on a pair, which is stored.
        LeaderboardError: any trouble with the database.
    """
    lock.ensure_locked(evaluation_set.protocol)
    if engine == "fast":
        ensure_agreement(evaluation_set.protocol)
    work = _Work(store, evaluation_set, engine, anew)
    runs: list[_Run] = []
    try:
        for entry in entries:
            runs.append(work.enter(entry, {run.id for run in runs}))
        tasks = work.tasks((run, run.todo) for run in runs)
        started(len(tasks), sum(run.done for run in runs), sum(run.only_fast for run in runs))
        counted = 1
        while tasks:
            for results, proof in score(tasks, executor, work.idle):
                work.record(results, proof)
                for task, _ in results:
                    advance(counted, " ".join(task.pair.id))
            work.flush()
            # Where a pair that was to be checked has failed, another one is checked in its place.
            tasks = work.tasks((run, {}) for run in runs)
            counted = 0
    finally:
        # What came of the last pairs is kept whatever ended the work, unless the database did.
        with suppress(LeaderboardError):
            work.flush()
        store.keep_summaries()
    return [_outcome(work.find(run.id), evaluation_set, run) for run in runs]


@dataclass(frozen=True)
class _Run:
    """A submission after it was entered in the leaderboard.

    Attributes:
        id: of its run.
        folder: where its files lie.
        failures: pairs for which no file could be made, and why.
        todo: selected pairs that are to be scored, and what their files must contain.
        done: number of selected pairs that are scored already.
        only_fast: number of pairs in `todo` that have a score of the fast engine only.
        suspect: pairs on which the engines disagreed when they were last scored.
        replaced: what the board said, if files that it had scored were replaced.
        share: the pairs that are this command's, where others see to the rest; else None.
    """

    id: int
    folder: Path
    failures: Mapping[PairId, str]
    todo: Mapping[PairId, str]
    done: int
    only_fast: int
    suspect: frozenset[PairId]
    replaced: Replaced | None
    share: frozenset[PairId] | None


Subject = tuple[str, str]
"""What is scored: the hash of the reference, and that of the file. Several runs may have it."""


class _Work:
    """Scoring on one evaluation set with one engine: what is to be done, and storing what is done."""

    def __init__(self, store: Store, evaluation_set: EvaluationSet, engine: Engine, anew: bool) -> None:
        self.store = store
        self.evaluation_set = evaluation_set
        self.engine = engine
        self.fingerprint = lock.fingerprint(evaluation_set.protocol)
        self.shared = shared_by_scene(evaluation_set)
        self.references = evaluation_set.references()
        self.fast_engine = described(evaluation_set.protocol).environments["fast"]["fast_engine"]
        self.outdated = self._outdated() if anew else frozenset()
        self.holders: dict[Subject, list[tuple[int, PairId]]] = defaultdict(list)
        self.failed: set[Subject] = set()
        self.waiting = Waiting()

    def _outdated(self) -> frozenset[str]:
        """Environments in which another version of the fast engine computed."""
        found = self.store.environments()
        current = (None, self.fast_engine)
        return frozenset(sha256 for sha256, details in found.items() if details.get("fast_engine") not in current)

    def find(self, run_id: int) -> StoredRun:
        return self.store.find_run(run_id, self.fingerprint)

    def enter(self, entry: Entry, taken: Collection[int]) -> _Run:
        """Make a submission's run or take it up, and say in it which files are there and which pairs failed."""
        verdict, evaluation_set = entry.verdict, self.evaluation_set
        found = match(self.store, entry, evaluation_set, self.fingerprint, taken)
        before = found.before.pairs if found.before is not None else {}
        record = run_record(found.key, verdict, evaluation_set)
        # What was changed outside the harness is declared anew, from the manifest.
        trusted = found.before if found.before is not None and found.before.status.intact else None
        if trusted is not None and trusted.run.folder and Path(trusted.run.folder).exists():
            # A copy of a submission elsewhere is no reason to forget where the first one lies.
            record = replace(record, folder=trusted.run.folder, submission=trusted.run.submission)
        if verdict.manifest is not None:
            record = classified(record, verdict.manifest, _verdict(entry, verdict.manifest, record.key, trusted))
        if entry.run_id is not None and trusted is not None:
            record = trusted.run  # nothing is declared: it is only scored again
        run_id = self.store.start_run(
            record,
            EvaluationSetRecord(
                name=evaluation_set.name,
                split=evaluation_set.split,
                sha256=evaluation_set.sha256,
                scenes=len(evaluation_set.whole),
                pairs=len(evaluation_set.all_pairs),
            ),
            self.fingerprint,
            lock.lock(evaluation_set.protocol),
            [SetPair(*pair.id, pair.scene.track, self.references[pair.id]) for pair in evaluation_set.all_pairs],
            run_id=None if found.before is None else found.before.id,
            why=found.why,
        )
        known = set() if found.before is None else set(found.before.costs)
        self.store.keep_costs(run_id, [cost for cost in costs_of(verdict) if cost not in known])
        if entry.name is not None:
            self.store.rename(run_id, entry.name, "chosen with --name")
        files, invalid = _files(entry, evaluation_set)
        if found.starts_anew:
            # What is not made anew was made by something else: it may not stand beside what is.
            kept = {pair_id for pair_id, file in files.items() if before[pair_id].file_sha256 == file.file_sha256}
            self.store.mark_pending(run_id, [pair_id for pair_id in before if pair_id not in kept])
        self.store.mark_all_enhanced(run_id, list(files.values()))
        # That a system failed to make a file again takes nothing from the score of the one that it had made.
        unmade = {
            pair_id: reason
            for pair_id, reason in entry.failures.items()
            if found.starts_anew or pair_id not in before or before[pair_id].score is None
        }
        self.store.mark_failed(run_id, {**unmade, **invalid})
        stored = self.find(run_id)
        replaced = self._replaced(run_id, before, stored, found.why)
        todo = {pair_id: file.file_sha256 for pair_id, file in files.items() if not self._stands(stored.pairs[pair_id])}
        return _Run(
            id=run_id,
            folder=verdict.folder,
            failures=entry.failures,
            todo=todo,
            done=len(files) - len(todo),
            only_fast=0 if self.engine == "fast" else sum(stored.pairs[pair_id].fast is not None for pair_id in todo),
            suspect=frozenset(pair_id for pair_id, pair in before.items() if is_suspect(pair)),
            replaced=replaced,
            share=frozenset(pair.id for pair in evaluation_set.pairs) if entry.part else None,
        )

    def _replaced(self, run_id: int, before: Mapping[PairId, PairRecord], now: StoredRun, why: str) -> Replaced | None:
        """What the board said of a run, if files that it had scored are no longer the same; this is logged."""
        scores = [pair.score.score for pair in before.values() if pair.score is not None]
        changed = sum(
            pair.score is not None and now.pairs[pair_id].file_sha256 != pair.file_sha256
            for pair_id, pair in before.items()
        )
        if not changed:
            return None
        replaced = Replaced(fmean(scores), len(scores))
        details = {"mean": replaced.mean, "pairs": replaced.pairs, "files": changed}
        self.store.note(run_id, "replaced", why or "its files were made anew", details)
        return replaced

    def _stands(self, pair: PairRecord) -> bool:
        """Whether a pair needs no scoring: it has a score, undisputed, and the locked one if that is asked for."""
        if pair.score is not None and pair.score.disputed_at is not None and pair.score.engine == self.engine:
            return False
        if pair.locked is not None:
            return self.engine == "locked" or not is_suspect(pair)
        if pair.fast is None or self.engine == "locked" or is_suspect(pair):
            return False
        return pair.fast.environment_sha256 not in self.outdated

    def tasks(self, runs: Iterable[tuple[_Run, Mapping[PairId, str]]]) -> list[ScoreTask]:
        """The tasks for those pairs of runs that are to be scored, and for the checks that are due with them.

        By scene, then by listener, then by submission: neighbours share the reference. A file that several of the
        runs have is one task.
        """
        found: dict[Subject, tuple[int, ScoreTask]] = {}
        for run, todo in runs:
            files, check = dict(todo), set[PairId]()
            if self.engine == "fast":
                stored = self.find(run.id)
                # A file that could not be scored cannot be checked either; trying it again would never end.
                failed = {
                    pair_id
                    for pair_id, pair in stored.pairs.items()
                    if (pair.reference_sha256, pair.file_sha256) in self.failed
                }
                check = to_check(stored, todo.keys(), run.failures.keys() | failed, run.share)
                check |= todo.keys() & run.suspect
                files.update((pair_id, stored.pairs[pair_id].file_sha256 or "") for pair_id in check - todo.keys())
            for position, pair in enumerate(self.evaluation_set.all_pairs):
                if pair.id not in files:
                    continue
                subject = self.references[pair.id], files[pair.id]
                if (run.id, pair.id) not in self.holders[subject]:
                    self.holders[subject].append((run.id, pair.id))
                checked = pair.id in check or (subject in found and found[subject][1].check)
                found[subject] = position, self._task(pair, run.folder, files[pair.id], checked)
        return [task for _, task in sorted(found.values(), key=itemgetter(0))]

    def _task(self, pair: Pair, folder: Path, sha256: str, check: bool) -> ScoreTask:
        return task_of(pair, folder, sha256, self.shared, self.engine, check)

    def record(self, results: Sequence[Result], proof: Proof) -> None:
        """Store what came of pairs, or have it wait for what comes in the same moment.

        Raises:
            EvaluatorError: the engines disagree, or something else than our evaluator computed.
        """
        if proof.fingerprint != self.fingerprint:
            raise EvaluatorError(
                f"{proof.host} scores with another evaluator ({proof.fingerprint[:12]}) than this machine "
                f"({self.fingerprint[:12]}): install the same cadenza-harness there; what it has scored is not stored"
            )
        problems = [problem for task, outcome in results if (problem := self._note(task, outcome, proof))]
        if problems or self.waiting.due(came=True):
            self.flush()
        if problems:
            raise EvaluatorError(
                f"{problems[0]}. The run is not ranked like this: score it with --engine locked, and see harness "
                "evaluator verify --engine fast"
            )

    def idle(self) -> None:
        """Store what waits, if no more comes soon."""
        if self.waiting.due(came=False):
            self.flush()

    def _note(self, task: ScoreTask, outcome: Outcome, proof: Proof) -> str | None:
        """Have what came of a pair wait to be stored; how the engines disagree on it, if they do."""
        problem = disagreement(outcome) if isinstance(outcome, Checked) else None
        given, locked = (outcome.fast, outcome.locked) if isinstance(outcome, Checked) else (outcome, None)
        if isinstance(given, str) or isinstance(locked, str):
            reason = f"{DISAGREEMENT}{problem}" if problem else str(given)
            self.failed.add((self.references[task.pair.id], task.sha256))
            self.waiting.failures.append((task, reason, problem is None))
        else:
            subject = task.sha256, self.references[task.pair.id]
            # A fast score takes the place of an earlier one: that may be of another version of the engine.
            scores = [_new(*subject, task.engine, given, replaces=task.engine == "fast")]
            if locked is not None:
                # There is an earlier one only where the engines disagreed.
                scores.append(_new(*subject, "locked", locked, replaces=True))
            self.waiting.add(scores, proof)
        return f"{task.folder} {' '.join(task.pair.id)}: {problem}" if problem else None

    def flush(self) -> None:
        """Store what waits."""
        for scores, environments in self.waiting.take():
            self.store.add_scores(scores, self.fingerprint, environments)
        runs: dict[int, Mapping[PairId, PairRecord]] = {}
        while self.waiting.failures:
            task, reason, unless_scored = self.waiting.failures[0]
            # In every run that has the file; where another process has scored it, it did not fail.
            for run_id, pair_id in self.holders[self.references[task.pair.id], task.sha256]:
                if run_id not in runs:
                    runs[run_id] = self.find(run_id).pairs
                now = runs[run_id][pair_id]
                scored = now.locked is not None or (task.engine == "fast" and now.fast is not None)
                if now.file_sha256 == task.sha256 and not (unless_scored and scored):
                    self.store.mark_failed(run_id, {pair_id: reason})
            del self.waiting.failures[0]


def _new(sha256: str, reference: str, engine: Engine, score: Score, replaces: bool) -> NewScore:
    return NewScore(sha256, reference, engine, score.left, score.right, replaces, score.stems)


def _verdict(entry: Entry, manifest: Manifest, key: str, before: StoredRun | None) -> Causality | None:
    """The verdict on causality that counts for a run: ours of now, or else of when we last ran the same system."""
    if entry.replace:
        return causality_of(manifest)
    return before.run.causality if before is not None and before.run.key == key else None


def _files(entry: Entry, evaluation_set: EvaluationSet) -> tuple[dict[PairId, EnhancedFile], dict[PairId, str]]:
    """The good files of the selected pairs, and why others are not good."""
    verdict = entry.verdict
    messages = {problem.file: problem.message for problem in verdict.problems}
    wrong = {pair.id: [name for name in pair.files if name in messages] for pair in evaluation_set.pairs}
    invalid = {
        pair_id: messages[names[0]] if evaluation_set.protocol == PROTOCOL else f"{names[0]} {messages[names[0]]}"
        for pair_id, names in wrong.items()
        if names and pair_id not in entry.failures
    }
    clipped = {name: record.clipped for name, record in verdict.manifest.files.items()} if verdict.manifest else {}
    files = {
        pair.id: EnhancedFile(*pair.id, sha256, clipped.get(pair.remix_name))
        for pair in evaluation_set.pairs
        if pair.id not in invalid and (sha256 := verdict.content(pair)) is not None
    }
    return files, invalid


def _outcome(run: StoredRun, evaluation_set: EvaluationSet, entered: _Run) -> Scored:
    rows: list[Row] = []
    failures = dict(entered.failures)
    for pair in evaluation_set.pairs:
        stored = run.pairs[pair.id]
        if stored.score is None:
            failures.setdefault(pair.id, stored.reason or "no valid file")
            continue
        rows.append(row_of(pair, stored.score))
    differences = [pair.difference for pair in run.pairs.values() if pair.difference is not None]
    return Scored(
        run_id=run.id,
        key=run.run.key,
        rows=rows,
        failures=failures,
        fast=sum(pair.fast is not None for pair in run.pairs.values()),
        checked=len(differences),
        largest_difference=max(differences, default=None),
        replaced=entered.replaced,
    )
