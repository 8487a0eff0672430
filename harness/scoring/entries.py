"""Submissions and the runs that they belong to.

A run is found again by what made its files (the manifest's key). But that is only a declaration, so the files decide:

- Every file that the run knows is in the submission with the same content: it is this run. What it declares now takes
  the place of what it declared before, which goes into its history.
- The key is unknown, but a run of this very folder has the same files: it is that run, declared anew (a corrected
  manifest). Two folders with the same files stay two runs: one of them may be a copy.
- We made the files ourselves into this folder, with the same system, version and settings, and something else differs
  (retrained weights, edited code): the run's files are replaced.
- Anything else is another run, and nothing of what is there is touched.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.challenge import Protocol
from harness.errors import UsageError
from harness.files import canonical_sha256, sha256_of_all
from harness.music.evaluationset import EvaluationSet, Pair, PairId
from harness.scoring.classes import load_of
from harness.submission.forms import content
from harness.submission.manifest import Manifest
from harness.submission.validation import Verdict
from harness_leaderboard.records import PairRecord, PieceCost, RunRecord, RunStatus, StoredRun
from harness_leaderboard.store import Store

MAX_FILE_BYTES = 2**30
"""Nothing that is larger can be of a submission; it is not even hashed."""


MAX_NAME = 100
"""Characters of a run's name."""


def checked_name(name: str) -> str:
    """A run's name, if it can be one. Raises UsageError."""
    if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        raise UsageError(f"a run's name has 1 to {MAX_NAME} printable characters, and no spaces around it: {name!r}")
    if name.lstrip("#").isdigit():
        raise UsageError(f"{name!r} is a number, and runs have numbers already: choose another name")
    return name


@dataclass(frozen=True)
class Entry:
    """A submission that is to be scored.

    Attributes:
        verdict: of the submission.
        failures: pairs for which no file could be made, and why.
        replace: we made the selected files ourselves, so they take the place of those that this run had before.
        name: what its run is to be called, or None to leave that as it is.
        run_id: the run that it is known to belong to, or None to find out.
        part: only the selected pairs are looked at and scored here; others see to the rest, perhaps at this moment.
    """

    verdict: Verdict
    failures: Mapping[PairId, str] = field(default_factory=dict)
    replace: bool = False
    name: str | None = None
    run_id: int | None = None
    part: bool = False


@dataclass(frozen=True)
class Match:
    """The run that a submission belongs to.

    Attributes:
        before: as it is stored, or None if it has yet to be made.
        key: identity that it gets.
        why: what is declared anew, for the log; "" if nothing is.
        starts_anew: whether none of the files that it has may stay.
    """

    before: StoredRun | None
    key: str
    why: str = ""
    starts_anew: bool = False


def match(store: Store, entry: Entry, evaluation_set: EvaluationSet, fingerprint: str, taken: Collection[int]) -> Match:
    """Find the run of a submission: see the top of the module.

    Args:
        taken: runs of other submissions of the same command.
    """
    verdict = entry.verdict
    declared = _declared(verdict)
    if entry.run_id is not None:
        found = store.find_run(entry.run_id, fingerprint)
        if found.status.intact:
            return Match(found, found.run.key)
        others = {status.run.key for status in store.statuses() if status.id != found.id}
        return Match(found, declared if declared not in others else found.run.key, "it was changed outside the harness")
    statuses = [status for status in store.statuses() if status.evaluation_set.sha256 == evaluation_set.sha256]
    used = {status.run.key for status in statuses}
    candidates = [status for status in statuses if status.id not in taken]
    selected = {pair.remix_name for pair in evaluation_set.pairs}
    everything = {pair.remix_name for pair in evaluation_set.all_pairs}
    free = selected if entry.replace else set()
    # Of a part the rest of the files is hashed by others, and perhaps still to be made.
    elsewhere = everything - selected if entry.part else set()
    contents = _contents(verdict, evaluation_set.pairs if entry.part else evaluation_set.all_pairs)

    def same_files(run: StoredRun, ignored: Collection[str] = (), may_lack: bool = False) -> bool:
        """Whether the submission has every file that the run knows, with the same content."""
        return all(
            pair.file_sha256 in (None, contents.get(name)) or name in ignored or (may_lack and name not in contents)
            for name, pair in _by_name(run, evaluation_set.protocol).items()
            if name not in elsewhere
        )

    def stored(status: RunStatus) -> StoredRun:
        return store.find_run(status.id, fingerprint)

    here = str(verdict.source.resolve())
    label = verdict.label
    record = _declaration(run_record(declared, verdict, evaluation_set))

    def in_place(status: RunStatus) -> bool:
        """Whether a run's files came from this folder; of runs from before folders were stored, the name is known."""
        return status.run.folder == here or (status.run.folder is None and status.run.submission == label)

    for status in candidates:
        # The key is in the manifest, which anybody can copy: who declares something else must be where the run was.
        same = status.run.key == declared and (in_place(status) or _declaration(status.run) == record)
        if same and same_files(run := stored(status), free, entry.replace):
            return Match(run, declared, "declared anew")
    for status in candidates:
        if (
            in_place(status)
            and same_files(run := stored(status))
            and any(pair.file_sha256 for pair in run.pairs.values())
        ):
            key = declared if declared not in used else status.run.key
            return Match(run, key, "declared anew, with the same files")
    if entry.replace and verdict.manifest is not None:
        for status in candidates:
            if status.run.folder == here and _same_variant(status.run, verdict.manifest):
                key = declared if declared not in used else status.run.key
                return Match(stored(status), key, "its files were made anew", starts_anew=True)
    # All parts have to come to the same.
    which = here if entry.part else contents
    by_content = canonical_sha256({"declared": declared, "declaration": record, "files": which})
    for status in candidates:
        if status.run.key == by_content:
            return Match(stored(status), by_content)
    if declared not in used:
        return Match(None, declared)
    # The same declaration and the same files as another submission of this command: two runs all the same.
    return Match(None, by_content if by_content not in used else canonical_sha256([by_content, here]))


