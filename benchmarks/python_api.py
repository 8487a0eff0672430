"""What the Python API costs: music that `harness.haaqi` scores in a second of a core, and `load_results` of many pairs.

    python benchmarks/python_api.py [--rounds N] [--seconds S] [--runs N] [--skip-locked]

Scoring: a scene of S seconds (default 10) and 20 listeners, each with two remixes. In every round, in this process, by
processor time: all remixes listener by listener, so that half of them find their reference's share of the work kept;
the same remix again and again; one remix for a listener of this scene and of four others in turn, as in a validation
loop over many scenes; and one pair with the locked evaluator. A remix of S seconds counts as S seconds of music, both
ears together. `haaqi_batch` on all cores is timed by the clock, its workers started beforehand. Before all that, the
first call of `harness.haaqi` in this process: with imports, compiled code from the cache, and the proof of the
evaluator that is kept there.

Reading: a database of N complete runs (default 52) of 960 scenes for 20 listeners, 19,200 pairs each, with kept
summaries; the clock, and the processor time.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import fill
from excerpt_set import build_slice

import harness
from harness.compute.local import available_cpus
from harness.music.evaluationset import Scene

SCENES, LISTENERS = 960, 20


def taken(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of processor time, the latter of this process alone."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def scoring(rounds: int, seconds: float, locked: bool) -> None:
    """Print how much music is scored in a second."""
    with tempfile.TemporaryDirectory() as folder:
        scenes = build_slice(Path(folder) / "set", 5, seconds).scenes
        scene = scenes[0]
        mixture = scene.read("mixture")
        listeners = [who for who in scene.listeners for _ in range(2)]
        remixes = [
            harness.remix([part * mixture] * 4, scene, who)
            for who, part in zip(listeners, 20 * [0.25, 0.1], strict=True)
        ]
        in_turn = [
            (harness.remix([0.25 * each.read("mixture")] * 4, each, listeners[0]), each, listeners[0])
            for each in scenes
        ]
        _, first = taken(lambda: harness.haaqi(*in_turn[0]))
        print(f"first call: {first:.2f} s of processor time")
        _scoring(rounds, seconds, locked, in_turn, listeners, remixes)


def _scoring(
    rounds: int,
    seconds: float,
    locked: bool,
    in_turn: list[tuple[Any, Scene, Any]],
    listeners: list[Any],
    remixes: list[Any],
) -> None:
    scene = in_turn[0][1]
    scenes = [scene] * len(remixes)
    for call in in_turn:
        harness.haaqi(*call)
    for warm in (1, None):
        harness.haaqi_batch(remixes, scenes, listeners, workers=warm)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        _, processor = taken(lambda: harness.haaqi_batch(remixes, scenes, listeners, workers=1))
        found.setdefault("two remixes for each listener", []).append(seconds * len(remixes) / processor)
        _, processor = taken(lambda: [harness.haaqi(remixes[0], scene, listeners[0]) for _ in range(10)])
        found.setdefault("one pair again and again", []).append(seconds * 10 / processor)
        half = remixes[::2], scenes[::2], listeners[::2]
        _, processor = taken(lambda half=half: harness.haaqi_batch(*half, workers=1))
        found.setdefault("one remix for each listener", []).append(seconds * len(half[0]) / processor)
        _, processor = taken(lambda: [harness.haaqi(*call) for call in in_turn])
        found.setdefault("each remix of another scene than the last", []).append(seconds * len(in_turn) / processor)
        if locked:
            _, processor = taken(lambda: harness.haaqi(remixes[0], scene, listeners[0], engine="locked"))
            found.setdefault("locked evaluator", []).append(seconds / processor)
        clock, _ = taken(lambda: harness.haaqi_batch(remixes, scenes, listeners))
        found.setdefault(f"haaqi_batch, by the clock, {available_cpus()} workers", []).append(
            seconds * len(remixes) / clock
        )
    print(f"{rounds} rounds of {seconds:g} s of music; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    base = found.get("locked evaluator")
    for name, values in found.items():
        ratio = ""
        if base is not None:
            ratio = f"{statistics.median(value / one for value, one in zip(values, base, strict=True)):7.1f} x locked"
        print(f"{name:45} {statistics.median(values):7.2f} s of music in a second {ratio}")


def reading(runs: int) -> None:
    """Print how long `load_results` takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "board.db"
        fill(f"sqlite:///{path}", runs, SCENES, LISTENERS)
        results: list[harness.Results] = []
        clock, processor = taken(lambda: results.append(harness.load_results(path)))
    pairs = results[0].pairs
    print(
        f"load_results: {len(pairs):,} pairs of {runs} runs in {clock:.1f} s, {processor:.1f} s of processor time; "
        f"the frame has {pairs.memory_usage(deep=True).sum() / 1e6:.0f} MB, "
        f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB; load {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of scoring (default 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the music (default 10)")
    parser.add_argument("--runs", type=int, default=52, help="runs in the database (default 52: a million pairs)")
    parser.add_argument("--skip-locked", action="store_true", help="leave out the locked evaluator, 20 s a round")
    wanted = parser.parse_args()
    if wanted.runs:
        reading(wanted.runs)
    if wanted.rounds:
        scoring(wanted.rounds, wanted.seconds, not wanted.skip_locked)


if __name__ == "__main__":
    main()
