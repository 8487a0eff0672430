"""One ear through all stages of HAAQI, in the metric's order, with the reference's share of the work kept.

`input_align`: both signals aligned and cut, outer and middle ear. `filterbank`: gammatone filters and compression give
envelope and motion in 32 bands. `envelope_align`: the delay of the processed signal in each band. `hair_cells`: level,
adaptation, noise and group delay give the motion and the smoothed envelope that are compared. `cepstrum`, `covariance`
and, for the long-term spectra, pyclarity's own `spectrum_diff`: three comparisons, and a regression makes the score.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray

from harness.haaqi.fast import cepstrum, input_align, nalr
from harness.haaqi.fast.double import covariance, envelope_align, filterbank, hair_cells
from harness.haaqi.fast.double.filterbank import CENTER, WIDEST
from harness.haaqi.fast.input_align import Samples
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS, F32, F64
from harness.haaqi.fast.result import Result


def _with_edges(space: Workspace, name: str, samples: int, edge: int) -> F32:
    """Memory of all bands, (BANDS, edge + samples + edge): zeros at the edges and anything between."""
    width = samples + 2 * edge
    array: F32 = space.array(name, BANDS * width).reshape(BANDS, width)
    array[:, :edge] = 0
    array[:, width - edge :] = 0
    return array


@dataclass(frozen=True)
class Heard:
    """What the inner hair cells make of a reference, and what of the comparison depends on that alone.

    Attributes:
        offset: where the random numbers begin that were used.
        motion: (BANDS, samples).
        modulation, tiles: see `cepstrum` and `covariance`.
    """

    offset: int
    motion: F32
    modulation: cepstrum.Modulation
    tiles: covariance.Tiles


@dataclass
class Reference:
    """What of an ear's score depends on the reference and the listener alone.

    Attributes:
        correct: samples by which the bands are delayed to be in time with each other, (BANDS,).
        spectrum: in dB above threshold, (BANDS,).
        own: memory of the big arrays.
        heard: kept from the last score.
    """

    bulk: input_align.Bulk
    hearing: filterbank.Hearing
    level1: float
    vibration: envelope_align.Vibration
    blocks: tuple[NDArray[np.complex64], ...]
    correct: NDArray[np.int64]
    spectrum: F64
    own: Workspace
    heard: Heard | None = None

    @property
    def samples(self) -> int:
        """Length of the signals after they are cut."""
        return self.bulk.stop - self.bulk.start


def prepare(reference: Samples) -> input_align.Bulk:
    """Prepare a reference for alignment: (samples,) at 24 kHz."""
    return input_align.analyse(reference)


def analyse_reference(
    reference: Samples, bulk: input_align.Bulk, hearing_loss: F64, equalisation: int, level1: float, own: Workspace
) -> Reference:
    """The reference's share of the work.

    Args:
        reference: (samples,) at 24 kHz.
        bulk: from `prepare`.
        hearing_loss: dB HL at `HAAQI_AUDIOGRAM_FREQUENCIES`.
        equalisation: 1 to amplify the reference by NAL-R here, 2 if it is amplified.
        level1: dB SPL of an amplitude of 1.
        own: memory that lasts as long as the result: 3 x 32 x 4 bytes for each sample.
    """
    cut = reference[bulk.start : bulk.stop]
    if equalisation == 1:
        cut = nalr.amplified(cut, hearing_loss)
    signal = input_align.middle_ear(cut)
    hearing = filterbank.Hearing(*eb.loss_parameters(hearing_loss, CENTER))
    vibration, bandwidth, spectrum = _cochlea(signal, hearing, level1, own)
    return Reference(
        bulk=bulk,
        hearing=hearing,
        level1=level1,
        vibration=replace(vibration, slow=()),
        blocks=envelope_align.analyse(vibration),
        correct=filterbank.group_delays(bandwidth),
        spectrum=spectrum,
        own=own,
    )


def _heard(reference: Reference, noise: Noise, offset: int) -> Heard:
    """The reference with the random numbers from an offset on."""
    if reference.heard is None or reference.heard.offset != offset:
        vibration, size = reference.vibration, reference.samples
        response = hair_cells.respond(
            vibration.envelope, vibration.motion, np.zeros((2, BANDS), np.int64), reference.correct,
            reference.hearing.inner_attenuation, reference.level1, noise.read(offset, BANDS * size),
            reference.own.array("power", BANDS * size).reshape(BANDS, size),
        )  # fmt: skip
        reference.heard = Heard(
            offset,
            response.motion,
            cepstrum.reference_modulation(response.smooth),
            covariance.tiles(covariance.mean_squares(response.motion)),
        )
    return reference.heard


def score(reference: Reference, processed: Samples, noise: Noise, offset: int, scratch: Workspace) -> Result | None:
    """HAAQI of a processed signal.

    Args:
        reference: from `analyse_reference`.
        processed: (samples,) at 24 kHz.
        noise: the stream of random numbers.
        offset: where this ear's begin.
        scratch: may be used by others afterwards.

    Returns:
        None if single precision, in which the filters' outputs are kept, cannot decide how the signals are to be
        aligned (`envelope_align.delays`).
    """
    size = reference.samples
    heard = _heard(reference, noise, offset)
    signal = input_align.middle_ear(input_align.align(reference.bulk, processed))
    vibration, _, spectrum = _cochlea(signal, reference.hearing, reference.level1, scratch)
    delay = envelope_align.delays(reference.vibration, reference.blocks, vibration)
    if delay is None:
        return None
    response = hair_cells.respond(
        vibration.envelope, vibration.motion, delay, reference.correct, reference.hearing.inner_attenuation,
        reference.level1, noise.read(offset + BANDS * size, BANDS * size),
        scratch.array("power", BANDS * size).reshape(BANDS, size),
    )  # fmt: skip
    weights, coherence = heard.tiles.weights, 0.0
    if weights is not None:
        coherence = covariance.coherence(covariance.covariances(heard.motion, response.motion, weights), weights)
    found = combine(
        cepstrum.correlation(heard.modulation, response.smooth),
        coherence,
        *eb.spectrum_diff(reference.spectrum, spectrum)[:2],
    )
    return Result(found, 2 * BANDS * size + heard.modulation.draws)


def _cochlea(
    signal: F64, hearing: filterbank.Hearing, level1: float, space: Workspace
) -> tuple[envelope_align.Vibration, F64, F64]:
    """Filter and compress a signal.

    Also the filters' bandwidth relative to normal hearing, and the signal's spectrum in dB above threshold: (BANDS,).
    """
    size, edge = signal.size, envelope_align.EDGE
    path = filterbank.control(signal, CENTER, WIDEST, space.array("power", BANDS * size).reshape(size, BANDS))
    bandwidth = filterbank.adjusted_bandwidth(path.rms, hearing.bandwidth, WIDEST, level1)
    design = filterbank.filters(CENTER, bandwidth)
    vibration, rms = filterbank.analyse(
        signal,
        design,
        path,
        hearing,
        level1,
        _with_edges(space, "envelope", size, edge),
        _with_edges(space, "motion", size, edge),
    )
    spectrum = eb.convert_rms_to_sl(
        rms, path.rms, hearing.outer_attenuation, hearing.knee, hearing.ratio, hearing.inner_attenuation, level1
    )
    return vibration, bandwidth, spectrum


def combine(cepstral: float, coherence: float, loudness: Any, shape: Any) -> float:
    """The regression of Kates & Arehart 2016, equations 14 to 16, on nonlinear and linear terms (`haaqi_v1`)."""
    d_loud = float(np.clip(1.0 - loudness[1] / 2.5, 0, 1))
    d_norm = float(np.clip(1.0 - shape[1] / 25, 0, 1))
    nonlinear = 0.754 * cepstral**3 + 0.246 * coherence
    linear = 0.329 * d_loud + 0.671 * d_norm
    return float(0.336 * nonlinear + 0.001 * linear + 0.501 * nonlinear**2 + 0.161 * linear**2)
