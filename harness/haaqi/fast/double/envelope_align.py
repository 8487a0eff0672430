"""Alignment of the processed signal to the reference, band by band, for envelopes and for basilar membrane motion.

Mirrors `envelope_align` of `clarity.evaluator.haspi.eb`: the delay within +-100 ms at which the cross-correlation
R(d) = sum over t of x(t) y(t + d) is largest; of equal ones the largest delay.

The full correlation costs more than all the rest of the metric, so most of it is ruled out first. Both signals are
low-pass filtered and decimated (`decimate`), and the correlation of the filtered signals is computed for all delays by
block FFTs. What the filter takes away can change a correlation by no more than

    bound = sqrt((Ex - Fx) (Ey - Fy)),    E: energy, F: energy of the filtered signal

(Cauchy-Schwarz, in the frequency domain, the squared magnitude of the filter being at most 1). Only the delays whose
filtered correlation comes within twice the bound of the largest can be the one, and R is computed for these alone, in
double precision. The energies F are measured on the decimated signals. A tone where decimation folds the spectrum, at
half the new rate, can make them so wrong that the bound is too small by a factor of 1.41: `SAFETY` is more than that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import firwin, freqz

from harness.haaqi.fast.numerics import BANDS, F32, F64, TILE, compiled, inlined

MAX_LAG = 2400
"""100 ms at 24 kHz."""

EDGE = MAX_LAG + 8
"""Zeros on either side of a signal whose correlation is computed."""

BLOCK = 16384
"""Length in samples of the blocks that are transformed, before decimation."""

SAFETY = 1.5
ROUNDING = 3e-6  # of the single precision transforms, relative to the largest correlation possible
_UNDECIDED = 1e-8  # of the signals themselves, likewise
_NEAR = 4  # samples: around a broad peak the choice between neighbours changes nothing


def _decimator(width: int) -> Any:
    """The compiled filter for groups of so many bands: a constant, so that they become SIMD registers."""

    @inlined
    def decimate(rows, start, plan, taps, out, energy):  # type: ignore[no-untyped-def]
        """Filter and decimate one tile of a group of bands.

        Args:
            rows: (history + TILE, BANDS), the tile preceded by as many samples as there are taps.
            start: time of the tile's first sample.
            plan: first band, decimation, number of taps (a multiple of eight), and where in `out` the group begins
                and ends.
            taps: (taps,) of the low-pass filter.
            out: the decimated bands of all groups, one after the other; receives the samples of this tile.
            energy: (BANDS,), to which the squares of these samples are added.
        """
        first, step, length = plan[0], plan[1], plan[2]
        flat = rows.reshape(rows.size)
        total = np.empty(width, np.float32)
        place = plan[3] + start // step * width
        for end in range(rows.shape[0] - TILE + 1, rows.shape[0] + 1, step):
            if place >= plan[4]:
                return
            target = out[place : place + width]
            # Unsigned indices: the compiler need not ask whether they count from the end, and can vectorise.
            here = np.uint64((end - length) * BANDS + first)
            total[:] = np.float32(0)
            # Eight at a time, to read and write the sums less often.
            for j in range(0, length, 8):
                h0, h1, h2, h3 = taps[j], taps[j + 1], taps[j + 2], taps[j + 3]
                h4, h5, h6, h7 = taps[j + 4], taps[j + 5], taps[j + 6], taps[j + 7]
                for b in range(width):
                    i = here + np.uint64(b)
                    total[b] += (
                        (h0 * flat[i] + h1 * flat[i + _ROWS[1]])
                        + (h2 * flat[i + _ROWS[2]] + h3 * flat[i + _ROWS[3]])
                        + (h4 * flat[i + _ROWS[4]] + h5 * flat[i + _ROWS[5]])
                        + (h6 * flat[i + _ROWS[6]] + h7 * flat[i + _ROWS[7]])
                    )
                here += _ROWS[8]
            for b in range(width):
                target[b] = total[b]
                energy[b] += np.float64(total[b]) * np.float64(total[b])
            place += width

    return decimate


_ROWS = tuple(np.uint64(count * BANDS) for count in range(9))

decimate_32, decimate_16, decimate_8 = _decimator(32), _decimator(16), _decimator(8)


@inlined
def copy_8(rows, start, plan, out, energy):  # type: ignore[no-untyped-def]
    """As `decimate` without a filter and without decimation, for a group of eight bands."""
    history = rows.shape[0] - TILE
    place = plan[3] + start * 8
    for t in range(min(TILE, (plan[4] - place) // 8)):
        for b in range(8):
            value = rows[history + t, plan[0] + b]
            out[place + 8 * t + b] = value
            energy[b] += np.float64(value) * np.float64(value)


class Blocks:
    """How a decimated signal is cut into blocks that are transformed; all counts are of decimated samples.

    Attributes:
        step: every step-th sample is kept.
    """

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


@dataclass(frozen=True)
class Group(Blocks):
    """Bands that are decimated alike.

    Attributes:
        first, last: the bands are first to last - 1.
        step: every step-th sample is kept.
        taps: of the low-pass filter, at most `TAPS`.
        width: bands that are filtered, at least those of the group: as many as there are SIMD lanes for them.
    """

    first: int
    last: int
    step: int
    taps: F32
    width: int

    def rows(self, samples: int) -> int:
        """As of `Blocks`, with room for what flushes the filters."""
        return super().rows(samples + TAPS + TILE)


TAPS = 96
"""The longest decimation filter, in samples."""


def _group(first: int, last: int, step: int, width: int) -> Group:
    if step == 1:
        return Group(first, last, step, np.ones(1, np.float32), width)
    taps = firwin(12 * step, 1 / step, window=("kaiser", 7.5))
    taps /= np.abs(freqz(taps, worN=4096)[1]).max()
    return Group(first, last, step, taps.astype(np.float32), width)


# Those of the envelopes, then those of the motions; `filterbank` decimates each of them by a function of its width.
ENVELOPES = (_group(0, 24, 8, 32), _group(24, BANDS, 4, 8))
# Each group keeps what lies below its highest band's centre frequency and some way above.
MOTIONS = (_group(0, 16, 4, 16), _group(16, 24, 2, 8), _group(24, BANDS, 1, 8))
ENVELOPE_GROUPS = len(ENVELOPES)
GROUPS = (*ENVELOPES, *MOTIONS)
PADDED_TAPS: F32 = np.stack([np.pad(group.taps, (0, TAPS - len(group.taps))) for group in GROUPS])


@inlined
def _dot(x, y):  # type: ignore[no-untyped-def]
    """Sums of x(t) y(t + k) in double precision, for k = 0 to 3; y is three samples longer than x."""
    a0 = a1 = a2 = a3 = 0.0
    for t in range(x.size):
        v = np.float64(x[t])
        a0 += v * y[t]
        a1 += v * y[t + 1]
        a2 += v * y[t + 2]
        a3 += v * y[t + 3]
    return a0, a1, a2, a3


@compiled
def correlations(x, y, first, count):  # type: ignore[no-untyped-def]
    """R(d) for count delays (a multiple of four) from first on; samples beyond the ends count as zero.

    x and y hold the signals between `EDGE` zeros on either side.
    """
    result = np.empty(count)
    size = x.size - 2 * EDGE
    for d in range(0, count, 4):
        start = EDGE + first + d
        result[d : d + 4] = _dot(x[EDGE : EDGE + size], y[start : start + size + 3])
    return result


def spectra(group: Group, x: F32) -> NDArray[np.complex64]:
    """Block spectra of a decimated reference: (blocks, frequencies, bands)."""
    inner = x[group.margin : len(x) - group.margin]
    inner = inner.reshape(-1, group.hop, x.shape[1])  # a copy where the filter is wider than the group
    return np.asarray(scipy.fft.rfft(inner, group.block, axis=1))


def filtered_correlation(group: Group, x: NDArray[np.complex64], y: F32) -> F32:
    """Correlation of the filtered signals for all delays from -MAX_LAG to MAX_LAG - 1: (delays, bands)."""
    total = np.zeros(x.shape[1:], np.complex64)
    for index, spectrum in enumerate(x):
        block = y[index * group.hop : index * group.hop + group.block]
        total += np.conj(spectrum) * scipy.fft.rfft(block, axis=0)
    # Zeros above the highest frequency interpolate between the decimated delays.
    full = scipy.fft.irfft(total, BLOCK, axis=0)
    start = group.margin * group.step - MAX_LAG
    return np.asarray(group.step**2 * full[start : start + 2 * MAX_LAG])


@dataclass(frozen=True)
class Vibration:
    """Envelope and basilar membrane motion of a signal after compression.

    Attributes:
        envelope, motion: (BANDS, EDGE + samples + EDGE), zeros at the edges.
        energy: (2, BANDS), sum over time of the squared envelope and the squared motion.
        slow_energy: (groups, BANDS), the same of what the decimation filters leave; each group's bands come first.
        slow: both decimated, for each of `GROUPS` a part as from `slow_storage`.
    """

    envelope: F32
    motion: F32
    energy: F64
    slow_energy: F64
    slow: tuple[F32, ...]


def slow_storage(samples: int) -> tuple[F32, NDArray[np.int64], tuple[F32, ...]]:
    """Room for the decimated bands of a signal: zeros for all groups, the plan for `decimate`, and each group's part.

    A part is (rows, bands), with `Group.margin` rows before and after the signal.
    """
    sizes = [group.rows(samples) * group.width for group in GROUPS]
    memory = np.zeros(sum(sizes), np.float32)
    plan, parts, begin = [], [], 0
    for group, size in zip(GROUPS, sizes, strict=True):
        edge = group.margin * group.width
        plan.append((group.first, group.step, len(group.taps), begin + edge, begin + size - edge))
        parts.append(memory[begin : begin + size].reshape(-1, group.width)[:, : group.last - group.first])
        begin += size
    return memory, np.array(plan), tuple(parts)


def analyse(reference: Vibration) -> tuple[NDArray[np.complex64], ...]:
    """What of the alignment depends on the reference alone: the block spectra of each group."""
    return tuple(map(spectra, GROUPS, reference.slow))


def delays(
    reference: Vibration, blocks: tuple[NDArray[np.complex64], ...], processed: Vibration
) -> NDArray[np.int64] | None:
    """Samples by which envelope and motion of the processed signal are late in each band: (2, BANDS).

    From -MAX_LAG to MAX_LAG - 1, as in the reference implementation. None if two delays that are far apart are equally
    good to single precision: then more digits have to decide than there are. blocks is what `analyse` makes of the
    reference.
    """
    result = np.empty((2, BANDS), np.int64)
    for index, group in enumerate(GROUPS):
        kind = int(index >= ENVELOPE_GROUPS)
        x, y = (getattr(signal, ("envelope", "motion")[kind]) for signal in (reference, processed))
        bands = slice(group.first, group.last)
        correlation = filtered_correlation(group, blocks[index], processed.slow[index])
        x_energy, y_energy = reference.energy[kind, bands], processed.energy[kind, bands]
        x_lost, y_lost = (
            np.maximum(energy - group.step * signal.slow_energy[index, : len(energy)], 0.0)
            for energy, signal in ((x_energy, reference), (y_energy, processed))
        )
        largest = np.sqrt(x_energy * y_energy)
        margin = SAFETY * np.sqrt(x_lost * y_lost) + ROUNDING * largest
        possible = correlation >= correlation.max(axis=0) - 2 * margin
        for column, band in enumerate(range(group.first, group.last)):
            candidates = np.flatnonzero(possible[:, column]) - MAX_LAG
            delay = _best(x[band], y[band], candidates, _UNDECIDED * largest[column])
            if delay is None:
                return None
            result[kind, band] = delay
    return result


def _best(x: F32, y: F32, candidates: NDArray[np.int64], close: float) -> int | None:
    """The candidate with the largest correlation; of equal ones the largest. None if one far from it is as close."""
    if len(candidates) == 1:
        return int(candidates[0])
    found = []
    for run in np.split(candidates, np.flatnonzero(np.diff(candidates) > 4) + 1):
        count = -(-(int(run[-1]) - int(run[0]) + 1) // 4) * 4
        found.append(correlations(x, y, int(run[0]), count)[run - run[0]])
    values = np.concatenate(found)
    best = len(values) - 1 - int(np.argmax(values[::-1]))
    rivals = np.abs(candidates - candidates[best]) > _NEAR
    # Without any energy all are equal, and it does not matter.
    if close > 0 and (values[rivals] >= values[best] - close).any():
        return None
    return int(candidates[best])
