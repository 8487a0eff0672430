"""A submission while it is written: its files, and its manifest, which is saved again and again.

Whatever stops us, every file that exists was written whole, and the manifest says which of them belong to the system at
hand: the next run goes on. Several processes that each write a part share one manifest, to which they add in turn.
"""

import hashlib
import secrets
import time
from pathlib import Path

from harness.errors import StorageError, SubmissionError
from harness.files import write_whole
from harness.making.claims import Claim
from harness.making.plan import Overwrite, Plan, added, clear, manifest_before, plan
from harness.music.evaluationset import EvaluationSet
from harness.submission.manifest import FileRecord, Manifest, write_manifest

SAVE_SECONDS = 5.0
"""The manifest is saved at most this often while files are written; a killed run repeats no more than that."""

SAVE_SHARE = 20
"""Saving, and waiting for one's turn to save, takes at most one part in so many of the time."""


class Whole:
    """A submission that this process alone writes.

    Args:
        folder: the submission, held.
        manifest: of the system at hand, with no files yet; it becomes that of the submission (`manifest`).
        evaluation_set: its selected scenes are written.
    """

    def __init__(self, folder: Path, manifest: Manifest, evaluation_set: EvaluationSet) -> None:
        self.folder, self.manifest, self.evaluation_set = folder, manifest, evaluation_set
        self._saved, self._took = time.monotonic(), 0.0

    def plan(self, overwrite: Overwrite) -> Plan:
        """Decide what is to be made; nothing is changed yet.

        Raises:
            SubmissionError: what is there may not be touched.
        """
        return plan(self.manifest, self.evaluation_set, self.folder, overwrite)

    def begin(self, planned: Plan, overwrite: Overwrite) -> Plan:
        """Remove what may not stay, and record what may; what is to be made now.

        Args:
            planned: what `plan` has said for the same `overwrite`.

        Raises:
            SubmissionError: others have begun something meanwhile that may not be touched.
        """
        del overwrite
        self._take(planned)
        # Before the first file: whatever stops us, and however early, the next run knows whose folder this is.
        self.save()
        clear(self.folder, planned.removed)
        return planned

    def _take(self, planned: Plan) -> None:
        self.manifest = self.manifest.model_copy(update=dict(planned.added))
        self.manifest.files.update(planned.kept)
        self.manifest.costs.update(planned.costs)
        self.manifest.loads.update(planned.loads)
        self.batched(planned.batch)

    def batched(self, count: int | None) -> None:
        """Record that so many pieces of music were separated at once."""
        self.manifest.batch = _largest(self.manifest.batch, count)

    def write(self, name: str, content: bytes, clipped: int | None) -> None:
        """Write a file of the submission, whole, and record it. Raises StorageError."""
        write_whole(self.folder / name, content)
        self.manifest.files[name] = FileRecord(sha256=hashlib.sha256(content).hexdigest(), clipped=clipped)

    def adopt(self, name: str, unfinished: Path, record: FileRecord) -> None:
        """Give a file that was written whole elsewhere, on the same file system, its name, and record it.

        Raises:
            StorageError: it cannot be.
        """
        target = self.folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.replace(target)
        except OSError as error:
            raise StorageError(
                f"cannot write {target}: {error.strerror or error}; run the same command again: it continues"
            ) from error
        self.manifest.files[name] = record

    def save(self) -> None:
        """Write the manifest. Raises StorageError."""
        started = time.monotonic()
        self._save()
        self._saved = time.monotonic()
        self._took = self._saved - started

    def _save(self) -> None:
        write_manifest(self.folder, self.manifest)

    def save_sometimes(self) -> None:
        """Write the manifest if that was some time ago."""
        if time.monotonic() - self._saved > max(SAVE_SECONDS, SAVE_SHARE * self._took):
            self.save()


class Shared(Whole):
    """A submission of which this process writes a part: the files of the selected scenes.

    Args:
        claim: our place beside it.
        folder, manifest, evaluation_set: as of `Whole`; the manifest comes to hold the files of this part.
    """

    def __init__(self, claim: Claim, folder: Path, manifest: Manifest, evaluation_set: EvaluationSet) -> None:
        super().__init__(folder, manifest, evaluation_set)
        self._claim = claim
        self._ours = {name for pair in evaluation_set.pairs for name in pair.files}

    def plan(self, overwrite: Overwrite) -> Plan:
        return plan(self.manifest, self.evaluation_set, self.folder, overwrite, part=True)

    def begin(self, planned: Plan, overwrite: Overwrite) -> Plan:
        with self._claim.turn():
            before = manifest_before(self.folder, self.evaluation_set, overwrite)
            same = before is not None and before.key == self.manifest.key
            # Others may have begun since: what they have made is no longer to be removed. What is kept of this part
            # nobody else touches, and to look at it takes long.
            if not (same and planned.kept):
                planned = self.plan(overwrite)
            self._take(planned)
            # What another system made is gone, or there was nothing.
            write_manifest(self.folder, self._with(before) if same and before is not None else self.manifest)
            clear(self.folder, planned.removed)
        return planned

    def write(self, name: str, content: bytes, clipped: int | None) -> None:
        # Not yet in the submission: what is left there unfinished, nobody but the only writer may remove.
        unfinished = self._claim.folder / secrets.token_hex(16)
        write_whole(unfinished, content)
        self.adopt(name, unfinished, FileRecord(sha256=hashlib.sha256(content).hexdigest(), clipped=clipped))

    def _save(self) -> None:
        with self._claim.turn():
            before = manifest_before(self.folder, self.evaluation_set)
            if before is None or before.key != self.manifest.key:
                raise SubmissionError(
                    f"{self.folder} was replaced by another system's submission meanwhile: choose another --output"
                )
            write_manifest(self.folder, self._with(before))

    def _with(self, before: Manifest) -> Manifest:
        """Our manifest with what the others have made."""
        others = {name: record for name, record in before.files.items() if name not in self._ours}
        update = {
            **added(before),
            "files": others | self.manifest.files,
            "costs": before.costs | self.manifest.costs,
            "loads": before.loads | self.manifest.loads,
            "batch": _largest(before.batch, self.manifest.batch),
        }
        if before.causality is not None and before.causality.verdict == "not causal":
            # Whoever found that has shown it.
            return self.manifest.model_copy(update={**update, "causality": before.causality})
        return self.manifest.model_copy(update=update)


def _largest(*batches: int | None) -> int | None:
    """Of numbers of pieces that were separated at once, None being one; None if it is that."""
    largest = max(batch or 1 for batch in batches)
    return largest if largest > 1 else None
