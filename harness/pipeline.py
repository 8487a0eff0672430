"""The main job: what is to be done, what is done already, and doing the rest.

Separation is done once for each piece of music, the remix once for each scene, amplification for each listener.
Every file that exists was written whole; the manifest says which files belong to the system at hand, and is
saved again and again, so that a run that was interrupted in any way goes on where it stopped.
"""

import contextlib
import hashlib
import logging
import math
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, check_signal, remix, to_remix_format
from harness.errors import EvaluatorError, HarnessError, SubmissionError, SystemFailure, first_problem
from harness.evaluationset import EvaluationSet, Pair, PairId, Scene
from harness.executors import map_unordered
from harness.files import locked_folder, remove_leftovers, sha256_of_all, write_whole
from harness.haaqi import fast
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.submission import (
    MANIFEST,
    FileRecord,
    Manifest,
    encode,
    manifest_for,
    read_manifest,
    read_remix,
    write_manifest,
)
from harness.systems import Enhancer, Reference, Separator, System
from leaderboard.records import Engine

Overwrite = Literal["never", "missing", "always"]
log = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
"""The manifest is saved at most this often while files are written; a killed run repeats no more than that."""


_ANYTHING = (Exception, SystemExit)
"""A system is a stranger's code, and some libraries exit: whatever it raises is its failure, not ours."""


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
    system: System,
    evaluation_set: EvaluationSet,
    folder: Path,
    *,
    overwrite: Overwrite = "missing",
    soft_clip: bool = False,
    workers: int = 1,
    advance: Callable[[int, str], None] = lambda _count, _what: None,
) -> Enhancement:
    """Run a loaded system over the selected scenes and write their remixes to a submission folder.

    Args:
        system: after `load()`.
        evaluation_set: its selected scenes are enhanced.
        folder: the submission; made if need be, and held by one writer at a time.
        overwrite: what to do with a submission that is there: "missing" adds what it lacks, "always" makes
            everything anew, "never" refuses to touch it.
        soft_clip: tanh before clipping, as the recipe's option of that name.
        workers: threads that amplify, encode and write; the system itself runs in one.
        advance: called with a number of finished pairs and what was just done.

    Raises:
        SubmissionError: the folder holds something else, or is being written by another process.
        StorageError: a file cannot be written.
    """
    result = Enhancement(_manifest(system, evaluation_set, soft_clip))
    with locked_folder(folder):
        remove_leftovers(folder)
        todo = _prepare(result, evaluation_set, folder, overwrite)
        # Before the first file: whatever stops us, and however early, the next run knows whose folder this is.
        write_manifest(folder, result.manifest)
        advance(len(result.kept), "already there")
        hashes = evaluation_set.hashes(["mixture", *STEMS] if isinstance(system, Reference) else ["mixture"])
        by_music: dict[Path, list[Pair]] = defaultdict(list)
        for pair in todo:
            by_music[pair.scene.folder].append(pair)
        saved = time.monotonic()
        try:
            with ThreadPoolExecutor(max_workers=workers) as pool:
                for pairs in by_music.values():
                    for pair, outcome in _enhance_music(system, pairs, hashes, folder, soft_clip, pool):
                        if isinstance(outcome, FileRecord):
                            result.manifest.files[pair.remix_name] = outcome
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


def _manifest(system: System, evaluation_set: EvaluationSet, soft_clip: bool) -> Manifest:
    """The manifest of a loaded system, which declares itself in a stranger's words."""
    try:
        return manifest_for(system, evaluation_set, soft_clip)
    except HarnessError:
        raise
    except ValidationError as error:
        raise SystemFailure(f"system {system.name} declares itself wrongly: {first_problem(error)}") from None
    except _ANYTHING as error:
        raise SystemFailure(_reason(system, error)) from error


