"""Small systems whose look-ahead and delay are known: (samples, 2) -> (samples, 2) at 44.1 kHz."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyloudnorm
import scipy.fft
from scipy.signal import fftconvolve, firwin, lfilter

from harness.causality.audit import Processing
from harness.challenge import STEMS
from harness.enhancement import Signal, amplify, remix
from harness.hearing import Audiogram, Listener

RATE = 44100
GAINS = {"vocals": 3.0, "drums": -6.0, "bass": 0.0, "other": 6.0}
_FREQUENCIES = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)
_LOSS = Audiogram(_FREQUENCIES, (20.0, 25.0, 30.0, 40.0, 45.0, 50.0, 55.0, 60.0))
LISTENER = Listener("moderate", _LOSS, _LOSS)


def music(seconds: float = 4.0, seed: int = 1) -> Signal:
    """Something like music: a chord under noise, with notes that are struck and die away; peaks near full scale."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE)
    time = np.arange(samples) / RATE
    chord = sum(np.sin(2 * np.pi * pitch * time + phase) for pitch, phase in ((110, 0), (277.2, 1), (659.3, 2)))
    struck = np.exp(-8 * (time % 0.26))[:, None] * rng.standard_normal((samples, 2))
    signal = 0.2 * np.asarray(chord)[:, None] * [1.0, 0.8] + 0.15 * struck + 0.02 * rng.standard_normal((samples, 2))
    return np.asarray(0.95 * signal / np.abs(signal).max())


def one_pole(x: Signal) -> Signal:
    """A low-pass with one pole: no look-ahead."""
    return np.asarray(lfilter([0.05], [1, -0.95], x, axis=0))


