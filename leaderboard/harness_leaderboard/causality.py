"""What is known of a run's causality, and of the time that its blocks took: part of `records`.

Samples are at `SAMPLE_RATE`; y is the output, x the music:

- look-ahead: the largest k for which y[n] depends on x[n + k];
- delay: by how much y lags x;
- through-delay: both together, how late a sound reaches the ear if the computer takes no time.

A load is the time that a block of music took, as a share of the time that it lasts.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

SAMPLE_RATE = 44_100
"""Of the music, in Hz."""

Class = Literal["live", "causal", "non-causal"]
"""What a run competes as. Live runs are causal too."""

Basis = Literal["declared", "measured", "streamed"]
"""What a class rests on: somebody's word, changed futures of the music, or a system that never had the future."""

Verdict = Literal["causal", "not causal", "none"]
"""What came of it; "none" where it cannot be told."""

_WORDS: Mapping[str, tuple[object, ...]] = {
    "basis": ("measured", "streamed"),
    "verdict": ("causal", "not causal", "none"),
}


@dataclass(frozen=True)
class _Stored:
    """What is stored as a JSON object, with a key for each field."""

    @classmethod
    def of_json(cls, value: object) -> Self:
        """Read it.

        Raises:
            TypeError, ValueError: it is not what was stored.
        """
        names = {each.name for each in fields(cls)}
        if not isinstance(value, dict) or value.keys() != names:
            raise TypeError(f"no {cls.__name__.lower()}: {str(value)[:40]}")
        for each in fields(cls):
            _check(each.name, each.type, value[each.name])
        return cls(**value)

    def as_json(self) -> dict[str, Any]:
        """What is stored of it.

        Raises:
            TypeError, ValueError: it holds what JSON cannot say (NaN, infinity, objects).
        """
        found: dict[str, Any] = json.loads(json.dumps(vars(self), allow_nan=False))
        return found


@dataclass(frozen=True)
class Causality(_Stored):
    """The verdict on a run's causality.

    Attributes:
        basis: how it was found; what somebody merely declares is no verdict.
        verdict: see `Verdict`.
        reason: the verdict in words.
        look_ahead: samples, 0 or more; None for the whole piece, and where it is not known.
        whole_piece: whether the output depends on statistics of the whole piece.
        delay: samples, 0 or more, None where it is not known.
        through: samples, 0 or more, None where it is not known.
        cuts: at how many places the future was changed.
        evidence: the rest, as JSON values. "levels", if there, is the look-ahead in samples (None: not seen) by the
            threshold in dB below the output's peak ("-40").
    """

    basis: Literal["measured", "streamed"]
    verdict: Verdict
    reason: str
    look_ahead: int | None
    whole_piece: bool
    delay: int | None
    through: int | None
    cuts: int
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def levels(self) -> dict[str, int | None]:
        """The look-ahead in samples by threshold, the most sensitive first; empty where it is not known."""
        found = self.evidence.get("levels")
        if not isinstance(found, dict):
            return {}
        known = {str(level): samples for level, samples in found.items() if samples is None or isinstance(samples, int)}
        try:
            return dict(sorted(known.items(), key=lambda item: float(item[0])))
        except ValueError:
            return {}


@dataclass(frozen=True)
class Load(_Stored):
    """The load of a run's blocks, over all pieces of music; none is left out.

    Attributes:
        block: samples of a block.
        blocks: how many there were.
        cpu_p50: the median of the pieces' medians. "cpu" is processor time: what the system needs, of one core.
        cpu_p99: the largest of the pieces' 99th percentiles.
        cpu_worst: of the worst block.
        cpu_late: how many blocks had a load over 1.
        wall_p50, wall_p99, wall_worst, wall_late: the same by the clock on the wall: what the machine gave.
        processor: its name.
    """

    block: int
    blocks: int
    cpu_p50: float
    cpu_p99: float
    cpu_worst: float
    cpu_late: int
    wall_p50: float
    wall_p99: float
    wall_worst: float
    wall_late: int
    processor: str


def _check(name: str, kind: object, value: object) -> None:
    """Raise ValueError if a field cannot have this value."""
    if name in _WORDS:
        good = value in _WORDS[name]
    elif kind is str or kind is bool:
        good = type(value) is kind
    elif kind is float:
        good = type(value) in (int, float) and 0 <= value < math.inf  # type: ignore[operator]
    elif kind in (int, int | None):
        good = (value is None and kind is not int) or (type(value) is int and value >= 0)
    else:
        good = isinstance(value, dict)
    if not good:
        raise ValueError(f"{name} cannot be {str(value)[:40]!r}")
