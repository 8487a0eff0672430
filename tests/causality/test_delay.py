"""The delay of an output behind the music."""

import numpy as np
import pytest
from causality.small import LISTENER, by_one_transform, music, one_pole
from scipy.signal import lfilter

from harness.causality.delay import delay_of
from harness.enhancement import amplify


@pytest.mark.parametrize("delay", [0, 1, 110, 2048, 30000])
@pytest.mark.parametrize("factor", [1.0, -0.3])
def test_a_delay_is_found_to_the_sample(delay: int, factor: float) -> None:
    piece = music(1.5)
    late = factor * np.concatenate([np.zeros((delay, 2)), piece])[: len(piece)]
    assert delay_of(late, piece) == delay


def test_an_early_output_has_a_negative_delay() -> None:
    piece = music(1.5)
    assert delay_of(np.concatenate([piece[77:], np.zeros((77, 2))]), piece) == -77


def test_stems_count_as_their_sum() -> None:
    piece = music(1.5)
    late = np.concatenate([np.zeros((300, 2)), piece])[: len(piece)]
    low = lfilter([0.1], [1, -0.9], late, axis=0)
    assert delay_of(np.concatenate([low, late - low, 0 * low, 0 * low], axis=1), piece) == 300


def test_a_filters_group_delay_is_part_of_it() -> None:
    piece = music(2.0)
    assert delay_of(amplify(piece, LISTENER), piece) == 110
    for filtered in (one_pole, by_one_transform):
        found = delay_of(filtered(piece), piece)
        assert found is not None
        assert 0 <= found < 30


def test_something_else_than_the_music_has_no_delay() -> None:
    piece, rng = music(1.5), np.random.default_rng(0)
    noise = rng.standard_normal(piece.shape)
    for other in (noise, lfilter([0.01], [1, -0.99], noise, axis=0), np.zeros_like(piece)):
        assert delay_of(other, piece) is None


def test_noise_beside_the_music_does_not_matter() -> None:
    piece, rng = music(1.5), np.random.default_rng(0)
    late = np.concatenate([np.zeros((50, 2)), piece])[: len(piece)]
    assert delay_of(late + 0.05 * rng.standard_normal(piece.shape), piece) == 50
