"""Low-pass filters that keep every step-th sample, for the alignment of the low bands (`envelope_align`)."""

import numpy as np
from scipy.signal import firwin, freqz

from harness.haaqi.fast.numerics import F32, inlined
from harness.haaqi.fast.single.vectors import LANES, load, splat, store

FILTER_TILE = 96
"""Samples that are decimated at a time: a multiple of twelve times every step."""

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
    # Twelve results at a time: each tap is read once for them, and none has to wait for the one before.
    for done in range(0, FILTER_TILE // step, 12):
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = splat(_ZERO)
        place = begin + (start + done * step - length + 1) * LANES
        for i in range(length):
            h = splat(taps[first + i])
            s0 = s0 + h * load(signal, place)
            s1 = s1 + h * load(signal, place + skip)
            s2 = s2 + h * load(signal, place + 2 * skip)
            s3 = s3 + h * load(signal, place + 3 * skip)
            s4 = s4 + h * load(signal, place + 4 * skip)
            s5 = s5 + h * load(signal, place + 5 * skip)
            s6 = s6 + h * load(signal, place + 6 * skip)
            s7 = s7 + h * load(signal, place + 7 * skip)
            s8 = s8 + h * load(signal, place + 8 * skip)
            s9 = s9 + h * load(signal, place + 9 * skip)
            s10 = s10 + h * load(signal, place + 10 * skip)
            s11 = s11 + h * load(signal, place + 11 * skip)
            place += LANES
        for value in (s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11):
            squares = squares + value * value
            store(out, target, value)
            target += LANES
    return squares
