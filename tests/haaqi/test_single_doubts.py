"""What is too close for single precision is decided as double precision decides it, for the band that it is about."""

from dataclasses import replace

import numpy as np
import pytest
from haaqi.signals import LEVEL1, LOSS, RATE, real_music

from harness.haaqi.fast.double import covariance
from harness.haaqi.fast.double import engine as double
from harness.haaqi.fast.double import filterbank as double_filterbank
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS
from harness.haaqi.fast.result import NEAR_THRESHOLD
from harness.haaqi.fast.single import cochlea, doubts
from harness.haaqi.fast.single import engine as single

SAMPLES = 14405
NOT_ROUNDED = 2e-6
"""In dB: what is left of the difference to the double engine, whose envelopes and motions are kept in single."""


def noise():
    return Noise(np.random.RandomState(0), 5 * BANDS * SAMPLES)


@pytest.fixture(scope="module")
def soft():
    """Music that is near threshold in many bands: that of the single engine, and its double-precision mean squares."""
    music = 0.1 * real_music(SAMPLES)
    settings = single.prepare(music), LOSS, 2, LEVEL1
    found = single.analyse_reference(music, *settings, Workspace())
    due = double.analyse_reference(music, double.prepare(music), *settings[1:], Workspace())
    return found, covariance.mean_squares(double._heard(due, noise(), 0).motion)


def mean_squares(found, band, count):
    given = found.bandwidth[band], int(found.late[band]), noise().read(band * SAMPLES, SAMPLES)
    return np.array([found.origin.mean_square(band, *given, window, count) for window in range(count)])


def levels(squares):
    return np.sqrt(2 * squares)


def test_mean_squares_are_those_of_the_double_engine(soft):
    found, due = soft
    assert found.late.max() > 0
    near = 0
    for band in (0, 1, 9, 17, 26, BANDS - 1):
        squares = mean_squares(found, band, due.shape[1])
        assert levels(squares) == pytest.approx(levels(due[band]), abs=NOT_ROUNDED, rel=1e-6)
        near += int((np.abs(levels(squares) - covariance.THRESHOLD_DB) < 1).sum())
    assert near > 20


def test_of_what_was_before_nothing_is_left(soft, monkeypatch):
    """The slowest pole decides: of the adaptation, or of the lowest band's filter."""
    found, due = soft
    poles = [*np.abs(np.roots(doubts._ADAPTATION[1])), np.exp(-2 * np.pi / RATE * 1.019 * 24.7)]
    assert max(poles) ** doubts._SETTLING < 1e-12
    # All of the excerpt is within that. With less there is something to be seen.
    whole = mean_squares(found, 0, due.shape[1])
    monkeypatch.setattr(doubts, "_SETTLING", 2000)
    shorter = mean_squares(found, 0, due.shape[1])
    assert levels(shorter) == pytest.approx(levels(whole), abs=0.1)
    assert (levels(shorter) != levels(whole)).any()


def test_bandwidths_are_those_of_the_double_engine(soft):
    # Loud enough for the bandwidth to depend on the level.
    found, _ = soft
    origin = replace(found.origin, signal=10 * found.origin.signal)
    space = np.empty((origin.signal.size, BANDS), np.float32)
    path = double_filterbank.control(origin.signal, double_filterbank.CENTER, double_filterbank.WIDEST, space)
    due = double_filterbank.adjusted_bandwidth(
        path.rms, origin.hearing.bandwidth, double_filterbank.WIDEST, origin.level1
    )
    assert (due > origin.hearing.bandwidth).any()
    assert [origin.bandwidth(band) for band in range(BANDS)] == pytest.approx(due, rel=1e-12)


@pytest.fixture
def settle(soft):
    """`settle(band, window, distance)`: tiles weighed, one of which single precision has that far from threshold."""
    found, due = soft

    def settle(band, window, distance):
        squares = due.copy()
        squares[band, window] = (covariance.THRESHOLD_DB + distance) ** 2 / 2
        tiles, settled = doubts.settled(
            found.origin, squares, found.bandwidth, found.late, noise().read(0, BANDS * SAMPLES)
        )
        return tiles, settled, squares

    return settle


def a_tile(due, above):
    """A tile in a loud window, well above or below threshold."""
    distance = levels(due) - covariance.THRESHOLD_DB
    loud = np.isfinite(covariance.tiles(due).distance)
    band, window = np.argwhere(loud & ((distance > 0.5) if above else (distance < -0.5)))[7]
    return int(band), int(window)