def _prepare(result: Enhancement, evaluation_set: EvaluationSet, folder: Path, overwrite: Overwrite) -> list[Pair]:
    """Find out what is there already; returns the pairs that are still to be made."""
    known = {pair.remix_name for pair in evaluation_set.all_pairs}
    there = {path.name for path in folder.iterdir()} & known
    before = None
    if overwrite != "always":
        before = read_manifest(folder)
        if overwrite == "never" and (there or (before is not None and before.files)):
            raise SubmissionError(f"{folder} holds a submission and --overwrite is never: choose another --output")
        if before is None and there:
            raise SubmissionError(
                f"{folder} holds remixes of unknown origin (no {MANIFEST}): choose another --output, "
                "or replace them with --overwrite always"
            )
        if before is not None and before.key != result.manifest.key and (there or before.files):
            now, then = result.manifest.identity, before.identity
            differs = ", ".join(part for part in now if now[part] != then[part])
            raise SubmissionError(
                f"{folder} was made by another system (its {differs} differ): choose another --output, "
                "or replace it with --overwrite always"
            )
    else:
        with contextlib.suppress(SubmissionError):  # a broken manifest is replaced as well
            before = read_manifest(folder)
        # What the same system made of other scenes may stay; another system's files may not be mixed with ours.
        same = before is not None and before.key == result.manifest.key
        replaced = {pair.remix_name for pair in evaluation_set.pairs} & there if same else there
        there = there - replaced
        if before is not None and same:
            result.manifest.files.update((name, before.files[name]) for name in there & set(before.files))
        # First the manifest, then the files: whatever interrupts this, no old file is taken for a new one.
        write_manifest(folder, result.manifest)
        for name in replaced:
            (folder / name).unlink()
        result.manifest.files.clear()
    if before is not None:
        # Only regular files: a link would be refused later, and a named pipe would have us wait for its writer.
        candidates = [folder / name for name in sorted(there & set(before.files))]
        hashes = sha256_of_all([path for path in candidates if path.is_file() and not path.is_symlink()])
        result.manifest.files.update(
            (path.name, before.files[path.name])
            for path, sha256 in hashes.items()
            if before.files[path.name].sha256 == sha256
        )
    todo = []
    for pair in evaluation_set.pairs:
        if pair.remix_name in result.manifest.files:
            result.kept.append(pair.id)
        else:
            todo.append(pair)
    return todo


