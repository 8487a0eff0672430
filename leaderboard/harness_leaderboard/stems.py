"""The scores of a remix's stems, where an evaluator scores stems: checked, as the text that is stored, and compared.

A stem's name says the ear and the stem: "left_vocals". The score of an ear is then the mean over its stems; that is for
the evaluator to see to, and not checked here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from harness_leaderboard.errors import LeaderboardError

StemScores = Mapping[str, float]
"""HAAQI of each stem by its name, from 0 to 1."""

MOST = 64
"""How many stems a score may have at most."""

NAME = re.compile("(left|right)_[a-z0-9_]{1,44}")
"""What a stem may be called: names become columns of tables and of data frames, beside those that are there."""

ORDER = ("vocals", "drums", "bass", "other")
"""In which order stems are shown (VDBO); any others follow by name."""


class Scored(Protocol):
    """Anything that holds the scores of both ears and, where there are any, of stems."""

    @property
    def left(self) -> float:
        """The left ear's score."""

    @property
    def right(self) -> float:
        """The right ear's score."""

    @property
    def stems(self) -> StemScores | None:
        """The stems' scores, or None where the evaluator scores no stems."""


def check(stems: StemScores, what: str) -> None:
    """Refuse what cannot be the scores of stems.

    Args:
        stems: by name.
        what: what messages call the file that they are of.

    Raises:
        LeaderboardError: there are none or more than `MOST`; a name is not as `NAME` says; a score is NaN or not from
            0 to 1.
    """
    if not 1 <= len(stems) <= MOST:
        raise LeaderboardError(f"{what}: scores of {len(stems)} stems were given, not of 1 to {MOST}: check the file")
    for name, value in stems.items():
        if not _is_name(name):
            raise LeaderboardError(
                f"{what}: a stem is called {ascii(name)[:60]} and was not stored: name ear and stem, like left_vocals"
            )
        # Written so that NaN, which compares false with everything, is refused too.
        if not 0 <= value <= 1:
            raise LeaderboardError(
                f"{what}: the score {value} of {name!a} is not from 0 to 1 and was not stored: check the file"
            )


def as_text(stems: StemScores | None) -> str | None:
    """Scores of stems as they are stored: JSON that is the same for the same scores, to the last bit."""
    if stems is None:
        return None
    return json.dumps({name: float(value) for name, value in stems.items()}, sort_keys=True, separators=(",", ":"))


def from_text(text: str | None) -> dict[str, float] | None:
    """Scores of stems from what `as_text` made of them.

    Raises:
        TypeError, ValueError: that is something else.
    """
    if text is None:
        return None
    found = json.loads(text)
    if not isinstance(found, dict) or not all(
        _is_name(name) and isinstance(value, float) and 0 <= value <= 1 for name, value in found.items()
    ):
        raise ValueError("scores of stems are not what a leaderboard writes")
    return found


def readable(text: str | None) -> bool:
    """Whether `from_text` can read it: a stranger may have computed its checksum."""
    try:
        from_text(text)
    except (RecursionError, TypeError, ValueError):
        return False
    return True


def _is_name(name: object) -> bool:
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def largest_difference(first: Scored, second: Scored) -> float:
    """How far two scores of a remix are apart, in the ear or stem where they are furthest.

    A stem that only one of them has counts as 1, the most that scores can differ.
    """
    gaps = [abs(first.left - second.left), abs(first.right - second.right)]
    ours, theirs = first.stems or {}, second.stems or {}
    gaps += [abs(ours[name] - theirs[name]) if name in ours and name in theirs else 1.0 for name in {*ours, *theirs}]
    return max(gaps)


def columns(scores: Sequence[StemScores | None]) -> dict[str, tuple[float, ...]]:
    """Scores of stems as columns, one for each stem that all of `scores` have; none where one of them has no stems."""
    known = [stems for stems in scores if stems is not None]
    if not known or len(known) < len(scores):
        return {}
    names = set.intersection(*map(set, known))
    return {name: tuple(stems[name] for stems in known) for name in in_order(names)}


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of stems in the order in which they are shown: by stem (`ORDER`), of each the left ear before the right."""

    def place(name: str) -> tuple[int, str, str]:
        ear, _, stem = name.partition("_")
        return ORDER.index(stem) if stem in ORDER else len(ORDER), stem, ear

    return tuple(sorted(names, key=place))


def heading(name: str) -> str:
    """How a stem is called above a column: "Vocals L" for "left_vocals"."""
    ear, _, stem = name.partition("_")
    return f"{stem.capitalize()} {ear[0].upper()}"
