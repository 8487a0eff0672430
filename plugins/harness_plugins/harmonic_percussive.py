"""A mixture divided by two-stage harmonic-percussive masks and a table of frequency bands: what `centre` does.

The mixture is split twice by median filtering of its magnitude spectrogram (Fitzgerald 2010): with a long window,
in which steady tones stand out, then with a short one, in which only strokes stand out as vertical lines. What is
steady in neither sense remains between the two: above the bass, mostly the voice, whose pitch moves too much for the
long window and which holds too long for the short one (Tachibana et al. 2014; Driedger and Müller 2015).

    mixture ── long window ──►               tonal part        low: bass    middle: other, some vocals
                 └─ rest ── short window ──► middle part       low: drums   middle: vocals
                              └─ rest ─────► percussive part   drums

High up, where tones are weak and noise passes both filters alike, the first two parts are drums and vocals.
Masks are soft, real, equal for both ears and sum to one, so the four stems sum to the mixture, and a remix with all
gains at 0 dB is the mixture itself. Real time on one core: 0.13 s per second of music.

This module needs NumPy and SciPy alone, and Python 3.10 or newer: `spleeter` uses it where nothing else of ours is.

References:
    D. Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    H. Tachibana, N. Ono, S. Sagayama, "Singing voice enhancement in monaural music signals based on two-stage
        harmonic/percussive sound separation on multiple resolution spectrograms", IEEE/ACM TASLP 22(1), 2014.
    J. Driedger, M. Müller, "Extracting singing voice from music recordings by cascading audio decomposition
        techniques", ICASSP 2015.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Signal = NDArray[np.floating[Any]]

LONG_WINDOW = 8192
"""Samples, 186 ms: between the 4096 of Fitzgerald (2010) and the 256 to 512 ms of Tachibana et al. (2014)."""

SHORT_WINDOW = 1024
"""Samples, 23 ms: the short window of two-stage separation (about 30 ms in Tachibana et al. 2014)."""

OVERLAP = 4
"""Windows that cover each sample, as in Fitzgerald (2010): a hop of a quarter of the window."""

MEDIAN = 17
"""Length of both median filters, in frames and in bins: the value of Fitzgerald (2010)."""

SHARE_WINDOW = 4096
"""Samples: the window in which the table of shares is applied; its bins are 11 Hz apart."""

# The five constants below are no paper's: round numbers for where these instruments play, set while looking at one
# excerpt, where other values of the same size score about the same (`benchmarks/centre.py`).

BASS_HZ = 350.0
"""Where the bass holds half of the tonal part; its share falls by 12 dB per octave above."""

VOICE_HZ = 250.0
"""What moves below is a drum, above it a voice: between a kick's body and the strong partials of most voices."""

CYMBALS_HZ = 6000.0
"""Above, no partial of tones is strong, and noise of cymbals and of consonants passes both filters alike."""

TONAL_VOICE = 0.2
"""Share of the vocals in the tonal part between `VOICE_HZ` and `CYMBALS_HZ`: held notes."""

HIGH_DRUMS = 0.6
"""Share of the drums in the tonal and the middle part above `CYMBALS_HZ`; the rest is vocals."""

BLOCK = 1 << 20
"""Samples that are processed at once (24 s): half a gigabyte of working memory, whatever the length of the music."""

CONTEXT = 1 << 16
"""Samples read on either side of a block: more than what windows and median filters reach (36864 + 2816 + 4096).

`BLOCK` and `CONTEXT` are multiples of every hop, so a block's frames are those of the whole music.
"""


def divide(mixture: Signal, sample_rate: int, blend: float) -> dict[str, Signal]:
    """Divide a mixture into the four stems.

    Args:
        mixture: (samples, 2), full scale +-1.
        sample_rate: Hz.
        blend: share of the plain mixture in each stem, 0 to 1.

    Returns:
        "vocals", "drums", "bass" and "other", of the mixture's shape; they sum to it.
    """
    frames = mixture.shape[0]
    stems: dict[str, Signal] = {stem: np.empty(mixture.shape) for stem in ("vocals", "drums", "bass")}
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        first, last = max(0, start - CONTEXT), min(frames, stop + CONTEXT)
        separated = _separate_block(mixture[first:last], sample_rate)
        for stem, signal in separated.items():
            stems[stem][start:stop] = signal[start - first : stop - first]
    for signal in stems.values():
        signal *= 1.0 - blend
        signal += (blend / 4.0) * mixture
    stems["other"] = mixture - stems["vocals"] - stems["drums"] - stems["bass"]
    return stems


