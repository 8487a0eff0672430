"""Alignment of the two signals as a whole, for signals of any delay.

Computes what `fast.input_align` does, with most of the work in single precision: the correlation of both signals for
all delays, by one long Fourier transform there and one back. The delays that come close to the largest correlation are
then decided by sums in double precision, as a rule one to three of them.

The transform of M = LANES * K samples is made of `LANES` transforms of K samples side by side, each of every LANES-th
sample, and of K transforms across the lanes (Cooley & Tukey 1965):

    X(k2 + K k1) = sum over l of  W(LANES, l k1)  W(M, l k2)  X_l(k2),      W(N, j) = exp(-2 pi i j / N)

Reference x and processed signal y are the real and the imaginary part of one signal, so their spectra are found from
those of z at k and M - k. The transform back of a real result's spectrum is the transform there of its conjugate.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.input_align import DISPERSION, Samples, kept
from harness.haaqi.fast.memory import PASSING, aligned_copy
from harness.haaqi.fast.numerics import F32, F64, compiled, inlined, inner
from harness.haaqi.fast.single.memory import scratch
from harness.haaqi.fast.single.transform import factors, positions, transform
from harness.haaqi.fast.single.vectors import (
    LANES,
    above,
    choose,
    larger,
    load,
    magnitude,
    read_rows,
    some,
    splat,
    store,
)

_ROUNDING = 3e-6  # of the transforms, relative to the largest correlation possible
_MOST = 64  # delays that are decided one by one; more, and double precision is faster
_ZERO, _HALF = np.float32(0), np.float32(0.5)


@dataclass(frozen=True)
class Plan:
    """Tables for signals of some length.

    Attributes:
        length: K.
        twiddles: W(M, l k2), flat (K, 2, LANES).
        factors, places, lane_places: of the transforms of K samples and across the lanes.
        starts: (LANES,), where the rows of a square of LANES vectors begin.
    """

    length: int
    twiddles: F32
    factors: F32
    places: NDArray[np.int64]
    lane_places: NDArray[np.int64]
    starts: NDArray[np.int64]


def plan(samples: int) -> Plan:
    """Tables for two signals of so many samples, whose correlation is as long as both together."""
    length = 16
    while length * LANES < 2 * samples:
        length *= 2
    return _plan(length)


@lru_cache(maxsize=2)
def _plan(length: int) -> Plan:
    angles = -2 * np.pi / (length * LANES) * np.outer(np.arange(length), np.arange(LANES))
    twiddles = aligned_copy(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1))
    return Plan(
        length, twiddles, factors(length), positions(length), positions(LANES), LANES * np.arange(LANES, dtype=np.int64)
    )


@inlined
def _across(square, columns, line, starts, table):  # type: ignore[no-untyped-def]
    """Transform LANES complex vectors, whose lanes are the samples, across their lanes.

    Args:
        square: flat (2, LANES, LANES): real parts of the vectors, then imaginary parts.
        columns: flat (LANES, LANES), scratch.
        line: flat (LANES, 2, LANES), receives the frequencies, as `transform` leaves them; the lanes are the vectors.
        starts, table: of `Plan`.
    """
    for part in range(2):
        read_rows(square, starts, part * LANES * LANES, columns, 0)
        for lane in range(LANES):
            store(line, (2 * lane + part) * LANES, load(columns, lane * LANES))
    transform(line, LANES, table)


@inlined
def _product(a, b, c, d):  # type: ignore[no-untyped-def]
    """conj(X) Y where z has a + ib at k and c + id at M - k."""
    return (a * d + b * c) * splat(_HALF), (c * c + d * d - a * a - b * b) * splat(np.float32(0.25))


@compiled
def _correlate(z, w, length, twiddles, table, places, lane_places, starts):  # type: ignore[no-untyped-def]
    """Correlate the real and the imaginary part of z for all delays.

    Args:
        z: flat (length, 2, LANES): sample LANES n + l of both signals is in lane l of vector n.
        w: as long; receives the correlation at delay LANES d + l in lane l of vector places[d], its real part.
        length, twiddles, table, places, lane_places, starts: of `Plan`.
    """
    here, there = scratch(2 * LANES, np.float32), scratch(2 * LANES, np.float32)
    columns, a_line, b_line = scratch(LANES, np.float32), scratch(2 * LANES, np.float32), scratch(2 * LANES, np.float32)
    transform(z, length, table)
    first_lane = np.zeros(LANES, np.int32)
    first_lane[0] = -1
    of_zero = load(first_lane, 0)
    # The frequencies k2 .. k2 + LANES - 1 and, in the same lanes, their mirror images.
    for k2 in range(0, length // 2 + 1, LANES):
        for j in range(LANES):
            for square, k in ((here, (k2 + j) % length), (there, (length - k2 - j) % length)):
                place, twiddle = 2 * places[k] * LANES, 2 * k * LANES
                re, im = load(z, place), load(z, place + LANES)
                cosine, sine = load(twiddles, twiddle), load(twiddles, twiddle + LANES)
                store(square, j * LANES, re * cosine - im * sine)
                store(square, (LANES + j) * LANES, re * sine + im * cosine)
        _across(here, columns, a_line, starts, table)
        _across(there, columns, b_line, starts, table)
        for k1 in range(LANES):
            at, mirror = 2 * lane_places[k1] * LANES, 2 * lane_places[LANES - 1 - k1] * LANES
            a, b = load(a_line, at), load(a_line, at + LANES)
            c, d = load(b_line, mirror), load(b_line, mirror + LANES)
            if k2 == 0:  # k2 = 0 is its own mirror image, with another k1
                own = 2 * lane_places[(LANES - k1) % LANES] * LANES
                c = choose(of_zero, load(a_line, own), c)
                d = choose(of_zero, load(a_line, own + LANES), d)
            re, im = _product(a, b, c, d)
            # Conjugated, for the way back: the lanes are still k2; in the order in which `_across` wants them.
            store(here, k1 * LANES, re)
            store(here, (LANES + k1) * LANES, splat(_ZERO) - im)
        for k1 in range(LANES):
            store(a_line, 2 * k1 * LANES, load(here, k1 * LANES))
            store(a_line, (2 * k1 + 1) * LANES, load(here, (LANES + k1) * LANES))
        transform(a_line, LANES, table)
        for part in range(2):
            for lane in range(LANES):
                store(columns, lane * LANES, load(a_line, (2 * lane_places[lane] + part) * LANES))
            read_rows(columns, starts, 0, here, part * LANES * LANES)
        for j in range(LANES):
            k = (k2 + j) % length
            mirror = (length - k) % length
            re, im = load(here, j * LANES), load(here, (LANES + j) * LANES)
            cosine, sine = load(twiddles, 2 * k * LANES), load(twiddles, (2 * k + 1) * LANES)
            re, im = re * cosine - im * sine, re * sine + im * cosine
            store(w, 2 * k * LANES, re)
            store(w, (2 * k + 1) * LANES, im)
            # Each lane's result is real, so its spectrum is its own mirror image.
            store(w, 2 * mirror * LANES, re)
            store(w, (2 * mirror + 1) * LANES, splat(_ZERO) - im)
    transform(w, length, table)


@compiled
def _candidates(w, length, places, samples, near, out):  # type: ignore[no-untyped-def]
    """Delays whose correlation comes as close as `near` to the largest in absolute value; returns how many.

    Args:
        w, length, places: of `_correlate`.
        samples: of the signals.
        near: as the correlation, which is length * LANES times too large.
        out: receives the delays, as far as there is room.
    """
    largest_of = splat(_ZERO)
    for vector in range(length):
        largest_of = larger(magnitude(load(w, 2 * vector * LANES)), largest_of)
    values = scratch(1, np.float32)
    store(values, 0, largest_of)
    limit = values.max() - near
    count = 0
    for vector in range(length):
        place = 2 * places[vector] * LANES
        if not some(above(magnitude(load(w, place)), splat(limit))):
            continue
        for lane in range(LANES):
            delay = vector * LANES + lane
            if 2 * delay > length * LANES:
                delay -= length * LANES
            if abs(w[place + lane]) >= limit and abs(delay) < samples:
                if count < out.size:
                    out[count] = delay
                count += 1
    return count


@dataclass(frozen=True)
class Bulk:
    """What of the alignment depends on the reference alone.

    Attributes:
        start, stop: the part of the signals that is kept.
        centred: the reference without its mean, (samples,).
        norm: root of the sum of its squares.
    """

    start: int
    stop: int
    centred: F64
    norm: float


def analyse(reference: Samples) -> Bulk:
    """Prepare a reference. Raises IndexError if it is silent, as the reference implementation does."""
    start, stop = kept(reference)
    centred = np.asarray(reference - np.mean(reference), np.float64)
    return Bulk(start, stop, centred, math.sqrt(inner(centred, centred)))


def delay_of(bulk: Bulk, processed: Samples) -> int | None:
    """Samples by which the processed signal is late: where the correlation's magnitude is largest, less the dispersion.

    None if there are too many delays to choose from.
    """
    samples = len(bulk.centred)
    centred = np.asarray(processed - np.mean(processed), np.float64)
    norm = math.sqrt(inner(centred, centred))
    if not (bulk.norm > 0 and norm > 0):
        return None
    tables = plan(samples)
    z, w = (PASSING.array(f"whole signal {part}", 2 * tables.length * LANES) for part in range(2))
    for part, signal, scale in ((0, bulk.centred, bulk.norm), (1, centred, norm)):
        into = z.reshape(-1, 2, LANES)[:, part]
        whole = samples // LANES
        np.multiply(signal[: whole * LANES].reshape(-1, LANES), 1 / scale, out=into[:whole], casting="same_kind")
        into[whole:] = 0
        into[whole, : samples - whole * LANES] = signal[whole * LANES :] / scale
    _correlate(z, w, tables.length, tables.twiddles, tables.factors, tables.places, tables.lane_places, tables.starts)
    found = np.empty(_MOST, np.int64)
    near = np.float32(2 * _ROUNDING * tables.length * LANES)
    count = _candidates(w, tables.length, tables.places, samples, near, found)
    if count > _MOST:
        return None
    candidates = np.sort(found[:count])[::-1]
    values = [abs(_correlation(bulk.centred, centred, int(delay))) for delay in candidates]
    return int(candidates[int(np.argmax(values))]) - DISPERSION


def _correlation(x: F64, y: F64, delay: int) -> float:
    """Sum over t of x(t) y(t + delay)."""
    size = len(x)
    return inner(x[: size - delay], y[delay:]) if delay >= 0 else inner(x[-delay:], y[: size + delay])
