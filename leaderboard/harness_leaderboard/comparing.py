"""Two runs held against each other, pair by pair; and what a board says in words of who can be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness_leaderboard import labels
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.estimates import FEW_CLUSTERS, SIGNIFICANT, Estimate, holm, of_many
from harness_leaderboard.ranking import Board, Row
from harness_leaderboard.records import PairScores
from harness_leaderboard.stems import in_order

NAMED = 3
"""How many runs, or groups of them, a sentence names before it counts the others."""

LONGEST_NAME = 48
"""Characters of a run's label in a sentence; of a longer one the middle is left out."""


@dataclass(frozen=True)
class Difference:
    """How far one run is ahead of another, over the pairs that both have scored.

    Attributes:
        first, second: the two.
        by_scene: the mean of (score of `first` - score of `second`), clustered by scene.
        by_track: the same clustered by track, the more careful of the two: scenes of a track share its music.
        p_adjusted: p of `by_scene`, adjusted over all comparisons that were made together (Holm); None without p.
        p_adjusted_by_track: p of `by_track`, likewise.
        won, lost, tied: over how many pairs `first` has the higher, the lower, the same score.
    """

    first: Row
    second: Row
    by_scene: Estimate
    by_track: Estimate
    p_adjusted: float | None
    p_adjusted_by_track: float | None
    won: int
    lost: int
    tied: int

    @property
    def significant(self) -> bool:
        """Whether the two can be told apart: the adjusted p value, by scene, is below `SIGNIFICANT`."""
        return self.p_adjusted is not None and self.p_adjusted < SIGNIFICANT

    @property
    def pairs(self) -> int:
        """Over how many pairs: those that both have scored."""
        return self.by_scene.pairs


@dataclass(frozen=True)
class Scores:
    """The scores of some runs, aligned: a column for each pair that one of them has scored.

    Attributes:
        scene, listener, track: of each pair; pairs are sorted by scene and listener, [pairs].
        values: scores from 0 to 1, NaN where a run has none, [runs, pairs].
        stems: the same of each stem that all of the runs have scores of, by its name.
    """

    scene: NDArray[Any]
    listener: NDArray[Any]
    track: NDArray[Any]
    values: NDArray[np.float64]
    stems: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def of(cls, runs: Sequence[PairScores]) -> "Scores":
        """Align the scores of runs on one evaluation set."""
        tracks = {
            (scene, listener): track
            for run in runs
            for scene, listener, track in zip(run.scene, run.listener, run.track, strict=True)
        }
        pairs = sorted(tracks)
        places = {pair: place for place, pair in enumerate(pairs)}
        where = [[places[pair] for pair in zip(run.scene, run.listener, strict=True)] for run in runs]

        def aligned(columns: Sequence[Sequence[float]]) -> NDArray[np.float64]:
            values = np.full((len(runs), len(pairs)), np.nan)
            for line, at, column in zip(values, where, columns, strict=True):
                line[at] = column
            return values

        names = np.array(pairs, dtype=object).reshape(-1, 2)
        common = in_order(set.intersection(*(set(run.stems) for run in runs))) if runs else ()
        return cls(
            names[:, 0],
            names[:, 1],
            np.array([tracks[pair] for pair in pairs], dtype=object),
            aligned([run.score for run in runs]),
            {name: aligned([run.stems[name] for run in runs]) for name in common},
        )


def differences(rows: Sequence[Row]) -> list[Difference]:
    """Compare every two runs of one board, ranked or not, each two over the pairs that both have scored.

    The p values of all of them are adjusted together.

    Args:
        rows: runs on one evaluation set under one evaluator. Their pairs are read.

    Returns:
        A difference for every two, the first before the second as in `rows`, in the order of `itertools.combinations`.

    Raises:
        LeaderboardError: two of them have no scored pair in common; the scores of a run were changed outside the
            harness; trouble with the database.
    """
    scores = Scores.of([row.source.scores for row in rows])
    return differences_of(rows, scores)


def differences_of(rows: Sequence[Row], scores: Scores) -> list[Difference]:
    """The same for runs whose scores are aligned already."""
    _, scenes = np.unique(scores.scene, return_inverse=True)
    _, tracks = np.unique(scores.track, return_inverse=True)
    found = []
    for first, second in combinations(range(len(rows)), 2):
        ours, theirs = scores.values[first], scores.values[second]
        common = ~(np.isnan(ours) | np.isnan(theirs))
        if not common.any():
            which = " and ".join(str(rows[place].source.id) for place in (first, second))
            raise LeaderboardError(f"runs {which} have no scored pair in common: score the same pairs of both")
        gaps = ours[common] - theirs[common]
        largest = np.maximum(ours[common], theirs[common])
        by_scene, by_track = (_clustered(clusters[common], gaps, largest) for clusters in (scenes, tracks))
        counts = [int((np.sign(gaps) == sign).sum()) for sign in (1, -1, 0)]
        found.append((rows[first], rows[second], by_scene, by_track, counts))
    adjusted = holm([by_scene.p for _, _, by_scene, _, _ in found])
    adjusted_by_track = holm([by_track.p for _, _, _, by_track, _ in found])
    return [
        Difference(one, other, by_scene, by_track, p, p_by_track, *counts)
        for (one, other, by_scene, by_track, counts), p, p_by_track in zip(
            found, adjusted, adjusted_by_track, strict=True
        )
    ]