def _separate_block(mixture: Signal, sample_rate: int) -> dict[str, Signal]:
    """Separate one block, (samples, 2), before the blend; "other" is what the three stems leave."""
    rest = _percussive(mixture, LONG_WINDOW)
    percussive = _percussive(rest, SHORT_WINDOW)
    parts = [_spectrogram(part, SHARE_WINDOW) for part in (mixture - rest, rest - percussive, percussive)]
    table = shares(np.fft.rfftfreq(SHARE_WINDOW, 1.0 / sample_rate))
    separated = {}
    for stem, rows in table.items():
        spectrogram = np.zeros_like(parts[0])
        for part, share in zip(parts, rows, strict=True):
            spectrogram += share[:, np.newaxis] * part
        separated[stem] = _signal(spectrogram, SHARE_WINDOW, mixture.shape[0])
    return separated


def _percussive(signal: Signal, window: int) -> Signal:
    """What sounds percussive in windows of `window` samples: the soft mask of Fitzgerald (2010), p = 2.

    Args:
        signal: (samples, 2).
        window: samples.

    Returns:
        (samples, 2); the signal less this is what sounds tonal.
    """
    spectrogram = _spectrogram(signal, window)
    magnitude = np.sqrt(np.sum(np.abs(spectrogram) ** 2, axis=0))  # both ears share the mask
    along_time = _row_medians(magnitude) ** 2
    along_frequency = _row_medians(magnitude.T).T ** 2
    spectrogram *= along_frequency / (along_time + along_frequency + np.finfo(float).tiny)
    return _signal(spectrogram, window, signal.shape[0])


def _row_medians(rows: Array) -> Array:
    """Running median over `MEDIAN` values of each row, (rows, values); the outermost value goes on beyond the ends."""
    from scipy.ndimage import median_filter

    # SciPy is six times as fast in one dimension, so the rows are padded, to keep them apart, and chained.
    reach = MEDIAN // 2
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    medians: Array = median_filter(padded.ravel(), size=MEDIAN).reshape(padded.shape)[:, reach:-reach]
    return medians


def shares(frequencies: Array) -> dict[str, tuple[Array, Array, Array]]:
    """Share of each stem in the tonal, the middle and the percussive part, by frequency.

    Args:
        frequencies: (bins,), Hz.

    Returns:
        For each stem but "other", which gets the rest, three arrays of shape (bins,), 0 to 1.
    """
    # Power responses of Butterworth filters: smooth, and complementary by construction.
    low = 1.0 / (1.0 + (frequencies / VOICE_HZ) ** 6)
    high = 1.0 - 1.0 / (1.0 + (frequencies / CYMBALS_HZ) ** 4)
    band = (1.0 - low) * (1.0 - high)
    bass = (1.0 - high) / (1.0 + (frequencies / BASS_HZ) ** 2)
    high_drums, high_vocals = HIGH_DRUMS * high, (1.0 - HIGH_DRUMS) * high
    none, all_ = np.zeros_like(frequencies), np.ones_like(frequencies)
    return {
        "vocals": (TONAL_VOICE * (1.0 - bass) * band + high_vocals, band + high_vocals, none),
        "drums": (high_drums, (1.0 - high) * low + high_drums, all_),
        "bass": (bass, none, none),
    }


def _spectrogram(signal: Signal, window: int) -> Array:
    """Short-time Fourier transform with a periodic Hann window: (samples, 2) -> (2, bins, frames), complex."""
    hop = window // OVERLAP
    frames = -(-signal.shape[0] // hop) + OVERLAP - 1
    padded = np.zeros((2, (frames - 1) * hop + window))
    padded[:, window - hop : window - hop + signal.shape[0]] = signal.T
    pieces = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, ::hop]
    return np.swapaxes(np.fft.rfft(pieces * _hann(window), axis=2), 1, 2)


def _signal(spectrogram: Array, window: int, frames: int) -> Signal:
    """Inverse of `_spectrogram` by weighted overlap-add: (2, bins, frames) -> (samples, 2)."""
    hop = window // OVERLAP
    pieces = np.fft.irfft(np.swapaxes(spectrogram, 1, 2), n=window, axis=2) * _hann(window)
    padded = np.zeros((2, (pieces.shape[1] - 1) * hop + window))
    for shift in range(OVERLAP):
        # Every OVERLAP-th piece lies beside the next without overlap: add them in one go.
        group = pieces[:, shift::OVERLAP]
        length = group.shape[1] * window
        padded[:, shift * hop : shift * hop + length] += group.reshape(2, length)
    # The squares of the windows that cover a sample sum to 3/8 OVERLAP.
    return padded[:, window - hop : window - hop + frames].T / (0.375 * OVERLAP)


def _hann(window: int) -> Array:
    """Periodic Hann window, (window,)."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
