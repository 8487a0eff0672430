"""What it costs that systems run in processes of their own.

    python benchmarks/apart.py [--rounds N] [--seconds S] [--pieces N] [-- --system NAME --option KEY=VALUE ...]

Enhances a part of an evaluation set like the official one (up to 5 pieces of S seconds, 20 listeners each) with a
system, in turn in the harness's own process (`--in-process`), in a child, and, where that is possible, in the sandbox
(`--isolate`), in as many rounds. Whole commands are timed, their start included, and compared within each round, so
that whatever else the machine does weighs on all alike. The sandbox's CPU time is not all seen: its system's is not.
Aim: at most 3 % and 1 s a run more than in the harness's own process.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from excerpt_set import build_slice

from harness.apart import sandbox
from harness.errors import UsageError

HARNESS = [sys.executable, "-m", "harness"]


def timed(data: Path, output: Path, *arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of one `harness enhance`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    command = [*HARNESS, "enhance", "--data", str(data), "--output", str(output), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each piece")
    parser.add_argument("--pieces", type=int, default=5, choices=range(1, 6))
    parser.add_argument("system", nargs="*", default=["--system", "centre"], help="default: --system centre")
    wanted = parser.parse_args()

    manners: dict[str, list[str]] = {"own process": ["--in-process"], "child": []}
    try:
        sandbox.ensure_possible()
        manners["sandbox"] = ["--isolate"]
    except UsageError as error:
        print(f"without the sandbox: {error}")
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "set"
        build_slice(data, wanted.pieces, wanted.seconds)
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in manners}
        for index in range(wanted.rounds + 1):
            for name, arguments in manners.items():
                output = Path(temporary) / f"{name.replace(' ', '-')}-{index}" / "made"
                measured = timed(data, output, *wanted.system, *arguments)
                if index:  # the first round fills caches
                    results[name].append(measured)
    print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    about = f"{wanted.pieces} pieces of {wanted.seconds:g} s, medians of {wanted.rounds} rounds"
    print(f"{' '.join(wanted.system)}: {about}\n")
    print(f"{'':12} {'wall':>9} {'CPU':>9} {'more wall':>18} {'more CPU':>18}")
    for name, measured in results.items():
        walls, cpus = zip(*measured, strict=True)
        pairs = list(zip(measured, results["own process"], strict=True))
        more = [statistics.median(ours[kind] - own[kind] for ours, own in pairs) for kind in (0, 1)]
        bases = [statistics.median(each[kind] for each in results["own process"]) for kind in (0, 1)]
        shown = "  ".join(f"{each:+7.2f} s {each / base:+7.1%}" for each, base in zip(more, bases, strict=True))
        print(f"{name:12} {statistics.median(walls):7.2f} s {statistics.median(cpus):7.2f} s  {shown}")


if __name__ == "__main__":
    main()
