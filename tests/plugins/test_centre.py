"""The bundled system `centre`: on sounds with a known answer, on real music, and on music that is hardly any."""

import importlib.util
import time
import tracemalloc
from pathlib import Path

import bands
import numpy as np
import pytest
from bands import RATE, assert_channels_alike, assert_divides, sdr

import harness_plugins.harmonic_percussive
from harness.challenge import STEMS
from harness.errors import UsageError
from harness_plugins.centre import Centre


def separate(mixture, **settings):
    system = Centre(**settings)
    system.load()
    return system.separate(mixture.copy(), RATE)


@pytest.fixture(scope="module")
def band():
    """Four seconds of a band whose stems are known, each (samples, 2)."""
    return bands.band(4)


@pytest.fixture(scope="module")
def excerpt():
    """Real music: the excerpt of `stempeg`, mixture and stems, without the clicks at both ends."""
    av = pytest.importorskip("av")
    folder = Path(importlib.util.find_spec("stempeg").origin).parent / "data"
    (path,) = folder.glob("*.stem.mp4")
    signals = {}
    for index, name in enumerate(("mixture", "drums", "bass", "other", "vocals")):
        with av.open(str(path)) as container:
            blocks = [frame.to_ndarray() for frame in container.decode(container.streams.audio[index])]
        signals[name] = np.concatenate(blocks, axis=1).T.astype(float)
    length, edge = min(map(len, signals.values())), round(0.14 * RATE)
    return {name: signal[edge : length - edge] for name, signal in signals.items()}


def test_declares_what_it_is():
    system = Centre()
    assert (system.name, system.causal, system.training_data, system.licence) == (
        "centre",
        False,
        "none",
        "none",
    )
    assert system.parameters == 0
    assert system.not_eligible is None


@pytest.mark.parametrize("stem", STEMS)
def test_each_stem_of_a_band_gets_its_due(band, stem):
    mixture = sum(band.values())
    found = separate(mixture, blend=0.0)[stem]
    assert sdr(band[stem], found) - sdr(band[stem], mixture) > 8  # 9.4 (vocals) to 21 dB when written
    # No other stem is closer to it: nothing is swapped.
    others = [true for name, true in band.items() if name != stem]
    assert all(sdr(band[stem], found) > sdr(true, found) for true in others)


def test_stems_of_real_music_are_nearer_than_a_quarter_of_the_mixture(excerpt):
    mixture = excerpt["mixture"]
    stems = separate(mixture)
    gained = {stem: sdr(excerpt[stem], stems[stem]) - sdr(excerpt[stem], mixture / 4) for stem in STEMS}
    assert np.mean(list(gained.values())) > 1.5  # 2.1 dB when written
    assert min(gained.values()) > 0.5


def test_stems_sum_to_the_mixture(excerpt):
    mixture = excerpt["mixture"]
    for blend in (0.0, 0.3, 1.0):
        stems = separate(mixture, blend=blend)
        np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0, atol=1e-9)


def test_blend_leads_from_the_mask_to_the_plain_mixture(excerpt):
    mixture = excerpt["mixture"][:RATE]
    masked, half, plain = (separate(mixture, blend=blend) for blend in (0.0, 0.5, 1.0))
    for stem in STEMS:
        np.testing.assert_allclose(plain[stem], mixture / 4, rtol=0, atol=1e-12)
        np.testing.assert_allclose(half[stem], (masked[stem] + plain[stem]) / 2, rtol=0, atol=1e-12)
        assert np.abs(masked[stem] - plain[stem]).max() > 0.01
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="blend"):
            Centre(blend=wrong)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("silence", lambda music: 0 * music),
        ("both channels alike", lambda music: np.repeat(music[:, :1], 2, axis=1)),
        ("left channel only", lambda music: music * [1.0, 0.0]),
        ("opposite channels", lambda music: music[:, :1] * [1.0, -1.0]),
        ("0.4 s", lambda music: music[: int(0.4 * RATE)]),
        ("100 samples", lambda music: music[:100]),
        ("an odd length", lambda music: music[:50001]),
        ("one impulse", lambda music: np.eye(len(music), 2)),
        ("denormal level", lambda music: 1e-310 * music),
        ("a hundred times full scale", lambda music: 100 * music),
    ],
)
def test_music_that_is_hardly_any(excerpt, what, change):
    mixture = change(excerpt["mixture"][:RATE])
    with np.errstate(divide="raise", invalid="raise"):
        stems = separate(mixture)
    assert_divides(stems, mixture)


def test_alike_channels_stay_alike(excerpt):
    assert_channels_alike(separate(np.repeat(excerpt["mixture"][:RATE, :1], 2, axis=1)))


def test_same_music_same_stems(excerpt):
    first, second = (separate(excerpt["mixture"][: 2 * RATE]) for _ in range(2))
    for stem in STEMS:
        np.testing.assert_array_equal(first[stem], second[stem])


def test_blocks_leave_no_seam(excerpt, monkeypatch):
    mixture = excerpt["mixture"][:200001]
    whole = separate(mixture)
    monkeypatch.setattr(harness_plugins.harmonic_percussive, "BLOCK", 1 << 16)
    blocks = separate(mixture)
    for stem in STEMS:
        np.testing.assert_allclose(blocks[stem], whole[stem], rtol=0, atol=1e-12)


def test_long_music_takes_the_memory_of_one_block(excerpt, monkeypatch):
    """Half a minute, in blocks of 3 s: beyond what goes in and out, memory is that of a few seconds."""
    monkeypatch.setattr(harness_plugins.harmonic_percussive, "BLOCK", 1 << 17)
    mixture = np.tile(excerpt["mixture"], (6, 1))[: 30 * RATE]
    tracemalloc.start()
    started = time.process_time()
    stems = separate(mixture)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    working = peak - (len(stems) + 1) * mixture.nbytes  # the stems, and the copy that was handed over
    assert working < 250e6  # 125 MB when written; in one piece it would take 600
    assert seconds < 30
