"""The scores of a run as columns, and summed up: what boards are made from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from harness_leaderboard.stems import in_order


@dataclass(frozen=True)
class PairScores:
    """The scored pairs of a run as parallel columns, in no particular order.

    Columns, because a real run has 19,200 pairs and a leaderboard has many runs. Stems have columns of their own, by
    their names, where every pair has a score of them.
    """

    scene: tuple[str, ...] = ()
    listener: tuple[str, ...] = ()
    track: tuple[str, ...] = ()
    left: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    score: tuple[float, ...] = ()
    stems: Mapping[str, tuple[float, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class SceneSums:
    """The scored pairs of a run summed up for each scene, as parallel columns in the order of the scenes' names.

    Attributes:
        pairs: how many pairs of the scene have a score.
        left, right, score: the sums of their scores, each rounded once (`math.fsum`).
        totals: left, right and score summed up over all pairs, each rounded once: means are those of the pairs to the
            last bit, which the sums of scenes, rounded already, would not give.
        stems: of each stem, its scores summed up over all pairs, likewise.
    """

    scene: tuple[str, ...] = ()
    pairs: tuple[int, ...] = ()
    left: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    score: tuple[float, ...] = ()
    totals: tuple[float, float, float] = (0.0, 0.0, 0.0)
    stems: Mapping[str, float] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, scores: PairScores) -> Self:
        """Sum up pairs, the same whatever their order."""
        columns: dict[str, tuple[list[float], list[float], list[float]]] = {}
        for scene, *values in zip(scores.scene, scores.left, scores.right, scores.score, strict=True):
            for column, value in zip(columns.setdefault(scene, ([], [], [])), values, strict=True):
                column.append(value)
        names = tuple(sorted(columns))
        left, right, score = (tuple(math.fsum(columns[name][ear]) for name in names) for ear in range(3))
        totals = (math.fsum(scores.left), math.fsum(scores.right), math.fsum(scores.score))
        stems = {name: math.fsum(column) for name, column in scores.stems.items()}
        return cls(names, tuple(len(columns[name][0]) for name in names), left, right, score, totals, stems)

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Self:
        """The sums in what `as_json` made of them.

        Raises:
            AttributeError, KeyError, TypeError, ValueError: that is something else.
        """
        stems = kept.get("stems", {})
        scene, pairs, left, right, score, totals = map(tuple, kept["sums"])
        return cls(scene, pairs, left, right, score, totals, {name: float(stems[name]) for name in in_order(stems)})

    def as_json(self) -> dict[str, Any]:
        """They as JSON values; "stems" is only there where there are some."""
        columns = (self.scene, self.pairs, self.left, self.right, self.score, self.totals)
        return {"sums": [list(column) for column in columns], **({"stems": dict(self.stems)} if self.stems else {})}
