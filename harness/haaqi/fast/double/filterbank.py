"""Gammatone filters, their control path, and the compression of the outer hair cells.

Mirrors `gammatone_basilar_membrane`, `bandwidth_adjust` and `env_compress_basilar_membrane` of
`clarity.evaluator.haspi.eb`. Each band takes the signal down to baseband by its centre frequency, passes it through
four equal one-pole low-pass filters (Cooke 1993; Ma et al. 2007), and gives the envelope and the motion of the basilar
membrane. A first pass with the widest filters, the control path, sets the bandwidth from the signal's level and the
gain of the compression from moment to moment (Kates & Arehart 2016, section II).

Signals are (samples,) at 24 kHz in double precision, outputs (BANDS, samples) in single precision, but for the control
path, which is (samples, BANDS); an amplitude of 1 is `level1` dB SPL. The four-pole recursion stays in double precision
and in the reference's direct form: its gain is a difference of nearly equal numbers in the low bands, which other forms
round differently.
"""

from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray
from scipy.signal import butter, group_delay

from harness.haaqi.fast.double.envelope_align import (
    EDGE,
    PADDED_TAPS,
    Vibration,
    copy_8,
    decimate_8,
    decimate_16,
    decimate_32,
    slow_storage,
)
from harness.haaqi.fast.numerics import (
    BANDS,
    F32,
    F64,
    SAMPLE_RATE,
    TILE,
    compiled,
    exp2_parts,
    inlined,
    log2_parts,
    round_parts,
)

CENTER: F64 = eb.center_frequency(BANDS)
"""(BANDS,) in Hz."""

WIDEST: F64 = eb.loss_parameters(np.full(6, 100), CENTER)[1]
"""(BANDS,), bandwidth of the control path's filters, relative to normal hearing: of a loss of 100 dB."""

EAR_Q, MIN_BANDWIDTH = 9.26449, 24.7  # Moore & Glasberg 1983
_TINY = 1e-100  # a filter state that small has died away; left alone it would become denormal, and slow
_SMALLEST = np.float32(1e-37)
_ZERO = np.float32(0)
# Envelopes matter down to 1e-30, where their squares are too small for single precision.
_SCALE, _UNSCALE = 2.0**90, np.float32(2.0**-45)


@dataclass(frozen=True)
class Filters:
    """The gammatone filters of all bands.

    Attributes:
        coefficients: (8, BANDS): the two of the numerator, the four of the recursion, cosine and sine of the
            phase that the carrier turns by in one sample.
        gain: (BANDS,).
    """

    coefficients: F64
    gain: F64


def filters(center_frequency: F64, bandwidth: F64) -> Filters:
    """Design the filters.

    Args:
        center_frequency: (BANDS,) in Hz.
        bandwidth: (BANDS,) relative to normal hearing, 1 or more.
    """
    erb = MIN_BANDWIDTH + center_frequency / EAR_Q
    turn = 2 * np.pi / SAMPLE_RATE
    a = np.exp(-bandwidth * turn * erb * 1.019)
    a_1, a_2, a_3, a_4, a_5 = 4.0 * a, -6.0 * a * a, 4.0 * a * a * a, -a * a * a * a, 4.0 * a * a
    gain = 2.0 * (1 - a_1 - a_2 - a_3 - a_4) / (1 + a_1 + a_5)
    phase = turn * center_frequency
    return Filters(np.stack([a_1, a_5, a_1, a_2, a_3, a_4, np.cos(phase), np.sin(phase)]), gain)


_NEAR_HALF = 1e-3  # samples


def _delays(design: Filters) -> F64:
    """Group delays at frequency 0, in samples: (BANDS,). The poles are at a, the zeros at -2a."""
    a = design.coefficients[0] / 4
    return np.asarray(4 * a / (1 - a) + 4 * a / (1 + 2 * a))


def close_delays(bandwidth: F64, within: float) -> NDArray[np.int64]:
    """The bands of which the group delay is so close to half a sample that it may be rounded either way."""
    return np.flatnonzero(np.abs(_delays(filters(CENTER, bandwidth)) % 1 - 0.5) < within)


def group_delays(bandwidth: F64) -> NDArray[np.int64]:
    """Samples by which each band has to be delayed so that all come out of the filters at the same time: (BANDS,).

    The reference implementation has SciPy compute each filter's group delay at frequency 0, and rounds it. Only where
    it is close to half a sample does SciPy's rounding matter, and is asked.

    Args:
        bandwidth: (BANDS,) relative to normal hearing.
    """
    design = filters(CENTER, bandwidth)
    delays = _delays(design)
    for band in close_delays(bandwidth, _NEAR_HALF):
        a_1, a_5, _, a_2, a_3, a_4 = design.coefficients[:6, band]
        _, (delays[band],) = group_delay((np.array([1.0, a_1, a_5]), np.array([1.0, -a_1, -a_2, -a_3, -a_4])), w=1)
    rounded = np.rint(delays).astype(np.int64)
    return np.asarray(rounded.max() - rounded)