def _declaration(run: RunRecord) -> dict[str, Any]:
    """What a run declares, without what made its files and where they lie."""
    declared = {**vars(run), "settings": dict(run.settings)}
    return {name: value for name, value in declared.items() if name not in NOT_DECLARED}


NOT_DECLARED = ("key", "submission", "folder", "live", "chain", "causality", "load")
"""What made the files, where they lie, and what was found out about it; the chain is part of the key."""


def _same_variant(run: RunRecord, manifest: Manifest) -> bool:
    """Whether a run is of the same system, version and settings: one row for people, whatever it is made of."""
    ours = (manifest.system, manifest.version, manifest.settings)
    return (run.system, run.version, dict(run.settings)) == ours


def _by_name(run: StoredRun, protocol: Protocol) -> dict[str, PairRecord]:
    """The pairs of a run by their remixes' names, as `_contents` has them."""
    return {protocol.remix_name(*pair_id): pair for pair_id, pair in run.pairs.items()}


def _declared(verdict: Verdict) -> str:
    """Identity of what a submission says made it: by its manifest, or the folder's name without one."""
    return verdict.manifest.key if verdict.manifest else canonical_sha256({"submission": verdict.label})


def _contents(verdict: Verdict, pairs: Sequence[Pair]) -> dict[str, str]:
    """SHA-256 of what is in the folder for each of these pairs, by the names of the remixes."""
    others = {
        name: path
        for pair in pairs
        for name in pair.files
        if name not in verdict.hashes and _may_be_hashed(path := verdict.folder / name)
    }
    found = sha256_of_all(list(others.values()))
    hashes = {**{name: found[path] for name, path in others.items()}, **verdict.hashes}
    contents = {pair.remix_name: content(pair, hashes) for pair in pairs}
    return {name: sha256 for name, sha256 in contents.items() if sha256 is not None}


def _may_be_hashed(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE_BYTES


def run_record(key: str, verdict: Verdict, evaluation_set: EvaluationSet) -> RunRecord:
    """What a submission declares, as the leaderboard keeps it."""
    label = verdict.label
    manifest = verdict.manifest or undeclared(label, evaluation_set)
    return RunRecord(
        key=key,
        system=manifest.system,
        version=manifest.version,
        settings=manifest.settings,
        causal=manifest.class_ == "causal",
        parameters=manifest.parameters,
        training_data=manifest.training_data,
        licence=manifest.licence,
        weights_sha256=manifest.weights_sha256,
        not_eligible=manifest.why_not_eligible,
        reference=manifest.reference,
        submission=label,
        folder=str(verdict.source.resolve()),
        team=manifest.team,
        contact=manifest.contact,
        url=manifest.url,
        paper=manifest.paper,
        description=manifest.description,
        isolation=manifest.isolation,
        python=manifest.python,
        chain=manifest.chain,
        load=load_of(manifest),
    )


def costs_of(verdict: Verdict) -> list[PieceCost]:
    """What the pieces of music cost the system, as a submission says."""
    manifest = verdict.manifest
    return [] if manifest is None else [PieceCost(piece, **dict(cost)) for piece, cost in manifest.costs.items()]


def undeclared(folder: str, evaluation_set: EvaluationSet) -> Manifest:
    """Stands in for the manifest of a submission that has none: nothing is declared, so it cannot be ranked."""
    return Manifest.model_validate(
        {
            "format": 1,
            "system": folder[:100],
            "version": "?",
            "class": "non-causal",
            "training_data": "unknown",
            "evaluation_set": {"name": evaluation_set.name, "split": evaluation_set.split},
        }
    )
