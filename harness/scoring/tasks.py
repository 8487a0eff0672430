"""What a worker does: score pairs. Nothing here writes anything."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.challenge import CAD1, PROTOCOL, STEMS
from harness.compute.local import map_unordered
from harness.enhancement import Signal
from harness.errors import EvaluatorError, HarnessError
from harness.haaqi import fast, stems
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.hearing import Listener
from harness.music.evaluationset import Pair, Scene
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
    return tuple((path, hashes[path]) for path in (scene.folder / f"{name}.wav" for name in MUSIC))


def score(tasks: Sequence[ScoreTask], workers: int, apart: bool = False) -> Iterator[tuple[ScoreTask, Outcome]]:
    """Score submitted remixes; yields each task with what came of it, as results come.

    Args:
        tasks: those of a scene stand together, and among them those of a listener: what they share is then made once.
        workers: number of processes.
        apart: never in this process: a stranger's code has run in it.
    """
    for chunk, outcomes in map_unordered(_score_chunk, in_chunks(tasks, workers), workers, apart):
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
    scene, remix = task.pair.scene, task.pair.remix_name
    rules = RULES[scene.protocol.name]
    try:
        submitted = form_of(scene.protocol).read(task.folder, task.pair)
        if submitted.sha256 != task.sha256:
            return f"{remix} has changed since it was checked: run the command again"
        reference = _reference(scene, task.music)
    except FileNotFoundError:
        return f"{remix} is gone: run the command again"
    except HarnessError as error:
        return str(error)

    def scored_by(engine: Engine) -> Score | str:
        try:
            return rules.engines[engine](scene.id, reference, submitted.signals, task.pair.listener)
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


@lru_cache(maxsize=1)
def _reference(scene: Scene, music: tuple[tuple[Path, str], ...]) -> Any:
    """What a scene's submissions are compared with; kept for the scene's next pair."""
    return RULES[scene.protocol.name].reference(scene, dict(music))


@dataclass(frozen=True)
class Rules:
    """How pairs are scored under a protocol.

    Attributes:
        reference: makes what a scene's submissions are compared with; its arguments are the scene, and what its files
            must contain.
        engines: of each engine what scores a pair, given the scene's name, that reference, `Submitted.signals` and the
            listener. Raises EvaluatorError.
    """

    reference: Callable[[Scene, Mapping[Path, str]], Any]
    engines: Mapping[Engine, Callable[[str, Any, Any, Listener], Score]]


def _reference_mixture(scene: Scene, hashes: Mapping[Path, str]) -> Signal:
    return reference_mixture(scene.read_stems(hashes), scene.read("mixture", hashes), scene.gains)


def _reference_stems(scene: Scene, hashes: Mapping[Path, str]) -> stems.Stems:
    whole = scene.read_stems(hashes)
    cut = slice(None) if scene.segment is None else slice(*scene.segment)
    return stems.reference_stems({name: stem[cut] for name, stem in whole.items()})


RULES: Mapping[str, Rules] = {
    PROTOCOL.name: Rules(_reference_mixture, {"locked": score_pair, "fast": fast.score_pair}),
    CAD1.name: Rules(_reference_stems, {"locked": stems.score_stems, "fast": stems.score_stems_fast}),
}
"""The rules of each protocol, by its name."""
