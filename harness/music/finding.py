"""The evaluation set that somebody names: an embedded one, or one on disk."""

from pathlib import Path

from harness.challenge import Protocol
from harness.errors import UsageError
from harness.files import expanded
from harness.music.demo import DEMO, SETS
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load

EMBEDDED: tuple[str, ...] = tuple(SETS)
"""Names of the embedded evaluation sets: "demo", "demo-kemar", "demo-cad1"."""


def embedded(name: str, sha256: str) -> EvaluationSet | None:
    """The embedded evaluation set, if a set of this name and hash is that one; else None.

    Raises:
        DataError, StorageError: it cannot be built.
    """
    if name not in SETS:
        return None
    found = SETS[name].load()
    return found if found.sha256 == sha256 else None


def load_evaluation_set(
    data: str | Path = DEMO.name, split: str | None = None, protocol: Protocol | None = None
) -> EvaluationSet:
    """Load an evaluation set, with all its scenes selected.

    Args:
        data: one of `EMBEDDED`, or the folder that holds `metadata/` and `audio/`.
        split: e.g. "valid"; may be left out where there is only one.
        protocol: by which it is to be scored; by default the one whose metadata is there.

    Raises:
        UsageError: there is no such folder or split, the split has to be named, or the embedded set is scored by
            another protocol.
        DataError: the set is damaged.
        StorageError: the embedded one cannot be built.
    """
    known = SETS.get(data) if isinstance(data, str) else None
    if known is None:
        return load(expanded(str(data), "--data"), split, protocol=protocol)
    if split not in (None, known.split):
        raise UsageError(
            f"the embedded evaluation set {known.name} has no split {split!r}, only {known.split!r}: "
            "leave --split out, or name your own set with --data ROOT"
        )
    found = known.load()
    if protocol not in (None, found.protocol):
        raise UsageError(
            f"the embedded evaluation set {known.name} is one of the {found.protocol.title}: leave --protocol out, "
            "or name your own set with --data ROOT"
        )
    return found
