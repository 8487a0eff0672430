"""The bundled system `live`: its masks and its windows, and that nothing of it knows the future."""

import bands
import numpy as np
import pytest
from bands import RATE, assert_channels_alike, assert_divides, sdr
from scipy.ndimage import median_filter

from harness.challenge import STEMS
from harness.errors import UsageError
from harness.systems.streaming import OwnStream, is_causal, stream
from harness_plugins.harmonic_percussive import LONG_WINDOW
from harness_plugins.live import Live
from harness_plugins.past_masks import Divider, _PercussiveShare, asymmetric_windows

BLOCK = Live.block


def streamed(mixture, **settings):
    """The stems as the harness's driver gets them, with what the file is late by, 110 samples, taken out."""
    system = Live(**settings)
    system.load()
    with OwnStream(system) as own:
        result = stream(own, mixture, RATE)
    assert result.credited == result.latency == 110
    assert (result.look_ahead, result.delay, result.through) == (219, 0, 219)
    return dict(zip(STEMS, result.signals, strict=True))


@pytest.fixture(scope="module")
def band():
    """Two seconds of a band whose stems are known, each (samples, 2)."""
    return bands.band(2)


def test_declares_what_it_is():
    system = Live()
    assert (system.name, system.training_data, system.licence) == ("live", "none", "none")
    assert is_causal(system.block)
    assert system.parameters == 0
    assert system.not_eligible is None


def test_each_stem_of_a_band_gets_its_due(band):
    mixture = sum(band.values())
    found = streamed(mixture, blend=0.0)
    heard = slice(RATE, None)  # before, the medians over time are not yet filled
    for stem, true in band.items():
        gained = sdr(true[heard], found[stem][heard]) - sdr(true[heard], mixture[heard])
        assert gained > 6, stem  # when written 7.5 (vocals), 11.9, 10.2 and 11.1 dB
        nearest = max(STEMS, key=lambda other: sdr(true[heard], found[other][heard]))
        assert nearest == stem


@pytest.mark.parametrize(("blend", "frames"), [(0.0, 10011), (0.3, 1), (0.3, 110), (0.3, 10011), (1.0, 10011)])
def test_stems_sum_to_the_mixture(band, blend, frames):
    mixture = sum(band.values())[:frames]
    stems = streamed(mixture, blend=blend)
    np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0, atol=1e-12)
    if blend == 1.0:
        for stem in stems.values():
            np.testing.assert_allclose(stem, mixture / 4, rtol=0, atol=1e-12)


def test_masks_of_one_give_the_music_back(band):
    """Each stem by itself is resynthesised from its spectrum: "other" is a difference, and would hide an error."""
    divider = Divider(RATE, BLOCK, 9, 0.0)
    divider._tonal[:], divider._to_middle[:], divider._to_percussive[:] = 1.0, 0.0, 0.0
    mixture = sum(band.values())[: 100 * BLOCK]
    found = np.concatenate([divider.process(block)["vocals"] for block in np.split(mixture, 100)])
    np.testing.assert_allclose(found[BLOCK:], mixture[:-BLOCK], rtol=0, atol=1e-6)


@pytest.mark.parametrize("memory", [3, 9])
def test_the_medians_are_those_of_scipy_and_numpy(memory):
    rng = np.random.default_rng(4)
    spectra = (rng.standard_normal((40, 2, 33)) + 1j * rng.standard_normal((40, 2, 33))).astype(np.complex64)
    found = _PercussiveShare(64, memory, stride=1, falls=0.5)
    powers, share = np.zeros((memory, 33)), np.zeros(33)
    for spectrum in spectra:
        power = np.sum(np.abs(spectrum) ** 2, axis=0)
        powers = np.vstack([powers[1:], power])
        along_time, along_frequency = np.median(powers, axis=0), median_filter(power, 17, mode="nearest")
        now = along_frequency / (along_time + along_frequency + 1e-30)
        share = np.maximum(now, 0.5 * now + 0.5 * share)
        np.testing.assert_allclose(found.of(spectrum), share, rtol=1e-4)


