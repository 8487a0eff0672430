"""What the audit finds out of the bundled systems and of small ones with a known look-ahead, and what that costs.

    python benchmarks/causality.py             all, some minutes
    python benchmarks/causality.py --small     the small ones alone, half a minute
    python benchmarks/causality.py --bundled   the bundled ones alone
    python benchmarks/causality.py --rare 60   how often a leak that shows in a tenth of the music is found

Music: the first seconds of the embedded evaluation set. The small systems are those of tests/causality/small.py, with
what an audit must find of each; "wrong" marks another result. L is the look-ahead, D the delay, in samples at 44.1 kHz.
Processor time is that of this process and of the system's.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
from harness.causality.audit import CUTS, audit
from harness.causality.examining import SECONDS, look_at
from harness.causality.futures import other_than
from harness.causality.subject import music_of, subject_of
from harness.chain import Chain
from harness.enhancement import Signal
from harness.errors import HarnessError
from harness.music.finding import load_evaluation_set
from harness.submission.causality import CausalityRecord

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "causality"))

from small import KNOWN, Known, now_and_then

BUNDLED: tuple[tuple[str, tuple[str, ...], Chain | None], ...] = (
    ("passthrough", (), None),
    ("centre", (), None),
    ("centre", (), "live"),
    ("centre", (), "baseline"),
    ("umx", ("model=demo",), None),
    ("demucs", ("model=demo",), None),
    ("live", (), None),
    ("live", (), "live"),
    ("live", (), "baseline"),
)


def spent() -> float:
    """Processor time of this process and of its children, in seconds."""
    here = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (here, *here.children(recursive=True)))


def row(name: str, record: CausalityRecord, calls: int, seconds: float, mark: str = "") -> None:
    """Print one line of the table."""
    ahead = "all" if record.whole_piece else "-" if record.look_ahead is None else str(record.look_ahead)
    delay = "-" if record.delay is None else str(record.delay)
    figures = f"{ahead:>7} {delay:>6} {record.cuts:>5} {calls:>6} {seconds:>7.1f}"
    print(f"{name:32} {record.verdict:11} {figures}  {mark}{record.reason[:60]}", flush=True)


def seeded(process: Callable[[Signal], Signal]) -> Callable[[Signal], Signal]:
    """A function whose random numbers are the same at each call, as `Subject` has them."""

    def call(music: Signal) -> Signal:
        np.random.seed(0)
        return process(music)

    return call


def as_known(record: CausalityRecord, known: Known) -> bool:
    """Whether verdict, look-ahead and delay are those that are known."""
    low, high = known.look_ahead or (0, 0)
    ahead = record.look_ahead is None if known.look_ahead is None else low <= (record.look_ahead or 0) <= high
    return record.verdict == known.verdict and ahead and known.delay in (None, record.delay)


def small(music: Signal) -> None:
    """The small systems."""
    for known in KNOWN:
        calls: list[int] = []
        process = seeded(known.process)

        def counted(piece: Signal, process=process, calls=calls) -> Signal:
            calls.append(len(piece))
            return process(piece)

        started = spent()
        record = audit(counted, music, other_than(music), cuts=CUTS)
        mark = "" if as_known(record, known) else "wrong: "
        row(known.process.__name__, record, len(calls), spent() - started, mark)


def bundled(music: Signal) -> None:
    """The systems that come with the harness, each in a process of its own."""
    evaluation_set = load_evaluation_set("demo", None)
    for name, options, chain in BUNDLED:
        title = f"{name}{' ' + ' '.join(options) if options else ''}{f', {chain} chain' if chain else ''}"
        running = Apart(Wanted(name, options), Terms(), Output())
        try:
            running.start()
            found = running.find()
            running.load()
            started = spent()
            subject = subject_of(running, found, evaluation_set, chain)
            record = look_at(subject, music)
            row(title, record, subject.calls, spent() - started)
        except HarnessError as error:
            print(f"{title:32} {error}", flush=True)
        finally:
            running.close()


def rarely(music: Signal, trials: int) -> None:
    """How often so many cuts find the system that looks ahead in a tenth of its segments, with other seeds."""
    for cuts in (1, 2, 4, 8, 16):
        found = [audit(now_and_then, music, other_than(music), cuts=cuts, seed=seed).verdict for seed in range(trials)]
        print(f"{cuts:>3} cuts: found in {found.count('not causal')} of {trials}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="The audit of causality on systems whose look-ahead is known")
    parser.add_argument("--small", action="store_true", help="only the small systems")
    parser.add_argument("--bundled", action="store_true", help="only the bundled systems")
    parser.add_argument("--rare", type=int, metavar="TRIALS", help="instead: how often a rare look-ahead is found")
    wanted = parser.parse_args()
    music = music_of(load_evaluation_set("demo", None), SECONDS)
    if wanted.rare:
        rarely(music, wanted.rare)
        return
    print(f"{'':32} {'verdict':11} {'L':>7} {'D':>6} {'cuts':>5} {'calls':>6} {'CPU s':>7}")
    started = time.monotonic()
    if not wanted.bundled:
        small(music)
    if not wanted.small:
        bundled(music)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
