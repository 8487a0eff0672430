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

import gc
import math
import operator
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import PluginError, SystemFailure
from harness.systems.base import Enhancer, Reference, Separator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from harness.challenge import Gains
    from harness.enhancement import Signal
    from harness.hearing import Listener

ALLOWED = 220
"""Samples of look-ahead that the challenge allows: 5 ms at 44.1 kHz (ICASSP 2024 rules, section 4)."""

MAX_BLOCK = 65536
"""Samples; a block of more is no stream any more."""

MAX_LATENCY = 2**20
"""Samples: 24 s."""

TAIL = 220
"""Samples by which a remix may be longer than the music: NAL-R's order, as for every Enhancer."""

STEMS = ("vocals", "drums", "bass", "other")
"""As `harness.challenge.STEMS`, which is not there in other Python environments."""

WARM_UP = 1.0
"""Seconds of noise that a system hears before each piece of music: caches, compilers and late allocations have their
time then, and the first blocks of the music are like the others."""


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

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """Separate a whole piece by `prepare` and `process`. Final: a class that overrides it is refused.

        Args:
            mixture: (samples, 2), float64, full scale +-1.
            sample_rate: 44100.

        Returns:
            The stems, as of every `Separator`; the latency that `credited` gives is taken out.

        Raises:
            SystemFailure: a block's stems are not what they must be.
        """
        with OwnStream(self) as own:
            return dict(zip(STEMS, stream(own, mixture, sample_rate).signals))  # noqa: B905 (Python 3.8)


class StreamingEnhancer(Enhancer):
    """A system that owns the whole Enhancement block and works while the music is played.

    Attributes:
        block: as for `StreamingSeparator`.
        latency: as for `StreamingSeparator`, with all amplification included.
    """

    block: int = 64
    latency: int = 0

    @abstractmethod
    def prepare(self, sample_rate: int, block: int, channels: int, listener: Listener, gains: Gains) -> None:
        """Get ready for a piece of music and a listener: as `StreamingSeparator.prepare`.

        Args:
            sample_rate: 44100.
            block: samples in each block that follows.
            channels: 2.
            listener: the audiograms of both ears.
            gains: target gain of each stem in dB.
        """

    @abstractmethod
    def process(self, block: Signal) -> Signal:
        """Enhance the next block, while the music plays: against the clock.

        Args:
            block: (block, 2), float64, full scale +-1. A copy: it may be changed.

        Returns:
            An array of its shape, amplified.
        """

    def enhance(self, mixture: Signal, sample_rate: int, listener: Listener, gains: Gains) -> Signal:
        """Enhance a whole piece by `prepare` and `process`. Final: a class that overrides it is refused.

        Args:
            mixture: (samples, 2), float64, full scale +-1.
            sample_rate: 44100.
            listener: the audiograms of both ears.
            gains: target gain of each stem in dB.

        Returns:
            The remix, as of every `Enhancer`; the latency that `credited` gives is taken out, and what remains makes
            it longer than the mixture, by up to `TAIL` samples.

        Raises:
            SystemFailure: a block of the remix is not what it must be.
        """
        with OwnStream(self, listener, gains) as own:
            return stream(own, mixture, sample_rate, tail=TAIL).signals[0]


def is_streaming(system: Any) -> bool:
    """Whether a system, or a class of systems, works block by block."""
    kind = system if isinstance(system, type) else type(system)
    return issubclass(kind, (StreamingSeparator, StreamingEnhancer))


def check_streaming(kind: type[Any]) -> None:
    """Check a class of streaming systems; nothing is checked of another one.

    Raises:
        PluginError: it overrides what the harness's driver does, or is two kinds of systems at once.
    """
    if not is_streaming(kind):
        return
    if sum(issubclass(kind, base) for base in (Separator, Enhancer, Reference)) != 1:
        raise PluginError(
            f"system {kind.name} is two kinds of systems: derive it from StreamingSeparator or StreamingEnhancer alone"
        )
    base: Any = StreamingSeparator if issubclass(kind, StreamingSeparator) else StreamingEnhancer
    name = "separate" if base is StreamingSeparator else "enhance"
    if getattr(kind, name) is not getattr(base, name):
        raise PluginError(
            f"system {kind.name} overrides {name}(), which feeds a streaming system block by block: leave it out, and "
            "implement process()"
        )


