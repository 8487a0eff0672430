"""Which scene-listener pairs get a page of their own: by a rule that the report prints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.music.evaluationset import PairId

LEADERS = 3
"""Of how many systems, from the top of the board, the extreme pairs are chosen."""

RULE = (
    "the median, worst and best pair of the first system",
    "the pairs on which the first system is furthest ahead of the second, and furthest behind it",
    "for each severity of hearing loss its typical pair: the median of the pairs of such listeners",
    "the median, worst and best pair of the second and of the third system",
    "the pairs on which the third system differs most from the first and from the second, either way",
    "if there is room left, pairs evenly spaced from the worst to the best",
)
"""The rule as people read it: steps, in their order. Each goes by HAAQI, and where no single system is meant, by the
mean over all systems."""


@dataclass(frozen=True)
class Choice:
    """A pair that gets a page.

    Attributes:
        scene, listener: identifiers of the pair.
        reasons: why it was chosen, at least one. May contain names of systems, which come from strangers.
    """

    scene: str
    listener: str
    reasons: tuple[str, ...]

    @property
    def id(self) -> PairId:
        """Identifiers of scene and listener."""
        return self.scene, self.listener


def choose(
    pairs: pd.DataFrame,
    runs: Sequence[int],
    labels: Mapping[int, str],
    listeners: pd.DataFrame | None = None,
    *,
    most: int,
) -> list[Choice]:
    """Choose pairs by `RULE`. The same scores give the same pairs, in whatever order they come.

    Args:
        pairs: scored pairs: columns run, scene, listener, score (`harness.results`).
        runs: numbers of the runs in the order of the board; the first `LEADERS` of them lead.
        labels: what each of these runs is called.
        listeners: columns listener, band (ordered categories); None skips the step by severity.
        most: how many pairs to choose at most. If there are no more than these, all are chosen.

    Returns:
        The chosen pairs, in the order of the rule; one that several steps choose stands where the first one puts it,
        with all reasons.
    """
    scores = _scores(pairs)
    reasons: dict[PairId, list[str]] = {}
    leaders = [run for run in runs if run in scores.columns][:LEADERS]
    for pair, why in _candidates(scores, leaders, labels, listeners):
        if pair in reasons:
            reasons[pair].append(why)
        elif len(reasons) < most:
            reasons[pair] = [why]
    if len(scores) <= most:
        for pair in _order(scores.mean(axis=1)):
            reasons.setdefault(pair, ["every pair of this evaluation set has a page"])
    else:
        reasons.update(_spaced(scores, reasons, most - len(reasons)))
    return [Choice(*pair, tuple(why)) for pair, why in reasons.items()]


def _scores(pairs: pd.DataFrame) -> pd.DataFrame:
    """The scores as a table: a row for each pair, sorted by name; a column for each run; NaN where there is none."""
    names = pairs[["scene", "listener", "run"]].astype({"scene": str, "listener": str})
    return names.assign(score=pairs["score"]).set_index(["scene", "listener", "run"])["score"].unstack().sort_index()


def _order(values: "pd.Series[float]") -> list[PairId]:
    """The pairs that have a value, from the lowest to the highest; equal ones by their names."""
    return list(values.dropna().sort_values(kind="stable").index)


def _median(values: "pd.Series[float]") -> PairId:
    """The pair in the middle (of two, the lower one)."""
    ordered = _order(values)
    return ordered[(len(ordered) - 1) // 2]


def _candidates(
    scores: pd.DataFrame, leaders: Sequence[int], labels: Mapping[int, str], listeners: pd.DataFrame | None
) -> Iterator[tuple[PairId, str]]:
    """What the steps of the rule choose, but for the last."""
    for position, run in enumerate(leaders):
        yield from _extremes(scores[run], labels[run])
        for above in leaders[:position] if position > 1 else ():
            yield from _apart(scores, above, run, labels)
        if position == 0:
            for second in leaders[1:2]:
                yield from _apart(scores, run, second, labels)
            if listeners is not None:
                yield from _typical(scores, listeners)


def _extremes(values: "pd.Series[float]", label: str) -> Iterator[tuple[PairId, str]]:
    ordered = _order(values)
    for what, pair in (("median", _median(values)), ("worst", ordered[0]), ("best", ordered[-1])):
        yield pair, f"{what} pair of {label}"


def _apart(scores: pd.DataFrame, one: int, other: int, labels: Mapping[int, str]) -> Iterator[tuple[PairId, str]]:
    """Where one run is furthest ahead of another, and where furthest behind; nothing where it is never so."""
    difference = scores[one] - scores[other]
    ordered = _order(difference)
    for pair, (ahead, behind), sign in ((ordered[-1:], (one, other), 1), (ordered[:1], (other, one), -1)):
        for id_ in pair:
            if sign * difference[id_] > 0:
                yield id_, f"{labels[ahead]} is furthest ahead of {labels[behind]} (by {abs(difference[id_]):.3f})"


def _typical(scores: pd.DataFrame, listeners: pd.DataFrame) -> Iterator[tuple[PairId, str]]:
    """The median pair of each severity band, from the mildest."""
    means = scores.mean(axis=1)
    bands = dict(zip(listeners["listener"].astype(str), listeners["band"].astype(str), strict=True))
    band = means.index.get_level_values("listener").map(bands)
    for name in listeners["band"].cat.categories:
        within = means[band == name].dropna()
        if len(within):
            hearing = "normal hearing" if name == "normal" else f"a {name} hearing loss"
            yield _median(within), f"typical of listeners with {hearing}"


def _spaced(scores: pd.DataFrame, taken: Mapping[PairId, object], room: int) -> dict[PairId, list[str]]:
    """Fill what room is left with pairs that are evenly spaced in the order of their means."""
    means = scores.mean(axis=1)
    ordered = _order(means)
    place = {pair: number for number, pair in enumerate(ordered, start=1)}
    free = [pair for pair in ordered if pair not in taken]
    chosen = [free[(2 * step + 1) * len(free) // (2 * room)] for step in range(max(room, 0))]
    return {
        pair: [f"number {place[pair]} of {len(ordered)} from the worst to the best, by the mean over all systems"]
        for pair in chosen
    }
