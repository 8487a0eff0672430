"""The filters, their control path, compression and decimation in single precision, against plain statements.

A statement here is NumPy in double precision, sample by sample as the text of the papers has it; what single precision
may change is named with each test.
"""

import numpy as np
import pytest
from clarity.evaluator.haspi import eb
from haaqi.signals import (
    HEARING,
    LEVEL1,
    RATE,
    WIDEST,
    analysed,
    control,
    decimated,
    real_music,
    slow_of,
    waves_of,
)
from scipy.signal import butter, freqz, lfilter

from harness.haaqi.fast.double import filterbank as double
from harness.haaqi.fast.input_align import middle_ear
from harness.haaqi.fast.numerics import BANDS
from harness.haaqi.fast.single import cochlea, envelope_align, filterbank
from harness.haaqi.fast.single.decimation import low_pass
from harness.haaqi.fast.single.filterbank import CENTER, GROUPS, TILE
from harness.haaqi.fast.single.hair_cells import SPAN
from harness.haaqi.fast.single.vectors import LANES

BANDWIDTH = HEARING.bandwidth + 0.3 * (WIDEST - HEARING.bandwidth)
LENGTHS = [TILE * 80, TILE * 80 + 1, SPAN * 40 + 191, 7207]


@pytest.fixture(scope="module", params=LENGTHS)
def signal(request):
    """Real music, 0.3 s, after the middle ear."""
    return middle_ear(real_music(request.param))


def gammatone(signal, bandwidth):
    """Envelope and motion of four equal poles around each centre frequency: (BANDS, samples) each."""
    time = np.arange(len(signal))
    envelope, motion = np.empty((2, BANDS, len(signal)))
    for band in range(BANDS):
        erb = 24.7 + CENTER[band] / 9.26449
        a = np.exp(-bandwidth[band] * 2 * np.pi * erb * 1.019 / RATE)
        carrier = np.exp(-2j * np.pi * CENTER[band] * time / RATE)
        numerator = np.array([1, 4 * a, 4 * a**2])
        low = lfilter(numerator, np.poly([a] * 4), signal * carrier)
        # A tone at the centre frequency comes out at its own amplitude.
        low *= 2 * (1 - a) ** 4 / numerator.sum()
        envelope[band] = np.abs(low)
        motion[band] = (low * carrier.conj()).real
    return envelope, motion


def compression(envelope):
    """Gain of the outer hair cells from the control path's envelope, relative to the gain below the knee."""
    with np.errstate(divide="ignore"):
        level = 20 * np.log10(envelope) + LEVEL1
    above = np.clip(level, HEARING.knee[:, None], 100) - HEARING.knee[:, None]
    rule = 10 ** (-above * (1 - 1 / HEARING.ratio[:, None]) / 20)
    return lfilter(*butter(1, 800 / (RATE / 2)), rule)


def test_control_path(signal):
    gains, rms = control(signal)
    envelope, _ = gammatone(signal, WIDEST)
    # Some units in the last place, 6e-8: of the level, times a slope below 1, and of the smoothing.
    assert np.abs(gains / compression(envelope) - 1).max() < 1e-6
    assert np.abs(rms / np.sqrt((envelope**2).mean(axis=1)) - 1).max() < 5e-7


