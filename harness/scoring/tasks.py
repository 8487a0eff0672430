"""What a worker does: score pairs. Nothing here writes anything.

A worker may run on another machine, with other versions and another evaluator than this process. So it proves itself
before it scores, and says with its scores what it is (`Proof`).
"""

import math
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.challenge import CAD1, EARS, STEMS, Protocol
from harness.compute.executor import Executor, Lost, nothing
from harness.errors import DataError, EvaluatorError, HarnessError
from harness.files import canonical_sha256
from harness.haaqi import fast, lock, stems
from harness.haaqi.agreement import ensure_agreement
from harness.haaqi.evaluator import EngineName, Score, reference_mixture, score_ear, score_pair
from harness.music.evaluationset import EvaluationSet, Pair, Scene
from harness.submission.forms import Submitted
from harness.submission.protocols import form_of
from harness_leaderboard.checks import Checker
from harness_leaderboard.records import Engine

Hashed = tuple[tuple[Path, str], ...]
"""Files with the SHA-256 of each."""


CheckOf = tuple[str, Checker]
"""A check: of which part, by what."""


@dataclass(frozen=True)
class ScoreTask:
    """One pair to be scored: everything that a worker needs.

    Attributes:
        pair: its scene's folder is an absolute path, as all others here: a worker may start anywhere.
        folder, sha256: of the submission, and what it must hold for the pair (`submission.forms.content`).
        music: what the scene's files must contain, as pairs of path and SHA-256.
        engine: what computes the score.
        checks: where that is the fast engine, the parts that are checked, and by what.
        whole: likewise, whether the locked evaluator scores the whole pair as well.
        known: the fast scores that are stored of the pair's parts. Then these are what is checked, and no new ones.
    """

    pair: Pair
    folder: Path
    sha256: str
    music: Hashed
    engine: EngineName = "locked"
    checks: tuple[CheckOf, ...] = ()
    whole: bool = False
    known: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class PartCheck:
    """What a check says of one part of a pair.

    Attributes:
        part: "left", "right" or the name of a stem.
        by: what checked.
        fast: the fast score.
        score: that by which it is checked, or why there is none.
    """

    part: str
    by: Checker
    fast: float
    score: float | str


@dataclass(frozen=True)
class Checked:
    """What the fast engine says of a pair, and what others say of that.

    Attributes:
        fast: its score, or why it gives none; then the locked evaluator gives one.
        locked: that of the locked evaluator for the whole pair, or why there is none; None if it was not asked.
        checks: of parts.
    """

    fast: Score | str
    locked: Score | str | None = None
    checks: tuple[PartCheck, ...] = ()


Outcome = Score | Checked | str
"""What came of a pair: its score, what is said of it by several, or why it has no score."""


MUSIC = ("mixture", *STEMS)
"""The files of a piece of music that scores depend on."""


def shared_by_scene(evaluation_set: EvaluationSet) -> dict[str, tuple[Scene, Hashed]]:
    """What tasks share that are of one scene, by the scene's id, with absolute paths.

    A set has 20,000 of them: each with paths of its own, they would take more memory than all else here.
    """
    hashes, found = evaluation_set.hashes(MUSIC), {}
    for scene in evaluation_set.whole:
        music = tuple((path.absolute(), of_file) for path, of_file in music_of(scene, hashes))
        found[scene.id] = replace(scene, folder=scene.folder.absolute()), music
    return found


def task_of(
    pair: Pair,
    folder: Path,
    sha256: str,
    shared: Mapping[str, tuple[Scene, Hashed]],
    engine: EngineName = "locked",
) -> ScoreTask:
    """A pair to be scored; `shared` are those of its evaluation set (`shared_by_scene`), the rest as of `ScoreTask`."""
    scene, music = shared[pair.scene.id]
    return ScoreTask(Pair(scene, pair.listener), folder.absolute(), sha256, music, engine)


def music_of(scene: Scene, hashes: Mapping[Path, str]) -> Hashed:
    """What a scene's files must contain, for `ScoreTask.music`; `hashes` are those of `EvaluationSet.hashes(MUSIC)`."""
    names = MUSIC if scene.folder / "mixture.wav" in hashes else STEMS
    return tuple((path, hashes[path]) for path in (scene.folder / f"{name}.wav" for name in names))


@dataclass(frozen=True)
class Proof:
    """What a process computes scores with, which it has proven.

    Attributes:
        host: the machine's name.
        fingerprint: of its evaluator.
        environments: for each engine, the versions and the platform that are kept with its scores.
    """

    host: str
    fingerprint: str
    environments: Mapping[Engine, Mapping[str, str]]

    @property
    def sha256(self) -> str:
        """Identity of all that."""
        return canonical_sha256([self.host, self.fingerprint, self.environments["locked"], self.environments["fast"]])


def described(protocol: Protocol) -> Proof:
    """What this process computes with; nothing is proven by that."""
    environment = lock.environment()
    return Proof(
        socket.gethostname(),
        lock.fingerprint(protocol),
        {"locked": environment, "fast": {**environment, "fast_engine": fast.sources_sha256()}},
    )


