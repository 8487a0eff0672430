"""NAL-R by transforms of short blocks: `np.convolve` but for a few units of the last place, in an eighth of the time.

Overlap-save (Oppenheim & Schafer, *Discrete-Time Signal Processing*, section 8.7.3): blocks that overlap by the length
of the filter are multiplied by its spectrum, and of each is kept what the wrap-around does not reach. A channel's
blocks are the same for all listeners, so they can be transformed once.

The filters are pyclarity's. The locked evaluator and whatever makes submissions use `enhancement.amplify_ear`, whose
digits count; here a sample may differ from it by 1e-12 of the peak (`tests/haaqi/test_fast_nalr.py`).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from clarity.enhancer.nalr import NALR
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.haaqi.fast.numerics import F64, SAMPLE_RATE

_BLOCK = 4096  # samples
_AT_ONCE = 16  # blocks: few enough for the second cache, enough for SIMD lanes

_TAPS = 140
"""Order of the filter that `ear_model` applies to a reference without NAL-R, of which it cuts so many samples."""


@dataclass(frozen=True)
class Blocks:
    """A signal that is ready for filters of one length.

    Attributes:
        samples: length of the signal.
        taps: length of the filters.
        spectra: of its blocks, each `_BLOCK` samples, (blocks, _BLOCK // 2 + 1).
    """

    samples: int
    taps: int
    spectra: NDArray[np.complex128]


def blocks_of(signal: NDArray[np.floating[Any]], taps: int) -> Blocks:
    """Prepare a signal, (samples,), for filters of at most half a block."""
    step = _BLOCK - taps + 1
    blocks = -(-(signal.size + taps - 1) // step)
    padded = np.zeros(taps - 1 + blocks * step)
    padded[taps - 1 : taps - 1 + signal.size] = signal
    overlapping = sliding_window_view(padded, _BLOCK)[::step]
    spectra = np.empty((blocks, _BLOCK // 2 + 1), np.complex128)
    for first in range(0, blocks, _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        spectra[some] = scipy.fft.rfft(overlapping[some], axis=1)
    return Blocks(signal.size, taps, spectra)


def filtered(blocks: Blocks, fir: F64) -> F64:
    """The whole convolution of a signal with a filter: (samples + taps - 1,)."""
    found = np.empty((len(blocks.spectra), _BLOCK - blocks.taps + 1))
    response = scipy.fft.rfft(fir, _BLOCK)
    for first in range(0, len(found), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        product = blocks.spectra[some] * response
        found[some] = scipy.fft.irfft(product, _BLOCK, axis=1, overwrite_x=True)[:, blocks.taps - 1 :]
    return found.reshape(-1)[: blocks.samples + blocks.taps - 1]


def amplified(reference: NDArray[np.floating[Any]], hearing_loss: F64) -> F64:
    """NAL-R as `ear_model` applies it to a reference that has none: (samples,) at 24 kHz.

    Args:
        reference: (samples,) at 24 kHz.
        hearing_loss: dB HL at `HAAQI_AUDIOGRAM_FREQUENCIES`.
    """
    fir = _fir(tuple(map(float, hearing_loss)))
    return filtered(blocks_of(reference, fir.size), fir)[_TAPS : _TAPS + reference.size]


@lru_cache(maxsize=256)
def _fir(hearing_loss: tuple[float, ...]) -> F64:
    audiogram = ClarityAudiogram(levels=np.array(hearing_loss), frequencies=HAAQI_AUDIOGRAM_FREQUENCIES)
    fir, _ = NALR(_TAPS, SAMPLE_RATE).build(audiogram)
    fir.flags.writeable = False  # shared by all callers through the cache
    return np.asarray(fir)
