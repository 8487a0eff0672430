"""Gammatone filters, their control path, and the compression of the outer hair cells, in single precision.

Computes what `double.filterbank` does, with other arithmetic. The four equal poles of a band (Cooke 1993) are four
sections of one pole each, one after the other:

    w(t) = x(t) + (p + z) s(t-1),   s(t) = x(t) + p s(t-1)       a pole p and a zero -z
    s(t) = x(t) + p s(t-1)                                       a pole alone

of which the first two have the filter's double zero, at -2a (a: the pole). Single precision is enough for what passes
through, but not for the poles themselves: the gain depends on 1 - a, of which the low bands keep few digits. So the
first section runs in double precision, with a pole that makes up for the rounding of the other three, and these are
rounded up or down such that the four are a in the mean.

A tile's carrier comes from a table; at the end of a tile the states turn by the phase of that many samples.

**Group time.** A band's output is late by the filter's group delay, and HAAQI delays all bands to the latest one
(`group_delay_compensate`). Here each band gets its input that much later instead, so that whatever follows reads all
bands at the same time. At time u the band b is at t = u - late[b] of the signal.

Arrays of bands are flat: (group, time, lane) with `GROUPS` groups of `LANES` bands.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from clarity.evaluator.haspi import eb

from harness.haaqi.fast.double.filterbank import EAR_Q, MIN_BANDWIDTH
from harness.haaqi.fast.numerics import BANDS, F32, F64, SAMPLE_RATE, compiled, inlined
from harness.haaqi.fast.single.decimation import decimate
from harness.haaqi.fast.single.functions import exp2, log2
from harness.haaqi.fast.single.vectors import (
    LANES,
    above,
    choose,
    larger,
    load,
    magnitude,
    narrow,
    read_rows,
    root,
    smaller,
    splat,
    store,
    widen,
    write_rows,
)

GROUPS = BANDS // LANES
TILE = 96
"""Samples that are filtered at a time."""

CENTER: F64 = eb.center_frequency(BANDS)
"""(BANDS,) in Hz."""

_PHASE = 2 * np.pi / SAMPLE_RATE * CENTER  # by which a carrier turns in a sample


def by_group(values: Any) -> Any:
    """(..., BANDS) as flat (GROUPS, ..., LANES)."""
    parts = np.asarray(values)
    return np.ascontiguousarray(np.moveaxis(parts.reshape(*parts.shape[:-1], GROUPS, LANES), -2, 0)).reshape(-1)


_ANGLES = _PHASE * np.arange(TILE)[:, None]
CARRIER: F64 = by_group(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1))
CARRIER_32 = CARRIER.astype(np.float32)
TURN: F64 = by_group(np.stack([np.cos(_PHASE * TILE), np.sin(_PHASE * TILE)]))

_POLES, _ZERO_AT = 3, 3  # of the sections in single precision; where their parameters have that of the zero
_ZERO, _ONE = np.float32(0), np.float32(1)
# A state that small has died away; it would become denormal, which is slow. Envelopes matter down to 1e-30.
_FAINT = 1e-30
_SMALLEST = np.float32(1e-37)
SCALE = np.float32(2.0**40)  # envelopes matter down to 1e-30; their squares do not fit single precision
_UNSCALE = np.float32(2.0**-40)


@dataclass(frozen=True)
class Filters:
    """The gammatone filters of all bands.

    Attributes:
        first: flat (GROUPS, 2, LANES): pole of the first section, and pole plus zero of it.
        others: flat (GROUPS, 4, LANES) float32: poles of the second, third and fourth section, and pole plus zero of
            the second.
        gain: (BANDS,) for the sections as they are, with their rounding.
    """

    first: F64
    others: F32
    gain: F64


def filters(bandwidth: F64) -> Filters:
    """Design the filters of all bands.

    Args:
        bandwidth: (BANDS,) relative to normal hearing, 1 or more.
    """
    erb = MIN_BANDWIDTH + CENTER / EAR_Q
    a = np.exp(-bandwidth * 2 * np.pi / SAMPLE_RATE * erb * 1.019)
    below = a.astype(np.float32)
    below = np.where(below > a, np.nextafter(below, _ZERO), below)
    above_it = np.nextafter(below, np.float32(2))
    # How many of the three have to be rounded up for their mean to be nearest to a.
    step = above_it.astype(np.float64) - below
    up = np.rint(_POLES * (a - below) / step)
    poles = np.where(up > np.arange(_POLES)[:, None], above_it, below)
    exact = poles.astype(np.float64)
    first = 4 * a - exact.sum(axis=0)
    with_zero = (exact[0] + 2 * a).astype(np.float32)
    at_rest = (1 - first) * (1 - exact).prod(axis=0)  # the poles' part of the inverse gain at frequency 0
    gain = 2 * at_rest / ((1 + 2 * a) * (1 + with_zero.astype(np.float64) - exact[0]))
    return Filters(by_group(np.stack([first, first + 2 * a])), by_group(np.vstack([poles, with_zero])), gain)


@inlined
def _first_section(x, carrier, place, pole, with_zero, re, im, out):  # type: ignore[no-untyped-def]
    """Multiply a tile by the carrier and pass it through the first section; returns the states."""
    for t in range(TILE):
        value = load(x, t * LANES)
        a = value * load(carrier, place + 2 * t * LANES)
        b = value * load(carrier, place + (2 * t + 1) * LANES)
        store(out, 2 * t * LANES, narrow(a + with_zero * re))
        store(out, (2 * t + 1) * LANES, narrow(b + with_zero * im))
        re = a + pole * re
        im = b + pole * im
    return re, im


@inlined
def _other_sections(io, p1, p2, p3, with_zero, r1, r2, r3, i1, i2, i3):  # type: ignore[no-untyped-def]
    """Pass a tile, real and imaginary parts in turn, through the other sections in place; returns the states."""
    for t in range(TILE):
        u = load(io, 2 * t * LANES)
        v = load(io, (2 * t + 1) * LANES)
        a = u + with_zero * r1
        b = v + with_zero * i1
        r1 = u + p1 * r1
        i1 = v + p1 * i1
        r2 = a + p2 * r2
        i2 = b + p2 * i2
        r3 = r2 + p3 * r3
        i3 = i2 + p3 * i3
        store(io, 2 * t * LANES, r3)
        store(io, (2 * t + 1) * LANES, i3)
    return r1, r2, r3, i1, i2, i3


@inlined
def _next_tile(re, im, cosine, sine, faint):  # type: ignore[no-untyped-def]
    """Turn a state to the carrier's phase at the next tile, and forget it if it has died away."""
    a, b = re * cosine + im * sine, im * cosine - re * sine
    alive = above(magnitude(a) + magnitude(b), faint)
    return choose(alive, a, a - a), choose(alive, b, b - b)