@dataclass(frozen=True)
class Chunk:
    """What a worker is handed at a time.

    Attributes:
        tasks: at least one; of one scene.
        proven: `Proof.sha256` of the process that hands them out, which has proven itself.
    """

    tasks: tuple[ScoreTask, ...]
    proven: str


Result = tuple[ScoreTask, Outcome]


def score(
    tasks: Sequence[ScoreTask], executor: Executor, idle: Callable[[], None] = nothing
) -> Iterator[tuple[list[Result], Proof]]:
    """Score submitted remixes; yields tasks with what came of them, as results come, and what computed those.

    Args:
        tasks: those of a scene stand together, and among them those of a listener: what they share is then made once.
        executor: who computes.
        idle: called now and then while results are waited for.

    Raises:
        EvaluatorError: a worker's evaluator is not the locked one.
        DataError: a worker does not see the music or a submission.
    """
    if not tasks:
        return
    ours = described(tasks[0].pair.scene.protocol)
    chunks = [Chunk(chunk, ours.sha256) for chunk in in_chunks(tasks, executor.workers, executor.far)]
    while chunks:
        apart: list[Chunk] = []
        for chunk, done in executor.map_unordered(score_chunk, chunks, idle):
            if not isinstance(done, Lost):
                outcomes, theirs = done
                yield list(zip(chunk.tasks, outcomes, strict=True)), theirs
            elif len(chunk.tasks) == 1:
                yield [(chunk.tasks[0], done.reason)], ours
            else:
                # One of them is to blame: each has another chance, alone.
                apart += [replace(chunk, tasks=(task,)) for task in chunk.tasks]
        chunks = apart


CHUNKS_PER_WORKER = 4
"""So many at least, where far workers are handed chunks, so that they end at about the same time."""

LEAST = 3
"""Tasks in a chunk, at least: what a worker does for each scene, before its first pair, takes as long as two pairs."""


def in_chunks(tasks: Sequence[ScoreTask], workers: int, far: bool = False) -> list[tuple[ScoreTask, ...]]:
    """Tasks as they are handed to workers.

    A pair takes the locked evaluator seconds, so each is handed out alone; those that it checks come first, since a
    wrong engine should not be found out after hours. The noise of a scene is slow to draw, and the fast engine keeps
    it: its tasks go in chunks of one scene, which do not split those of a listener unless they must. Each is at most a
    worker's half share of what is left, so that whole scenes come first and small chunks last, and the workers end at
    about the same time (guided self-scheduling: Polychronopoulos & Kuck, IEEE Trans. Computers 36(12), 1987). Chunks in
    which something is checked by double precision come before the others.

    Where workers are `far`, the locked evaluator's go in such chunks too: each then reads a scene's music once, and
    handing out a task costs this process some milliseconds (benchmarks/cluster.py), which a thousand workers with a
    pair each would ask of it all the time. But no chunk takes longer than `FAR_SECONDS`: a worker that leaves in
    between, since its job's time is up, has computed for nothing.
    """
    alone = [(task,) for task in tasks if _takes_long(task) or (task.engine == "locked" and not far)]
    together: list[tuple[ScoreTask, ...]] = []
    others = [task for task in tasks if not _takes_long(task) and (task.engine != "locked" or far)]
    left = len(others)
    least = min(LEAST, math.ceil(left / workers))  # no worker goes without

    def most(task: ScoreTask) -> int:
        if far:
            return min(math.ceil(len(tasks) / (CHUNKS_PER_WORKER * workers)), _most_far(task))
        return max(least, math.ceil(left / (2 * workers)))

    def hand_out(chunk: list[ScoreTask]) -> None:
        nonlocal left
        together.append(tuple(chunk))
        left -= len(chunk)

    for _, of_scene in groupby(others, key=lambda task: task.pair.scene.id):
        chunk: list[ScoreTask] = []
        for _, of_listener in groupby(of_scene, key=lambda task: task.pair.listener.id):
            waiting = list(of_listener)
            if chunk and len(chunk) + len(waiting) > most(waiting[0]):
                hand_out(chunk)
                chunk = []
            while len(waiting) > (room := most(waiting[0])):
                hand_out(waiting[:room])
                waiting = waiting[room:]
            chunk += waiting
        hand_out(chunk)
    together.sort(key=lambda chunk: not any(task.checks for task in chunk))
    return alone + together


def _takes_long(task: ScoreTask) -> bool:
    """Whether the locked evaluator checks something of a task."""
    return task.whole or any(by == "locked" for _, by in task.checks)


FAR_SECONDS = 600.0
"""So long a far worker computes at most before its scores are there, unless a single pair takes longer."""

ENGINE_SECONDS: Mapping[EngineName, float] = {"locked": 1.0, "fast": 0.1, "fast64": 0.2}
"""That engines take for a second of one channel, generously (`python benchmarks/fast_score.py`)."""


def _most_far(task: ScoreTask) -> int:
    """How many tasks of a scene may be in a chunk for a far worker."""
    scene = task.pair.scene
    channels = len(EARS) * (len(STEMS) if scene.protocol == CAD1 else 1)
    music = scene.scored_frames / scene.protocol.sample_rate
    return max(1, int(FAR_SECONDS / (channels * music * ENGINE_SECONDS[task.engine])))


