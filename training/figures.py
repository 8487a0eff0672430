"""What is measured while a network learns: its loss, and how well it separates what was held out."""

import math
from typing import Any

import numpy as np
import torch

HELD_OUT_AT_ONCE = 4
"""Excerpts."""

SILENCE = 1e-3
"""RMS of a held-out stem below which it has no SDR."""

SMALLEST_ERROR = 1e-8
"""Added to each mean square error, because a root has no slope at 0."""

SPECTRA = (2048, 1024, 512)
"""Samples in the windows of `spectral`."""


def root_mean_square(error: Any, dims: tuple[int, ...]) -> Any:
    """The loss of both networks: the root of the mean square over `dims`, averaged over the others."""
    return (error.square().mean(dim=dims) + SMALLEST_ERROR).sqrt().mean()


def spectral(stems: Any, estimates: Any) -> Any:
    """Mean absolute difference of the roots of the magnitudes, over three short-time Fourier transforms.

    The error of a waveform is that of its loudest frequencies: a network that is asked for nothing else gives what lies
    above to nobody. Magnitudes alone, of several windows, as in vocoders (R. Yamamoto, E. Song, J.-M. Kim, "Parallel
    WaveGAN", ICASSP 2020); their root, so that what is soft counts.

    Args:
        stems: tensor (batch, 4, 2, samples).
        estimates: the same.
    """
    total: Any = 0.0
    for length in SPECTRA:
        window = torch.hann_window(length, device=stems.device)
        total = total + sum(
            (_root_magnitudes(estimates, stem, window) - _root_magnitudes(stems, stem, window)).abs().mean()
            for stem in range(stems.shape[1])
        )
    return total / (len(SPECTRA) * stems.shape[1])


def _root_magnitudes(signals: Any, stem: int, window: Any) -> Any:
    length = len(window)
    flat = signals[:, stem].reshape(-1, signals.shape[-1])
    spectrum = torch.stft(flat, length, length // 4, window=window, normalized=True, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    # A root has no slope at 0.
    return (power + SMALLEST_ERROR).sqrt().sqrt()


def signal_to_distortion(stems: Any, estimates: Any) -> Any:
    """Plain SDR in dB, of each stem over both channels; NaN where the stem is silent.

    Args:
        stems: tensor (batch, 4, 2, samples).
        estimates: the same.

    Returns:
        Tensor (batch, 4).
    """
    energy = stems.double().square().sum(dim=(2, 3))
    error = (stems.double() - estimates.double()).square().sum(dim=(2, 3))
    ratios = 10 * torch.log10((energy + 1e-9) / (error + 1e-9))
    sounding = energy > SILENCE**2 * stems.shape[2] * stems.shape[3]
    return torch.where(sounding, ratios, torch.nan)


def medians(ratios: Any) -> list[float]:
    """Of each stem over the excerpts in which it sounds; NaN where it never does."""
    columns = (column[~np.isnan(column)] for column in ratios.T)
    return [float(np.median(column)) if len(column) else math.nan for column in columns]


def unprocessed(held_out: Any) -> list[float]:
    """SDR of the mixture as an estimate of each stem."""
    ratios = [signal_to_distortion(s, s.sum(dim=1, keepdim=True)) for s in held_out.split(HELD_OUT_AT_ONCE)]
    return medians(torch.cat(ratios).numpy())
