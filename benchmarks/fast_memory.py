"""How long it takes until a worker's first score, and how much memory it takes, with either engine.

    python benchmarks/fast_memory.py [--seconds S] [--rounds N]

In turns, each in a process of its own that does what a worker does (import the pipeline, score a pair, score another),
with one thread:

    locked          the locked evaluator
    fast            the fast engine, compiled before: it reads its compiled code from the cache
    fast, compiling the same with an empty cache, as at the first time in an environment

Printed, as medians of the rounds:

    first score     from the start of the process, with imports, to the score of a pair of half a second
    the same again  the second score of that pair, when everything is there
    base, MiB       the most memory resident up to then
    peak, MiB       the most memory resident after a pair of 10 s was scored as well
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINES = ("locked", "fast", "fast, compiling")
COLUMNS = ("first score, s", "the same again, s", "base, MiB", "peak, MiB")
SHORT = 0.5


def signals(seconds: float, path: Path) -> None:
    """Write real music as a reference and what might be submitted for it, long and short."""
    import numpy as np
    import soxr

    from harness.challenge import PROTOCOL
    from harness.music.excerpt import read_excerpt

    music = read_excerpt()
    count = round(seconds * PROTOCOL.sample_rate)
    reference = np.resize(music["vocals"] + 0.5 * music["mixture"], (count, 2))
    mixture = np.resize(music["mixture"], (count, 2))
    submitted = soxr.resample(mixture, PROTOCOL.sample_rate, PROTOCOL.remix_sample_rate, quality="HQ")
    np.savez(path, reference=reference, submitted=submitted.astype(np.float32))


def work(engine: str, path: Path, started: float) -> None:
    """What a worker does; prints the figures of the table. `started`: when its process did, since the epoch."""
    import numpy as np
    from excerpt_set import slice_listeners
    from workers import _peak

    from harness.challenge import PROTOCOL
    from harness.haaqi import evaluator
    from harness.hearing import Audiogram, Listener
    from harness.making import make  # noqa: F401 (a worker has it)
    from harness.music.audiograms import FREQUENCIES

    score_pair = evaluator.score_pair
    if engine != "locked":
        from harness.haaqi import fast

        score_pair = fast.score_pair

    loaded = np.load(path)
    reference, submitted = loaded["reference"], loaded["submitted"]
    name, (left, right) = next(iter(slice_listeners().items()))
    frequencies = tuple(map(float, FREQUENCIES))
    listener = Listener(name, Audiogram(frequencies, tuple(left)), Audiogram(frequencies, tuple(right)))
    short = reference[: round(SHORT * PROTOCOL.sample_rate)], submitted[: round(SHORT * PROTOCOL.remix_sample_rate)]
    score_pair("scene_1", *short, listener)
    first = time.time() - started
    begin = time.perf_counter()
    score_pair("scene_1", *short, listener)
    again = time.perf_counter() - begin
    base = _peak()
    score_pair("scene_2", reference, submitted, listener)
    print(json.dumps([first, again, base, _peak()]))


def measure(engine: str, path: Path) -> list[float]:
    """The figures of one process."""
    from harness.compute.local import ONE_THREAD

    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | ONE_THREAD
        if engine == "fast, compiling":
            environment["HARNESS_CACHE"] = empty
        command = [sys.executable, __file__, "--work", engine, str(path), repr(time.time())]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    figures: list[float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="music for the memory (default 10)")
    parser.add_argument("--rounds", type=int, default=3, help="about a minute each (default 3)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.work:
        engine, path, started = wanted.work
        work(engine, Path(path), float(started))
        return

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signals.npz"
        signals(wanted.seconds, path)
        measure("fast", path)  # compiles, if that was not done before
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        rounds = [{engine: measure(engine, path) for engine in ENGINES} for _ in range(wanted.rounds)]
    print(f"{'':18}" + "".join(f"{name:>20}" for name in COLUMNS))
    for engine in ENGINES:
        medians = (statistics.median(figures) for figures in zip(*(found[engine] for found in rounds), strict=True))
        first, again, base, peak = medians
        print(f"{engine:18}{first:20.2f}{again:20.3f}{base:20.0f}{peak:20.0f}")
    print(f"\nmedians of {wanted.rounds} rounds; load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
