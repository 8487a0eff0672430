"""Which pairs the locked evaluator scores too where the fast engine scores, and what their disagreement is called."""

import random
from collections.abc import Set

from harness.haaqi.evaluator import part_named
from harness.music.evaluationset import PairId
from harness.scoring.tasks import Checked
from harness_leaderboard.records import CHECK_TOLERANCE, PairRecord, StoredRun, checks_due
from harness_leaderboard.stems import Scored, largest_difference

DISAGREEMENT = "the engines disagree: "
"""Begins the reason of a pair on which one engine fails and the other does not."""


def disagreement(outcome: Checked) -> str | None:
    """How the engines disagree on a pair; None if they agree."""
    fast, locked = outcome.fast, outcome.locked
    if isinstance(fast, str) or isinstance(locked, str):
        said = (
            f"no score ({each})" if isinstance(each, str) else f"{each.left!r} and {each.right!r}"
            for each in (fast, locked)
        )
        return "the fast engine gives {}, the locked evaluator {}".format(*said)
    if largest_difference(fast, locked) <= CHECK_TOLERANCE:
        return None
    part, ours, theirs = furthest(fast, locked)
    return f"the fast engine gives {part} {ours!r}, the locked evaluator {theirs!r}"


def furthest(first: Scored, second: Scored) -> tuple[str, float, float]:
    """Where two scores of a pair are furthest apart: the ear in words, or the stem of an ear, and what both give it."""
    parts = {part_named("left"): (first.left, second.left), part_named("right"): (first.right, second.right)}
    if first.stems and second.stems:
        # Of ears that are means over stems nothing more is to be said.
        parts = {
            part_named(ear, stem): (first.stems[f"{ear}_{stem}"], second.stems[f"{ear}_{stem}"])
            for ear, _, stem in (name.partition("_") for name in first.stems.keys() & second.stems.keys())
        }
    part, (ours, theirs) = max(sorted(parts.items()), key=lambda item: abs(item[1][0] - item[1][1]))
    return part, ours, theirs


def to_check(
    run: StoredRun, todo: Set[PairId], without_file: Set[PairId], share: Set[PairId] | None = None
) -> set[PairId]:
    """Which pairs the locked evaluator is to score as well: a random sample of those that are scored by the fast one.

    All pairs of the run stand in an order that is drawn once; the first of them that are or will be scored by the
    fast engine are checked, as many as are due (`checks_due`) and not checked yet. Its seed holds when the run was
    entered: the order stays the same whenever the run resumes, and nobody who makes a submission can know or choose it.
    Nor does it change when the run is declared anew: a corrected manifest costs no checks.

    Args:
        run: as it is stored.
        todo: pairs that will be scored by the fast engine now.
        without_file: pairs whose file is not there, so that they cannot be checked.
        share: the pairs that are scored here, where others score the rest of the run at the same time (`--part`). Each
            then draws the sample for all pairs that may be scored by the fast engine in the end, and checks its own of
            them. What lacks for the run as a whole, since pairs failed or each has a leaderboard of its own, the next
            command without parts adds.

    Returns:
        Those of the sample that are not checked yet, or are about to be scored anew.
    """
    fast = todo | {pair_id for pair_id, pair in run.pairs.items() if pair.fast is not None}
    if share is not None:
        fast |= {pair_id for pair_id, pair in run.pairs.items() if pair.state != "failed" and pair.locked is None}
        fast -= without_file
        drawn = set(_order(run, fast)[: checks_due(len(fast))])
        scored = {pair_id for pair_id, pair in run.pairs.items() if pair.fast is not None}
        return {
            pair_id
            for pair_id in drawn & share & (todo | scored)
            if pair_id in todo or not is_checked(run.pairs[pair_id])
        }
    checked = {pair_id for pair_id in fast - todo if is_checked(run.pairs[pair_id])}
    eligible = _order(run, fast - checked - without_file)
    return set(eligible[: max(0, checks_due(len(fast)) - len(checked))])


def _order(run: StoredRun, pairs: Set[PairId]) -> list[PairId]:
    """Some pairs of a run in the order in which they are drawn."""
    order = sorted(run.pairs)
    random.Random(f"{run.id} {run.evaluation_set.sha256} {run.status.created_at}").shuffle(order)  # noqa: S311
    return [pair_id for pair_id in order if pair_id in pairs]


def is_checked(pair: PairRecord) -> bool:
    """Whether both engines scored a pair, and agree."""
    return pair.difference is not None and not pair.disputed


def is_suspect(pair: PairRecord) -> bool:
    """Whether the engines disagreed on a pair when it was last scored."""
    return pair.disputed if pair.score else (pair.reason or "").startswith(DISAGREEMENT)
