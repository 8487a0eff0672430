"""Signals at random moments of `harness run`: a machine that dies, one process that does, TERM, Ctrl-C."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from . import injected
from .common import (
    DATABASE,
    HARNESS,
    PATIENCE,
    SUBMISSION,
    Ended,
    Tally,
    Task,
    differences,
    evaluation_set,
    left_of,
    said,
    scores_in,
)

KINDS = {
    # kind: how often, exit codes that are in order
    "KILL, the machine": (6, {-9}),
    "KILL, the main process": (3, {-9}),
    "KILL, a worker": (3, {0, 1}),
    "KILL, the system": (3, {0, 1, 2}),
    "TERM": (2, {-15, 143, 1}),
    "INT": (2, {130, -2}),
}
LONGEST = 4
"""Most signals before a run is left to end by itself."""


def _children(pid: int, mark: str) -> list[psutil.Process]:
    found = []
    try:
        for child in psutil.Process(pid).children():
            try:
                if mark in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.Error:
                continue
    except psutil.Error:
        pass
    return found


def _workers(pid: int) -> list[psutil.Process]:
    return _children(pid, "harness.compute.worker")


def _systems(pid: int) -> list[psutil.Process]:
    return _children(pid, "apart/child.py")


def _moment(kind: str, workers: int, folder: Path, draw: random.Random) -> tuple[str, Callable[[int], object], float]:
    """A moment in words, what says that it has come, and seconds to wait then."""
    made, known = folder / SUBMISSION, len(scores_in(folder / DATABASE))
    files = len(list(made.glob("*.flac")))
    k = draw.randint(1, 4)
    at: dict[str, Callable[[int], object]] = {
        "at the start": lambda _: True,
        "with the system": _systems,
        "with the database": lambda _: (folder / DATABASE).exists(),
        f"at {files + k} files": lambda _: len(list(made.glob("*.flac"))) >= min(files + k, 4),
        f"at {known + k} scores": lambda _: len(scores_in(folder / DATABASE)) >= known + k,
        "with the workers": _workers,
    }
    if kind == "KILL, the system":
        name = "with the system"
    elif kind == "KILL, a worker":
        name = "with the workers"
    else:
        name = draw.choice([each for each in at if workers > 1 or each != "with the workers"])
    longest = 4.0 if name == "at the start" else draw.choice([0.0, 0.05, 0.5, 3.0])
    return name, at[name], draw.random() * longest


def _send(kind: str, pid: int, draw: random.Random) -> bool:
    """Send what is to be sent; False if whom it is for is not there."""
    try:
        if kind == "KILL, the machine":
            main = psutil.Process(pid)
            main.suspend()
            family = [main, *main.children(recursive=True)]
            for process in family:
                process.suspend()
            for process in family:
                process.kill()
        elif kind == "KILL, the main process":
            os.kill(pid, signal.SIGKILL)
        elif kind in ("KILL, a worker", "KILL, the system"):
            there = _workers(pid) if kind == "KILL, a worker" else _systems(pid)
            if not there:
                return False
            draw.choice(there).kill()
        else:  # as a terminal does: the whole group
            os.killpg(pid, signal.SIGTERM if kind == "TERM" else signal.SIGINT)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


@dataclass
class _Strike:
    """Waits for the moment, and sends what is to be sent."""

    kind: str
    ready: Callable[[int], object]
    seconds: float
    draw: random.Random
    sent: bool = False

    def __call__(self, process: Any) -> None:
        until = time.monotonic() + PATIENCE / 2
        while process.poll() is None and not self.ready(process.pid) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(self.seconds)
        self.sent = process.poll() is None and _send(self.kind, process.pid, self.draw)


def run(arguments: list[str], folder: Path, tag: str, meanwhile: Callable[[Any], None] = lambda _: None) -> Ended:
    """Run a command as a process of its own; what it says goes to files, which are read and removed."""
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*HARNESS, *arguments],
            cwd=folder,
            env={**os.environ, "LC_HARNESS_TRIAL": tag},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            # Whoever runs this in the background has SIGINT ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    meanwhile(process)
    code: int | None
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = None
    return said(folder, code)


def _is_pythons_own(ended: Ended) -> bool:
    """Whether Ctrl-C came in the first hundredths of a second, while Python looks for its packages."""
    places = [line for line in ended.stderr.splitlines() if line.startswith("  File ")]
    return bool(places) and all('File "<' in place for place in places) and "KeyboardInterrupt" in ended.stderr


def chain(seed: int, folder: Path) -> Tally:
    """Up to `LONGEST` signals to the same run, which is then left to end by itself and compared."""
    draw, tally = random.Random(seed), Tally()
    engine = "locked" if draw.random() < 0.2 else "fast"
    workers = draw.choice([1, 2, 2])
    arguments = ["run", "--system", "passthrough", "--engine", engine, "--workers", str(workers), "--json"]
    arguments += ["--data", str(evaluation_set()), "--output", SUBMISSION, "--db", DATABASE]
    kinds = [kind for kind in KINDS if workers > 1 or kind != "KILL, a worker"]
    history: list[str] = []
    for _ in range(draw.randint(1, LONGEST)):
        kind = draw.choices(kinds, [KINDS[each][0] for each in kinds])[0]
        name, ready, seconds = _moment(kind, workers, folder, draw)
        strike = _Strike(kind, ready, seconds, draw)
        ended = run(arguments, folder, folder.name, strike)
        left = left_of(folder.name)
        # It may have ended in time, all by itself.
        if strike.sent and not (ended.code == 0 and not left):
            history.append(f"{kind} {name} + {seconds:.2f} s")
            if _is_pythons_own(ended):
                tally.add("INT while Python itself starts, before any line of harness", left)
                continue
            tally.add(f"{kind} at a random moment", [*ended.problems(*KINDS[kind][1]), *left])
        elif left or ended.code:
            tally.add("no signal came", [*ended.problems(0), *left])
        if ended.code == 0:
            break
    ended = run(arguments, folder, folder.name)
    scenario = "run" if engine == "fast" else "locked"
    problems = [*ended.problems(0), *left_of(folder.name)]
    if not problems:
        expected = injected.expected(scenario)
        if engine == "locked":
            scores = {key: value for key, value in expected.scores.items() if key[2] == "locked"}
            expected = type(expected)(scores, expected.pairs, expected.runs, expected.files, expected.manifest)
        problems = differences(folder, expected, injected.locked_scores("run"))
    tally.add("the same command after these signals", [f"{', '.join(history)}: {each}" for each in problems])
    return tally


def tasks(trials: int, draw: random.Random) -> list[Task]:
    """Chains that have 0.15 N signals together, more or less."""
    injected.load_everything()
    injected.locked_scores("run")
    injected.expected("run")
    seeds = [draw.randrange(10**9) for _ in range(max(1, round(0.15 * trials * 2 / (LONGEST + 1))))]
    return [Task(partial(chain, seed), f"signals with chain seed {seed}") for seed in seeds]
