"""Driving a stranger's system: checking what it returns, and saying in one line why it failed."""

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from harness.apart.channel import Gone
from harness.apart.measuring import Cost
from harness.apart.running import Raised, Returned, Running, Unsent
from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, check_signal
from harness.errors import HarnessError, SystemFailure
from harness.music.evaluationset import Pair, Scene

log = logging.getLogger(__name__)


ANYTHING = (Exception, SystemExit)
"""A system in our own process is a stranger's code, and some libraries exit: whatever it raises is its failure."""


def stems_of(
    running: Running, kind: str | None, scene: Scene, mixture: Signal, hashes: Mapping[Path, str]
) -> tuple[dict[str, Signal] | None, Cost | None]:
    """The four stems that a separating system makes of a piece of music, and what it cost; None for an Enhancer.

    Args:
        kind: "separator", "enhancer" or "reference"; a reference is handed the true stems.

    Raises:
        SystemFailure: it fails, or returns something else than four stems like the mixture.
    """
    if kind == "enhancer":
        return None, None
    true_stems = scene.read_stems(hashes) if kind == "reference" else None
    returned, cost = running.separate(mixture, true_stems)
    stems = {name: _checked(stem, f"its stem {name}", len(mixture)) for name, stem in zip(STEMS, returned, strict=True)}
    if mixture.any() and not any(stem.any() for stem in stems.values()):
        raise SystemFailure("returned silence in all four stems")
    return {name: stem.astype(float) for name, stem in stems.items()}, cost


def enhanced_by(running: Running, mixture: Signal, pair: Pair) -> tuple[Signal, Cost | None]:
    """What an Enhancer makes of a mixture for one listener, and what it cost.

    Raises:
        SystemFailure: it fails, or returns something else than a signal as long as the mixture or NAL-R's tail longer.
    """
    returned, cost = running.enhance(mixture, pair.listener, pair.scene.gains)
    signal = _checked(returned, "its remix")
    longest = len(mixture) + PROTOCOL.nalr_order
    if not len(mixture) <= len(signal) <= longest:
        raise SystemFailure(f"its remix has {len(signal)} samples, expected {len(mixture)} to {longest}")
    if mixture.any() and not signal.any():
        raise SystemFailure("returned silence")
    return signal.astype(float), cost


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
    """One line that says why a pair of the system of that name failed."""
    log.debug("system %s failed", name, exc_info=error)
    text = " ".join(str(error).split())[:REASON_LENGTH]
    if isinstance(error, (Gone, Raised)):
        return f"system {name} {text}"
    if isinstance(error, SystemFailure):
        return f"system {name}: {text}"
    if isinstance(error, HarnessError):
        return text
    # Where in the system it happened helps its author more than where we called it.
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"system {name} raised {type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
