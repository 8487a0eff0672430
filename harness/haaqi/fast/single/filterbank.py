"""Gammatone filters, their control path, and the compression of the outer hair cells, in single precision.

Computes what `double.filterbank` does, with other arithmetic. The four equal poles of a band (Cooke 1993) are four
sections of one pole each, one after the other, of which the first two have the filter's double zero at -2a (a: the
pole) as well:

    s(t) = s(t-1) + (x(t) - e s(t-1)),   e = 1 - a              the state of each section, the output of the last two
    y(t) = x(t) + c s(t-1),              c = 3a                 the output of the first two

Single precision is enough for what passes through, but not for the poles: the low bands have a gain of (1 - a)^4, and
a has few of the digits of 1 - a. That is why the sections multiply by e.

A tile's carrier comes from a table; at the end of a tile the states turn by the phase of that many samples.

**Group time.** A band's output is late by the filter's group delay, and HAAQI delays all bands to the latest one
(`group_delay_compensate`). Here each band gets its input that much later instead, so that whatever follows reads all
bands at the same time. At time u the band b is at t = u - late[b] of the signal.

Arrays of bands are flat: (group, time, lane) with `GROUPS` groups of `LANES` bands.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.haaqi.fast.double.filterbank import CENTER, EAR_Q, MIN_BANDWIDTH
from harness.haaqi.fast.memory import aligned_copy
from harness.haaqi.fast.numerics import BANDS, F32, F64, SAMPLE_RATE, compiled, inlined
from harness.haaqi.fast.single.decimation import decimate
from harness.haaqi.fast.single.functions import exp2, log2
from harness.haaqi.fast.single.memory import scratch
from harness.haaqi.fast.single.vectors import (
    LANES,
    above,
    choose,
    larger,
    load,
    magnitude,
    narrow,
    prefetch,
    read_rows,
    root,
    smaller,
    splat,
    store,
    widen,
    write_rows,
)

GROUPS = BANDS // LANES
EXACT_BANDS = 16
"""The lowest bands: so many have their first section in double precision."""

AHEAD = 192
TILE = 96
"""Samples that are filtered at a time."""

_PHASE = 2 * np.pi / SAMPLE_RATE * CENTER  # by which a carrier turns in a sample


def by_group(values: Any) -> Any:
    """(..., BANDS) as flat (GROUPS, ..., LANES)."""
    parts = np.asarray(values)
    return aligned_copy(np.moveaxis(parts.reshape(*parts.shape[:-1], GROUPS, LANES), -2, 0).reshape(-1))


_ANGLES = _PHASE * np.arange(TILE)[:, None]
CARRIER_64: F64 = by_group(np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1))
CARRIER: F32 = aligned_copy(CARRIER_64.astype(np.float32))
TURN: F64 = by_group(np.stack([np.cos(_PHASE * TILE), np.sin(_PHASE * TILE)]))

_ZERO = np.float32(0)
# A state that small has died away; it would become denormal, which is slow. Envelopes matter down to 1e-30.
_FAINT = np.float32(1e-30)
_SMALLEST = np.float32(1e-37)
SCALE = np.float32(2.0**40)  # envelopes matter down to 1e-30; their squares do not fit single precision
_UNSCALE = np.float32(2.0**-40)


@dataclass(frozen=True)
class Filters:
    """The gammatone filters of all bands.

    Attributes:
        coefficients: flat (GROUPS, 2, LANES): e and c above.
        gain: (BANDS,) for the coefficients as they are, with their rounding.
    """

    coefficients: F32
    gain: F64


def filters(bandwidth: F64) -> Filters:
    """Design the filters of all bands.

    Args:
        bandwidth: (BANDS,) relative to normal hearing, 1 or more.
    """
    erb = MIN_BANDWIDTH + CENTER / EAR_Q
    exponent = -bandwidth * 2 * np.pi / SAMPLE_RATE * erb * 1.019
    distance = (-np.expm1(exponent)).astype(np.float32)
    with_zero = (3 * np.exp(exponent)).astype(np.float32)
    e, c = distance.astype(np.float64), with_zero.astype(np.float64)
    gain = 2 * e**2 / (1 + c / e) ** 2
    return Filters(by_group(np.stack([distance, with_zero])), gain)


@inlined
def _first_section(x, carrier, place, e, c, re, im, out):  # type: ignore[no-untyped-def]
    """Multiply a tile by the carrier and pass it through the first section, in double precision; returns its state.

    Args:
        x: flat (TILE, LANES).
        carrier: of all groups; this group's begins at `place`.
        e, c: of `Filters`.
        re, im: the state.
        out: flat (TILE, 2, LANES) float32, receives real and imaginary part.
    """
    for t in range(TILE):
        value = load(x, t * LANES)
        a = value * load(carrier, place + 2 * t * LANES)
        b = value * load(carrier, place + (2 * t + 1) * LANES)
        store(out, 2 * t * LANES, narrow(a + c * re))
        store(out, (2 * t + 1) * LANES, narrow(b + c * im))
        re, im = re + (a - e * re), im + (b - e * im)
    return re, im


@inlined
def _others(p, q, e, c, states):  # type: ignore[no-untyped-def]
    """Real and imaginary part of a sample through the second to fourth section; returns the states."""
    r1, r2, r3, i1, i2, i3 = states
    a, b = p + c * r1, q + c * i1
    r1, i1 = r1 + (p - e * r1), i1 + (q - e * i1)
    r2, i2 = r2 + (a - e * r2), i2 + (b - e * i2)
    r3, i3 = r3 + (r2 - e * r3), i3 + (i2 - e * i3)
    return r1, r2, r3, i1, i2, i3


@inlined
def _other_sections(io, e, c, states):  # type: ignore[no-untyped-def]
    """Pass a tile, flat (TILE, 2, LANES), through the other sections in place; returns their states."""
    for t in range(TILE):
        p, q = load(io, 2 * t * LANES), load(io, (2 * t + 1) * LANES)
        states = _others(p, q, e, c, states)
        store(io, 2 * t * LANES, states[2])
        store(io, (2 * t + 1) * LANES, states[5])
    return states


@inlined
def _all_sections(x, carrier, place, e, c, re, im, states, out):  # type: ignore[no-untyped-def]
    """Both, all in single precision; returns the state of the first section and those of the others."""
    for t in range(TILE):
        value = load(x, t * LANES)
        a = value * load(carrier, place + 2 * t * LANES)
        b = value * load(carrier, place + (2 * t + 1) * LANES)
        states = _others(a + c * re, b + c * im, e, c, states)
        re, im = re + (a - e * re), im + (b - e * im)
        store(out, 2 * t * LANES, states[2])
        store(out, (2 * t + 1) * LANES, states[5])
    return re, im, states


@inlined
def _turned(re, im, cosine, sine):  # type: ignore[no-untyped-def]
    """A state at the carrier's phase at the next tile, or none if it has died away."""
    a, b = re * cosine + im * sine, im * cosine - re * sine
    alive = above(narrow(magnitude(a) + magnitude(b)), splat(_FAINT))
    return choose(alive, a, a - a), choose(alive, b, b - b)