@compiled
def control(signal, size, carrier, turn, first, others, k, lowpass, gains, starts, total, group):  # type: ignore[no-untyped-def]
    """The control path of a group: gain of the compression, and the power that the bandwidth depends on.

    Args:
        signal: with zeros after it, as long as some tiles.
        size: samples of the signal.
        carrier, turn: of all groups.
        first, others: of `Filters`.
        k: (GROUPS, 4, LANES) of the gain: lower and upper limit of the logarithm of the power to base 2, slope of the
            gain's logarithm, and its value where the power is 1.
        lowpass: numerator and pole of the gain's smoothing.
        gains: rows of this group's bands, receive the gain; see `read_rows`.
        starts: (LANES,) where these begin.
        total: (GROUPS, LANES) float64, receives the sum of the power without the filters' gain.
        group: which one.
    """
    x = np.empty(TILE * LANES)
    band = np.empty(2 * TILE * LANES, np.float32)
    level = np.empty(TILE * LANES, np.float32)
    pole, with_zero = load(first, 2 * group * LANES), load(first, (2 * group + 1) * LANES)
    place = 4 * group * LANES
    p1, p2, p3 = load(others, place), load(others, place + LANES), load(others, place + 2 * LANES)
    zero = load(others, place + 3 * LANES)
    low, high = load(k, place), load(k, place + LANES)
    slope, intercept = load(k, place + 2 * LANES), load(k, place + 3 * LANES)
    cosine, sine = load(turn, 2 * group * LANES), load(turn, (2 * group + 1) * LANES)
    cosine_32, sine_32 = narrow(cosine), narrow(sine)
    faint = splat(_FAINT)
    faint_32 = narrow(faint)
    b0, a1 = splat(lowpass[0]), splat(lowpass[1])
    nothing = splat(_ZERO)
    re = im = splat(0.0)
    r1 = r2 = r3 = i1 = i2 = i3 = before = gain = nothing
    power = splat(0.0)
    for start in range(0, signal.size, TILE):
        for t in range(TILE):
            store(x, t * LANES, splat(signal[start + t]))
        re, im = _first_section(x, carrier, 2 * group * TILE * LANES, pole, with_zero, re, im, band)
        r1, r2, r3, i1, i2, i3 = _other_sections(band, p1, p2, p3, zero, r1, r2, r3, i1, i2, i3)
        re, im = _next_tile(re, im, cosine, sine, faint)
        r1, i1 = _next_tile(r1, i1, cosine_32, sine_32, faint_32)
        r2, i2 = _next_tile(r2, i2, cosine_32, sine_32, faint_32)
        r3, i3 = _next_tile(r3, i3, cosine_32, sine_32, faint_32)
        count = min(max(size - start, 0), TILE)
        even, odd = nothing, nothing
        for t in range(TILE):
            u, v = load(band, 2 * t * LANES), load(band, (2 * t + 1) * LANES)
            p = u * u + v * v
            if t < count:
                even, odd = odd, even + p
            octaves, rest = log2(larger(p, splat(_SMALLEST)))
            store(level, t * LANES, smaller(larger(octaves + rest, low), high))
        power = power + widen(even + odd)
        for t in range(TILE):
            value = exp2(slope * load(level, t * LANES) + intercept)
            gain = a1 * gain + b0 * (value + before)
            before = value
            store(level, t * LANES, gain)
        for t in range(0, TILE, LANES):
            write_rows(gains, starts, start + t, level, t * LANES)
    store(total, group * LANES, power)


