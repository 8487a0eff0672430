"""The work on submissions: what of them is to be scored and checked, and storing what comes of it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from statistics import fmean

from harness.challenge import PROTOCOL
from harness.errors import EvaluatorError
from harness.haaqi import lock
from harness.haaqi.evaluator import EngineName, Score
from harness.music.evaluationset import EvaluationSet, PairId
from harness.scoring.checks import DISAGREEMENT, disagreement, disputes, is_suspect, to_check
from harness.scoring.classes import causality_of, classified
from harness.scoring.entries import Entry, costs_of, match, run_record
from harness.scoring.tasks import (
    Checked,
    CheckOf,
    Outcome,
    Proof,
    Result,
    ScoreTask,
    described,
    shared_by_scene,
    task_of,
)
from harness.scoring.waiting import Waiting
from harness.submission.manifest import Manifest
from harness_leaderboard.checks import in_single, parts_of
from harness_leaderboard.records import (
    Causality,
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    NewCheck,
    NewScore,
    PairRecord,
    ScoreRecord,
    SetPair,
    StoredRun,
)
from harness_leaderboard.store import Store


@dataclass(frozen=True)
class Replaced:
    """What the board said of a run before some of its scored files were replaced: a mean over so many pairs."""

    mean: float
    pairs: int


@dataclass(frozen=True)
class Entered:
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


class Work:
    """Scoring on one evaluation set with one engine: what is to be done, and storing what is done."""

    def __init__(self, store: Store, evaluation_set: EvaluationSet, engine: EngineName, anew: bool) -> None:
        self.store = store
        self.evaluation_set = evaluation_set
        self.engine = engine
        self.stored_engine: Engine = "locked" if engine == "locked" else "fast"
        self.fingerprint = lock.fingerprint(evaluation_set.protocol)
        self.shared = shared_by_scene(evaluation_set)
        self.references = evaluation_set.references()
        self.fast_engine = described(evaluation_set.protocol).environments["fast"]["fast_engine"]
        self.outdated = self._outdated() if anew else frozenset()
        self.holders: dict[Subject, list[tuple[int, PairId]]] = defaultdict(list)
        self.failed: set[Subject] = set()
        self.tried: dict[Subject, set[CheckOf]] = defaultdict(set)
        self.waiting = Waiting()

    def _outdated(self) -> frozenset[str]:
        """Environments in which another version of the fast engine computed."""
        found = self.store.environments()
        current = (None, self.fast_engine)
        return frozenset(sha256 for sha256, details in found.items() if details.get("fast_engine") not in current)

    def find(self, run_id: int) -> StoredRun:
        return self.store.find_run(run_id, self.fingerprint)

    def enter(self, entry: Entry, taken: Collection[int]) -> Entered:
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
        return Entered(
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
        """Whether a pair needs no scoring: it has a score, undisputed, and as good a one as is asked for."""
        if pair.score is not None and pair.score.disputed_at is not None and pair.score.engine == self.stored_engine:
            return False
        if pair.locked is not None:
            return self.engine == "locked" or not is_suspect(pair)
        if pair.fast is None or self.engine == "locked" or is_suspect(pair):
            return False
        if self.engine == "fast64" and (pair.fast.in_double is None or in_single(pair.fast)):
            return False
        return pair.fast.environment_sha256 not in self.outdated

    def tasks(self, runs: Iterable[tuple[Entered, Mapping[PairId, str]]]) -> list[ScoreTask]:
        """The tasks for those pairs of runs that are to be scored, and for the checks that are due with them.

        By scene, then by listener, then by submission: neighbours share the reference. A file that several of the
        runs have is one task.
        """
        found: dict[Subject, tuple[int, ScoreTask]] = {}
        for run, todo in runs:
            files, check, known = dict(todo), dict[PairId, list[CheckOf]](), dict[PairId, ScoreRecord]()
            whole = set[PairId]()
            if self.engine != "locked":
                stored = self.find(run.id)
                check = self._to_check(run, stored, todo.keys())
                for pair_id in todo.keys() & run.suspect:
                    # What was disputed is disputed until it is checked again, by what it was checked by.
                    disputed = disputes(stored.pairs[pair_id])
                    check[pair_id] = list(dict.fromkeys([*check.get(pair_id, ()), *disputed]))
                    if not disputed or stored.pairs[pair_id].locked is not None:
                        whole.add(pair_id)
                for pair_id in check.keys() - todo.keys():
                    pair = stored.pairs[pair_id]
                    assert pair.fast is not None, "only what has a fast score is checked"
                    files[pair_id], known[pair_id] = pair.file_sha256 or "", pair.fast
            for position, each in enumerate(self.evaluation_set.all_pairs):
                if each.id not in files:
                    continue
                subject = self.references[each.id], files[each.id]
                if (run.id, each.id) not in self.holders[subject]:
                    self.holders[subject].append((run.id, each.id))
                task = replace(
                    task_of(each, run.folder, files[each.id], self.shared, self.engine),
                    checks=tuple(check.get(each.id, ())),
                    whole=each.id in whole,
                    known=tuple(parts_of(known[each.id]).items()) if each.id in known else (),
                )
                found[subject] = position, _both(found[subject][1], task) if subject in found else task
        return [task for _, task in sorted(found.values(), key=itemgetter(0))]

    def _to_check(self, run: Entered, stored: StoredRun, todo: Set[PairId]) -> dict[PairId, list[CheckOf]]:
        """What of a run is to be checked now; see `checks.to_check`."""
        failed, tried = set[PairId](), set[tuple[PairId, CheckOf]]()
        for pair_id, pair in stored.pairs.items():
            subject = pair.reference_sha256, pair.file_sha256 or ""
            # A file that could not be scored cannot be checked either; trying it again would never end.
            if subject in self.failed:
                failed.add(pair_id)
            if subject in self.tried:
                tried.update((pair_id, check) for check in self.tried[subject])
        parts = self.evaluation_set.protocol.signals
        without_file = run.failures.keys() | failed
        return to_check(stored, parts, todo, without_file, run.share, engine=self.engine, tried=tried)

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
        checked = outcome if isinstance(outcome, Checked) else None
        problem = disagreement(checked) if checked else None
        given, locked, checks = (checked.fast, checked.locked, checked.checks) if checked else (outcome, None, ())
        reference = self.references[task.pair.id]
        self.tried[reference, task.sha256].update(task.checks)
        said = [check.score for check in checks]
        if not isinstance(given, Score) or isinstance(locked, str) or any(isinstance(each, str) for each in said):
            reason = f"{DISAGREEMENT}{problem}" if problem else str(given)
            self.failed.add((reference, task.sha256))
            self.waiting.failures.append((task, reason, problem is None))
        else:
            scores = []
            if not task.known:
                # A fast score takes the place of an earlier one: that may be of another version of the engine.
                scores.append(_new(task.sha256, reference, task.engine, given, replaces=task.engine != "locked"))
            if locked is not None:
                # There is an earlier one only where the engines disagreed.
                scores.append(_new(task.sha256, reference, "locked", locked, replaces=True))
            new = [
                NewCheck(task.sha256, reference, check.part, check.by, float(check.score), check.fast)
                for check in checks
            ]
            self.waiting.add(scores, proof, new)
        return f"{task.folder} {' '.join(task.pair.id)}: {problem}" if problem else None

    def flush(self) -> None:
        """Store what waits."""
        for scores, checks, environments in self.waiting.take():
            self.store.add_scores(scores, self.fingerprint, environments, checks)
        runs: dict[int, Mapping[PairId, PairRecord]] = {}
        while self.waiting.failures:
            task, reason, unless_scored = self.waiting.failures[0]
            # In every run that has the file; where another process has scored it, it did not fail.
            for run_id, pair_id in self.holders[self.references[task.pair.id], task.sha256]:
                if run_id not in runs:
                    runs[run_id] = self.find(run_id).pairs
                now = runs[run_id][pair_id]
                scored = now.locked is not None or (task.engine != "locked" and now.fast is not None)
                if now.file_sha256 == task.sha256 and not (unless_scored and scored):
                    self.store.mark_failed(run_id, {pair_id: reason})
            del self.waiting.failures[0]


def _both(one: ScoreTask, other: ScoreTask) -> ScoreTask:
    """One task for a file that several runs have."""
    return replace(
        other,
        checks=tuple(dict.fromkeys((*one.checks, *other.checks))),
        whole=one.whole or other.whole,
        known=one.known and other.known,
    )


def _new(sha256: str, reference: str, engine: EngineName, score: Score, replaces: bool) -> NewScore:
    if engine == "locked":
        return NewScore(sha256, reference, engine, score.left, score.right, replaces, score.stems)
    # What "fast64" leaves to the locked evaluator has nothing to be checked by double precision either.
    in_double = score.parts if engine == "fast64" else score.in_double
    return NewScore(
        *(sha256, reference, "fast", score.left, score.right, replaces, score.stems),
        *(tuple(sorted(in_double)), score.margin, score.closest),
    )


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