@inlined
def _step(z, c, x, b):  # type: ignore[no-untyped-def]
    """One sample x through the filter of band b: real and imaginary part at baseband, and the carrier.

    z is (10, BANDS): four states of the filter for each part, and the carrier. c: see `Filters.coefficients`.
    """
    cosine, sine = z[8, b], z[9, b]
    re, im = x * cosine, x * sine
    u, v = re + z[0, b], im + z[4, b]
    z[0, b] = c[0, b] * re + c[2, b] * u + z[1, b]
    z[1, b] = c[1, b] * re + c[3, b] * u + z[2, b]
    z[2, b] = c[4, b] * u + z[3, b]
    z[3, b] = c[5, b] * u
    z[4, b] = c[0, b] * im + c[2, b] * v + z[5, b]
    z[5, b] = c[1, b] * im + c[3, b] * v + z[6, b]
    z[6, b] = c[4, b] * v + z[7, b]
    z[7, b] = c[5, b] * v
    z[8, b] = cosine * c[6, b] + sine * c[7, b]
    z[9, b] = sine * c[6, b] - cosine * c[7, b]
    return u, v, cosine, sine


@inlined
def _forget(z):  # type: ignore[no-untyped-def]
    """Clear filter states that have died away."""
    for state in range(8):
        for b in range(BANDS):
            if abs(z[state, b]) < _TINY:
                z[state, b] = 0.0


@compiled
def _control(signal, c, power, total):  # type: ignore[no-untyped-def]
    """Squared magnitude at baseband, without the filters' gain, and its sum over time."""
    z = np.zeros((10, BANDS))
    z[8, :] = 1.0
    for start in range(0, signal.size, TILE):
        count = min(TILE, signal.size - start)
        for t in range(count):
            x = signal[start + t]
            row = power[start + t]
            for b in range(BANDS):
                u, v, _, _ = _step(z, c, x, b)
                squared = u * u + v * v
                total[b] += squared
                row[b] = np.float32(squared)
        _forget(z)


@compiled
def _analysis(signal, c, gain, power, k, lowpass, plan, taps, envelope, motion, slow, total, energy, left):  # type: ignore[no-untyped-def]
    """Envelope and motion after compression, the decimated versions of both, and sums over time.

    k is (4, BANDS): lower and upper limit of the control's squared magnitude, slope and intercept of the gain, all
    in terms of the logarithm to base 2. lowpass is the numerator and the pole of the gain's smoothing. total is the
    sum of the squared envelope before compression, energy (2, BANDS) that of envelope and motion after it, left
    (groups, BANDS) that of the decimated ones. plan, taps and slow: see `envelope_align`.
    """
    z = np.zeros((10, BANDS))
    z[8, :] = 1.0
    scale = _SCALE * gain * gain
    gains = np.zeros((TILE + 1, BANDS), np.float32)
    whole, rest = np.empty((TILE, BANDS), np.float32), np.empty((TILE, BANDS), np.float32)
    smooth = np.zeros(BANDS)
    history = taps.shape[1]
    env = np.zeros((history + TILE, BANDS), np.float32)
    bm = np.zeros((history + TILE, BANDS), np.float32)
    sums = np.empty((2, BANDS), np.float32)
    # Some tiles of silence at the end flush the decimation filters.
    for start in range(0, signal.size + history, TILE):
        count = max(min(TILE, signal.size - start), 0)
        env[:history] = env[TILE:]
        bm[:history] = bm[TILE:]
        env[history:] = _ZERO
        bm[history:] = _ZERO
        gains[0] = gains[TILE]
        # Three loops: what needs no double precision has twice as many lanes.
        for t in range(count):
            for b in range(BANDS):
                whole[t, b], rest[t, b] = log2_parts(max(power[start + t, b], _SMALLEST))
        for t in range(count):
            for b in range(BANDS):
                level = max(min(np.float64(whole[t, b]) + np.float64(rest[t, b]), k[1, b]), k[0, b])
                whole[t, b], rest[t, b] = round_parts(k[3, b] + k[2, b] * (level - k[0, b]))
        for t in range(count):
            for b in range(BANDS):
                gains[t + 1, b] = exp2_parts(whole[t, b], rest[t, b])
        for t in range(count):
            x = signal[start + t]
            for b in range(BANDS):
                u, v, cosine, sine = _step(z, c, x, b)
                squared = u * u + v * v
                total[b] += squared
                g = lowpass[0] * (gains[t, b] + gains[t + 1, b]) + lowpass[1] * smooth[b]
                smooth[b] = g
                env[history + t, b] = np.float32(scale[b] * squared)
                bm[history + t, b] = np.float32(g * gain[b] * (u * cosine + v * sine))
                gains[t, b] = np.float32(g)
        sums[:] = _ZERO
        for t in range(count):
            for b in range(BANDS):
                e = gains[t, b] * (_UNSCALE * np.sqrt(env[history + t, b]))
                env[history + t, b] = e
                m = bm[history + t, b]
                sums[0, b] += e * e
                sums[1, b] += m * m
        for b in range(BANDS):
            energy[0, b] += sums[0, b]
            energy[1, b] += sums[1, b]
            for t in range(count):
                motion[b, EDGE + start + t] = bm[history + t, b]
            for t in range(count):
                envelope[b, EDGE + start + t] = env[history + t, b]
        _forget(z)
        decimate_32(env, start, plan[0], taps[0], slow, left[0])
        decimate_8(env, start, plan[1], taps[1], slow, left[1])
        decimate_16(bm, start, plan[2], taps[2], slow, left[2])
        decimate_8(bm, start, plan[3], taps[3], slow, left[3])
        copy_8(bm, start, plan[4], slow, left[4])


