"""One ear through all stages of HAAQI in single precision, in the metric's order.

The stages of `double.engine` in the same places: `input_align`, `filterbank`, `envelope_align`, `comparison` (hair
cells and covariance), `cepstrum`, and pyclarity's own `spectrum_diff`.

Single precision changes scores by some 1e-8, as long as nothing is decided otherwise: which of two delays fits better,
whether a window is loud enough to count. So each score comes with the margins of these decisions, and where one is too
small there is none: then the engine in double precision has to decide.
"""

from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray

from harness.haaqi.fast import cepstrum
from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.double.engine import amplified, combine
from harness.haaqi.fast.double import covariance
from harness.haaqi.fast.input_align import Samples, middle_ear, shifted
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS, F32, F64
from harness.haaqi.fast.result import Result
from harness.haaqi.fast.single import comparison, envelope_align, filterbank, input_align
from harness.haaqi.fast.single.filterbank import CENTER, GROUPS
from harness.haaqi.fast.single.hair_cells import SPAN
from harness.haaqi.fast.single.memory import aligned
from harness.haaqi.fast.single.vectors import LANES

_WIDEST: F64 = eb.loss_parameters(np.full(6, 100), CENTER)[1]
_ROOM = 1024  # samples before a signal, for the latest band; no filter is later


class Workspace:
    """Memory for one signal's envelopes and motions, used again and again: 2 x 32 x 4 bytes for each sample."""

    def __init__(self) -> None:
        self._memory: dict[str, F32] = {}

    def array(self, name: str, samples: int) -> F32:
        """(samples * LANES,), with anything in it."""
        memory = self._memory.get(name)
        if memory is None or memory.size < samples * LANES:
            self._memory.pop(name, None)
            memory = self._memory[name] = aligned(samples * LANES)
        return memory[: samples * LANES]


@dataclass(frozen=True)
class Reference:
    """What of an ear's score depends on the reference and the listener alone.

    Attributes:
        late: (BANDS,) int32, see *Group time* in `filterbank`.
        spectrum: in dB above threshold, (BANDS,).
    """

    bulk: input_align.Bulk
    hearing: double.Hearing
    level1: float
    vibration: envelope_align.Vibration
    late: NDArray[np.int32]
    spectrum: F64

    @property
    def samples(self) -> int:
        """Length of the signals after they are cut."""
        return self.vibration.samples


def prepare(reference: Samples) -> input_align.Bulk:
    """Prepare a reference for alignment: (samples,) at 24 kHz."""
    return input_align.analyse(reference)


def analyse_reference(
    reference: Samples, bulk: input_align.Bulk, hearing_loss: F64, equalisation: int, level1: float, own: Workspace
) -> Reference:
    """The reference's share of the work: arguments as of `double.engine.analyse_reference`."""
    cut = reference[bulk.start : bulk.stop]
    if equalisation == 1:
        cut = amplified(cut, hearing_loss)
    hearing = double.Hearing(*eb.loss_parameters(hearing_loss, CENTER))
    path = _control(middle_ear(cut), hearing, level1)
    bandwidth = double.adjusted_bandwidth(path.rms, hearing.bandwidth, _WIDEST, level1)
    late = double.group_delays(bandwidth).astype(np.int32)
    vibration, spectrum = _analyse(path, bandwidth, late, hearing, level1, own)
    return Reference(bulk, hearing, level1, vibration, late, spectrum)


def score(reference: Reference, processed: Samples, noise: Noise, offset: int, scratch: Workspace) -> Result | None:
    """HAAQI of a processed signal: (samples,) at 24 kHz. scratch may be used by others afterwards.

    None if there is nothing to tell the signals' delay by.
    """
    hearing, level1 = reference.hearing, reference.level1
    bulk = reference.bulk
    delay = input_align.delay_of(bulk, processed, _bulk_scratch)
    if delay is None:
        return None
    path = _control(middle_ear(shifted(processed, delay, bulk.start, bulk.stop)), hearing, level1)
    bandwidth = double.adjusted_bandwidth(path.rms, hearing.bandwidth, _WIDEST, level1)
    vibration, spectrum = _analyse(path, bandwidth, reference.late, hearing, level1, scratch)
    aligned = envelope_align.delays(reference.vibration, vibration)
    found = comparison.compare(
        reference.vibration, vibration, aligned.delay, reference.late, hearing.inner_attenuation, level1, noise, offset
    )
    modulation = cepstrum.reference_modulation(found.reference)
    tiles = covariance.tiles(found.squares)
    return Result(
        combine(
            cepstrum.correlation(modulation, found.processed),
            0.0 if tiles.weights is None else covariance.coherence(found.covariances, tiles.weights),
            *eb.spectrum_diff(reference.spectrum, spectrum)[:2],
        ),
        2 * BANDS * reference.samples + modulation.draws,
        aligned.margin,
        min(tiles.margin, modulation.margin),
    )


