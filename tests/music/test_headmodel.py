"""The small head model against the formulas that it is made from."""

import numpy as np
import pyloudnorm
import pytest

from harness.haaqi import conformance
from harness.music.heads import HEAD_RADIUS, SPEED_OF_SOUND, TAPS, impulse_responses
from harness.music.microphones import at_microphones, loudness

RATE = 44100


def response(impulse: np.ndarray, frequency: float) -> complex:
    return complex(np.sum(impulse * np.exp(-2j * np.pi * frequency / RATE * np.arange(len(impulse)))))


def delay(impulse: np.ndarray) -> float:
    """Delay in seconds: slope of the phase well below the corner of the head shadow's filter."""
    low, high = (np.angle(response(impulse, frequency)) for frequency in (3000.0, 3200.0))
    return float(((low - high) % (2 * np.pi)) / (2 * np.pi * 200.0))


@pytest.mark.parametrize("angle", [10.0, 30.0, 60.0, 80.0])
def test_the_far_ear_hears_later_by_woodworths_difference(angle: float) -> None:
    left, right = impulse_responses(angle).T
    # Brown & Duda 1998, eq. 3, ears at +-100 degrees: near ear at |angle - 100|, far ear at angle + 100 degrees.
    near = -np.cos(np.radians(100 - angle))
    far = np.radians(angle + 100) - np.pi / 2
    expected = HEAD_RADIUS / SPEED_OF_SOUND * (far - near)
    assert delay(left) - delay(right) == pytest.approx(expected, abs=30e-6)  # the shadow's filter adds a little
    assert expected < 0.8e-3


@pytest.mark.parametrize("angle", [15.0, 30.0, 60.0, 90.0])
def test_the_near_ear_is_louder_at_high_frequencies_and_hardly_at_low_ones(angle: float) -> None:
    left, right = impulse_responses(angle).T

    def difference(frequency: float) -> float:
        return float(20 * np.log10(abs(response(right, frequency)) / abs(response(left, frequency))))

    assert abs(difference(50)) < 1
    assert difference(8000) > difference(1000) > difference(200) > 0
    assert difference(8000) > 3
    # Towards the ear the response rises by up to 6 dB (alpha = 2).
    assert abs(response(impulse_responses(100.0)[:, 1], 15000)) == pytest.approx(2, rel=0.05)


def test_a_loudspeaker_on_the_other_side_is_the_mirror_image() -> None:
    for angle in (0.0, 22.5, 37.5, 90.0):
        assert impulse_responses(-angle) == pytest.approx(impulse_responses(angle)[:, ::-1], abs=1e-12)


def test_the_response_is_causal_and_has_decayed_at_its_end() -> None:
    for angle in (0.0, 30.0, 100.0, 180.0):
        impulse = impulse_responses(angle)
        assert impulse.shape == (TAPS, 2)
        energy = np.sum(impulse**2, axis=0)
        assert (np.sum(impulse[:10] ** 2, axis=0) < 1e-2 * energy).all()
        assert (np.sum(impulse[-10:] ** 2, axis=0) < 1e-3 * energy).all()


def test_loudness_and_length_are_kept_and_each_speaker_is_louder_on_its_side() -> None:
    music = conformance.scenes()[0].mixture
    speakers = impulse_responses(-30.0), impulse_responses(30.0)
    heard = at_microphones(music, loudness(music), *speakers).samples / 32768
    meter = pyloudnorm.Meter(RATE)
    assert heard.shape == music.shape
    assert meter.integrated_loudness(heard) == pytest.approx(meter.integrated_loudness(music), abs=1e-3)
    one_side = music * [1, 0]
    only_left = at_microphones(one_side, loudness(one_side), *speakers).samples / 32768
    assert np.sum(only_left[:, 0] ** 2) > 1.2 * np.sum(only_left[:, 1] ** 2)
