"""What a loaded system says of itself, in its own words.

This module also runs in other Python environments: Python 3.8, and nothing but NumPy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.systems.base import Reference
from harness.systems.streaming import form_of, is_causal, is_streaming

if TYPE_CHECKING:
    from harness.systems.base import System


def class_of(system: System | type[System]) -> str:
    """The challenge's class, "causal" or "non-causal", as declared; of a streaming system it follows from its block."""
    causal = is_causal(system.block) if is_streaming(system) else system.causal  # type: ignore[union-attr]
    return "causal" if causal else "non-causal"


def words_of(system: System) -> dict[str, Any]:
    """What a loaded system says of itself, by keys of the manifest; unchecked, and without what it is made of.

    Raises:
        SystemFailure: the block or the latency of a streaming system is out of range.
    """
    streaming = None
    if is_streaming(system):
        block, latency = form_of(system)
        streaming = {"block": block, "latency": latency}
    return {
        "system": system.name,
        "version": system.version,
        "class": class_of(system),
        "training_data": system.training_data,
        "licence": system.licence,
        "parameters": system.parameters,
        # A path says where something lies on this machine; what lies there is hashed.
        "settings": {name: value.name if isinstance(value, Path) else value for name, value in system.settings.items()},
        "not_eligible": system.not_eligible,
        "reference": isinstance(system, Reference),
        "streaming": streaming,
        "measure": bool(system.measure_look_ahead),
    }
