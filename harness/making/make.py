"""A system and an evaluation set become a submission: what is to be done, what is done already, and doing the rest.

The pieces of music (`pieces`) are made by the system in this process's child, or by workers that each have one
(`remote`). Every file that exists was written whole; the manifest says which files belong to the system at hand, and is
saved again and again, so that a run that was interrupted in any way resumes (`writing`).
"""

import logging
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from harness.apart.running import Apart, Running
from harness.chain import Chain
from harness.challenge import CAD1, STEMS
from harness.compute.executor import Executor, Lost
from harness.errors import StorageError, SubmissionError, SystemFailure, UsageError, first_problem
from harness.files import remove_leftovers
from harness.making.batching import Batches
from harness.making.claims import Claim, claimed, held
from harness.making.pieces import Maker, Piece, pieces_of
from harness.making.plan import Overwrite
from harness.making.remote import Made, MakeTask, make_pieces, recipe_of
from harness.making.writing import Shared, Whole
from harness.music.evaluationset import EvaluationSet, Pair, PairId
from harness.music.parts import Part
from harness.submission.causality import StreamingRecord
from harness.submission.manifest import Manifest, manifest_for
from harness.systems.streaming import is_causal

log = logging.getLogger(__name__)

Outcome = TypeVar("Outcome")

Workers = Callable[[Sequence[Piece]], AbstractContextManager[Executor] | None]
"""Who makes these pieces of music, each worker with a system of its own; None: this process's own system does."""


@dataclass
class Enhancement:
    """What came of enhancing an evaluation set.

    Attributes:
        manifest: the submission's manifest, with all its files; of a part, with those of the part.
        made: pairs whose file was written now.
        kept: pairs whose file was there already.
        failures: the reason of every pair that has no file.
        logs: where workers have put what the system printed there.
    """

    manifest: Manifest
    made: list[PairId] = field(default_factory=list)
    kept: list[PairId] = field(default_factory=list)
    failures: dict[PairId, str] = field(default_factory=dict)
    logs: set[Path] = field(default_factory=set)


def enhance(
    running: Running,
    manifest: Manifest,
    evaluation_set: EvaluationSet,
    folder: Path,
    *,
    overwrite: Overwrite = "missing",
    workers: int = 1,
    part: Part | None = None,
    elsewhere: Workers = lambda _pieces: None,
    batch: int | None = None,
    advance: Callable[[int, str], None] = lambda _count, _what: None,
    say: Callable[[str], None] = lambda _line: None,
) -> Enhancement:
    """Run a loaded system over the selected scenes and write their remixes to a submission folder.

    Args:
        running: the system, loaded.
        manifest: of it and of the evaluation set, with no files yet (`loaded_manifest`).
        evaluation_set: its selected scenes are enhanced.
        folder: the submission; made if need be, and held by one writer at a time, or by several that write a part.
        overwrite: what to do with a submission that is there: "missing" adds what it lacks, "always" makes
            everything anew, "never" refuses to touch it.
        workers: threads that amplify, encode and write; the system itself is asked for one piece at a time.
        part: which part of the set the selected scenes are, where other processes write the others; None for a
            submission that this process alone writes.
        elsewhere: who else makes the pieces; `running` is closed then, which must be an `Apart`.
        batch: how many pieces of music the system may be handed at once, for one that can separate several; None: one.
            Which number up to this one is fastest is found on the first pieces.
        advance: called with a number of finished pairs and what was just done.
        say: called with what the user should know of the work, in one line.

    Raises:
        SubmissionError: the folder holds something else, or is being written by another process.
        StorageError: a file cannot be written.
        UsageError: it cannot be done by parts, or elsewhere.
        HarnessError: workers cannot be had, or are not fit for the work.
    """
    if part is not None and manifest.unidentified:
        raise UsageError(
            f"what {manifest.system} has learned cannot be identified, so nobody could tell that all parts are of one "
            "system: leave out --part"
        )
    result = Enhancement(manifest)
    with ExitStack() as stack:
        stack.enter_context(held(folder, part))
        for inner in sorted({folder for pair in evaluation_set.all_pairs for folder in _folders_of(pair)}):
            if (folder / inner).is_symlink():
                raise SubmissionError(
                    f"{folder / inner} is a link, and would lead what is written elsewhere: remove it"
                )
            if part is None:
                remove_leftovers(folder / inner)
        claim = None if part is None else stack.enter_context(claimed(folder, part))
        writing = Whole(folder, manifest, evaluation_set)
        if claim is not None:
            writing = Shared(claim, folder, manifest, evaluation_set)
        hashes = evaluation_set.hashes(["mixture", *STEMS] if manifest.reference else ["mixture"])
        planned = writing.plan(overwrite)
        pieces = pieces_of(planned.todo, hashes, manifest.reference)
        others = elsewhere(pieces) if pieces else None
        executor = None
        if others is not None:
            if not isinstance(running, Apart):
                raise UsageError(f"{manifest.system} runs in the harness's own process, and cannot be run elsewhere")
            if claim is None:
                claim = stack.enter_context(claimed(folder, None))
            executor = stack.enter_context(others)
        # From here on files go, and come.
        planned = writing.begin(planned, overwrite)
        result.manifest = writing.manifest
        result.kept += [pair.id for pair in evaluation_set.pairs if planned.kept.keys() >= set(pair.files)]
        advance(len(result.kept), "already present")
        pieces = pieces_of(planned.todo, hashes, manifest.reference)
        if batch is not None:
            # Those of one length beside each other: most systems can do only these together.
            pieces.sort(key=lambda piece: piece.scene.frames)
        work = _Work(writing, result, advance, say, batch)
        try:
            if executor is None:
                work.here(running, pieces, workers)
            elif isinstance(running, Apart) and claim is not None:
                work.elsewhere(running, pieces, executor, claim, workers)
        finally:
            writing.save()
    return result


