"""Kills right before or after the k-th statement, commit, fsync or rename of the main process, and full disks there.

Commands run in forks of a process that has imported everything. In most trials scores are remembered by content, so
that a trial takes a second: what is tried here is how results are kept, not how they are computed.
"""

import errno
import hashlib
import json
import os
import pickle
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from .common import (
    DATABASE,
    SUBMISSION,
    Ended,
    State,
    Tally,
    Task,
    differences,
    evaluation_set,
    forked,
    left_of,
    state_of,
)

SCENARIOS = {
    # name: what is there beforehand (another scenario, done), and the command
    "run": (None, ("run", "--system", "passthrough", "--engine", "fast", "--output", SUBMISSION)),
    "replace": (
        "run",
        (
            "run",
            "--system",
            "passthrough",
            "--engine",
            "fast",
            "--output",
            SUBMISSION,
            "--soft-clip",
            "--overwrite",
            "always",
        ),
    ),
    "score": ("enhance", ("score", SUBMISSION, "--engine", "fast")),
    "locked": ("run", ("score", SUBMISSION, "--engine", "locked")),
    "replaced, locked": ("replace", ("score", SUBMISSION, "--engine", "locked")),
    "enhance": (None, ("enhance", "--system", "passthrough", "--output", SUBMISSION)),
}
KILLED = ("run", "replace", "score", "locked")
"""Scenarios in which there are kills; the others prepare."""

EVENTS = ("statement", "commit", "fsync", "rename")
FULL = ("fsync", "rename", "mkstemp")


@dataclass(frozen=True)
class Point:
    """A moment of a command: before or after the k-th event of a kind, counted from 1."""

    scenario: str
    event: str
    after: bool
    number: int

    def __str__(self) -> str:
        return f"{self.scenario}, {'after' if self.after else 'before'} {self.event} {self.number}"


def command(scenario: str, workers: int = 1) -> list[str]:
    """The command line of a scenario, without the program."""
    arguments = [*SCENARIOS[scenario][1], "--data", str(evaluation_set()), "--workers", str(workers), "--json"]
    return arguments if scenario == "enhance" else [*arguments, "--db", DATABASE]


# ---- in the fork ----------------------------------------------------------------------------------------


def watch(hit: Callable[[str, bool], None]) -> None:
    """Have `hit(event, after)` called before and after every event of this process."""
    from sqlalchemy import Engine, event
    from sqlalchemy.engine.default import DefaultDialect

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            hit(name, False)
            result = function(*args, **kwargs)
            hit(name, True)
            return result

        return called

    event.listen(Engine, "before_cursor_execute", lambda *_: hit("statement", False))
    event.listen(Engine, "after_cursor_execute", lambda *_: hit("statement", True))
    DefaultDialect.do_commit = around("commit", DefaultDialect.do_commit)
    os.fsync = around("fsync", os.fsync)
    os.replace = around("rename", os.replace)  # what Path.replace calls
    tempfile.mkstemp = around("mkstemp", tempfile.mkstemp)


def remember_scores() -> None:
    """Have both engines' scores remembered by content, on disk, across forks."""
    from harness.haaqi import fast
    from harness.scoring import tasks

    folder = Path(os.environ["TRIALS_BASE"]) / "remembered"
    folder.mkdir(exist_ok=True)

    def remembering(name: str, engine: Callable[..., Any]) -> Callable[..., Any]:
        def score_pair(scene_id: str, reference: Any, processed: Any, listener: Any, **precision: bool) -> Any:
            content = (name, scene_id, reference.tobytes(), processed.tobytes(), repr(listener), precision)
            path = folder / hashlib.sha256(pickle.dumps(content)).hexdigest()
            if path.exists():
                return pickle.loads(path.read_bytes())
            score = engine(scene_id, reference, processed, listener, **precision)
            unfinished = path.with_name(f"{path.name}.{os.getpid()}")
            unfinished.write_bytes(pickle.dumps(score))
            unfinished.rename(path)  # `watch` counts os.replace alone
            return score

        return score_pair

    tasks.score_pair = remembering("locked", tasks.score_pair)
    fast.score_pair = remembering("fast", fast.score_pair)


def tagged(tag: str, remember: bool, then: Callable[[], None] = lambda: None) -> Callable[[], None]:
    """What a fork does first: mark what it starts, remember scores or not, and `then`."""

    def before() -> None:
        os.environ["LC_HARNESS_TRIAL"] = tag
        if remember:
            remember_scores()
        then()

    return before


def _at(point: Point, act: Callable[[], None]) -> Callable[[], None]:
    seen = 0

    def hit(event: str, after: bool) -> None:
        nonlocal seen
        if (event, after) == (point.event, point.after):
            seen += 1
            if seen == point.number:
                act()

    return partial(watch, hit)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# ---- around it ------------------------------------------------------------------------------------------


def load_everything() -> None:
    """Import what the commands import, so that forks need not."""
    import alembic.command
    import clarity.evaluator.haaqi
    import pyloudnorm
    import soxr

    import harness.apart.running
    import harness.cli
    import harness.haaqi.fast.pairs
    import harness.making.make
    import harness.scoring.run
    import harness_leaderboard.store

    del alembic, clarity, pyloudnorm, soxr, harness, harness_leaderboard


