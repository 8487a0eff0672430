"""Alignment of the processed signal to the reference, band by band, for envelopes and for basilar membrane motion.

Computes what `double.envelope_align` does and rules out delays by the same bound; see there. Here all bands of a group
are transformed side by side, reference and processed signal as the real and the imaginary part of one complex signal.
Of the highest bands the decimation filters would take away too much, so these are not decimated.

The delays that are left are decided by the correlation of the signals themselves, summed in single precision over short
blocks and in double precision over these, or, where it is close, in double precision altogether. Where the second best
delay comes closer to the best one than the signals' own rounding can tell (`Result.certain`), an ear is left to the
engine in double precision.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.double.envelope_align import BLOCK, MAX_LAG, ROUNDING, SAFETY, Blocks
from harness.haaqi.fast.memory import PASSING
from harness.haaqi.fast.numerics import F32, F64, compiled, inlined, inner
from harness.haaqi.fast.single.decimation import low_pass
from harness.haaqi.fast.single.filterbank import GROUPS
from harness.haaqi.fast.single.memory import scratch
from harness.haaqi.fast.single.transform import factors, frequencies, positions, transform, transform_of_two
from harness.haaqi.fast.single.vectors import LANES, larger, load, reaches, some, splat, store, widen

EDGE = MAX_LAG + 16
"""Zeros, in samples, on either side of a signal whose correlation is computed."""

STEPS: tuple[tuple[int, ...], ...] = {8: ((8, 8, 8, 1), (8, 4, 2, 1)), 16: ((8, 1), (4, 1))}[LANES]
"""Decimation of each group's envelopes, and of its motions."""

_CLOSE = 3e-7  # differences of sums in single precision that do not decide, of the largest correlation possible
_SUMMED = 12  # products that are summed in single precision: more, and their rounding decides close calls
_RUN = 6  # delays at a time
_ZERO = np.float32(0)


@dataclass(frozen=True)
class Rate(Blocks):
    """How the bands of a group are decimated."""

    step: int


@lru_cache(maxsize=1)
def taps() -> tuple[F32, dict[int, tuple[int, int]]]:
    """Taps of the filters for all decimations, one after the other, and for each where they begin and how many."""
    steps = sorted({step for kind in STEPS for step in kind if step > 1})
    parts = [low_pass(step) for step in steps]
    begins = np.cumsum([0, *map(len, parts)]).tolist()
    places = {step: (begin, len(part)) for step, begin, part in zip(steps, begins[:-1], parts, strict=True)}
    return np.concatenate(parts), places


@dataclass(frozen=True)
class Vibration:
    """Envelope and basilar membrane motion of a signal after compression, in group time (`filterbank`).

    Attributes:
        samples: of the signal.
        length: from time 0 on; a multiple of the tiles.
        waves: envelopes and motions, for each group flat (EDGE + length + EDGE, LANES), zeros at the edges.
        slow: both decimated, for each group flat (rows, LANES); see `Rate.rows`. Of what is not decimated, as many
            samples as the blocks reach, with `Rate.margin` before time 0.
        energy, slow_energy: (2, GROUPS, LANES), sums over time of the squares of both.
    """

    samples: int
    length: int
    waves: tuple[tuple[F32, ...], tuple[F32, ...]]
    slow: tuple[tuple[F32, ...], tuple[F32, ...]]
    energy: F64
    slow_energy: F64


@compiled
def _cross_spectrum(x, y, block, margin, blocks, scale, table, mirrors, z, spectrum):  # type: ignore[no-untyped-def]
    """Sum over blocks of conj(X) Y.

    Args:
        x, y: the signals with `margin` samples before time 0.
        scale: (LANES,), what y is multiplied by.
        table: of the transform.
        mirrors: (block,), where the transform leaves the frequency -k of the one that it leaves here.
        z: flat (2 block, LANES), scratch.
        spectrum: flat (2, block, LANES), receives twice the real part and four times the imaginary part, in turn and
            in the order of the transform. The last quarter of them, which mirrors the second, is left out.
    """
    hop = block - 2 * margin
    factor = load(scale, 0)
    count = block // 4 * 3
    for part in range(2 * count):
        store(spectrum, part * LANES, splat(_ZERO))
    for number in range(blocks):
        first = number * hop * LANES
        transform_of_two(x, first + margin * LANES, hop, y, first, factor, z, block, table)
        for place in range(count):
            here, there = 2 * place * LANES, 2 * mirrors[place] * LANES
            a, b = load(z, here), load(z, here + LANES)
            c, d = load(z, there), load(z, there + LANES)
            store(spectrum, here, load(spectrum, here) + (a * d + b * c))
            store(spectrum, here + LANES, load(spectrum, here + LANES) + (c * c + d * d - a * a - b * b))


