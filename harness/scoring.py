"""From a judged submission to stored scores: the evaluator, the executors and the leaderboard brought together."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.challenge import PROTOCOL, STEMS
from harness.evaluationset import EvaluationSet, PairId
from harness.files import canonical_sha256, sha256_of_all, write_whole
from harness.haaqi import lock
from harness.pipeline import ScoreTask, score
from harness.submission import Manifest
from harness.validation import Verdict
from leaderboard.records import EnhancedFile, EvaluationSetRecord, RunRecord, StoredRun
from leaderboard.store import Store

MUSIC = ("mixture", *STEMS)
"""The files of a piece of music that scores depend on."""

COLUMNS = ("scene", "song", "listener", "left_score", "right_score", "score")
"""Columns of the official results."""


@dataclass(frozen=True)
class Scored:
    """The outcome for the selected pairs, in the order of the evaluation set.

    Attributes:
        key: the run's identity in the leaderboard.
        rows: one for each scored pair, with the official columns.
        failures: the reason of every pair without a score.
    """

    key: str
    rows: list[dict[str, str | float]]
    failures: dict[PairId, str]


def store_and_score(
    store: Store,
    verdict: Verdict,
    evaluation_set: EvaluationSet,
    *,
    failures: Mapping[PairId, str],
    replace: bool,
    workers: int,
    started: Callable[[int, int], None],
    advance: Callable[[int, str], None],
) -> Scored:
    """Score the good files of a submission that are not scored yet, storing each score as it comes.

    Args:
        store: open for writing.
        verdict: of the submission.
        evaluation_set: its selected pairs are scored.
        failures: pairs for which no file could be made, and why.
        replace: we made the selected files ourselves, so they take the place of those that this run had before.
        workers: number of processes.
        started: called once with the number of pairs to score and of those scored already.
        advance: called after every pair.

    Raises:
        EvaluatorError: the evaluator is not the locked one; nothing is stored.
        LeaderboardError: any trouble with the database.
    """
    lock.ensure_locked()
    fingerprint = lock.fingerprint()
    key = _key(store, verdict, evaluation_set, fingerprint, replace)
    run_id = store.start_run(
        _run_record(key, verdict, evaluation_set),
        EvaluationSetRecord(
            name=evaluation_set.name,
            split=evaluation_set.split,
            sha256=evaluation_set.sha256,
            scenes=len(evaluation_set.whole),
            pairs=len(evaluation_set.all_pairs),
        ),
        fingerprint,
        lock.lock(),
        [(*pair.id, pair.scene.track) for pair in evaluation_set.all_pairs],
    )
    messages = {problem.file: problem.message for problem in verdict.problems}
    invalid = {
        pair.id: messages[pair.remix_name]
        for pair in evaluation_set.pairs
        if pair.remix_name in messages and pair.id not in failures
    }
    clipped = {name: record.clipped for name, record in verdict.manifest.files.items()} if verdict.manifest else {}
    hashes = evaluation_set.hashes(MUSIC)
    tasks = [
        ScoreTask(
            pair,
            verdict.folder / pair.remix_name,
            verdict.hashes[pair.remix_name],
            tuple((path, hashes[path]) for path in (pair.scene.folder / f"{name}.wav" for name in MUSIC)),
        )
        for pair in evaluation_set.pairs
        if pair.remix_name in verdict.hashes and pair.id not in invalid
    ]
    store.mark_all_enhanced(
        run_id, [EnhancedFile(*task.pair.id, task.sha256, clipped.get(task.path.name)) for task in tasks]
    )
    stored = _run(store, key, evaluation_set, fingerprint)
    for pair_id, reason in failures.items():
        # That a system failed to make a file again takes nothing from the score of the one that it had made.
        if stored.pairs[pair_id].state != "scored":
            store.mark_failed(run_id, *pair_id, reason)
    for pair_id, reason in invalid.items():
        store.mark_failed(run_id, *pair_id, reason)
    todo = [task for task in tasks if stored.pairs[task.pair.id].state != "scored"]
    started(len(todo), len(tasks) - len(todo))
    environment = lock.environment()
    for task, outcome in score(todo, workers):
        if isinstance(outcome, str):
            store.mark_failed(run_id, *task.pair.id, outcome)
        else:
            store.add_score(run_id, *task.pair.id, task.sha256, outcome.left, outcome.right, fingerprint, environment)
        advance(1, " ".join(task.pair.id))
    return _outcome(_run(store, key, evaluation_set, fingerprint), evaluation_set, failures)


def _run(store: Store, key: str, evaluation_set: EvaluationSet, fingerprint: str) -> StoredRun:
    run = store.find_run(key, evaluation_set.sha256, fingerprint)
    assert run is not None, "start_run has made it"
    return run


def _key(store: Store, verdict: Verdict, evaluation_set: EvaluationSet, fingerprint: str, replace: bool) -> str:
    """Identity of the run that a submission belongs to.

    What a manifest declares (or the folder's name, without one) finds the run again when more of the submission
    is scored. But it is only a declaration: unless every file that the run knows is in this submission with the same
    content, this is another one, known by its content, and the scores that are there stay.
    """
    declared = verdict.manifest.key if verdict.manifest else canonical_sha256({"submission": verdict.folder.name})
    run = store.find_run(declared, evaluation_set.sha256, fingerprint)
    if run is None:
        return declared
    contents = _contents(verdict, evaluation_set)
    replaced = {pair.id for pair in evaluation_set.pairs} if replace else set()
    for pair_id, known in run.pairs.items():
        found = contents.get(PROTOCOL.remix_name(*pair_id))
        if known.file_sha256 not in (None, found) and pair_id not in replaced:
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
    return Scored(run.run.key, rows, failures)


def write_csv(path: Path, rows: list[dict[str, str | float]]) -> None:
    """Write scores with the official columns, every number with all its digits, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # csv writes a float as repr() does: the shortest text that reads back the same
    write_whole(path, buffer.getvalue().encode())
