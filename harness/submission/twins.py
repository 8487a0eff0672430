"""Submissions that share files: the same pair, the same bytes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Twins:
    """Two submissions, by their positions, and how many files they have in common (same name, same SHA-256)."""

    one: int
    other: int
    files: int


def twins(submissions: Sequence[Mapping[str, str]]) -> list[Twins]:
    """Which submissions share files, and how many.

    Args:
        submissions: of each, SHA-256 of its files by name.

    Returns:
        Every two that share any, in the order of the submissions.
    """
    # By name, so that little is held at a time; and by who shares a file rather than by pairs of them, since
    # 50 copies of one submission would be 1225 pairs for each of its 19,200 files.
    sharers: Counter[tuple[int, ...]] = Counter()
    for name in {name for hashes in submissions for name in hashes}:
        holders: dict[str, list[int]] = defaultdict(list)
        for position, hashes in enumerate(submissions):
            if name in hashes:
                holders[hashes[name]].append(position)
        sharers.update(tuple(group) for group in holders.values() if len(group) > 1)
    shared: Counter[tuple[int, int]] = Counter()
    for group, files in sharers.items():
        for pair in combinations(group, 2):
            shared[pair] += files
    return [Twins(one, other, files) for (one, other), files in sorted(shared.items())]
