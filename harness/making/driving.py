"""Driving a stranger's system: checking what it returns, and saying in one line why it failed."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.apart.channel import Gone
from harness.apart.child import text_of
from harness.apart.measuring import Cost
from harness.apart.returned import Returned, Unsent
from harness.apart.running import Raised, Running
from harness.chain import Chain, remix_live
from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import Signal, check_signal, remix
from harness.errors import HarnessError, SystemFailure
from harness.hearing import Listener
from harness.music.evaluationset import Scene
from harness.systems.streaming import Streamed, stream
from harness.systems.torch import OUT_OF_MEMORY

log = logging.getLogger(__name__)


ANYTHING = (Exception, SystemExit)
"""A system in our own process is a stranger's code, and some libraries exit: whatever it raises is its failure."""


@dataclass(frozen=True)
class Separated:
    """What a separating system made of a piece of music.

    Attributes:
        stems: the four stems, each (samples, 2), float64.
        cost: what that cost; None where it was not measured.
        streamed: how it went block by block; None of a system that had the whole piece.
    """

    stems: dict[str, Signal]
    cost: Cost | None
    streamed: Streamed | None

    def remix(self, chain: Chain, gains: Gains, mixture: Signal) -> Signal:
        """The remix before amplification, (samples, 2).

        Args:
            chain: what follows separation.
            gains: target gain of each stem in dB.
            mixture: the music that was separated, (samples, 2).
        """
        if chain == "live":
            delay = 0 if self.streamed is None else self.streamed.delay
            return remix_live(self.stems, gains, mixture, delay)
        return remix(self.stems, gains, mixture)


@dataclass(frozen=True)
class Enhanced:
    """What an Enhancer made of a piece of music for one listener.

    Attributes:
        signal: the amplified remix, (samples, 2), float64: as long as the music, or NAL-R's tail longer.
        cost, streamed: as of `Separated`.
    """

    signal: Signal
    cost: Cost | None
    streamed: Streamed | None


def separated(
    running: Running,
    kind: str | None,
    streaming: bool,
    mixture: Signal,
    true_stems: Mapping[str, Signal] | None = None,
) -> Separated:
    """Have a separating system make the four stems of a piece of music, and check them.

    Args:
        running: the system, loaded.
        kind: "separator" or "reference".
        streaming: whether it works block by block.
        mixture: (samples, 2), float64.
        true_stems: for a reference, the stems that it is handed.

    Raises:
        SystemFailure: it fails, or returns something else than four stems like the mixture.
    """
    returned: Sequence[Returned]
    streamed = None
    if streaming:
        with running.open_stream() as opened:
            streamed = stream(opened, mixture, PROTOCOL.sample_rate)
        returned, cost = streamed.signals, opened.cost
    else:
        returned, cost = running.separate(mixture, true_stems if kind == "reference" else None)
    return Separated(_stems(returned, mixture), cost, streamed)


def separated_many(running: Running, mixtures: Sequence[Signal]) -> list[Separated | None]:
    """Have a separating system make the stems of several pieces of music at once, and check those of each.

    Args:
        running: the system, loaded; it separates several at once (`Found.many`).
        mixtures: each (samples, 2), float64.

    Returns:
        For each what was made of it, with its share of the costs by its length; None where it is not four stems like
        the mixture.

    Raises:
        SystemFailure: it fails as a whole; and in our own process, whatever it raises.
    """
    returned, cost = running.separate_many(mixtures)
    total = sum(len(mixture) for mixture in mixtures)
    found: list[Separated | None] = []
    for of_one, mixture in zip(returned, mixtures, strict=True):
        share = len(mixture) / total
        of_it = None
        if cost is not None:
            of_it = replace(cost, wall_seconds=share * cost.wall_seconds, cpu_seconds=share * cost.cpu_seconds)
        try:
            found.append(Separated(_stems(of_one, mixture), of_it, None))
        except SystemFailure:
            found.append(None)
    return found


def is_short_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, or the system's process ended for reasons of its own, which may be that."""
    text = text_of(error).lower()
    return isinstance(error, Gone | MemoryError) or "memoryerror" in text or any(each in text for each in OUT_OF_MEMORY)


def _stems(returned: Sequence[Returned], mixture: Signal) -> dict[str, Signal]:
    """The four stems that were returned for a mixture, float64. Raises SystemFailure."""
    stems = {name: _checked(stem, f"its stem {name}", len(mixture)) for name, stem in zip(STEMS, returned, strict=True)}
    if mixture.any() and not any(stem.any() for stem in stems.values()):
        raise SystemFailure("returned silence in all four stems")
    return {name: stem.astype(float) for name, stem in stems.items()}


def enhanced(running: Running, streaming: bool, mixture: Signal, listener: Listener, gains: Gains) -> Enhanced:
    """Have an Enhancer make its remix of a piece of music for a listener, and check it.

    Args:
        running: the system, loaded.
        streaming: whether it works block by block.
        mixture: (samples, 2), float64.
        listener: the audiograms of both ears.
        gains: target gain of each stem in dB.

    Raises:
        SystemFailure: it fails, or returns something else than a signal as long as the mixture or NAL-R's tail longer.
    """
    streamed = None
    returned: Returned
    if streaming:
        with running.open_stream(listener, gains) as opened:
            streamed = stream(opened, mixture, PROTOCOL.sample_rate, tail=PROTOCOL.nalr_order)
        returned, cost = streamed.signals[0], opened.cost
    else:
        returned, cost = running.enhance(mixture, listener, gains)
    signal = _checked(returned, "its remix")
    longest = len(mixture) + PROTOCOL.nalr_order
    if not len(mixture) <= len(signal) <= longest:
        raise SystemFailure(f"its remix has {len(signal)} samples, expected {len(mixture)} to {longest}")
    if mixture.any() and not signal.any():
        raise SystemFailure("returned silence")
    return Enhanced(signal.astype(float), cost, streamed)


def stems_of(
    running: Running, kind: str | None, streaming: bool, scene: Scene, mixture: Signal, hashes: Mapping[Path, str]
) -> Separated | None:
    """What a separating system makes of a scene's music; None for an Enhancer.

    Args:
        kind: "separator", "enhancer" or "reference"; a reference is handed the true stems.
        hashes: of the scene's files.

    Raises:
        SystemFailure: as `separated`.
    """
    if kind == "enhancer":
        return None
    true_stems = scene.read_stems(hashes) if kind == "reference" else None
    return separated(running, kind, streaming, mixture, true_stems)


def _checked(signal: Returned, what: str, frames: int | None = None) -> Signal:
    if isinstance(signal, Unsent):
        raise SystemFailure(f"{what} {signal.text}")
    try:
        check_signal(signal, what, frames)
    except ValueError as error:
        raise SystemFailure(str(error)) from None
    return np.asarray(signal)


REASON_LENGTH = 300


def reason_for(name: str, error: BaseException) -> str:
    """One line that says why a pair of the system of that name failed; no database refuses it."""
    log.debug("system %s failed", name, exc_info=error)
    text = _storable(text_of(error))[:REASON_LENGTH]
    if isinstance(error, (Gone, Raised)):
        return f"system {name} {text}"
    if isinstance(error, SystemFailure):
        return f"system {name}: {text}"
    if isinstance(error, HarnessError):
        return text
    # Where in the system it happened helps its author more than where we called it.
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno}"
    return _storable(f"system {name} raised {type(error).__name__}: {text} ({where})")


def _storable(text: str) -> str:
    """A stranger's text in one line, with escapes for what databases cannot hold: NUL, half a surrogate pair."""
    text = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    return " ".join(text.split())
