"""NAL-R of the fast engine against `np.convolve` of the same filters."""

import numpy as np
import pytest
from clarity.enhancer.nalr import NALR
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from hypothesis import given
from hypothesis import strategies as st

from harness.enhancement import amplify_ear
from harness.haaqi.fast import nalr
from harness.hearing import Audiogram
from tests.haaqi.test_fast_properties import audiograms, made, parts, tried

TOLERANCE = 1e-12


def close(found, expected):
    return found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


def fir_of(audiogram):
    return amplify_ear(np.ones(1), audiogram)


@tried
@given(audiograms, parts, st.integers(1, 30000), st.sampled_from([np.float32, np.float64]))
def test_it_is_the_convolution(audiogram, steps, samples, kind):
    signal, fir = made(steps, np.zeros(samples)).astype(kind), fir_of(audiogram)

    assert close(nalr.filtered(nalr.blocks_of(signal, fir.size), fir), np.convolve(signal, fir))


@tried
@given(audiograms, audiograms, st.integers(221, 30000))
def test_blocks_are_good_for_every_filter(first, second, samples):
    signal = np.random.RandomState(samples).standard_normal(samples)
    blocks = nalr.blocks_of(signal, fir_of(first).size)

    for audiogram in (first, second, first):
        assert close(nalr.filtered(blocks, fir_of(audiogram)), amplify_ear(signal, audiogram))


@tried
@given(audiograms, st.integers(141, 30000))
def test_it_is_what_the_metric_applies_itself(audiogram, samples):
    signal = np.random.RandomState(samples).standard_normal(samples).astype(np.float32)
    levels = audiogram.for_pyclarity().resample(HAAQI_AUDIOGRAM_FREQUENCIES).levels
    enhancer = NALR(140, 24000)
    fir, _ = enhancer.build(ClarityAudiogram(levels=levels, frequencies=HAAQI_AUDIOGRAM_FREQUENCIES))

    for _ in range(2):
        assert close(nalr.amplified(signal, levels), enhancer.apply(fir, signal)[140 : 140 + samples])


@pytest.mark.parametrize("level", [0.0, -10.0])
def test_normal_hearing_is_a_delay(level):
    audiogram = Audiogram((250.0, 500.0, 1000.0, 2000.0, 4000.0, 6000.0), 6 * (level,))
    signal = np.random.RandomState(0).standard_normal(5000)
    fir = fir_of(audiogram)

    assert close(nalr.filtered(nalr.blocks_of(signal, fir.size), fir)[110:-110], signal)
