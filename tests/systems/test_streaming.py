"""The driver of streaming systems, on systems of this process: what they get, when, and what becomes of it."""

import gc
import time
from typing import Any

import numpy as np
import pytest

from harness import challenge
from harness.errors import PluginError, SystemFailure
from harness.haaqi import conformance
from harness.systems import STEMS, Enhancer, OwnStream, Reference, StreamingEnhancer, StreamingSeparator, stream
from harness.systems.declaring import described
from harness.systems.discovery import check_class
from harness.systems.streaming import ALLOWED, MAX_BLOCK, MAX_LATENCY
from harness.systems.streaming import STEMS as OWN_STEMS
from harness.systems.words import words_of

RATE = 44100
MUSIC = 0.1 * np.random.default_rng(3).standard_normal((26460, 2))
LISTENER = conformance.LISTENERS["V2"]
GAINS = {"vocals": 3.0, "drums": -3.0, "bass": 0.0, "other": 6.0}


class Line(StreamingSeparator):
    """A delay line: a quarter of the mixture in each stem, `latency` samples later."""

    name, version, training_data, licence = "line", "1", "none", "none"

    def __init__(self, block: int = 64, latency: int = 0) -> None:
        super().__init__()
        self.block, self.latency = block, latency
        self.heard: list[Any] = []
        self.prepared: list[int] = []

    def prepare(self, sample_rate: int, block: int, channels: int) -> None:
        assert (sample_rate, block, channels) == (RATE, self.block, 2)
        self.waiting = np.zeros((self.latency, channels))
        self.prepared.append(len(self.heard))

    def process(self, block: Any) -> Any:
        self.heard.append(block.copy())
        both = np.concatenate([self.waiting, block])
        self.waiting = both[len(block) :]
        return dict.fromkeys(STEMS, both[: len(block)] / 4)


class Smooth(StreamingEnhancer):
    """A one-pole filter of each ear, after the listener's first threshold and the gain of the vocals."""

    name, version, training_data, licence = "smooth", "1", "none", "none"
    block = 100

    def prepare(self, sample_rate: int, block: int, channels: int, listener: Any, gains: Any) -> None:
        self.pole = np.array([listener.left.levels[0], listener.right.levels[0]]) / 200
        self.scale = 10 ** (gains["vocals"] / 20)
        self.last = np.zeros(2)

    def process(self, block: Any) -> Any:
        out = np.empty_like(block)
        for index, sample in enumerate(block):
            self.last = out[index] = self.scale * sample + self.pole * self.last
        return out


def test_the_stems_are_named_as_the_challenge_names_them() -> None:
    assert OWN_STEMS == challenge.STEMS
    assert 1000 * ALLOWED / RATE <= challenge.PROTOCOL.causal_lookahead_ms < 1000 * (ALLOWED + 1) / RATE


