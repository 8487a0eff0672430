"""Convolution by FFT gives the recipe's samples, or is not used."""

import numpy as np
import pytest

from harness.challenge import PROTOCOL
from harness.music import microphones
from harness.music.heads import impulse_responses
from harness.music.microphones import as_it_is, at_microphones, loudness
from harness.sets.heads import KEMAR_POSITIONS, kemar_folder, read_impulse_responses, speaker_files

RATE = PROTOCOL.sample_rate


def noise(seconds=5.0, level=0.1, seed=1):
    """Noise that falls by 6 dB per octave, in 16 bit."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.standard_normal((round(seconds * RATE), 2)), axis=0)
    walk -= np.linspace(walk[0], walk[-1], len(walk))
    return np.round(32767 * level * walk / np.abs(walk).max()) / 32768


def pulse(*taps, delay=0):
    response = np.zeros((64, 2))
    for ear, tap in enumerate(taps):
        response[delay, ear] = tap
    return response


def notch(frequency):
    """Three taps that let nothing through at a frequency."""
    taps = np.array([1.0, -2 * np.cos(2 * np.pi * frequency / RATE), 1.0])
    return np.stack([taps, taps], axis=1)


def as_the_recipe(music, left, right):
    """The recipe's own arithmetic: FIR filters, loudness, gain, 16 bit."""
    import pyloudnorm
    from scipy.signal import lfilter

    heard = np.stack(
        [lfilter(left[:, ear], 1, music[:, 0]) + lfilter(right[:, ear], 1, music[:, 1]) for ear in (0, 1)], axis=1
    )
    meter = pyloudnorm.Meter(RATE)
    before, after = meter.integrated_loudness(music), meter.integrated_loudness(heard)
    scaled = pyloudnorm.normalize.loudness(heard, after, after + (before - after)) * 32768.0
    return np.clip(scaled, -32768.0, 32767.0).astype(np.int16), int(np.sum((scaled > 32767) | (scaled < -32768)))


def kemar(name):
    return [read_impulse_responses(path) for path in speaker_files(kemar_folder(), KEMAR_POSITIONS[name])]


def tone(frequency, seconds=1.0):
    wave = np.round(16000 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)) / 32768
    return np.stack([wave, wave], axis=1)


HEADS = {
    "KEMAR": lambda: kemar("hlp_0007"),
    "sphere": lambda: (impulse_responses(-30), impulse_responses(30)),
    "a room of 0.1 s": lambda: tuple(
        np.random.default_rng(seed).standard_normal((4410, 2)) * np.exp(-np.arange(4410) / 1000)[:, None]
        for seed in (1, 2)
    ),
    "one tap longer than the other": lambda: (impulse_responses(-30), impulse_responses(30)[:100]),
}


@pytest.mark.filterwarnings("ignore:Possible clipped samples")
@pytest.mark.parametrize("level", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("head", HEADS)
def test_samples_are_the_recipes(head, level):
    music = noise(2.0, level)
    left, right = HEADS[head]()
    found = at_microphones(music, loudness(music), left, right)
    expected, clipped = as_the_recipe(music, left, right)
    assert np.array_equal(found.samples, expected)
    assert found.clipped == clipped


@pytest.mark.filterwarnings("ignore:Possible clipped samples")
@pytest.mark.parametrize(
    ("left", "right", "exact"),
    [
        (pulse(1, 0), pulse(0, 1), True),
        (pulse(0.5, 0), pulse(0, 0.5), True),
        (pulse(0, 1), pulse(-1, 0), True),
        (pulse(2, 1), pulse(1, 2), False),  # the gain is no power of two
    ],
)
def test_heads_that_give_whole_numbers_are_convolved_in_the_recipes_way(left, right, exact):
    music = noise(1.0)
    found = at_microphones(music, loudness(music), left, right)
    assert found.exact == exact
    assert np.array_equal(found.samples, as_the_recipe(music, left, right)[0])


@pytest.mark.filterwarnings("ignore:Possible clipped samples")
def test_what_a_head_cancels_is_still_the_recipes():
    """All that is left of the tone is rounding, raised to the loudness of the tone."""
    music = tone(1000) + 1e-5 * noise(1.0)
    head = notch(1000)
    found = at_microphones(music, loudness(music), head, head)
    with np.errstate(all="ignore"):
        assert np.array_equal(found.samples, as_the_recipe(music, head, head)[0])


def test_ordinary_music_is_convolved_by_fft():
    """Otherwise nothing would be saved: of ten pieces of 20 s at most two may need the slow way."""
    left, right = kemar("hlp_0001")
    exact = [
        at_microphones(music, loudness(music), left, right).exact
        for seed in range(10)
        for music in [noise(20, 0.3, seed)]
    ]
    assert sum(exact) <= 2


def test_the_error_that_is_allowed_for_is_larger_than_any():
    left, right = kemar("hlp_0025")
    for level in (0.05, 1.0):
        music = noise(20, level)
        fast, error = microphones._convolved_fast(music, left, right)
        exact = microphones._convolved(music, left, right)
        assert 0 < 10 * np.abs(fast - exact).max() < error
        gains = [microphones._gain(heard, loudness(music)) for heard in (fast, exact)]
        assert abs(gains[0] / gains[1] - 1) < microphones.GAIN_DOUBT / 2


@pytest.mark.parametrize("level", [0.0, 2e-5])
def test_without_a_loudness_there_are_zeros(level):
    music = level * np.random.default_rng(1).standard_normal((RATE, 2))
    left, right = kemar("hlp_0001")
    found = at_microphones(music, loudness(music), left, right)
    assert found.silent
    assert not found.samples.any()


def test_what_a_head_makes_too_quiet_is_zeros():
    music = noise(1.0, 0.1)
    found = at_microphones(music, loudness(music), pulse(1e-6, 1e-6), pulse(1e-6, 1e-6))
    assert found.silent
    assert found.samples.shape == music.shape


def test_headphone_music_stays_what_it_is():
    music = np.array([[1.5, -1.5], [0.5, -0.5], [1 - 1 / 32768, -1.0], [0.9 / 32768, -0.9 / 32768]])
    found = as_it_is(music)
    assert found.samples.tolist() == [[32767, -32768], [16384, -16384], [32767, -32768], [0, 0]]
    assert found.clipped == 2
    assert not found.silent
    assert as_it_is(np.zeros((5, 2))).silent
