"""Gains, remix, loudness, NAL-R and the submission's form, against the recipe's own functions and independent ones."""

import warnings

import numpy as np
import pyloudnorm
import pytest
import soxr
from clarity.enhancer.nalr import NALR
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from clarity.utils.signal_processing import clip_signal, resample, to_16bit

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import (
    LOUDEST,
    Signal,
    amplify,
    apply_gains,
    check_signal,
    match_loudness,
    remix,
    to_remix_format,
)
from harness.errors import SystemFailure
from harness.haaqi import conformance
from harness.hearing import Audiogram, Listener

RATE = PROTOCOL.sample_rate
SCENES = {scene.id: scene for scene in conformance.scenes()}  # the second has a silent stem
recipe = pytest.importorskip("recipes.cad_icassp_2024.baseline.evaluate", reason="the recipe does not import here")


def lufs(signal: Signal) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(signal))


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest) -> conformance.ConformanceScene:
    return SCENES[request.param]


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_remix_is_the_recipes_to_the_last_bit(scene: conformance.ConformanceScene) -> None:
    in_order = {name: scene.stems[name] for name in ("drums", "bass", "other", "vocals")}
    gained = recipe.apply_gains(in_order, RATE, scene.gains)
    for name, stem in apply_gains(scene.stems, scene.gains).items():
        assert np.array_equal(stem, gained[name])
    expected = recipe.remix_stems(gained, scene.mixture, RATE)
    assert np.array_equal(remix(scene.stems, scene.gains, scene.mixture), expected)


def test_gains_are_decibels_and_the_remix_has_the_loudness_of_the_mixture() -> None:
    scene = SCENES["scene_V001"]
    gained = apply_gains(scene.stems, scene.gains)
    for name in STEMS:
        assert lufs(gained[name]) - lufs(scene.stems[name]) == pytest.approx(scene.gains[name], abs=1e-9)
        assert gained[name] == pytest.approx(scene.stems[name] * 10 ** (scene.gains[name] / 20), abs=1e-12)
    remixed = remix(scene.stems, scene.gains, scene.mixture)
    assert lufs(remixed) == pytest.approx(lufs(scene.mixture), abs=1e-9)
    total = sum(scene.stems[name] * 10 ** (scene.gains[name] / 20) for name in STEMS)
    assert np.corrcoef(remixed.ravel(), np.ravel(total))[0, 1] == pytest.approx(1, abs=1e-12)


def test_silence_counts_as_minus_80_lufs_and_stays_silent() -> None:
    silent, music = np.zeros((RATE, 2)), SCENES["scene_V001"].mixture
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not apply_gains(dict.fromkeys(STEMS, silent), dict.fromkeys(STEMS, 10.0))["vocals"].any()
        assert not match_loudness(silent, music).any()
        matched = match_loudness(music, silent)
    assert lufs(music) + 20 * np.log10(np.abs(matched).max() / np.abs(music).max()) == pytest.approx(-80, abs=1e-9)


@pytest.mark.parametrize("who", conformance.LISTENERS)
def test_amplify_is_nalr_for_each_ear(who: str) -> None:
    listener = conformance.LISTENERS[who]
    music = SCENES["scene_V001"].mixture
    amplified = amplify(music, listener)
    assert amplified.shape == (len(music) + PROTOCOL.nalr_order, 2)
    nalr = NALR(nfir=220, sample_rate=RATE)
    for ear, audiogram in enumerate((listener.left, listener.right)):
        levels = ClarityAudiogram(levels=np.array(audiogram.levels), frequencies=np.array(audiogram.frequencies))
        assert np.array_equal(amplified[:, ear], recipe.apply_ha(nalr, None, music[:, ear], levels))


def test_nalr_gains_what_byrne_and_dillon_prescribe() -> None:
    """A flat loss of 60 dB HL: 0.15 * 60 + 0.31 * 60 + k (their formula), k = +1 at 1 kHz, -2 at 4 kHz."""
    flat = Audiogram(conformance.FREQUENCIES, (60.0,) * 8)
    time = np.arange(RATE) / RATE
    for frequency, k in ((1000, 1), (4000, -2)):
        tone = np.sin(2 * np.pi * frequency * time)[:, None] * [0.01, 0.01]
        steady = amplify(tone, Listener("flat", flat, flat))[5000:-5000]
        gain = 20 * np.log10(np.abs(steady).max() / 0.01)
        assert gain == pytest.approx(0.46 * 60 + k, abs=1.0)