@dataclass(frozen=True)
class Hearing:
    """How the cochlea of a listener's ear works: (BANDS,) arrays, from `loss_parameters` of the reference.

    Attributes:
        outer_attenuation: of the outer hair cells, dB.
        bandwidth: of the filters at low levels, relative to normal hearing.
        knee: level in dB SPL from which the gain is compressed.
        ratio: compression ratio.
        inner_attenuation: of the inner hair cells, dB.
    """

    outer_attenuation: F64
    bandwidth: F64
    knee: F64
    ratio: F64
    inner_attenuation: F64


KNEE_HIGH = 100.0  # dB SPL; above it the gain is linear again
_NUMERATOR, _DENOMINATOR = butter(1, 800 / (0.5 * SAMPLE_RATE))
LOWPASS = np.array([_NUMERATOR[0], -_DENOMINATOR[1]])
DB_PER_OCTAVE_OF_POWER = 10 * np.log10(2)


@dataclass(frozen=True)
class Control:
    """The control path of a signal: squared magnitude without the filters' gain (samples, BANDS), gain, and RMS."""

    power: F32
    gain: F64
    rms: F64


def control(signal: F64, center_frequency: F64, widest: F64, power: F32) -> Control:
    """Run the control path.

    Args:
        signal: after the middle ear, (samples,).
        center_frequency: (BANDS,) in Hz.
        widest: (BANDS,), bandwidth of the control filters.
        power: (samples, BANDS), receives the result.
    """
    design = filters(center_frequency, widest)
    total = np.zeros(BANDS)
    _control(signal, design.coefficients, power, total)
    return Control(power, design.gain, design.gain * np.sqrt(total / signal.size))


def adjusted_bandwidth(control_rms: F64, bandwidth: F64, widest: F64, level1: float) -> F64:
    """Bandwidth at the level of the signal: from 50 to 100 dB SPL it grows to the widest (`bandwidth_adjust`)."""
    with np.errstate(divide="ignore"):
        level = 20 * np.log10(control_rms) + level1
    return np.asarray(bandwidth + np.clip((level - 50) / 50, 0, 1) * (widest - bandwidth))


def analyse(
    signal: F64, design: Filters, path: Control, hearing: Hearing, level1: float, envelope: F32, motion: F32
) -> tuple[Vibration, F64]:
    """Filter and compress a signal.

    Args:
        signal: after the middle ear, (samples,).
        design: the filters, of adjusted bandwidth.
        path: the control path of the same signal.
        hearing: of the ear.
        level1: dB SPL of an amplitude of 1.
        envelope, motion: (BANDS, EDGE + samples + EDGE) with zeros at the edges, receive the result.

    Returns:
        The result, and the root mean square of the envelope before compression, (BANDS,).
    """
    offset = level1 + 20 * np.log10(path.gain)
    slope = -(1 - 1 / hearing.ratio) / 2
    k = np.stack(
        [
            (hearing.knee - offset) / DB_PER_OCTAVE_OF_POWER,
            (KNEE_HIGH - offset) / DB_PER_OCTAVE_OF_POWER,
            slope,
            -hearing.outer_attenuation / (2 * DB_PER_OCTAVE_OF_POWER),
        ]
    )
    memory, plan, slow = slow_storage(signal.size)
    total, energy, left = np.zeros(BANDS), np.zeros((2, BANDS)), np.zeros((len(plan), BANDS))
    _analysis(
        signal, design.coefficients, design.gain, path.power, k, LOWPASS, plan, PADDED_TAPS,
        envelope, motion, memory, total, energy, left,
    )  # fmt: skip
    return Vibration(envelope, motion, energy, left, slow), design.gain * np.sqrt(total / signal.size)
