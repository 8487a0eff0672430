"""What a system returned, whatever that is."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from harness.apart.child import sendable


@dataclass(frozen=True)
class Unsent:
    """What a system returned in place of a signal, as a message goes on: "is a NoneType, ..."."""

    text: str


Returned = NDArray[Any] | Unsent
"""What a system returned: an array, of whatever shape and kind of numbers, or something else."""


def returned_from(value: Any) -> Returned:
    """What a system of this process returned, as it would come from a child."""
    sent = sendable(value, 2**40)
    return Unsent(described(sent)) if isinstance(sent, dict) else sent


def described(unsent: Any) -> str:
    """What a child says of something that it did not send (see `sendable`), in words that follow a name."""
    if isinstance(unsent, dict) and isinstance(unsent.get("shape"), list):
        shape = ", ".join(str(size)[:20] for size in unsent["shape"][:8])
        return f"has shape ({shape}), expected (samples, 2)"
    kind = str(unsent.get("is", "something"))[:100] if isinstance(unsent, dict) else "something"
    return f"is a {kind}, expected a NumPy array of floats"
