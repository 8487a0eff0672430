"""HAAQI of signals in memory, for a validation loop: the score that the leaderboard would give their files."""

import atexit
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import enhancement
from harness.challenge import PROTOCOL, STEMS
from harness.compute.local import Pool, available_cpus
from harness.enhancement import Signal, amplify, check_signal, to_16_bit, to_remix_format
from harness.errors import HarnessError, UsageError
from harness.haaqi import agreement, evaluator, fast, lock
from harness.haaqi.evaluator import ENGINES, EngineName, Score, reference_mixture
from harness.hearing import Listener
from harness.music.evaluationset import EvaluationSet, Scene
from harness.music.finding import load_evaluation_set

KEPT_BYTES = 256 * 2**20
"""Of mixtures and references that a process keeps: those of 36 scenes of 10 s."""

Data = str | Path | EvaluationSet


def haaqi(
    remix: Any,
    scene: str | Scene,
    listener: str | Listener,
    *,
    rate: int = PROTOCOL.sample_rate,
    engine: EngineName = "fast",
    data: Data = "demo",
    split: str | None = None,
) -> Score:
    """Score one remix: HAAQI of both ears, each from 0 to 1, and their `mean`.

    It is the score that the leaderboard would give: a remix at 44,100 Hz is brought to 32 kHz and 16 bit first, as in a
    submission. The references of the scenes that were used last are kept, and the reference's share of the metric for
    the last pair: score all remixes of a pair one after the other. Threads take turns.

    Args:
        remix: as the listener gets it, amplification included (see `remix`), at most NAL-R's tail longer than the
            scene's music. (samples, 2), full scale +-1; at 32 kHz int16 will do.
        scene: its name in `data`, or the object.
        listener: the same.
        rate: sample rate of the remix in Hz: 44,100, or 32,000 as in a submission.
        engine: "fast"; "fast64", the same with everything in double precision; or "locked" for the locked evaluator.
        data: the evaluation set of the names, as for `evaluate`.
        split: of that set, where it has several.

    Raises:
        UsageError: there is no such scene or listener, it is not one of the ICASSP 2024 challenge, or the remix has the
            wrong shape, rate or length.
        EvaluatorError: the evaluator is not the locked one, or the pair has no score.
        HarnessError: what else is wrong, in one line: music that is missing, a remix that is silent.
    """
    pair = _pair(scene, listener, data, split)
    samples = _submitted(remix, rate, *pair)
    check_arguments(engine)
    _ensure_ready(engine)
    return _score(*pair, samples, engine)


def haaqi_batch(
    remixes: Sequence[Any],
    scenes: Sequence[str | Scene],
    listeners: Sequence[str | Listener],
    *,
    rate: int = PROTOCOL.sample_rate,
    engine: EngineName = "fast",
    data: Data = "demo",
    split: str | None = None,
    workers: int | None = None,
) -> list[Score]:
    """Score many remixes on all cores, each as `haaqi` does.

    The processes that do it stay for the next call, with the references that they keep, until the program ends.

    Args:
        remixes: each as for `haaqi`.
        scenes: as many: the first remix is of the first scene, for the first listener.
        listeners: as many.
        rate: as for `haaqi`, of all remixes.
        engine: as for `haaqi`.
        data: the evaluation set of the names, as for `evaluate`.
        split: of that set, where it has several.
        workers: number of processes, one for each core by default; with 1, this process does the work.

    Returns:
        The scores, in the order of `remixes`.

    Raises:
        HarnessError: as `haaqi`, for the first remix that has no score.
    """
    if not len(remixes) == len(scenes) == len(listeners):
        raise UsageError(
            f"{len(remixes)} remixes, {len(scenes)} scenes and {len(listeners)} listeners: give as many of each"
        )
    check_arguments(engine, workers=workers)
    groups: dict[tuple[Scene, Listener], list[tuple[int, NDArray[np.int16]]]] = {}
    for index, (remix, scene, listener) in enumerate(zip(remixes, scenes, listeners, strict=True)):
        pair = _pair(scene, listener, data, split)
        groups.setdefault(pair, []).append((index, _submitted(remix, rate, *pair)))
    # Neighbours share what a scene's reference and noise cost.
    tasks = [_Task(*pair, engine, tuple(found)) for pair, found in groups.items()]
    tasks.sort(key=lambda task: (str(task.scene.folder), task.scene.id))
    if not tasks:
        return []
    _ensure_ready(engine)
    found: dict[int, Score] = {}
    for scores in _work(tasks, min(workers or available_cpus(), len(tasks))):
        found.update(scores)
    return [found[index] for index in range(len(remixes))]


