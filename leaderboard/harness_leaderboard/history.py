"""What was done to runs, and what they declared before: plain frozen dataclasses, as those of `records`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OldDeclaration:
    """What a run declared until `replaced_at`; `intact` says whether the harness wrote this."""

    run: Mapping[str, Any]
    replaced_at: str
    intact: bool = True


@dataclass(frozen=True)
class Event:
    """Something that was done to a run: when, what, and why.

    Attributes:
        what: "entered", "declared anew", "replaced", "renamed", "hidden", "unhidden", "removed", "restored",
            "rescored", "audited", "imported" or "changes dropped".
        details: more of it, as JSON values.
        intact: whether the harness wrote this.
    """

    at: str
    run_id: int | None
    what: str
    why: str
    details: Mapping[str, Any]
    intact: bool = True
