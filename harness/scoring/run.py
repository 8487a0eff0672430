"""From judged submissions to stored scores: the evaluator, the workers and the leaderboard brought together."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.compute.executor import Executor
from harness.haaqi import lock
from harness.haaqi.agreement import ensure_agreement
from harness.haaqi.evaluator import EngineName
from harness.music.evaluationset import EvaluationSet, PairId
from harness.scoring.entries import Entry
from harness.scoring.rows import Row, row_of
from harness.scoring.tasks import score
from harness.scoring.work import Entered, Replaced, Work
from harness_leaderboard.checks import differences, parts_of
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import StoredRun
from harness_leaderboard.store import Store

__all__ = ["Entry", "Replaced", "Scored", "store_and_score"]


@dataclass(frozen=True)
class Scored:
    """The outcome for the selected pairs of a submission, in the order of the evaluation set.

    Attributes:
        run_id: the run's number in the leaderboard.
        key: the run's identity there.
        rows: one for each scored pair, see `rows.row_of`.
        failures: the reason of every pair without a score.
        fast: how many pairs of the run, whatever is selected, have a score of the fast engine.
        parts: how many ears or stems these have.
        in_double: of these parts, how many are known to have been computed in double precision.
        checked: how many the locked evaluator scored too.
        checked_in_double: how many were computed in double precision too, to check them.
        largest_difference: between any of them and a check; None if nothing is checked.
        replaced: the figure that this one takes the place of, if scored files were replaced.
    """

    run_id: int
    key: str
    rows: list[Row]
    failures: dict[PairId, str]
    fast: int
    parts: int
    in_double: int
    checked: int
    checked_in_double: int
    largest_difference: float | None
    replaced: Replaced | None = None


def store_and_score(
    store: Store,
    entries: Sequence[Entry],
    evaluation_set: EvaluationSet,
    *,
    engine: EngineName,
    executor: Executor,
    started: Callable[[int, int, int], None],
    advance: Callable[[int, str], None],
    anew: bool = False,
) -> list[Scored]:
    """Score the good files of submissions that have no score yet, storing each score as it comes.

    A file that was scored before, in whichever run, is not scored again. The locked engine scores what only the fast
    one has scored, and "fast64" what that has in single precision. The fast engine leaves files with a locked score
    alone, and a sample of its scores is checked (`checks.to_check`).

    Args:
        store: open for writing.
        entries: the submissions.
        evaluation_set: its selected pairs are scored.
        engine: what computes the scores.
        executor: who computes.
        started: called once with the number of pairs to score, of those scored already, and of those to score that have
            a score of the fast engine, where a better one is asked for.
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
    if engine != "locked":
        ensure_agreement(evaluation_set.protocol)
    work = Work(store, evaluation_set, engine, anew)
    runs: list[Entered] = []
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
            # The closest decisions are known now; and where what was to be checked has failed, another is in its place.
            tasks = work.tasks((run, {}) for run in runs)
            counted = 0
    finally:
        # What came of the last pairs is kept whatever ended the work, unless the database did.
        with suppress(LeaderboardError):
            work.flush()
        store.keep_summaries()
    return [_outcome(work.find(run.id), evaluation_set, run) for run in runs]


def _outcome(run: StoredRun, evaluation_set: EvaluationSet, entered: Entered) -> Scored:
    rows: list[Row] = []
    failures = dict(entered.failures)
    for pair in evaluation_set.pairs:
        stored = run.pairs[pair.id]
        if stored.score is None:
            failures.setdefault(pair.id, stored.reason or "no valid file")
            continue
        rows.append(row_of(pair, stored.score))
    pairs = run.pairs.values()
    fast = [pair.fast for pair in pairs if pair.fast is not None]
    return Scored(
        run_id=run.id,
        key=run.run.key,
        rows=rows,
        failures=failures,
        fast=len(fast),
        parts=sum(len(parts_of(score)) for score in fast),
        in_double=sum(len(score.in_double or ()) for score in fast),
        checked=sum(len(differences(pair, "locked")) for pair in pairs),
        checked_in_double=sum(len(differences(pair, "fast64")) for pair in pairs),
        largest_difference=max((gap for pair in pairs if (gap := pair.difference) is not None), default=None),
        replaced=entered.replaced,
    )
