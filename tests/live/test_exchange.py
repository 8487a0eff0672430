"""The sound card's side, driven by hand: real arrays through the callback that PortAudio would call."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.enhancement import Signal
from harness.live import exchange as module
from harness.live.exchange import Exchange, SoundFailure, _Queue


def ramp(start: int, count: int) -> Signal:
    """Samples that tell their place: the left channel counts, the right counts down."""
    numbers = np.arange(start, start + count) / 2**16
    return np.stack([numbers, -numbers], axis=1)


def from_file(cushion: int = 100) -> Exchange:
    return Exchange(cushion, captures=False, capacity=1000)


def from_card(cushion: int = 100) -> Exchange:
    return Exchange(cushion, captures=True, capacity=1000)


def play(exchange: Exchange, frames: int, channels: int = 2, trouble: bool = False) -> Signal:
    outdata = np.full((frames, channels), 9.0, np.float32)
    exchange.play(outdata, frames, None, trouble)
    return outdata


def turn(exchange: Exchange, recorded: Signal, trouble: bool = False) -> Signal:
    outdata = np.full((len(recorded), 2), 9.0, np.float32)
    exchange.callback(recorded.astype(np.float32), outdata, len(recorded), None, trouble)
    return outdata


def test_what_is_put_is_played_in_order_whatever_the_card_asks_for() -> None:
    exchange = from_file(cushion=300)
    for start in range(0, 320, 64):
        exchange.put(ramp(start, 64))
    played = np.concatenate([play(exchange, frames) for frames in (1, 17, 100, 2, 200)])
    assert np.array_equal(played, ramp(0, 320).astype(np.float32))
    assert exchange.xruns == 0


def test_an_underrun_is_silence_and_counted() -> None:
    exchange = from_file()
    exchange.put(ramp(1, 40))
    played = play(exchange, 64)
    assert np.array_equal(played[:40], ramp(1, 40).astype(np.float32))
    assert not played[40:].any()
    assert exchange.xruns == 1
    # Of a file nothing is left out.
    exchange.put(ramp(41, 40))
    assert np.array_equal(play(exchange, 40), ramp(41, 40).astype(np.float32))


def test_the_cards_own_troubles_are_counted() -> None:
    exchange = from_file()
    exchange.put(ramp(0, 64))
    play(exchange, 64, trouble=True)
    assert exchange.xruns == 1


def test_the_end_of_the_music_is_no_xrun() -> None:
    exchange = from_file()
    exchange.put(ramp(1, 40))
    drained = threading.Thread(target=exchange.drain)
    drained.start()
    time.sleep(0.05)
    assert drained.is_alive()
    play(exchange, 64)
    drained.join(5)
    assert not drained.is_alive()
    assert not play(exchange, 64).any()
    assert exchange.xruns == 0


def test_putting_waits_for_the_card() -> None:
    exchange = from_file(cushion=100)
    exchange.put(ramp(0, 101))
    assert exchange.filled
    putting = threading.Thread(target=exchange.put, args=(ramp(101, 64),))
    putting.start()
    time.sleep(0.05)
    assert putting.is_alive()
    play(exchange, 50)
    putting.join(5)
    assert not putting.is_alive()
    assert np.array_equal(play(exchange, 115), ramp(50, 115).astype(np.float32))


def test_a_card_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    exchange = from_file(cushion=10)
    exchange.put(ramp(0, 64))
    with pytest.raises(SoundFailure, match="takes no sound any more"):
        exchange.put(ramp(64, 64))
    with pytest.raises(SoundFailure, match="takes no sound any more"):
        exchange.drain()
    with pytest.raises(SoundFailure, match="brings no sound"):
        from_card().get(64)


def test_sound_from_a_card_comes_back_after_the_cushion() -> None:
    exchange = from_card(cushion=100)
    played = []
    for start in range(0, 640, 64):
        played.append(turn(exchange, ramp(start + 1, 64)))
        exchange.put(exchange.get(64))
    together = np.concatenate(played)
    assert not together[:100].any()
    assert np.array_equal(together[100:], ramp(1, 540).astype(np.float32))
    assert exchange.xruns == 0
    assert exchange.added == 100


def test_what_is_late_is_left_out_so_that_the_delay_does_not_grow() -> None:
    exchange = from_card(cushion=100)
    played = []
    for number in range(20):
        played.append(turn(exchange, ramp(64 * number + 1, 64)))
        if 5 <= number < 8:  # the system is busy
            continue
        while len(exchange._in) >= 64:
            exchange.put(exchange.get(64))
    together = np.concatenate(played)
    assert exchange.xruns == 3
    later = together[12 * 64 :]
    assert np.array_equal(later, ramp(12 * 64 + 1 - 100, 8 * 64).astype(np.float32))


def test_a_system_that_is_hopelessly_slow_hears_what_is_newest() -> None:
    exchange = from_card(cushion=100)
    for number in range(100):
        turn(exchange, ramp(64 * number, 64))
    assert exchange.get(64)[0, 0] * 2**16 >= 6400 - 1000


def test_a_card_with_one_channel_records_for_both_ears_and_plays_their_mean() -> None:
    exchange = from_card(cushion=10)
    exchange.callback(np.full((64, 1), 0.25, np.float32), np.zeros((64, 1), np.float32), 64, None, False)
    assert np.array_equal(exchange.get(64), np.full((64, 2), 0.25))
    one = from_file()
    one.put(np.tile([[0.5, 0.25]], (64, 1)))
    assert np.array_equal(play(one, 64, channels=1), np.full((64, 1), 0.375, np.float32))


def test_what_a_driver_left_unwritten_does_no_harm() -> None:
    exchange = from_card()
    turn(exchange, np.array([[np.nan, np.inf], [-np.inf, 1e30], [0.5, -0.5], [0, 0]]))
    assert np.array_equal(exchange.get(4), [[0, 1], [-1, 1], [0.5, -0.5], [0, 0]])


def test_the_callback_never_raises() -> None:
    exchange = from_file()
    exchange.put(ramp(1, 64))
    outdata = np.ones((64, 2), np.float32)
    exchange.play(outdata, "sixty-four", None, False)  # type: ignore[arg-type]
    assert not outdata.any()
    with pytest.raises(SoundFailure, match="cannot be served"):
        exchange.drain()


def test_a_cushion_must_fit() -> None:
    with pytest.raises(ValueError, match="expected 1 to 1000"):
        from_file(cushion=0)


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "shrink"]), st.integers(0, 40)), max_size=60))
def test_a_queue_is_a_list_of_the_newest(steps: list[tuple[str, int]]) -> None:
    queue, model, number = _Queue(32), np.zeros((0, 2), np.float32), 0
    for step, count in steps:
        if step == "put":
            queue.put(ramp(number, count))
            model = np.concatenate([model, ramp(number, count).astype(np.float32)])[-32:]
            number += count
        elif step == "take":
            assert np.array_equal(queue.take(count), model[:count])
            model = model[count:]
        else:
            assert queue.shrink(count) == max(0, len(model) - count)
            model = model[len(model) - min(count, len(model)) :]
        assert len(queue) == len(model)
