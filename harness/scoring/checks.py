"""Which parts of pairs are checked where the fast engine scores, and what a disagreement is called.

How many, and why so many: `harness_leaderboard.checks`.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from harness.haaqi.evaluator import EngineName, part_named
from harness.music.evaluationset import PairId
from harness.scoring.tasks import Checked, CheckOf
from harness_leaderboard.checks import (
    CHECK_TOLERANCE,
    CHECKERS,
    Checker,
    checks_due,
    differences,
    double_checks_due,
    in_single,
)
from harness_leaderboard.records import PairRecord, StoredRun
from harness_leaderboard.stems import Scored

DISAGREEMENT = "the engines disagree: "
"""Begins the reason of a pair on which one engine fails and the other does not."""

NAMES: Mapping[Checker, str] = {"locked": "the locked evaluator", "fast64": "its double precision"}


def disagreement(outcome: Checked) -> str | None:
    """How a fast score and its checks disagree, where they do so most; None if they agree."""
    if isinstance(outcome.fast, str) or isinstance(outcome.locked, str):
        said = (
            f"no score ({each})" if isinstance(each, str) else f"{each.left!r} and {each.right!r}"
            for each in (outcome.fast, outcome.locked)
            if each is not None
        )
        return "the fast engine gives {}, the locked evaluator {}".format(*said)
    found = []
    for check in outcome.checks:
        if isinstance(check.score, str):
            return (
                f"the fast engine gives {_words(check.part)} {check.fast!r}, {NAMES[check.by]} no score ({check.score})"
            )
        found.append((abs(check.score - check.fast), check.part, check.fast, check.score, check.by))
    if outcome.locked is not None:
        part, ours, theirs = _furthest(outcome.fast, outcome.locked)
        found.append((abs(ours - theirs), part, ours, theirs, "locked"))
    # Written so that NaN, which compares false with everything, is a disagreement.
    found = [each for each in found if not each[0] <= CHECK_TOLERANCE]
    if not found:
        return None
    _, part, ours, theirs, by = max(found)
    return f"the fast engine gives {_words(part)} {ours!r}, {NAMES[by]} {theirs!r}"


def furthest(first: Scored, second: Scored) -> tuple[str, float, float]:
    """Where two scores of a pair are furthest apart: the ear in words, or the stem of an ear, and what both give it."""
    part, ours, theirs = _furthest(first, second)
    return _words(part), ours, theirs


def _furthest(first: Scored, second: Scored) -> tuple[str, float, float]:
    parts = {"left": (first.left, second.left), "right": (first.right, second.right)}
    if first.stems and second.stems:
        # Of ears that are means over stems nothing more is to be said.
        parts = {name: (first.stems[name], second.stems[name]) for name in first.stems.keys() & second.stems.keys()}
    part, (ours, theirs) = max(
        sorted(parts.items(), key=lambda item: _words(item[0])), key=lambda item: abs(item[1][0] - item[1][1])
    )
    return part, ours, theirs


def _words(part: str) -> str:
    ear, _, stem = part.partition("_")
    return part_named(ear, stem)


Part = tuple[PairId, str]
"""What is checked by itself: an ear of a pair, or a stem of it."""


def to_check(
    run: StoredRun,
    parts: Sequence[str],
    todo: Set[PairId],
    without_file: Set[PairId],
    share: Set[PairId] | None = None,
    *,
    engine: EngineName = "fast",
    tried: Set[tuple[PairId, CheckOf]] = frozenset(),
) -> dict[PairId, list[CheckOf]]:
    """Which parts of fast scores are to be checked now, and by what.

    Half of the checks that are due are of parts that are drawn: they are made while the pairs are scored (`todo`),
    since a wrong engine should not be found out after hours. Once all is scored (`todo` is empty), the other half goes
    to the parts whose decisions were closest. What is checked already counts; where too little is, more are drawn.

    All parts of the run stand in an order that is drawn once for each kind of check (`_order`). Its seed holds when the
    run was entered: the order stays the same whenever the run resumes, and nobody who makes a submission can know or
    choose it. Nor does it change when the run is declared anew: a corrected manifest costs no checks.

    Args:
        run: as it is stored.
        parts: of a pair, by name.
        todo: pairs that will be scored now.
        without_file: pairs whose file is not there, so that they cannot be checked.
        share: the pairs that are scored here, where others score the rest of the run at the same time (`--part`). Each
            then makes as many checks of its own pairs as the beginning of the order, drawn for all pairs that may be
            scored by the fast engine in the end, has parts of these. What lacks for the run as a whole, since pairs
            failed or each has a leaderboard of its own, the next command without parts adds.
        engine: what scores `todo`: "fast" or "fast64", whose scores have nothing left for double precision to check.
        tried: checks that were asked for before, and came to nothing or to a disagreement.
    """
    found: defaultdict[PairId, list[CheckOf]] = defaultdict(list)
    for by in CHECKERS:
        plan = _Plan(run, parts, todo, without_file, share, engine, by)
        for pair_id, part in plan.now({(pair_id, part) for pair_id, (part, of) in tried if of == by}):
            found[pair_id].append((part, by))
    return dict(found)


@dataclass(frozen=True)
class _Plan:
    """The checks of one kind; the attributes are the arguments of `to_check`."""

    run: StoredRun
    parts: Sequence[str]
    todo: Set[PairId]
    without_file: Set[PairId]
    share: Set[PairId] | None
    engine: EngineName
    by: Checker

    def now(self, tried: Set[Part]) -> list[Part]:
        """The parts that are to be checked now, but for those that were tried."""
        counted = {pair_id: set(self._counted(pair_id, pair)) for pair_id, pair in self.run.pairs.items()}
        number = sum(map(len, counted.values()))
        due = checks_due(number) if self.by == "locked" else double_checks_due(number)
        if not due:
            return []
        order = [(pair_id, part) for pair_id, part in _order(self.run, self.parts, self.by) if part in counted[pair_id]]
        first = -(-due // 2)
        if self.share is not None:
            first, due = (sum(pair_id in self.share for pair_id, _ in order[:count]) for count in (first, due))
            order = [each for each in order if each[0] in self.share]
        here = [each for each in order if self._is_scored(each)]
        done = {each for each in here if self._is_checked(each)}
        open_ = [each for each in here if each not in done and each[0] not in self.without_file and each not in tried]
        if self.todo:
            return open_[: max(0, first - len(done))]
        return self._closest_first(open_, done, due - first)[: max(0, due - len(done))]

    def _counted(self, pair_id: PairId, pair: PairRecord) -> Sequence[str]:
        """The parts of a pair that the number of checks depends on: those with a fast score that can be checked so."""
        expected = pair_id in self.todo
        if self.share is not None:
            if pair_id in self.without_file:
                return ()
            expected = expected or (pair.score is None and pair.state != "failed")
        if expected:
            return self.parts if self.by == "locked" or self.engine == "fast" else ()
        if pair.fast is None:
            return ()
        if self.by == "locked" or (self.share is not None and in_single(pair.fast)):
            # What others find out of precision meanwhile does not change what is drawn.
            return self.parts
        return in_single(pair.fast)

    def _is_scored(self, each: Part) -> bool:
        """Whether a part is scored, or will be now, so that it can be checked."""
        pair_id, part = each
        fast = self.run.pairs[pair_id].fast
        return pair_id in self.todo or (fast is not None and (self.by == "locked" or part in in_single(fast)))

    def _is_checked(self, each: Part) -> bool:
        """Whether a check of a part is stored, and agrees."""
        pair_id, part = each
        if pair_id in self.todo:
            return False
        return differences(self.run.pairs[pair_id], self.by).get(part, 1.0) <= CHECK_TOLERANCE

    def _closest_first(self, open_: Sequence[Part], done: Set[Part], most: int) -> list[Part]:
        """Open parts, first those with the smallest margins: `most` of them, less those that are checked already."""
        margins = {
            (pair_id, pair.fast.closest): pair.fast.margin
            for pair_id, pair in self.run.pairs.items()
            if pair.fast is not None and pair.fast.margin is not None and pair.fast.closest is not None
        }
        wanted = {*open_, *done}
        by_margin = sorted((each for each in margins if each in wanted), key=lambda each: (margins[each], each))[:most]
        closest = [each for each in by_margin if each not in done]
        first = set(closest)
        return closest + [each for each in open_ if each not in first]


def _order(run: StoredRun, parts: Sequence[str], by: Checker) -> list[Part]:
    """All parts of a run in the order in which they are drawn: each scene before any comes again, and each listener."""
    order = [(pair_id, part) for pair_id in sorted(run.pairs) for part in parts]
    seed = f"{run.id} {run.evaluation_set.sha256} {run.status.created_at} {by}"
    random.Random(seed).shuffle(order)  # noqa: S311
    for_scene = list(_numbered(order, 0))
    rounds = sorted({number for number, _ in for_scene})
    of_round: dict[int, list[Part]] = {number: [] for number in rounds}
    for number, each in for_scene:
        of_round[number].append(each)
    # Sorting keeps the drawn order where nothing else decides.
    return [
        each
        for number in rounds
        for _, each in sorted(_numbered(of_round[number], 1), key=lambda numbered: numbered[0])
    ]


def _numbered(order: Sequence[Part], name: int) -> Iterator[tuple[int, Part]]:
    """Each part with how many before it have the same scene (0) or listener (1)."""
    seen: Counter[str] = Counter()
    for each in order:
        of = each[0][name]
        yield seen[of], each
        seen[of] += 1


def disputes(pair: PairRecord) -> list[CheckOf]:
    """The checks of single parts with which a pair's fast score disagrees."""
    return [(check.part, check.by) for check in pair.checks if check.difference > CHECK_TOLERANCE]


def is_suspect(pair: PairRecord) -> bool:
    """Whether the engines disagreed on a pair when it was last scored."""
    return pair.disputed if pair.score else (pair.reason or "").startswith(DISAGREEMENT)
