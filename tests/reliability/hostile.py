"""What must come of the hostile plugins' modes, and running them: for the tests here and the trials in benchmarks."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support import Outcome, TinySet, write_tiny_set

from harness.apart import sandbox
from harness.errors import HarnessError

EVIL = Path(__file__).with_name("evil.py")
MADE = None
"""In place of a reason: the pair's remix is made, and is the one that an honest system makes."""

ENDED = r"ended with exit code|died with signal|closed its connection"
REASONS: dict[str, str | None] = {
    "os-exit": r"system evil ended with exit code 0",
    "crash": r"system evil died with signal 11",
    "abort": r"system evil died with signal 6",
    "kill-self": r"system evil died with signal 9",
    "kill-group": r"system evil died with signal 9",
    "close-all": ENDED,
    "garbage": r"system evil broke the protocol: its answer has the wrong form",
    "huge-answer": r"system evil broke the protocol: its answer has the wrong form",
    "no-json": r"system evil broke the protocol: its answer is not JSON",
    "exit": r"system evil raised SystemExit: 4 \(evil\.py:\d+\)",
    "interrupt": r"system evil raised KeyboardInterrupt",
    "own-kind": r"system evil raised _Own: of its own",
    "cancelled": r"system evil raised CancelledError",
    "generator-exit": r"system evil raised GeneratorExit",
    "stop-iteration": r"system evil raised StopIteration",
    "mute": r"system evil raised _Mute: \(its text cannot be had\)",
    "talkative": r"system evil raised ValueError: .{10,300}$",
    "surrogate": r"system evil raised ValueError: bad \\udcff name",
    "memory-error": r"system evil raised MemoryError: none",
    "deeper": r"system evil raised RecursionError",
    "transposed": r"system evil: its remix has shape \(2, \d+\), expected \(samples, 2\)",
    "complex": r"system evil: its remix is a complex128 array",
    "objects": r"system evil: its remix is a object array",
    "nothing": r"system evil: its remix is a NoneType",
    "infinite": r"system evil: its remix holds values that are not finite",
    "too-loud": r"system evil: its remix holds values that are not finite",
    "silent": r"system evil: returned silence",
    "liar": r"system evil: its remix holds values that are not finite",
    "records": r"system evil: its remix is a .* array",
    "endless": r"system evil: its remix has shape \(100000000000, 2\)",
    "long-double": r"system evil: its remix holds values that are not finite",
    **dict.fromkeys(("both-answer", "threads", "prints", "closes-output", "deaf"), MADE),
    **dict.fromkeys(("lost", "strict", "limited", "later", "strided", "swapped-bytes"), MADE),
}
"""What is said of a pair for which the plugin does this, as a pattern."""

CHILDREN: dict[str, str | None] = {"orphans": r"system evil ended with exit code 0", "children": MADE}

HANGING = {"hang": r"system evil took longer than 10 s, and was ended", "stop-self": r"system evil took longer than 10"}
HUNGRY = {"hog": r"system evil took more than 1 GB of memory"}
SEALED: dict[str, str | None] = {"daemon": MADE, "children": MADE, "os-exit": REASONS["os-exit"]}
"""What leaves its parent, or loses it: only of a sandbox it is certain that nothing is left."""

POISONS = ("closes-output", "lost", "strict", "limited", "deaf")
"""Modes that may spoil the process for whatever comes next there: its process is ended before it does."""

LOADING: dict[str, str | None] = {
    "exit": r"system evil could not be set up: SystemExit: 5",
    "os-exit": r"system evil could not be set up: it ended with exit code 0",
    "interrupt": r"system evil could not be set up: KeyboardInterrupt",
    "prints": MADE,
    "closes-output": MADE,
}

IMPORTING = {
    # what a plugin file says when it is imported: what the one line of error says
    "import sys; sys.exit(3)": r"SystemExit: 3",
    "import os; os._exit(0)": r"ended with exit code 0",
    "raise KeyboardInterrupt": r"KeyboardInterrupt",
    "class Own(BaseException): pass\nraise Own('x')": r"Own: x",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": r"died with signal 9",
    "import sys; sys.setrecursionlimit(50); f = lambda: f(); f()": r"RecursionError",
}

HONEST = "honest"


def listeners_for(modes: Sequence[str]) -> list[str]:
    """Names of listeners: each mode, then an honest pair that must be made whatever came before."""
    names = [HONEST]
    for mode in modes:
        names.append(mode)
        if mode in POISONS:
            names.append(f"reset.{mode}")
        names.append(f"then.{mode}")
    return names


def write_set(root: Path, listeners: Sequence[str]) -> TinySet:
    """An evaluation set of one scene with 0.7 s of music for these listeners, all of whom hear the same."""
    write_tiny_set(root)
    tiny = TinySet(root)
    tiny.edit("listeners", lambda all_of_them: {name: {**all_of_them["V1"], "name": name} for name in listeners})
    tiny.edit("scenes", lambda scenes: {"scene_V001": scenes["scene_V001"]})
    tiny.edit("scene_listeners", lambda _: {"scene_V001": list(listeners)})
    return tiny


@dataclass(frozen=True)
class Came:
    """What came of a run of a plugin.

    Attributes:
        code, stdout, stderr: how the command ended and what it said.
        left: processes that it left.
        reasons: why pairs failed, by listener.
        hashes: of the remixes that are there, by listener.
        strange: names of other files in the submission.
    """

    code: int
    stdout: str
    stderr: str
    left: list[str]
    reasons: dict[str, str]
    hashes: dict[str, str]
    strange: list[str]


