"""Alignment of the processed signal to the reference, band by band, for envelopes and for basilar membrane motion.

Computes what `double.envelope_align` does and rules out delays by the same bound; see there. Here all bands of a group
are transformed side by side, reference and processed signal as the real and the imaginary part of one complex signal.
Of the highest bands the decimation filters would take away too much, so these are not decimated.

The delays that are left are decided by the correlation of the signals themselves, summed in single precision over short
blocks and in double precision over these. Where the second best delay comes closer to the best one than that can tell
(`Result.certain`), an ear is left to the engine in double precision.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.double.envelope_align import MAX_LAG
from harness.haaqi.fast.numerics import F32, F64, compiled, inlined
from harness.haaqi.fast.single.decimation import low_pass
from harness.haaqi.fast.single.filterbank import GROUPS
from harness.haaqi.fast.single.transform import factors, positions, transform
from harness.haaqi.fast.single.vectors import LANES, load, splat, store, widen

EDGE = MAX_LAG + 16
"""Zeros, in samples, on either side of a signal whose correlation is computed."""

BLOCK = 16384
"""Length in samples of the blocks that are transformed, before decimation."""

STEPS: tuple[tuple[int, ...], ...] = {8: ((8, 8, 8, 1), (8, 4, 2, 1)), 16: ((8, 1), (4, 1))}[LANES]
"""Decimation of each group's envelopes, and of its motions."""

_SAFETY = 1.5  # as in double precision
_ROUNDING = 3e-6  # of the transforms, relative to the largest correlation possible
_SUMMED = 12  # products that are summed in single precision: more, and their rounding decides close calls
_RUN = 6  # delays at a time
_ZERO = np.float32(0)