@pytest.mark.parametrize(
    ("block", "latency", "credit"),
    [(64, 0, 0), (1, 220, 220), (110, 110, 110), (110, 400, 111), (221, 50, 0), (512, 700, 0), (30000, 3, 0)],
)
def test_latency_is_credited_and_what_remains_is_delay(block: int, latency: int, credit: int) -> None:
    music = MUSIC[:3000]
    with OwnStream(Line(block, latency)) as own:
        streamed = stream(own, music, RATE, warm_up=0.01)
    assert (streamed.block, streamed.latency, streamed.credited) == (block, latency, credit)
    assert streamed.look_ahead == block - 1 + credit
    assert streamed.delay == latency - credit
    assert streamed.through == streamed.look_ahead + streamed.delay
    expected = np.concatenate([np.zeros((latency - credit, 2)), music])[: len(music)]
    assert len(streamed.signals) == len(STEMS)
    for stem in streamed.signals:
        assert np.array_equal(4 * stem, expected)
    # Of all blocks; the last of them only where it holds credited samples.
    assert len(streamed.cpu) == len(streamed.wall) == -(-(len(music) + credit) // block)


def test_a_system_hears_noise_then_the_music_in_its_order_and_silence() -> None:
    system = Line(100, 130)
    stems = system.separate(MUSIC[:1234], RATE)
    assert list(stems) == [*STEMS]
    assert np.array_equal(4 * stems["bass"][9:], MUSIC[: 1234 - 9])
    first, second = system.prepared
    assert (first, second) == (0, 441)
    noise, heard = (np.concatenate(part) for part in (system.heard[:second], system.heard[second:]))
    assert 0.09 < noise.std() < 0.11
    assert not np.isin(MUSIC[:1234], noise).any()
    assert np.array_equal(heard[:1234], MUSIC[:1234])
    assert len(heard) == 1400
    assert not heard[1234:].any()


def test_the_rest_of_the_music_hangs_on_no_block() -> None:
    bases = []

    class Greedy(Line):
        def process(self, block: Any) -> Any:
            bases.append(block.base)
            block[:] = 7  # it is a copy, and the system's own
            return dict.fromkeys(STEMS, np.ones_like(block))

    music = MUSIC[:1000].copy()
    Greedy().separate(music, RATE)
    assert set(map(id, bases)) == {id(None)}
    assert np.array_equal(music, MUSIC[:1000])


def test_an_enhancer_gives_what_a_loop_by_hand_gives() -> None:
    enhanced = Smooth().enhance(MUSIC, RATE, LISTENER, GAINS)
    by_hand = np.empty_like(MUSIC)
    last, pole = np.zeros(2), np.array([LISTENER.left.levels[0], LISTENER.right.levels[0]]) / 200
    for index, sample in enumerate(MUSIC):
        last = by_hand[index] = 10 ** (3 / 20) * sample + pole * last
    assert np.array_equal(enhanced, by_hand)


def test_an_enhancers_delay_makes_its_remix_longer_up_to_the_tail_of_nal_r() -> None:
    class Late(StreamingEnhancer):
        name, version, block = "late", "1", 221

        def prepare(self, *_: Any) -> None:
            self.waiting = np.zeros((self.latency, 2))

        def process(self, block: Any) -> Any:
            both = np.concatenate([self.waiting, block])
            self.waiting = both[len(block) :]
            return both[: len(block)]

    for latency, longer in ((0, 0), (110, 110), (1000, 220)):
        system = Late()
        system.latency = latency
        remix = system.enhance(MUSIC, RATE, LISTENER, GAINS)
        assert len(remix) == len(MUSIC) + longer
        assert np.array_equal(remix[latency:], MUSIC[: len(remix) - latency])


def test_pieces_do_not_know_each_other() -> None:
    system = Line(50, 100)
    once = system.separate(MUSIC, RATE)["drums"]
    system.separate(MUSIC[::-1], RATE)
    assert np.array_equal(system.separate(MUSIC, RATE)["drums"], once)


def test_pythons_garbage_waits_for_the_end_of_the_piece() -> None:
    seen = []

    class Tidy(Line):
        def process(self, block: Any) -> Any:
            seen.append(gc.isenabled())
            if len(seen) == 5000:
                raise RuntimeError
            return super().process(block)

    assert gc.isenabled()
    system = Tidy(10)
    with pytest.raises(RuntimeError):
        system.separate(MUSIC, RATE)
    assert set(seen) == {False}
    assert gc.isenabled()


def test_the_load_of_a_block_is_its_time_by_two_clocks() -> None:
    class Slow(Line):
        def process(self, block: Any) -> Any:
            number = len(self.heard) - (self.prepared[-1] if self.prepared else 0)
            if number == 1:
                time.sleep(0.05)
            if number == 2:
                until = time.process_time() + 0.05
                while time.process_time() < until:
                    pass
            return super().process(block)

    with OwnStream(Slow(441)) as own:
        streamed = stream(own, MUSIC[:4410], RATE, warm_up=0)
    # A block lasts 10 ms.
    assert len(streamed.cpu) == 10
    assert streamed.wall[1] >= 5
    assert streamed.cpu[1] < streamed.wall[1] / 2
    assert streamed.cpu[2] >= 5
    assert streamed.wall[2] > 4.9
    assert np.median(streamed.wall) < streamed.wall[1]


WRONG = {
    "too short": (lambda block: block[:-1], "its stem bass has shape (63, 2), expected (64, 2)"),
    "mono": (lambda block: block[:, 0], "its stem bass has shape (64,), expected (64, 2)"),
    "integers": (lambda block: block.astype(int), "its stem bass is a int64 array, expected a NumPy array of floats"),
    "nothing": (lambda block: None, "its stem bass is a NoneType, expected a NumPy array of floats"),
    "a list": (lambda block: block.tolist(), "its stem bass is a list, expected a NumPy array of floats"),
    "NaN": (lambda block: block * np.nan, "its stem bass holds values that are not finite (NaN or infinity)"),
    "too much for 64 bits": (lambda block: block + np.inf, "its stem bass holds values that are not finite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_stem_is_one_line_with_the_number_of_the_block(case: str) -> None:
    make, expected = WRONG[case]

    class Wrong(Line):
        def process(self, block: Any) -> Any:
            stems = super().process(block)
            late = len(self.prepared) == 2 and len(self.heard) == self.prepared[1] + 3
            return {**stems, "bass": make(stems["bass"])} if late else stems

    with pytest.raises(SystemFailure) as caught:
        Wrong().separate(MUSIC, RATE)
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("(block 3 of 414)")


@pytest.mark.parametrize("returned", [None, np.zeros((4, 64, 2)), {"vocals": np.zeros((64, 2))}])
def test_stems_that_are_missing_are_named_in_the_first_block_of_noise(returned: object) -> None:
    class Missing(Line):
        def process(self, block: Any) -> Any:
            return returned

    with pytest.raises(SystemFailure) as caught:
        Missing().separate(MUSIC, RATE)
    given = {type(None): "NoneType", np.ndarray: "ndarray", dict: "vocals"}[type(returned)]
    assert str(caught.value) == (
        "process() must return a signal for each of vocals, drums, bass, other; it returned "
        f"{given} (block 1 of 690 of noise)"
    )


@pytest.mark.parametrize(
    ("name", "value", "most"),
    [
        ("block", 0, MAX_BLOCK),
        ("block", MAX_BLOCK + 1, MAX_BLOCK),
        ("block", 64.0, MAX_BLOCK),
        ("block", True, MAX_BLOCK),
        ("block", "64", MAX_BLOCK),
        ("latency", -1, MAX_LATENCY),
        ("latency", None, MAX_LATENCY),
        ("latency", MAX_LATENCY + 1, MAX_LATENCY),
    ],
)
def test_block_and_latency_are_integers_within_limits(name: str, value: object, most: int) -> None:
    system = Line()
    setattr(system, name, value)
    for use in (lambda: system.separate(MUSIC, RATE), lambda: words_of(system)):
        with pytest.raises(SystemFailure) as caught:
            use()
        assert f"{name} is {value!r}, expected an integer from " in str(caught.value)
        assert f" to {most} (samples)" in str(caught.value)


def test_the_class_follows_from_the_block_whatever_is_declared() -> None:
    for block, found in ((1, "causal"), (221, "causal"), (222, "non-causal")):
        system = Line(np.int64(block), 5000)
        system.causal = block > 221
        words = words_of(system)
        assert words["class"] == found
        assert words["streaming"] == {"block": block, "latency": 5000}
    assert described(Smooth)["class"] == "causal"


def test_who_asks_to_be_measured_says_so() -> None:
    assert words_of(Line())["measure"] is False

    class Asks(Line):
        measure_look_ahead = True

    assert words_of(Asks())["measure"] is True


class Overrides(Line):
    name = "overrides"

    def separate(self, mixture: Any, sample_rate: int) -> Any:
        return dict.fromkeys(STEMS, mixture / 4)


class OverridesToo(Smooth):
    name = "overrides"

    def enhance(self, mixture: Any, sample_rate: int, listener: Any, gains: Any) -> Any:
        return mixture


class Both(Line, Enhancer):
    name = "both"

    def enhance(self, mixture: Any, sample_rate: int, listener: Any, gains: Any) -> Any:
        return mixture


class Knows(Line, Reference):
    name = "knows"

    def stems(self, true_stems: Any, sample_rate: int) -> Any:
        return true_stems


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (Overrides, "system overrides overrides separate(), which feeds a streaming system block by block"),
        (OverridesToo, "system overrides overrides enhance(), which feeds"),
        (Both, "system both is two kinds of systems: derive it from StreamingSeparator or StreamingEnhancer alone"),
        (Knows, "system knows is two kinds of systems"),
    ],
)
def test_the_drivers_part_is_not_the_systems(system: Any, expected: str) -> None:
    with pytest.raises(PluginError) as caught:
        check_class(system)
    assert str(caught.value).startswith(expected)
    for fine in (Line, Smooth):
        check_class(fine)
