"""NAL-R of the fast engine against `np.convolve` of the same filters."""

import numpy as np
import pytest
from clarity.enhancer.nalr import NALR
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.enhancement import amplify_ear
from harness.haaqi.fast import nalr
from harness.hearing import Audiogram

TOLERANCE = 1e-12
FREQUENCIES = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)

tried = settings(deadline=None, derandomize=True, database=None, print_blob=False)
audiograms = st.lists(st.integers(-2, 22).map(lambda step: 5.0 * step), min_size=8, max_size=8).map(
    lambda levels: Audiogram(FREQUENCIES, tuple(levels))
)


@st.composite
def signals(draw, shortest=1):
    """A tone in noise that begins and ends anywhere, as loud as anything."""
    samples = draw(st.integers(shortest, 30000))
    noise = np.random.RandomState(draw(st.integers(0, 99))).standard_normal(samples)
    tone = np.sin(draw(st.floats(0, 3, width=16)) * np.arange(samples))
    signal = draw(st.sampled_from([1e-8, 0.1, 1e4])) * (draw(st.sampled_from([0, 1e-6, 0.1])) * noise + tone + 1e-9)
    start, stop = sorted(draw(st.tuples(st.integers(0, samples), st.integers(0, samples))))
    signal[start:stop] = 0
    return signal.astype(draw(st.sampled_from([np.float32, np.float64])))


def close(found, expected):
    return found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def fir_of(audiogram):
    return amplify_ear(np.ones(1), audiogram)


@tried
@given(audiograms, signals())
def test_it_is_the_convolution(audiogram, signal):
    fir = fir_of(audiogram)

    assert close(nalr.filtered(nalr.blocks_of(signal, fir.size), fir), np.convolve(signal, fir))


@tried
@given(audiograms, audiograms, signals())
def test_blocks_are_good_for_every_filter(first, second, signal):
    blocks = nalr.blocks_of(signal, fir_of(first).size)

    for audiogram in (first, second, first):
        assert close(nalr.filtered(blocks, fir_of(audiogram)), amplify_ear(signal, audiogram))


@tried
@given(audiograms, signals(shortest=300))
def test_it_is_what_the_metric_applies_itself(audiogram, signal):
    levels = audiogram.for_pyclarity().resample(HAAQI_AUDIOGRAM_FREQUENCIES).levels
    enhancer = NALR(140, 24000)
    fir, _ = enhancer.build(ClarityAudiogram(levels=levels, frequencies=HAAQI_AUDIOGRAM_FREQUENCIES))

    found, expected = nalr.amplified(signal, levels), enhancer.apply(fir, signal)
    assert len(found) == len(signal)
    assert np.abs(found - expected[140 : 140 + len(signal)]).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("level", [0.0, -10.0])
def test_normal_hearing_is_a_delay(level):
    audiogram = Audiogram((250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0), 6 * (level,))
    signal = np.random.RandomState(0).standard_normal(5000)
    fir = fir_of(audiogram)

    assert close(nalr.filtered(nalr.blocks_of(signal, fir.size), fir)[110:-110], signal)
