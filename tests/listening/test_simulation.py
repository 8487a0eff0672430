"""The simulation of a hearing loss: pyclarity's MSBG, without the traps of its `Ear.process`."""

import logging

import numpy as np
import pytest
from clarity.evaluator.msbg.msbg import Ear
from clarity.evaluator.msbg.msbg_utils import measure_rms
from listening.signals import RATE, STANDARD, ear, flat_or, lag, noise, pink

from harness.hearing import Listener
from harness.listening.simulation import degree, delay_of, heard, heard_by_ear, limited

FULL_SCALE = 85.0


def decibels(signal: np.ndarray) -> float:
    """Level of the middle of a signal: its ends are still in the filters."""
    middle = signal[len(signal) // 6 : -len(signal) // 6]
    return float(10 * np.log10(np.mean(middle**2)))


@pytest.mark.parametrize(
    ("name", "smearing", "delay"),
    [("N0", "nothing", 1080), ("N1", "mild", 1272), ("N2", "moderate", 1272), ("N5", "severe", 1272)],
)
def test_is_the_simulation_of_pyclarity(name: str, smearing: str, delay: int) -> None:
    """For each degree of smearing: what `process` gives for a signal whose scaling by it was undone before.

    Its smearing goes wrong in the first 256 samples, so these are silent; and in the last, behind what is compared,
    which still tells in the envelopes.
    """
    signal = noise()
    signal[:256] = 0
    padded = np.concatenate([signal, np.zeros(delay)])
    scaling = np.sqrt(np.mean(padded**2)) / measure_rms(padded, RATE, -12)[0]
    theirs = Ear(equiv_0db_spl=FULL_SCALE, ahr=0.0)
    theirs.set_audiogram(ear(name).for_pyclarity())
    expected = theirs.process(padded / scaling)[0][delay:][: len(signal)]

    found = heard_by_ear(signal, ear(name), FULL_SCALE)

    assert degree(ear(name)) == smearing
    assert delay_of(ear(name)) == delay
    assert len(found) == len(signal)
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()


def test_each_ear_is_heard_by_itself() -> None:
    """pyclarity's `process` forces the level of both channels onto the first: too loud if that is the softer one."""
    left, right = 0.1 * noise(0.3, seed=3), noise(0.3, seed=4)
    stereo = np.stack([left, right], axis=1)
    found = heard(stereo, Listener("L", ear("N2"), ear("N3")), FULL_SCALE)
    np.testing.assert_array_equal(found[:, 0], heard_by_ear(left, ear("N2"), FULL_SCALE))
    np.testing.assert_array_equal(found[:, 1], heard_by_ear(right, ear("N3"), FULL_SCALE))

    theirs = Ear(equiv_0db_spl=FULL_SCALE, ahr=0.0)
    theirs.set_audiogram(ear("N2").for_pyclarity())
    assert decibels(theirs.process(stereo)[0]) > decibels(found[:, 0]) + 10


def test_a_rest_changes_nothing_of_what_is_heard_before_it() -> None:
    """`process` scales a signal by how much louder its loud parts are than all of it."""
    signal = noise(0.4)
    alone = heard_by_ear(signal, ear("N3"), FULL_SCALE)
    with_rest = heard_by_ear(np.concatenate([signal, np.zeros(RATE)]), ear("N3"), FULL_SCALE)
    until = round(0.3 * RATE)
    np.testing.assert_allclose(with_rest[:until], alone[:until], atol=1e-6 * np.abs(alone).max())


def test_levels_are_those_of_the_calibration() -> None:
    """Only the level in dB SPL counts, not how it is made up of samples and full scale."""
    signal = noise()
    expected = heard_by_ear(signal, ear("N3"), FULL_SCALE)
    found = heard_by_ear(signal / 10, ear("N3"), FULL_SCALE + 20)
    # pyclarity has a softest envelope, at -180 dB of full scale.
    np.testing.assert_allclose(10 * found, expected, atol=1e-5 * np.abs(expected).max())
    assert decibels(heard_by_ear(signal, ear("N3"), FULL_SCALE + 20)) > decibels(expected) + 10


@pytest.mark.parametrize(("left", "right"), [("N0", "N0"), ("N0", "N1"), ("N3", "N0"), ("N5", "N2")])
def test_ears_stay_aligned_with_each_other_and_with_the_file(left: str, right: str) -> None:
    """Ears of different degree, of which one is smeared and the other is not, would be 4.4 ms apart."""
    signal = np.tile(10 * noise(), (2, 1)).T
    found = heard(signal, Listener("L", ear(left), ear(right)), FULL_SCALE)
    assert found.shape == signal.shape
    # The filters of the gammatone bank are not all advanced by exactly what they delay.
    assert abs(lag(found[:, 0], signal[:, 0])) <= 10
    assert abs(lag(found[:, 1], signal[:, 1])) <= 10


def test_mono_stays_mono_where_both_ears_are_alike() -> None:
    found = heard(np.tile(noise(), (2, 1)).T, Listener("L", ear("N3"), ear("N3")), FULL_SCALE)
    np.testing.assert_array_equal(found[:, 0], found[:, 1])


@pytest.mark.parametrize("name", ["N0", "N4"])
def test_silence_stays_silence(name: str) -> None:
    stereo = np.stack([np.zeros(RATE // 2), noise(0.5)], axis=1)
    found = heard(stereo, Listener("L", ear(name), ear(name)), FULL_SCALE)
    assert not found[:, 0].any()
    assert np.isfinite(found).all()
    assert found[:, 1].any()


@pytest.mark.parametrize("level", [85.0, 105.0, 120.0])
def test_thresholds_above_80_count_as_80(level: float) -> None:
    """At 105 dB HL pyclarity divides by zero, at 120 it amplifies by 1400 dB."""
    signal = noise()
    expected = heard_by_ear(signal, flat_or(80), FULL_SCALE)
    np.testing.assert_array_equal(heard_by_ear(signal, flat_or(level), FULL_SCALE), expected)
    assert limited(flat_or(level)) == flat_or(80)
    assert np.isfinite(expected).all()
    assert decibels(expected) < decibels(signal) - 40


def test_thresholds_below_0_count_as_0() -> None:
    signal = noise()
    found = heard_by_ear(signal, flat_or(-10), FULL_SCALE)
    np.testing.assert_array_equal(found, heard_by_ear(signal, flat_or(0), FULL_SCALE))


def test_is_deterministic() -> None:
    signal = noise()
    np.testing.assert_array_equal(
        heard_by_ear(signal, ear("N4"), FULL_SCALE), heard_by_ear(signal.copy(), ear("N4"), FULL_SCALE)
    )


def test_pink_noise_gets_softer_with_each_standard_audiogram() -> None:
    """At 65 dB SPL: hardly softer without a loss; N1 to N5 each by more than the last; N5 hears nothing (below 0)."""
    levels = {name: 65 + decibels(heard_by_ear(pink(), ear(name), 65.0)) for name in STANDARD}
    assert 63 < levels["N0"] < 66
    assert list(levels.values()) == sorted(levels.values(), reverse=True)
    assert levels["N1"] - levels["N2"] > 3
    assert 25 < levels["N3"] < 45
    assert levels["N5"] < 0


def test_loudness_grows_faster_than_level() -> None:
    """Recruitment: the louder, the nearer to normal hearing."""
    levels = [spl + decibels(heard_by_ear(pink(), ear("N3"), spl)) for spl in (65.0, 75.0, 85.0, 95.0)]
    steps = np.diff(levels)
    assert (steps > 11).all()
    assert levels[-1] < 95


def test_leaves_the_root_logger_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyclarity's `logging.info` gives it a handler, if it has none; every message of ours would then come twice."""
    monkeypatch.setattr(logging.root, "handlers", [])
    heard_by_ear(noise(0.1), flat_or(33), FULL_SCALE)
    assert logging.root.handlers == []