@inlined
def _next_tile(states, cosine, sine):  # type: ignore[no-untyped-def]
    """The states at the carrier's phase at the next tile."""
    r1, r2, r3, i1, i2, i3 = states
    r1, i1 = _turned(r1, i1, cosine, sine)
    r2, i2 = _turned(r2, i2, cosine, sine)
    r3, i3 = _turned(r3, i3, cosine, sine)
    return r1, r2, r3, i1, i2, i3


GAIN_CONSTANTS = 4


def gain_constants(low: F64, high: F64, slope: F64) -> F32:
    """How the gain of the compression depends on the power: flat (GROUPS, GAIN_CONSTANTS, LANES).

    In the order whole part and rest of `low`, `high` less `low`, slope: of large numbers only whole ones are subtracted
    in single precision.

    Args:
        low, high: (BANDS,), limits of the power's logarithm to base 2, between which the gain depends on it.
        slope: (BANDS,), of the gain's logarithm.
    """
    whole = np.rint(low)
    constants: F32 = by_group(np.stack([whole, low - whole, high - low, slope]).astype(np.float32))
    return constants


@compiled
def control(signal, size, carrier, turn, coefficients, k, lowpass, gains, starts, total, group):  # type: ignore[no-untyped-def]
    """The control path of a group: gain of the compression, and the power that the bandwidth depends on.

    The gain is relative to that at and below the lower limit.

    Args:
        signal: with zeros after it, as long as some tiles.
        size: samples of the signal.
        carrier, turn: of all groups.
        coefficients: of `Filters`.
        k: of `gain_constants`.
        lowpass: numerator and pole of the gain's smoothing.
        gains: rows of this group's bands, receive the gain; see `read_rows`.
        starts: (LANES,) where these begin.
        total: (GROUPS, LANES) float64, receives the sum of the power without the filters' gain.
        group: which one.
    """
    x, band, level = scratch(TILE, np.float32), scratch(2 * TILE, np.float32), scratch(TILE, np.float32)
    e, c = load(coefficients, 2 * group * LANES), load(coefficients, (2 * group + 1) * LANES)
    place = GAIN_CONSTANTS * group * LANES
    low_whole, low_rest = load(k, place), load(k, place + LANES)
    span, slope = load(k, place + 2 * LANES), load(k, place + 3 * LANES)
    cosine, sine = narrow(load(turn, 2 * group * LANES)), narrow(load(turn, (2 * group + 1) * LANES))
    b0, a1 = splat(lowpass[0]), splat(lowpass[1])
    nothing = splat(_ZERO)
    states = (nothing, nothing, nothing, nothing, nothing, nothing)
    re = im = nothing
    here = 2 * group * TILE * LANES
    before = gain = nothing
    power = splat(0.0)
    for start in range(0, signal.size, TILE):
        for t in range(TILE):
            store(x, t * LANES, splat(signal[start + t]))
        re, im, states = _all_sections(x, carrier, here, e, c, re, im, states, band)
        re, im = _turned(re, im, cosine, sine)
        states = _next_tile(states, cosine, sine)
        count = min(max(size - start, 0), TILE)
        even, odd = nothing, nothing
        for t in range(TILE):
            u, v = load(band, 2 * t * LANES), load(band, (2 * t + 1) * LANES)
            p = u * u + v * v
            if t < count:
                even, odd = odd, even + p
            octaves, rest = log2(larger(p, splat(_SMALLEST)))
            store(level, t * LANES, smaller(larger((octaves - low_whole) + (rest - low_rest), nothing), span))
        power = power + widen(even + odd)
        for t in range(TILE):
            value = exp2(slope * load(level, t * LANES))
            gain = a1 * gain + b0 * (value + before)
            before = value
            store(level, t * LANES, gain)
        for t in range(0, TILE, LANES):
            write_rows(gains, starts, start + t, level, t * LANES)
    store(total, group * LANES, power)


