"""What the author of an enhancement system imports: everything that a plugin needs, and nothing else."""

import pluggy

from harness.challenge import STEMS, Gains
from harness.enhancement import Signal, amplify, remix
from harness.errors import SystemFailure, UsageError, WeightsMissing
from harness.hearing import Audiogram, Listener
from harness.systems.base import (
    TRAINING_DATA,
    Enhancer,
    Reference,
    Separator,
    System,
    parse_options,
)
from harness.systems.options import Option
from harness.systems.streaming import (
    OwnStream,
    Stream,
    Streamed,
    StreamingEnhancer,
    StreamingSeparator,
    Took,
    stream,
)

hookimpl = pluggy.HookimplMarker("harness")
"""Marks a plugin's `register_systems`."""

__all__ = [
    "STEMS",
    "TRAINING_DATA",
    "Audiogram",
    "Enhancer",
    "Gains",
    "Listener",
    "Option",
    "OwnStream",
    "Reference",
    "Separator",
    "Signal",
    "Stream",
    "Streamed",
    "StreamingEnhancer",
    "StreamingSeparator",
    "System",
    "SystemFailure",
    "Took",
    "UsageError",
    "WeightsMissing",
    "amplify",
    "hookimpl",
    "parse_options",
    "remix",
    "stream",
]
