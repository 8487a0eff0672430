"""Smearing all frames at once gives what pyclarity's loop over them gives, but at the ends, where that goes wrong."""

import numpy as np
import pytest
from clarity.evaluator.msbg import smearing as theirs
from listening.signals import RATE, noise

from harness.listening.smearing import Smearer

DEGREES = [(1.6, 1.1), (2.4, 1.6), (4.0, 2.0)]
REST = np.zeros(2 * theirs.FRAME_SIZE)


@pytest.fixture(scope="module", params=DEGREES, ids=["mild", "moderate", "severe"])
def smearer(request: pytest.FixtureRequest) -> theirs.Smearer:
    return theirs.Smearer(*request.param, float(RATE))


@pytest.mark.parametrize("samples", [64 * 100, 64 * 100 + 1, 6400 + 63])
@pytest.mark.parametrize("kind", ["noise", "tone", "click"])
def test_equals_pyclarity(smearer: theirs.Smearer, kind: str, samples: int) -> None:
    """For a high tone the matrix gives some negative powers, whose root pyclarity takes too."""
    time = np.arange(samples) / RATE
    click = np.where(time == time[77], 1.0, 0.0)
    sound = {"noise": noise(1.0)[:samples], "tone": np.sin(2 * np.pi * 20_000 * time), "click": click}
    signal = np.concatenate([REST, sound[kind], REST])
    expected = smearer.smear(signal)
    found = Smearer(smearer.f_smear).smear(signal)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


def test_the_beginning_sounds_once(smearer: theirs.Smearer) -> None:
    """In pyclarity a click at the beginning comes a second time, 192 samples before the true one."""
    signal = np.zeros(4096)
    signal[100] = 1
    early = slice(0, 150)
    expected = smearer.smear(signal)
    found = Smearer(smearer.f_smear).smear(signal)
    assert np.abs(expected[early]).max() > 0.1 * np.abs(expected).max()
    assert np.abs(found[early]).max() < 0.01 * np.abs(found).max()
    assert np.abs(found).argmax() == 100 + theirs.FRAME_SIZE - theirs.SHIFT


def test_silence_stays_silence(smearer: theirs.Smearer) -> None:
    assert not Smearer(smearer.f_smear).smear(np.zeros(1000)).any()