def came_of(outcome: Outcome, folder: Path, tag: str) -> Came:
    """Look at what a run has left.

    Args:
        outcome: of the command.
        folder: of the submission.
        tag: the value of LC_HARNESS_TRIAL in its environment.
    """
    said = json.loads(outcome.stdout) if outcome.stdout.strip() else {"failures": []}
    files = json.loads((folder / "submission.json").read_bytes())["files"] if folder.exists() else {}
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    return Came(
        outcome.code,
        outcome.stdout,
        outcome.stderr,
        survivors(tag),
        {failure["listener"]: failure["reason"] for failure in said["failures"]},
        {name.split("_")[2]: record["sha256"] for name, record in files.items() if name in names},
        sorted(names - set(files) - {"submission.json"}),
    )


def problems_of(mode: str, expected: str | None, came: Came) -> list[str]:
    """What is wrong with what came of one mode, and of the honest pair after it."""
    problems = []
    reason = came.reasons.get(mode)
    if expected is MADE:
        if came.hashes.get(mode) != came.hashes[HONEST]:
            problems.append(f"not made: {reason}")
    elif reason is None or mode in came.hashes or not re.search(expected, reason):
        problems.append(f"reason: {reason}")
    elif len(reason) > 700 or "\n" in reason:
        problems.append(f"the reason is no line: {reason!r}")
    if came.hashes.get(f"then.{mode}") != came.hashes[HONEST]:
        problems.append(f"the next pair is not made: {came.reasons.get(f'then.{mode}')}")
    return problems


def problems_of_all(came: Came) -> list[str]:
    """What is wrong with a run as a whole."""
    problems = [f"left: {each}" for each in [*came.left, *came.strange]]
    if came.code != (1 if came.reasons else 0):
        problems.append(f"exit code {came.code}: {came.stderr[-300:]}")
    if "Traceback" in came.stderr or "\x1b" in came.stderr:
        problems.append(f"said: {came.stderr[-300:]!r}")
    return problems


def problems_of_end(outcome: Outcome, expected: str | None) -> list[str]:
    """What is wrong with the end of a command whose plugin goes wrong before any music is touched."""
    if expected is MADE:
        return [] if (outcome.code, outcome.json["failures"]) == (0, []) else [f"not made: {outcome.stderr[-300:]}"]
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("error: ")]
    if outcome.code not in (1, 2) or outcome.stdout or "Traceback" in outcome.stderr:
        return [f"exit code {outcome.code}, {outcome.stdout[:100]!r}, {outcome.stderr[-300:]!r}"]
    return [] if len(errors) == 1 and re.search(expected, errors[0]) else [f"said: {errors}"]


# ---- tampering ------------------------------------------------------------------------------------------

TAMPERING_ANYWHERE = ("evaluator", "store", "for-ever", "environ", "numpy", "modules", "stems", "in-advance")
TAMPERING_SEALED = ("stems-on-disk", "write-scores")
"""What a process of the same user can do, and one in a sandbox cannot."""
TAMPERING = {
    "process": (HONEST, *TAMPERING_ANYWHERE, "last"),
    "sandbox": (HONEST, *TAMPERING_ANYWHERE, *TAMPERING_SEALED, "last"),
    "in-process": (HONEST, "evaluator"),
}

Scores = Mapping[str, tuple[float, float, float]]
"""Left, right and mean score by listener."""


def tampering_options(arena: Path) -> list[str]:
    """Options that run the tampering plugin, which looks and writes in this folder alone."""
    plugin = Path(__file__).with_name("tampering.py")
    return ["--plugin", str(plugin), "--option", f"arena={str(arena).encode().hex()}"]


def scores_of(outcome: Outcome) -> Scores:
    """The scores that `harness run --json` printed."""
    return {row["listener"]: (row["left_score"], row["right_score"], row["score"]) for row in outcome.json["scores"]}


def problems_of_tampering(mode: str, honest: Scores, scores: Scores, failures: Mapping[str, str]) -> list[str]:
    """What is wrong with a pair of the tampering plugin: it must have an honest system's score, or have failed."""
    if mode not in failures:
        return [] if scores.get(mode) == honest[mode] else [f"{mode}: {scores.get(mode)}, not {honest[mode]}"]
    harmless = mode in (HONEST, "last", "stems", *TAMPERING_SEALED)
    if harmless or mode in scores or not failures[mode].startswith("system tampering "):
        return [f"{mode}: {failures[mode]}"]
    return []


# ---- running --------------------------------------------------------------------------------------------


@cache
def no_sandbox() -> str | None:
    """Why no sandbox can be made here."""
    try:
        sandbox.ensure_possible()
    except HarnessError as error:
        return str(error)
    return None


def run_program(arguments: Sequence[object], folder: Path) -> Outcome:
    """Run `harness ARGUMENTS` as a program, in `folder`, whose name is the tag of what it starts."""
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "LC_HARNESS_TRIAL": folder.name},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def survivors(tag: str, seconds: float = 5.0) -> list[str]:
    """Processes that still live `seconds` after a command whose environment has LC_HARNESS_TRIAL=tag; they are killed.

    Of such a name since variables for the language are passed on to workers.
    """
    until = time.monotonic() + seconds
    while (alive := dict(_tagged(tag))) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in alive:
        os.kill(pid, 9)
    return [command[:200] for command in alive.values()]


def _tagged(tag: str) -> Iterator[tuple[int, str]]:
    mark = f"LC_HARNESS_TRIAL={tag}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    yield int(entry.name), command.decode(errors="replace")
            except OSError:
                continue
