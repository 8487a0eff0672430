"""Scoring again what is stored, to see whether it still comes out the same."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness.compute.executor import Executor
from harness.errors import SubmissionError, UsageError
from harness.haaqi import lock
from harness.haaqi.conformance import TOLERANCE
from harness.haaqi.evaluator import Score
from harness.music.evaluationset import EvaluationSet, PairId
from harness.scoring.checks import furthest
from harness.scoring.tasks import score, shared_by_scene, task_of
from harness_leaderboard.records import CHECK_TOLERANCE, ScoreRecord, StoredRun
from harness_leaderboard.stems import largest_difference


@dataclass
class Audit:
    """What came of scoring pairs of a run again with the locked evaluator.

    Attributes:
        compared: for each pair the largest difference to what is stored, and the engine that it was stored by.
        disputed: pairs that differ by more than they may, with both scores in words.
        unscored: pairs that could not be scored again, and why.
    """

    compared: dict[PairId, tuple[float, str]] = field(default_factory=dict)
    disputed: dict[PairId, str] = field(default_factory=dict)
    unscored: dict[PairId, str] = field(default_factory=dict)

    @property
    def largest_difference(self) -> float | None:
        """The largest difference of any ear's or stem's score; None if nothing could be compared."""
        return max((difference for difference, _ in self.compared.values()), default=None)

    @property
    def passed(self) -> bool:
        """Whether every pair was scored again, with what is stored."""
        return bool(self.compared) and not self.disputed and not self.unscored


ALLOWED = {"locked": TOLERANCE, "fast": CHECK_TOLERANCE}
"""How far the locked evaluator may be from what an engine once gave: other versions of NumPy round differently."""


def sample(run: StoredRun, count: int | None) -> list[PairId]:
    """Scored pairs of a run, drawn at random, or all of them; another draw each time."""
    scored = sorted(pair_id for pair_id, pair in run.pairs.items() if pair.score is not None)
    if count is None or count >= len(scored):
        return scored
    return sorted(random.SystemRandom().sample(scored, count))


def audit(
    run: StoredRun,
    folder: Path,
    evaluation_set: EvaluationSet,
    pair_ids: list[PairId],
    executor: Executor,
    advance: Callable[[int, str], None],
) -> Audit:
    """Score pairs of a run again with the locked evaluator, and hold the scores against what is stored.

    Nothing is stored.

    Args:
        run: with its scores under the present evaluator.
        folder: where its files lie.
        evaluation_set: what it was evaluated on.
        pair_ids: scored pairs.

    Raises:
        UsageError: the run is not of that evaluation set, or has no scores under the present evaluator.
        SubmissionError: there is no such folder.
        EvaluatorError: the evaluator is not the locked one.
    """
    lock.ensure_locked(evaluation_set.protocol)
    if run.evaluation_set.sha256 != evaluation_set.sha256:
        raise UsageError(
            f"run {run.id} is on the evaluation set {run.evaluation_set.name}: say where that lies with --data ROOT"
        )
    if not pair_ids:
        raise UsageError(f"run {run.id} has no scores by the present evaluator: harness runs rescore {run.id}")
    if not folder.is_dir():
        raise SubmissionError(f"{folder}: the files of run {run.id} are not there: name their folder with --submission")
    shared = shared_by_scene(evaluation_set)
    tasks = []
    for pair in evaluation_set.all_pairs:
        if pair.id in pair_ids:
            known = run.pairs[pair.id].file_sha256
            assert known is not None, "a scored pair has a file"
            tasks.append(task_of(pair, folder, known, shared))
    result = Audit()
    for found, _ in score(tasks, executor):
        for task, outcome in found:
            stored = run.pairs[task.pair.id].score
            assert stored is not None, "only scored pairs are audited"
            _compare(result, task.pair.id, stored, outcome)
            advance(1, " ".join(task.pair.id))
    return result


def _compare(result: Audit, pair_id: PairId, stored: ScoreRecord, outcome: object) -> None:
    if not isinstance(outcome, Score):
        result.unscored[pair_id] = str(outcome)
        return
    difference = largest_difference(outcome, stored)
    result.compared[pair_id] = difference, stored.engine
    if not difference <= ALLOWED[stored.engine]:
        part, now, then = furthest(outcome, stored)
        result.disputed[pair_id] = f"{part}: stored {then!r} ({stored.engine}), now {now!r}"