def remix(
    stems: Mapping[str, Any] | Any,
    scene: str | Scene,
    listener: str | Listener,
    *,
    data: Data = "demo",
    split: str | None = None,
) -> Signal:
    """Remix and amplify four stems as the challenge's baseline does: what a `Separator`'s stems become.

    The stems get the scene's gains, their sum the loudness of the scene's mixture, and each ear NAL-R.

    Args:
        stems: by the names in `harness.STEMS`, each (samples, 2) at 44,100 Hz and as long as the scene's mixture; or
            an array (4, samples, 2) in their order.
        scene: its name in `data`, or the object.
        listener: the same.
        data: the evaluation set of the names, as for `evaluate`.
        split: of that set, where it has several.

    Returns:
        The amplified remix, (samples + 220, 2), float64, at 44,100 Hz, not limited to +-1.

    Raises:
        UsageError: there is no such scene or listener, it is not one of the ICASSP 2024 challenge, or a stem is missing
            or has the wrong shape.
        DataError: the scene's mixture cannot be read.
    """
    where, who = _pair(scene, listener, data, split)
    mixture = _kept.get("mixture", where)
    if not isinstance(stems, Mapping):
        if len(stems) != len(STEMS):
            raise UsageError(f"there are {len(stems)} stems: give {', '.join(STEMS)}")
        stems = dict(zip(STEMS, stems, strict=True))
    missing = [name for name in STEMS if name not in stems]
    if missing:
        raise UsageError(f"there is no stem {missing[0]}: give {', '.join(STEMS)}")
    checked = {name: _checked(stems[name], f"the stem {name}", len(mixture)) for name in STEMS}
    return amplify(enhancement.remix(checked, where.gains, mixture), who)


# Arguments, names and signals


def check_arguments(engine: str, **counts: int | None) -> None:
    """Raise UsageError for an engine that there is not, and for a number below 1."""
    if engine not in ENGINES:
        raise UsageError(f'engine is {engine!r}: expected "fast", "fast64" or "locked"')
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"{name} is {count}: expected 1 or more")


@lru_cache(maxsize=8)
def _found(data: str | Path, split: str | None) -> EvaluationSet:
    return load_evaluation_set(data, split)


def _pair(scene: str | Scene, listener: str | Listener, data: Data, split: str | None) -> tuple[Scene, Listener]:
    where, who = _named_pair(scene, listener, data, split)
    if where.protocol != PROTOCOL:
        raise UsageError(
            f"{where.id} is of the {where.protocol.title}, which scores eight stems, and this is about a remix: "
            "score a system with harness.evaluate"
        )
    return where, who


def _named_pair(scene: str | Scene, listener: str | Listener, data: Data, split: str | None) -> tuple[Scene, Listener]:
    if isinstance(scene, Scene) and isinstance(listener, Listener):
        return scene, listener
    where = None
    if isinstance(scene, Scene):
        where, known = scene, {who.id: who for who in scene.listeners}
        if listener in known:
            return scene, known[str(listener)]
    found = data if isinstance(data, EvaluationSet) else _found(data, split)
    scenes, listeners = _named(found.whole)
    if where is None:
        if scene not in scenes:
            raise UsageError(f"no scene {scene} in {found.name} (it has {', '.join(list(scenes)[:3])}, ...)")
        where = scenes[str(scene)]
    if isinstance(listener, Listener):
        return where, listener
    if listener not in listeners:
        raise UsageError(f"no listener {listener} in {found.name} (it has {', '.join(list(listeners)[:3])}, ...)")
    return where, listeners[listener]


@lru_cache(maxsize=8)
def _named(scenes: tuple[Scene, ...]) -> tuple[dict[str, Scene], dict[str, Listener]]:
    return {scene.id: scene for scene in scenes}, {who.id: who for scene in scenes for who in scene.listeners}


def _checked(signal: Any, what: str, frames: int | None = None) -> Signal:
    """The signal as float64. Raises UsageError."""
    array = np.asarray(signal)
    try:
        check_signal(array, what, frames)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return array.astype(float)