def masked(x: Signal) -> Signal:
    """A soft mask, power over power plus one, in frames around each sample: looks up to 2047 ahead."""
    size, hop = 2048, 512
    frames = -(-(len(x) + size) // hop)
    padded = np.zeros((frames * hop + size, 2))
    padded[size // 2 : size // 2 + len(x)] = x
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    total, weights = np.zeros_like(padded), np.zeros(len(padded))
    for start in range(0, frames * hop, hop):
        part = slice(start, start + size)
        spectrum = np.fft.rfft(padded[part] * window[:, None], axis=0)
        power = np.abs(spectrum) ** 2
        total[part] += np.fft.irfft(spectrum * power / (power + 1), size, axis=0) * window[:, None]
        weights[part] += window**2
    return np.asarray((total / np.maximum(weights, 1e-9)[:, None])[size // 2 : size // 2 + len(x)])


def masked_late(x: Signal) -> Signal:
    """The same, late by its frame: no look-ahead any more."""
    return np.concatenate([np.zeros((2048, 2)), masked(x)])[: len(x)]


def at_peak(x: Signal) -> Signal:
    """Brought to half of full scale by the peak of the piece."""
    return np.asarray(0.5 * x / np.abs(x).max())


def at_loudness(x: Signal) -> Signal:
    """Brought to -23 LUFS by the loudness of the piece."""
    return np.asarray(x * 10 ** ((-23 - pyloudnorm.Meter(RATE).integrated_loudness(x)) / 20))


def in_blocks(x: Signal) -> Signal:
    """Each 4 ms (176 samples) by their own level: looks 175 samples ahead at most."""
    blocks = [x[start : start + 176] for start in range(0, len(x), 176)]
    return np.concatenate([block / (0.1 + np.sqrt(np.mean(block**2))) for block in blocks])


def centred_fir(x: Signal) -> Signal:
    """A linear-phase filter of 441 taps, its delay taken out: looks 220 samples ahead."""
    taps = firwin(441, 3000, fs=RATE)
    return np.stack([np.convolve(channel, taps)[220 : 220 + len(x)] for channel in x.T], axis=1)


_OWN = np.random.default_rng(7)


def dithered(x: Signal) -> Signal:
    """Dither from a generator of its own, which nobody can seed."""
    return one_pole(x) + 1e-4 * _OWN.standard_normal(x.shape)


def dithered_by_seed(x: Signal) -> Signal:
    """Dither from NumPy's global generator."""
    return one_pole(x) + 1e-4 * np.random.standard_normal(x.shape)


def dithered_by_hash(x: Signal) -> Signal:
    """Dither from a generator that the whole piece seeds."""
    seed = int.from_bytes(hashlib.sha256(x.tobytes()).digest()[:8], "big")
    return one_pole(x) + 1e-4 * np.random.default_rng(seed).standard_normal(x.shape)


def by_one_transform(x: Signal) -> Signal:
    """A causal filter by one transform of the whole piece: the future is in every rounding error."""
    taps = np.exp(-np.arange(2000) / 200)
    return np.stack([fftconvolve(channel, taps)[: len(x)] for channel in x.T], axis=1)


def in_single_precision(x: Signal) -> Signal:
    """The same in 32 bit, as networks compute."""
    spectrum = scipy.fft.rfft(x.astype(np.float32), 2 * len(x), axis=0)
    taps = scipy.fft.rfft(np.exp(-np.arange(2000) / 200).astype(np.float32), 2 * len(x))
    return scipy.fft.irfft(spectrum * taps[:, None], 2 * len(x), axis=0)[: len(x)].astype(float)


def guarded(x: Signal) -> Signal:
    """tanh, but only if something clips anywhere in the piece."""
    louder = 2 * x
    return np.tanh(louder) if np.abs(louder).max() > 1 else louder


def faded(x: Signal) -> Signal:
    """A fade-out over the piece: looks at nothing but its length."""
    return np.asarray(x * np.linspace(1, 0, len(x))[:, None])


def fading_at_the_end(x: Signal) -> Signal:
    """The last 100 ms (4410 samples) faded out: looks that far ahead, and only to see whether the piece ends."""
    return np.asarray(x * np.minimum(1, np.arange(len(x), 0, -1) / 4411)[:, None])


def now_and_then(x: Signal) -> Signal:
    """A tenth of its segments of 50 ms are turned up by the music from 100 to 150 ms ahead: 6614 samples."""
    output, rng = x.copy(), np.random.default_rng(5)
    for start in range(0, len(x), 2205):
        ahead = x[start + 4410 : start + 6615]
        if rng.random() < 0.1 and len(ahead):
            output[start : start + 2205] *= 1 + 0.1 * np.sin(1000 * ahead.mean())
    return output


def echoed_before(x: Signal) -> Signal:
    """An echo 1.5 s (66150 samples) before the sound: a long look-ahead, but not the whole piece."""
    return x + 0.1 * np.concatenate([x[66150:], np.zeros((min(66150, len(x)), 2))])


def thirds(x: Signal) -> dict[str, Signal]:
    """Four bands by causal filters: what is left over is the fourth stem."""
    stems, rest = {}, x
    for name, pole in zip(STEMS[:3], (0.99, 0.9, 0.5), strict=True):
        stems[name] = np.asarray(lfilter([1 - pole], [1, -pole], rest, axis=0))
        rest = rest - stems[name]
    return {**stems, STEMS[3]: rest}


def scaled_through_the_baseline(x: Signal) -> Signal:
    """Scaled copies of the mixture, the baseline's remix, NAL-R: the leak of its loudness cancels."""
    stems = {name: share * x for name, share in zip(STEMS, (0.3, 0.3, 0.1, 0.3), strict=True)}
    return amplify(remix(stems, GAINS, x), LISTENER)


def bands_through_the_baseline(x: Signal) -> Signal:
    """Bands, the baseline's remix, NAL-R: one gain from the loudness of the whole piece."""
    return amplify(remix(thirds(x), GAINS, x), LISTENER)


Truth = Literal["causal", "not causal", "none"]


@dataclass(frozen=True)
class Known:
    """What an audit of a small system must find.

    Attributes:
        look_ahead: between these two, in samples; None for the whole piece and without a verdict.
        gain: whether one gain explains it.
        delay: in samples, or None where it is not looked at.
    """

    process: Processing
    verdict: Truth
    look_ahead: tuple[int, int] | None
    gain: bool = False
    delay: int | None = None


KNOWN = (
    Known(one_pole, "causal", (0, 0)),
    Known(masked, "not causal", (1500, 2047), delay=0),
    Known(masked_late, "causal", (0, 0), delay=2048),
    Known(at_peak, "not causal", None, gain=True, delay=0),
    Known(at_loudness, "not causal", None, gain=True, delay=0),
    Known(in_blocks, "causal", (175, 175), delay=0),
    Known(centred_fir, "causal", (220, 220), delay=0),
    Known(dithered, "none", None),
    Known(dithered_by_seed, "causal", (0, 0)),
    Known(dithered_by_hash, "not causal", None),
    Known(by_one_transform, "causal", (0, 0)),
    Known(in_single_precision, "causal", (0, 0)),
    Known(guarded, "not causal", None, delay=0),
    Known(faded, "not causal", None, delay=0),
    Known(fading_at_the_end, "not causal", (4410, 4410), delay=0),
    Known(now_and_then, "not causal", (6614, 6614), delay=0),
    Known(echoed_before, "not causal", (66150, 66150), delay=0),
    Known(scaled_through_the_baseline, "causal", (0, 0), delay=110),
    Known(bands_through_the_baseline, "not causal", None, gain=True, delay=110),
)