@dataclass(frozen=True)
class _Work:
    """What is done with pieces of music, by whoever makes them."""

    writing: Whole
    result: Enhancement
    advance: Callable[[int, str], None]
    say: Callable[[str], None]
    batch: int | None

    def here(self, running: Running, pieces: Sequence[Piece], workers: int) -> None:
        """Make them by this process's own system."""
        manifest = self.writing.manifest
        with ThreadPoolExecutor(max_workers=workers) as pool:
            batches = None if self.batch is None else Batches(self.batch)
            maker = Maker(running, manifest, pool, self.writing.write, manifest.costs, manifest.loads, batches)
            done, said = 0, None
            while done < len(pieces):
                group = pieces[done : done + maker.at_once]
                try:
                    for pair, reason in maker.make(group):
                        self._ended(pair, reason)
                finally:
                    # Some of their files may be there, whatever has stopped us.
                    if batches is not None:
                        self.writing.batched(batches.largest)
                done += len(group)
                if batches is not None and batches.in_words != said:
                    said = batches.in_words
                    self.say(f"{manifest.system}: {said}")
                self.writing.save_sometimes()

    def elsewhere(
        self, running: Apart, pieces: Sequence[Piece], executor: Executor, claim: Claim, workers: int
    ) -> None:
        """Have them made by workers, whose files wait beside the submission."""
        manifest = self.writing.manifest
        # What it holds, and its GPU's memory, are now for the workers' systems.
        running.close()
        # Each time under another name: what a worker of an earlier command still writes is not for this one.
        staging = claim.folder / secrets.token_hex(8)
        try:
            staging.mkdir()
        except OSError as error:
            raise StorageError(f"cannot write {staging}: {error.strerror}; choose another --output") from error
        folder = self.writing.folder.absolute()
        threads = 1 if executor.far else max(1, workers // executor.workers)
        log = folder.with_name(f"{folder.name}.log")
        recipe = recipe_of(running, manifest, staging, log, threads, executor.far, self.batch)
        # Not so many in a task that some workers have none.
        count = max(1, min(self.batch or 1, len(pieces) // executor.workers))
        waiting = [MakeTask(recipe, tuple(pieces[at : at + count])) for at in range(0, len(pieces), count)]
        said = False
        while waiting:
            again: list[MakeTask] = []
            with _closing(executor.map_unordered(make_pieces, waiting)) as outcomes:
                for task, made in outcomes:
                    if not isinstance(made, Lost):
                        self._take(task, made, staging)
                        if made.batches is not None and not said:
                            said = True
                            self.say(f"{manifest.system}: {made.batches} (as a worker found; each finds its own)")
                    elif len(task.pieces) > 1:
                        # One of them it was; the others shall not suffer for it.
                        again += [MakeTask(recipe, (piece,)) for piece in task.pieces]
                    else:
                        reason = f"system {manifest.system}: {made.reason}"
                        lost = {pair.id: reason for pair in task.pieces[0].pairs}
                        self._take(task, Made(failures=lost), staging)
                    self.writing.save_sometimes()
            waiting = again

    def _take(self, task: MakeTask, made: Made, staging: Path) -> None:
        manifest = self.writing.manifest
        # Before the first of the files: something may stop us between two.
        self.writing.batched(made.largest)
        for name, (staged, record) in made.files.items():
            self.writing.adopt(name, staging / staged, record)
        manifest.costs.update(made.costs)
        manifest.loads.update(made.loads)
        if made.log is not None:
            self.result.logs.add(made.log)
        for piece in task.pieces:
            for pair in piece.pairs:
                self._ended(pair, made.failures.get(pair.id))

    def _ended(self, pair: Pair, reason: str | None) -> None:
        if reason is None:
            self.result.made.append(pair.id)
        else:
            self.result.failures[pair.id] = reason
        self.advance(1, pair.scene.id)


@contextmanager
def _closing(outcomes: Iterator[Outcome]) -> Iterator[Iterator[Outcome]]:
    """Have workers stop at once when something else than their end stops us: what they would write has no place."""
    try:
        yield outcomes
    finally:
        if isinstance(outcomes, Generator):
            outcomes.close()


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
