"""Hair cells and covariance in single precision, in one pass, against a plain statement of what they compute.

The statement works on whole signals of one band at a time, in double precision: shifts, levels, the circuit of the
adaptation voltage by voltage, every window and every lag.
"""

import numpy as np
import pytest
from clarity.evaluator.haspi import eb
from haaqi.signals import BANDS, HEARING, LEVEL1, RATE, analysed, real_music, vibration_of, waves_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.haaqi.fast.double.filterbank import group_delays
from harness.haaqi.fast.double.hair_cells import windows
from harness.haaqi.fast.input_align import middle_ear
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.single.comparison import compare
from harness.haaqi.fast.single.envelope_align import MAX_LAG
from harness.haaqi.fast.single.filterbank import CENTER
from harness.haaqi.fast.single.vectors import LANES

LENGTH, LAG = 384, 24  # 16 ms, 1 ms
THRESHOLD = 2.5**2 / 2  # mean square of a motion whose envelope is 2.5 dB above threshold
BANDWIDTH = np.full(BANDS, 1.4)
LATE = group_delays(BANDWIDTH)
AT_ONCE = np.zeros(BANDS, np.int64)
TOGETHER = np.zeros((2, BANDS), np.int64)
QUIET_LEVEL1 = 2000.0
"""An amplitude of 1 is so loud that the threshold noise, at -10 dB SPL, is nothing in single precision."""


def random_numbers(samples):
    return Noise(np.random.RandomState(0), 2 * BANDS * samples + 1000)


def adapted(level):
    """What the adaptation makes of levels, (BANDS, samples): the circuit of Harris & Dallos, overshoot 2."""
    return np.stack([eb.inner_hair_cell_adaptation(row, row, 2, RATE)[0] for row in level])


def shifted(wave, delay, late, size):
    """Rows from time `delay` on, silent before `late`: (BANDS, size)."""
    out = np.zeros((BANDS, size))
    for band in range(BANDS):
        time = np.arange(late[band], size)
        source = time + delay[band]
        inside = (source >= 0) & (source < wave.shape[1])
        out[band, time[inside]] = wave[band, source[inside]]
    return out


def response(waves, delay, late, size, attenuation, level1, numbers):
    """Adapted level and motion, (BANDS, size) each."""
    envelope, motion = (shifted(wave, row, late, size) for wave, row in zip(waves, delay, strict=True))
    level = np.maximum(20 * np.log10(envelope + 1e-30) + (level1 - attenuation)[:, None], 0)
    heard = adapted(level)
    noise = np.zeros((BANDS, size))
    for band, row in enumerate(numbers.reshape(BANDS, size)):
        noise[band, late[band] :] = row[: size - late[band]]
    return heard, motion * (heard + 1e-30) / (envelope + 1e-30) + noise * 10 ** ((-10 - level1) / 20)


def segments(size):
    """Windows that overlap by half, half a window at either end: where each begins and what it is multiplied by."""
    window, half = np.hanning(LENGTH), LENGTH // 2
    count = windows(size, LENGTH)
    for index in range(count):
        part = window[half:] if index == 0 else window[:half] if index == count - 1 else window
        yield index, slice(index * half, index * half + len(part)), part


def coherence(x, y):
    """Mean squares of x and covariances of x and y, (BANDS, windows) each."""
    count = windows(x.shape[1], LENGTH)
    squares, covariances = np.zeros((2, BANDS, count))
    for index, where, window in segments(x.shape[1]):
        norm = np.correlate(window, window, "full")[len(window) - 1 - LAG : len(window) + LAG]
        for band in range(BANDS):
            a, b = (signal[band, where] * window for signal in (x, y))
            a, b = a - a.mean(), b - b.mean()
            a_square, b_square = (a @ a) / norm[LAG], (b @ b) / norm[LAG]
            squares[band, index] = a_square
            if a_square > 1e-30 and b_square > 1e-30:
                every = np.abs(np.correlate(b, a, "full")[len(a) - 1 - LAG : len(a) + LAG]) / norm
                covariances[band, index] = min(every.max() / np.sqrt(a_square * b_square), 1)
    return squares, covariances