@pytest.mark.parametrize("soft_clip", [False, True])
@pytest.mark.parametrize("level", [0.3, 8.0])
def test_the_submissions_form_is_the_recipes(level: float, soft_clip: bool) -> None:
    music = level * SCENES["scene_V001"].mixture
    samples, clipped = to_remix_format(music, soft_clip)
    expected, count = clip_signal(resample(music, RATE, 32000), soft_clip)
    assert samples.dtype == np.int16
    assert np.array_equal(samples, to_16bit(expected))
    assert clipped == count
    assert (clipped > 0) is (level > 1 and not soft_clip)
    assert len(samples) == len(soxr.resample(music, 44100, 32000)) == len(music) * 320 // 441
    assert len(samples) in PROTOCOL.remix_frames(len(music))


def test_every_clipped_sample_of_both_channels_is_counted() -> None:
    loud = np.ones((RATE, 2)) * [2.0, 0.5]
    samples, clipped = to_remix_format(loud)
    assert (samples[1000:-1000, 0] == 32767).all()
    assert samples[1000:-1000, 1] == pytest.approx(16384, abs=1)
    assert clipped == np.count_nonzero(np.abs(soxr.resample(loud, RATE, 32000, quality="HQ")) > 1)
    assert clipped == pytest.approx(32000, abs=100)


GOOD = np.zeros((RATE, 2))


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (None, "it is a NoneType, expected a NumPy array of floats"),
        ([[0.0, 0.0]], "it is a list, expected a NumPy array of floats"),
        (GOOD.astype(np.int16), "it is a int16 array, expected"),
        (GOOD.astype(complex), "it is a complex128 array, expected"),
        (GOOD[:, 0], "it has shape (44100,), expected (samples, 2)"),
        (GOOD[:, :1], "it has shape (44100, 1), expected (samples, 2)"),
        (GOOD.T, "it has shape (2, 44100), expected (samples, 2)"),
        (GOOD[:-1], "it has 44099 samples, expected 44100"),
        (np.full((RATE, 2), np.nan), "it holds values that are not finite"),
        (np.where(np.arange(RATE)[:, None] == 7, np.inf, GOOD), "it holds values that are not finite"),
    ],
)
def test_a_signal_that_is_none(signal: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the message is compared below)
        check_signal(signal, "it", RATE)
    assert message in str(caught.value)


def test_a_good_signal_and_one_that_is_too_short_for_loudness() -> None:
    for kind in (np.float32, np.float64):
        check_signal(GOOD.astype(kind), "it", RATE)
    shortest = int(0.4 * RATE)
    check_signal(GOOD[:shortest], "it")
    lufs(GOOD[:shortest] + 0.1)
    with pytest.raises(ValueError, match=r"it lasts 0\.400 s, loudness needs at least 0\.4 s"):
        check_signal(GOOD[: shortest - 1], "it")


@pytest.mark.parametrize("frames", [17640, 44100, 44101, 264600, 441000, 441001])
def test_every_length_that_a_resampled_remix_can_have_is_allowed(frames: int) -> None:
    allowed = PROTOCOL.remix_frames(frames)
    for tail in (0, 1, 110, PROTOCOL.nalr_order):
        samples, _ = to_remix_format(np.zeros((frames + tail, 2)))
        assert len(samples) in allowed
    assert len(allowed) <= 220 * 320 / 441 + 3


@pytest.mark.parametrize("soft_clip", [False, True])
def test_what_is_absurdly_loud_is_clipped_or_refused_but_never_silent(soft_clip: bool) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (RATE, 2))
    samples, clipped = to_remix_format(LOUDEST * noise, soft_clip)
    assert np.mean(np.abs(samples.astype(int)) >= 32767) > 0.99
    assert (clipped > 0) is not soft_clip
    for level in (2 * LOUDEST, 1e40, 1e300):
        for sign in (1, -1):
            with pytest.raises(SystemFailure, match=r"its remix is .* times as loud as full scale"):
                to_remix_format(sign * level * np.abs(noise), soft_clip)