def _enhance_music(
    system: System,
    pairs: Sequence[Pair],
    hashes: Mapping[Path, str],
    folder: Path,
    soft_clip: bool,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Pair, FileRecord | str]]:
    """Enhance all pairs of one piece of music; yields each pair with its file's record, or why it failed."""
    by_scene: dict[Scene, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_scene[pair.scene].append(pair)
    first = pairs[0].scene
    try:
        mixture = first.read("mixture", hashes)
        stems = _stems(system, first, mixture, hashes)
    except _ANYTHING as error:
        reason = _reason(system, error)
        yield from ((pair, reason) for pair in pairs)
        return
    for scene, scene_pairs in by_scene.items():
        remixed = None if stems is None else remix(stems, scene.gains, mixture)
        jobs = []
        for pair in scene_pairs:
            if remixed is not None:
                make = partial(amplify, remixed, pair.listener)
            else:
                # An Enhancer runs here, in one thread; only what the harness does goes to the pool.
                try:
                    make = partial(np.asarray, _enhanced(system, mixture, pair))
                except _ANYTHING as error:
                    yield pair, _reason(system, error)
                    continue
            jobs.append((pair, pool.submit(_write, make, folder / pair.remix_name, soft_clip)))
        for pair, job in jobs:
            try:
                outcome: FileRecord | str = job.result()
            except SystemFailure as error:
                outcome = _reason(system, error)
            yield pair, outcome


def _write(make: Callable[[], Signal], path: Path, soft_clip: bool) -> FileRecord:
    signal = make()
    if not np.isfinite(signal).all():
        raise SystemFailure("its remix is not finite: what it returned is far too large")
    samples, clipped = to_remix_format(signal, soft_clip)
    if not samples.any():
        raise SystemFailure("its remix is silent: every sample is zero in 16 bit")
    content = encode(samples)
    write_whole(path, content)
    return FileRecord(sha256=hashlib.sha256(content).hexdigest(), clipped=clipped)


def _stems(system: System, scene: Scene, mixture: Signal, hashes: Mapping[Path, str]) -> dict[str, Signal] | None:
    """The four stems that a separating system makes of a piece of music; None for an Enhancer."""
    if isinstance(system, Reference):
        found: Any = system.stems(scene.read_stems(hashes), PROTOCOL.sample_rate)
    elif isinstance(system, Separator):
        found = system.separate(mixture.copy(), PROTOCOL.sample_rate)
    else:
        return None
    try:
        stems = {name: np.asarray(found[name]) for name in STEMS}
    except (KeyError, IndexError, TypeError, ValueError):
        given = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise SystemFailure(f"must return a signal for each of {', '.join(STEMS)}; it returned {given}") from None
    for name, stem in stems.items():
        _check_output(stem, f"its stem {name}", len(mixture))
    if mixture.any() and not any(stem.any() for stem in stems.values()):
        raise SystemFailure("returned silence in all four stems")
    return {name: stem.astype(float) for name, stem in stems.items()}


def _enhanced(system: System, mixture: Signal, pair: Pair) -> Signal:
    """What an Enhancer makes of a mixture for one listener."""
    if not isinstance(system, Enhancer):
        raise SystemFailure("is neither a Separator nor an Enhancer")
    gains = dict(pair.scene.gains)
    signal = system.enhance(mixture.copy(), PROTOCOL.sample_rate, pair.listener, gains)
    _check_output(signal, "its remix")
    longest = len(mixture) + PROTOCOL.nalr_order
    if not len(mixture) <= len(signal) <= longest:
        raise SystemFailure(f"its remix has {len(signal)} samples, expected {len(mixture)} to {longest}")
    if mixture.any() and not signal.any():
        raise SystemFailure("returned silence")
    return signal.astype(float)  # a copy: it is written while the system may use its own again


def _check_output(signal: Any, what: str, frames: int | None = None) -> None:
    try:
        check_signal(signal, what, frames)
    except ValueError as error:
        raise SystemFailure(str(error)) from None


REASON_LENGTH = 300


def _reason(system: System, error: BaseException) -> str:
    """One line that says why a pair failed."""
    log.debug("system %s failed", system.name, exc_info=error)
    text = " ".join(str(error).split())[:REASON_LENGTH]
    if isinstance(error, HarnessError) and not isinstance(error, SystemFailure):
        return text
    if isinstance(error, SystemFailure):
        return f"system {system.name}: {text}"
    # Where in the system it happened helps its author more than where we called it.
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"system {system.name} raised {type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"


@dataclass(frozen=True)
class ScoreTask:
    """One pair to be scored: everything that a worker needs.

    Attributes:
        path, sha256: the submitted file and what it must contain.
        music: what the scene's files must contain, as pairs of path and SHA-256.
        engine: what computes the score.
        check: whether the locked evaluator scores the pair as well, where the engine is the fast one.
    """

    pair: Pair
    path: Path
    sha256: str
    music: tuple[tuple[Path, str], ...]
    engine: Engine = "locked"
    check: bool = False


@dataclass(frozen=True)
class Checked:
    """What both engines say of one pair: each a score, or why it gives none. At least one of them gives a score."""

    fast: Score | str
    locked: Score | str


Outcome = Score | Checked | str
"""What came of a pair: its score, what both engines say of it, or why it has no score."""


def score(tasks: Sequence[ScoreTask], workers: int) -> Iterator[tuple[ScoreTask, Outcome]]:
    """Score submitted remixes; yields each task with what came of it, as results come.

    Args:
        tasks: those of a scene stand together, and among them those of a listener: what they share is then made once.
        workers: number of processes.
    """
    for chunk, outcomes in map_unordered(_score_chunk, in_chunks(tasks, workers), workers):
        yield from zip(chunk, outcomes, strict=True)


CHUNKS_PER_WORKER = 4
"""So many at least, where tasks are handed out in chunks, so that the workers end at about the same time."""


def in_chunks(tasks: Sequence[ScoreTask], workers: int) -> list[tuple[ScoreTask, ...]]:
    """Tasks as they are handed to workers.

    A pair takes the locked evaluator seconds, so each is handed out alone; those that both engines score come first,
    since a wrong engine should not be found out after hours. The noise of a scene is slow to draw, and the fast engine
    keeps it: its tasks go in chunks of one scene, which do not split those of a listener unless they must.
    """
    alone = [(task,) for task in tasks if task.check or task.engine == "locked"]
    size = math.ceil(len(tasks) / (CHUNKS_PER_WORKER * workers))
    together: list[tuple[ScoreTask, ...]] = []
    others = [task for task in tasks if not task.check and task.engine == "fast"]
    for _, of_scene in groupby(others, key=lambda task: task.pair.scene.id):
        chunk: list[ScoreTask] = []
        for _, of_listener in groupby(of_scene, key=lambda task: task.pair.listener.id):
            waiting = list(of_listener)
            if len(chunk) + len(waiting) > size and chunk:
                together.append(tuple(chunk))
                chunk = []
            while len(waiting) > size:
                together.append(tuple(waiting[:size]))
                waiting = waiting[size:]
            chunk += waiting
        together.append(tuple(chunk))
    return alone + together


def _score_chunk(tasks: Sequence[ScoreTask]) -> list[Outcome]:
    return [_score_one(task) for task in tasks]


def _score_one(task: ScoreTask) -> Outcome:
    try:
        scene = task.pair.scene
        submitted = read_remix(task.path, scene.frames)
        if submitted.sha256 != task.sha256:
            return f"{task.path.name} has changed since it was checked: run the command again"
        reference = _reference(scene, task.music)
    except FileNotFoundError:
        return f"{task.path.name} is gone: run the command again"
    except HarnessError as error:
        return str(error)

    def scored_by(engine: Callable[..., Score]) -> Score | str:
        try:
            return engine(scene.id, reference, submitted.signal, task.pair.listener)
        except EvaluatorError as error:
            return str(error)

    if task.engine == "locked":
        return scored_by(score_pair)
    found = scored_by(fast.score_pair)
    # That a pair cannot be scored is for the locked evaluator to say, sample or not.
    if isinstance(found, Score) and not task.check:
        return found
    locked = scored_by(score_pair)
    return locked if isinstance(found, str) and isinstance(locked, str) else Checked(found, locked)


@lru_cache(maxsize=1)
def _reference(scene: Scene, music: tuple[tuple[Path, str], ...]) -> Signal:
    """The reference mixture of a scene; kept for the scene's next pair."""
    hashes = dict(music)
    return reference_mixture(scene.read_stems(hashes), scene.read("mixture", hashes), scene.gains)