def form_of(system: Any) -> tuple[int, int]:
    """Block and latency of a streaming system, in samples.

    Raises:
        SystemFailure: one of them is no integer, or out of range.
    """
    found = []
    for what, least, most in (("block", 1, MAX_BLOCK), ("latency", 0, MAX_LATENCY)):
        value = getattr(system, what)
        try:
            number = operator.index(value)
        except TypeError:
            number = -1
        if isinstance(value, bool) or not least <= number <= most:
            # A stranger's object may have a text without end.
            raise SystemFailure(f"{what} is {repr(value)[:40]}, expected an integer from {least} to {most} (samples)")
        found.append(number)
    return found[0], found[1]


def credited(block: int, latency: int) -> int:
    """Samples of latency that the harness takes out of the file: what the block leaves of the look-ahead allowed."""
    return max(0, min(latency, ALLOWED - (block - 1)))


def is_causal(block: int) -> bool:
    """Whether a streaming system with this block is causal by the challenge's rule; its latency never decides it."""
    return block - 1 <= ALLOWED


# ---- the driver -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Took:
    """What one block took, in seconds.

    Attributes:
        cpu: processor time, user and system, of all threads of the process that the system runs in.
        wall: by the clock on the wall.
    """

    cpu: float
    wall: float


class Stream(ABC):
    """One piece of music on its way through a streaming system, wherever that runs. A context manager: closes itself.

    Attributes:
        block: of the system, in samples.
        latency: the same.
        cost: what the music cost since the last `prepare` (`harness.apart.measuring.Cost`), after `close`; None where
            the system runs in this process.
    """

    block: int
    latency: int
    cost: Any = None

    @abstractmethod
    def prepare(self) -> None:
        """Have the system forget everything. Raises SystemFailure."""

    @abstractmethod
    def process(self, block: Signal) -> tuple[list[NDArray[Any]], Took]:
        """Hand over the next block and wait for what the system makes of it.

        Args:
            block: (block, 2), float64.

        Returns:
            The four stems in the order of `STEMS`, or one remix, each (block, 2) and float64, perhaps not finite; and
            what `process` of the system took.

        Raises:
            SystemFailure: it fails, or returns something else.
        """

    @abstractmethod
    def close(self) -> None:
        """End the piece. Nothing happens the second time."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OwnStream(Stream):
    """A piece of music through a streaming system of this process.

    Python's garbage is collected by `prepare` and then left alone until `close`, so that no block pays for it.

    Args:
        system: a StreamingSeparator or StreamingEnhancer, loaded.
        listener: for a StreamingEnhancer.
        gains: the same.

    Raises:
        SystemFailure: its block or latency is out of range.
    """

    def __init__(self, system: Any, listener: Listener | None = None, gains: Gains | None = None) -> None:
        self.block, self.latency = form_of(system)
        self._system = system
        self._separates = isinstance(system, StreamingSeparator)
        self._for = () if self._separates else (listener, dict(gains or {}))
        self._collects = False

    def prepare(self) -> None:
        self._system.prepare(SAMPLE_RATE, self.block, CHANNELS, *self._for)
        self._collects = self._collects or gc.isenabled()
        gc.collect()
        gc.disable()

    def process(self, block: Signal) -> tuple[list[NDArray[Any]], Took]:
        process = self._system.process
        wall, cpu = time.perf_counter(), time.process_time()
        found = process(block)
        took = Took(time.process_time() - cpu, time.perf_counter() - wall)
        if not self._separates:
            return [self._checked(found, "its remix")], took
        try:
            stems = [found[name] for name in STEMS]
        except (KeyError, IndexError, TypeError, ValueError):
            given = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise SystemFailure(
                f"process() must return a signal for each of {', '.join(STEMS)}; it returned {given[:200]}"
            ) from None
        return [self._checked(stem, f"its stem {name}") for name, stem in zip(STEMS, stems)], took  # noqa: B905

    def close(self) -> None:
        if self._collects:
            self._collects = False
            gc.enable()

    def _checked(self, signal: Any, what: str) -> NDArray[Any]:
        if not isinstance(signal, np.ndarray) or signal.dtype.kind != "f":
            found = f"{signal.dtype} array" if isinstance(signal, np.ndarray) else type(signal).__name__
            raise SystemFailure(f"{what} is a {found[:100]}, expected a NumPy array of floats")
        if signal.shape != (self.block, CHANNELS):
            raise SystemFailure(f"{what} has shape {signal.shape}, expected ({self.block}, {CHANNELS})")
        return np.asarray(signal, dtype=np.float64)


SAMPLE_RATE = 44100
CHANNELS = 2


@dataclass(frozen=True)
class Streamed:
    """What became of a piece of music, and what each of its blocks took.

    Attributes:
        signals: the four stems in the order of `STEMS`, or one remix, each (samples, 2); `credited` is taken out.
        block: of the system, in samples.
        latency: the same.
        credited: samples of the latency that were taken out.
        cpu: load of every block in turn, (blocks,): the seconds that it took (see `Took`) as a share of those
            that it lasts. None is left out, those of the silence after the music included.
        wall: the same by the clock on the wall.
    """

    signals: list[NDArray[Any]]
    block: int
    latency: int
    credited: int
    cpu: NDArray[Any]
    wall: NDArray[Any]

    @property
    def look_ahead(self) -> int:
        """L in samples: the output is no later than that behind the last sample that it may depend on."""
        return self.block - 1 + self.credited

    @property
    def delay(self) -> int:
        """D in samples: by how much the output lags the music."""
        return self.latency - self.credited

    @property
    def through(self) -> int:
        """L + D in samples: how late a sound reaches the ear if the computer takes no time."""
        return self.latency + self.block - 1


def stream(stream: Stream, mixture: Signal, sample_rate: int, warm_up: float = WARM_UP, tail: int = 0) -> Streamed:
    """Play a piece of music to a streaming system, block by block, and put together what it returns.

    The system gets a copy of each block when its time has come, and nothing else of the music. Before that it hears
    noise and is asked to forget it. The last block is filled up with silence, and silence follows the music until the
    latency that is credited has passed.

    Args:
        stream: opened for this piece; the caller closes it.
        mixture: (samples, 2), full scale +-1.
        sample_rate: 44100.
        warm_up: seconds of noise before.
        tail: samples by which what comes out may be longer than the music, where the output lags it.

    Returns:
        Signals of as many samples as the mixture, longer by the delay but by no more than `tail`.

    Raises:
        SystemFailure: the system fails, or returns for a block something else than it must; the message names the
            block.
    """
    size, frames = stream.block, len(mixture)
    taken_out = credited(size, stream.latency)
    wanted = frames + min(tail, stream.latency - taken_out)
    count = max(1, -(-(wanted + taken_out) // size))
    music = np.zeros((count * size, CHANNELS))
    music[:frames] = mixture
    lasts = size / sample_rate
    before = math.ceil(warm_up / lasts)
    noise = np.random.default_rng(0)
    stream.prepare()
    for number in range(before):
        # Never the piece itself, which would show its future.
        _next(stream, 0.1 * noise.standard_normal((size, CHANNELS)), f"block {number + 1} of {before} of noise")
    stream.prepare()
    made: list[NDArray[Any]] = []
    cpu, wall = np.empty(count), np.empty(count)
    for number in range(count):
        start = number * size
        where = f"block {number + 1} of {count}"
        # A copy: whoever holds a view can reach the whole by its `base`.
        signals, took = _next(stream, music[start : start + size].copy(), where)
        if not made:
            made = [np.empty_like(music) for _ in signals]
        for index, signal in enumerate(signals):
            made[index][start : start + size] = signal
            if not np.isfinite(signal).all():
                what = "its remix" if len(signals) == 1 else f"its stem {STEMS[index]}"
                raise SystemFailure(f"{what} holds values that are not finite (NaN or infinity) ({where})")
        cpu[number], wall[number] = took.cpu / lasts, took.wall / lasts
    cut = [signal[taken_out : taken_out + wanted] for signal in made]
    return Streamed(cut, size, stream.latency, taken_out, cpu, wall)


def _next(stream: Stream, block: Signal, where: str) -> tuple[Sequence[NDArray[Any]], Took]:
    try:
        return stream.process(block)
    except SystemFailure as error:
        error.args = (f"{error} ({where})",)
        raise