def _submitted(remix: Any, rate: int, scene: Scene, listener: Listener) -> NDArray[np.int16]:
    """The samples that the file of a remix would hold, (samples, 2) at 32 kHz."""
    what = f"the remix of {scene.id} for {listener.id}"
    if rate == PROTOCOL.sample_rate:
        shortest, longest = scene.frames, scene.frames + PROTOCOL.nalr_order
    elif rate == PROTOCOL.remix_sample_rate:
        lengths = PROTOCOL.remix_frames(scene.frames)
        shortest, longest = lengths[0], lengths[-1]
    else:
        raise UsageError(f"rate is {rate}: expected {PROTOCOL.sample_rate} or {PROTOCOL.remix_sample_rate}")
    samples = np.asarray(remix)
    if rate == PROTOCOL.sample_rate or samples.dtype != np.int16:
        signal = _checked(remix, what)
        samples = to_remix_format(signal)[0] if rate == PROTOCOL.sample_rate else to_16_bit(signal)
    elif samples.ndim != 2 or samples.shape[1] != 2:
        raise UsageError(f"{what} has shape {samples.shape}, expected (samples, 2)")
    if not shortest <= len(remix) <= longest:
        raise UsageError(f"{what} has {len(remix)} samples at {rate} Hz, expected {shortest} to {longest}")
    if not samples.any():
        raise HarnessError(f"{what} is silent: every sample is zero in 16 bit, and silence has no score")
    return samples


# Scoring


@lru_cache(maxsize=3)
def _ensure_ready(engine: EngineName) -> None:
    """Prove the evaluator, once in a process. Raises EvaluatorError."""
    lock.ensure_locked()
    if engine != "locked":
        agreement.ensure_agreement()


class _Kept:
    """Mixtures and references of the scenes that were used last, up to `KEPT_BYTES`."""

    def __init__(self) -> None:
        self._signals: OrderedDict[Any, Signal] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, what: str, scene: Scene) -> Signal:
        """The "mixture" or the "reference" of a scene, (samples, 2) at 44,100 Hz. Raises DataError."""
        paths = [scene.folder / f"{name}.wav" for name in ("mixture", *STEMS)]
        # Files that were changed are other music.
        states = tuple((state.st_mtime_ns, state.st_size) for state in (path.stat() for path in paths if path.exists()))
        key = what, scene, tuple(scene.gains.items()), states
        with self._guard:
            if key in self._signals:
                self._signals.move_to_end(key)
                return self._signals[key]
        made = scene.read("mixture")
        if what == "reference":
            made = reference_mixture(scene.read_stems(), made, scene.gains)
        made.flags.writeable = False
        with self._guard:
            self._signals[key] = made
            while len(self._signals) > 1 and sum(signal.nbytes for signal in self._signals.values()) > KEPT_BYTES:
                self._signals.popitem(last=False)
        return made


_kept = _Kept()
_turn = threading.Lock()
"""The fast engine's memory, and NumPy's global generator, are not for several threads at once."""


def _score(scene: Scene, listener: Listener, samples: NDArray[np.int16], engine: EngineName) -> Score:
    score_pair: Callable[..., Score] = evaluator.score_pair if engine == "locked" else fast.score_pair
    options = {"in_double": True} if engine == "fast64" else {}
    reference = _kept.get("reference", scene)
    with _turn:
        # As the recipe reads the file.
        return score_pair(scene.id, reference, (samples / 32768.0).astype(np.float32), listener, **options)


@dataclass(frozen=True, eq=False)
class _Task:
    """Remixes of one scene for one listener, each with its place in the batch."""

    scene: Scene
    listener: Listener
    engine: EngineName
    remixes: tuple[tuple[int, NDArray[np.int16]], ...]


def score_task(task: _Task) -> dict[int, Score]:
    """Score the remixes of a task, by their places. In a worker process, `Pool` calls it by its name."""
    found = {}
    for index, samples in task.remixes:
        try:
            found[index] = _score(task.scene, task.listener, samples, task.engine)
        except HarnessError as error:
            raise type(error)(f"remix {index} ({task.scene.id} {task.listener.id}): {error}") from error
    return found


_pool: tuple[int, Pool] | None = None
"""The worker processes that stay, and the process that they belong to: a fork may not use those of its parent."""


def _work(tasks: Sequence[_Task], workers: int) -> list[dict[int, Score]]:
    global _pool
    if workers == 1:
        return [score_task(task) for task in tasks]
    with _turn:
        if _pool is None or _pool[0] != os.getpid() or _pool[1].closed or _pool[1].size < workers:
            _close()
            _pool = os.getpid(), Pool(score_task, workers)
        return [scores for _, scores in _pool[1].map_unordered(tasks)]


@atexit.register
def _close() -> None:
    global _pool
    if _pool is not None and _pool[0] == os.getpid():
        _pool[1].close()
    _pool = None
