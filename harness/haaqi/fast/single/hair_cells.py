"""Inner hair cells: level above threshold, adaptation and threshold noise, for one tile of a group of bands.

Computes what `double.hair_cells` does. The circuit of the adaptation (Harris & Dallos 1979) is a recursion of two
coupled voltages; here it runs in its own modes, two filters of one pole each, whose sum with the input is the adapted
level. The slow mode, of 60 ms, moves by its pole's distance from 1 times what it lacks: single precision has digits for
that distance, not for the pole.

Filters' delays are in the signals already (group time, see `filterbank`). A delay that the alignment found remains,
which differs from band to band: most bands have one of a few delays, so a tile is put together from these.
"""

import numpy as np

from harness.haaqi.fast.double.hair_cells import ADAPTATION, HOP, NOISE_DB, WINDOW
from harness.haaqi.fast.numerics import F32, F64, inlined
from harness.haaqi.fast.single.functions import log2
from harness.haaqi.fast.single.vectors import (
    LANES,
    above,
    choose,
    larger,
    load,
    read_rows,
    splat,
    store,
)

SPAN = 192
"""Half a window of the covariance, in samples."""

AHEAD = 2 * HOP
"""So many samples ahead are fetched from memory."""

HOP_WINDOW: F32 = WINDOW.astype(np.float32)
_DB_PER_OCTAVE = 20 * np.log10(2)
_FINE = 2.0**10
# With few digits, so that its product with a whole number is exact, and what it lacks.
_DB_COARSE = np.float32(np.floor(_DB_PER_OCTAVE * _FINE) / _FINE)
_DB_REST = np.float32(_DB_PER_OCTAVE - np.float64(_DB_COARSE))
_DB_32 = np.float32(_DB_PER_OCTAVE)
SMALL = np.float32(1e-30)
_ZERO = np.float32(0)


def _modes() -> F32:
    """The adaptation as modes: pole and 1 - pole of the rapid one, 1 - pole of the slow one, three weights.

    Each mode has a gain of 1 at frequency 0. The adapted level is w0 v - w1 s1 - w2 s2, v being the level.
    """
    i11, i12, i21, i22, r_2, rapid, slow, r_1_inverse = ADAPTATION
    recursion: F64 = np.array([[i11 * rapid, i12 * slow], [i21 * rapid, i22 * slow]])
    drive: F64 = np.array([i11 * r_2, i21 * r_2])
    poles, vectors = np.linalg.eig(recursion)
    order = np.argsort(poles)
    poles, vectors = poles[order], vectors[:, order]
    weights = vectors[0] * np.linalg.solve(vectors, drive) / (1 - poles)
    rapid_pole = np.float32(poles[0])
    return np.array(
        [rapid_pole, 1 - np.float64(rapid_pole), 1 - poles[1], r_1_inverse, *(r_1_inverse * weights)], np.float32
    )


MODES = _modes()


def noise_gain(level1: float) -> np.float32:
    """What threshold noise of unit variance is multiplied by; level1 is the level of an amplitude of 1 in dB SPL."""
    return np.float32(10 ** ((NOISE_DB - level1) / 20))


@inlined
def read_tile(wave, begin, start, shifts, masks, late, latest, out):  # type: ignore[no-untyped-def]
    """A tile of envelopes or motions, each band at its delay; silent before a band begins.

    Args:
        wave: flat (time, LANES).
        begin: index of time 0.
        start: time of the tile.
        shifts: the delays that occur.
        masks: (shifts, LANES) int32, which bands have each of them.
        late: (LANES,) int32 as a vector, when the bands begin.
        latest: the largest of these.
        out: flat (HOP, LANES).

    Returns:
        The array that holds the tile, and where: out, unless the tile can be read where it is.
    """
    place = begin + (start + shifts[0]) * LANES
    if shifts.size == 1 and start >= latest:
        return wave, place
    for t in range(0, HOP * LANES, LANES):
        store(out, t, load(wave, place + t))
    for index in range(1, shifts.size):
        mask = load(masks, index * LANES)
        place = begin + (start + shifts[index]) * LANES
        for t in range(0, HOP * LANES, LANES):
            store(out, t, choose(mask, load(wave, place + t), load(out, t)))
    if start < latest:
        for t in range(HOP):
            silent = above(late, splat(np.int32(start + t)))
            store(out, t * LANES, choose(silent, splat(_ZERO), load(out, t * LANES)))
    return out, 0


@inlined
def read_noise(noise, first, size, start, late, latest, starts, gain, out):  # type: ignore[no-untyped-def]
    """A tile of threshold noise; none before a band begins.

    Args:
        noise: the stream of random numbers, which has those of a band one after the other.
        first: index of the first band's; the next band's are `size` further.
        size: samples of the signal.
        start: time of the tile.
        late: (LANES,) int32 array, when the bands begin.
        latest: the largest of these.
        starts: (LANES,) int64, first + lane * size - late.
        gain: what it is multiplied by.
        out: flat (HOP, LANES).
    """
    if latest <= start and start + HOP <= size:
        for t in range(0, HOP, LANES):
            read_rows(noise, starts, start + t, out, t * LANES)
        for t in range(0, HOP * LANES, LANES):
            store(out, t, load(out, t) * splat(gain))
        return
    for t in range(HOP):
        for lane in range(LANES):
            time = start + t - late[lane]
            out[t * LANES + lane] = gain * noise[first + lane * size + time] if 0 <= time < size else _ZERO


def level_constants(level: F64) -> F32:
    """Levels in dB, (BANDS,), to which `levels` adds: flat (2, BANDS), with few digits and what they lack."""
    coarse = np.rint(level * _FINE) / _FINE
    return np.concatenate([coarse, level - coarse]).astype(np.float32)


@inlined
def levels(envelope, place, coarse, rest, out):  # type: ignore[no-untyped-def]
    """Levels in dB above threshold of a tile of envelopes; coarse and rest: of `level_constants`.

    The levels that matter are near threshold: differences of numbers some ten times as large, so these are exact.
    """
    for t in range(0, HOP * LANES, LANES):
        octaves, part = log2(load(envelope, place + t) + splat(SMALL))
        large = splat(_DB_COARSE) * octaves + coarse
        small = splat(_DB_32) * part + (splat(_DB_REST) * octaves + rest)
        store(out, t, larger(large + small, splat(_ZERO)))
