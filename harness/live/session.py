"""A streaming system at work for somebody who listens: one block in, one block out."""

from array import array

import numpy as np

from harness.chain import NALR_DELAY, LiveChain
from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import Signal
from harness.errors import SystemFailure
from harness.hearing import Listener
from harness.making.loads import load_of
from harness.submission.causality import LoadRecord
from harness.systems.streaming import Stream, Streamed, stream

WARM_UP_SECONDS = 1.0
"""So long a system works on noise before anybody listens: caches and compilers have their time then."""

LATELY_SECONDS = 5.0
"""Of the load that is shown while the music plays."""


class Session:
    """A streaming system and what follows it, ready for the first block.

    Args:
        opened: the system's stream; warmed up here, and closed by the caller.
        kind: "separator", or "enhancer" for a system that owns its chain.
        gains: target gain of each stem in dB.
        listener: who listens; None for normal hearing, without amplification.

    Raises:
        SystemFailure: it fails on the noise that warms it up.
    """

    def __init__(self, opened: Stream, kind: str, gains: Gains, listener: Listener | None) -> None:
        self.block, self.latency = opened.block, opened.latency
        self.clipped = 0
        """Samples of both channels that were beyond full scale."""
        self.late = 0
        """Blocks that took longer, by the clock on the wall, than they last."""
        self._stream = opened
        self._cpu, self._wall = array("d"), array("d")
        self._chain = LiveChain(gains, listener, opened.latency) if kind == "separator" else None
        self._amplified = NALR_DELAY if self._chain is not None and listener is not None else 0
        noise = 0.1 * np.random.default_rng(0).standard_normal((round(WARM_UP_SECONDS * PROTOCOL.sample_rate), 2))
        self.warm_up: Streamed = stream(opened, noise, PROTOCOL.sample_rate, warm_up=0)
        opened.prepare()

    @property
    def lag(self) -> int:
        """Samples by which the output lags the input, beside waiting for blocks to be full; NAL-R's included."""
        return self.latency + self._amplified

    @property
    def through(self) -> int:
        """The through-delay in samples: how late a sound reaches the ear if the computer takes no time."""
        return self.lag + self.block - 1

    def process(self, block: Signal) -> Signal:
        """The next block.

        Args:
            block: (self.block, 2), full scale +-1.

        Returns:
            (self.block, 2), clipped to +-1.

        Raises:
            SystemFailure: the system fails, or returns something that is not finite.
        """
        signals, took = self._stream.process(block.copy())
        lasts = self.block / PROTOCOL.sample_rate
        self._cpu.append(took.cpu / lasts)
        self._wall.append(took.wall / lasts)
        self.late += took.wall > lasts
        for signal in signals:
            if not np.isfinite(signal).all():
                raise SystemFailure(f"block {len(self._wall)} of its output is not finite (NaN or infinity)")
        made = signals[0] if self._chain is None else self._chain.process(dict(zip(STEMS, signals, strict=True)), block)
        self.clipped += int(np.count_nonzero(np.abs(made) > 1))
        return np.clip(made, -1, 1)

    def load(self, seconds: float | None = None) -> LoadRecord | None:
        """What the blocks took, as shares of the time that they last; None before the first one.

        Args:
            seconds: only the last ones of the music; None for all.
        """
        if not self._wall:
            return None
        last = 0 if seconds is None else -max(1, round(seconds * PROTOCOL.sample_rate / self.block))
        return load_of(np.array(self._cpu[last:]), np.array(self._wall[last:]))