@inlined
def _add_spectrum(spectrum, block, order, scale, turned, z):  # type: ignore[no-untyped-def]
    """Add a real signal's spectrum to z, which will be transformed back; if turned, as the imaginary part of it.

    A transform of the frequencies in reverse order is the transform back.
    """
    half, quarter = block // 2, block // 4
    for place in range(3 * quarter):
        k = order[place]
        both = k == half and block < BLOCK  # it is its own mirror image no longer
        weight = scale * np.float32(0.5) if both else scale
        r = load(spectrum, 2 * place * LANES) * splat(np.float32(0.5) * weight)
        i = load(spectrum, (2 * place + 1) * LANES) * splat(np.float32(0.25) * weight)
        if k <= half:
            _add(z, (BLOCK - k) % BLOCK, r, i, turned)
        if k > half or both:
            _add(z, block - k, r, i, turned)
        if quarter <= place < 2 * quarter:  # what was left out, conjugated
            minus = splat(_ZERO) - i
            if k <= half:
                _add(z, k, r, minus, turned)
            else:
                _add(z, BLOCK - block + k, r, minus, turned)


@inlined
def _add(z, place, r, i, turned):  # type: ignore[no-untyped-def]
    """Add r + i i to z, multiplied by i if turned."""
    at = 2 * place * LANES
    if turned:
        store(z, at, load(z, at) - i)
        store(z, at + LANES, load(z, at + LANES) + r)
    else:
        store(z, at, load(z, at) + r)
        store(z, at + LANES, load(z, at + LANES) + i)


