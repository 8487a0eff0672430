"""A system and an evaluation set become a submission: what is to be done, what is done already, and doing the rest.

Separation is done once for each piece of music, the remix once for each scene, amplification for each listener.
Every file that exists was written whole; the manifest says which files belong to the system at hand, and is
saved again and again, so that a run that was interrupted in any way resumes.
"""

import hashlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from harness.apart.running import Running
from harness.chain import Chain
from harness.challenge import CAD1, STEMS
from harness.enhancement import Signal, amplify, to_remix_format
from harness.errors import SubmissionError, SystemFailure, UsageError, first_problem
from harness.files import locked_folder, remove_leftovers, write_whole
from harness.making.driving import ANYTHING, Enhanced, Separated, enhanced, reason_for, stems_of
from harness.making.loads import load_of
from harness.making.plan import Overwrite, clear, plan
from harness.music.evaluationset import EvaluationSet, Pair, PairId, Scene
from harness.submission.causality import StreamingRecord
from harness.submission.flac import encode
from harness.submission.manifest import CostRecord, FileRecord, Manifest, manifest_for, write_manifest
from harness.submission.stems import stem_files
from harness.systems.streaming import is_causal

log = logging.getLogger(__name__)

Files = dict[str, tuple[bytes, int | None]]
"""Contents of the files of a pair by their names, and how many samples were clipped where that can be."""

SAVE_SECONDS = 5.0
"""The manifest is saved at most this often while files are written; a killed run repeats no more than that."""


@dataclass
class Enhancement:
    """What came of enhancing an evaluation set.

    Attributes:
        manifest: the submission's manifest, with all its files.
        made: pairs whose file was written now.
        kept: pairs whose file was there already.
        failures: the reason of every pair that has no file.
    """

    manifest: Manifest
    made: list[PairId] = field(default_factory=list)
    kept: list[PairId] = field(default_factory=list)
    failures: dict[PairId, str] = field(default_factory=dict)


def enhance(
    running: Running,
    manifest: Manifest,
    evaluation_set: EvaluationSet,
    folder: Path,
    *,
    overwrite: Overwrite = "missing",
    workers: int = 1,
    advance: Callable[[int, str], None] = lambda _count, _what: None,
) -> Enhancement:
    """Run a loaded system over the selected scenes and write their remixes to a submission folder.

    Args:
        running: the system, loaded.
        manifest: of it and of the evaluation set, with no files yet (`loaded_manifest`).
        evaluation_set: its selected scenes are enhanced.
        folder: the submission; made if need be, and held by one writer at a time.
        overwrite: what to do with a submission that is there: "missing" adds what it lacks, "always" makes
            everything anew, "never" refuses to touch it.
        workers: threads that amplify, encode and write; the system itself is asked for one piece at a time.
        advance: called with a number of finished pairs and what was just done.

    Raises:
        SubmissionError: the folder holds something else, or is being written by another process.
        StorageError: a file cannot be written.
    """
    result = Enhancement(manifest)
    with locked_folder(folder):
        for inner in sorted({folder for pair in evaluation_set.all_pairs for folder in _folders_of(pair)}):
            if (folder / inner).is_symlink():
                raise SubmissionError(
                    f"{folder / inner} is a link, and would lead what is written elsewhere: remove it"
                )
            remove_leftovers(folder / inner)
        planned = plan(result.manifest, evaluation_set, folder, overwrite)
        result.manifest = result.manifest.model_copy(update=dict(planned.added))
        result.manifest.files.update(planned.kept)
        result.manifest.costs.update(planned.costs)
        result.manifest.loads.update(planned.loads)
        result.kept += [pair.id for pair in evaluation_set.pairs if planned.kept.keys() >= set(pair.files)]
        # Before the first file: whatever stops us, and however early, the next run knows whose folder this is.
        write_manifest(folder, result.manifest)
        clear(folder, planned.removed)
        advance(len(result.kept), "already present")
        hashes = evaluation_set.hashes(["mixture", *STEMS] if manifest.reference else ["mixture"])
        by_music: dict[Path, list[Pair]] = defaultdict(list)
        for pair in planned.todo:
            by_music[pair.scene.folder].append(pair)
        saved = time.monotonic()
        try:
            with ThreadPoolExecutor(max_workers=workers) as pool:
                work = _Work(running, result.manifest, hashes, folder, pool)
                for pairs in by_music.values():
                    for pair, outcome in work.enhance_music(pairs):
                        if outcome is None:
                            result.made.append(pair.id)
                        else:
                            result.failures[pair.id] = outcome
                        advance(1, pair.scene.id)
                    if time.monotonic() - saved > SAVE_SECONDS:
                        write_manifest(folder, result.manifest)
                        saved = time.monotonic()
        finally:
            write_manifest(folder, result.manifest)
    return result


def _folders_of(pair: Pair) -> set[PurePosixPath]:
    """The folders in a submission that hold a pair's files, and those on the way, the submission itself among them."""
    return {parent for name in pair.files for parent in PurePosixPath(name).parents}


