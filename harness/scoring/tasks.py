"""What a worker does: score pairs. Nothing here writes anything."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.challenge import CAD1, STEMS
from harness.compute.executor import Executor, Lost
from harness.errors import EvaluatorError, HarnessError
from harness.haaqi import fast, stems
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.music.evaluationset import Pair, Scene
from harness.submission.forms import Submitted
from harness.submission.protocols import form_of
from harness_leaderboard.records import Engine


@dataclass(frozen=True)
class ScoreTask:
    """One pair to be scored: everything that a worker needs.

    Attributes:
        folder, sha256: of the submission, and what it must hold for the pair (`submission.forms.content`).
        music: what the scene's files must contain, as pairs of path and SHA-256.
        engine: what computes the score.
        check: whether the locked evaluator scores the pair as well, where the engine is the fast one.
    """

    pair: Pair
    folder: Path
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


MUSIC = ("mixture", *STEMS)
"""The files of a piece of music that scores depend on."""


def music_of(scene: Scene, hashes: Mapping[Path, str]) -> tuple[tuple[Path, str], ...]:
    """What a scene's files must contain, for `ScoreTask.music`; `hashes` are those of `EvaluationSet.hashes(MUSIC)`."""
    names = MUSIC if scene.folder / "mixture.wav" in hashes else STEMS
    return tuple((path, hashes[path]) for path in (scene.folder / f"{name}.wav" for name in names))


def score(tasks: Sequence[ScoreTask], executor: Executor) -> Iterator[tuple[ScoreTask, Outcome]]:
    """Score submitted remixes; yields each task with what came of it, as results come.

    Args:
        tasks: those of a scene stand together, and among them those of a listener: what they share is then made once.
        executor: who computes.
    """
    for chunk, outcomes in executor.map_unordered(_score_chunk, in_chunks(tasks, executor.workers)):
        yield from zip(chunk, [outcomes.reason] * len(chunk) if isinstance(outcomes, Lost) else outcomes, strict=True)


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
    scene, files = task.pair.scene, task.pair.files
    what = files[0] if len(files) == 1 else "one of its files"
    try:
        submitted = form_of(scene.protocol).read(task.folder, task.pair)
        if submitted.sha256 != task.sha256:
            return f"{what} has changed since it was checked: run the command again"
        reference = _reference(scene, task.music)
    except FileNotFoundError as error:
        name = Path(error.filename).name if error.filename else what
        return f"{name} is gone: run the command again"
    except HarnessError as error:
        return str(error)

    def scored_by(engine: Engine) -> Score | str:
        try:
            return _score(task, engine, reference, submitted)
        except EvaluatorError as error:
            return str(error)

    if task.engine == "locked":
        return scored_by("locked")
    found = scored_by("fast")
    # That a pair cannot be scored is for the locked evaluator to say, sample or not.
    if isinstance(found, Score) and not task.check:
        return found
    locked = scored_by("locked")
    return locked if isinstance(found, str) and isinstance(locked, str) else Checked(found, locked)


def _score(task: ScoreTask, engine: Engine, reference: Any, submitted: Submitted) -> Score:
    scene = task.pair.scene
    signals: Any = submitted.signals
    given = scene.id, reference, signals, task.pair.listener
    if scene.protocol == CAD1:
        return stems.score_stems(*given) if engine == "locked" else stems.score_stems_fast(*given)
    return score_pair(*given) if engine == "locked" else fast.score_pair(*given)


@lru_cache(maxsize=1)
def _reference(scene: Scene, music: tuple[tuple[Path, str], ...]) -> Any:
    """What a scene is compared with: the reference mixture, or the true stems; kept for the next pair."""
    hashes = dict(music)
    true = scene.read_stems(hashes)
    if scene.protocol == CAD1:
        return stems.reference_stems({name: stem[scene.scored] for name, stem in true.items()})
    return reference_mixture(true, scene.read("mixture", hashes), scene.gains)