def clustered(clusters: NDArray[Any], values: NDArray[np.float64]) -> Estimate:
    """The mean of some differences with its interval.

    Args:
        clusters: the cluster of each, by name, [pairs].
        values: differences of two scores, one pair or more, [pairs].
    """
    _, numbers = np.unique(clusters, return_inverse=True)
    return _clustered(numbers, values, np.abs(values))


def _clustered(clusters: NDArray[Any], values: NDArray[Any], sizes: NDArray[Any]) -> Estimate:
    """The same from numbers of clusters, and the size of the numbers that the values were rounded to."""
    counts = np.bincount(clusters)
    sums, scales = (np.bincount(clusters, numbers)[counts > 0] for numbers in (values, sizes))
    return of_many(counts[counts > 0], [sums], [sums.sum()], [scales.max()])[0]


# In words


def in_words(board: Board) -> str:
    """One sentence on which ranked runs of a board cannot be told apart; names in it are strangers' text.

    It names at most `NAMED` runs of a group, and as many groups.
    """
    ranked = board.ranked
    every = [short(label) for label in labels.labels(board)]
    names = every[: len(ranked)]
    if not ranked:
        return "No run is ranked yet."
    if len(ranked) == 1:
        return f"{names[0]} is the only ranked run: there is nothing to compare it with."
    if any(found.p_adjusted is None for found in board.compared.values()):
        return f"All scores come from one {board.unit}, which says nothing about how sure the order is."
    members: dict[int, list[int]] = {}
    for place, row in enumerate(ranked):
        assert row.group is not None
        members.setdefault(row.group, []).append(place)
    ties = [places for places in members.values() if len(places) > 1]
    if not ties:
        if len(ranked) == 2:
            return f"{names[0]} is ahead of {names[1]}."
        return f"Each of the {len(ranked)} ranked runs can be told apart from every other; {names[0]} is the first."
    if len(ties[0]) == len(ranked):
        if any(found.significant for found in board.compared.values()):
            others = f"none of the other {len(ranked) - 1} ranked runs can be told apart from it"
            return f"{names[0]} is the first, but {others}."
        if len(ranked) > NAMED:
            return f"None of the {len(ranked)} ranked runs can be told apart from any other."
        return f"{_listed(names)} cannot be told apart."
    parts = [
        f"{names[first]} cannot be told apart from {_listed([names[place] for place in others], 'or')}"
        for first, *others in ties[:NAMED]
    ]
    if len(members[1]) == 1:
        parts.insert(0, f"{names[0]} is ahead of every other ranked run")
    if len(ties) > NAMED:
        more = len(ties) - NAMED
        parts.append(f"and so on for {more} more group{'s' if more > 1 else ''}")
    return f"{'; '.join(parts)}."


def basis(board: Board) -> list[str]:
    """What the sentence of `in_words` rests on, and how far to trust it: lines for below it; none where none is due."""
    if len(board.ranked) < 2:
        return []
    count, scenes = len(board.compared), board.compared[0, 1].difference.clusters
    over = "" if count == 1 else f", adjusted over all {count} comparisons (Holm)"
    lines = [f"Told apart means p < {SIGNIFICANT}: paired, clustered by {board.unit}{over}."] if scenes > 1 else []
    return [*lines, *roughness(**{f"{board.unit}s": scenes})]


def roughness(**clusters: int) -> list[str]:
    """A line that says that intervals are rough, if there are few clusters; none if there are enough, or one.

    Args:
        clusters: how many there are, by what they are, in the plural.
    """
    few = [f"{count} {what}" for what, count in clusters.items() if 1 < count < FEW_CLUSTERS]
    if not few:
        return []
    listed = " and ".join(few)
    return [f"Intervals are rough: {listed} are few; below {FEW_CLUSTERS}, even corrected ones (CR2) may mislead."]


def short(label: str) -> str:
    """A run's label as it stands in a sentence: printable, and of bounded length."""
    text = labels.printable(label)
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME else f"{text[:half]}…{text[1 - half :]}"


def _listed(names: Sequence[str], word: str = "and") -> str:
    """Names as a list in words: the first ones, and how many others."""
    if len(names) > NAMED:
        names = [*names[:NAMED], f"{len(names) - NAMED} other{'s' if len(names) - NAMED > 1 else ''}"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
