"""Inner hair cells: level above threshold, adaptation, threshold noise, and the filters' group delay taken out.

Mirrors, in one pass over the signal, `envelope_sl`, `inner_hair_cell_adaptation`, `basilar_membrane_add_noise`,
`group_delay_compensate` and `env_smooth` of `clarity.evaluator.haspi.eb` (Kates & Arehart 2016, section II; Harris &
Dallos 1979 for the adaptation). Of the envelope in dB above threshold only the averages over windows are needed later,
so it is never stored.

The stages' shifts do not add up: a sample that alignment dropped must not come back by the group delay. So time runs
over the output, `u`; a band whose delay has to be made longer by `correct` samples is at time t = u - correct of the
aligned signal, silent before t = 0, and that is time t + delay of the signal before alignment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.haaqi.fast.double.envelope_align import EDGE
from harness.haaqi.fast.numerics import BANDS, F32, F64, SAMPLE_RATE, TILE, compiled, log2_parts

HOP = 96
"""Half a window of the smoothed envelope: 4 ms."""

WINDOW = np.hanning(2 * HOP)

_DB_PER_OCTAVE = 20 * np.log10(2)
_SMALL = np.float32(1e-30)
_ZERO = np.float32(0)
NOISE_DB = -10.0  # level of the noise re auditory threshold


def _adaptation() -> F64:
    """Constants of the equivalent circuit: overshoot 2, time constants 2 ms and 60 ms."""
    r_1 = 1 / 2.0
    r_2 = r_3 = 0.5 * (1 - r_1)
    c_1 = 0.002 * (r_1 + r_2) / (r_1 * r_2)
    c_2 = 0.060 / ((r_1 + r_2) * r_3)
    rapid = r_1 * r_2 * c_1 * SAMPLE_RATE
    slow = r_2 * r_3 * c_2 * SAMPLE_RATE
    a11, a12, a21, a22 = r_1 + r_2 + rapid, -r_1, -r_3, r_2 + r_3 + slow
    denominator = a11 * a22 - a21 * a12
    inverse = np.array([a22, -a12, -a21, a11]) / denominator
    return np.array([*inverse, r_2, rapid, slow, 1 / r_1])


ADAPTATION = _adaptation()


@compiled
def _inner_hair_cells(envelope, motion, delay, correct, level, noise, noise_gain, circuit, window, sums, out):  # type: ignore[no-untyped-def]
    """All stages. delay is (2, BANDS) for envelope and motion; sums is (2, blocks, BANDS), zeroed."""
    size = out.shape[1]
    v = np.zeros((2, BANDS))
    env = np.empty((TILE, BANDS), np.float32)
    whole, rest = np.empty((TILE, BANDS), np.float32), np.empty((TILE, BANDS), np.float32)
    rows = np.empty((BANDS, TILE), np.float32)
    i11, i12, i21, i22 = circuit[0], circuit[1], circuit[2], circuit[3]
    r_2, rapid, slow, r_1_inverse = circuit[4], circuit[5], circuit[6], circuit[7]
    for start in range(0, size, TILE):
        count = min(TILE, size - start)
        env[:] = _ZERO
        for b in range(BANDS):
            silent = min(max(correct[b] - start, 0), count)
            first = EDGE + start + silent - correct[b] + delay[0, b]
            source = envelope[b, first : first + count - silent]
            for t in range(source.size):
                env[silent + t, b] = source[t]
        for t in range(TILE):
            for b in range(BANDS):
                whole[t, b], rest[t, b] = log2_parts(env[t, b] + _SMALL)
        for half in range(TILE // HOP):
            block = start // HOP + half
            for i in range(HOP):
                t = half * HOP + i
                rising, falling = window[i], window[HOP + i]
                for b in range(BANDS):
                    octaves = np.float64(whole[t, b]) + np.float64(rest[t, b])
                    v_0 = max(level[b] + _DB_PER_OCTAVE * octaves, 0.0)
                    b_1 = v_0 * r_2 + rapid * v[0, b]
                    b_2 = slow * v[1, b]
                    v[0, b] = i11 * b_1 + i12 * b_2
                    v[1, b] = i21 * b_1 + i22 * b_2
                    adapted = max((v_0 - v[0, b]) * r_1_inverse, 0.0)
                    sums[0, block, b] += rising * adapted
                    sums[1, block, b] += falling * adapted
                    env[t, b] = np.float32(adapted)
        for b in range(BANDS):
            for t in range(TILE):
                rows[b, t] = env[t, b]
        for b in range(BANDS):
            silent = min(max(correct[b] - start, 0), count)
            first = start + silent - correct[b]
            e = envelope[b, EDGE + first + delay[0, b] : EDGE + first + delay[0, b] + count - silent]
            m = motion[b, EDGE + first + delay[1, b] : EDGE + first + delay[1, b] + count - silent]
            n = noise[b * size + first : b * size + first + count - silent]
            for t in range(silent):
                out[b, start + t] = _ZERO
            target = out[b, start + silent : start + count]
            adapted_row = rows[b, silent:count]
            for t in range(target.size):
                target[t] = m[t] * (adapted_row[t] + _SMALL) / (e[t] + _SMALL) + noise_gain * n[t]


@dataclass(frozen=True)
class Response:
    """What the inner hair cells make of a signal.

    Attributes:
        motion: basilar membrane motion with an envelope in dB above threshold, and noise: (BANDS, samples).
        smooth: envelope in dB above threshold, averaged over windows of 8 ms every 4 ms: (BANDS, windows).
    """

    motion: F32
    smooth: F64


def respond(
    envelope: F32, motion: F32, delay: NDArray[np.int64], correct: NDArray[np.int64], attenuation: F64, level1: float,
    noise: F32, out: F32,
) -> Response:  # fmt: skip
    """Run all stages over a signal.

    Args:
        envelope, motion: after compression, (BANDS, EDGE + samples + EDGE), zeros at the edges.
        delay: (2, BANDS), samples by which envelope and motion are late, from `envelope_align`.
        correct: (BANDS,), from `group_delays`.
        attenuation: (BANDS,) of the inner hair cells, in dB.
        level1: dB SPL of an amplitude of 1.
        noise: (BANDS * samples,), of unit variance.
        out: (BANDS, samples), receives the motion.
    """
    size = out.shape[1]
    # A last tile that is not full writes sums for the whole tile.
    sums = np.zeros((2, -(-size // TILE) * (TILE // HOP), BANDS))
    _inner_hair_cells(
        envelope, motion, delay, correct, level1 - attenuation, noise,
        np.float32(10 ** ((NOISE_DB - level1) / 20)), ADAPTATION, WINDOW, sums, out,
    )  # fmt: skip
    return Response(out, smoothed_envelope(sums, size))


def smoothed_envelope(sums: F64, size: int) -> F64:
    """Averages over windows that overlap by half, with half a window at either end (`env_smooth`, its indexing)."""
    rising, falling = sums
    count = windows(size, 2 * HOP)
    half = WINDOW[HOP:].sum()
    smooth = np.empty((count, BANDS))
    smooth[0] = falling[0] / half
    smooth[1:-1] = (rising[1 : count - 1] + falling[2:count]) / WINDOW.sum()
    smooth[-1] = rising[count - 1] / half
    return smooth.T


def windows(size: int, length: int) -> int:
    """Number of windows of some length that overlap by half, over a signal, with half a window at either end."""
    return int(1 + np.floor(size / length) + np.floor((size - length / 2) / length))
