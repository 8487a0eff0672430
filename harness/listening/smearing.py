"""Spectral smearing, all frames of a signal at once: MSBG's own loop over them takes half of the simulation's time.

Frames of 256 samples, one every 64, are smeared by multiplying their power spectrum with a matrix that pyclarity's
`Smearer` computes from the widths of the auditory filters; phases stay (Baer & Moore, J. Acoust. Soc. Am. 94, 1993).
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from harness.enhancement import Signal


@dataclass(frozen=True, eq=False)
class Smearer:
    """Does what pyclarity's `Smearer.smear` does, to rounding.

    Except at the ends, unless there is silence: pyclarity's loop reads the first three hops twice, and adds up the last
    three from the wrong parts of their frames. Here both are as everywhere else.

    Attributes:
        matrix: pyclarity's `f_smear`, (256, 256).
    """

    matrix: NDArray[np.float64]

    def smear(self, signal: Signal) -> NDArray[np.float64]:
        """Smear a signal: (samples,) to (samples rounded up to whole hops, and three more), 192 samples later."""
        from clarity.evaluator.msbg.smearing import FFT_SIZE, FRAME_SIZE, SHIFT
        from scipy.fft import irfft, rfft

        half = FFT_SIZE // 2
        window = (0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(FRAME_SIZE) + 0.5) / FRAME_SIZE)) / np.sqrt(1.5)
        count = -(-len(signal) // SHIFT)
        before = FRAME_SIZE - SHIFT
        padded = np.concatenate([np.zeros(before), signal, np.zeros(count * SHIFT - len(signal))])
        frames = sliding_window_view(padded, FRAME_SIZE)[::SHIFT]

        spectra = rfft(frames * window, FFT_SIZE)
        spectra[:, half] = 0
        sizes = np.abs(spectra[:, :half])
        # The matrix has negative elements. The root of a negative power is imaginary, as in pyclarity.
        smeared = np.emath.sqrt(sizes**2 @ self.matrix.T)
        spectra[:, :half] *= smeared / np.where(sizes == 0, 1, sizes)
        frames = irfft(spectra, FFT_SIZE)[:, :FRAME_SIZE] * window

        hops = np.zeros((count + FRAME_SIZE // SHIFT - 1, SHIFT))
        for part in range(FRAME_SIZE // SHIFT):
            hops[part : part + count] += frames[:, part * SHIFT : (part + 1) * SHIFT]
        return hops.ravel()