@cache
def prepared(scenario: str) -> Path:
    """A folder in which a scenario was done, undisturbed; made by whichever process needs it first."""
    final = Path(os.environ["TRIALS_BASE"]) / "prepared" / scenario
    if final.exists():
        return final
    before = SCENARIOS[scenario][0]
    if before is not None:
        prepared(before)
    folder = Path(tempfile.mkdtemp(dir=os.environ["TRIALS_BASE"]))
    counts: dict[str, int] = {}

    def count() -> None:
        def hit(event: str, after: bool) -> None:
            counts[f"{event} {after}"] = counts.get(f"{event} {after}", 0) + 1
            Path("counts.json").write_text(json.dumps(counts))

        watch(hit)

    # Twice, and counted the second time: the first one also writes what is remembered in the cache.
    for first in (True, False):
        shutil.rmtree(folder)
        folder.mkdir()
        start(scenario, folder)
        ended = forked(command(scenario), folder, tagged("prepared", True, (lambda: None) if first else count))
        if ended.code:
            raise RuntimeError(f"{scenario} cannot be done undisturbed: {ended.stderr}")
    final.parent.mkdir(exist_ok=True)
    (folder / "counts.json").rename(final.parent / f"{scenario}.json")
    folder.rename(final)
    return final


def start(scenario: str, folder: Path) -> None:
    """Lay out in a folder what a scenario begins with."""
    before = SCENARIOS[scenario][0]
    if before is not None:
        shutil.copytree(prepared(before), folder, dirs_exist_ok=True)


@cache
def expected(scenario: str) -> State:
    """What a scenario leaves when nothing disturbs it."""
    return state_of(prepared(scenario))


@cache
def locked_scores(scenario: str) -> dict[tuple[str, str, str], tuple[float, ...]]:
    """The locked engine's scores of all files that occur in a scenario."""
    scores = {**expected("locked").scores}
    if scenario == "replace":
        scores.update(expected("replaced, locked").scores)
    return {key: value for key, value in scores.items() if key[2] == "locked"}


def points(events: Sequence[str], befores: Sequence[bool] = (False, True)) -> list[Point]:
    """All moments of all scenarios at which something can happen."""
    found = []
    for scenario in KILLED:
        counts = json.loads((prepared(scenario).parent / f"{scenario}.json").read_text())
        for event in events:
            for after in befores:
                found += [Point(scenario, event, after, k + 1) for k in range(counts.get(f"{event} {after}", 0))]
    return found


def _again(point: Point, folder: Path, remember: bool, workers: int) -> list[str]:
    ended = forked(command(point.scenario, workers), folder, tagged(folder.name, remember))
    problems = ended.problems(0)
    return problems or differences(folder, expected(point.scenario), locked_scores(point.scenario))


def killed(point: Point, remember: bool, folder: Path) -> Tally:
    """Kill the main process at a moment, and run the same command again."""
    tally, workers = Tally(), 1 if remember else 2
    start(point.scenario, folder)
    before = tagged(folder.name, remember, _at(point, _die))
    ended = forked(command(point.scenario, workers), folder, before)
    if ended.code == 0 and not left_of(folder.name):
        return tally  # the moment did not come: with workers, or with the cache full, there are fewer
    problems = [*ended.problems(-signal.SIGKILL), *left_of(folder.name)]
    problems += _again(point, folder, remember, workers)
    tally.add(f"KILL at a {point.event}{'' if remember else ', two workers'}", problems)
    return tally


def full(point: Point, folder: Path) -> Tally:
    """Have the disk full once at a moment, and run the same command again."""
    tally = Tally()
    start(point.scenario, folder)
    ended = forked(command(point.scenario), folder, tagged(folder.name, True, _at(point, _no_space)))
    problems = [*_refused(ended), *left_of(folder.name), *_again(point, folder, True, 1)]
    tally.add(f"disk full at a {point.event}", problems)
    return tally


def _refused(ended: Ended) -> list[str]:
    lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    # 0: what could not be written was a convenience, such as remembered hashes.
    return [*ended.problems(0, 1, 2), *([] if ended.code == 0 or len(lines) == 1 else ["no error in one line"])]


def tasks(trials: int, draw: random.Random) -> list[Task]:
    """0.85 N kills, one in twenty of them with two workers and real scores; and one full disk for ten kills."""
    load_everything()
    locked_scores("replace")
    kills, found = round(0.85 * trials), []
    for number, point in enumerate(_drawn(points(EVENTS), kills, draw)):
        remember = number % 20 != 19
        found.append(Task(partial(killed, point, remember), f"KILL at {point}{'' if remember else ', two workers'}"))
    for point in _drawn(points(FULL, (False,)), kills // 10, draw):
        found.append(Task(partial(full, point), f"disk full at {point}"))
    return found


def _drawn(all_points: list[Point], count: int, draw: random.Random) -> list[Point]:
    """Each moment once, in random order, before any of them twice."""
    found: list[Point] = []
    while len(found) < count:
        found += draw.sample(all_points, min(len(all_points), count - len(found)))
    return found