def loaded_manifest(
    running: Running, kind: str, evaluation_set: EvaluationSet, soft_clip: bool, chain: Chain = "baseline"
) -> Manifest:
    """Load a system: the manifest of what it makes of an evaluation set; no files yet.

    Args:
        running: the system, found.
        kind: "separator", "enhancer" or "reference".
        evaluation_set: what it will be run on.
        soft_clip: pass remixes through tanh before they are clipped, as the recipe's option of that name.
        chain: what follows separation.

    Raises:
        UsageError: a chain is chosen for an Enhancer, which has its own.
        SystemFailure: it cannot be loaded, or what it declares is not what a manifest may hold.
    """
    if evaluation_set.protocol == CAD1:
        _check_makes_stems(kind, soft_clip, chain)
    if kind == "enhancer" and chain != "baseline":
        raise UsageError(
            f"the {chain} chain is for systems that separate; an Enhancer owns its chain, from the mixture to the "
            "amplified remix: leave the chain out"
        )
    declared = running.load()
    try:
        streaming = declared.get("streaming")
        form = None if streaming is None else StreamingRecord.model_validate(streaming)
        # Not declared, since it can be found: a streaming system never has more than a block.
        found = {} if form is None else {"class": "causal" if is_causal(form.block) else "non-causal"}
        return manifest_for(
            {
                **declared,
                **found,
                # Not in the system's words: who is handed the true stems is a reference, and never ranked.
                "kind": kind,
                "reference": kind == "reference",
                "isolation": running.isolation,
                "python": running.python,
            },
            evaluation_set,
            soft_clip,
            chain,
        )
    except ValidationError as error:
        name = str(declared.get("system"))[:100]
        raise SystemFailure(f"system {name} declares itself wrongly: {first_problem(error)}") from None


def _check_makes_stems(kind: str, soft_clip: bool, chain: Chain) -> None:
    """Raise UsageError for what the first challenge has no place for."""
    if kind == "enhancer":
        raise UsageError(
            f"{CAD1.title}: eight stems are scored, and this system is an Enhancer, which returns a remix: run a "
            "Separator, or name an evaluation set of the other challenge with --data"
        )
    if chain != "baseline":
        raise UsageError(f"{CAD1.title}: stems are scored, and no remix, so there is no {chain} chain: leave it out")
    if soft_clip:
        raise UsageError(f"{CAD1.title}: every remix is passed through tanh: leave out --soft-clip")


class _Work:
    """One system at work on one submission."""

    def __init__(
        self, running: Running, manifest: Manifest, hashes: Mapping[Path, str], folder: Path, pool: ThreadPoolExecutor
    ) -> None:
        self.running, self.manifest, self.hashes = running, manifest, hashes
        self.folder, self.pool = folder, pool

    def enhance_music(self, pairs: Sequence[Pair]) -> Iterator[tuple[Pair, str | None]]:
        """Enhance all pairs of one piece of music; yields each pair with why it failed, None for one that is made."""
        by_scene: dict[Scene, list[Pair]] = defaultdict(list)
        for pair in pairs:
            by_scene[pair.scene].append(pair)
        first = pairs[0].scene
        try:
            mixture = first.read("mixture", self.hashes)
            kind, streaming = self.manifest.kind, self.manifest.streaming is not None
            separated = stems_of(self.running, kind, streaming, first, mixture, self.hashes)
        except ANYTHING as error:
            reason = reason_for(self.manifest.system, error)
            yield from ((pair, reason) for pair in pairs)
            return
        self._keep(first.song, separated)
        for scene, scene_pairs in by_scene.items():
            of_stems = scene.protocol == CAD1 and separated is not None
            remixed = None
            if separated is not None and not of_stems:
                remixed = separated.remix(self.manifest.chain, scene.gains, mixture)
            jobs = []
            for pair in scene_pairs:
                if separated is not None and of_stems:
                    jobs.append((pair, self.pool.submit(self._write, partial(stem_files, separated.stems, pair))))
                    continue
                if remixed is not None:
                    make = partial(amplify, remixed, pair.listener)
                else:
                    try:
                        made = enhanced(self.running, streaming, mixture, pair.listener, scene.gains)
                    except ANYTHING as error:
                        yield pair, reason_for(self.manifest.system, error)
                        continue
                    self._keep(" ".join(pair.id), made)
                    make = partial(np.asarray, made.signal)
                files = partial(_remix_file, make, pair, self.manifest.soft_clip)
                jobs.append((pair, self.pool.submit(self._write, files)))
            for pair, job in jobs:
                try:
                    job.result()
                except SystemFailure as error:
                    yield pair, reason_for(self.manifest.system, error)
                else:
                    yield pair, None

    def _keep(self, piece: str, made: Separated | Enhanced | None) -> None:
        if made is not None and made.cost is not None:
            self.manifest.costs[piece[:300]] = CostRecord(**vars(made.cost))
        if made is not None and made.streamed is not None:
            self.manifest.loads[piece[:300]] = load_of(made.streamed.cpu, made.streamed.wall)

    def _write(self, make: Callable[[], Files]) -> None:
        """Write a pair's files, and record each.

        Recorded here, by the thread that wrote it: who interrupts us stops the main thread, perhaps between the
        file and its record, and the file would be made again.
        """
        for name, (content, clipped) in make().items():
            write_whole(self.folder / name, content)
            self.manifest.files[name] = FileRecord(sha256=hashlib.sha256(content).hexdigest(), clipped=clipped)


def _remix_file(make: Callable[[], Signal], pair: Pair, soft_clip: bool) -> Files:
    """The remix of a pair. Raises SystemFailure if it is not finite, or silent."""
    signal = make()
    if not np.isfinite(signal).all():
        raise SystemFailure("its remix is not finite: what it returned is far too large")
    samples, clipped = to_remix_format(signal, soft_clip)
    if not samples.any():
        raise SystemFailure("its remix is silent: every sample is zero in 16 bit")
    return {pair.remix_name: (encode(samples), clipped)}
