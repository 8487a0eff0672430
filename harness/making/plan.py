"""What is to be made: what lies in a submission's folder already, and which of it may stay.

`plan` looks and decides; `clear` then removes what may not stay. The manifest is written in between, so that whatever
interrupts this, no old file is taken for a new one.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness.errors import SubmissionError
from harness.files import sha256_of_all
from harness.music.evaluationset import EvaluationSet, Pair
from harness.submission.causality import LoadRecord
from harness.submission.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    CostRecord,
    FileRecord,
    Manifest,
    max_manifest_bytes,
    read_manifest,
)

log = logging.getLogger(__name__)

Overwrite = Literal["never", "missing", "always"]
"""What to do with a submission that is there: refuse to touch it, add what it lacks, or make everything anew."""


@dataclass(frozen=True)
class Plan:
    """What may stay, and what is to be made.

    Attributes:
        kept: records of the files that may stay, by name.
        todo: the selected pairs whose files are to be made.
        removed: names of files that have to go before any is made.
        added: what people have added to the manifest by hand, which stays with it.
        costs, loads: what the pieces cost of which files stay, and the load of their blocks, by name.
        batch: the most pieces that were separated at once for them; None: one by one.
    """

    kept: dict[str, FileRecord] = field(default_factory=dict)
    todo: tuple[Pair, ...] = ()
    removed: frozenset[str] = frozenset()
    added: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, CostRecord] = field(default_factory=dict)
    loads: Mapping[str, LoadRecord] = field(default_factory=dict)
    batch: int | None = None


def plan(
    manifest: Manifest, evaluation_set: EvaluationSet, folder: Path, overwrite: Overwrite, part: bool = False
) -> Plan:
    """Decide what may stay in a folder and what is to be made; nothing is changed.

    Args:
        manifest: of the system at hand.
        evaluation_set: its selected scenes are to be made.
        folder: the submission.
        overwrite: see `Overwrite`.
        part: whether other processes make the scenes that are not selected: of those that the same system has made
            nothing is looked at, nor said in the plan.

    Raises:
        SubmissionError: what is there may not be touched.
    """
    before = manifest_before(folder, evaluation_set, overwrite)
    if part and before is not None and not manifest.differences(before):
        return _of_part(before, evaluation_set, folder, overwrite)
    there = _there((name for pair in evaluation_set.all_pairs for name in pair.files), folder)
    if overwrite == "always":
        return _always(manifest, before, evaluation_set, folder, there)
    if before is None or not (there or before.files):
        _refuse_unknown(folder, there, overwrite)
        return _rest({}, evaluation_set)
    if overwrite == "never":
        raise SubmissionError(f"{folder} holds a submission and --overwrite is never: choose another --output")
    return _missing(manifest, before, evaluation_set, folder, there)


def manifest_before(folder: Path, evaluation_set: EvaluationSet, overwrite: Overwrite = "missing") -> Manifest | None:
    """The manifest that is there. With "always" a broken one counts as none.

    Raises:
        SubmissionError: it cannot be read.
    """
    count = sum(len(pair.files) for pair in evaluation_set.all_pairs)
    try:
        return read_manifest(folder, max(MAX_MANIFEST_BYTES, max_manifest_bytes(count)))
    except SubmissionError:
        if overwrite == "always":
            return None
        raise


def _there(names: Iterable[str], folder: Path) -> set[str]:
    return {name for name in names if os.path.lexists(folder / name)}  # a broken link is there as well


def _of_part(before: Manifest, evaluation_set: EvaluationSet, folder: Path, overwrite: Overwrite) -> Plan:
    """What is to be made of a part, where the same system has made others, or has begun to."""
    there = _there((name for pair in evaluation_set.pairs for name in pair.files), folder)
    if there and overwrite == "never":
        raise SubmissionError(f"{folder} holds files of this part and --overwrite is never: choose another --output")
    if overwrite == "always":
        return Plan({}, tuple(evaluation_set.pairs), frozenset(there), added(before))
    return replace(_rest(_intact(before, folder, there), evaluation_set), added=added(before))


def _refuse_unknown(folder: Path, there: set[str], overwrite: Overwrite) -> None:
    if there and overwrite == "never":
        raise SubmissionError(f"{folder} holds a submission and --overwrite is never: choose another --output")
    if there:
        raise SubmissionError(
            f"{folder} holds files of unknown origin (no {MANIFEST}): choose another --output, "
            "or replace them with --overwrite always"
        )


def _missing(
    manifest: Manifest, before: Manifest, evaluation_set: EvaluationSet, folder: Path, there: set[str]
) -> Plan:
    """Keep what the same system made."""
    differs = manifest.differences(before)
    if manifest.unidentified and differs == [UNIDENTIFIED]:
        log.info("what %s has learned cannot be identified, so its files are made again", manifest.system)
        return _always(manifest, before, evaluation_set, folder, there)
    if differs:
        why = f"was made by another system (these differ: {', '.join(differs)})"
        if differs == ["evaluation set"]:
            why = "is for another evaluation set"
        raise SubmissionError(f"{folder} {why}: choose another --output, or replace it with --overwrite always")
    kept = _intact(before, folder, there)
    return replace(_rest(kept, evaluation_set), added=added(before), **_measured(before, kept))


def added(before: Manifest) -> dict[str, str]:
    """What people have added to a manifest by hand: the harness never writes it."""
    names = ("team", "contact", "url", "paper", "description")
    return {name: value for name in names if (value := getattr(before, name)) is not None}


UNIDENTIFIED = "weights that could not be identified"


def _always(
    manifest: Manifest, before: Manifest | None, evaluation_set: EvaluationSet, folder: Path, there: set[str]
) -> Plan:
    """Keep only what the same system made of other scenes: another system's files may not be mixed with ours."""
    if before is None or before.key != manifest.key:
        return Plan({}, tuple(evaluation_set.pairs), frozenset(there))
    selected = {name for pair in evaluation_set.pairs for name in pair.files}
    kept = _intact(before, folder, there - selected)
    removed = frozenset(there & selected)
    return Plan(kept, tuple(evaluation_set.pairs), removed, added(before), **_measured(before, kept))


def _measured(before: Manifest, kept: Mapping[str, FileRecord]) -> dict[str, Any]:
    """What was measured when the files were made that stay."""
    return {"costs": before.costs, "loads": before.loads, "batch": before.batch} if kept else {}


def _intact(before: Manifest, folder: Path, names: set[str]) -> dict[str, FileRecord]:
    """The files that are as the manifest says."""
    # Only regular files: a link would be refused later, and a named pipe would have us wait for its writer.
    candidates = {folder / name: name for name in sorted(names & set(before.files))}
    hashes = sha256_of_all([path for path in candidates if path.is_file() and not path.is_symlink()])
    found = ((candidates[path], sha256) for path, sha256 in hashes.items())
    return {name: before.files[name] for name, sha256 in found if before.files[name].sha256 == sha256}


def _rest(kept: dict[str, FileRecord], evaluation_set: EvaluationSet) -> Plan:
    return Plan(kept, tuple(pair for pair in evaluation_set.pairs if not kept.keys() >= set(pair.files)))


def clear(folder: Path, names: Sequence[str] | frozenset[str]) -> None:
    """Remove files that may not stay."""
    for name in names:
        (folder / name).unlink()
