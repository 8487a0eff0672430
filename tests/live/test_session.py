"""A session is the harness's driver and the live chain, one block at a time."""

import numpy as np
import pytest
from streamers import Bands, Louder

from harness.chain import NALR_DELAY, remix_live
from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify
from harness.errors import SystemFailure
from harness.haaqi import conformance
from harness.hearing import Listener
from harness.live.playing import process_all, tail
from harness.live.session import Session
from harness.systems.streaming import OwnStream, stream

RATE = PROTOCOL.sample_rate
SCENE = conformance.scenes()[0]
MUSIC = SCENE.mixture[: round(0.6 * RATE)]
WHO = conformance.LISTENERS["V1"]


def session(listener: Listener | None = None, **settings: int) -> Session:
    return Session(OwnStream(Bands(**settings)), "separator", SCENE.gains, listener)


def louder(gain: float) -> Session:
    gains = {**SCENE.gains, "vocals": gain}
    return Session(OwnStream(Louder(), WHO, gains), "enhancer", gains, WHO)


@pytest.mark.parametrize(("block", "late"), [(64, 0), (110, 110), (500, 1000), (4096, 37)])
@pytest.mark.parametrize("listener", [None, WHO], ids=["normal hearing", "V1"])
def test_what_is_heard_is_what_the_chain_makes_of_the_whole(block: int, late: int, listener: Listener | None) -> None:
    heard = process_all(session(listener, block=block, late=late), MUSIC)
    # The driver may take latency out of the file; who listens cannot.
    longer = np.concatenate([MUSIC, np.zeros((late + PROTOCOL.nalr_order, 2))])
    streamed = stream(OwnStream(Bands(block=block, late=late)), longer, RATE)
    stems = [np.concatenate([np.zeros((streamed.credited, 2)), stem])[: len(longer)] for stem in streamed.signals]
    whole = remix_live(dict(zip(STEMS, stems, strict=True)), SCENE.gains, longer, late)
    expected: Signal = whole if listener is None else amplify(whole, listener)
    assert len(heard) == len(MUSIC) + late + (0 if listener is None else PROTOCOL.nalr_order)
    expected = expected[: len(heard)]
    assert np.abs(heard - np.clip(expected, -1, 1)).max() < 1e-12
    assert np.abs(heard).max() > 0.1


def test_the_last_sample_of_the_music_is_heard() -> None:
    click = np.zeros((10_000, 2))
    click[-1] = 1
    for listener in (None, WHO):
        made = session(listener, block=300, late=500)
        heard = process_all(made, click)
        assert np.abs(heard[:, 0]).argmax() == len(click) - 1 + made.lag
        assert len(heard) == len(click) + tail(made)


def test_the_through_delay_counts_the_block_the_latency_and_nalr() -> None:
    assert session(block=110, late=110).through == 219
    assert session(WHO, block=110, late=110).through == 219 + NALR_DELAY == 329
    assert louder(0.0).through == 99


def test_a_streaming_enhancer_owns_its_chain() -> None:
    made = louder(-6.0)
    heard = process_all(made, MUSIC)
    assert heard == pytest.approx(MUSIC * 10 ** (-6 / 20), abs=1e-15)


def test_what_is_beyond_full_scale_is_clipped_and_counted() -> None:
    made = louder(20.0)
    heard = process_all(made, MUSIC)
    assert np.abs(heard).max() == 1
    assert made.clipped == np.count_nonzero(np.abs(10 * MUSIC) > 1) > 0


def test_every_block_has_its_load() -> None:
    made = session(block=1000)
    assert made.load() is None
    process_all(made, MUSIC)
    load = made.load()
    assert load is not None
    assert load.blocks == -(-len(MUSIC) // 1000)
    assert 0 < load.wall_p50 <= load.wall_p99 <= load.wall_worst
    assert load.wall_late == made.late
    lately = made.load(0.1)
    assert lately is not None
    assert lately.blocks == 4
    # Nor does the noise that it was warmed up with count.
    assert len(made.warm_up.wall) >= RATE // 1000


def test_a_system_hears_nothing_of_the_noise_it_was_warmed_up_with() -> None:
    assert not process_all(session(block=64, late=500), np.zeros((2000, 2))).any()


def test_a_block_that_is_not_finite_ends_it() -> None:
    made = session(block=1000, broken_after=3 + 45)  # 45 blocks of noise come first, then it forgets them
    process_all(made, MUSIC[:20_000])
    broken = session(block=4410, broken_after=10)
    with pytest.raises(SystemFailure, match="block 11 of its output is not finite"):
        process_all(broken, np.concatenate([MUSIC] * 2))
