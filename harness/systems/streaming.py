"""Systems for live music: they get the music block by block, and so never see a sample before its time.

A streaming system says how many samples it takes at a time (`block`) and by how many its output lags the input beside
that (`latency`). The harness hands it one block after another and puts its output together. So nobody need believe
that it is causal: what it returns for a block can depend on nothing that comes later.

Terms, in samples at 44.1 kHz; y is the output in the file, x the music:

- look-ahead L: the largest k for which y[n] depends on x[n + k];
- delay D: by how much the output in the file lags the music;
- through-delay L + D: how late a sound reaches the ear if the computer takes no time.

A block has to be full before it is processed, so its first sample waits for `block` - 1 others. The challenge allows
y[n] to use the music up to n + 220 (5 ms). What the block leaves of that takes latency out of the file again
(`credited`); the rest of the latency remains as delay. The through-delay is `latency` + `block` - 1 in any case.

This module also runs in other Python environments: Python 3.8, and nothing but NumPy.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from harness.systems.base import Enhancer, Separator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.challenge import Gains
    from harness.enhancement import Signal
    from harness.hearing import Listener

ALLOWED = 220
"""Samples of look-ahead that the challenge allows: 5 ms at 44.1 kHz (ICASSP 2024 rules, section 4)."""

MAX_BLOCK = 65536
"""Samples; a block of more is no stream any more."""


class StreamingSeparator(Separator):
    """A system that separates music while it is played.

    Attributes:
        block: samples that `process` takes at a time, 1 to `MAX_BLOCK`, always the same. More than 221 is not causal by
            the challenge's rule.
        latency: samples by which the stems lag the mixture, beside waiting for the block to be full. The harness
            measures it, and a system whose latency is another one fails.

    Both may be set on the instance in `__init__` or `load`. `causal` is not declared: it follows from `block`.
    """

    block: int = 64
    latency: int = 0

    @abstractmethod
    def prepare(self, sample_rate: int, block: int, channels: int) -> None:
        """Get ready for a piece of music: allocate everything, forget all that was heard before. No time limit.

        Args:
            sample_rate: 44100.
            block: samples in each block that follows.
            channels: 2.
        """

    @abstractmethod
    def process(self, block: Signal) -> Mapping[str, Signal]:
        """Separate the next block, while the music plays: against the clock.

        Args:
            block: (block, 2), float64, full scale +-1. A copy: it may be changed.

        Returns:
            For each of "vocals", "drums", "bass", "other" an array of the block's shape.
        """


class StreamingEnhancer(Enhancer):
    """A system that owns the whole Enhancement block and works while the music is played.

    Attributes:
        block, latency: as for `StreamingSeparator`; latency with all amplification included.
    """

    block: int = 64
    latency: int = 0

    @abstractmethod
    def prepare(self, sample_rate: int, block: int, channels: int, listener: Listener, gains: Gains) -> None:
        """Get ready for a piece of music and a listener: as `StreamingSeparator.prepare`.

        Args:
            listener: the audiograms of both ears.
            gains: target gain of each stem in dB.
        """

    @abstractmethod
    def process(self, block: Signal) -> Signal:
        """Enhance the next block, (block, 2), while the music plays; returns an array of its shape, amplified."""


def is_streaming(system: Any) -> bool:
    """Whether a system, or a class of systems, works block by block."""
    kind = system if isinstance(system, type) else type(system)
    return issubclass(kind, (StreamingSeparator, StreamingEnhancer))


def credited(block: int, latency: int) -> int:
    """Samples of latency that the harness takes out of the file: what the block leaves of the look-ahead allowed."""
    return max(0, min(latency, ALLOWED - (block - 1)))
