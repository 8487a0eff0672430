"""The fast engine against the locked evaluator, on signals that nobody chose.

Signals are put together from drawn parts: tones, noise, clicks, silence; audiograms, levels, lengths and delays are
drawn too. The draws are the same every time. `make test` tries a few, HARNESS_TEST_ALL=1 many more.
"""

import os
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from clarity.evaluator.haaqi import compute_haaqi
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from harness.haaqi import evaluator, fast
from harness.haaqi.agreement import RATE, TOLERANCE, Case, compare
from harness.hearing import Audiogram, Listener

EVERYTHING = os.environ.get("HARNESS_TEST_ALL") == "1"
FREQUENCIES = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)

tried = settings(
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Tone:
    hertz: float
    level: float

    def change(self, signal):
        return signal + self.level * np.sin(2 * np.pi * self.hertz * np.arange(len(signal)) / RATE)


@dataclass(frozen=True)
class Noise:
    level: float
    seed: int

    def change(self, signal):
        return signal + self.level * np.random.RandomState(self.seed).standard_normal(len(signal))


@dataclass(frozen=True)
class Click:
    place: float
    level: float

    def change(self, signal):
        changed = signal.copy()
        changed[int(self.place * (len(signal) - 1))] += self.level
        return changed


@dataclass(frozen=True)
class Silence:
    start: float
    share: float

    def change(self, signal):
        changed = signal.copy()
        first = int(self.start * len(signal))
        changed[first : first + int(self.share * len(signal))] = 0
        return changed


@dataclass(frozen=True)
class Fading:
    """Falls off by so many decibels from beginning to end."""

    decibels: float

    def change(self, signal):
        return signal * 10 ** (-self.decibels / 20 * np.linspace(0, 1, len(signal)))


@dataclass(frozen=True)
class Gain:
    decibels: float

    def change(self, signal):
        return 10 ** (self.decibels / 20) * signal


@dataclass(frozen=True)
class Clip:
    share: float

    def change(self, signal):
        peak = self.share * np.abs(signal).max(initial=0)
        return np.clip(signal, -peak, peak)


@dataclass(frozen=True)
class Delay:
    samples: int

    def change(self, signal):
        changed = np.zeros_like(signal)
        if self.samples >= 0:
            changed[self.samples :] = signal[: len(signal) - self.samples]
        else:
            changed[: self.samples] = signal[-self.samples :]
        return changed


share = st.floats(0, 1, width=16)
level = st.sampled_from([1.0, 0.3, 0.1, 0.01, 1e-4])
tones = st.builds(Tone, st.floats(30, 11000, width=16), level)
noises = st.builds(Noise, level, st.integers(0, 99))
clicks = st.builds(Click, share, level)
parts = st.lists(st.one_of(tones, noises, clicks), min_size=1, max_size=4)
gaps = st.lists(st.builds(Silence, share, share) | st.builds(Fading, st.floats(0, 400, width=16)), max_size=2)
damages = st.lists(
    st.one_of(
        noises,
        clicks,
        tones,
        st.builds(Gain, st.floats(-60, 40, width=16)),
        st.builds(Clip, st.floats(0.125, 1, width=16)),
        st.builds(Delay, st.integers(-3000, 3000)),
        st.builds(Silence, share, share),
        st.builds(Fading, st.floats(0, 400, width=16)),
    ),
    max_size=4,
)
audiograms = st.lists(st.integers(-2, 22).map(lambda step: 5.0 * step), min_size=8, max_size=8).map(
    lambda levels: Audiogram(FREQUENCIES, tuple(levels))
)


def made(steps, start):
    for step in steps:
        start = step.change(start)
    return start


@st.composite
def ears(draw):
    count = draw(st.integers(7200, 14400))
    extra = draw(st.integers(0, 700))
    what = draw(parts) + draw(gaps)
    damage = draw(damages)
    whole = made(what, np.zeros(count + extra))
    alike = draw(st.integers(0, 9))
    processed = made(damage, whole if alike else np.zeros_like(whole))
    lengths = draw(st.sampled_from([(count, count), (count + extra, count), (count, count + extra)]))
    rms = np.sqrt(np.mean(whole[: lengths[1]] ** 2))
    louder = draw(st.integers(-10, 50))
    note(f"{count=} {extra=} {what=} {damage=} {alike=} {lengths=} {louder=}")
    return Case(
        name="drawn",
        processed=processed[: lengths[0]],
        reference=whole[: lengths[1]],
        audiogram=draw(audiograms),
        equalisation=draw(st.sampled_from([1, 2])),
        level1=65 + louder - 20 * np.log10(rms) if rms > 0 else 65.0,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(tried, max_examples=150 if EVERYTHING else 15)
@given(ears())
def test_both_engines_give_the_same(case):
    comparison = compare(case)
    assert comparison.agrees, comparison


@pytest.mark.parametrize("hertz", [1800.0, 1800.137])
def test_a_steady_tone_that_ends_early(hertz):
    """Correlations are equally large for several delays, to 1e-14 for the first tone and to 5e-11 for the second."""
    tone = Tone(hertz, 1e-4).change(np.zeros(8261))
    processed = tone[:8063].copy()
    processed[4465:] = 0
    audiogram = Audiogram(FREQUENCIES, (100, 100, -10, 55, 15, 55, 15, 0))
    comparison = compare(Case("a tone", processed, tone, audiogram, equalisation=1, level1=189.011, seed=0))
    assert comparison.agrees, comparison


@pytest.mark.parametrize("rates", [(32000, 44100), (44100, 24000), (16000, 24000)])
def test_other_sample_rates(rates):
    processed_rate, reference_rate = rates

    def tune(rate):
        time = np.arange(round(0.4 * rate)) / rate
        return 0.1 * sum(np.sin(2 * np.pi * hertz * time + hertz) for hertz in (110, 440, 1250, 3100))

    audiogram = ClarityAudiogram(
        levels=np.array([20, 30, 40, 45, 50, 60]), frequencies=np.array([250, 500, 1000, 2000, 4000, 6000])
    )
    scores = []
    for engine in (compute_haaqi, fast.compute_haaqi):
        np.random.seed(1)
        noisy = tune(processed_rate) + 0.02 * np.random.RandomState(2).standard_normal(round(0.4 * processed_rate))
        scores.append(engine(noisy, tune(reference_rate), processed_rate, reference_rate, audiogram, level1=75.0))
    assert abs(scores[0] - scores[1]) <= TOLERANCE


SCENES = ("scene_1", "scene_2")
LISTENERS = (
    Listener("mild", Audiogram(FREQUENCIES, (10,) * 8), Audiogram(FREQUENCIES, (5, 10, 20, 30, 40, 40, 50, 60))),
    # Most of the left ear's segments lie below its threshold: it draws less in between, so the right ear's stream
    # starts somewhere else.
    Listener("deaf", Audiogram(FREQUENCIES, (90,) * 8), Audiogram(FREQUENCIES, (20,) * 8)),
    Listener("severe", Audiogram(FREQUENCIES, (60,) * 8), Audiogram(FREQUENCIES, (70,) * 8)),
)


SUBMISSIONS = ("noisy", "shorter")


@cache
def music(scene, rate):
    """Music that swells and fades, (samples, 2)."""
    seconds = {"scene_1": 0.45, "scene_2": 0.6}[scene]
    chord = (220, 277.2, 329.6) if scene == "scene_1" else (196, 246.9, 1480)
    time = np.arange(round(seconds * rate)) / rate
    left = 0.1 * np.sin(np.pi * time / seconds) ** 4 * sum(np.sin(2 * np.pi * hertz * time) for hertz in chord)
    return np.stack([left, 0.6 * left[::-1]], axis=1)


def submitted(scene, submission):
    signal = music(scene, 32000)
    if submission == "shorter":
        return (0.5 * signal[:-1500]).astype(np.float32)
    return (signal + 0.003 * np.random.RandomState(5).standard_normal(signal.shape)).astype(np.float32)


@cache
def locked_score(scene, listener, submission):
    return evaluator.score_pair(scene, music(scene, 44100), submitted(scene, submission), listener)


@settings(tried, max_examples=40 if EVERYTHING else 6)
@given(
    order=st.lists(
        st.tuples(st.sampled_from(SCENES), st.sampled_from(LISTENERS), st.sampled_from(SUBMISSIONS)),
        min_size=2,
        max_size=8,
    )
)
def test_pairs_score_the_same_in_any_order(order):
    """What the engine keeps, of a scene or of a listener, is never another one's."""
    for scene, who, submission in order:
        # The same array for a scene each time, as the pipeline gives it.
        found = fast.score_pair(scene, music(scene, 44100), submitted(scene, submission), who)
        due = locked_score(scene, who, submission)
        assert abs(found.left - due.left) <= TOLERANCE
        assert abs(found.right - due.right) <= TOLERANCE


def test_what_is_kept_for_a_listener_is_used_for_every_submission_of_theirs():
    for submission in (*SUBMISSIONS, "noisy", "shorter"):
        for who in LISTENERS[:2]:
            for _ in range(2):
                found = fast.score_pair("scene_2", music("scene_2", 44100), submitted("scene_2", submission), who)
                due = locked_score("scene_2", who, submission)
                assert abs(found.left - due.left) <= TOLERANCE
                assert abs(found.right - due.right) <= TOLERANCE
