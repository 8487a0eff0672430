"""Checks of single parts of fast scores: how many are due, and what came of them.

A part is what is scored by itself: an ear, or where stems are scored a stem of an ear. A check is a second score of
one, by the locked evaluator or by the fast engine's double precision, held against the stored fast score. It counts
only as long as that score is the stored one. A locked score of a whole pair is a check of all its parts.

**By the locked evaluator: one part in 640, at most 80.** What n checks without a disagreement say does not depend on
how large the run is: with 95 % confidence, the share of bad parts is below 3/n (the rule of three). So a share of the
parts would say too little of a small run, and cost a large one hours for nothing. The official 19,200 pairs of two ears
get 60 checks, which bounds the share of bad ears by 5 %. One check takes as long as some 80 fast ears, so that all of
them are at most an eighth of the fast scoring: a tenth of the time of the run as a whole. Below 640 parts there is
none: a fault of platform or compiler touches nearly every ear, and the conformance vectors find it before any run.

**By double precision: 2 % of the parts, at least 2.** Each takes as long as four parts in single precision, so that
they are 8 % of the fast scoring. They are about what single precision adds: parts that are in double precision already,
and scores from before there was any other, need none.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from harness_leaderboard.stems import NAME, Scored, largest_difference

CHECK_TOLERANCE = 1e-6
"""How far a fast score of an ear or a stem may be from its check; any further, and the run is disputed."""

Checker = Literal["locked", "fast64"]
"""What checks: the locked evaluator, or the fast engine with everything in double precision."""

CHECKERS: tuple[Checker, ...] = ("locked", "fast64")

EARS = ("left", "right")

PARTS_PER_CHECK = 640
MOST_CHECKS = 80
SHARE_IN_DOUBLE = 50  # one part in so many


def checks_due(parts: int) -> int:
    """How many of `parts` parts with a fast score the locked evaluator has to score too."""
    return min(MOST_CHECKS, parts // PARTS_PER_CHECK)


def double_checks_due(parts: int) -> int:
    """How many of `parts` parts that were computed in single precision have to be computed in double precision too."""
    # In integers: 0.02 times a number can come out above a whole number, and would be rounded up.
    return min(parts, max(2, -(-parts // SHARE_IN_DOUBLE)))


@dataclass(frozen=True)
class NewCheck:
    """A check as it is stored.

    Attributes:
        file_sha256, reference_sha256: as of `records.NewScore`.
        part: "left", "right" or the name of a stem.
        by: what checked.
        score: what that gives, from 0 to 1.
        fast: the fast score of the part that this was held against.
    """

    file_sha256: str
    reference_sha256: str
    part: str
    by: Checker
    score: float
    fast: float


@dataclass(frozen=True)
class CheckRecord:
    """A stored check that counts: its fast score is the stored one."""

    part: str
    by: Checker
    score: float
    fast: float
    environment_sha256: str
    checked_at: str

    @property
    def difference(self) -> float:
        """How far the fast score is from the check."""
        return abs(self.score - self.fast)


class FastScored(Scored, Protocol):
    """A fast score, with the parts of it that are known to be in double precision."""

    @property
    def in_double(self) -> tuple[str, ...] | None:
        """Their names; None where nobody said."""


class Judged(Protocol):
    """A pair with its scores and checks."""

    @property
    def locked(self) -> Scored | None:
        """The locked score."""

    @property
    def fast(self) -> FastScored | None:
        """The fast score."""

    @property
    def checks(self) -> Sequence[CheckRecord]:
        """The checks of the fast score's parts."""


def parts_of(score: Scored) -> dict[str, float]:
    """What of a score was computed by itself: the ears, or the stems where these are scored."""
    return dict(score.stems) if score.stems else {"left": score.left, "right": score.right}


def differences(pair: Judged, by: Checker) -> dict[str, float]:
    """How far each part of a pair's fast score is from what `by` says of it, as far as that said something."""
    if pair.fast is None:
        return {}
    found = {}
    if by == "locked" and pair.locked is not None:
        ours, theirs = parts_of(pair.fast), parts_of(pair.locked)
        # What only one of them has is as different as can be.
        found = {part: abs(ours[part] - theirs[part]) if part in theirs else 1.0 for part in ours}
    for check in pair.checks:
        if check.by == by:
            found[check.part] = max(check.difference, found.get(check.part, 0.0))
    return found


def difference(pair: Judged) -> float | None:
    """How far a pair's fast score is from its checks, in the part where it is furthest; None without any."""
    if pair.fast is None:
        return None
    gaps = [check.difference for check in pair.checks]
    if pair.locked is not None:
        gaps.append(largest_difference(pair.fast, pair.locked))
    return max(gaps, default=None)


def in_single(score: FastScored) -> tuple[str, ...]:
    """The parts of a fast score that are known to be in single precision."""
    if score.in_double is None:
        return ()
    return tuple(part for part in parts_of(score) if part not in score.in_double)


def is_part(name: object) -> bool:
    """Whether a part may be called so."""
    return isinstance(name, str) and (name in EARS or NAME.fullmatch(name) is not None)


def as_text(parts: Collection[str] | None) -> str | None:
    """Names of parts as they are stored: sorted, with blanks between; None where they are not known."""
    return None if parts is None else " ".join(sorted(parts))


def from_text(text: str | None) -> tuple[str, ...] | None:
    """Names of parts from what `as_text` made of them.

    Raises:
        AttributeError, ValueError: that is something else.
    """
    if not text:
        return None if text is None else ()
    found = tuple(text.split(" "))
    if not all(map(is_part, found)):
        raise ValueError("names of parts are not what a leaderboard writes")
    return found


def is_margin(margin: object, closest: object) -> bool:
    """Whether a fast score may have such a margin, in such a part."""
    if margin is None:
        return closest is None
    # Written so that NaN, which compares false with everything, is none.
    return isinstance(margin, float | int) and 1 <= margin < math.inf and (closest is None or is_part(closest))