def test_envelope_and_motion(signal):
    """Both are good to ten or so units in the last place, 6e-8, of the loudest that went through the filter."""
    vibration, spectrum = analysed(signal, BANDWIDTH)
    size = len(signal)
    envelope, motion = gammatone(signal, BANDWIDTH)
    control_envelope, _ = gammatone(signal, WIDEST)
    gain = compression(control_envelope) * 10 ** (-HEARING.outer_attenuation[:, None] / 20)
    for kind, due in enumerate((envelope * gain, motion * gain)):
        found = waves_of(vibration, kind)
        assert not found[:, size:].any(), "there is nothing after the end"
        largest = np.abs(due).max(axis=1, keepdims=True)
        assert (np.abs(found[:, :size] - due) / largest).max() < 2e-6
        energy = vibration.energy[kind].reshape(-1)
        assert np.abs(energy / (found**2).sum(axis=1) - 1).max() < 3e-7
        assert np.abs(energy / (due**2).sum(axis=1) - 1).max() < 1e-6
    level = [
        eb.convert_rms_to_sl(
            np.sqrt(np.mean(envelope[band] ** 2)), np.sqrt(np.mean(control_envelope[band] ** 2)),
            HEARING.outer_attenuation[band], HEARING.knee[band], HEARING.ratio[band], HEARING.inner_attenuation[band],
            LEVEL1,
        )
        for band in range(BANDS)
    ]  # fmt: skip
    assert np.abs(spectrum - level).max() < 1e-5


def test_in_group_time_each_band_is_late_by_its_own_samples(signal):
    """So that a band gives at time u what it gave at u - late; before and after its signal there is nothing."""
    late = np.random.RandomState(3).randint(0, 500, BANDS)
    late[:3] = 0, 1, TILE
    plain, _ = analysed(signal, BANDWIDTH)
    delayed, _ = analysed(signal, BANDWIDTH, late)
    size = len(signal)
    for kind in range(2):
        at_once, found = waves_of(plain, kind), waves_of(delayed, kind)
        for band in range(BANDS):
            begin, end = late[band], late[band] + size
            # The carrier's phase is another one, and with it the rounding.
            close = np.abs(found[band, begin:end] - at_once[band, :size]).max()
            assert close < 3e-6 * np.abs(at_once[band]).max()
            assert not found[band, :begin].any()
            assert not found[band, end:].any()
            assert found[band, begin : begin + 500].any()
            assert found[band, end - 500 : end].any()