def held(reference, processed, delay, late, attenuation, level1, offset=0):
    """Compare two vibrations, and hold the result against the statement."""
    size = reference.samples
    noise = random_numbers(size)
    found = compare(reference, processed, delay, late.astype(np.int32), attenuation, level1, noise, offset)
    numbers = np.random.RandomState(0).standard_normal(2 * BANDS * size + offset)[offset:].reshape(2, -1)
    heard, motions = [], []
    for signal, delays, own in ((reference, TOGETHER, numbers[0]), (processed, delay, numbers[1])):
        waves = [waves_of(signal, kind) for kind in range(2)]
        level, motion = response(waves, delays, late, size, attenuation, level1, own)
        heard.append(eb.env_smooth(level, 8, RATE))
        motions.append(motion)
    # What rounding makes of the largest level, in dB, remains where the slow mode takes most of it away.
    scale = max(np.max(heard), 50)
    assert np.abs(found.reference - heard[0]).max() < 1e-6 * scale
    assert np.abs(found.processed - heard[1]).max() < 1e-6 * scale
    squares, covariances = coherence(*motions)
    loud = squares > THRESHOLD
    # The level that decides whether a tile counts.
    level, due = np.sqrt(2 * found.squares), np.sqrt(2 * squares)
    assert np.abs(level - due).max() < 1e-6 * scale
    assert np.abs(level - due)[np.abs(due - 2.5) < 1].max(initial=0) < 2e-7 * scale
    assert np.abs(found.covariances - covariances)[loud].max(initial=0) < 3e-5
    # In the mean there is much less.
    assert abs((found.covariances - covariances)[loud].sum()) < 3e-7 * max(loud.sum(), 100)
    assert (found.covariances >= 0).all()
    assert (found.covariances <= 1).all()
    # What no band of a group is loud enough for is not computed.
    silent = ~(squares > 0.99 * THRESHOLD).reshape(-1, LANES, squares.shape[1]).any(axis=1)
    assert not found.covariances[np.repeat(silent, LANES, axis=0)].any()
    return found, loud


@pytest.mark.parametrize("samples", [7200, 7207, 192 * 40, 192 * 40 + 95, 192 * 40 + 96, 384 * 20 + 191])
def test_real_music(samples):
    before = middle_ear(real_music(samples))
    after = middle_ear(0.7 * real_music(samples) + 0.3 * real_music(samples, "vocals"))
    reference, processed = (analysed(signal, BANDWIDTH, LATE)[0] for signal in (before, after))
    found, loud = held(reference, processed, TOGETHER, LATE, HEARING.inner_attenuation, LEVEL1, offset=37)
    assert 0.02 < loud.mean() < 0.98
    assert 0.3 < found.covariances[loud].mean() < 1


@pytest.mark.parametrize("kind", ["one for all", "two", "all different", "the longest"])
def test_each_band_has_a_delay_of_its_own(kind):
    samples = 7207
    random = np.random.RandomState(len(kind))
    delay = {
        "one for all": np.full((2, BANDS), -77),
        "two": random.choice([5, -400], (2, BANDS)),
        "all different": random.permutation(np.arange(-32 * 70, 32 * 70, 70)).reshape(2, BANDS),
        "the longest": random.choice([-MAX_LAG, MAX_LAG - 1], (2, BANDS)),
    }[kind]
    before, after = middle_ear(real_music(samples)), middle_ear(real_music(samples, "vocals"))
    reference, processed = (analysed(signal, BANDWIDTH, LATE)[0] for signal in (before, after))
    held(reference, processed, delay, LATE, HEARING.inner_attenuation, LEVEL1)


