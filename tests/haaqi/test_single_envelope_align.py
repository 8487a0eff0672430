"""The alignment of the bands in single precision: of all delays the best, and by how much it is."""

import numpy as np
import pytest
from haaqi.signals import (
    BANDS,
    KINDS,
    RATE,
    analysed,
    pairs_of_bands,
    real_music,
    vibration_of,
    waves_of,
)
from hypothesis import given, note, settings
from hypothesis import strategies as st
from scipy.signal import correlate

from harness.haaqi.fast.input_align import middle_ear
from harness.haaqi.fast.result import NEAR_TIE
from harness.haaqi.fast.single import envelope_align
from harness.haaqi.fast.single.envelope_align import MAX_LAG, STEPS, Rate
from harness.haaqi.fast.single.filterbank import CENTER, GROUPS
from harness.haaqi.fast.single.vectors import LANES

DELAYS = np.arange(-MAX_LAG, MAX_LAG)


def known_to(gap):
    """How well the difference of two correlations must be known, relative to the largest possible.

    What is close is summed in double precision, and is judged by that.
    """
    return NEAR_TIE if gap < envelope_align._CLOSE / 2 else envelope_align._CLOSE


def correlations(x, y):
    """R(d) = sum over t of x(t) y(t + d) for all `DELAYS`, (BANDS, delays)."""
    found = []
    for x_band, y_band in zip(x, y, strict=True):
        full = correlate(np.pad(y_band, MAX_LAG), x_band, "valid")  # from -MAX_LAG to MAX_LAG
        found.append(full[:-1])
    return np.stack(found)


def held_against_all(x, y, aligned, kind):
    """Compare the delays, and the gap between the best and the second best correlation, with those of all delays."""
    x, y = x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)
    energies = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    every = correlations(x, y)
    smallest = 1.0
    for band in range(BANDS):
        if energies[band] == 0:
            continue
        values = every[band] / energies[band]
        # Of equal ones, to the rounding of this statement, the largest delay.
        at = values[aligned.delay[kind, band] + MAX_LAG]
        best = values.max()
        assert at > best - NEAR_TIE, (kind, band, at - best)
        second = np.delete(values, int(np.argmax(values))).max()
        smallest = min(smallest, best - second)
        if best - second > NEAR_TIE:
            assert aligned.delay[kind, band] == DELAYS[int(np.argmax(values))], (kind, band)
    return smallest


@pytest.mark.parametrize("samples", [6001, 19000])
@pytest.mark.parametrize("kind", KINDS)
def test_the_delay_is_that_of_the_largest_of_all_correlations(kind, samples):
    x, y = pairs_of_bands(kind, samples, np.random.RandomState(len(kind) + samples))
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    gaps = [held_against_all(x, y, aligned, kind_of) for kind_of in range(2)]
    due = min(gaps)
    if aligned.margin < 1:
        # A gap so small that the bound cannot tell is the one that is reported.
        assert aligned.margin > due - known_to(due)
    if due < 3e-6:
        assert aligned.margin < due + known_to(due)


@pytest.mark.parametrize("samples", [7207, 14400])
def test_real_music(samples):
    bandwidth = np.full(BANDS, 1.5)
    before = middle_ear(real_music(samples))
    after = middle_ear(np.roll(real_music(samples), 60) + 0.4 * real_music(samples, "vocals"))
    reference, processed = analysed(before, bandwidth)[0], analysed(after, bandwidth)[0]
    aligned = envelope_align.delays(reference, processed)
    gaps = [held_against_all(waves_of(reference, kind), waves_of(processed, kind), aligned, kind) for kind in range(2)]
    assert len(np.unique(aligned.delay)) > 1
    assert aligned.margin == pytest.approx(min(gaps), abs=known_to(min(gaps)))


