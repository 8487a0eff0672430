"""The reliability trials in their long form: kills, full disks, damaged files and hostile plugins by the thousand.

    python benchmarks/reliability.py --trials N [--seed S] [--only NAME] [--jobs J]

Everything happens on a tiny evaluation set (2 scenes, 2 listeners, 0.7 s of music) in a folder of its own, with real
systems in processes of their own and both engines. A run that was killed or had no room is started again with the same
command, and what it leaves is compared with an undisturbed run: scores to the last digit, files' hashes, the manifest
but for its costs, the database's integrity, the number of runs, processes and temporary files left, tracebacks.

    signals    0.15 N signals at random moments: KILL of everything, of the main process, of a worker, of the process
               that runs the system; TERM; INT
    injected   0.85 N kills right before or after the k-th SQL statement, commit, fsync or rename of the main process,
               and 0.085 N full disks there
    mutations  5 N damaged FLAC files, manifests and metadata
    databases  0.4 N damaged databases, read by `harness leaderboard --json`
    plugins    every mode of the hostile and tampering plugins of tests/reliability/ once

Prints a line for every failure, with how to repeat it, and a table of trials, counts and failures; exit code 1 if any
failed. `--only KIND:TEXT` repeats those trials of a kind whose description holds a text.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
# Not by way of the package `reliability` in tests: this very file has that name.
sys.path += [str(TESTS), str(TESTS / "reliability")]

from support import write_tiny_set
from trials.common import Tally, Task

KINDS = ("signals", "injected", "mutations", "databases", "plugins")


def prepare(base: str) -> None:
    """Give this process, and all that it starts, a cache and a base folder for trials; quiet and single-threaded."""
    os.environ.update(TRIALS_BASE=base, COLUMNS="200")
    os.environ.setdefault("HARNESS_CACHE", f"{base}/cache")
    for name in ("HARNESS_DB", "HARNESS_PLUGINS"):
        os.environ.pop(name, None)
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"))


def work(task: Task) -> Tally:
    """Do a task in a folder that goes when all is well."""
    folder = Path(tempfile.mkdtemp(prefix="trial-", dir=os.environ["TRIALS_BASE"]))
    try:
        tally = task.work(folder)
    except Exception:
        tally = Tally()
        tally.add("the trial itself", [traceback.format_exc()])
    if not tally.failures:
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def table(tally: Tally) -> str:
    failed = [row for row, _ in tally.failures]
    rows = [f"| {row} | {count:,} | {failed.count(row)} |" for row, count in sorted(tally.counts.items())]
    return "\n".join(["| trial | count | failures |", "|---|---:|---:|", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="scale of the counts (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (default 0)")
    parser.add_argument("--only", metavar="KIND[:TEXT]", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default 2)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so long")
    wanted = parser.parse_args()
    chosen, _, text = (wanted.only or "").partition(":")
    if chosen and chosen not in KINDS:
        parser.error(f"--only {chosen}: expected one of {', '.join(KINDS)}")
    base = tempfile.mkdtemp(prefix="trials-")
    prepare(base)
    write_tiny_set(Path(base) / "tiny")
    print(f"in {base}; preparing ...", flush=True)
    tally, began = Tally(), time.monotonic()
    context = multiprocessing.get_context("spawn")
    for kind in [chosen] if chosen else KINDS:
        module = importlib.import_module(f"trials.{kind}")
        with ProcessPoolExecutor(1, context, prepare, (base,)) as alone:
            # In a process of its own: this one starts threads, and whoever forks must have none.
            tasks = alone.submit(module.tasks, wanted.trials, random.Random(f"{wanted.seed} {kind}")).result()
        tasks = [task for task in tasks if text in task.repeat]
        random.Random(wanted.seed).shuffle(tasks)  # so that of every sort there are some, if time is short
        with ProcessPoolExecutor(wanted.jobs, context, prepare, (base,)) as pool:
            futures = {pool.submit(work, task): task for task in tasks}
            for done, future in enumerate(as_completed(futures), 1):
                if future.cancelled():
                    continue
                result = future.result()
                for row, problem in result.failures:
                    print(
                        f"FAILED {row}: {problem}\n  repeat: --trials {wanted.trials} --seed {wanted.seed} "
                        f"--only '{kind}:{futures[future].repeat}'",
                        flush=True,
                    )
                tally.merge(result)
                if done % 25 == 0:
                    print(f"{kind}: {done} of {len(futures)}, {time.monotonic() - began:.0f} s", flush=True)
                if time.monotonic() - began > 60 * wanted.minutes:
                    for waiting in futures:
                        waiting.cancel()
    unfinished = list(Path(os.environ["HARNESS_CACHE"]).rglob(".partial-*"))
    print(
        f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.monotonic() - began:.0f} s; "
        f"{len(unfinished)} unfinished files in the cache\n\n{table(tally)}"
    )
    if tally.failures:
        raise SystemExit(1)
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
