"""What of the reference is too close for single precision to decide, in double precision.

Where a tile is close to threshold, its mean square; where a filter's delay is close to half a sample, the bandwidth
that the delay depends on. Few are that close, a tile in one ear of twenty and a filter in one of a thousand, and only
their bands are computed again. This is the metric as it is written (Kates & Arehart 2016, section II), one band at a
time, by SciPy's filters, and by pyclarity's own functions where these are not compiled when they are first called.
"""

from dataclasses import dataclass

import numpy as np
from clarity.evaluator.haspi import eb
from numpy.typing import NDArray
from scipy.signal import lfilter

from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.double.covariance import HALF, LENGTH, POWER, WINDOW, Tiles, tiles
from harness.haaqi.fast.double.filterbank import CENTER
from harness.haaqi.fast.double.hair_cells import ADAPTATION, NOISE_DB
from harness.haaqi.fast.numerics import F32, F64, SAMPLE_RATE
from harness.haaqi.fast.result import NEAR_THRESHOLD

CLOSE = 2 * NEAR_THRESHOLD
"""Distance of a tile from threshold in dB; more than elsewhere, since to be sure costs little here."""

_SETTLING = round(2 * SAMPLE_RATE)
"""Samples before a window after which nothing is left of what was before: all filters are faster than 60 ms."""

_SMALL = 1e-30


@dataclass(frozen=True)
class Origin:
    """What the bands of a reference are computed from.

    Attributes:
        signal: after the middle ear, (samples,).
        hearing: of the ear.
        level1: dB SPL of an amplitude of 1.
    """

    signal: F64
    hearing: double.Hearing
    level1: float

    def bandwidth(self, band: int) -> float:
        """Bandwidth of a band's filter at the level of the signal, relative to normal hearing."""
        control = _filtered(self.signal * self._carrier(band, self.signal.size), band, double.WIDEST[band])
        rms = np.sqrt(np.mean(control.real**2 + control.imag**2))
        return float(double.adjusted_bandwidth(rms, self.hearing.bandwidth[band], double.WIDEST[band], self.level1))

    def mean_square(self, band: int, bandwidth: float, late: int, noise: F32, window: int, count: int) -> float:
        """The mean square of a band's motion in a window.

        Args:
            band: which one.
            bandwidth: of its filter.
            late: samples by which the band is delayed.
            noise: (samples,), this band's, of unit variance.
            window: which one; there are `count`, of which the first and the last are halves.
            count: windows of the whole signal.
        """
        half = window in (0, count - 1)
        samples = HALF if half else LENGTH
        begin = window * HALF - late
        part = np.zeros(samples)
        if begin + samples > 0:
            first = max(0, begin - _SETTLING)
            motion = self._motion(band, bandwidth, slice(first, begin + samples), noise)[max(begin, 0) - first :]
            part[samples - motion.size :] = motion
        part *= WINDOW[HALF if window == 0 else 0 :][:samples]
        return float(((part - part.mean()) ** 2).sum() / POWER[1 if half else 0])

    def _carrier(self, band: int, samples: int) -> NDArray[np.complex128]:
        return np.asarray(np.exp(2j * np.pi / SAMPLE_RATE * CENTER[band] * np.arange(samples)))

    def _motion(self, band: int, bandwidth: float, when: slice, noise: F32) -> F64:
        """Motion of a band with an envelope in dB above threshold, adapted and with noise: (samples,) of a slice."""
        hearing, level1, signal = self.hearing, self.level1, self.signal[when]
        carrier = self._carrier(band, signal.size)
        wide = _filtered(signal * carrier, band, double.WIDEST[band])
        own = _filtered(signal * carrier, band, bandwidth)
        envelope, motion = eb.env_compress_basilar_membrane(
            np.abs(own), (own * carrier.conj()).real, np.abs(wide), hearing.outer_attenuation[band],
            hearing.knee[band], hearing.ratio[band], SAMPLE_RATE, level1,
        )  # fmt: skip
        envelope, motion = eb.envelope_sl(envelope, motion, hearing.inner_attenuation[band], level1)
        adapted = np.maximum(lfilter(*_ADAPTATION, envelope), 0)
        motion *= (adapted + _SMALL) / (envelope + _SMALL)
        motion += 10 ** ((NOISE_DB - level1) / 20) * noise[when]
        return np.asarray(motion)


def _filtered(baseband: NDArray[np.complex128], band: int, bandwidth: float) -> NDArray[np.complex128]:
    """A signal that was brought down to baseband, (samples,), through a band's filter."""
    design = double.filters(CENTER[band : band + 1], np.array([bandwidth]))
    a_1, a_5, _, a_2, a_3, a_4, _, _ = design.coefficients[:, 0]
    return np.asarray(design.gain[0] * lfilter([1, a_1, a_5], [1, -a_1, -a_2, -a_3, -a_4], baseband))


def _adaptation() -> tuple[F64, F64]:
    """The circuit of `double.hair_cells` from level to adapted level, as numerator and denominator.

    Its voltages are v(t) = A v(t - 1) + b v0(t), and its output is (v0 - v[0]) / r_1.
    """
    i11, i12, i21, i22, r_2, rapid, slow, r_1_inverse = ADAPTATION
    (a, b), (c, d) = (i11 * rapid, i12 * slow), (i21 * rapid, i22 * slow)
    denominator = np.array([1, -(a + d), a * d - b * c])
    # By Cramer's rule: v[0] over v0.
    first = r_2 * np.array([i11, b * i21 - d * i11, 0])
    return r_1_inverse * (denominator - first), denominator


_ADAPTATION = _adaptation()


def settled(origin: Origin, squares: F64, bandwidth: F64, late: NDArray[np.int32], noise: F32) -> tuple[Tiles, bool]:
    """Weigh tiles; those close to threshold by their mean squares in double precision.

    Args:
        origin: of the reference.
        squares: its mean squares in single precision, (BANDS, windows); those of close tiles are replaced.
        bandwidth, late: (BANDS,), of the bands' filters, and samples by which the bands are delayed.
        noise: (BANDS * samples,), the reference's, of unit variance.

    Returns:
        The weights, with the margin of what single precision decided, and whether anything was replaced.
    """
    found = tiles(squares)
    close = found.distance < CLOSE
    if not close.any() or found.window_margin < NEAR_THRESHOLD:
        # Whether a window counts depends on all bands.
        return found, False
    samples, count = origin.signal.size, squares.shape[1]
    for band, window in np.argwhere(close).tolist():
        own_noise = noise[band * samples : (band + 1) * samples]
        squares[band, window] = origin.mean_square(band, bandwidth[band], int(late[band]), own_noise, window, count)
    return tiles(squares, close), True
