"""Hair cells of both signals and the covariance of their outputs, in one pass over the music.

Tile by tile both signals go through `hair_cells`, and as soon as two tiles are there the window that they fill is
compared (`covariance`). Nothing of the hair cells' output is kept: it would be larger than all else in the memory.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.double.covariance import LAG, LENGTH, POWER
from harness.haaqi.fast.double.hair_cells import HOP, smoothed_envelope, windows
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS, F64, compiled
from harness.haaqi.fast.single.covariance import (
    HALF,
    LAGS,
    LOUD,
    NORMS,
    WINDOW_32,
    covariance,
    segment,
)
from harness.haaqi.fast.single.envelope_align import EDGE, Vibration
from harness.haaqi.fast.single.filterbank import GROUPS
from harness.haaqi.fast.single.hair_cells import (
    AHEAD,
    HOP_WINDOW,
    MODES,
    SMALL,
    SPAN,
    level_constants,
    levels,
    noise_gain,
    read_noise,
    read_tile,
)
from harness.haaqi.fast.single.memory import scratch
from harness.haaqi.fast.single.vectors import LANES, larger, load, prefetch, splat, store

_ZERO = np.float32(0)
_TINY = 1e-30  # mean square below which a window counts as silent


@compiled
def _compare(  # type: ignore[no-untyped-def]
    x_envelope, x_motion, y_envelope, y_motion, begin, tiles, size, no_shift, no_mask, e_shifts, e_masks, m_shifts,
    m_masks, late, level, noise, x_first, y_first, starts, gain, modes, hop_window, window, norms, power, loud, group,
    smooth, squares, covariances,
):  # fmt: skip
    """One group of bands.

    Args:
        x_envelope, ...: of reference (x) and processed signal (y), flat (time, LANES); time 0 is at index `begin`.
        tiles: so many to work on.
        size: samples of the signals.
        no_shift, ..., m_masks: delays of x, of y's envelope and of its motion; see `read_tile`.
        late: (GROUPS, LANES) int32.
        level: of an amplitude of 1 in dB above threshold, from `level_constants`.
        noise, x_first, y_first: see `read_noise`.
        starts: (2, LANES) int64, scratch for it.
        gain: of the noise.
        modes, hop_window, window, norms, power, loud: constants of `hair_cells` and `covariance`.
        group: which one.
        smooth: (blocks, 4, BANDS), receives sums over rising and falling halves of windows of x's envelope,
            then of y's.
        squares: (BANDS, windows), receives the mean squares of the reference.
        covariances: (BANDS, windows), receives the covariances of those that may be loud.
    """
    xe_own, xm_own = scratch(HOP, np.float32), scratch(HOP, np.float32)
    ye_own, ym_own = scratch(HOP, np.float32), scratch(HOP, np.float32)
    xl, yl, xn, yn = (
        scratch(HOP, np.float32),
        scratch(HOP, np.float32),
        scratch(HOP, np.float32),
        scratch(HOP, np.float32),
    )
    # The last two tiles of each signal, in turn.
    x_out, y_out = scratch(2 * SPAN, np.float32), scratch(2 * SPAN, np.float32)
    x_window, y_window = scratch(LENGTH + 2 * LAG, np.float32), scratch(LENGTH + 2 * LAG, np.float32)
    x_window[:] = _ZERO
    y_window[:] = _ZERO
    sums, found = scratch(LAGS + 2, np.float32), scratch(3, np.float32)
    count = squares.shape[1]
    first_band = group * LANES
    own_late = late[first_band : first_band + LANES]
    latest = own_late.max()
    late_here = load(late, first_band)
    coarse, rest = load(level, first_band), load(level, BANDS + first_band)
    x_starts, y_starts = starts[0], starts[1]
    for lane in range(LANES):
        x_starts[lane] = x_first + (first_band + lane) * size - own_late[lane]
        y_starts[lane] = y_first + (first_band + lane) * size - own_late[lane]
    x_noise, y_noise = x_first + first_band * size, y_first + first_band * size
    rapid, rapid_in, slow_in = splat(modes[0]), splat(modes[1]), splat(modes[2])
    w0, w1, w2 = splat(modes[3]), splat(modes[4]), splat(modes[5])
    tiny, nothing = splat(SMALL), splat(_ZERO)
    x1 = x2 = y1 = y2 = x_lost = y_lost = nothing
    for tile in range(tiles):
        turn = (tile % 2) * SPAN * LANES
        for half in range(SPAN // HOP):
            block = tile * (SPAN // HOP) + half
            start = block * HOP
            xe, xe_at = read_tile(x_envelope, begin, start, no_shift, no_mask, late_here, latest, xe_own)
            xm, xm_at = read_tile(x_motion, begin, start, no_shift, no_mask, late_here, latest, xm_own)
            ye, ye_at = read_tile(y_envelope, begin, start, e_shifts, e_masks, late_here, latest, ye_own)
            ym, ym_at = read_tile(y_motion, begin, start, m_shifts, m_masks, late_here, latest, ym_own)
            read_noise(noise, x_noise, size, start, own_late, latest, x_starts, gain, xn)
            read_noise(noise, y_noise, size, start, own_late, latest, y_starts, gain, yn)
            levels(xe, xe_at, coarse, rest, xl)
            levels(ye, ye_at, coarse, rest, yl)
            out = turn + half * HOP * LANES
            x_rising = x_falling = y_rising = y_falling = nothing
            for t in range(HOP):
                at = t * LANES
                ahead = begin + (start + AHEAD + t) * LANES
                prefetch(x_envelope, ahead + no_shift[0] * LANES)
                prefetch(x_motion, ahead)
                prefetch(y_envelope, ahead + e_shifts[0] * LANES)
                prefetch(y_motion, ahead + m_shifts[0] * LANES)
                later = start + AHEAD + t // LANES * LANES
                prefetch(noise, x_starts[t % LANES] + later)
                prefetch(noise, y_starts[t % LANES] + later)
                v, w = load(xl, at), load(yl, at)
                x1 = rapid * x1 + rapid_in * v
                y1 = rapid * y1 + rapid_in * w
                # What rounding takes from the slow mode is added the next time.
                x_step, y_step = slow_in * (v - x2) + x_lost, slow_in * (w - y2) + y_lost
                x_next, y_next = x2 + x_step, y2 + y_step
                x_lost, y_lost = x_step - (x_next - x2), y_step - (y_next - y2)
                x2, y2 = x_next, y_next
                x = larger(w0 * v - (w1 * x1 + w2 * x2), nothing)
                y = larger(w0 * w - (w1 * y1 + w2 * y2), nothing)
                up, down = splat(hop_window[t]), splat(hop_window[HOP + t])
                x_rising, x_falling = x_rising + up * x, x_falling + down * x
                y_rising, y_falling = y_rising + up * y, y_falling + down * y
                x_motion_here, y_motion_here = load(xm, xm_at + at), load(ym, ym_at + at)
                store(x_out, out + at, x_motion_here * (x + tiny) / (load(xe, xe_at + at) + tiny) + load(xn, at))
                store(y_out, out + at, y_motion_here * (y + tiny) / (load(ye, ye_at + at) + tiny) + load(yn, at))
            store(smooth, (block * 4) * BANDS + first_band, x_rising)
            store(smooth, (block * 4 + 1) * BANDS + first_band, x_falling)
            store(smooth, (block * 4 + 2) * BANDS + first_band, y_rising)
            store(smooth, (block * 4 + 3) * BANDS + first_band, y_falling)
        # Window i fills tiles i and i + 1, but the first and the last one are halves of windows and fill one.
        for kind in range(2):
            halves = 2 - kind
            index = tile - 1 + kind
            if not (1 <= index <= count - 2 if kind == 0 else index in (0, count - 1)):
                continue
            first = HALF if index == 0 else 0
            square = segment(x_out, turn, halves, first, window, x_window)
            store(found, 0, square)
            wanted = False
            for lane in range(LANES):
                value = np.float64(found[lane])
                squares[first_band + lane, index] = value / power[kind]
                wanted |= value > loud[kind]
            if not wanted:
                continue
            segment(y_out, turn, halves, first, window, y_window)
            largest, x_square, y_square = covariance(x_window, y_window, halves, norms[kind], sums)
            store(found, 0, largest)
            store(found, LANES, x_square)
            store(found, 2 * LANES, y_square)
            for lane in range(LANES):
                a, b = np.float64(found[LANES + lane]), np.float64(found[2 * LANES + lane])
                if a > _TINY * power[kind] and b > _TINY * power[kind]:
                    covariances[first_band + lane, index] = min(np.float64(found[lane]) / np.sqrt(a * b), 1.0)


@dataclass(frozen=True)
class Compared:
    """What the inner hair cells make of two signals.

    Attributes:
        reference, processed: envelopes in dB above threshold, averaged over windows of 8 ms every 4 ms: (BANDS,
            windows).
        squares: mean squares of the reference's motion in windows of 16 ms every 8 ms: (BANDS, windows).
        covariances: of the motions in these windows, 0 to 1, where the mean square is above threshold; 0 elsewhere.
    """

    reference: F64
    processed: F64
    squares: F64
    covariances: F64


def compare(
    reference: Vibration, processed: Vibration, delay: NDArray[np.int64], late: NDArray[np.int32], attenuation: F64,
    level1: float, noise: Noise, offset: int,
) -> Compared:  # fmt: skip
    """Run the hair cells over both signals and compare what they give.

    Args:
        reference, processed: envelopes and motions of both.
        delay: (2, BANDS), samples by which the processed signal's are late, from `envelope_align`.
        late: (BANDS,), see *Group time* in `filterbank`.
        attenuation: (BANDS,) of the inner hair cells, in dB.
        level1: dB SPL of an amplitude of 1.
        noise: the stream of random numbers.
        offset: where this ear's begin.
    """
    size = reference.samples
    count = windows(size, LENGTH)
    smoothed = windows(size, 2 * HOP)
    tiles = max(count, -(-smoothed * HOP // SPAN))
    if tiles * SPAN > reference.length:
        raise ValueError(f"{tiles} tiles are more than {reference.length} samples")
    numbers = noise.read(offset, 2 * BANDS * size)
    smooth = np.empty((tiles * SPAN // HOP, 4, BANDS), np.float32)
    squares, covariances = np.zeros((BANDS, count)), np.zeros((BANDS, count))
    starts = np.empty((2, LANES), np.int64)
    level = level_constants(level1 - attenuation)
    none = _shifts(np.zeros(LANES, np.int64))
    for group in range(GROUPS):
        own = slice(group * LANES, (group + 1) * LANES)
        _compare(
            *(reference.waves[kind][group] for kind in range(2)), *(processed.waves[kind][group] for kind in range(2)),
            EDGE * LANES, tiles, size, *none, *_shifts(delay[0, own]), *_shifts(delay[1, own]), late, level,
            numbers, 0, BANDS * size, starts, noise_gain(level1), MODES, HOP_WINDOW, WINDOW_32, NORMS, POWER, LOUD,
            group, smooth.reshape(-1), squares, covariances,
        )  # fmt: skip
    sums = smooth.transpose(1, 0, 2).astype(np.float64)
    return Compared(smoothed_envelope(sums[:2], size), smoothed_envelope(sums[2:], size), squares, covariances)


def _shifts(delay: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The delays that occur in a group, and which of its bands have them: (shifts,) and flat (shifts, LANES)."""
    shifts = np.unique(delay)
    masks = np.where(shifts[:, None] == delay, -1, 0).astype(np.int32)
    return shifts, masks.reshape(-1)