@dataclass(frozen=True)
class Rate:
    """How the bands of a group are decimated and cut into blocks; all counts are of decimated samples."""

    step: int

    @property
    def block(self) -> int:
        """Samples that are transformed together."""
        return BLOCK // self.step

    @property
    def margin(self) -> int:
        """Samples by which the processed signal's blocks reach over on either side."""
        return MAX_LAG // self.step + 16

    @property
    def hop(self) -> int:
        """Samples from one block to the next."""
        return self.block - 2 * self.margin

    def blocks(self, samples: int) -> int:
        """Blocks of a signal of so many samples before decimation."""
        return -(-(samples // self.step + 1) // self.hop)

    def rows(self, samples: int) -> int:
        """Samples of a signal, filled up to whole blocks, with `margin` before and after it."""
        return self.blocks(samples) * self.hop + 2 * self.margin


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
def _cross_spectrum(x, y, block, margin, blocks, scale, table, places, z, spectrum):  # type: ignore[no-untyped-def]
    """Sum over blocks of conj(X) Y.

    Args:
        x, y: the signals with `margin` samples before time 0.
        scale: (LANES,), what y is multiplied by.
        table, places: of the transform.
        z: flat (2 block, LANES), scratch.
        spectrum: flat (2 (block / 2 + 1), LANES), receives real and imaginary parts in turn.
    """
    hop = block - 2 * margin
    factor = load(scale, 0)
    nothing = splat(_ZERO)
    for part in range(block + 2):
        store(spectrum, part * LANES, nothing)
    for number in range(blocks):
        first = number * hop
        for t in range(block):
            inner = load(x, (margin + first + t) * LANES) if t < hop else nothing
            store(z, 2 * t * LANES, inner)
            store(z, (2 * t + 1) * LANES, load(y, (first + t) * LANES) * factor)
        transform(z, block, table)
        for k in range(block // 2 + 1):
            here, mirror = 2 * places[k] * LANES, 2 * places[(block - k) % block] * LANES
            a, b = load(z, here), load(z, here + LANES)
            c, d = load(z, mirror), load(z, mirror + LANES)
            store(spectrum, 2 * k * LANES, load(spectrum, 2 * k * LANES) + (a * d + b * c))
            imaginary = load(spectrum, (2 * k + 1) * LANES)
            store(spectrum, (2 * k + 1) * LANES, imaginary - (a * a + b * b - c * c - d * d))


@inlined
def _add_spectrum(spectrum, block, real, imaginary, turned, z):  # type: ignore[no-untyped-def]
    """Add a real signal's spectrum to z, which will be transformed back; if turned, as the imaginary part of it."""
    half = block // 2
    for k in range(half + 1):
        weight = np.float32(0.5) if 0 < k == half < BLOCK // 2 else np.float32(1)
        r = load(spectrum, 2 * k * LANES) * splat(real * weight)
        i = load(spectrum, (2 * k + 1) * LANES) * splat(imaginary * weight)
        if k in (0, half):
            i = splat(_ZERO)
        # A transform of the frequencies in reverse order is the transform back.
        there, mirror = 2 * ((BLOCK - k) % BLOCK) * LANES, 2 * k * LANES
        if turned:
            r, i = splat(_ZERO) - i, r
        store(z, there, load(z, there) + r)
        store(z, there + LANES, load(z, there + LANES) + i)
        if there != mirror:
            # The conjugate of the part, before it was turned.
            if turned:
                r, i = splat(_ZERO) - r, i
            else:
                i = splat(_ZERO) - i
            store(z, mirror, load(z, mirror) + r)
            store(z, mirror + LANES, load(z, mirror + LANES) + i)


@compiled
def _correlations(first, first_block, first_margin, second, second_block, second_margin, table, places, z, out):  # type: ignore[no-untyped-def]
    """Correlations for all delays from two cross-spectra: flat (2, 2 MAX_LAG, LANES)."""
    for part in range(2 * BLOCK):
        store(z, part * LANES, splat(_ZERO))
    # Spectra of blocks hold twice the real part and four times the imaginary part (`_cross_spectrum`).
    for spectrum, block, turned in ((first, first_block, False), (second, second_block, True)):
        scale = np.float32(BLOCK // block) / np.float32(block)
        _add_spectrum(spectrum, block, np.float32(0.5) * scale, np.float32(0.25) * scale, turned, z)
    transform(z, BLOCK, table)
    for delay in range(2 * MAX_LAG):
        begin = delay - MAX_LAG
        one = places[(first_margin * (BLOCK // first_block) + begin) % BLOCK]
        other = places[(second_margin * (BLOCK // second_block) + begin) % BLOCK]
        store(out, delay * LANES, load(z, 2 * one * LANES))
        store(out, (2 * MAX_LAG + delay) * LANES, load(z, (2 * other + 1) * LANES))


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


class _Scratch:
    """Memory for the transforms, the same for all signals."""

    def __init__(self) -> None:
        self.z = np.empty(2 * BLOCK * LANES, np.float32)
        self.spectra = tuple(np.empty((BLOCK + 2) * LANES, np.float32) for _ in range(2))
        self.found = np.empty(4 * MAX_LAG * LANES, np.float32)


@lru_cache(maxsize=1)
def _scratch() -> _Scratch:
    return _Scratch()


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
    """Correlations of the decimated signals for all delays: (2, 2 MAX_LAG, LANES).

    They are those of the reference with a processed signal that has the reference's energy.
    """
    scratch, table = _scratch(), factors(BLOCK)
    back: list[Any] = []
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
            positions(rate.block), scratch.z, scratch.spectra[kind],
        )  # fmt: skip
        back += [scratch.spectra[kind], rate.block, rate.margin]
    _correlations(*back, table, positions(BLOCK), scratch.z, scratch.found)
    return scratch.found.reshape(2, 2 * MAX_LAG, LANES)


def _decide(reference: Vibration, processed: Vibration, kind: int, group: int, found: F32) -> Aligned:
    """Delays of a group's bands, (LANES,), from the correlations of the decimated signals."""
    step = STEPS[kind][group]
    x_energy, y_energy = reference.energy[kind, group], processed.energy[kind, group]
    margin = np.full(LANES, _ROUNDING)
    if step > 1:
        lost = (
            np.maximum(1 - step * signal.slow_energy[kind, group] / np.where(energy > 0, energy, np.inf), 0.0)
            for signal, energy in ((reference, x_energy), (processed, y_energy))
        )
        margin += _SAFETY * np.sqrt(np.prod(list(lost), axis=0))
    possible = found >= found.max(axis=0) - (2 * margin * x_energy).astype(np.float32)
    # Of equal ones the largest delay: where nothing has any energy, or one delay is left.
    best = 2 * MAX_LAG - 1 - np.argmax(possible[::-1], axis=0) - MAX_LAG
    open_ = (possible.sum(axis=0) > 1) & (x_energy > 0) & (y_energy > 0)
    if not open_.any():
        return Aligned(best, 1.0)
    candidates = np.flatnonzero(possible[:, open_].any(axis=1)) - MAX_LAG
    lags, values = _exact(reference.waves[kind][group], processed.waves[kind][group], reference.length, candidates)
    smallest = 1.0
    for lane in np.flatnonzero(open_):
        rivals = np.flatnonzero(possible[lags + MAX_LAG, lane])
        order = np.sort(values[rivals, lane])
        winner = rivals[len(rivals) - 1 - int(np.argmax(values[rivals, lane][::-1]))]
        best[lane] = lags[winner]
        gap = float((order[-1] - order[-2]) / np.sqrt(x_energy[lane] * y_energy[lane]))
        smallest = min(smallest, gap)
    return Aligned(best, smallest)


def _exact(x: F32, y: F32, length: int, candidates: NDArray[np.int64]) -> tuple[NDArray[np.int64], F64]:
    """Correlations of the signals themselves at some delays: these delays, and (delays, LANES)."""
    found = []
    for run in np.split(candidates, np.flatnonzero(np.diff(candidates) > _RUN) + 1):
        first = int(run[0])
        count = -(-(int(run[-1]) - first + 1) // _RUN) * _RUN
        values = np.empty(count * LANES)
        correlations(x, y, length, first, count, values)
        found.append(values.reshape(count, LANES)[run - first])
    return candidates, np.concatenate(found)
