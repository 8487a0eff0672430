"""Driving a stranger's system: calling it, checking what it returns, and saying in one line why it failed."""

import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, check_signal
from harness.errors import HarnessError, SystemFailure
from harness.music.evaluationset import Pair, Scene
from harness.systems import Enhancer, Reference, Separator, System

log = logging.getLogger(__name__)


ANYTHING = (Exception, SystemExit)
"""A system is a stranger's code, and some libraries exit: whatever it raises is its failure, not ours."""


def stems_of(system: System, scene: Scene, mixture: Signal, hashes: Mapping[Path, str]) -> dict[str, Signal] | None:
    """The four stems that a separating system makes of a piece of music; None for an Enhancer."""
    if isinstance(system, Reference):
        found: Any = system.stems(scene.read_stems(hashes), PROTOCOL.sample_rate)
    elif isinstance(system, Separator):
        found = system.separate(mixture.copy(), PROTOCOL.sample_rate)
    else:
        return None
    try:
        stems = {name: np.asarray(found[name]) for name in STEMS}
    except (KeyError, IndexError, TypeError, ValueError):
        given = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise SystemFailure(f"must return a signal for each of {', '.join(STEMS)}; it returned {given}") from None
    for name, stem in stems.items():
        _check_output(stem, f"its stem {name}", len(mixture))
    if mixture.any() and not any(stem.any() for stem in stems.values()):
        raise SystemFailure("returned silence in all four stems")
    return {name: stem.astype(float) for name, stem in stems.items()}


def enhanced_by(system: System, mixture: Signal, pair: Pair) -> Signal:
    """What an Enhancer makes of a mixture for one listener."""
    if not isinstance(system, Enhancer):
        raise SystemFailure("is neither a Separator nor an Enhancer")
    gains = dict(pair.scene.gains)
    signal = system.enhance(mixture.copy(), PROTOCOL.sample_rate, pair.listener, gains)
    _check_output(signal, "its remix")
    longest = len(mixture) + PROTOCOL.nalr_order
    if not len(mixture) <= len(signal) <= longest:
        raise SystemFailure(f"its remix has {len(signal)} samples, expected {len(mixture)} to {longest}")
    if mixture.any() and not signal.any():
        raise SystemFailure("returned silence")
    return signal.astype(float)  # a copy: it is written while the system may use its own again


def _check_output(signal: Any, what: str, frames: int | None = None) -> None:
    try:
        check_signal(signal, what, frames)
    except ValueError as error:
        raise SystemFailure(str(error)) from None


REASON_LENGTH = 300


def reason_for(system: System, error: BaseException) -> str:
    """One line that says why a pair failed."""
    log.debug("system %s failed", system.name, exc_info=error)
    text = " ".join(str(error).split())[:REASON_LENGTH]
    if isinstance(error, HarnessError) and not isinstance(error, SystemFailure):
        return text
    if isinstance(error, SystemFailure):
        return f"system {system.name}: {text}"
    # Where in the system it happened helps its author more than where we called it.
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"system {system.name} raised {type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
