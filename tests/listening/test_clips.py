"""Clips: files that decode to the signal, levels, waveform and spectrogram."""

import io
import math

import numpy as np
import pyloudnorm
import pytest
import soundfile
from listening.signals import RATE, lag, noise, pink
from PIL import Image

from harness.errors import EvaluatorError, HarnessError
from harness.listening.clips import PEAK, clip
from harness.listening.levels import full_scale_spl, lufs, spl
from harness.listening.pictures import HEIGHT, PEAKS, WIDTH, height_of, spectrogram, waveform

FULL_SCALE = 85.0


def stereo(seconds: float = 0.6, level: float = 0.05) -> np.ndarray:
    return np.stack([level * pink(seconds), 0.5 * level * pink(seconds, seed=5)], axis=1)


def decoded(content: bytes) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(content), always_2d=True)
    assert rate == RATE
    return samples


def test_a_lossless_clip_is_the_signal() -> None:
    signal = stereo()
    made = clip(signal, FULL_SCALE, lossless=True)
    samples = decoded(made.content)
    assert made.suffix == "flac"
    assert np.abs(samples).max() == pytest.approx(PEAK, abs=2**-15)
    np.testing.assert_allclose(samples * made.gain, signal, atol=made.gain * 2**-15)


@pytest.mark.parametrize("level", [0.05, 1e-7, 40.0])
def test_an_mp3_is_as_long_as_the_signal_aligned_and_as_loud(level: float) -> None:
    """However soft: as heard, much of the music lies far below what 16 bit can hold."""
    signal = stereo(level=level)
    made = clip(signal, FULL_SCALE)
    samples = decoded(made.content) * made.gain
    assert made.suffix == "mp3"
    assert samples.shape == signal.shape
    assert lag(samples[:, 0], signal[:, 0]) == 0
    assert np.corrcoef(samples[:, 0], signal[:, 0])[0, 1] > 0.97
    for ear in (0, 1):
        assert np.std(samples[:, ear]) == pytest.approx(np.std(signal[:, ear]), rel=0.03)


def test_clips_are_the_same_to_the_byte() -> None:
    assert clip(stereo(), FULL_SCALE) == clip(stereo(), FULL_SCALE)


def test_silence_has_no_level() -> None:
    made = clip(np.zeros((RATE, 2)), FULL_SCALE)
    assert (made.gain, made.spl, made.lufs) == (0, None, None)
    assert made.waveform == (0.0,) * PEAKS
    assert not decoded(made.content).any()


def test_without_mp3_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    formats = soundfile.available_formats()
    monkeypatch.setattr(soundfile, "available_formats", lambda: {k: v for k, v in formats.items() if k != "MP3"})
    with pytest.raises(HarnessError, match=r"cannot write MP3: install soundfile's own wheel.*lossless"):
        clip(stereo(), FULL_SCALE)
    assert clip(stereo(), FULL_SCALE, lossless=True).suffix == "flac"


# Levels


def test_the_reference_has_65_dB_spl_both_ears_together() -> None:  # noqa: N802
    reference = stereo()
    full_scale = full_scale_spl(reference)
    assert spl(reference, full_scale) == pytest.approx(65)
    assert spl(reference / 10, full_scale) == pytest.approx(45)
    # The right ear gets half of what the left gets, and keeps 6 dB less.
    left, right = (spl(reference[:, [ear, ear]], full_scale) for ear in (0, 1))
    assert left is not None
    assert right is not None
    assert left - right == pytest.approx(20 * math.log10(2))


def test_a_silent_reference_has_no_calibration() -> None:
    with pytest.raises(EvaluatorError, match="reference of the scene is silent"):
        full_scale_spl(np.zeros((100, 2)))


def test_loudness_is_that_of_the_standard_and_follows_the_level() -> None:
    signal = stereo(2.0)
    expected = pyloudnorm.Meter(RATE).integrated_loudness(signal)
    assert lufs(signal) == pytest.approx(expected, abs=1e-6)
    # Far below the standard's absolute gate.
    assert lufs(signal * 1e-5) == pytest.approx(expected - 100, abs=1e-6)


@pytest.mark.parametrize("signal", [np.zeros((RATE, 2)), np.ones((100, 2))], ids=["silence", "too short"])
def test_loudness_may_be_undefined(signal: np.ndarray) -> None:
    assert lufs(signal) is None


# Pictures


def test_waveform_has_the_peaks_in_order() -> None:
    signal = np.zeros((RATE, 2))
    signal[RATE // 2 + 100, 1] = -0.5
    signal[-1, 0] = 0.25
    peaks = waveform(signal)
    assert len(peaks) == PEAKS
    assert {index: peak for index, peak in enumerate(peaks) if peak} == {PEAKS // 2: 1.0, PEAKS - 1: 0.5}


def brightness(picture: bytes) -> np.ndarray:
    """Place of each pixel in the colour map, (HEIGHT, WIDTH), the lowest frequency first."""
    image = Image.open(io.BytesIO(picture))
    assert (image.format, image.mode, image.size) == ("PNG", "P", (WIDTH, HEIGHT))
    return np.asarray(image)[::-1].astype(int)


@pytest.mark.parametrize("frequency", [100.0, 1000.0, 10_000.0])
def test_spectrogram_shows_a_tone_at_its_time_and_frequency(frequency: float) -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.where(time < 1, np.sin(2 * np.pi * frequency * time), 0)
    seen = brightness(spectrogram(np.stack([tone, tone], axis=1), 80.0))
    row, column = np.unravel_index(np.argmax(seen), seen.shape)
    assert row == pytest.approx(height_of(frequency) * HEIGHT, abs=1.5)
    assert column < WIDTH / 2
    # The window is 93 ms long, 19 columns.
    assert not seen[:, WIDTH // 2 + 20 :].any()


def test_spectrograms_compare_by_level() -> None:
    """One scale for all: a softer sound is darker, by the same number of steps everywhere."""
    loud, soft = (brightness(spectrogram(stereo(level=level), 100.0)) for level in (0.1, 0.01))
    inside = (soft > 0) & (loud < loud.max())
    assert inside.mean() > 0.5
    assert (loud - soft)[inside] == pytest.approx(20 / 90 * 63, abs=1)


def test_spectrogram_of_silence_and_of_the_shortest_clip() -> None:
    assert not brightness(spectrogram(np.zeros((RATE, 2)), 85.0)).any()
    assert brightness(spectrogram(np.stack([noise(0.4)] * 2, axis=1), 85.0)).any()
