"""Music divided block by block, by harmonic-percussive masks from the past alone: what `live` does.

The masks and the table of frequency bands are those of `harmonic_percussive`, changed for music that is being played:

- Windows are asymmetric (Mauler and Martin 2007; Wang et al. 2021). The analysis looks back over a whole window, the
  synthesis over the last two blocks alone, and the product of both is a Hann window there: frequencies are resolved as
  by the long window, yet the stems lag the music by one block.
- The median over time is that of the present and of frames of the past, `STRIDE` samples apart. A stroke stands out
  from its first sample on; a tone counts as percussive until it fills half of these frames.
- The short window looks at the music itself: what the long one leaves of it is known only after the synthesis.
- The percussive share of a bin rises at once and falls within `RELEASE`: the masks of frames that are 2 ms apart would
  jump, and jumps are heard.

The frames of the past stay the same for several blocks. The median of them and the present is the present, limited to
the middle two of them, so that one partial sort serves all these blocks, and is shared out among them: a block costs
little more than its Fourier transforms, and none costs more than another.

References:
    D. Mauler, R. Martin, "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis system
        for speech enhancement", EUSIPCO 2007.
    S. Wang, G. Naithani, A. Politis, T. Virtanen, "Deep neural network based low-latency speech separation with
        asymmetric analysis-synthesis window pair", EUSIPCO 2021 (arXiv 2106.11794).
"""

import numpy as np
from scipy import fft
from scipy.ndimage import median_filter

from harness_plugins.harmonic_percussive import LONG_WINDOW, MEDIAN, SHORT_WINDOW, Array, Signal, shares

STRIDE = 990
"""Samples between the frames of the past that the long window's median takes: 22 ms, so that 9 of them cover 0.2 s."""

SHORT_STRIDE = 220
"""The same for the short window: 5 ms, a quarter of the window, as `harmonic_percussive` has it."""

RELEASE = 0.025
"""Seconds in which a percussive share falls to 37 %: about the short window; see docs/reference/systems.md."""


