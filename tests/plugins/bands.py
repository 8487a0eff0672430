"""What the tests of `centre` and `live` share: a band whose stems are known, and what holds for both systems' stems."""

import numpy as np

from harness.challenge import STEMS

RATE = 44100


def band(seconds):
    """A band whose stems are known, each (samples, 2)."""
    rng = np.random.default_rng(1)
    t = np.arange(seconds * RATE) / RATE
    centre, left = np.array([1.0, 1.0]), np.array([1.0, 0.2])
    # A sung tone around 440 Hz with vibrato, partials to 4 kHz.
    phase = 2 * np.pi * (440 * t - 4 * np.cos(2 * np.pi * 6 * t))
    voice = sum(np.sin(k * phase) / k for k in range(1, 10))
    strokes = np.zeros(len(t))
    for start in range(0, len(t) - 4410, RATE // 4):
        strokes[start : start + 4410] += rng.standard_normal(4410) * np.exp(-np.arange(4410) / 200)
    chord = sum(np.sin(2 * np.pi * f * t) for f in (659.3, 830.6, 987.8, 1318.5))
    return {
        "vocals": 0.1 * voice[:, None] * centre,
        "drums": 0.5 * strokes[:, None] * centre,
        "bass": 0.2 * np.sin(2 * np.pi * 55 * t)[:, None] * centre,
        "other": 0.08 * chord[:, None] * left,
    }


def sdr(true, estimate):
    """Signal-to-distortion ratio in dB, without scaling."""
    return 10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2))


def assert_divides(stems, mixture):
    """Four finite stems of the mixture's shape that sum to it; a silent channel stays silent."""
    assert set(stems) == set(STEMS)
    for signal in stems.values():
        assert signal.shape == mixture.shape
        assert np.isfinite(signal).all()
    np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0, atol=1e-9)
    for channel in (0, 1):
        if not mixture[:, channel].any():
            assert not any(signal[:, channel].any() for signal in stems.values())


def assert_channels_alike(stems):
    """Both channels of each stem are the same."""
    for signal in stems.values():
        np.testing.assert_array_equal(signal[:, 0], signal[:, 1])
