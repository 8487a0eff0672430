"""What a second worker brings when pairs are scored, and how much memory a worker takes.

    python benchmarks/workers.py [--engine locked|fast] [--seconds S] [--rounds N] [--memory-seconds S]

Scores the same 8 pairs (with the fast engine 40, of two scenes) with 1 worker (in this process, which has compiled
HAAQI beforehand) and with 2 (processes that start, import and compile first), in turns. The limit is 2 times, where two
cores are free; the aim 1.8 times. Printed for each round and as medians:

    wall        wall time with 1 worker over that with 2, start-up of the workers included
    started     the same without the start-up of the workers, which long runs do not notice. Start-up is the time until
                a worker's first task, and by how much that takes longer than the median of its others
    CPU         twice the processor time of a task with 1 worker over that with 2 (medians): what would be reached if
                no other program took any time; less than 2 where two workers get into each other's way
    cores had   how much of two cores the two workers had from their first task to their last. Well below 2, other
                programs ran, and "wall" and "started" are too low by about as much

Then two workers score a longer pair each, and say how much memory they had at most.
"""

import argparse
import os
import pickle
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from excerpt_set import build, build_slice

from harness.compute.local import map_unordered
from harness.enhancement import amplify, to_remix_format
from harness.files import sha256_of
from harness.haaqi import fast
from harness.haaqi.conformance import disagreements
from harness.haaqi.evaluator import EngineName, Score
from harness.music.evaluationset import EvaluationSet
from harness.scoring import tasks
from harness.submission.flac import encode

WORKERS = 2


@dataclass(frozen=True)
class Work:
    """One task as a worker saw it: when in seconds since the epoch, processor time, the most memory so far in MiB."""

    process: int
    start: float
    end: float
    cpu: float
    memory: float

    @property
    def wall(self) -> float:
        return self.end - self.start


def score(task: tasks.ScoreTask) -> Work:
    """Score a pair, in whatever process."""
    start, cpu = time.time(), time.process_time()
    outcome = tasks._score_one(task)
    if not isinstance(outcome, Score):
        raise RuntimeError(outcome)
    return Work(os.getpid(), start, time.time(), time.process_time() - cpu, _peak())


def score_pickled(task: bytes) -> bytes:
    """`score`, as workers are asked for it."""
    return pickle.dumps(score(pickle.loads(task)))  # noqa: S301 - our own


def _peak() -> float:
    """The most memory that this process had resident so far, in MiB."""
    try:
        # Linux: of this program alone. What getrusage says may stem from the process that started it.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def tasks_of(found: EvaluationSet, folder: Path, engine: EngineName) -> list[tasks.ScoreTask]:
    """Write for each pair a submission, the amplified mixture, and make the task to score it."""
    folder.mkdir()
    made = []
    for pair in found.pairs:
        path = folder / pair.remix_name
        samples, _ = to_remix_format(amplify(pair.scene.read("mixture"), pair.listener))
        path.write_bytes(encode(samples))
        music = tuple((file, sha256_of(file)) for file in (pair.scene.folder / f"{name}.wav" for name in tasks.MUSIC))
        made.append(tasks.ScoreTask(pair, path.parent, sha256_of(path), music, engine))
    return made


def run(todo: Sequence[tasks.ScoreTask], workers: int) -> tuple[list[Work], float]:
    """Score them all; what the workers say, and the wall time."""
    tasks._reference.cache_clear()
    start = time.perf_counter()
    # Workers import what is installed and nothing else, so each task says where this file is.
    here = Path(__file__).resolve()
    expressions = [
        f"(__import__('sys').path.append({str(here.parent)!r}), __import__({here.stem!r}).score_pickled({task!r}))[1]"
        for task in map(pickle.dumps, todo)
    ]
    done = [pickle.loads(work) for _, work in map_unordered(eval, expressions, workers)]  # noqa: S301 - our own
    return done, time.perf_counter() - start


def compare(todo: Sequence[tasks.ScoreTask]) -> dict[str, float]:
    """One round: the figures of the table."""
    alone, wall = run(todo, 1)
    begin = time.time()
    shared, wall_shared = run(todo, WORKERS)
    by_worker: dict[int, list[Work]] = {}
    for work in sorted(shared, key=lambda work: work.start):
        by_worker.setdefault(work.process, []).append(work)
    first = [works[0] for works in by_worker.values()]
    others = [work for works in by_worker.values() for work in works[1:]]
    usual = statistics.median(work.wall for work in others)
    start_up = statistics.fmean(work.start - begin + work.wall - usual for work in first)
    active = sum(works[-1].end - works[0].start for works in by_worker.values())
    return {
        "1 worker, s": wall,
        "2 workers, s": wall_shared,
        "start-up, s": start_up,
        "wall": wall / wall_shared,
        "started": wall / (wall_shared - start_up),
        "CPU": WORKERS * statistics.median(work.cpu for work in alone) / statistics.median(w.cpu for w in others),
        "cores had": len(by_worker) * sum(work.cpu for work in shared) / active,
        "worker, MiB": max(work.memory for work in shared),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("locked", "fast"), default="locked", help="(default: locked)")
    parser.add_argument("--seconds", type=float, default=5.7, help="length of the music (default 5.7)")
    parser.add_argument("--rounds", type=int, default=1, help="rounds, some minutes each (default 1)")
    parser.add_argument("--memory-seconds", type=float, default=10.0, help="music for the memory (default 10)")
    wanted = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        many = partial(build_slice, scenes=2) if wanted.engine == "fast" else build
        todo = tasks_of(many(root / "set", seconds=wanted.seconds), root / "submission", wanted.engine)
        disagreements()  # compiles HAAQI
        run(todo[:1], 1)  # imports the rest of what an engine needs
        fast.forget()
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        rows = []
        for _ in range(wanted.rounds):
            rows.append(compare(todo))
            if len(rows) == 1:
                print(f"{len(todo)} pairs of {wanted.seconds:g} s\n")
                print(f"{'':8}" + "".join(f"{name:>14}" for name in rows[0]))
            print(f"round {len(rows):<2}" + "".join(f"{value:14.2f}" for value in rows[-1].values()), flush=True)
        medians = (statistics.median(row[name] for row in rows) for name in rows[0])
        print("median  " + "".join(f"{value:14.2f}" for value in medians))

        long = tasks_of(build(root / "long", wanted.memory_seconds), root / "long-submission", wanted.engine)
        done, _ = run(long[:WORKERS], WORKERS)
    peak = max(work.memory for work in done)
    print(f"\npeak memory of a worker that scores a pair of {wanted.memory_seconds:g} s: {peak:.0f} MiB")
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
