"""The evaluation set that somebody names: the embedded one, or one on disk."""

from pathlib import Path

from harness.challenge import Protocol
from harness.errors import UsageError
from harness.files import expanded
from harness.music import demo
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load


def embedded(name: str, sha256: str) -> EvaluationSet | None:
    """The embedded evaluation set, if a set of this name and hash is that one; else None.

    Raises:
        DataError, StorageError: it cannot be built.
    """
    if name != demo.NAME:
        return None
    found = demo.demo()
    return found if found.sha256 == sha256 else None


def load_evaluation_set(
    data: str | Path = demo.NAME, split: str | None = None, protocol: Protocol | None = None
) -> EvaluationSet:
    """Load an evaluation set, with all its scenes selected.

    Args:
        data: "demo" for the embedded one, or the folder that holds `metadata/` and `audio/`.
        split: e.g. "valid"; may be left out where there is only one.
        protocol: by which it is to be scored; by default the one whose metadata is there.

    Raises:
        UsageError: there is no such folder or split, or the split has to be named.
        DataError: the set is damaged.
        StorageError: the embedded one cannot be built.
    """
    if data != demo.NAME:
        return load(expanded(str(data), "--data"), split, protocol=protocol)
    if split not in (None, demo.SPLIT):
        raise UsageError(f"the embedded evaluation set has no split {split!r}: name your own with --data ROOT")
    return demo.demo()
