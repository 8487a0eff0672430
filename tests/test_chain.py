"""The live chain: the same whatever the blocks, never ahead of its input, at the level of the mixture."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chain import FLOOR, MAX_GAIN_DB, NALR_DELAY, LiveChain, remix_live
from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, remix
from harness.haaqi import conformance

RATE = PROTOCOL.sample_rate
SCENE, WITH_SILENT_STEM = conformance.scenes()
BOTH, ONE_EAR = conformance.LISTENERS["V1"], conformance.LISTENERS["V2"]  # V2's right ear is normal


def noise(seconds: float, level: float = 0.1, seed: int = 1) -> Signal:
    return level * np.random.default_rng(seed).standard_normal((round(seconds * RATE), 2))


def in_blocks(chain: LiveChain, stems: Mapping[str, Signal], mixture: Signal, sizes: Iterator[int]) -> Signal:
    made, start = [], 0
    while start < len(mixture):
        part = slice(start, start + next(sizes))
        made.append(chain.process({name: stem[part] for name, stem in stems.items()}, mixture[part]))
        start = part.stop
    return np.concatenate(made)


@given(
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
    delay=st.sampled_from([0, 1, 219, 9000]),
    who=st.sampled_from([None, BOTH, ONE_EAR]),
)
@settings(max_examples=25, deadline=None)
def test_the_size_of_the_blocks_does_not_show(sizes: list[int], delay: int, who: conformance.Listener | None) -> None:
    music, stems = SCENE.mixture[:8000], {name: stem[:8000] for name, stem in SCENE.stems.items()}
    whole = LiveChain(SCENE.gains, who, delay).process(stems, music)
    cycled = (size for _ in range(10_000) for size in sizes)
    blocks = in_blocks(LiveChain(SCENE.gains, who, delay), stems, music, cycled)
    assert np.abs(blocks - whole).max() < 1e-12
    assert np.abs(whole).max() > 0.01


@pytest.mark.parametrize("scene", [SCENE, WITH_SILENT_STEM], ids=lambda scene: scene.id)
def test_a_listener_hears_nalr_of_the_remix_block_by_block(scene: conformance.ConformanceScene) -> None:
    expected = amplify(remix_live(scene.stems, scene.gains, scene.mixture), ONE_EAR)
    tail = np.zeros((PROTOCOL.nalr_order, 2))
    stems = {name: np.concatenate([stem, tail]) for name, stem in scene.stems.items()}
    heard = LiveChain(scene.gains, ONE_EAR).process(stems, np.concatenate([scene.mixture, tail]))
    assert heard.shape == expected.shape
    assert np.abs(heard - expected).max() < 1e-12


@pytest.mark.parametrize("cut", [1, 5000, 26_460])
def test_nothing_of_the_future_is_used(cut: int) -> None:
    other = {
        name: np.concatenate([stem[:cut], 30 * noise(2, seed=7)[: len(stem) - cut]])
        for name, stem in SCENE.stems.items()
    }
    music = np.concatenate([SCENE.mixture[:cut], -SCENE.mixture[cut:]])
    one = LiveChain(SCENE.gains, BOTH).process(SCENE.stems, SCENE.mixture)
    two = LiveChain(SCENE.gains, BOTH).process(other, music)
    assert np.array_equal(one[:cut], two[:cut])
    assert not np.array_equal(one, two)


def test_the_chain_itself_delays_by_nalr_alone() -> None:
    click = np.zeros((1000, 2))
    click[300] = 0.5
    stems = {name: click if name == "drums" else np.zeros_like(click) for name in STEMS}
    gains = dict.fromkeys(STEMS, 0.0)
    assert np.abs(remix_live(stems, gains, click)).argmax() == 2 * 300
    heard = LiveChain(gains, BOTH).process(stems, click)
    assert np.abs(heard[:, 0]).argmax() == 300 + NALR_DELAY == np.abs(heard[:, 1]).argmax()


def test_stems_that_lag_are_matched_to_the_mixture_they_come_from() -> None:
    lag = 2000
    late = {name: np.concatenate([np.zeros((lag, 2)), stem[:-lag]]) for name, stem in SCENE.stems.items()}
    prompt = remix_live(SCENE.stems, SCENE.gains, SCENE.mixture)
    assert np.abs(remix_live(late, SCENE.gains, SCENE.mixture, lag)[lag:] - prompt[:-lag]).max() < 1e-12
    assert not np.allclose(remix_live(late, SCENE.gains, SCENE.mixture)[lag:], prompt[:-lag], atol=1e-3)


def test_a_delay_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="-1 samples: expected 0 or more"):
        LiveChain(SCENE.gains, None, -1)


def test_without_gains_the_true_stems_give_the_mixture_back() -> None:
    stems = {name: noise(0.5, seed=seed) for seed, name in enumerate(STEMS)}
    mixture = np.sum([*stems.values()], axis=0)
    assert np.abs(remix_live(stems, dict.fromkeys(STEMS, 0.0), mixture) - mixture).max() < 1e-12
    # The same gain for all is no gain: loudness is kept.
    softer = remix_live(stems, dict.fromkeys(STEMS, -10.0), mixture)
    assert np.abs(softer - mixture)[RATE // 5 :].max() < 0.02


def test_the_loudness_becomes_that_of_the_mixture() -> None:
    meter = pyloudnorm.Meter(RATE)
    levels = {"vocals": 0.02, "drums": 0.1, "bass": 0.05, "other": 0.1}
    stems = {name: noise(3, levels[name], seed) for seed, name in enumerate(STEMS)}
    mixture = np.sum([*stems.values()], axis=0)
    gains = {"vocals": 10.0, "drums": -10.0, "bass": 6.0, "other": -3.0}
    live, whole = remix_live(stems, gains, mixture), remix(stems, gains, mixture)
    # Noise that goes on as it began: what was heard so far says what the whole will be.
    assert meter.integrated_loudness(live) == pytest.approx(meter.integrated_loudness(mixture), abs=0.05)
    assert np.abs(live - whole)[2 * RATE :].max() < 0.01 * np.abs(whole).max()


def test_the_k_weighted_energy_is_that_of_the_meter() -> None:
    from harness.chain import _Energy

    music = noise(0.4)  # one gating block: its mean square is the loudness
    energy = _Energy().up_to(music)[-1]
    loudness = -0.691 + 10 * np.log10(energy / len(music))
    assert loudness == pytest.approx(pyloudnorm.Meter(RATE).integrated_loudness(music), abs=1e-9)


def test_silence_stays_silent_and_a_silent_channel_too() -> None:
    silent = np.zeros((5000, 2))
    nothing = dict.fromkeys(STEMS, silent)
    assert not LiveChain(SCENE.gains, BOTH).process(nothing, silent).any()
    assert not LiveChain(SCENE.gains, BOTH).process(nothing, noise(1)[:5000]).any()
    left = {name: stem * [1, 0] for name, stem in SCENE.stems.items()}
    heard = LiveChain(SCENE.gains, BOTH).process(left, SCENE.mixture * [1, 0])
    assert heard[:, 0].any()
    assert not heard[:, 1].any()


def test_digital_silence_at_the_start_changes_nothing_of_what_follows() -> None:
    def led_in(signal: Signal) -> Signal:
        return np.concatenate([np.zeros((RATE // 2, 2)), signal])

    prompt = remix_live(SCENE.stems, SCENE.gains, SCENE.mixture)
    later = remix_live({name: led_in(stem) for name, stem in SCENE.stems.items()}, SCENE.gains, led_in(SCENE.mixture))
    assert not later[: RATE // 2].any()
    assert np.abs(later[RATE // 2 :] - prompt).max() < 1e-12


def test_what_comes_after_empty_stems_does_not_burst_out() -> None:
    mixture = noise(1)
    stems = {name: np.zeros_like(mixture) for name in STEMS}
    stems["other"][RATE // 2 :] = mixture[RATE // 2 :]
    made = remix_live(stems, dict.fromkeys(STEMS, 0.0), mixture)
    loudest = np.abs(made[RATE // 2 :]) / np.abs(mixture[RATE // 2 :])
    assert loudest.max() == pytest.approx(10 ** (MAX_GAIN_DB / 20))
    # As what was heard makes up for what was not, the gain falls.
    assert loudest[-1].max() == pytest.approx(2**0.5, rel=0.02)


def test_the_first_samples_are_hardly_scaled() -> None:
    mixture = 0.001 * noise(0.05)  # far below the floor
    stems = dict.fromkeys(STEMS, mixture / 2)
    made = remix_live(stems, dict.fromkeys(STEMS, 0.0), mixture)
    assert pytest.approx(0.441) == FLOOR
    assert np.abs(made - 2 * mixture).max() < 1e-3 * np.abs(mixture).max()
