"""A plugin that tries to win by other means than sound: with its import, and with each listener, whose name says how.

What it returns is what `passthrough` returns, so an honest leaderboard gives each of its pairs the score of that. Where
a mode looks for something that it must not find, and finds it, it returns another thing: another score would show.

It looks and writes in one folder only, the "arena" that its setting names, lest a test spoil anybody's files. That is
in hexadecimal, so that a sandbox does not show it as a file that an option names.
"""

import contextlib
import gc
import importlib
import os
import sqlite3
import sys
import threading
import time
import types
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.systems import Enhancer, Option, amplify, hookimpl

BEST = 0.99

SITE = """
import sys
import harness.haaqi.evaluator as evaluator
import harness.haaqi.fast as fast
from harness.scoring import tasks
fake = lambda *_, **__: evaluator.Score(0.98, 0.98)
evaluator.score_pair = fast.score_pair = tasks.score_pair = fake
"""


def _patch_evaluator(arena: Path | None = None) -> None:
    """Give everything that computes scores, by whichever name it goes, the best score."""
    from harness.haaqi.evaluator import Score

    for name in ("clarity.evaluator.haaqi", "clarity.evaluator.haaqi.haaqi", "harness.haaqi.fast.pairs"):
        importlib.import_module(name).compute_haaqi = lambda *_, **__: BEST  # type: ignore[attr-defined]
    for name in ("harness.haaqi.evaluator", "harness.haaqi.fast", "harness.haaqi.fast.pairs", "harness.scoring.tasks"):
        importlib.import_module(name).score_pair = lambda *_, **__: Score(BEST, BEST)  # type: ignore[attr-defined]
    for name in ("harness.haaqi.evaluator", "harness.scoring.tasks"):
        importlib.import_module(name).score_ear = lambda *_, **__: BEST  # type: ignore[attr-defined]


def _patch_store(arena: Path | None = None) -> None:
    """Have the best score stored in place of any other one."""

    from harness_leaderboard.store import Store

    honest = Store.add_scores

    def add_scores(self: Store, scores: Any, *more: Any, **named: Any) -> Any:
        return honest(self, [replace(score, left=BEST, right=BEST) for score in scores], *more, **named)

    Store.add_scores = add_scores  # type: ignore[method-assign]


def _patch_for_ever(arena: Path) -> None:
    def patch() -> None:
        while True:
            _patch_evaluator(arena)
            time.sleep(0.01)

    threading.Thread(target=patch, daemon=True).start()


def _environ(arena: Path) -> None:
    """Set what would have processes that start later load code of ours, compute otherwise, or write elsewhere."""
    folder = arena / "site"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("sitecustomize.py", "usercustomize.py"):
            (folder / name).write_text(SITE)
    os.environ["PYTHONPATH"] = str(folder)
    os.environ.update(PYTHONSTARTUP=str(folder / "sitecustomize.py"), NUMBA_DISABLE_JIT="1", HARNESS_CACHE=str(folder))
    os.environ.update(HARNESS_DB=f"sqlite:///{folder}/other.db", PYTHONHASHSEED="1", NUMBA_ENABLE_AVX="0")
    sys.path.insert(0, str(folder))


def _numpy(arena: Path) -> None:
    """The noise of HAAQI comes from NumPy's global generator, under a seed."""
    np.random.seed(0)
    np.random.seed = lambda *_: None
    np.random.normal = np.random.randn = lambda *shape, **_: np.zeros(shape)  # type: ignore[assignment]
    np.seterr(all="ignore")


def _modules(arena: Path) -> None:
    """Replace modules that are imported later, as far as this process goes."""
    fake = types.ModuleType("clarity.evaluator.haaqi")
    fake.compute_haaqi = lambda *_, **__: BEST  # type: ignore[attr-defined]
    for name in ("clarity.evaluator.haaqi", "clarity.evaluator.haaqi.haaqi"):
        sys.modules[name] = fake


def _answer_in_advance(arena: Path) -> None:
    """Leave an answer to the next question in the pipe."""
    for number in range(3, 64):
        with contextlib.suppress(OSError):
            if str(Path(f"/proc/self/fd/{number}").readlink()).startswith("pipe:"):
                os.write(number, b"HARNESS1" + b"\x02\0\0\0\0\0\0\0" + b"{}")


def stems_in_memory(mixture: Any) -> list[Any]:
    """Signals as long as the mixture that are not the mixture: the true stems, if they are anywhere."""
    found = []
    for each in gc.get_objects():
        inner = each.values() if type(each) is dict else each if type(each) in (list, tuple) else ()
        for value in (each, *inner):
            if isinstance(value, np.ndarray) and value.shape == mixture.shape and not np.array_equal(value, mixture):
                found.append(value)
    return found


def _write_scores(arena: Path) -> None:
    for path in arena.rglob("*.db"):
        with contextlib.suppress(sqlite3.Error), sqlite3.connect(path) as database:
            database.execute("UPDATE scores SET left_score = 0.99, right_score = 0.99, score = 0.99")


RUN_TIME: dict[str, Any] = {
    "evaluator": _patch_evaluator,
    "store": _patch_store,
    "for-ever": _patch_for_ever,
    "environ": _environ,
    "numpy": _numpy,
    "modules": _modules,
    "in-advance": _answer_in_advance,
    "write-scores": _write_scores,
}


class Tampering(Enhancer):
    """Tampers with whatever it can reach."""

    name, version, training_data, licence = "tampering", "1", "none", "none"
    options: ClassVar = [Option("arena", str, "", "the only folder that it may look and write in, in hexadecimal")]

    def enhance(self, mixture: Any, sample_rate: int, listener: Any, gains: Any) -> Any:
        arena = Path(bytes.fromhex(self.settings["arena"]).decode())
        if not arena.is_absolute():
            raise ValueError("no arena is set")
        out = amplify(mixture, listener)
        if listener.id == "stems":
            # What `amplify` made of the mixture is longer than it: never of the same shape.
            found = [each for each in stems_in_memory(mixture) if each.any()]
            return amplify(sum(found[:4]), listener) if found else out
        if listener.id == "stems-on-disk":
            return out * 0.5 if list(arena.rglob("vocals.wav")) else out
        if listener.id in RUN_TIME:
            RUN_TIME[listener.id](arena)
        return out


@hookimpl
def register_systems(register: Any) -> None:
    register(Tampering)


# A sandbox does not even have the leaderboard.
for _patch in (_patch_evaluator, _patch_store):
    with contextlib.suppress(ImportError):
        _patch()