@compiled
def analysis(  # type: ignore[no-untyped-def]
    rows, rows_64, starts, late, size, length, carrier, carrier_64, turn, coefficients, gain, least, gains,
    gain_starts, envelope, motion, begin, plan, taps, slow_envelope, slow_motion, total, energy, slow_energy, group,
):  # fmt: skip
    """Envelope and motion of a group after compression, and both decimated.

    Args:
        rows: the signal, with zeros before and after it.
        starts: (LANES,) where in it each band is at time 0 of the group.
        late: (BANDS,) int32, see *Group time* above.
        size: samples of the signal.
        length: of the result, a multiple of the tiles.
        carrier, turn, coefficients, group: as in `control`, the filters being those of adjusted bandwidth.
        gain: (GROUPS, LANES) float32 of the filters.
        least: (2, GROUPS, LANES) float32, gain of the compression at and below the lower limit, and of both.
        gains: from `control`, with numbers before and after it that are finite.
        gain_starts: (LANES,) where in it each band is at time 0 of the group.
        envelope, motion: receive the result; time 0 of the group is at index `begin`.
        plan: (2, 4) for envelope and motion: decimation, number of taps, where in `taps` these begin, and where in the
            decimated array time 0 is.
        slow_envelope, slow_motion: receive the decimated signals of this group.
        total: (GROUPS, LANES) float64, receives the sum of the squared envelope before compression, times 2^80.
        energy, slow_energy: (2, GROUPS, LANES) float64, receive those of the results.
    """
    x, x_64 = scratch(TILE, np.float32), scratch(TILE, np.float64)
    band, compression = scratch(2 * TILE, np.float32), scratch(TILE, np.float32)
    e, c = load(coefficients, 2 * group * LANES), load(coefficients, (2 * group + 1) * LANES)
    cosine_64, sine_64 = load(turn, 2 * group * LANES), load(turn, (2 * group + 1) * LANES)
    cosine, sine = narrow(cosine_64), narrow(sine_64)
    delay = load(late, group * LANES)
    nothing = splat(_ZERO)
    scaled = load(gain, group * LANES) * splat(SCALE)
    wave_gain = load(least, group * LANES) * splat(_UNSCALE)
    motion_gain = load(least, (GROUPS + group) * LANES)
    states = (nothing, nothing, nothing, nothing, nothing, nothing)
    re = im = nothing
    re_64 = im_64 = splat(0.0)
    here = 2 * group * TILE * LANES
    exact = group * LANES < EXACT_BANDS
    power = e_total = m_total = e_slow = m_slow = splat(0.0)
    for start in range(0, length, TILE):
        for t in range(0, TILE, LANES):
            read_rows(gains, gain_starts, start + t, compression, t * LANES)
        if exact:
            for t in range(0, TILE, LANES):
                read_rows(rows_64, starts, start + t, x_64, t * LANES)
            re_64, im_64 = _first_section(x_64, carrier_64, here, widen(e), widen(c), re_64, im_64, band)
            re_64, im_64 = _turned(re_64, im_64, cosine_64, sine_64)
            states = _other_sections(band, e, c, states)
        else:
            for t in range(0, TILE, LANES):
                read_rows(rows, starts, start + t, x, t * LANES)
            re, im, states = _all_sections(x, carrier, here, e, c, re, im, states, band)
            re, im = _turned(re, im, cosine, sine)
        states = _next_tile(states, cosine, sine)
        if start + TILE > size:  # the bands end here, one after the other
            for t in range(TILE):
                alive = above(splat(np.int32(size)), splat(np.int32(start + t)) - delay)
                store(band, 2 * t * LANES, choose(alive, load(band, 2 * t * LANES), nothing))
                store(band, (2 * t + 1) * LANES, choose(alive, load(band, (2 * t + 1) * LANES), nothing))
        p_sum = e_sum = m_sum = nothing
        for t in range(TILE):
            u, v = load(band, 2 * t * LANES), load(band, (2 * t + 1) * LANES)
            later = start + AHEAD + t
            prefetch(envelope, begin + later * LANES)
            prefetch(motion, begin + later * LANES)
            prefetch(gains, gain_starts[t % LANES] + later // LANES * LANES)
            g = load(compression, t * LANES)
            us, vs = u * scaled, v * scaled
            p = us * us + vs * vs
            m = (
                g
                * motion_gain
                * (u * load(carrier, here + 2 * t * LANES) + v * load(carrier, here + (2 * t + 1) * LANES))
            )
            wave = g * wave_gain * root(p)
            p_sum, e_sum, m_sum = p_sum + p, e_sum + wave * wave, m_sum + m * m
            store(envelope, begin + (start + t) * LANES, wave)
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
