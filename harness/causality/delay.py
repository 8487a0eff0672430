"""By how much an output lags the music that it was made of."""

import numpy as np

from harness.enhancement import Signal

CLEAR = 12.0
"""A peak is clear that is so many times the root mean square of all others. Of half a million values of noise the
largest is 5 times theirs."""

WEAKEST = 1e-3
"""Frequencies with less of the strongest one's cross-power count less: there is little but rounding in them."""


def delay_of(output: Signal, music: Signal) -> int | None:
    """The delay of an output behind the music: the peak of their whitened cross-correlation (GCC-PHAT).

    Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976: each frequency counts
    for its phase alone, so that music, whose plain correlation is broad, gives a sharp peak. The polarity of the output
    does not matter. A filter's own group delay is part of what is found.

    Args:
        output: (samples, channels) with channels left, right, left, right ...; the pairs are summed up, so that four
            stems side by side count as their sum.
        music: (samples, 2), of another length if need be.

    Returns:
        Samples; negative where the output is early. None without a clear peak: the output does not resemble the music.
    """
    summed = output.reshape(len(output), -1, 2).sum(axis=1)
    size = 1 << (len(summed) + len(music) - 1).bit_length()
    cross = np.zeros(size // 2 + 1, complex)
    for ear in (0, 1):
        cross += np.fft.rfft(summed[:, ear], size) * np.conj(np.fft.rfft(music[:, ear], size))
    power = np.abs(cross)
    if not power.any():
        return None
    correlation = np.abs(np.fft.irfft(cross / (power + WEAKEST * power.max()), size))
    lag = int(np.argmax(correlation))
    if correlation[lag] < CLEAR * np.sqrt(np.mean(correlation**2)):
        return None
    return lag if lag < size // 2 else lag - size
