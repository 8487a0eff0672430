"""What it costs the main process to hand work to other processes and machines.

    python benchmarks/cluster.py [executors|thousand] [--tasks N] [--workers N ...] [--seconds S] [--scenes N]

Every figure is of a process of its own, and every processor time of that main process alone: walls depend on the
machine, which workers share with it here.

`executors` hands out N tasks (19,200, as a system has on the official set) to 2 workers of each kind: processes, a Dask
cluster on this machine, jobs of a Slurm that is started for it (`make services`). The tasks are real ones, pair by
pair, and so is what works on them, but there are no files to score: what remains is the handing out. Printed for each:

    first score    seconds from nothing until a real pair (2 s of music, fast engine) has its score
    CPU ms         processor time of the main process for each task
    tasks/s        how many it could hand out in a second if it had a core to itself and workers enough
    memory         how much more the main process had, in MiB

`thousand` scores whole systems with the locked engine and workers that sleep S seconds for each pair, 10, 100 and 1,000
of them: real workers of Dask, each with its own connection, in a few processes. All else is as in
`harness score --cluster slurm`, with TLS. The aim with 1,000 workers at 5 s a pair: half a core, and 500 MB.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from clusters.thousand import peak, simulate
from excerpt_set import build_many, build_slice
from workers import tasks_of

from harness.challenge import PROTOCOL
from harness.compute.executor import Executor
from harness.compute.local import LocalProcesses
from harness.scoring import tasks

CORE_AIM, MEMORY_AIM = 0.5, 500.0


@contextlib.contextmanager
def opened(kind: str, folder: Path) -> Iterator[Executor]:
    """Two workers."""
    if kind == "processes":
        yield LocalProcesses(2)
        return
    from harness.compute.cluster.opening import opened_cluster

    if kind == "dask":
        with opened_cluster("local", None, "score", 2) as executor:
            yield executor
        return
    from services.slurm import running_slurm

    config = folder / "cluster.yaml"
    config.write_text(f"jobs: 2\ncores: 1\nmemory: 1GB\nfolder: {folder / 'jobs'}\n")
    with running_slurm(2) as slurm:
        os.environ.update(slurm.environment)
        with opened_cluster("slurm", config, "score", 2) as executor:
            yield executor


def hand_out(kind: str, count: int) -> dict[str, float]:
    """Hand out tasks that come to nothing."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        found = build_many(root / "set", -(-count // 20))
        (root / "nothing").mkdir()
        shared = tasks.shared_by_scene(found)
        proven = tasks.described(PROTOCOL).sha256
        chunks = [
            tasks.Chunk((tasks.task_of(pair, root / "nothing", "0" * 64, shared),), proven)
            for pair in found.pairs[:count]
        ]
        real = tasks_of(build_slice(root / "real", 1, 2.0), root / "submission")[:1]
        scored = tasks.Chunk((replace(real[0], engine="fast"),), proven)
        # Compiles what workers will find compiled.
        for _ in LocalProcesses(1, apart=True).map_unordered(tasks.score_chunk, [scored]):
            pass
        before, began = peak(), time.monotonic()
        with opened(kind, root) as executor:
            # Two of them: one alone would be scored in this process, where that is possible.
            for _, result in executor.map_unordered(tasks.score_chunk, [scored, scored]):
                assert isinstance(result[0][0], tasks.Score), result
                break
            first = time.monotonic() - began
            wall, cpu = time.monotonic(), time.process_time()
            for chunk, result in executor.map_unordered(tasks.score_chunk, chunks):
                assert "is gone" in result[0][0], (chunk, result)
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        return {
            "first score, s": first,
            "CPU ms": cpu / count * 1e3,
            "tasks/s": count / cpu,
            "wall ms": wall / count * 1e3,
            "memory": peak() - before,
        }


def measured(*what: Any) -> dict[str, float]:
    """Call a function of this file or of `thousand` in a process of its own."""
    command = [sys.executable, __file__, "--call", json.dumps(what)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ourselves
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["executors", "thousand"], help="executors, thousand, or both")
    parser.add_argument("--tasks", type=int, default=19_200, help="for executors (default 19200)")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000], help="that sleep")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a pair takes (default 5)")
    parser.add_argument("--scenes", type=int, help="by default what 1,000 workers do 960 of")
    parser.add_argument("--chunks-per-worker", type=int, default=tasks.CHUNKS_PER_WORKER)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    if wanted.call:
        name, *arguments = json.loads(wanted.call)
        print(json.dumps({"simulate": simulate, "hand_out": hand_out}[name](*arguments)))
        return

    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    if "executors" in wanted.what:
        from services import slurm

        why = slurm.missing()
        for kind in ["processes", "dask", *([] if why else ["slurm"])]:
            row = measured("hand_out", kind, wanted.tasks)
            print(f"{kind:10}" + "".join(f"  {name} {value:.2f}" for name, value in row.items()), flush=True)
        if why:
            print(f"slurm: {why}")
    if "thousand" in wanted.what:
        for workers in wanted.workers:
            scenes = wanted.scenes or max(10, min(960, 960 * workers // 1000))
            row = measured("simulate", workers, scenes, wanted.seconds, wanted.database, wanted.chunks_per_worker)
            for name, value in row.items():
                print(f"  {name:28}{value:12.3f}".rstrip("0").rstrip("."))
            if workers == 1000:
                print(f"  of half a core {row['share of a core'] / CORE_AIM:.0%}", end=", ")
                print(f"of 500 MB {row['peak memory, MiB'] * 2**20 / 1e6 / MEMORY_AIM:.0%}")
            print(flush=True)
    print(f"load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
