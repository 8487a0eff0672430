"""A signal through the filters of `filterbank`: the control path, then envelopes and motions of all bands."""

from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray

from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.memory import PASSING, Workspace
from harness.haaqi.fast.numerics import BANDS, F32, F64
from harness.haaqi.fast.single import filterbank
from harness.haaqi.fast.single.envelope_align import EDGE, STEPS, Rate, Vibration, taps
from harness.haaqi.fast.single.filterbank import GROUPS
from harness.haaqi.fast.single.hair_cells import SPAN
from harness.haaqi.fast.single.vectors import LANES

_ROOM = 1024  # samples before a signal, for the latest band; no filter is later


@dataclass(frozen=True)
class Control:
    """The control path of a signal.

    Attributes:
        signal, single: the signal in double and in single precision, with `_ROOM` zeros before it and some after it.
        size: samples of the signal.
        gains: of the compression, relative to that at low levels: flat (BANDS, row), time 0 is at index `_ROOM`.
        rms: (BANDS,).
        bandwidth: (BANDS,), of the filters at the level of the signal, relative to normal hearing.
    """

    signal: F64
    single: F32
    size: int
    gains: F32
    rms: F64
    bandwidth: F64


def _padded(size: int) -> int:
    """Samples of a signal's envelopes and motions from time 0 on: its own, its latest band's, and whole tiles."""
    return -(-(size + _ROOM) // SPAN) * SPAN


def _row_starts(group: int, row: int) -> NDArray[np.int64]:
    """Where time 0 of a group's bands is in rows of all bands."""
    return (group * LANES + np.arange(LANES)) * row + _ROOM


def control(signal: F64, hearing: double.Hearing, level1: float) -> Control:
    """Run the control path. What it returns is good until it is run again: the gains share one memory.

    Args:
        signal: after the middle ear, (samples,).
        hearing: of the ear.
        level1: dB SPL of an amplitude of 1.
    """
    size, length = signal.size, _padded(signal.size)
    row = _ROOM + length + LANES
    padded = np.zeros(row)
    padded[_ROOM : _ROOM + size] = signal
    single = padded.astype(np.float32)
    gains = PASSING.array("gains", BANDS * row)
    # Before and after a signal they are multiplied by zeros.
    rows = gains.reshape(BANDS, row)
    rows[:, :_ROOM] = 0
    rows[:, _ROOM + length :] = 0
    design = filterbank.filters(double.WIDEST)
    offset = level1 + 20 * np.log10(design.gain)
    k = filterbank.gain_constants(
        (hearing.knee - offset) / double.DB_PER_OCTAVE_OF_POWER,
        (double.KNEE_HIGH - offset) / double.DB_PER_OCTAVE_OF_POWER,
        -(1 - 1 / hearing.ratio) / 2,
    )
    total = np.empty(BANDS)
    for group in range(GROUPS):
        filterbank.control(
            single[_ROOM : _ROOM + length], size, filterbank.CARRIER, filterbank.TURN, design.coefficients, k,
            double.LOWPASS.astype(np.float32), gains, _row_starts(group, row), total, group,
        )  # fmt: skip
    rms = design.gain * np.sqrt(total / size)
    bandwidth = double.adjusted_bandwidth(rms, hearing.bandwidth, double.WIDEST, level1)
    return Control(padded, single, size, gains, rms, bandwidth)


def analyse(
    path: Control, late: NDArray[np.int32], hearing: double.Hearing, level1: float, space: Workspace
) -> tuple[Vibration, F64]:
    """Filter and compress a signal.

    Args:
        path: its control path.
        late: (BANDS,), see *Group time* in `filterbank`.
        hearing, level1: as in `control`.
        space: memory that lasts as long as the result: 2 x 32 x 4 bytes for each sample.

    Returns:
        The result, and the signal's spectrum in dB above threshold, (BANDS,).
    """
    length, row = _padded(path.size), path.gains.size // BANDS
    design = filterbank.filters(path.bandwidth)
    least = 10 ** (-hearing.outer_attenuation / 20)
    least = np.concatenate([least, least * design.gain]).astype(np.float32)
    gain = design.gain.astype(np.float32)
    total = np.empty(BANDS)
    energy, slow_energy = np.empty((2, GROUPS, LANES)), np.empty((2, GROUPS, LANES))
    stored = [[_storage(space, kind, group, length) for group in range(GROUPS)] for kind in range(2)]
    for group in range(GROUPS):
        envelope, motion = (of_kind[group] for of_kind in stored)
        starts = _ROOM - late[group * LANES : (group + 1) * LANES].astype(np.int64)
        filterbank.analysis(
            path.single, path.signal, starts, late, path.size, length, filterbank.CARRIER, filterbank.CARRIER_64,
            filterbank.TURN, design.coefficients, gain, least, path.gains, _row_starts(group, row) - _ROOM + starts,
            envelope.wave, motion.wave, EDGE * LANES, np.array([envelope.plan, motion.plan]), taps()[0],
            envelope.slow, motion.slow, total, energy.reshape(-1), slow_energy.reshape(-1), group,
        )  # fmt: skip
    waves = tuple(each.wave for each in stored[0]), tuple(each.wave for each in stored[1])
    slow = tuple(each.slow for each in stored[0]), tuple(each.slow for each in stored[1])
    vibration = Vibration(path.size, length, waves, slow, energy, slow_energy)
    spectrum = eb.convert_rms_to_sl(
        np.sqrt(total / path.size) / filterbank.SCALE, path.rms, hearing.outer_attenuation, hearing.knee,
        hearing.ratio, hearing.inner_attenuation, level1,
    )  # fmt: skip
    return vibration, spectrum


@dataclass(frozen=True)
class _Stored:
    """Memory for envelopes or motions of a group, with zeros around what `filterbank.analysis` will write.

    Attributes:
        wave, slow: see `Vibration.waves` and `Vibration.slow`.
        plan: see `decimate`.
    """

    wave: F32
    slow: F32
    plan: tuple[int, int, int, int]


def _storage(space: Workspace, kind: int, group: int, length: int) -> _Stored:
    """Room for the envelopes (kind 0) or the motions of a group, from time 0 to length."""
    rate = Rate(STEPS[kind][group])
    rows, filtered = rate.rows(length), rate.step > 1
    samples = length + 2 * EDGE if filtered else max(length + 2 * EDGE, rows)
    wave = space.array(f"wave {kind} {group}", samples * LANES)
    wave[: EDGE * LANES] = 0
    wave[(EDGE + length) * LANES :] = 0
    if not filtered:
        return _Stored(wave, wave, (1, 0, 0, 0))
    slow = space.array(f"slow {kind} {group}", rows * LANES)
    slow[: rate.margin * LANES] = 0
    slow[(rate.margin + length // rate.step) * LANES :] = 0
    first, count = taps()[1][rate.step]
    return _Stored(wave, slow, (rate.step, count, first, rate.margin * LANES))
