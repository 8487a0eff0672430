"""Where the difference between two runs comes from: groups of pairs, and single pairs to listen to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness_leaderboard.comparing import Difference, Scores, clustered, differences_of
from harness_leaderboard.estimates import Estimate
from harness_leaderboard.ranking import Row

Grouping = Mapping[str, Sequence[str]]
"""For the pairs of a listener or a scene, by its name, the names of the groups that they are in."""


@dataclass(frozen=True)
class GroupDifference:
    """How far one run is ahead of another over a group of pairs.

    Attributes:
        by: what pairs are grouped by: "listener", "track", or a name of a grouping; "stem" for the scores of a stem
            over all pairs.
        group: the group's name.
        difference: the mean of (score of the first - score of the second), clustered by scene; not adjusted.
        first, second: the mean scores of the two over the group.
        won, lost, tied: over how many pairs the first has the higher, the lower, the same score.
    """

    by: str
    group: str
    difference: Estimate
    first: float
    second: float
    won: int
    lost: int
    tied: int


@dataclass(frozen=True)
class PairDifference:
    """How far one run is ahead of another on one pair; scores are from 0 to 1."""

    scene: str
    listener: str
    track: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Score of the first less that of the second."""
        return self.first - self.second


@dataclass(frozen=True)
class Contrast:
    """A difference between two runs, and where it comes from.

    Attributes:
        difference: the difference.
        groups: by listener, by track, by stem where stems are scored, then by further groupings; within each, what the
            first gained most comes first.
        worst: the pairs on which the first is furthest behind, or least ahead, the furthest first.
    """

    difference: Difference
    groups: tuple[GroupDifference, ...] = ()
    worst: tuple[PairDifference, ...] = ()


def contrasts(
    rows: Sequence[Row],
    worst: int,
    of_listeners: Mapping[str, Grouping] | None = None,
    of_scenes: Mapping[str, Grouping] | None = None,
) -> list[Contrast]:
    """Compare every two runs of one board (see `comparing.differences`), and look into those with the first run.

    Args:
        rows: runs on one evaluation set under one evaluator. Their pairs are read.
        worst: how many single pairs are wanted.
        of_listeners, of_scenes: what else to group pairs by, each grouping by its name. A listener or scene that is
            not in it is in no group.

    Raises:
        LeaderboardError: see `comparing.differences`.
    """
    scores = Scores.of([row.source.scores for row in rows])
    groupings: list[tuple[str, NDArray[Any], Grouping | None]] = [
        ("listener", scores.listener, None),
        ("track", scores.track, None),
        *((name, scores.listener, grouping) for name, grouping in (of_listeners or {}).items()),
        *((name, scores.scene, grouping) for name, grouping in (of_scenes or {}).items()),
    ]
    members = [(by, _members(names, grouping)) for by, names, grouping in groupings]
    found = []
    for place, difference in enumerate(differences_of(rows, scores), start=1):
        if place >= len(rows):  # the first run's differences are the first ones
            found.append(Contrast(difference))
            continue
        groups = [_groups(scores, place, by, places) for by, places in members]
        groups.insert(2, _by_stem(scores, place))  # after listener and track, which come first
        every = tuple(each for group in groups for each in group)
        found.append(Contrast(difference, every, _worst(scores, place, worst)))
    return found


def _members(names: NDArray[Any], grouping: Grouping | None) -> dict[str, NDArray[Any]]:
    """The places of the pairs of each group."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        for group in (name,) if grouping is None else grouping.get(name, ()):
            places.setdefault(group, []).append(place)
    return {group: np.array(found) for group, found in places.items()}


def _groups(scores: Scores, place: int, by: str, members: Mapping[str, NDArray[Any]]) -> list[GroupDifference]:
    """The differences between the first run and that at `place` over each group, the largest first."""
    found = [
        _group(by, group, scores.scene[pairs], scores.values[0, pairs], scores.values[place, pairs])
        for group, pairs in members.items()
    ]
    return _sorted(found)


def _by_stem(scores: Scores, place: int) -> list[GroupDifference]:
    """The differences between the scores of each stem, the largest first."""
    found = [_group("stem", name, scores.scene, values[0], values[place]) for name, values in scores.stems.items()]
    return _sorted(found)


def _sorted(groups: Iterable[GroupDifference | None]) -> list[GroupDifference]:
    known = [group for group in groups if group is not None]
    return sorted(known, key=lambda each: (-each.difference.mean, each.group))


def _group(
    by: str, name: str, scenes: NDArray[Any], first: NDArray[np.float64], second: NDArray[np.float64]
) -> GroupDifference | None:
    """The difference over some pairs; None where there is none that both runs have scored."""
    common = ~(np.isnan(first) | np.isnan(second))
    if not common.any():
        return None
    first, second = first[common], second[common]
    signs = np.sign(first - second)
    return GroupDifference(
        by,
        name,
        clustered(scenes[common], first - second),
        float(first.mean()),
        float(second.mean()),
        *(int((signs == sign).sum()) for sign in (1, -1, 0)),
    )


def _worst(scores: Scores, place: int, count: int) -> tuple[PairDifference, ...]:
    """The pairs on which the first run is furthest behind that at `place`; equal ones in the order of their names."""
    first, second = scores.values[0], scores.values[place]
    known = np.flatnonzero(~(np.isnan(first) | np.isnan(second)))
    order = known[np.argsort((first - second)[known], kind="stable")][:count]
    return tuple(
        PairDifference(
            str(scores.scene[pair]),
            str(scores.listener[pair]),
            str(scores.track[pair]),
            float(first[pair]),
            float(second[pair]),
        )
        for pair in order
    )
