"""Coherence of the basilar membrane motion: short-time cross-covariances in windows of 16 ms, all bands of a group.

Computes what `double.covariance` does. A window is two tiles of hair cells' output.
"""

import numpy as np

from harness.haaqi.fast.double.covariance import (
    HALF_NORM,
    LAG,
    LENGTH,
    POWER,
    THRESHOLD_DB,
    WHOLE_NORM,
    WINDOW,
)
from harness.haaqi.fast.numerics import F32, F64, inlined
from harness.haaqi.fast.single.vectors import LANES, larger, load, magnitude, splat, store

HALF = LENGTH // 2
LAGS = 2 * LAG + 1
SEVEN = 7  # lags at a time; seven times seven are all of them
WINDOW_32: F32 = WINDOW.astype(np.float32)
NORMS: F32 = np.stack([WHOLE_NORM / WHOLE_NORM[LAG], HALF_NORM / HALF_NORM[LAG]]).astype(np.float32)
"""Of a whole window and of half a window: the window's autocorrelation at lag 0 over that at each lag."""

LOUD: F64 = (THRESHOLD_DB - 1e-3) ** 2 / 2 * POWER
"""Sum of squares in a window from which on a tile may have weight, for a whole window and for half a window.

Less than the threshold, for tiles that single precision finds below it and double precision above."""

_ZERO = np.float32(0)
_SMALL = np.float32(1e-28)


@inlined
def windowed_sum(tile, place, window, first):  # type: ignore[no-untyped-def]
    """Sum of a tile times half a window, which begins at `first`."""
    a = b = splat(_ZERO)
    for t in range(0, HALF, 2):
        a = a + load(tile, place + t * LANES) * splat(window[first + t])
        b = b + load(tile, place + (t + 1) * LANES) * splat(window[first + t + 1])
    return a + b


@inlined
def windowed(tile, place, window, first, mean, out, at):  # type: ignore[no-untyped-def]
    """Multiply a tile by half a window, which begins at `first`, and take the mean away; returns the sum of squares."""
    a = b = splat(_ZERO)
    for t in range(0, HALF, 2):
        x = load(tile, place + t * LANES) * splat(window[first + t]) - mean
        y = load(tile, place + (t + 1) * LANES) * splat(window[first + t + 1]) - mean
        store(out, at + t * LANES, x)
        store(out, at + (t + 1) * LANES, y)
        a, b = a + x * x, b + y * y
    return a + b


@inlined
def segment(tiles, place, halves, first, window, out):  # type: ignore[no-untyped-def]
    """Fill a window with one or two tiles, windowed and without their mean; returns the sum of squares.

    Args:
        tiles: flat (2, HALF, LANES), the last two tiles in turn.
        place: of the last one.
        halves: how many.
        first: where the window begins, for one tile.
        window: (LENGTH,).
        out: flat (LAG + LENGTH + LAG, LANES), zeros at the edges.
    """
    before = HALF * LANES - place
    at = LAG * LANES
    if halves == 2:
        total = windowed_sum(tiles, before, window, 0) + windowed_sum(tiles, place, window, HALF)
        mean = total * splat(np.float32(1) / np.float32(LENGTH))
        squares = windowed(tiles, before, window, 0, mean, out, at)
        squares = squares + windowed(tiles, place, window, HALF, mean, out, at + HALF * LANES)
    else:
        mean = windowed_sum(tiles, place, window, first) * splat(np.float32(1) / np.float32(HALF))
        squares = windowed(tiles, place, window, first, mean, out, at)
        for t in range(LAG):
            store(out, at + (HALF + t) * LANES, splat(_ZERO))
    return squares


@inlined
def _seven(x, y, sums, lag):  # type: ignore[no-untyped-def]
    """Add to sums, from a lag on, those of x(t) y(t + k) over half a window for seven k; x and y are indices."""
    array_x, place = x
    array_y, there = y
    at = lag * LANES
    a0, a1, a2, a3 = load(sums, at), load(sums, at + LANES), load(sums, at + 2 * LANES), load(sums, at + 3 * LANES)
    a4, a5, a6 = load(sums, at + 4 * LANES), load(sums, at + 5 * LANES), load(sums, at + 6 * LANES)
    y0, y1, y2 = load(array_y, there), load(array_y, there + LANES), load(array_y, there + 2 * LANES)
    y3, y4, y5 = load(array_y, there + 3 * LANES), load(array_y, there + 4 * LANES), load(array_y, there + 5 * LANES)
    for _ in range(HALF):
        v = load(array_x, place)
        y6 = load(array_y, there + 6 * LANES)
        a0, a1, a2, a3 = a0 + v * y0, a1 + v * y1, a2 + v * y2, a3 + v * y3
        a4, a5, a6 = a4 + v * y4, a5 + v * y5, a6 + v * y6
        y0, y1, y2, y3, y4, y5 = y1, y2, y3, y4, y5, y6
        place += LANES
        there += LANES
    store(sums, at, a0)
    store(sums, at + LANES, a1)
    store(sums, at + 2 * LANES, a2)
    store(sums, at + 3 * LANES, a3)
    store(sums, at + 4 * LANES, a4)
    store(sums, at + 5 * LANES, a5)
    store(sums, at + 6 * LANES, a6)


@inlined
def _squares(x, place, y, there, sums):  # type: ignore[no-untyped-def]
    """Sums of the squares of both over half a window, added up in the order in which `_seven` adds up products.

    So that two equal signals have a covariance of exactly 1.
    """
    a, b = load(sums, LAGS * LANES), load(sums, (LAGS + 1) * LANES)
    for t in range(0, HALF * LANES, LANES):
        v, w = load(x, place + t), load(y, there + t)
        a, b = a + v * v, b + w * w
    store(sums, LAGS * LANES, a)
    store(sums, (LAGS + 1) * LANES, b)


@inlined
def covariance(x, y, halves, norms, sums):  # type: ignore[no-untyped-def]
    """Largest normalised cross-covariance within +-LAG samples, 0 to 1.

    Args:
        x, y: flat (LAG + LENGTH + LAG, LANES), windows of zero mean between zeros.
        halves: how many half windows there are.
        norms: (LAGS,), of `NORMS`.
        sums: flat (LAGS + 2, LANES), scratch.
    """
    for part in range(LAGS + 2):
        store(sums, part * LANES, splat(_ZERO))
    for half in range(halves):
        # Half a window of both fits the first cache beside the sums.
        first = half * HALF * LANES
        for lag in range(0, LAGS, SEVEN):
            _seven((x, first + LAG * LANES), (y, first + lag * LANES), sums, lag)
        _squares(x, first + LAG * LANES, y, first + LAG * LANES, sums)
    largest = splat(_ZERO)
    for lag in range(LAGS):
        largest = larger(magnitude(load(sums, lag * LANES)) * splat(norms[lag]), largest)
    return largest, load(sums, LAGS * LANES), load(sums, (LAGS + 1) * LANES)