@settings(deadline=None, derandomize=True, database=None, print_blob=False, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    samples=st.integers(6000, 9000),
    low=st.floats(0, 3000),
    width=st.floats(1, 3000),
    damage=st.sampled_from([0, 1e-4, 0.1, 2.0]),
    delay=st.integers(-MAX_LAG, MAX_LAG - 1),
)
def test_the_bound_never_rules_out_the_best_delay(seed, samples, low, width, damage, delay):
    """Signals of any band, in the groups that decimate it and in those that do not."""
    random = np.random.RandomState(seed)
    spectra = np.fft.rfft(random.standard_normal((2, BANDS, samples)), axis=2)
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    spectra[..., (frequency < low) | (frequency > low + width)] = 0
    x, other = np.fft.irfft(spectra, samples, axis=2)
    y = np.roll(x, delay, axis=1) + damage * other
    x, y = x * np.hanning(samples), y * np.hanning(samples)
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    for kind in range(2):
        note(f"{aligned.delay[kind]} {aligned.margin}")
        held_against_all(x, y, aligned, kind)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_what_decimation_takes_away_can_decide(share):
    """Noise below 900 Hz fits best at one delay, a weak tone at 12 kHz at another; share: of what the tone can undo.

    The decimated signals hold the noise alone. With the whole of the bound as the tone's energy, they still must not
    rule out the delay that the tone makes the better one.
    """
    samples = 8192
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum = np.fft.rfft(np.random.RandomState(3).standard_normal((BANDS, samples)), axis=1)
    spectrum[:, (frequency < 300) | (frequency > 900)] = 0
    noise, late = (
        np.fft.irfft(spectrum * np.exp(-2j * np.pi * frequency * delay / RATE), samples, axis=1) for delay in (0, 0.3)
    )
    tone = np.tile([1.0, -1.0], samples // 2)
    at_none, at_one = correlations(noise, late)[:, [MAX_LAG, MAX_LAG + 1]].T
    level = np.sqrt((at_none - at_one) / (2 * share) / samples)[:, None]
    x, y = noise + level * tone, late - level * tone
    assert (DELAYS[correlations(x, y).argmax(axis=1)] == 1).all()
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    assert (aligned.delay == 1).all()


def test_of_equally_good_delays_the_largest_and_no_margin():
    x, y = np.zeros((2, BANDS, 6000))
    x[:, 3000] = 1
    for band in range(BANDS):
        y[band, [2900, 3000 + band, 3200]] = 0.5
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    assert (aligned.delay == 200).all()
    assert aligned.margin == 0


@pytest.mark.parametrize("gap", [0, 2**-22, 2**-18])
def test_the_margin_is_the_gap_between_the_best_and_the_second_best(gap):
    """In one band; in all others there is nothing that comes close."""
    x = np.random.RandomState(5).standard_normal((BANDS, 6000))
    y = x.copy()
    band = BANDS - 3
    x[band] = y[band] = 0
    x[band, 3000] = 1
    y[band, [2500, 3600]] = 1, 1 - gap
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    assert (aligned.delay[:, band] == (-500 if gap else 600)).all()
    assert (np.delete(aligned.delay, band, axis=1) == 0).all()
    # Closer than the transforms can tell, so the signals themselves are correlated.
    assert aligned.margin == pytest.approx(gap / np.sqrt(1 + (1 - gap) ** 2), rel=1e-6)


def test_close_calls_of_sounds_of_a_few_samples():
    """Where rounding does not average out: two delays differ by less than a product's last digit."""
    random = np.random.RandomState(0)
    for _ in range(8):
        x, y = np.zeros((2, BANDS, 6000))
        first, second, shape = random.uniform(0.5, 1.5, (3, BANDS, 12)).astype(np.float32).astype(float)
        due = (shape * first).sum(axis=1) * (1 - random.uniform(-8e-8, 8e-8, BANDS))
        second[:, -1] = (due - (shape * second)[:, :-1].sum(axis=1)) / shape[:, -1]
        x[:, 3000:3012], y[:, 2000:2012], y[:, 4100:4112] = shape, first, second
        aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
        for kind in range(2):
            held_against_all(x, y, aligned, kind)


@pytest.mark.parametrize("silent", ["reference", "processed", "both"])
def test_a_silent_band_decides_nothing(silent):
    x, y = pairs_of_bands("narrow", 6000, np.random.RandomState(1))
    once = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    for band in (0, 7, 15, 31):
        if silent != "processed":
            x[band] = 0
        if silent != "reference":
            y[band] = 0
    aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
    others = np.setdiff1d(np.arange(BANDS), (0, 7, 15, 31))
    assert np.array_equal(aligned.delay[:, others], once.delay[:, others])
    assert aligned.margin >= once.margin
    assert (aligned.delay[:, [0, 7, 15, 31]] == MAX_LAG - 1).all(), "as in the reference: the largest of all delays"


@pytest.mark.parametrize("delay", [-MAX_LAG, 1 - MAX_LAG, 0, MAX_LAG - 1])
def test_delays_to_the_limits(delay):
    random = np.random.RandomState(8)
    x = np.zeros((BANDS, 9000))
    x[:, 3000:6000] = random.standard_normal((BANDS, 3000)) * np.sin(
        2 * np.pi * CENTER[:, None] * np.arange(3000) / RATE
    )
    aligned = envelope_align.delays(
        vibration_of(x, x), vibration_of(np.roll(x, delay, axis=1), np.roll(x, delay, axis=1))
    )
    assert (aligned.delay == delay).all()


def test_a_long_signal_is_cut_into_blocks_that_fit_together():
    """Clicks in the last block and where blocks meet alone: without any of these blocks the delay would be another."""
    rate = Rate(1)
    samples = 2 * rate.hop + 5000
    x, y = np.zeros((2, BANDS, samples))
    for place, delay in ((rate.hop - 3, 2000), (2 * rate.hop - 2, -1500), (samples - 2500, 700)):
        x[:], y[:] = 0, 0
        x[:, place], y[:, place + delay] = 1, 1
        aligned = envelope_align.delays(vibration_of(x, x), vibration_of(y, y))
        assert (aligned.delay == delay).all()


def test_groups_cover_all_bands_and_blocks_cover_all_samples():
    assert GROUPS * LANES == BANDS
    for kind in range(2):
        assert len(STEPS[kind]) == GROUPS
        for step in STEPS[kind]:
            rate = Rate(step)
            for samples in (1, rate.hop * step - 1, rate.hop * step, 240000):
                assert rate.blocks(samples) * rate.hop * step >= samples
                assert rate.rows(samples) == (rate.blocks(samples) - 1) * rate.hop + rate.block
            # The longest delay lies inside a block, and so does the filter's reach.
            assert rate.margin * step >= MAX_LAG + 8
