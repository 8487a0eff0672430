"""The intervals: by hand, against statsmodels, and against the general formulas with all their matrices."""

import math
import random
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness_leaderboard.estimates import Estimate, degrees_of_freedom, estimate, holm, of_many

Numbers = np.ndarray[Any, Any]


def drawn(sizes: list[int], seed: int = 5) -> tuple[list[str], Numbers]:
    """Clusters of these sizes in any order, and values that differ between them."""
    draw = np.random.default_rng(seed)
    clusters = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    values = 0.02 + 0.3 * draw.random(len(clusters)) + 0.1 * draw.normal(size=len(sizes))[clusters]
    return [f"S{cluster}" for cluster in clusters], values


def close(found: Estimate, mean: float, error: float, df: float) -> None:
    """That an estimate is the one with this standard error and these degrees of freedom."""
    width = stats.t.ppf(0.975, df) * error
    assert found.mean == pytest.approx(mean, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((mean - width, mean + width), rel=1e-10)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(mean) / error, df), rel=1e-8)


def regression(clusters: list[str], values: Numbers, **options: Any) -> Any:
    groups = np.unique(clusters, return_inverse=True)[1]
    return statsmodels.api.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": groups, **options}, use_t=True
    )


def test_interval_by_hand() -> None:
    # mean 0.5; residuals -0.2, -0.1 | 0.1, 0.2; sums of scenes -0.3, 0.3; G = 2, n = 4:
    # V = 2 / 1 * (0.09 + 0.09) / 16 = 0.0225, its root 0.15; t(0.975, 1) = 12.706204736
    found = estimate(["S1", "S1", "S2", "S2"], [0.3, 0.4, 0.6, 0.7])
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - 12.706204736 * 0.15, abs=1e-9)
    assert found.high == pytest.approx(0.5 + 12.706204736 * 0.15, abs=1e-9)
    # Student's distribution with one degree of freedom is Cauchy's: p = 1 - 2 / pi * atan(t)
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(0.5 / 0.15), abs=1e-12)
    assert (found.pairs, found.clusters, found.df) == (4, 2, 1)


def test_clusters_of_different_size_by_hand() -> None:
    # 0.1 | 0.4, 0.7: mean 0.4, residual sums -0.3 | 0.3; c = 1 / (1 - 1/3) = 1.5 and 1 / (1 - 2/3) = 3:
    # V = (1.5 * 0.09 + 3 * 0.09) / 9 = 0.045; a = 1.5 and 12: df = 9 / (5 + (13.5^2 - 2.25 - 144) / 9) = 1
    found = estimate(["S1", "S2", "S2"], [0.1, 0.4, 0.7])
    assert found.df == pytest.approx(1, abs=1e-14)
    close(found, 0.4, math.sqrt(0.045), 1)


def test_clusters_of_one_are_the_ordinary_interval() -> None:
    values = [0.31, 0.42, 0.58, 0.77, 0.12]
    found = estimate([f"S{i}" for i in range(5)], values)
    expected = stats.ttest_1samp(values, 0)
    low, high = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize(("clusters", "size"), [(2, 1), (2, 7), (12, 1), (25, 8), (60, 5)])
def test_clusters_of_equal_size_are_statsmodels_cluster_covariance(clusters: int, size: int) -> None:
    names, values = drawn([size] * clusters)
    # Its factor G / (G - 1) * (n - 1) / (n - k) has k = 1, and is CR2's when clusters are equal.
    fitted = regression(names, values, use_correction=True, df_correction=True)
    found = estimate(names, values.tolist())
    assert found.df == clusters - 1
    low, high = fitted.conf_int()[0]
    assert (found.mean, found.low, found.high) == pytest.approx((fitted.params[0], low, high), rel=1e-10)
    assert found.p == pytest.approx(fitted.pvalues[0], rel=1e-8)


UNEQUAL = [[1, 2], [1, 1, 9], [3, 5, 2, 7, 1, 4], [5] * 12 + [4, 2], list(range(1, 13)), [60, 2, 3, 4]]


@pytest.mark.parametrize("sizes", UNEQUAL)
def test_clusters_of_unequal_size_are_cr2_with_all_its_matrices(sizes: list[int]) -> None:
    names, values = drawn(sizes)
    count = len(values)
    design = np.ones((count, 1))
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    annihilator = np.eye(count) - hat
    errors = annihilator @ values
    # Pustejovsky & Tipton 2018, for the working model of independent errors:
    # A_g = (I - H_gg)^(-1/2), V = M sum(X_g' A_g e_g e_g' A_g X_g) M, df = tr(Q'Q)^2 / tr((Q'Q)^2) with
    # columns Q_g = (I - H)_g' A_g X_g M.
    variance, columns = 0.0, []
    for cluster in sorted(set(names)):
        inside = np.array([name == cluster for name in names])
        block = np.eye(inside.sum()) - hat[np.ix_(inside, inside)]
        adjustment = scipy.linalg.inv(scipy.linalg.sqrtm(block).real)
        variance += float((design[inside, 0] @ adjustment @ errors[inside]) ** 2) / count**2
        columns.append(annihilator[inside].T @ adjustment @ design[inside, 0] / count)
    inner = np.array(columns) @ np.array(columns).T
    df = np.trace(inner) ** 2 / np.trace(inner @ inner)
    found = estimate(names, values.tolist())
    assert found.df == pytest.approx(df, rel=1e-9)
    close(found, float(values.mean()), math.sqrt(variance), df)


