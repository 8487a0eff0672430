"""The stages of the fast engine in double precision, each against the function of pyclarity that it mirrors.

(Single precision: test_single_*.py. Whole scores: test_agreement.py, test_fast_properties.py, test_golden.py.)
"""

import numpy as np
import pytest
from clarity.evaluator.haspi import eb
from haaqi.signals import KINDS, LEVEL1, LOSS, RATE, music, pairs_of_bands
from scipy.signal import correlate, group_delay

from harness.haaqi.fast import cepstrum, input_align, numerics
from harness.haaqi.fast.double import covariance, engine, envelope_align, filterbank, hair_cells
from harness.haaqi.fast.double.filterbank import CENTER
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.numerics import BANDS, TILE

# Numbers


@numerics.compiled
def _all(x, logarithm, power):
    for i in range(x.size):
        whole, rest = numerics.log2_parts(x[i])
        logarithm[i] = np.float64(whole) + np.float64(rest)
        power[i] = numerics.exp2_parts(*numerics.round_parts(logarithm[i]))


def test_logarithm_and_power_are_good_to_single_precision():
    x = np.exp2(np.random.RandomState(1).uniform(-120, 120, 200_000)).astype(np.float32)
    x[:5] = 1.0, 0.75, 1.5, np.nextafter(np.float32(1), np.float32(0)), 2.0
    logarithm, power = np.empty(len(x)), np.empty(len(x), np.float32)
    _all(x, logarithm, power)
    assert np.abs(logarithm - np.log2(x.astype(float))).max() < 1e-7
    assert np.abs(power / x - 1).max() < 3e-7


# The ear


