"""The transform of vectors against NumPy's, and where it leaves which frequency."""

import numpy as np
import pytest

from harness.haaqi.fast.numerics import compiled
from harness.haaqi.fast.single import transform as t
from harness.haaqi.fast.single.envelope_align import BLOCK, mirrors
from harness.haaqi.fast.single.vectors import LANES, load

LENGTHS = [2**power for power in range(3, 15)]

# Rounding in log2(length) / 2 steps, each to 6e-8 of what is largest in them; relative to the root mean square.
PRECISION = 1e-6


@compiled
def _transform(z, length, table):
    t.transform(z, length, table)


@compiled
def _transform_of_two(x, x_first, count, y, y_first, factor, z, length, table):
    t.transform_of_two(x, x_first, count, y, y_first, load(factor, 0), z, length, table)


def complex_of(z):
    """Flat (length, 2, LANES) as (length, LANES) complex."""
    parts = z.reshape(-1, 2, LANES).astype(float)
    return parts[:, 0] + 1j * parts[:, 1]


def close(found, due):
    return np.abs(found - due).max() < PRECISION * np.sqrt(np.mean(np.abs(due) ** 2)) * np.sqrt(np.log2(len(due)))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("table", ["of its own", "of a longer one"])
def test_each_lane_is_transformed(length, table):
    z = np.random.RandomState(length).standard_normal(2 * length * LANES).astype(np.float32)
    due = np.fft.fft(complex_of(z), axis=0)
    _transform(z, length, t.factors(length if table == "of its own" else BLOCK))
    assert close(complex_of(z)[t.positions(length)], due)


@pytest.mark.parametrize("length", [8, 16, 2048, 4096])
def test_a_constant_and_a_tone_come_out_where_they_are_due(length):
    time = np.arange(length)
    for k in (0, 1, length // 2, length - 1):
        z = np.zeros((length, 2, LANES), np.float32)
        tone = np.exp(2j * np.pi * k * time / length)
        z[:, 0], z[:, 1] = tone.real[:, None], tone.imag[:, None]
        z = z.reshape(-1)
        _transform(z, length, t.factors(BLOCK))
        found = np.abs(complex_of(z))
        assert (found.argmax(axis=0) == t.positions(length)[k]).all()
        assert found.max() == pytest.approx(length, rel=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("share", [0, 0.3, 0.6, 0.99, 1])
def test_two_real_signals_are_transformed_as_one(length, share):
    count = int(share * length)
    random = np.random.RandomState(length)
    x, y = random.standard_normal((2, length + 3, LANES)).astype(np.float32)
    factor = random.uniform(0.5, 2, LANES).astype(np.float32)
    first = x[2 : 2 + length].astype(float)
    first[count:] = 0
    due = np.fft.fft(first + 1j * factor.astype(float) * y[1 : 1 + length], axis=0)
    z = np.empty(2 * length * LANES, np.float32)
    _transform_of_two(
        x.reshape(-1), 2 * LANES, count, y.reshape(-1), LANES, factor, z, length, t.factors(length)
    )  # fmt: skip
    assert close(complex_of(z)[t.positions(length)], due)


@pytest.mark.parametrize("length", [1, 2, *LENGTHS, 32768])
def test_places_and_frequencies_are_each_others_inverse(length):
    order = np.arange(length)
    assert np.array_equal(t.frequencies(length)[t.positions(length)], order)
    assert np.array_equal(t.positions(length)[t.frequencies(length)], order)


@pytest.mark.parametrize("length", LENGTHS)
def test_mirrors_lead_to_the_opposite_frequency_and_back(length):
    there = mirrors(length)
    frequency = t.frequencies(length)
    assert ((frequency + frequency[there]) % length == 0).all()
    assert np.array_equal(there[there], np.arange(length))
    # The last quarter of the places, which correlations leave out, mirrors the second.
    quarter = length // 4
    assert (np.sort(there[quarter : 2 * quarter]) == np.arange(3 * quarter, length)).all()