@compiled
def _correlations(first, second, blocks, margins, first_order, second_order, table, places, z, out):  # type: ignore[no-untyped-def]
    """Correlations for all delays from two cross-spectra: flat (2, 2 MAX_LAG, LANES).

    Args:
        first, second: spectra from `_cross_spectrum`.
        blocks, margins: (2,), of both.
        first_order, second_order: `frequencies` of their blocks.
        table, places: of the transform of `BLOCK` samples.
        z: flat (2 BLOCK, LANES), scratch.
    """
    for part in range(2 * BLOCK):
        store(z, part * LANES, splat(_ZERO))
    scales = (np.float32(BLOCK) / np.float32(blocks[0]) ** 2, np.float32(BLOCK) / np.float32(blocks[1]) ** 2)
    _add_spectrum(first, blocks[0], first_order, scales[0], False, z)
    _add_spectrum(second, blocks[1], second_order, scales[1], True, z)
    transform(z, BLOCK, table)
    for delay in range(2 * MAX_LAG):
        begin = delay - MAX_LAG
        one = places[(margins[0] * (BLOCK // blocks[0]) + begin) % BLOCK]
        other = places[(margins[1] * (BLOCK // blocks[1]) + begin) % BLOCK]
        store(out, delay * LANES, load(z, 2 * one * LANES))
        store(out, (2 * MAX_LAG + delay) * LANES, load(z, (2 * other + 1) * LANES))


@compiled
def _possible(found, limits, delays, lanes):  # type: ignore[no-untyped-def]
    """Which delays come close to the largest correlation.

    Args:
        found: flat (2 MAX_LAG, LANES).
        limits: (LANES,) float32, how close.
        delays: (2 MAX_LAG,), receives the delays that are possible for any band.
        lanes: (2 MAX_LAG, LANES) bool, receives for which.

    Returns:
        How many delays there are.
    """
    best = load(found, 0)
    for delay in range(1, 2 * MAX_LAG):
        best = larger(load(found, delay * LANES), best)
    enough = best - load(limits, 0)
    least = scratch(1, np.float32)
    store(least, 0, enough)
    count = 0
    for delay in range(2 * MAX_LAG):
        if not some(reaches(load(found, delay * LANES), enough)):
            continue
        for lane in range(LANES):
            lanes[count, lane] = found[delay * LANES + lane] >= least[lane]
        delays[count] = delay - MAX_LAG
        count += 1
    return count


@compiled
def correlations(x, y, samples, first, count, out):  # type: ignore[no-untyped-def]
    """R(d) of all bands of a group for count delays, a multiple of `_RUN`, from first on: flat (count, LANES) float64.

    x and y hold the signals between `EDGE` zeros on either side, each a multiple of `_SUMMED` samples long.
    """
    for done in range(0, count, _RUN):
        s0 = s1 = s2 = s3 = s4 = s5 = splat(0.0)
        shift = (first + done) * LANES
        for start in range(0, samples, _SUMMED):
            a0 = a1 = a2 = a3 = a4 = a5 = splat(_ZERO)
            place = (EDGE + start) * LANES
            y0, y1, y2 = load(y, place + shift), load(y, place + shift + LANES), load(y, place + shift + 2 * LANES)
            y3, y4 = load(y, place + shift + 3 * LANES), load(y, place + shift + 4 * LANES)
            for _ in range(_SUMMED):
                v = load(x, place)
                y5 = load(y, place + shift + 5 * LANES)
                a0, a1, a2 = a0 + v * y0, a1 + v * y1, a2 + v * y2
                a3, a4, a5 = a3 + v * y3, a4 + v * y4, a5 + v * y5
                y0, y1, y2, y3, y4 = y1, y2, y3, y4, y5
                place += LANES
            s0, s1, s2 = s0 + widen(a0), s1 + widen(a1), s2 + widen(a2)
            s3, s4, s5 = s3 + widen(a3), s4 + widen(a4), s5 + widen(a5)
        place = done * LANES
        store(out, place, s0)
        store(out, place + LANES, s1)
        store(out, place + 2 * LANES, s2)
        store(out, place + 3 * LANES, s3)
        store(out, place + 4 * LANES, s4)
        store(out, place + 5 * LANES, s5)


@dataclass(frozen=True)
class Aligned:
    """What the alignment of the bands found.

    Attributes:
        delay: (2, GROUPS * LANES), samples by which envelope and motion of the processed signal are late.
        margin: smallest difference that decided between two delays, relative to the largest correlation possible; at
            most 1.
    """

    delay: NDArray[np.int64]
    margin: float


@lru_cache(maxsize=8)
def mirrors(block: int) -> NDArray[np.int64]:
    """Where a transform leaves the frequency -k of the one that it leaves at each place: (block,)."""
    return positions(block)[-frequencies(block) % block]


def delays(reference: Vibration, processed: Vibration) -> Aligned:
    """Align the bands of a processed signal to those of the reference.

    Delays are from -MAX_LAG to MAX_LAG - 1, as in the reference implementation.
    """
    delay = np.empty((2, GROUPS, LANES), np.int64)
    margin = 1.0
    for group in range(GROUPS):
        found = _filtered_correlations(reference, processed, group)
        for kind in range(2):
            decided = _decide(reference, processed, kind, group, found[kind])
            delay[kind, group] = decided.delay
            margin = min(margin, decided.margin)
    return Aligned(delay.reshape(2, GROUPS * LANES), margin)


def _filtered_correlations(reference: Vibration, processed: Vibration, group: int) -> F32:
    """Correlations of the decimated signals for all delays: flat (2, (2 MAX_LAG, LANES)).

    They are those of the reference with a processed signal that has the reference's energy.
    """
    table, z = factors(BLOCK), PASSING.array("blocks", 2 * BLOCK * LANES)
    spectra = [PASSING.array(f"cross-spectrum {kind}", 2 * BLOCK * LANES) for kind in range(2)]
    found = PASSING.array("correlations", 4 * MAX_LAG * LANES)
    rates = []
    for kind in range(2):
        rate = Rate(STEPS[kind][group])
        ratio = reference.energy[kind, group] / np.where(
            processed.energy[kind, group] > 0, processed.energy[kind, group], np.inf
        )
        blocks = rate.blocks(reference.length)
        x, y = reference.slow[kind][group], processed.slow[kind][group]
        reach = ((blocks - 1) * rate.hop + rate.block) * LANES
        if min(len(x), len(y)) < reach:
            raise ValueError(f"the decimated signals have {len(x)} and {len(y)} numbers, but blocks need {reach}")
        _cross_spectrum(
            x, y, rate.block, rate.margin, blocks, np.sqrt(ratio).astype(np.float32), table,
            mirrors(rate.block), z, spectra[kind],
        )  # fmt: skip
        rates.append(rate)
    _correlations(
        *spectra, np.array([rate.block for rate in rates]), np.array([rate.margin for rate in rates]),
        *(frequencies(rate.block) for rate in rates), table, positions(BLOCK), z, found,
    )  # fmt: skip
    return found.reshape(2, 2 * MAX_LAG * LANES)


def _decide(reference: Vibration, processed: Vibration, kind: int, group: int, found: F32) -> Aligned:
    """Delays of a group's bands, (LANES,), from the correlations of the decimated signals."""
    step = STEPS[kind][group]
    x_energy, y_energy = reference.energy[kind, group], processed.energy[kind, group]
    margin = np.full(LANES, ROUNDING)
    if step > 1:
        lost = (
            np.maximum(1 - step * signal.slow_energy[kind, group] / np.where(energy > 0, energy, np.inf), 0.0)
            for signal, energy in ((reference, x_energy), (processed, y_energy))
        )
        margin += SAFETY * np.sqrt(np.prod(list(lost), axis=0))
    # 2 MAX_LAG of them where nothing has any energy.
    all_delays, lanes = np.empty(2 * MAX_LAG, np.int64), np.empty((2 * MAX_LAG, LANES), np.bool_)
    count = _possible(found, (2 * margin * x_energy).astype(np.float32), all_delays, lanes)
    candidates, possible = all_delays[:count], lanes[:count]
    # Of equal ones the largest delay.
    best = candidates[count - 1 - np.argmax(possible[::-1], axis=0)]
    undecided = (possible.sum(axis=0) > 1) & (x_energy > 0) & (y_energy > 0)
    if not undecided.any():
        return Aligned(best, 1.0)
    rows = possible[:, undecided].any(axis=1)
    candidates, possible = candidates[rows], possible[rows]
    values = _exact(reference.waves[kind][group], processed.waves[kind][group], reference.length, candidates)
    smallest = 1.0
    for lane in np.flatnonzero(undecided).tolist():
        rivals = np.flatnonzero(possible[:, lane])
        among, largest = values[rivals, lane], np.sqrt(x_energy[lane] * y_energy[lane])
        close = among >= among.max() - _CLOSE * largest
        if close.sum() > 1:
            rivals = rivals[close]
            among = _in_double(reference, processed, kind, group, lane, candidates[rivals])
        winner = len(rivals) - 1 - int(np.argmax(among[::-1]))
        best[lane] = candidates[rivals[winner]]
        gap = among[winner] - np.delete(among, winner).max()
        smallest = min(smallest, float(gap / largest))
    return Aligned(best, smallest)


def _in_double(
    reference: Vibration, processed: Vibration, kind: int, group: int, lane: int, candidates: NDArray[np.int64]
) -> F64:
    """Correlations of one band at some delays, summed in double precision: (delays,)."""
    x, y = (
        signal.waves[kind][group].reshape(-1, LANES)[: signal.length + 2 * EDGE, lane].astype(np.float64)
        for signal in (reference, processed)
    )
    between = x[EDGE : EDGE + reference.length]
    return np.array([inner(between, y[EDGE + delay : EDGE + delay + reference.length]) for delay in candidates])


def _exact(x: F32, y: F32, length: int, candidates: NDArray[np.int64]) -> F64:
    """Correlations of the signals themselves at some delays: (delays, LANES)."""
    found = []
    for run in np.split(candidates, np.flatnonzero(np.diff(candidates) > _RUN) + 1):
        first = int(run[0])
        count = -(-(int(run[-1]) - first + 1) // _RUN) * _RUN
        values = np.empty(count * LANES)
        correlations(x, y, length, first, count, values)
        found.append(values.reshape(count, LANES)[run - first])
    return np.concatenate(found)
