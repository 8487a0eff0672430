"""Which ranked runs cannot be told apart, from the sums of their scenes: no pair is read for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness_leaderboard.estimates import SIGNIFICANT, Estimate, holm, of_many
from harness_leaderboard.records import SceneSums


@dataclass(frozen=True)
class Compared:
    """How far one run is ahead of another.

    Attributes:
        difference: the mean over all pairs of (score of the one - score of the other), clustered by scene.
        p_adjusted: its p value, adjusted over all comparisons of the board (Holm); None without a p value.
    """

    difference: Estimate
    p_adjusted: float | None

    @property
    def significant(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANT


def compare_all(runs: Sequence[SceneSums]) -> dict[tuple[int, int], Compared]:
    """Compare every two runs, pair by pair.

    Args:
        runs: runs over the same pairs, and at least one.

    Returns:
        For each two of their places (i, j), i < j: how far i is ahead of j.

    Raises:
        ValueError: the runs' scenes do not have the same numbers of pairs.
    """
    if any((run.scene, run.pairs) != (runs[0].scene, runs[0].pairs) for run in runs):
        raise ValueError("only runs over the same pairs can be compared by the sums of their scenes")
    sums = np.array([run.score for run in runs])
    totals = np.array([run.totals[2] for run in runs])
    places, differences = [], []
    for first in range(len(runs) - 1):
        # A row of the triangle at a time: 100 runs of 960 scenes would take 40 MB at once.
        others = range(first + 1, len(runs))
        places += [(first, second) for second in others]
        differences += of_many(
            runs[first].pairs,
            sums[first] - sums[first + 1 :],
            totals[first] - totals[first + 1 :],
            np.maximum(sums[first].max(), sums[first + 1 :].max(axis=1)),
        )
    adjusted = holm([difference.p for difference in differences])
    return dict(zip(places, map(Compared, differences, adjusted), strict=True))


def groups(runs: int, compared: Mapping[tuple[int, int], Compared]) -> list[int]:
    """The group of each run, from 1, the best run first.

    The first run of a group is its anchor. A run belongs to the group of the first anchor that it cannot be told apart
    from, and begins a new group if there is none. So a group says "not different from its first", which does not chain:
    of A, B and C, each a little below the one before, C is not with A because B is. Others of a group may differ.

    Args:
        runs: how many runs there are.
        compared: every two of them, as `compare_all` returns them.
    """
    anchors: list[int] = []
    found = []
    for run in range(runs):
        joined = next(
            (number for number, anchor in enumerate(anchors, start=1) if not compared[anchor, run].significant), None
        )
        if joined is None:
            anchors.append(run)
            joined = len(anchors)
        found.append(joined)
    return found
