"""Fourier transform of complex signals, one in each lane.

Radix 4 (and a last step of radix 2), decimation in frequency, in place: the frequencies come out in the order of their
reversed digits, and whoever reads them looks up where they are. A signal is flat (2 * length, LANES): the real and the
imaginary part of each sample in turn.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.numerics import F32, inlined
from harness.haaqi.fast.single.vectors import LANES, load, splat, store

_ZERO = np.float32(0)


@lru_cache(maxsize=16)
def positions(length: int) -> NDArray[np.int64]:
    """Where each frequency is after the transform: (length,)."""
    if length <= 2:
        return np.arange(length)
    quarter = positions(length // 4)
    place = np.empty(length, np.int64)
    for digit in range(4):
        place[digit::4] = digit * (length // 4) + quarter
    return place


@lru_cache(maxsize=16)
def frequencies(length: int) -> NDArray[np.int64]:
    """Which frequency is where after the transform: (length,)."""
    return np.argsort(positions(length))


@lru_cache(maxsize=4)
def factors(longest: int) -> F32:
    """Twiddle factors of all lengths: for each length N, a power of 2 up to `longest`, (N / 4, 6) from index 2 N on.

    Cosine and sine of the first, second and third.
    """
    table = np.zeros(4 * longest, np.float32)
    length = 4
    while length <= longest:
        angles = -2 * np.pi / length * np.outer(np.arange(length // 4), [1, 2, 3])
        part = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        table[2 * length : 2 * length + part.size] = part.reshape(-1)
        length *= 2
    return table


@inlined
def _split(z, places, parts, table, w):  # type: ignore[no-untyped-def]
    """From four complex samples, a quarter of the length apart, one of each of the four transforms to come."""
    p0, p1, p2, p3 = places
    ar, ai, br, bi, cr, ci, dr, di = parts
    sr, si, tr, ti = ar + cr, ai + ci, ar - cr, ai - ci
    ur, ui, vr, vi = br + dr, bi + di, bi - di, dr - br
    store(z, p0, sr + ur)
    store(z, p0 + LANES, si + ui)
    er, ei, fr, fi, gr, gi = tr + vr, ti + vi, sr - ur, si - ui, tr - vr, ti - vi
    c1, s1, c2 = splat(table[w]), splat(table[w + 1]), splat(table[w + 2])
    s2, c3, s3 = splat(table[w + 3]), splat(table[w + 4]), splat(table[w + 5])
    store(z, p1, er * c1 - ei * s1)
    store(z, p1 + LANES, er * s1 + ei * c1)
    store(z, p2, fr * c2 - fi * s2)
    store(z, p2 + LANES, fr * s2 + fi * c2)
    store(z, p3, gr * c3 - gi * s3)
    store(z, p3 + LANES, gr * s3 + gi * c3)


@inlined
def _step(z, first, length, table):  # type: ignore[no-untyped-def]
    """Split one transform into four of a quarter of the length."""
    quarter = length // 4
    stride = 2 * quarter * LANES
    w = 2 * length
    place = 2 * first * LANES
    for _ in range(quarter):
        p0, p1, p2, p3 = place, place + stride, place + 2 * stride, place + 3 * stride
        parts = (
            load(z, p0), load(z, p0 + LANES), load(z, p1), load(z, p1 + LANES),
            load(z, p2), load(z, p2 + LANES), load(z, p3), load(z, p3 + LANES),
        )  # fmt: skip
        _split(z, (p0, p1, p2, p3), parts, table, w)
        w += 6
        place += 2 * LANES


@inlined
def _pairs(z, first, count):  # type: ignore[no-untyped-def]
    """Transforms of length 2 that lie one after the other."""
    for pair in range(count):
        place = 2 * (first + 2 * pair) * LANES
        for part in range(0, 2 * LANES, LANES):
            a, b = load(z, place + part), load(z, place + part + 2 * LANES)
            store(z, place + part, a + b)
            store(z, place + part + 2 * LANES, a - b)


@inlined
def _quarters(z, length, table):  # type: ignore[no-untyped-def]
    """All steps after the first, a quarter at a time, to its end: the whole is too long for the cache."""
    part = length // 4
    for quarter in range(4):
        size = part
        while size > 2:
            for first in range(quarter * part, (quarter + 1) * part, size):
                _step(z, first, size, table)
            size //= 4
        if size == 2:
            _pairs(z, quarter * part, part // 2)


@inlined
def transform(z, length, table):  # type: ignore[no-untyped-def]
    """Transform in place; length is a power of 2, 8 or more, and table from `factors` of at least that length."""
    _step(z, 0, length, table)
    _quarters(z, length, table)


@inlined
def transform_of_two(x, x_first, count, y, y_first, factor, z, length, table):  # type: ignore[no-untyped-def]
    """Transform x + i factor y, where x counts as zero after so many samples; the indices are of the first vectors."""
    quarter = length // 4
    stride = quarter * LANES
    w = 2 * length
    nothing = splat(_ZERO)
    for t in range(quarter):
        x_at, y_at, place = x_first + t * LANES, y_first + t * LANES, 2 * t * LANES
        parts = (
            load(x, x_at) if t < count else nothing,
            load(y, y_at) * factor,
            load(x, x_at + stride) if t + quarter < count else nothing,
            load(y, y_at + stride) * factor,
            load(x, x_at + 2 * stride) if t + 2 * quarter < count else nothing,
            load(y, y_at + 2 * stride) * factor,
            load(x, x_at + 3 * stride) if t + 3 * quarter < count else nothing,
            load(y, y_at + 3 * stride) * factor,
        )
        _split(z, (place, place + 2 * stride, place + 4 * stride, place + 6 * stride), parts, table, w)
        w += 6
    _quarters(z, length, table)
