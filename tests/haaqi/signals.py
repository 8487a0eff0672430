"""Signals that the stages of the fast engine are tested on, and its arguments put together from plain arrays."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import soxr
from clarity.evaluator.haspi import eb

from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.numerics import BANDS
from harness.haaqi.fast.single import cochlea, envelope_align
from harness.haaqi.fast.single.decimation import low_pass
from harness.haaqi.fast.single.filterbank import CENTER, GROUPS
from harness.haaqi.fast.single.vectors import LANES
from harness.music.excerpt import read_excerpt

RATE = 24000
LEVEL1 = 82.5
LOSS = np.array([20.0, 30.0, 35.0, 50.0, 60.0, 75.0])
HEARING = double.Hearing(*eb.loss_parameters(LOSS, CENTER))
WIDEST = eb.loss_parameters(np.full(6, 100), CENTER)[1]


@lru_cache(maxsize=1)
def _excerpt():
    stems = read_excerpt()
    return {
        name: soxr.resample(stems[name][44100 : 3 * 44100, 0], 44100, RATE, quality="HQ")
        for name in ("mixture", "vocals")
    }


def real_music(samples, stem="mixture"):
    """The beginning of the embedded excerpt's second second: (samples,) at 24 kHz, at most two seconds."""
    return _excerpt()[stem][:samples].copy()


def music(samples, seed=0):
    """Something like music: decaying chords, a beat and some noise, about -20 dB."""
    random = np.random.RandomState(seed)
    time = np.arange(samples) / RATE
    beat = np.exp(-12 * np.mod(time, 0.21))
    tones = sum(np.sin(2 * np.pi * f * time + f) / k for k, f in enumerate(random.uniform(90, 7000, 12), start=2))
    return 0.1 * (beat * tones + 0.3 * np.exp(-30 * np.mod(time, 0.105)) * random.standard_normal(samples))


def pairs_of_bands(kind, samples, random):
    """A reference and a processed signal for each band: (BANDS, samples) each."""
    time = np.arange(samples) / RATE
    if kind == "tones":  # all delays of a whole period are nearly as good
        x = np.sin(2 * np.pi * random.uniform(80, 8000, (BANDS, 1)) * time)
        return x, np.roll(x, 17, axis=1)
    if kind == "clicks":
        x = np.zeros((BANDS, samples))
        x[:, ::1200] = random.uniform(0.5, 1.5, x[:, ::1200].shape)
        return x, np.roll(x, -700, axis=1) * random.uniform(0.5, 1.5, (BANDS, samples))
    if kind == "unrelated":
        return random.standard_normal((2, BANDS, samples))
    if kind == "envelopes":  # slow, never negative, with a broad peak
        slow = np.abs(np.cumsum(random.standard_normal((BANDS, samples)), axis=1))
        return slow, np.roll(slow, 40, axis=1) + 0.01 * slow.max() * random.random_sample((BANDS, samples))
    if kind == "tones at the fold":  # where decimated samples may all be zero, or all be peaks
        fold = 1500.0 * random.choice([1, 2, 4], (BANDS, 1))
        phase = random.choice([0, 0.5], (2, BANDS, 1)) * np.pi
        tones = np.sin(2 * np.pi * fold * time + phase) * np.sin(np.pi * np.arange(samples) / samples)
        return tones + 0.01 * random.standard_normal((2, BANDS, samples))
    if kind == "one silent":
        return random.standard_normal((BANDS, samples)), np.zeros((BANDS, samples))
    narrow = random.standard_normal((BANDS, samples)) * np.sin(2 * np.pi * CENTER[:, None] * time)
    late = np.stack(
        [np.roll(row, shift) for row, shift in zip(narrow, random.randint(-2390, 2390, BANDS), strict=True)]
    )
    return narrow, late + 0.5 * random.standard_normal((BANDS, samples))


KINDS = ("tones", "clicks", "unrelated", "envelopes", "tones at the fold", "one silent", "narrow")


# The engine in single precision


def control(signal):
    """The control path of a signal after the middle ear: gains (BANDS, samples), and rms (BANDS,)."""
    path = cochlea.control(signal, HEARING, LEVEL1)
    gains = path.gains.reshape(BANDS, -1)[:, cochlea._ROOM : cochlea._ROOM + len(signal)]
    return gains.copy(), path.rms


def analysed(signal, bandwidth, late=None, hearing=HEARING, level1=LEVEL1):
    """Envelope and motion of a signal after the middle ear, and its spectrum in dB above threshold."""
    late = np.zeros(BANDS, np.int32) if late is None else late.astype(np.int32)
    path = replace(cochlea.control(signal, hearing, level1), bandwidth=bandwidth)
    return cochlea.analyse(path, late, hearing, level1, Workspace())


def bands_of(parts, begin, length):
    """Arrays of bands, for each group flat (time, LANES), as (BANDS, length) in double precision."""
    rows = [part.reshape(-1, LANES)[begin : begin + length].T for part in parts]
    return np.concatenate(rows).astype(float)


def waves_of(vibration, kind):
    """Envelopes (0) or motions (1) from time 0 on: (BANDS, length)."""
    return bands_of(vibration.waves[kind], envelope_align.EDGE, vibration.length)


def slow_of(vibration, kind, group):
    """Envelopes or motions of a group as they are decimated, from time 0 on: (LANES, length // step)."""
    rate = envelope_align.Rate(envelope_align.STEPS[kind][group])
    return bands_of([vibration.slow[kind][group]], rate.margin, vibration.length // rate.step)


def decimated(signal, step):
    """Each row low-pass filtered, and every step-th sample of it."""
    return np.stack([np.convolve(row, low_pass(step).astype(float))[: len(row) : step] for row in signal])


def vibration_of(envelope, motion):
    """Any signals, (BANDS, samples), in the form that alignment and comparison take."""
    samples = envelope.shape[1]
    length = cochlea._padded(samples)
    waves, slow = ([], []), ([], [])
    energy, slow_energy = np.zeros((2, GROUPS, LANES)), np.zeros((2, GROUPS, LANES))
    for kind, signal in enumerate((envelope, motion)):
        single = np.zeros((BANDS, length), np.float32)
        single[:, :samples] = signal
        for group in range(GROUPS):
            own = single[group * LANES : (group + 1) * LANES]
            step = envelope_align.STEPS[kind][group]
            rate = envelope_align.Rate(step)
            rows = rate.rows(length)
            wave = _flat(own, envelope_align.EDGE, max(length + 2 * envelope_align.EDGE, rows if step == 1 else 0))
            low = own if step == 1 else decimated(own.astype(float), step)
            waves[kind].append(wave)
            slow[kind].append(wave if step == 1 else _flat(low, rate.margin, rows))
            energy[kind, group] = (own.astype(float) ** 2).sum(axis=1)
            slow_energy[kind, group] = (low.astype(float) ** 2).sum(axis=1)
    both = (tuple(waves[0]), tuple(waves[1])), (tuple(slow[0]), tuple(slow[1]))
    return envelope_align.Vibration(samples, length, *both, energy, slow_energy)


def _flat(signal, begin, rows):
    out = np.zeros((rows, LANES), np.float32)
    out[begin : begin + signal.shape[1]] = signal.T
    return out.reshape(-1)