@pytest.mark.parametrize("sizes", UNEQUAL)
def test_without_the_correction_it_would_be_statsmodels_plain_sandwich(sizes: list[int]) -> None:
    names, values = drawn(sizes)
    # Each cluster by itself: what it adds to the plain sandwich, times c_g, is what it adds to CR2.
    fitted = regression(names, values, use_correction=False)
    residuals = values - values.mean()
    parts = {name: residuals[[other == name for other in names]] for name in set(names)}
    plain = sum(part.sum() ** 2 for part in parts.values()) / len(values) ** 2
    assert plain == pytest.approx(fitted.bse[0] ** 2, rel=1e-10)
    corrected = sum(part.sum() ** 2 / (1 - len(part) / len(values)) for part in parts.values()) / len(values) ** 2
    df = degrees_of_freedom([len(part) for part in parts.values()])
    close(estimate(names, values.tolist()), float(values.mean()), math.sqrt(corrected), df)


@settings(deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=50))
def test_degrees_of_freedom_are_between_1_and_those_of_equal_clusters(sizes: list[int]) -> None:
    df = degrees_of_freedom(sizes)
    assert 1 - 1e-9 <= df <= len(sizes) - 1 + 1e-9
    assert degrees_of_freedom(sizes[:1] * 7) == 6


def test_intervals_cover_what_they_say_with_few_unequal_clusters() -> None:
    # 2,000 experiments with 8 clusters of 1 to 30 pairs around a true mean of 0: 95 % of the intervals hold it. The
    # common correction, G / (G - 1) and G - 1 degrees of freedom (CR1), holds it in 86 % of them.
    draw = np.random.default_rng(1)
    sizes = np.array([1, 2, 3, 4, 5, 10, 20, 30])
    clusters, first = np.repeat(np.arange(8), sizes), np.concatenate([[0], sizes.cumsum()[:-1]])
    values = draw.normal(0, 0.05, (2000, 8))[:, clusters] + draw.normal(0, 0.1, (2000, sizes.sum()))
    sums, totals = np.add.reduceat(values, first, axis=1), values.sum(axis=1)
    found = of_many(sizes, sums, totals, np.abs(sums).max(axis=1))
    one = estimate([f"S{cluster}" for cluster in clusters], values[7].tolist())
    assert (found[7].low, found[7].p, found[7].df) == pytest.approx((one.low, one.p, one.df), rel=1e-12)
    held = np.mean([each.low <= 0 <= each.high for each in found])  # type: ignore[operator]
    assert 0.935 < held < 0.97
    means = totals / sizes.sum()
    errors = np.sqrt(8 / 7 * ((sums - sizes * means[:, None]) ** 2).sum(axis=1)) / sizes.sum()
    assert np.mean(np.abs(means) <= stats.t.ppf(0.975, 7) * errors) < 0.9


def test_one_scene_gives_no_interval() -> None:
    found = estimate(["S1", "S1"], [0.2, 0.4])
    assert (found.low, found.high, found.p, found.df, found.clusters) == (None, None, None, None, 1)
    assert found.mean == pytest.approx(0.3)


def test_no_spread_at_all() -> None:
    for scenes in (["S1", "S2"], ["S1", "S2", "S2"]):
        zero, constant = estimate(scenes, [0.0] * len(scenes)), estimate(scenes, [0.1] * len(scenes))
        assert (zero.low, zero.high, zero.p) == (0, 0, 1)
        assert (constant.low, constant.high, constant.p) == (constant.mean, constant.mean, 0)
        assert constant.mean == pytest.approx(0.1)


def test_no_values() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([], [])


def test_the_order_of_values_changes_no_digit() -> None:
    names, values = drawn([3, 1, 40, 20, 7])
    pairs = list(zip(names, values.tolist(), strict=True))
    expected = estimate(*map(list, zip(*pairs, strict=True)))  # type: ignore[arg-type]
    for seed in range(5):
        random.Random(seed).shuffle(pairs)
        assert estimate(*map(list, zip(*pairs, strict=True))) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 45])
def test_holm_is_statsmodels_holm(count: int) -> None:
    draw = np.random.default_rng(count)
    for p in (draw.random(count), draw.random(count) ** 4, np.round(draw.random(count) ** 2, 1), np.zeros(count)):
        assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist(), abs=1e-15)


def test_holm_leaves_out_what_has_no_p() -> None:
    assert holm([None, 0.01, None, 0.04]) == pytest.approx([None, 0.02, None, 0.04])
    assert holm([]) == []