class Divider:
    """Divides a signal that arrives in blocks.

    Attributes:
        block: samples that `process` takes.
        latency: samples by which the stems lag the signal, beside waiting for the block to be full: one block.
    """

    def __init__(self, sample_rate: int, block: int, memory: int, blend: float) -> None:
        """
        Args:
            sample_rate: Hz.
            block: samples in each block, at most half the short window.
            memory: frames in the medians over time, the present one included: odd, at least 3.
            blend: share of the plain signal in each stem, 0 to 1.
        """
        self.block = self.latency = block
        self._blend = blend
        self._analysis, self._synthesis = asymmetric_windows(LONG_WINDOW, block)
        self._short_analysis, _ = asymmetric_windows(SHORT_WINDOW, block)
        falls = float(np.exp(-block / (RELEASE * sample_rate)))
        self._percussive = _PercussiveShare(LONG_WINDOW, memory, max(1, STRIDE // block), falls)
        self._short_percussive = _PercussiveShare(SHORT_WINDOW, memory, max(1, SHORT_STRIDE // block), falls)
        # The bins of the long window in units of those of the short one.
        self._bins = np.arange(LONG_WINDOW // 2 + 1) * (SHORT_WINDOW / LONG_WINDOW)
        self._short_bins = np.arange(SHORT_WINDOW // 2 + 1)
        table = shares(np.fft.rfftfreq(LONG_WINDOW, 1.0 / sample_rate))
        self._stems = list(table)
        tonal, middle, percussive = np.array(list(table.values()), np.float32).swapaxes(0, 1)
        # Of the tonal part, and what changes from each part to the next: (3 stems, bins).
        self._tonal, self._to_middle, self._to_percussive = tonal, middle - tonal, percussive - middle
        self._past = np.zeros((2, LONG_WINDOW), np.float32)
        self._overlap = np.zeros((len(table), 2, block), np.float32)
        self._before: Signal = np.zeros((block, 2))

    def process(self, signal: Signal) -> dict[str, Signal]:
        """Divide the next block.

        Args:
            signal: (block, 2), full scale +-1.

        Returns:
            "vocals", "drums", "bass" and "other", each (block, 2), float64; they sum to the block before this one.
        """
        past, block = self._past, self.block
        past[:, :-block] = past[:, block:]
        past[:, -block:] = signal.T
        spectrum = fft.rfft(past * self._analysis)
        percussive = self._percussive.of(spectrum)
        short = self._short_percussive.of(fft.rfft(past[:, -SHORT_WINDOW:] * self._short_analysis))
        strokes = percussive * np.interp(self._bins, self._short_bins, short).astype(np.float32)
        masks = self._tonal + percussive * self._to_middle + strokes * self._to_percussive
        frames = fft.irfft(masks[:, np.newaxis] * spectrum, LONG_WINDOW)[:, :, -2 * block :] * self._synthesis
        masked = (self._overlap + frames[:, :, :block]).swapaxes(1, 2)
        self._overlap = frames[:, :, block:]
        before, self._before = self._before, signal.copy()
        plain = (self._blend / 4.0) * before
        stems: dict[str, Signal] = {
            stem: (1.0 - self._blend) * each + plain for stem, each in zip(self._stems, masked, strict=True)
        }
        stems["other"] = before - sum(stems.values())
        return stems


class _PercussiveShare:
    """The soft mask of Fitzgerald (2010), p = 2, frame by frame: the share of each bin that sounds percussive."""

    def __init__(self, window: int, memory: int, stride: int, falls: float) -> None:
        """
        Args:
            window: samples.
            memory: frames in the median over time, the present one included: odd, at least 3.
            stride: how many frames a frame of the past is after the one before it.
            falls: what is left of a share after a frame in which nothing is percussive, 0 to 1.
        """
        bins = window // 2 + 1
        self._stride, self._falls = stride, np.float32(falls)
        self._share = np.zeros(bins, np.float32)
        self._frames = np.zeros((memory - 1, bins), np.float32)
        self._lower = np.zeros(bins, np.float32)
        self._upper = np.zeros(bins, np.float32)
        self._heard = 0
        self._at_a_time = -(-bins // stride)

    def of(self, spectrum: Array) -> Array:
        """The share in the next frame, a spectrum of shape (2, bins): (bins,), 0 to 1."""
        # Medians of powers are powers of medians; both ears share the mask.
        power = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0)
        along_time = np.clip(power, self._lower, self._upper)
        along_frequency = median_filter(power, MEDIAN, mode="nearest")
        self._remember(power)
        now: Array = along_frequency / (along_time + along_frequency + np.finfo(np.float32).tiny)
        self._share = np.maximum(now, now + self._falls * (self._share - now))
        return self._share

    def _remember(self, power: Array) -> None:
        """Let every `stride`-th frame take the place of the oldest; look for the middle ones in some of the bins.

        In all of them at once, one block of `stride` would take twice as long as the others.
        """
        kept, phase = divmod(self._heard, self._stride)
        self._heard += 1
        if phase == 0:
            self._frames[kept % len(self._frames)] = power
        some = slice(phase * self._at_a_time, (phase + 1) * self._at_a_time)
        upper = len(self._frames) // 2
        ranked = np.partition(self._frames[:, some], (upper - 1, upper), axis=0)
        self._lower[some], self._upper[some] = ranked[upper - 1], ranked[upper]


def asymmetric_windows(window: int, block: int) -> tuple[Array, Array]:
    """Windows for analysis and synthesis with a long past and a short delay; their product is a Hann window.

    Args:
        window: samples that the analysis covers; a quarter of a sine rises over them, up to the last block.
        block: samples from one frame to the next, and of the analysis window's fall.

    Returns:
        (window,), and (2 * block,) for the last two blocks: float32. Products that are a block apart sum to one.
    """
    rise = np.sin(0.5 * np.pi * (np.arange(window - block) + 0.5) / (window - block))
    quarter = 0.5 * np.pi * (np.arange(block) + 0.5) / block
    analysis = np.concatenate([rise, np.cos(quarter)])
    hann = np.concatenate([np.sin(quarter), np.cos(quarter)]) ** 2
    return analysis.astype(np.float32), (hann / analysis[-2 * block :]).astype(np.float32)
