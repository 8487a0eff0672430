"""Small streaming systems for tests, as a plugin: `--plugin tests/streamers.py --system bands`."""

from typing import Any

import numpy as np

from harness.systems import STEMS, Option, StreamingEnhancer, StreamingSeparator, hookimpl


class Late:
    """A stereo delay line."""

    def __init__(self, samples: int) -> None:
        self.waiting = np.zeros((samples, 2))

    def __call__(self, block: Any) -> Any:
        together = np.concatenate([self.waiting, block])
        self.waiting = together[len(block) :]
        return together[: len(block)]


class Bands(StreamingSeparator):
    """The bass is what a one-pole filter leaves, the rest is shared out, all of it late; the sum is the music."""

    name = "bands"
    version = "1"
    training_data = "none"
    licence = "none"
    options = (
        Option("block", int, 64, "samples", minimum=1, maximum=65536),
        Option("late", int, 0, "samples", minimum=0, maximum=10_000),
        Option("broken_after", int, -1, "blocks after which it returns NaN; -1 never", minimum=-1),
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.block, self.latency = self.settings["block"], self.settings["late"]

    def prepare(self, sample_rate: int, block: int, channels: int) -> None:
        self.low, self.count, self.line = np.zeros((1, channels)), 0, Late(self.latency)

    def process(self, block: Any) -> Any:
        from scipy.signal import lfilter

        block = self.line(block)
        low, self.low = lfilter([0.05], [1, -0.95], block, axis=0, zi=self.low)
        self.count += 1
        if 0 <= self.settings["broken_after"] < self.count:
            low[0] = np.nan
        rest = (block - low) / 3
        return {name: low if name == "bass" else rest for name in STEMS}


class Louder(StreamingEnhancer):
    """Applies the vocals' gain to everything, at once."""

    name = "louder"
    version = "1"
    training_data = "none"
    licence = "none"
    block = 100

    def prepare(self, sample_rate: int, block: int, channels: int, listener: Any, gains: Any) -> None:
        self.factor = 10 ** (gains["vocals"] / 20)

    def process(self, block: Any) -> Any:
        return self.factor * block


@hookimpl
def register_systems(register: Any) -> None:
    register(Bands)
    register(Louder)