def score_chunk(chunk: Chunk) -> tuple[list[Outcome], Proof]:
    """Score the tasks of a chunk: what came of each, and what computed it. Workers call it by its name.

    Raises:
        EvaluatorError: the evaluator here is not the locked one, or not the one of whoever hands out the chunk.
        DataError: the music or a submission cannot be seen from here.
    """
    scene, host = chunk.tasks[0].pair.scene, socket.gethostname()
    for folder in dict.fromkeys([scene.folder, *(task.folder for task in chunk.tasks)]):
        if not folder.is_dir():
            raise DataError(
                f"{host} does not see {folder}: what is scored must stay where it is, and lie where all machines see it"
            )
    proof = _proven(scene.protocol, chunk.tasks[0].engine, chunk.proven)
    return [_score_one(task) for task in chunk.tasks], proof


@lru_cache(maxsize=8)
def _proven(protocol: Protocol, engine: EngineName, proven: str) -> Proof:
    """Prove once what this process computes with, unless it is the very same as `proven`, on the same machine."""
    proof = described(protocol)
    problems = lock.source_problems(protocol)
    try:
        if problems:
            raise EvaluatorError(f"the evaluator is not the locked one: {problems[0]}")
        if proof.sha256 != proven:
            lock.ensure_locked(protocol)
            if engine != "locked":
                ensure_agreement(protocol)
    except EvaluatorError as error:
        raise EvaluatorError(f"{proof.host}: {error}") from None
    return proof


def _score_one(task: ScoreTask) -> Outcome:
    scene, files = task.pair.scene, task.pair.files
    what = files[0] if len(files) == 1 else "one of its files"
    try:
        submitted = form_of(scene.protocol).read(task.folder, task.pair, known=True)
        if submitted.sha256 != task.sha256:
            return f"{what} has changed since it was checked: run the command again"
        reference = _reference(scene, task.music)
    except FileNotFoundError as error:
        name = Path(error.filename).name if error.filename else what
        return f"{name} is gone: run the command again"
    except HarnessError as error:
        return str(error)

    computing = _Computing(task, reference, submitted)
    if task.engine == "locked":
        return computing.score("locked")
    found = computing.score(task.engine)
    if isinstance(found, str):
        # That a pair cannot be scored is for the locked evaluator to say.
        locked = computing.score("locked")
        return locked if isinstance(locked, str) else Checked(found, locked)
    if not (task.whole or task.checks):
        return found
    checks = tuple(
        computing.check(part, by, found)
        for part, by in task.checks
        # What is in double precision already has nothing to be checked by it.
        if task.known or by == "locked" or part not in found.in_double
    )
    return Checked(found, computing.score("locked") if task.whole else None, checks)


@dataclass(frozen=True)
class _Computing:
    """A task with its signals: the reference (mixture or true stems) and what is submitted."""

    task: ScoreTask
    reference: Any
    submitted: Submitted

    def score(self, engine: EngineName) -> Score | str:
        """The pair's score, or why there is none."""
        if engine == "locked":
            fast.forget()
        scene = self.task.pair.scene
        given: Any = (scene.id, self.reference, self.submitted.signals, self.task.pair.listener)
        options: Any = {"in_double": True} if engine == "fast64" else {}
        try:
            if scene.protocol == CAD1:
                return stems.score_stems(*given) if engine == "locked" else stems.score_stems_fast(*given, **options)
            return score_pair(*given) if engine == "locked" else fast.score_pair(*given, **options)
        except EvaluatorError as error:
            return str(error)

    def check(self, part: str, by: Checker, found: Score) -> PartCheck:
        """Have a part of a fast score checked; `found` is what the fast engine gives now."""
        known = dict(self.task.known) or found.parts
        drawn = found.drawn_before(part)
        if drawn is None:
            # Where its noise begins is not known, so all that comes before is computed too.
            whole = self.score(by)
            return PartCheck(part, by, known[part], whole if isinstance(whole, str) else whole.parts[part])
        if by == "locked":
            fast.forget()
        scene = self.task.pair.scene
        given: Any = (part, scene.id, self.reference, self.submitted.signals, self.task.pair.listener, drawn)
        score_part: Callable[..., float] = stems.score_stem if scene.protocol == CAD1 else score_ear
        try:
            score = score_part(*given, fast.in_double_precision() if by == "fast64" else None)
        except EvaluatorError as error:
            return PartCheck(part, by, known[part], str(error))
        return PartCheck(part, by, known[part], score)


@lru_cache(maxsize=1)
def _reference(scene: Scene, music: Hashed) -> Any:
    """What a scene is compared with: the reference mixture, or the true stems; kept for the next pair."""
    hashes = dict(music)
    true = scene.read_stems(hashes)
    if scene.protocol == CAD1:
        return stems.reference_stems({name: stem[scene.scored] for name, stem in true.items()})
    return reference_mixture(true, scene.read("mixture", hashes), scene.gains)