def test_decimated_signals_are_filtered_ones_of_which_every_step_th_sample_is_kept(signal):
    late = np.random.RandomState(4).randint(0, 300, BANDS)
    vibration, _ = analysed(signal, BANDWIDTH, late)
    for kind in range(2):
        for group in range(GROUPS):
            step = envelope_align.STEPS[kind][group]
            own = waves_of(vibration, kind)[group * LANES : (group + 1) * LANES]
            slow = slow_of(vibration, kind, group)
            due = own if step == 1 else decimated(own, step)
            # Sums of at most 96 products.
            assert np.abs(slow - due).max() < 1e-6 * np.abs(own).max()
            if step > 1:
                energy = (slow**2).sum(axis=1)
                assert np.abs(vibration.slow_energy[kind, group] / energy - 1).max() < 1e-6
            rate = envelope_align.Rate(step)
            rows = vibration.slow[kind][group].reshape(-1, LANES)
            assert len(rows) >= rate.rows(vibration.length)
            assert not rows[: rate.margin].any()
            assert not rows[rate.margin + vibration.length // step :].any()


@pytest.mark.parametrize("step", [2, 4, 8])
def test_decimation_filters_add_nothing_and_stop_what_would_fold(step):
    taps = low_pass(step).astype(float)
    frequency, response = freqz(taps, worN=2**15)
    magnitude = np.abs(response)
    assert magnitude.max() <= 1 + 1e-6
    assert magnitude[0] > 0.999
    assert np.array_equal(taps, taps[::-1]), "it delays all frequencies alike"
    # What folds back into the lower half of what is kept is 60 dB down.
    assert magnitude[frequency > 1.5 * np.pi / step].max() < 1e-3


def test_filters_have_the_gain_that_their_rounded_coefficients_give():
    for bandwidth in (np.ones(BANDS), WIDEST, BANDWIDTH):
        design = filterbank.filters(bandwidth)
        e, c = design.coefficients.reshape(GROUPS, 2, LANES).transpose(1, 0, 2).reshape(2, BANDS).astype(float)
        a = np.exp(-bandwidth * 2 * np.pi * (24.7 + CENTER / 9.26449) * 1.019 / RATE)
        assert np.abs(e / (1 - a) - 1).max() < 6e-8
        assert np.abs(c / (3 * a) - 1).max() < 6e-8
        # Of two sections 1 / (1 - z/a) and two that have a zero at -2a as well, at frequency 0.
        at_zero = (1 / e) ** 2 * (1 + c / e) ** 2
        assert np.abs(design.gain * at_zero - 2).max() < 1e-12
        exact = double.filters(CENTER, bandwidth).gain
        # A gain of (1 - a)^4 has four times the coefficient's rounding.
        assert np.abs(design.gain / exact - 1).max() < 5e-7


def test_a_filter_rings_out_until_the_envelope_does_not_matter():
    """Envelopes matter down to 1e-30; some way below there is exactly nothing."""
    click = np.zeros(120 * TILE)
    click[100] = 1.0
    vibration, _ = analysed(click, np.ones(BANDS))
    found = waves_of(vibration, 0)[:, : len(click)]
    due, _ = gammatone(click, np.ones(BANDS))
    due *= 10 ** (-HEARING.outer_attenuation[:, None] / 20)  # all of it lies below the knee
    after = (due > 1e-30) & (np.arange(len(click)) > 200)
    assert (due[after].reshape(-1) < 1e-29).any()
    # Each pole has the rounding of its e, 6e-8, once for each sample: the lowest bands ring for 10000. And the first
    # sections have died away a little earlier than the last.
    assert np.abs(found[after] / due[after] - 1).max() < 5e-3
    assert np.abs(found[16:][after[16:]] / due[16:][after[16:]] - 1).max() < 5e-4
    dead = due < 1e-38
    assert dead[12:].any(axis=1).all()
    assert not found[dead].any()


def test_a_signal_that_falls_silent_leaves_nothing_denormal():
    """Denormal numbers are slow; of the motion, which goes through zero, some must be."""
    signal = real_music(24000)
    signal[6000:] = 0
    vibration, _ = analysed(signal, BANDWIDTH)
    gains, _ = control(signal)
    smallest = np.finfo(np.float32).tiny
    for kind, most in ((0, 0), (1, 1000)):
        wave = np.abs(waves_of(vibration, kind))
        assert wave[:, 3000:6000].any(axis=1).all()
        assert ((wave > 0) & (wave < smallest)).sum(axis=1).max() <= most
        assert not wave[:, 20000:].any()
    assert np.abs(gains[:, -100:] - 1).max() < 1e-6


@pytest.mark.parametrize("level", [1e-8, 1e4])
def test_absurd_levels_are_finite(level):
    """The softest and the loudest signal that the engine takes."""
    signal = middle_ear(level * real_music(7200) / np.abs(real_music(7200)).max())
    vibration, spectrum = analysed(signal, BANDWIDTH)
    gains, rms = control(signal)
    assert np.isfinite(gains).all()
    assert np.isfinite(rms).all()
    assert np.isfinite(spectrum).all()
    envelope, _ = gammatone(signal, BANDWIDTH)
    gain = compression(gammatone(signal, WIDEST)[0]) * 10 ** (-HEARING.outer_attenuation[:, None] / 20)
    found = waves_of(vibration, 0)[:, : len(signal)]
    assert (np.abs(found - envelope * gain) / (envelope * gain).max(axis=1, keepdims=True)).max() < 2e-6


def test_the_control_path_leaves_nothing_of_a_longer_signal_behind():
    """Gains are kept in memory that signals of equal length share."""
    loud, quiet = (middle_ear(factor * real_music(7207)) for factor in (1, 1e-3))
    alone = control(quiet)[0]
    control(loud)
    assert np.array_equal(control(quiet)[0], alone)
    assert double.group_delays(np.ones(BANDS)).max() < cochlea._ROOM, "the latest band has room"