@pytest.mark.parametrize("above", [True, False])
def test_a_close_tile_is_decided_in_double_precision(soft, settle, above):
    _, due = soft
    band, window = a_tile(due, above)
    # Single precision has it on the other side.
    tiles, settled, squares = settle(band, window, -0.9 * doubts.CLOSE if above else 0.9 * doubts.CLOSE)
    assert settled
    assert levels(squares[band, window]) == pytest.approx(levels(due[band, window]), abs=NOT_ROUNDED, rel=1e-6)
    assert (tiles.weights[band, window] > 0) == above
    assert np.array_equal(tiles.weights, covariance.tiles(due).weights)
    # Nor does its distance count any more.
    assert tiles.distance[band, window] == np.inf
    assert tiles.margin > NEAR_THRESHOLD


def test_what_is_not_close_stays_as_it_is(soft, settle):
    _, due = soft
    band, window = a_tile(due, above=True)
    tiles, settled, squares = settle(band, window, -1.1 * doubts.CLOSE)
    assert not settled
    assert squares[band, window] == (covariance.THRESHOLD_DB - 1.1 * doubts.CLOSE) ** 2 / 2
    assert tiles.weights[band, window] == 0
    assert tiles.distance[band, window] == pytest.approx(1.1 * doubts.CLOSE, rel=1e-6)


def test_a_close_window_is_left_to_the_double_engine(soft, settle, monkeypatch):
    """Whether a window counts depends on all bands."""
    _, due = soft
    band, window = a_tile(due, above=True)
    tiles, _, _ = settle(band, window, 0)
    monkeypatch.setattr(doubts, "NEAR_THRESHOLD", 1.01 * tiles.window_margin)
    monkeypatch.setattr(doubts, "CLOSE", 1e-5)
    tiles, settled, _ = settle(band, window, 5e-6)
    assert not settled
    assert tiles.margin == pytest.approx(5e-6, rel=1e-6)


def test_a_covariance_is_there_for_a_tile_that_turns_out_to_count(soft):
    """That single precision finds below threshold."""
    assert single.comparison.LOUD[0] < (covariance.THRESHOLD_DB - doubts.CLOSE) ** 2 / 2 * covariance.POWER[0]


def test_an_ear_of_which_tiles_are_settled_has_its_score(monkeypatch):
    music = 0.1 * real_music(SAMPLES)
    found = single.analyse_reference(music, single.prepare(music), LOSS, 2, LEVEL1, Workspace())
    processed = music + 0.01 * real_music(SAMPLES, "vocals")
    due = single.score(found, processed, noise(), 0, Workspace())
    assert not due.settled
    monkeypatch.setattr(doubts, "CLOSE", 0.3)
    monkeypatch.setattr(doubts, "_SETTLING", round(0.4 * RATE))
    settled = single.score(found, processed, noise(), 0, Workspace())
    assert settled.settled
    assert settled.score == pytest.approx(due.score, abs=1e-7)
    # So that it is among the first that are checked.
    assert (settled.margin, settled.certain) == (min(1, due.margin), due.certain)


# Filters' delays


def test_a_delay_close_to_half_a_sample_is_decided_in_double_precision(soft, monkeypatch):
    """Its band is delayed by the other number of samples otherwise, and gets other noise."""
    found, _ = soft
    music = 0.1 * real_music(SAMPLES)
    control, band = cochlea.control, 3

    def wrong(signal, hearing, level1):
        path = control(signal, hearing, level1)
        path.bandwidth[band] *= 1.1
        return path

    monkeypatch.setattr(cochlea, "control", wrong)
    settings = single.prepare(music), LOSS, 2, LEVEL1
    moved = single.analyse_reference(music, *settings, Workspace())
    assert moved.late[band] != found.late[band]
    monkeypatch.setattr(double_filterbank, "close_delays", lambda _bandwidth, _within: np.array([band]))
    settled = single.analyse_reference(music, *settings, Workspace())
    assert np.array_equal(settled.late, found.late)


def test_close_delays_are_those_near_half_a_sample():
    bandwidth = np.linspace(1, 4, 40001)
    a = np.exp(-bandwidth * 2 * np.pi / RATE * 1.019 * (24.7 + double_filterbank.CENTER[3] / 9.26449))
    delay = 4 * a / (1 - a) + 4 * a / (1 + 2 * a)
    close = np.abs(delay - np.floor(delay) - 0.5) < 1e-3
    assert close.sum() > 10
    wide = np.ones(BANDS)
    for index in [*np.flatnonzero(close)[:5], *np.flatnonzero(~close)[:5]]:
        wide[3] = bandwidth[index]
        assert (3 in double_filterbank.close_delays(wide, 1e-3)) == close[index]
