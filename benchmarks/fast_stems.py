"""How much faster the fast engine scores the eight stems of a pair of the first challenge than the locked evaluator.

    python benchmarks/fast_stems.py [--seconds S] [--rounds N]

The four stems of the embedded excerpt (4 s, over and over if it is to be longer), each with a tenth of the mixture in
it, as they are submitted for a listener with a moderate loss. In turns, in this one process, on one core: all eight
stems by `score_stems_fast` and by `score_stems`. All times are processor time, which other programs on the machine do
not lengthen much. Printed too is the process's peak memory after the first pair of each engine.

Then where the fast engine's time goes, as far as other listeners of the song, or other submissions, could have it for
nothing: drawing the noise, whose stream is the same for all listeners of a song; and the reference's share of the work,
which is the same for all submissions for a listener. Under this protocol neither is kept from one pair to the next.

Where the golden data lies beside the checkout (../shared/golden_data), its pairs are scored with both engines too, and
the largest difference from the official scores is printed.
"""

import argparse
import csv
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fast_ear import Clock

from harness.challenge import CAD1
from harness.compute.local import ONE_THREAD
from harness.haaqi.conformance_cad1 import score_in
from harness.haaqi.evaluator import Score
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.single import engine
from harness.haaqi.stems import Stems, reference_stems, score_stems, score_stems_fast
from harness.hearing import Audiogram, Listener
from harness.music.audiograms import AUDIOGRAMS, FREQUENCIES
from harness.music.demo import demo
from harness.music.songs import load_songs
from harness.submission.protocols import form_of
from harness.submission.stems import processed, to_stem_format

GOLDEN = Path(__file__).parents[2] / "shared" / "golden_data" / "cad1_task1"
SONG = "The Easton Ellises - Falcon 69"
NOISE, REFERENCE = "drawing the noise", "the reference's share, without the noise"


def prepare(seconds: float) -> tuple[Stems, Stems, Listener]:
    """The true stems, what is submitted, and the listener."""
    scene = next(scene for scene in demo().whole if scene.id == "scene_00003")  # headphones: as on the disk
    frames = round(seconds * CAD1.sample_rate)
    true = {name: np.resize(stem, (frames, 2)) for name, stem in scene.read_stems().items()}
    mixture = np.resize(scene.read("mixture"), (frames, 2))
    ear = Audiogram(tuple(map(float, FREQUENCIES)), tuple(map(float, AUDIOGRAMS["N3"])))
    listener = Listener("N3", ear, ear)
    submitted = {}
    for name, signal in dict(processed({n: 0.9 * s + 0.1 * mixture for n, s in true.items()}, listener)).items():
        samples, scale = to_stem_format(signal)
        submitted[name] = (samples / 32768).astype(np.float32) * np.float32(scale)
    return reference_stems(true), submitted, listener


def timed(score: Callable[..., Score], *given: Any) -> tuple[float, Score]:
    start = time.process_time()
    found = score(SONG, *given)
    return time.process_time() - start, found


def peak() -> int:
    """Most memory of this process so far, in MiB (Linux counts KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def furthest(one: Score, other: Score) -> float:
    return max(abs(value - (other.stems or {})[name]) for name, value in (one.stems or {}).items())


def show_golden() -> None:
    """Score the golden pairs with both engines, and compare with the official scores."""
    with (GOLDEN / "official" / "v0.3.4_scores_1-1.csv").open(encoding="utf-8", newline="") as file:
        official = {(row["song"], row["listener"]): score_in(row) for row in csv.DictReader(file)}
    print(
        f"\n{'golden pair':28}{'locked, s':>11}{'fast, s':>9}{'ratio':>7}{'largest difference: locked':>29}{'fast':>10}"
    )
    for pair in load_songs(GOLDEN, "valid", "golden").pairs:
        references = reference_stems(pair.scene.read_stems())
        submitted = form_of(CAD1).read(GOLDEN / "enhanced_signals", pair).signals
        times, gaps = [], []
        for score in (score_stems, score_stems_fast):
            start = time.process_time()
            found = score(pair.scene.id, references, submitted, pair.listener)  # type: ignore[arg-type]
            times.append(time.process_time() - start)
            gaps.append(furthest(found, official[pair.id]))
        ratio = times[0] / times[1]
        print(f"{' '.join(pair.id):28}{times[0]:11.1f}{times[1]:9.2f}{ratio:7.1f}{gaps[0]:29.1e}{gaps[1]:10.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the music (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="about a minute each (default 3)")
    wanted = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # Libraries read these when they are imported: start again.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)  # noqa: S606

    given = prepare(wanted.seconds)
    timed(score_stems, *prepare(0.5))  # both compile
    timed(score_stems_fast, *prepare(0.5))
    print(f"eight stems of {wanted.seconds:g} s, one core, processor time")
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(f"{'':10}{'locked, s':>11}{'fast, s':>9}{'ratio':>7}{'largest difference':>21}")
    ratios, peaks = [], []
    for index in range(wanted.rounds):
        quick, found = timed(score_stems_fast, *given)
        peaks.append(peak())
        slow, locked = timed(score_stems, *given)
        peaks.append(peak())
        ratios.append(slow / quick)
        print(
            f"round {index + 1:<4}{slow:11.1f}{quick:9.2f}{slow / quick:7.1f}{furthest(found, locked):21.1e}",
            flush=True,
        )
    print(f"{'median':30}{statistics.median(ratios):7.1f}")
    print(f"\npeak memory: {peaks[0]} MiB after the first pair of the fast engine, {peaks[1]} after the locked one's")

    clock = Clock()
    with clock.watching([(Noise, "read", NOISE), (engine, "analyse_reference", REFERENCE)]):
        whole, _ = timed(score_stems_fast, *given)
    print(f"\nof the fast engine's {whole:.2f} s:")
    for what in (NOISE, REFERENCE):
        print(f"  {what:44}{clock.seconds[what]:6.2f} s{clock.seconds[what] / whole:7.0%}")
    if GOLDEN.is_dir():
        show_golden()
    print(f"\nload average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
