"""One ear through all stages of HAAQI in single precision, in the metric's order.

The stages of `double.engine` in the same places: `input_align`, `filterbank`, `envelope_align`, `comparison` (hair
cells and covariance), `cepstrum`, and pyclarity's own `spectrum_diff`.

Single precision changes scores by some 1e-8, as long as nothing is decided otherwise: which of two delays fits better,
whether a window is loud enough to count. So each score comes with the margins of these decisions. Where a tile is too
close to threshold, `doubts` decides it in double precision, as it does where a filter's delay is close to half a
sample; where anything else is too close, there is no score, and the engine in double precision has to decide all.
"""

from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray

from harness.haaqi.fast import cepstrum, nalr
from harness.haaqi.fast.double import covariance
from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.double.engine import combine
from harness.haaqi.fast.input_align import Samples, middle_ear, shifted
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS, F64
from harness.haaqi.fast.result import NEAR_HALF, Result
from harness.haaqi.fast.single import cochlea, comparison, doubts, envelope_align, input_align


@dataclass(frozen=True)
class Reference:
    """What of an ear's score depends on the reference and the listener alone.

    Attributes:
        late: (BANDS,) int32, see *Group time* in `filterbank`.
        bandwidth: (BANDS,), of the filters, relative to normal hearing.
        origin: of what `doubts` may have to compute again.
        spectrum: in dB above threshold, (BANDS,).
    """

    bulk: input_align.Bulk
    hearing: double.Hearing
    level1: float
    vibration: envelope_align.Vibration
    late: NDArray[np.int32]
    bandwidth: F64
    origin: doubts.Origin
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
        cut = nalr.amplified(cut, hearing_loss)
    hearing = double.Hearing(*eb.loss_parameters(hearing_loss, double.CENTER))
    origin = doubts.Origin(middle_ear(cut), hearing, level1)
    path = cochlea.control(origin.signal, hearing, level1)
    for band in double.close_delays(path.bandwidth, NEAR_HALF).tolist():
        path.bandwidth[band] = origin.bandwidth(band)
    late = double.group_delays(path.bandwidth).astype(np.int32)
    vibration, spectrum = cochlea.analyse(path, late, hearing, level1, own)
    return Reference(bulk, hearing, level1, vibration, late, path.bandwidth, origin, spectrum)


def score(reference: Reference, processed: Samples, noise: Noise, offset: int, scratch: Workspace) -> Result | None:
    """HAAQI of a processed signal: (samples,) at 24 kHz. scratch may be used by others afterwards.

    None if there is nothing to tell the signals' delay by.
    """
    hearing, level1 = reference.hearing, reference.level1
    bulk = reference.bulk
    delay = input_align.delay_of(bulk, processed)
    if delay is None:
        return None
    path = cochlea.control(middle_ear(shifted(processed, delay, bulk.start, bulk.stop)), hearing, level1)
    vibration, spectrum = cochlea.analyse(path, reference.late, hearing, level1, scratch)
    aligned = envelope_align.delays(reference.vibration, vibration)
    found = comparison.compare(
        reference.vibration, vibration, aligned.delay, reference.late, hearing.inner_attenuation, level1, noise, offset
    )
    modulation = cepstrum.reference_modulation(found.reference)
    tiles, settled = doubts.settled(
        reference.origin,
        found.squares,
        reference.bandwidth,
        reference.late,
        noise.read(offset, BANDS * reference.samples),
    )
    return Result(
        combine(
            cepstrum.correlation(modulation, found.processed),
            0.0 if tiles.weights is None else covariance.coherence(found.covariances, tiles.weights),
            *eb.spectrum_diff(reference.spectrum, spectrum)[:2],
        ),
        2 * BANDS * reference.samples + modulation.draws,
        aligned.margin,
        min(tiles.margin, modulation.margin),
        settled,
    )
