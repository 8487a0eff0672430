"""How much faster `harness score --engine fast` is as a whole, and what that makes of the official set.

    python benchmarks/fast_score.py [--whole] [--workers N]

A slice of a set like the official one: music of 10 s, five scenes with 20 listeners each. The submission is the
unprocessed mixture for each of them. One after the other, each as a process of its own, with a new database and the
same workers:

    harness score DIR --data ROOT --limit 1 --engine fast        one scene
    harness score DIR --data ROOT --limit 1 --engine locked
    harness score DIR --data ROOT --engine fast                  five scenes, and again with one worker
    harness score DIR --data ROOT --engine locked                with --whole only: half an hour on two cores

Start, validation, hashing, the check of the sources, workers' start-up, and, with the fast engine, the ears that are
checked (2 % by double precision, and none by the locked evaluator in so few) are all in the time. What is done once in
an environment is done beforehand: the proof by the conformance vectors, and the compilation of the fast engine.

Without --whole, five scenes of the locked evaluator are taken as five times its one scene: it spends all its time in
pairs, and start-up, counted five times then, is some hundredth of it.

The extrapolation to the 19,200 pairs of the official set on two cores: c is the processor time of a locked pair, f that
of a fast one with the checks by double precision, from the five scenes; the whole is 19,200 c, or 19,200 f plus c / 2
for each ear that the locked evaluator checks. The scores of both engines are compared as well.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excerpt_set import SPLIT, build_slice

from harness.compute.local import available_cpus
from harness.enhancement import amplify, to_remix_format
from harness.music.evaluationset import EvaluationSet
from harness.submission.flac import encode
from harness_leaderboard.checks import checks_due

SCENES, SECONDS = 5, 10.0
OFFICIAL_PAIRS = 19_200
CORES = 2


@dataclass(frozen=True)
class Scoring:
    """One run of `harness score`: times in seconds, the scores, and how many ears the locked evaluator checked."""

    wall: float
    cpu: float
    scores: dict[tuple[str, str], tuple[float, float]]
    checked: int


def submit(found: EvaluationSet, folder: Path) -> None:
    """Write the unprocessed mixture for each pair; without a manifest, as a stranger may."""
    folder.mkdir()
    for scene in found.scenes:
        mixture = scene.read("mixture")
        for listener in scene.listeners:
            samples, _ = to_remix_format(amplify(mixture, listener))
            (folder / f"{scene.id}_{listener.id}_remix.flac").write_bytes(encode(samples))


def run(*arguments: object) -> str:
    """Run `harness ARGUMENTS` and return what it prints."""
    program = "from harness.cli import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"harness {' '.join(map(str, arguments))} ended with {done.returncode}")
    return done.stdout


def score(folder: Path, data: Path, engine: str, workers: int, *more: object) -> Scoring:
    """Score the submission from nothing."""
    with tempfile.TemporaryDirectory() as temporary:
        table = Path(temporary) / "scores.csv"
        database = f"sqlite:///{temporary}/leaderboard.db"
        before, start = _children(), time.perf_counter()
        printed = run(
            *("score", folder, "--data", data, "--split", SPLIT, "--db", database, "--csv", table),
            *("--engine", engine, "--workers", workers, "--json", *more),
        )
        wall, cpu = time.perf_counter() - start, _children() - before
        report: dict[str, Any] = json.loads(printed)
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
    scores = {(row["scene"], row["listener"]): (float(row["left_score"]), float(row["right_score"])) for row in rows}
    return Scoring(wall, cpu, scores, report["engine"]["checked"])


def _children() -> float:
    """Processor time of all processes that this one has started and that have ended, with theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def extrapolate(fast: Scoring, locked: Scoring) -> None:
    """The official set, from the processor time of a slice."""
    slow = locked.cpu / len(locked.scores)
    pairs = len(fast.scores)
    quick = (fast.cpu - fast.checked * slow / 2) / pairs
    whole_locked = OFFICIAL_PAIRS * slow
    checked = checks_due(2 * OFFICIAL_PAIRS)
    check = checked * slow / 2
    whole_fast = OFFICIAL_PAIRS * quick + check
    print(f"\nprocessor time of a pair: locked {slow:.2f} s, fast {quick:.2f} s without locked checks")
    print(f"{OFFICIAL_PAIRS:,} pairs on {CORES} cores:")
    print(f"  locked  {whole_locked / CORES / 3600:8.2f} h")
    print(
        f"  fast    {whole_fast / CORES / 3600:8.2f} h, "
        f"of which {check / CORES / 3600:.2f} h for {checked} locked checks"
    )
    print(f"  ratio   {whole_locked / whole_fast:8.1f}")


def show(scenes: int, fast: Scoring, wall: float, cpu: float) -> None:
    """A line of the table; wall and cpu are the locked evaluator's."""
    print(f"{scenes} x 20{wall:16.1f}{fast.wall:14.1f}{wall / fast.wall:8.1f}", end="")
    print(f"{cpu:16.1f}{fast.cpu:14.1f}{cpu / fast.cpu:8.1f}{fast.checked:9}", flush=True)


def difference(fast: Scoring, locked: Scoring) -> float:
    """Largest difference of a score between the engines, over the pairs that both scored."""
    return max(
        abs(ours - theirs)
        for pair, ears in locked.scores.items()
        for ours, theirs in zip(fast.scores[pair], ears, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true", help="have the locked evaluator score all five scenes too")
    parser.add_argument(
        "--workers", type=int, default=available_cpus(), help="(default: the cores that are free to use)"
    )
    wanted = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        data, folder = Path(temporary) / "set", Path(temporary) / "unprocessed"
        found = build_slice(data, SCENES, SECONDS)
        submit(found, folder)
        # Once in an environment: the proof, and the compilation of the fast engine.
        run("evaluator", "verify")
        warm = "from harness.haaqi.agreement import ensure_agreement; ensure_agreement()"
        subprocess.run([sys.executable, "-c", warm], check=True)  # noqa: S603

        print(f"\npairs of {SECONDS:g} s, {wanted.workers} workers")
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        print(f"{'':6}{'locked, wall s':>16}{'fast, wall s':>14}{'ratio':>8}", end="")
        print(f"{'locked, CPU s':>16}{'fast, CPU s':>14}{'ratio':>8}{'checked':>9}")
        fast_one = score(folder, data, "fast", wanted.workers, "--limit", 1)
        locked = score(folder, data, "locked", wanted.workers, "--limit", 1)
        show(1, fast_one, locked.wall, locked.cpu)
        fast = score(folder, data, "fast", wanted.workers)
        if wanted.whole:
            locked = score(folder, data, "locked", wanted.workers)
            show(SCENES, fast, locked.wall, locked.cpu)
        else:
            show(SCENES, fast, SCENES * locked.wall, SCENES * locked.cpu)
        alone = score(folder, data, "fast", 1)
        print(f"\nfast, {SCENES} x 20, 1 worker: {alone.wall:.1f} s, {alone.wall / fast.wall:.2f} times as long")
        print(f"largest difference of a score, {len(locked.scores)} pairs: {difference(fast, locked):.1e}")
        extrapolate(fast, locked)
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
