"""The alignment of whole signals in single precision: the delay that the plain correlation gives."""

import numpy as np
import pytest
from haaqi.signals import music, real_music
from hypothesis import given, note, settings
from hypothesis import strategies as st

from harness.haaqi.fast import input_align as plain
from harness.haaqi.fast.single import input_align
from harness.haaqi.fast.single.vectors import LANES

tried = settings(deadline=None, derandomize=True, database=None, print_blob=False, max_examples=60)


def delays(reference, processed):
    """The delay in single precision, and the one in double."""
    found = input_align.delay_of(input_align.analyse(reference), processed)
    return found, plain.delay_of(plain.analyse(reference), processed)


def by_the_statement(reference, processed):
    """Where the magnitude of the correlation is largest, less 2 ms; every sum written out."""
    x, y = (signal - signal.mean() for signal in (reference.astype(float), processed.astype(float)))
    size = len(x)
    full = np.correlate(y, x, "full")  # from -(size - 1) on
    return size - 1 - int(np.argmax(np.abs(full[::-1]))) - 48


def moved(signal, delay):
    """A signal that is so many samples late, as long as it was."""
    out = np.zeros_like(signal)
    if abs(delay) < len(signal):
        if delay >= 0:
            out[delay:] = signal[: len(signal) - delay]
        else:
            out[:delay] = signal[-delay:]
    return out


@tried
@given(
    samples=st.integers(6000, 14400),
    share=st.floats(-0.7, 0.7),
    sign=st.sampled_from([1, -1]),
    noise=st.sampled_from([0, 0.01, 0.3, 3]),
    dtype=st.sampled_from([np.float32, np.float64]),
    level=st.sampled_from([1e-8, 1, 1e4]),
)
def test_the_delay_is_that_of_double_precision(samples, share, sign, noise, dtype, level):
    reference = real_music(samples)
    delay = round(share * samples)
    random = np.random.RandomState(samples)
    processed = sign * moved(reference, delay) + noise * reference.std() * random.standard_normal(samples)
    found, due = delays(reference, (level * processed).astype(dtype))
    note(f"{found=} {due=} {delay=}")
    assert found == due
    if noise < 0.1 and abs(share) < 0.3:
        assert found == delay - 48


@pytest.mark.parametrize("samples", [6000, 6001, 6000 + LANES - 1, 2**13, 2**13 - 1, 2**13 + 1])
@pytest.mark.parametrize("delay", [-2000, -1, 0, 1, 333])
def test_every_sum_written_out(samples, delay):
    reference = real_music(samples)
    processed = -moved(real_music(samples), delay) + 0.05 * real_music(samples, "vocals")
    found, _ = delays(reference, processed)
    assert found == by_the_statement(reference, processed)


@pytest.mark.parametrize("samples", [6000, 8192, 8193])
def test_the_longest_delays_that_there_are(samples):
    first, last = np.zeros((2, samples))
    first[:3], last[-3:] = (3, -2, 1), (3, -2, 1)
    assert delays(first, last) == (samples - 3 - 48,) * 2
    assert delays(last, first) == (3 - samples - 48,) * 2


def test_of_equally_good_delays_the_largest():
    """To the last digit: both signals have no mean, and every sum is a whole number."""
    reference, processed = np.zeros((2, 7000))
    reference[[3000, 3001]] = 1, -1
    processed[[2900, 2901]] = 1, -1
    processed[[3300, 3301]] = -1, 1
    found, _ = delays(reference, processed)
    assert found == 300 - 48


def test_a_tone_that_many_delays_fit_is_left_to_double_precision():
    """Two thousand delays of a constant sound are as good as each other to single precision."""
    time = np.arange(2**15)
    tone = np.sin(2 * np.pi * time / 8)
    quieter = 1e-9 * np.random.RandomState(0).standard_normal(len(time))
    bulk = input_align.analyse(tone)
    assert input_align.delay_of(bulk, music(len(time))) is not None
    flat = np.zeros(len(time))
    flat[0] = 1
    even = np.where(time % 64 == 0, 1.0, 0.0)
    assert input_align.delay_of(input_align.analyse(flat), even + quieter) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_silence_has_no_delay(dtype):
    reference = real_music(6000).astype(dtype)
    silent = np.zeros(6000, dtype)
    assert input_align.delay_of(input_align.analyse(reference), silent) is None
    assert input_align.delay_of(input_align.analyse(reference), silent + dtype(0.25)) is None
    constant = input_align.analyse(np.full(6000, 0.5))
    assert input_align.delay_of(constant, reference) is None
    with pytest.raises(IndexError):
        input_align.analyse(silent)


def test_what_is_kept_of_a_reference():
    signal = np.concatenate([np.zeros(700), real_music(6000), np.full(500, 1e-5)])
    signal[:700] = 1e-6
    bulk = input_align.analyse(signal)
    loud = np.flatnonzero(np.abs(signal) > 0.001 * np.abs(signal).max())
    assert (bulk.start, bulk.stop) == (loud[0], loud[-1] + 1)
    assert np.abs(bulk.centred - (signal - signal.mean())).max() < 1e-15
    assert bulk.norm == pytest.approx(np.sqrt(((signal - signal.mean()) ** 2).sum()), rel=1e-12)