@pytest.mark.parametrize("block", [1, 100, 110])
def test_windows_sum_to_one(block):
    analysis, synthesis = asymmetric_windows(LONG_WINDOW, block)
    assert (len(analysis), len(synthesis)) == (LONG_WINDOW, 2 * block)
    product = analysis[-2 * block :] * synthesis
    np.testing.assert_allclose(product[:block] + product[block:], 1.0, atol=1e-6)


@pytest.mark.parametrize("cut", [22050, 22051 + BLOCK // 2])
def test_another_future_changes_nothing_before_it(band, cut):
    mixture = sum(band.values())[:RATE]
    other = mixture.copy()
    other[cut:] = -mixture[::-1][cut:]
    first, second = streamed(mixture), streamed(other)
    for stem in STEMS:
        # 219 samples by construction, and some of it is used.
        np.testing.assert_array_equal(first[stem][: cut - 219], second[stem][: cut - 219])
        assert not np.array_equal(first[stem][cut - 219 : cut + 110], second[stem][cut - 219 : cut + 110])


def test_the_past_is_forgotten_between_pieces(band):
    mixture = sum(band.values())[: RATE // 2]
    system = Live()
    with OwnStream(system) as own:
        first = stream(own, mixture, RATE).signals
        stream(own, mixture[::-1], RATE)
        second = stream(own, mixture, RATE).signals
    np.testing.assert_array_equal(first, second)


def test_a_stroke_is_one_from_its_first_sample_on(band):
    """A median that waits for frames of the future would be late; the past alone tells a stroke at once."""
    mixture = 0.01 * np.random.default_rng(2).standard_normal((RATE // 2, 2))
    begins = 15000
    mixture[begins : begins + 400] += np.random.default_rng(3).standard_normal((400, 2))
    stems = streamed(mixture, blend=0.0)
    at_once = slice(begins, begins + 110)
    assert np.sum(stems["drums"][at_once] ** 2) > 0.5 * np.sum(mixture[at_once] ** 2)


def test_a_longer_memory_takes_longer_for_a_tone(band):
    tone = np.zeros((RATE, 2))
    tone[RATE // 4 :] = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(RATE - RATE // 4) / RATE)[:, None]
    taken = []
    for memory in (3, 9, 33):
        drums = streamed(tone, blend=0.0, memory=memory)["drums"]
        taken.append(np.sum(drums**2) / np.sum(tone**2))
    assert taken == sorted(taken)
    assert taken[0] < 0.1
    with pytest.raises(UsageError, match="memory"):
        Live(memory=8)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("silence", lambda music: 0 * music),
        ("left channel only", lambda music: music * [1.0, 0.0]),
        ("one impulse", lambda music: np.eye(len(music), 2)),
        ("denormal level", lambda music: 1e-310 * music),
        ("a hundred times full scale", lambda music: 100 * music),
    ],
)
def test_music_that_is_hardly_any(band, what, change):
    mixture = change(sum(band.values())[: RATE // 2])
    with np.errstate(divide="raise", invalid="raise"):
        stems = streamed(mixture)
    assert_divides(stems, mixture)


def test_alike_channels_stay_alike(band):
    mixture = np.repeat(sum(band.values())[: RATE // 2, :1], 2, axis=1)
    assert_channels_alike(streamed(mixture))


def test_load_is_measured(band):
    system = Live()
    with OwnStream(system) as own:
        result = stream(own, sum(band.values())[: RATE // 2], RATE)
    assert len(result.cpu) == len(result.wall) == -(-(RATE // 2 + 110) // BLOCK)
    assert (result.wall > 0).all()
    # No promise about this machine, on which other things run: 0.15 when written.
    assert np.median(result.cpu) < 3