@dataclass(frozen=True)
class _Control:
    """The control path of a signal.

    Attributes:
        signal: (samples,) between `_ROOM` zeros before it and others after it.
        size: samples of the signal.
        gains: (BANDS, row) of the compression; time 0 is at index `_ROOM`.
        rms: (BANDS,).
    """

    signal: F64
    signal_32: F32
    size: int
    gains: F32
    rms: F64


def _padded(size: int) -> int:
    """Samples of a signal's envelopes and motions from time 0 on: its own, its latest band's, and whole tiles."""
    return -(-(size + _ROOM) // SPAN) * SPAN


_bulk_scratch = input_align.Scratch()
_gains: dict[int, F32] = {}


def _control(signal: F64, hearing: double.Hearing, level1: float) -> _Control:
    size, length = signal.size, _padded(signal.size)
    padded = np.zeros(_ROOM + length + LANES)
    padded[_ROOM : _ROOM + size] = signal
    single = padded.astype(np.float32)
    design = filterbank.filters(_WIDEST)
    row = _ROOM + length + LANES
    gains = _gains.get(row)
    if gains is None:
        _gains.clear()
        gains = _gains[row] = aligned(BANDS * row)
        gains[:] = 0
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
    return _Control(padded, single, size, gains, design.gain * np.sqrt(total / size))


def _row_starts(group: int, row: int) -> NDArray[np.int64]:
    """Where time 0 of a group's bands is in rows of all bands."""
    return (group * LANES + np.arange(LANES)) * row + _ROOM


def _analyse(
    path: _Control, bandwidth: F64, late: NDArray[np.int32], hearing: double.Hearing, level1: float, space: Workspace
) -> tuple[envelope_align.Vibration, F64]:
    """Filter and compress a signal; also its spectrum in dB above threshold, (BANDS,)."""
    length = _padded(path.size)
    design = filterbank.filters(bandwidth)
    total = np.empty(BANDS)
    energy, slow_energy = np.empty((2, GROUPS, LANES)), np.empty((2, GROUPS, LANES))
    gain = design.gain.astype(np.float32)
    least = 10 ** (-hearing.outer_attenuation / 20)
    both = np.concatenate([least, least * design.gain]).astype(np.float32)
    row = path.gains.size // BANDS
    waves: list[list[F32]] = [[], []]
    slow: list[list[F32]] = [[], []]
    taps, places = envelope_align.taps()
    for group in range(GROUPS):
        plan = np.ones((2, 4), np.int64)
        for kind in range(2):
            step = envelope_align.STEPS[kind][group]
            rate = envelope_align.Rate(step)
            rows = rate.rows(length)
            whole = max(length + 2 * envelope_align.EDGE, rows if step == 1 else 0)
            wave = space.array(f"wave {kind} {group}", whole)
            wave[: envelope_align.EDGE * LANES] = 0
            wave[(envelope_align.EDGE + length) * LANES :] = 0
            waves[kind].append(wave)
            if step == 1:
                slow[kind].append(wave)
                continue
            decimated = space.array(f"slow {kind} {group}", rows)
            decimated[: rate.margin * LANES] = 0
            decimated[(rate.margin + length // step) * LANES :] = 0
            slow[kind].append(decimated)
            begin, count = places[step]
            plan[kind] = step, count, begin, rate.margin * LANES
        starts = _ROOM - late[group * LANES : (group + 1) * LANES].astype(np.int64)
        filterbank.analysis(
            path.signal_32, path.signal, starts, late, path.size, length, filterbank.CARRIER, filterbank.CARRIER_64, filterbank.TURN,
            design.coefficients, gain, both, path.gains, _row_starts(group, row) - _ROOM + starts,
            waves[0][-1], waves[1][-1], envelope_align.EDGE * LANES, plan, taps, slow[0][-1], slow[1][-1],
            total, energy.reshape(-1), slow_energy.reshape(-1), group,
        )  # fmt: skip
    vibration = envelope_align.Vibration(
        path.size, length, (tuple(waves[0]), tuple(waves[1])), (tuple(slow[0]), tuple(slow[1])), energy, slow_energy
    )
    rms = np.sqrt(total / path.size) / filterbank.SCALE
    spectrum = eb.convert_rms_to_sl(
        rms, path.rms, hearing.outer_attenuation, hearing.knee, hearing.ratio, hearing.inner_attenuation, level1
    )
    return vibration, spectrum