@compiled
def analysis(  # type: ignore[no-untyped-def]
    rows, starts, late, size, length, carrier, carrier_32, turn, first, others, gain, gains, gain_starts, envelope,
    motion, begin, plan, taps, slow_envelope, slow_motion, total, energy, slow_energy, group,
):  # fmt: skip
    """Envelope and motion of a group after compression, and both decimated.

    Args:
        rows: the signal, with zeros before and after it.
        starts: (LANES,) where in it each band is at time 0 of the group.
        late: (BANDS,) int32, see *Group time* above.
        size: samples of the signal.
        length: of the result, a multiple of the tiles.
        carrier, turn, first, others, group: as in `control`, the filters being those of adjusted bandwidth.
        carrier_32: the same in single precision.
        gain: (GROUPS, LANES) of the filters.
        gains: from `control`, with numbers before and after it that are finite.
        gain_starts: (LANES,) where in it each band is at time 0 of the group.
        envelope, motion: receive the result; time 0 of the group is at index `begin`.
        plan: (2, 4) for envelope and motion: decimation, number of taps, where in `taps` these begin, and where in the
            decimated array time 0 is.
        slow_envelope, slow_motion: receive the decimated signals of this group.
        total: (GROUPS, LANES) float64, receives the sum of the squared envelope before compression, times 2^80.
        energy, slow_energy: (2, GROUPS, LANES) float64, receive those of the results.
    """
    x = np.empty(TILE * LANES)
    band = np.empty(2 * TILE * LANES, np.float32)
    pole, with_zero = load(first, 2 * group * LANES), load(first, (2 * group + 1) * LANES)
    place = 4 * group * LANES
    p1, p2, p3 = load(others, place), load(others, place + LANES), load(others, place + 2 * LANES)
    zero = load(others, place + 3 * LANES)
    cosine, sine = load(turn, 2 * group * LANES), load(turn, (2 * group + 1) * LANES)
    cosine_32, sine_32 = narrow(cosine), narrow(sine)
    faint = splat(_FAINT)
    faint_32 = narrow(faint)
    delay = load(late, group * LANES)
    nothing = splat(_ZERO)
    own = load(gain, group * LANES)
    scaled, unscale = own * splat(SCALE), splat(_UNSCALE)
    re = im = splat(0.0)
    r1 = r2 = r3 = i1 = i2 = i3 = nothing
    compression = np.empty(TILE * LANES, np.float32)
    power = e_total = m_total = e_slow = m_slow = splat(0.0)
    for start in range(0, length, TILE):
        for t in range(0, TILE, LANES):
            read_rows(rows, starts, start + t, x, t * LANES)
            read_rows(gains, gain_starts, start + t, compression, t * LANES)
        re, im = _first_section(x, carrier, 2 * group * TILE * LANES, pole, with_zero, re, im, band)
        r1, r2, r3, i1, i2, i3 = _other_sections(band, p1, p2, p3, zero, r1, r2, r3, i1, i2, i3)
        re, im = _next_tile(re, im, cosine, sine, faint)
        r1, i1 = _next_tile(r1, i1, cosine_32, sine_32, faint_32)
        r2, i2 = _next_tile(r2, i2, cosine_32, sine_32, faint_32)
        r3, i3 = _next_tile(r3, i3, cosine_32, sine_32, faint_32)
        if start + TILE > size:  # the bands end here, one after the other
            for t in range(TILE):
                alive = above(splat(np.int32(size)), splat(np.int32(start + t)) - delay)
                store(band, 2 * t * LANES, choose(alive, load(band, 2 * t * LANES), nothing))
                store(band, (2 * t + 1) * LANES, choose(alive, load(band, (2 * t + 1) * LANES), nothing))
        p_sum = e_sum = m_sum = nothing
        here = 2 * group * TILE * LANES
        for t in range(TILE):
            u, v = load(band, 2 * t * LANES), load(band, (2 * t + 1) * LANES)
            g = load(compression, t * LANES)
            us, vs = u * scaled, v * scaled
            p = us * us + vs * vs
            m = g * own * (
                u * load(carrier_32, here + 2 * t * LANES) + v * load(carrier_32, here + (2 * t + 1) * LANES)
            )
            e = g * unscale * root(p)
            p_sum, e_sum, m_sum = p_sum + p, e_sum + e * e, m_sum + m * m
            store(envelope, begin + (start + t) * LANES, e)
            store(motion, begin + (start + t) * LANES, m)
        power, e_total, m_total = power + widen(p_sum), e_total + widen(e_sum), m_total + widen(m_sum)
        if plan[0, 0] > 1:
            e_slow = e_slow + widen(decimate(envelope, begin, start, plan[0], taps, slow_envelope))
        if plan[1, 0] > 1:
            m_slow = m_slow + widen(decimate(motion, begin, start, plan[1], taps, slow_motion))
    store(total, group * LANES, power)
    store(energy, group * LANES, e_total)
    store(energy, (GROUPS + group) * LANES, m_total)
    store(slow_energy, group * LANES, e_slow)
    store(slow_energy, (GROUPS + group) * LANES, m_slow)
