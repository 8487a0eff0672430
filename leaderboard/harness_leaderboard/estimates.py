"""Means over pairs, and how sure they are: one estimator for scores and for differences of scores.

The listeners of a scene hear the same music, so their scores are not independent: scenes are the clusters (or tracks,
where scenes share music). With n pairs in G clusters, n_g of them in cluster g, mean m, and u_g the sum of (score - m)
over the pairs of cluster g, the variance of the mean is

    V = sum(c_g * u_g ** 2) / n ** 2,    c_g = 1 / (1 - n_g / n)

and the 95 % interval is m +- t * sqrt(V), t being the 97.5 % point of Student's distribution with

    df = n ** 2 / (sum(n_g ** 2) + (sum(a_g) ** 2 - sum(a_g ** 2)) / n ** 2),    a_g = c_g * n_g ** 2

degrees of freedom. It is the cluster-robust variance (Liang & Zeger 1986, Biometrika 73, 13-22) with the small-sample
correction CR2 (Bell & McCaffrey 2002, Survey Methodology 28, 169-181) and its Satterthwaite degrees of freedom (Imbens
& Kolesár 2016, Review of Economics and Statistics 98, 701-712; Pustejovsky & Tipton 2018, Journal of Business &
Economic Statistics 36, 672-683), written out for a regression on a constant with independent errors as the working
model. With clusters of equal size, c_g is G / (G - 1) and df is G - 1. A single cluster gives no interval.

Several comparisons that stand together are adjusted as Holm does (1979, Scandinavian Journal of Statistics 6, 65-70).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

SIGNIFICANT = 0.05
"""A difference counts as one if its adjusted p value is below this."""

FEW_CLUSTERS = 20
"""With fewer clusters than these, intervals are rough, whatever the correction (Cameron & Miller 2015, Journal of Human
Resources 50, 317-372, section VI, give 20 to 50 as the range in which "few" ends)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over pairs with the uncertainty that comes from the choice of clusters, which are scenes or tracks.

    Attributes:
        mean: the mean.
        low, high: its 95 % interval, None with fewer than two clusters. Not cut to the range of the scores.
        p: two-sided p value of the mean being 0, None with fewer than two clusters.
        pairs: over how many pairs.
        clusters: in how many clusters these are.
        df: degrees of freedom of Student's distribution, 1 to `clusters` - 1; None with fewer than two clusters.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int
    clusters: int
    df: float | None


def estimate(clusters: Sequence[str], values: Sequence[float]) -> Estimate:
    """Mean of values, with its cluster-robust 95 % interval (see the top of the module), the same in any order.

    Args:
        clusters: for each pair the scene, or the track, that it belongs to.
        values: for each pair its score, or a difference of two scores.

    Raises:
        ValueError: there are no values, or not as many as clusters.
    """
    if not values:
        raise ValueError("no values to take the mean of")
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for cluster, value in zip(clusters, values, strict=True):
        columns[cluster].append(value)
    found = [columns[name] for name in sorted(columns)]
    return of_sums([len(column) for column in found], [math.fsum(column) for column in found], math.fsum(values))


def of_sums(pairs: Sequence[int], sums: Sequence[float], total: float) -> Estimate:
    """The same from what each cluster has.

    Args:
        pairs: how many values, 1 or more.
        sums: the sums of these.
        total: the sum of all values.
    """
    return of_many(pairs, [sums], [total], [max(map(abs, sums))])[0]


def of_many(pairs: ArrayLike, sums: ArrayLike, totals: ArrayLike, scales: ArrayLike) -> list[Estimate]:
    """The same for several quantities over the same pairs at once.

    Args:
        pairs: how many pairs each cluster has, 1 or more, [clusters].
        sums: for each quantity its sum over each cluster, [quantities, clusters].
        totals: for each quantity its sum over all pairs, [quantities].
        scales: for each quantity the size of the numbers that its sums were rounded to, [quantities].
    """
    sizes = np.asarray(pairs, dtype=float)
    count = float(sizes.sum())
    means = np.asarray(totals, dtype=float) / count
    clusters = len(sizes)
    if clusters < 2:
        return [Estimate(mean, None, None, None, int(count), clusters, None) for mean in means.tolist()]
    # Of a cluster, sum(score - m) is its sum less n_g times m. Where all values are equal, rounding would leave a
    # spread of 1e-17 and a p value that means nothing.
    residuals = np.asarray(sums, dtype=float) - sizes * means[:, None]
    residuals[np.abs(residuals) < 1e-14 * np.asarray(scales, dtype=float)[:, None]] = 0.0
    corrections = count / (count - sizes)
    df = degrees_of_freedom(sizes)
    errors = np.sqrt((corrections * residuals**2).sum(axis=1)) / count
    # scipy.stats.t gives the same numbers; importing it takes longer than everything else here.
    widths = errors * special.stdtrit(df, 0.975)
    # Without any spread the statistic is 0 for a mean of 0, infinite for any other.
    statistics = np.where(means == 0, 0.0, np.inf)
    np.divide(np.abs(means), errors, out=statistics, where=errors > 0)
    p = 2 * special.stdtr(df, -statistics)
    columns = (means, means - widths, means + widths, p)
    return [
        Estimate(mean, low, high, p, int(count), clusters, df)
        for mean, low, high, p in zip(*(column.tolist() for column in columns), strict=True)
    ]


def degrees_of_freedom(pairs: ArrayLike) -> float:
    """Satterthwaite's degrees of freedom of CR2 for a mean (see the top of the module).

    Args:
        pairs: how many pairs each cluster has, 1 or more, in at least two clusters.
    """
    sizes = np.asarray(pairs, dtype=float)
    if (sizes == sizes[0]).all():
        return len(sizes) - 1.0  # what the formula gives, without its rounding
    count = sizes.sum()
    weights = count / (count - sizes) * sizes**2
    return float(count**2 / ((sizes**2).sum() + (weights.sum() ** 2 - (weights**2).sum()) / count**2))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """P values adjusted for standing together (Holm 1979); None, where there is no p value, stays and does not count.

    `statsmodels.stats.multitest.multipletests(p, method="holm")` gives the same, but is too slow to import (0.7 s).
    """
    known = [index for index, value in enumerate(p) if value is not None]
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for place, index in enumerate(sorted(known, key=lambda index: _known(p[index]))):
        largest = max(largest, min(1.0, (len(known) - place) * _known(p[index])))
        adjusted[index] = largest
    return adjusted


def _known(p: float | None) -> float:
    assert p is not None
    return p
