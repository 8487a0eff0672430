"""What the harness adds to the time that HAAQI itself takes.

    python benchmarks/scoring.py [--rounds N]

Scores one pair of the embedded evaluation set in turns: HAAQI alone, on signals prepared beforehand (the limit: the
locked evaluator does not get faster), and the whole way of the harness from the submitted file to the score, with the
reference made anew (first listener of a scene) and kept (every other listener). Prints medians, and ratios within
each round, since machines are shared and noisy.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr
from clarity.evaluator.haaqi import compute_haaqi
from clarity.utils.audiogram import Audiogram

from harness.challenge import PROTOCOL
from harness.enhancement import amplify, amplify_ear, to_remix_format
from harness.files import sha256_of
from harness.haaqi.evaluator import reference_mixture
from harness.music.demo import demo
from harness.scoring import tasks
from harness.submission.flac import encode, read_remix


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds

    pair = demo().pairs[0]
    scene, listener = pair.scene, pair.listener
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / pair.remix_name
        samples, _ = to_remix_format(amplify(scene.read("mixture"), listener))
        path.write_bytes(encode(samples))
        submitted = read_remix(path, scene.frames)
        music = tuple((file, sha256_of(file)) for file in (scene.folder / f"{name}.wav" for name in tasks.MUSIC))
        task = tasks.ScoreTask(pair, path.parent, submitted.sha256, music)

        reference = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
        ears = []
        for channel, audiogram in enumerate((listener.left, listener.right)):
            amplified = amplify_ear(reference[:, channel], audiogram)
            ears.append(
                {
                    "processed_signal": soxr.resample(submitted.signal[:, channel], 32000, 24000, quality="HQ"),
                    "reference_signal": soxr.resample(amplified, 44100, 24000, quality="HQ"),
                    "processed_sample_rate": 24000,
                    "reference_sample_rate": 24000,
                    "audiogram": Audiogram(np.array(audiogram.levels), np.array(audiogram.frequencies)),
                    "equalisation": PROTOCOL.haaqi_equalisation,
                    "level1": 65 - 20 * np.log10(np.sqrt(np.mean(reference[:, channel] ** 2))),
                }
            )

        def haaqi() -> None:
            for ear in ears:
                compute_haaqi(**ear)

        def first_listener() -> None:
            tasks._reference.cache_clear()
            tasks._score_one(task)

        def next_listener() -> None:
            tasks._score_one(task)

        haaqi()  # compiles
        rows = [(timed(haaqi), timed(first_listener), timed(next_listener)) for _ in range(rounds)]

    seconds = scene.frames / PROTOCOL.sample_rate
    print(f"{rounds} rounds of one pair, {seconds:g} s of music, both ears")
    for index, name in enumerate(("HAAQI alone", "harness, first listener", "harness, next listener")):
        median = statistics.median(row[index] for row in rows)
        ratio = statistics.median(row[index] / row[0] for row in rows)
        print(f"{name:24} {median:7.2f} s   {ratio:6.3f} x HAAQI   {median / (2 * seconds):5.2f} s per ear-second")


if __name__ == "__main__":
    main()
