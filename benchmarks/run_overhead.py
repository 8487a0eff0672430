"""What `run` adds to the time that separation and HAAQI take, and whether it does any work twice.

    python benchmarks/run_overhead.py [--seconds S] [--rounds N] [--system NAME]

Runs a system over an evaluation set of 8 pairs made from the embedded excerpt, in one process with one worker:
enhance, validate, score and store, as `harness run --workers 1` does once it has started and the evaluator is proven.
The time inside the system's `separate` and inside HAAQI is the limit: it cannot be saved. All else is overhead, shown
by what it is spent on (each figure without what is listed beside it), and aimed at under 5 % of the limit. Both are
taken from the same run, so that whatever else the machine does weighs on both alike.

Of three scenes two share one piece of music. Each piece has to be separated once, each scene remixed once for
enhancement and once for its reference: the exit code is 1 if the counts say otherwise.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any
from unittest.mock import patch

import clarity.evaluator.haaqi
import soxr
from excerpt_set import build

import harness.haaqi.evaluator
import harness.submission.validation
from harness.apart.inprocess import InProcess
from harness.compute.local import LocalProcesses
from harness.haaqi import lock
from harness.making import driving, make, pieces, writing
from harness.music.evaluationset import EvaluationSet, Scene
from harness.scoring import run as scoring
from harness.scoring import tasks
from harness.systems import Separator
from harness.systems.discovery import Plugins
from harness_leaderboard.store import Store

SEPARATION, HAAQI = "separation", "HAAQI"
ENHANCED, REFERENCE = "remix and loudness, enhancement", "remix and loudness, references"
NALR, RESAMPLING, FLAC = "NAL-R", "resampling", "FLAC and its hash"
PARTS: list[tuple[Any, str, str]] = [
    (clarity.evaluator.haaqi, "compute_haaqi", HAAQI),
    (driving, "remix", ENHANCED),
    (tasks, "reference_mixture", REFERENCE),
    (pieces, "amplify", NALR),
    (harness.haaqi.evaluator, "amplify_ear", NALR),
    (soxr, "resample", RESAMPLING),
    (pieces, "to_remix_format", "clipping, 16 bit"),
    (pieces, "encode", FLAC),
    (tasks, "read_remix", FLAC),
    (harness.submission.validation, "read_remix", FLAC),
    (writing, "write_whole", "writing files"),
    (writing, "write_manifest", "writing files"),
    (Scene, "read", "reading music"),
    (EvaluationSet, "hashes", "hashing the evaluation set"),
    (lock, "ensure_locked", "checking the evaluator"),
    (lock, "environment", "checking the evaluator"),
    *((Store, name, "database") for name in ("start_run", "mark_all_enhanced", "find_run", "add_scores")),
]
"""Callables by the place where they are looked up, and what their time counts as."""


class Clock:
    """Adds up the time inside callables, without that of others which they call, and counts the calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._inner: dict[int, list[float]] = defaultdict(list)
        """For each thread the time of the timed callables within those that are running."""

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            inner = self._inner[get_ident()]
            inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.perf_counter() - start
                self.seconds[what] += taken - inner.pop()
                self.calls[what] += 1
                if inner:
                    inner[-1] += taken

        return call

    @contextmanager
    def watching(self, system: Separator) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, what in PARTS:
                stack.enter_context(patch.object(owner, name, self.timed(what, getattr(owner, name))))
            stack.enter_context(patch.object(system, "separate", self.timed(SEPARATION, system.separate)))
            yield


def run(system: Separator, found: EvaluationSet, folder: Path) -> tuple[Clock, float]:
    """Everything between the start of `harness run` and its report; the clock, and the wall time of it all."""
    clock = Clock()
    tasks._reference.cache_clear()
    with Store.open(f"sqlite:///{folder}/leaderboard.db", create=True) as store, clock.watching(system):
        start = time.perf_counter()
        # In this process, so that the time inside the system can be told from the rest (see benchmarks/apart.py).
        running = InProcess.of(system)
        manifest = make.loaded_manifest(running, "separator", found, soft_clip=False)
        made = make.enhance(running, manifest, found, folder / "submission", workers=1)
        verdict = harness.submission.validation.judge(folder / "submission", found, found.pairs, workers=1)
        (scored,) = scoring.store_and_score(
            store,
            [scoring.Entry(verdict, made.failures, replace=True)],
            found,
            engine="locked",
            executor=LocalProcesses(1),
            started=lambda _todo, _done, _replaced: None,
            advance=lambda _count, _what: None,
        )
        taken = time.perf_counter() - start
    if scored.failures or verdict.problems:
        raise SystemExit(f"not every pair was scored: {scored.failures} {verdict.problems}")
    return clock, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.7, help="length of the music (default 5.7)")
    parser.add_argument("--rounds", type=int, default=1, help="runs, some minutes each (default 1)")
    parser.add_argument("--system", default="centre", help="a system that separates (default centre)")
    wanted = parser.parse_args()

    clocks: list[tuple[Clock, float]] = []
    with tempfile.TemporaryDirectory() as temporary, patch.dict(os.environ, HARNESS_CACHE=f"{temporary}/cache"):
        system = Plugins(()).system(wanted.system)()
        if not isinstance(system, Separator):
            raise SystemExit(f"{wanted.system} does not separate: choose another --system")
        system.load()
        lock.ensure_locked()  # scores the conformance vectors, and so compiles HAAQI
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for index in range(wanted.rounds):
            folder = Path(temporary) / str(index)
            # A set of its own for each round: hashes of a set that was seen before are remembered.
            clocks.append(run(system, build(folder / "set", wanted.seconds), folder))
        found = build(Path(temporary) / "set", wanted.seconds)
    print(f"load average after: {os.getloadavg()[0]:.1f}")

    pieces, scenes, pairs = len({scene.folder for scene in found.scenes}), len(found.scenes), len(found.pairs)
    print(f"\n{pairs} pairs of {wanted.seconds:g} s, medians of {wanted.rounds} runs")

    def line(what: str, seconds: Callable[[Clock, float], float]) -> None:
        both = [(seconds(clock, wall), limit(clock)) for clock, wall in clocks]
        share = statistics.median(part / whole for part, whole in both)
        print(f"{what:34} {statistics.median(part for part, _ in both):8.3f} s {share:9.2%}")

    def limit(clock: Clock) -> float:
        return clock.seconds[SEPARATION] + clock.seconds[HAAQI]

    for name in (SEPARATION, HAAQI):
        line(name, lambda clock, _, name=name: clock.seconds[name])
    line("overhead", lambda clock, wall: wall - limit(clock))
    parts = {what for clock, _ in clocks for what in clock.seconds} - {SEPARATION, HAAQI}
    for name in sorted(parts, key=lambda part: -clocks[0][0].seconds[part]):
        line(f"  {name}", lambda clock, _, name=name: clock.seconds[name])
    line("  the rest", lambda clock, wall: wall - sum(clock.seconds.values()))

    print(f"\n{pieces} pieces of music, {scenes} scenes, {pairs} pairs; calls in each run:")
    wrong = False
    for what, due in ((SEPARATION, pieces), (ENHANCED, scenes), (REFERENCE, scenes), (HAAQI, 2 * pairs)):
        counts = sorted({clock.calls[what] for clock, _ in clocks})
        right = counts == [due]
        wrong = wrong or not right
        print(f"{what:34} {', '.join(map(str, counts)):>4}, expected {due:2} {'ok' if right else 'WRONG'}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
