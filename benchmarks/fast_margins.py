"""How far rounding moves what the fast engine's decisions depend on, and how many ears go to double precision.

    python benchmarks/fast_margins.py [--seconds S] [--scenes N] [--listeners N]

Scores the unprocessed mixture for each listener of some scenes with the fast engine. For each ear, what single
precision decided from is computed in double precision as well:

    delays      of the two best delays of a band, if their correlations are less than 1e-6 apart: that difference,
                relative to the largest correlation possible
    levels      of tiles (band, window of 16 ms) within 0.5 dB of the threshold of 2.5 dB: their level in dB

Printed: how far these are from each other in both precisions, and how many ears were computed in double precision,
by the margins of `harness.haaqi.fast.result`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from excerpt_set import build_slice
from fast_ear import prepare
from numpy.typing import NDArray

from harness.haaqi import fast
from harness.haaqi.fast.double import covariance
from harness.haaqi.fast.double import engine as double
from harness.haaqi.fast.double import envelope_align as double_align
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.single import doubts
from harness.haaqi.fast.single import engine as single
from harness.haaqi.fast.single import envelope_align as single_align
from harness.haaqi.fast.single.vectors import LANES

CLOSE = 1e-6
Rivals = tuple[int, int, tuple[int, int], float]
"""Envelopes (0) or motions (1), the band, its two best delays, and the difference of their correlations."""


class Watch:
    """Notes what is decided in single precision, and has double precision look at the same."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.levels: list[NDArray[np.float64]] = []
        self.ears = self.doubled = self.settled = 0
        self._rivals: list[Rivals] = []
        self._squares: list[NDArray[np.float64]] = []

    def decide(self, original: Any) -> Any:
        def decide(reference: Any, processed: Any, kind: int, group: int, found: Any) -> Any:
            seen: dict[str, Any] = {}

            def exact(x: Any, y: Any, length: int, candidates: Any) -> Any:
                seen.update(candidates=candidates.copy(), values=values(x, y, length, candidates))
                return seen["values"]

            values = single_align._exact
            with patch.object(single_align, "_exact", exact):
                decided = original(reference, processed, kind, group, found)
            for lane in range(LANES) if len(seen.get("candidates", ())) > 1 else ():
                self._note(reference, processed, kind, group, lane, seen)
            return decided

        return decide

    def _note(self, reference: Any, processed: Any, kind: int, group: int, lane: int, seen: dict[str, Any]) -> None:
        largest = np.sqrt(reference.energy[kind, group, lane] * processed.energy[kind, group, lane])
        first, second = np.argsort(seen["values"][:, lane])[::-1][:2]
        if not largest > 0 or seen["values"][first, lane] - seen["values"][second, lane] > CLOSE * largest:
            return
        delays = seen["candidates"][[first, second]]
        one, other = single_align._in_double(reference, processed, kind, group, lane, delays)
        self._rivals.append((kind, group * LANES + lane, (*map(int, delays),), float((one - other) / largest)))

    def delays(self, original: Any) -> Any:
        def delays(reference: Any, blocks: Any, processed: Any) -> Any:
            for kind, band, pair, gap in self._rivals:
                x, y = (getattr(signal, ("envelope", "motion")[kind])[band] for signal in (reference, processed))
                largest = np.sqrt(reference.energy[kind, band] * processed.energy[kind, band])
                one, other = (double_align.correlations(x, y, delay, 4)[0] for delay in pair)
                self.gaps.append(abs(gap - (one - other) / largest))
            self._rivals.clear()
            return original(reference, blocks, processed)

        return delays

    def tiles(self, original: Any) -> Any:
        def tiles(squares: Any, settled: Any = None) -> Any:
            if settled is None:
                self._squares.append(np.sqrt(2 * squares))
            else:
                self.settled += int(settled.sum())
            return original(squares, settled)

        return tiles

    def score(self, original: Any) -> Any:
        def score(reference: Any, processed: Any, noise: Any, offset: int, scratch: Any) -> Any:
            self._rivals.clear()
            self._squares.clear()
            found = original(reference, processed, noise, offset, scratch)
            if found is None:
                return None
            self.ears += 1
            self.doubled += not found.certain
            bulk = double.prepare(self._signal)
            again = double.analyse_reference(self._signal, bulk, *self._settings, reference.level1, Workspace())
            double.score(again, processed, noise, offset, Workspace())
            ours, theirs = self._squares[:2]
            near = np.abs(theirs - covariance.THRESHOLD_DB) < 0.5
            self.levels.append(np.abs(ours - theirs)[near])
            return found

        return score

    def analyse(self, original: Any) -> Any:
        def analyse(reference: Any, bulk: Any, loss: Any, equalisation: int, level1: float, own: Any) -> Any:
            self._signal, self._settings = reference, (loss, equalisation)
            return original(reference, bulk, loss, equalisation, level1, own)

        return analyse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the music (default 10)")
    parser.add_argument("--scenes", type=int, default=3, help="scenes (default 3)")
    parser.add_argument("--listeners", type=int, default=20, help="listeners of each (default 20)")
    wanted = parser.parse_args()
    watch = Watch()
    places = [
        (single_align, "_decide", watch.decide),
        (double_align, "delays", watch.delays),
        (covariance, "tiles", watch.tiles),
        (doubts, "tiles", watch.tiles),
        (single, "score", watch.score),
        (single, "analyse_reference", watch.analyse),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for scene in build_slice(Path(folder) / "set", wanted.scenes, wanted.seconds).scenes:
            prepared = prepare(scene, wanted.listeners)
            fast.score_pair("first", prepared.reference, *reversed(next(iter(prepared.submitted.items()))))
            patches = [patch.object(owner, name, watched(getattr(owner, name))) for owner, name, watched in places]
            for each in patches:
                each.start()
            for who, samples in prepared.submitted.items():
                fast.score_pair(scene.id, prepared.reference, samples, who)
            for each in patches:
                each.stop()
    print(f"{'':10}{'decisions':>12}{'median':>12}{'99 of 100':>12}{'largest':>12}")
    for name, found in (("delays", np.array(watch.gaps)), ("levels, dB", np.concatenate(watch.levels))):
        figures = "".join(f"{value:12.1e}" for value in np.percentile(found, [50, 99, 100]))
        print(f"{name:10}{len(found):12}{figures}")
    print(f"\n{watch.doubled} of {watch.ears} ears were too close for single precision, and {watch.settled} tiles")


if __name__ == "__main__":
    main()