@settings(deadline=None, derandomize=True, database=None, print_blob=False, max_examples=8, phases=[Phase.generate])
@given(
    samples=st.integers(6000, 7000),
    seed=st.integers(0, 99),
    latest=st.sampled_from([0, 1, 95, 96, 97, 200, 700]),
    level=st.sampled_from([1e-30, 1e-3, 1, 1e3]),
)
def test_any_envelopes_and_motions(samples, seed, latest, level):
    random = np.random.RandomState(seed)
    slow = np.exp(np.cumsum(random.standard_normal((BANDS, samples)), axis=1) / 20)
    envelope = level * slow * random.choice([0, 1, 1, 1], (BANDS, 1))
    motion = envelope * np.sin(2 * np.pi * CENTER[:, None] * np.arange(samples) / RATE)
    other = envelope[::-1] * random.uniform(0.5, 1.5, (BANDS, 1))
    late = random.randint(0, latest + 1, BANDS)
    delay = random.choice([0, 3, -250], (2, BANDS))
    held(vibration_of(envelope, motion), vibration_of(other, motion), delay, late, random.uniform(0, 60, BANDS), LEVEL1)


def without_noise():
    """A vibration, and arguments with which `compare` adds no noise."""
    vibration, _ = analysed(middle_ear(real_music(7207)), BANDWIDTH, LATE)
    return vibration, (LATE.astype(np.int32), QUIET_LEVEL1 - LEVEL1 + HEARING.inner_attenuation, QUIET_LEVEL1)


def test_equal_signals_have_a_covariance_of_exactly_one():
    vibration, others = without_noise()
    found = compare(vibration, vibration, TOGETHER, *others, random_numbers(vibration.samples), 0)
    loud = found.squares > THRESHOLD
    assert loud.mean() > 0.1
    assert (found.covariances[loud] == 1).all()
    assert np.array_equal(found.reference, found.processed)


def test_a_delayed_signal_is_the_same_where_the_delay_is_taken_away():
    vibration, (late, attenuation, level1) = without_noise()
    waves = [waves_of(vibration, kind)[:, : vibration.samples - 1300] for kind in range(2)]
    early = vibration_of(*waves)
    delay = np.random.RandomState(2).permutation(np.arange(64) * 20).reshape(2, BANDS)
    moved = [np.zeros_like(wave) for wave in waves]
    for kind in range(2):
        for band in range(BANDS):
            by = delay[kind, band]
            moved[kind][band, by:] = waves[kind][band, : waves[kind].shape[1] - by]
    noise = random_numbers(early.samples)
    found = compare(early, vibration_of(*moved), delay, late, attenuation, level1, noise, 0)
    whole = found.squares[:, : (early.samples - 1300) // 192] > THRESHOLD
    assert whole.mean() > 0.1
    assert (found.covariances[:, : whole.shape[1]][whole] == 1).all()


def test_the_sign_and_the_level_of_a_signal_do_not_matter_to_its_covariance():
    vibration, others = without_noise()
    waves = [waves_of(vibration, kind)[:, : vibration.samples] for kind in range(2)]
    noise = random_numbers(vibration.samples)
    due = compare(vibration_of(*waves), vibration_of(*waves), TOGETHER, *others, noise, 0)
    found = compare(vibration_of(*waves), vibration_of(waves[0], -2 * waves[1]), TOGETHER, *others, noise, 0)
    assert np.array_equal(found.covariances, due.covariances)


def test_each_ear_has_noise_of_its_own():
    vibration, _ = analysed(middle_ear(real_music(7200)), BANDWIDTH, LATE)
    noise = Noise(np.random.RandomState(0), 4 * BANDS * 7200)
    late = LATE.astype(np.int32)
    squares = [
        compare(vibration, vibration, TOGETHER, late, HEARING.inner_attenuation, LEVEL1, noise, offset).squares
        for offset in (0, 1, 2 * BANDS * 7200)
    ]
    assert not np.array_equal(squares[0], squares[1])
    assert not np.array_equal(squares[0], squares[2])


def test_silence_is_compared_too():
    nothing = vibration_of(np.zeros((BANDS, 6000)), np.zeros((BANDS, 6000)))
    others = (AT_ONCE.astype(np.int32), np.zeros(BANDS), QUIET_LEVEL1)
    found = compare(nothing, nothing, TOGETHER, *others, random_numbers(6000), 0)
    assert not found.squares.any()
    assert not found.covariances.any()
    assert np.array_equal(found.reference, found.processed)
