"""Low-pass filters that keep every step-th sample, for the alignment of the low bands (`envelope_align`)."""

import numpy as np
from scipy.signal import firwin, freqz

from harness.haaqi.fast.numerics import F32, inlined
from harness.haaqi.fast.single.vectors import LANES, load, splat, store

FILTER_TILE = 96
"""Samples that are decimated at a time: a multiple of four times every step."""

_TAPS_PER_STEP = 12
_BETA = 8.5  # of the Kaiser window. Much less, and the ripple in the pass-band takes away more than the stop-band does
_ZERO = np.float32(0)


def low_pass(step: int) -> F32:
    """Taps of the filter before every step-th sample is kept; its magnitude is nowhere above 1."""
    taps = firwin(_TAPS_PER_STEP * step, 1 / step, window=("kaiser", _BETA))
    return np.asarray(taps / np.abs(freqz(taps, worN=4096)[1]).max(), np.float32)


@inlined
def decimate(signal, begin, start, plan, taps, out):  # type: ignore[no-untyped-def]
    """Filter and decimate one tile of a group of bands; returns the sum of the squares.

    Args:
        signal: flat (time, LANES) with as many samples before time 0 as there are taps.
        begin: index of time 0.
        start: time of the tile.
        plan: decimation, number of taps, where in `taps` they begin, and index of time 0 in `out`.
        taps: of all filters.
        out: receives the tile's decimated samples.
    """
    step, length, first = plan[0], plan[1], plan[2]
    target = plan[3] + start // step * LANES
    skip = step * LANES
    squares = splat(_ZERO)
    # Four results at a time: each tap is read once for them.
    for done in range(0, FILTER_TILE // step, 4):
        a = b = c = d = splat(_ZERO)
        place = begin + (start + done * step - length + 1) * LANES
        for i in range(length):
            h = splat(taps[first + i])
            a = a + h * load(signal, place)
            b = b + h * load(signal, place + skip)
            c = c + h * load(signal, place + 2 * skip)
            d = d + h * load(signal, place + 3 * skip)
            place += LANES
        squares = squares + a * a + b * b + c * c + d * d
        store(out, target, a)
        store(out, target + LANES, b)
        store(out, target + 2 * LANES, c)
        store(out, target + 3 * LANES, d)
        target += 4 * LANES
    return squares