@pytest.mark.parametrize("delay", [0, 1, 300, -300, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_input_alignment(delay, dtype):
    reference = np.concatenate([np.zeros(700), music(12001), np.zeros(500)])
    processed = np.roll(reference, delay).astype(dtype)
    due_reference, due = eb.input_align(reference, processed)
    bulk = input_align.analyse(reference)
    assert np.array_equal(reference[bulk.start : bulk.stop], due_reference)
    assert np.array_equal(input_align.align(bulk, processed), due)
    assert np.abs(input_align.middle_ear(due) - eb.middle_ear(due, RATE)).max() < 1e-15


def cochlea(signal):
    hearing = filterbank.Hearing(*eb.loss_parameters(LOSS, CENTER))
    return engine._cochlea(signal, hearing, LEVEL1, Workspace()), hearing


@pytest.mark.parametrize("samples", [TILE * 60, TILE * 60 + 1, TILE * 60 - 1, 6007])
def test_filters_and_compression(samples):
    signal = music(samples)
    (vibration, _, spectrum), hearing = cochlea(signal)
    widest = eb.loss_parameters(np.full(6, 100), CENTER)[1]
    for band in range(BANDS):
        control, *_ = eb.gammatone_basilar_membrane(signal, widest[band], signal, widest[band], RATE, CENTER[band])
        bandwidth = eb.bandwidth_adjust(control, hearing.bandwidth[band], widest[band], LEVEL1)
        envelope, motion, *_ = eb.gammatone_basilar_membrane(signal, bandwidth, signal, bandwidth, RATE, CENTER[band])
        level = eb.convert_rms_to_sl(
            np.sqrt(np.mean(envelope**2)), np.sqrt(np.mean(control**2)), *(getattr(hearing, name)[band] for name in
            ("outer_attenuation", "knee", "ratio", "inner_attenuation")), LEVEL1,
        )  # fmt: skip
        envelope, motion = eb.env_compress_basilar_membrane(
            envelope, motion, control, hearing.outer_attenuation[band], hearing.knee[band], hearing.ratio[band],
            RATE, LEVEL1,
        )  # fmt: skip
        inner = slice(envelope_align.EDGE, -envelope_align.EDGE)
        assert np.abs(vibration.envelope[band, inner] - envelope).max() < 1e-6 * envelope.max()
        assert np.abs(vibration.motion[band, inner] - motion).max() < 1e-6 * envelope.max()
        assert vibration.energy[0, band] == pytest.approx((envelope**2).sum(), rel=1e-6)
        assert spectrum[band] == pytest.approx(level, abs=1e-7)


def test_a_signal_that_falls_silent_leaves_nothing_denormal():
    signal = music(48000)
    signal[6000:] = 0
    (vibration, *_), _ = cochlea(signal)
    late = vibration.envelope[:, envelope_align.EDGE + 36000 : envelope_align.EDGE + 48000]
    assert np.abs(late).max() == 0


@pytest.mark.parametrize("bandwidth", [1.0, 1.7, 3.9])
def test_bands_are_delayed_to_the_latest_one(bandwidth):
    widths = bandwidth * np.linspace(1, 1.02, BANDS)
    design = filterbank.filters(CENTER, widths).coefficients
    due = []
    for a_1, a_5, _, a_2, a_3, a_4 in design[:6].T:
        _, (delay,) = group_delay((np.array([1.0, a_1, a_5]), np.array([1.0, -a_1, -a_2, -a_3, -a_4])), w=1)
        due.append(round(float(delay)))
    assert (filterbank.group_delays(widths) == max(due) - np.array(due)).all()


# Alignment


def vibration(envelope, motion):
    """Any signals, (BANDS, samples), in the form that alignment takes."""
    memory, plan, slow = envelope_align.slow_storage(envelope.shape[1])
    edge = ((0, 0), (envelope_align.EDGE, envelope_align.EDGE))
    padded = [np.pad(signal, edge).astype(np.float32) for signal in (envelope, motion)]
    taps, history = envelope_align.PADDED_TAPS, envelope_align.PADDED_TAPS.shape[1]
    rows = [np.pad(signal.T.astype(np.float32), ((history, history + TILE), (0, 0))) for signal in (envelope, motion)]
    left = np.zeros((len(plan), BANDS))
    for start in range(0, envelope.shape[1] + history, TILE):
        env, bm = (np.ascontiguousarray(signal[start : start + history + TILE]) for signal in rows)
        envelope_align.decimate_32(env, start, plan[0], taps[0], memory, left[0])
        envelope_align.decimate_8(env, start, plan[1], taps[1], memory, left[1])
        envelope_align.decimate_16(bm, start, plan[2], taps[2], memory, left[2])
        envelope_align.decimate_8(bm, start, plan[3], taps[3], memory, left[3])
        envelope_align.copy_8(bm, start, plan[4], memory, left[4])
    energy = np.stack([(signal.astype(float) ** 2).sum(axis=1) for signal in padded])
    return envelope_align.Vibration(padded[0], padded[1], energy, left, slow)


@pytest.mark.parametrize("samples", [6001, 24000])
@pytest.mark.parametrize("kind", KINDS)
def test_the_delay_is_that_of_the_largest_of_all_correlations(kind, samples):
    random = np.random.RandomState(len(kind) + samples)
    x, y = pairs_of_bands(kind, samples, random)
    found = envelope_align.delays(
        vibration(x, x), envelope_align.analyse(vibration(x, x)), vibration(y, y)
    )  # as envelopes and as motion
    for band in range(BANDS):
        x_band, y_band = (signal[band].astype(np.float32).astype(float) for signal in (x, y))
        full = correlate(x_band, y_band, "full")[samples - 2400 : samples + 2400]
        due = 2400 - int(np.argmax(full)) - 1
        for kind_of in range(2):
            delay = found[kind_of, band]
            # Equal to rounding counts as equal: pyclarity's own transform rounds there too.
            assert delay == due or full[2399 - delay] >= full.max() - 1e-12 * np.abs(full).max(), (band, kind_of)


def test_equally_good_delays_that_are_far_apart_are_left_to_the_locked_evaluator():
    random = np.random.RandomState(2)
    x, y = pairs_of_bands("narrow", 6001, random)
    once, twice = np.zeros((2, BANDS, 6001))
    once[:, 3000], twice[:, 3000:3200:150] = 1, 1
    assert envelope_align.delays(vibration(x, x), envelope_align.analyse(vibration(x, x)), vibration(y, y)) is not None
    found = vibration(once, x), vibration(twice, y)
    assert envelope_align.delays(found[0], envelope_align.analyse(found[0]), found[1]) is None


# Comparisons


def smooth_and_motion(samples, seed):
    random = np.random.RandomState(seed)
    envelope = np.abs(music(samples, seed)) * random.uniform(50, 500, (BANDS, 1))
    return envelope, envelope * np.sin(2 * np.pi * CENTER[:, None] * np.arange(samples) / RATE)


@pytest.mark.parametrize("samples", [192 * 40, 192 * 40 + 95, 192 * 40 + 96, 192 * 40 + 191, 6001])
def test_hair_cells(samples):
    envelope, motion = (signal.astype(np.float32) for signal in smooth_and_motion(samples, 3))
    edge = ((0, 0), (envelope_align.EDGE, envelope_align.EDGE))
    random = np.random.RandomState(4)
    delay = random.randint(-400, 400, (2, BANDS))
    correct = random.randint(0, 500, BANDS)
    attenuation = random.uniform(0, 30, BANDS)
    noise = random.standard_normal((BANDS, samples)).astype(np.float32)
    found = hair_cells.respond(
        np.pad(envelope, edge), np.pad(motion, edge), delay, correct, attenuation, LEVEL1, noise.ravel(),
        np.empty((BANDS, samples), np.float32),
    )  # fmt: skip
    db, bm = np.zeros((2, BANDS, samples))

    def shifted(row, late):
        return np.concatenate([row[late:], np.zeros(late)]) if late > 0 else np.pad(row, (-late, 0))[:samples]

    for band in range(BANDS):
        sl, moved = eb.envelope_sl(
            shifted(envelope[band].astype(float), delay[0, band]), shifted(motion[band].astype(float), delay[1, band]),
            attenuation[band], LEVEL1,
        )  # fmt: skip
        adapted, moved = eb.inner_hair_cell_adaptation(sl, moved, 2, RATE)
        moved += noise[band] * 10 ** ((-10 - LEVEL1) / 20)
        # The first of the two shifts drops samples that the second must not bring back.
        db[band], bm[band] = shifted(adapted, -correct[band]), shifted(moved, -correct[band])
    assert np.abs(found.smooth - eb.env_smooth(db, 8, RATE)).max() < 1e-5
    assert np.abs(found.motion - bm).max() < 1e-5 * np.abs(bm).max()


@pytest.mark.parametrize("samples", [384 * 20, 384 * 20 + 191, 384 * 20 + 192, 384 * 20 + 383])
def test_coherence(samples):
    _, reference = smooth_and_motion(samples, 5)
    processed = (reference + 2 * np.random.RandomState(6).standard_normal(reference.shape)).astype(np.float32)
    reference = reference.astype(np.float32)
    covariances, squares, _ = eb.bm_covary(reference.astype(float), processed.astype(float), 16, RATE)
    _, due = eb.ave_covary2(covariances, squares, 2.5)
    found = covariance.mean_squares(reference)
    # pyclarity gives twice the mean square.
    assert np.abs(2 * found - squares).max() < 1e-6 * squares.max()
    tiles = covariance.tiles(found)
    assert 0 < (tiles.weights > 0).mean() < 1
    values = covariance.covariances(reference, processed, tiles.weights)
    assert np.abs(values - covariances)[tiles.weights > 0].max() < 1e-5
    assert (values[tiles.weights == 0] == 0).all()
    assert covariance.coherence(values, tiles.weights) == pytest.approx(due[4], abs=1e-7)


def test_the_margin_is_that_of_the_closest_tile_or_window():
    """Where all bands are alike, a window is as loud as its tiles; level of a tile: root of twice its mean square."""
    level = np.array([1.0, 2.0, 2.4, 4.0, 7.0])
    tiles = covariance.tiles(np.tile(level**2 / 2, (BANDS, 1)))
    assert tiles.margin == pytest.approx(0.1)
    assert ((tiles.weights > 0).all(axis=0) == (level > 2.5)).all()
    # A tile that is close, in a window that is not.
    squares = np.tile(np.array([0.0, 50.0, 50.0, 50.0]), (BANDS, 1))
    squares[3, 2] = 2.52**2 / 2
    assert covariance.tiles(squares).margin == pytest.approx(0.02)
    # In a window that does not count no tile is decided.
    squares[3, 0] = 2.501**2 / 2
    assert covariance.tiles(squares).margin == pytest.approx(0.02)


def test_nothing_above_threshold_has_no_coherence_and_no_cepstrum():
    quiet = np.full((BANDS, 6000), 1e-3, np.float32)
    assert covariance.tiles(covariance.mean_squares(quiet)).weights is None
    modulation = cepstrum.reference_modulation(np.zeros((BANDS, 100)))
    assert cepstrum.correlation(modulation, np.zeros((BANDS, 100))) == 0
    assert modulation.draws == 0


def test_cepstral_correlation():
    random = np.random.RandomState(8)
    x = np.abs(np.cumsum(random.standard_normal((BANDS, 400)), axis=1))
    y = np.abs(x + random.standard_normal(x.shape))
    x[:, 100:150] = 0  # below threshold
    due = eb.melcor9(x, y, 2.5, 0.0, 8)[2]
    modulation = cepstrum.reference_modulation(x)
    assert cepstrum.correlation(modulation, y) == pytest.approx(due, abs=1e-12)
    assert modulation.draws == 2 * BANDS * modulation.loud.sum() < 2 * BANDS * 400
