"""Music through a session: into an array, or out of a sound card while it plays."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.live.device import Device, running
from harness.live.exchange import Exchange
from harness.live.session import Session

FILE_CUSHION_SECONDS = 1.0
"""Music from a file may be processed so long before it is heard: nobody waits for it."""

CARD_CUSHION_SECONDS = 0.02
"""Sound from a card waits so long, beside the block that has to be full, for its turn to be played: a card takes some
hundred samples at a time, and the operating system wakes us when it likes."""

SHOWN_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Played:
    """How playing went.

    Attributes:
        samples: of the music that were processed.
        xruns: how often the sound card had to wait.
        added_seconds: by which the sound was later for the card and its cushion; of a file, for the card alone.
        interrupted: whether it was ended by Ctrl-C, which is how sound from a card ends.
    """

    samples: int
    xruns: int
    added_seconds: float
    interrupted: bool


def process_all(session: Session, music: Signal, advance: Callable[[int], None] = lambda _count: None) -> Signal:
    """Play a piece of music to a session as fast as it goes.

    Args:
        session: fresh.
        music: (samples, 2).
        advance: called with the number of samples that were done, after each block.

    Returns:
        (samples + session.lag + NAL-R's tail, 2): what would be heard, the lag included; within +-1.
    """
    longer = padded(session, music)
    made = np.empty_like(longer)
    for start in range(0, len(longer), session.block):
        made[start : start + session.block] = session.process(longer[start : start + session.block])
        advance(session.block)
    return made[: len(music) + tail(session)]


def tail(session: Session) -> int:
    """Samples for which the music is still heard after its end: the session's lag, and the rest of NAL-R's filter."""
    return session.lag + (session.lag - session.latency)


def padded(session: Session, music: Signal) -> Signal:
    """Music with silence after it until all of it has come out, in whole blocks: (n * block, 2)."""
    count = -(-(len(music) + tail(session)) // session.block)
    longer = np.zeros((count * session.block, 2))
    longer[: len(music)] = music
    return longer


def play(
    session: Session,
    device: Device,
    music: Signal | None,
    show: Callable[[Exchange], None] = lambda _exchange: None,
) -> Played:
    """Play what a session makes, in real time; Ctrl-C ends it.

    Args:
        session: fresh.
        device: what plays it.
        music: what goes in, (samples, 2); None for what the device records.
        show: called some times a second.

    Raises:
        SoundFailure: the device cannot be started, or has gone.
        SystemFailure: the system fails.
    """
    captures = music is None
    seconds = CARD_CUSHION_SECONDS if captures else FILE_CUSHION_SECONDS
    cushion = session.block + round(seconds * PROTOCOL.sample_rate)
    exchange = Exchange(cushion, captures, capacity=cushion + 2 * session.block + PROTOCOL.sample_rate)
    interrupted, shown, samples = False, 0.0, 0
    added: float | None = None  # by the card, once it runs; it may be 0
    with ExitStack() as stack:
        try:
            if captures:
                added = stack.enter_context(running(device, exchange))
            for block in _recorded(session, exchange) if music is None else _blocks(session, music):
                made = session.process(block)
                exchange.put(made)
                samples += len(block)
                if not captures and exchange.filled and added is None:
                    added = stack.enter_context(running(device, exchange))
                if time.monotonic() - shown > SHOWN_EVERY_SECONDS:
                    show(exchange)
                    shown = time.monotonic()
            if added is None:
                added = stack.enter_context(running(device, exchange))
            exchange.drain()
            time.sleep(added)  # what the card itself still holds
        except KeyboardInterrupt:
            interrupted = True
    total = (added or 0.0) + exchange.added / PROTOCOL.sample_rate
    heard = samples if music is None else min(samples, len(music))
    return Played(heard, exchange.xruns, total, interrupted)


def _recorded(session: Session, exchange: Exchange) -> Iterator[Signal]:
    while True:
        yield exchange.get(session.block)


def _blocks(session: Session, music: Signal) -> Iterator[Signal]:
    longer = padded(session, music)
    for start in range(0, len(longer), session.block):
        yield longer[start : start + session.block]
