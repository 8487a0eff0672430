"""What the sounds of a pair cost: the simulation of a hearing loss, and clips with all that belongs to them.

    python benchmarks/listening.py [--seconds S] [--rounds N]

The embedded excerpt, repeated to 10 s, and its listeners of moderate and severe loss. In turns, in this one process, on
one thread:

    pyclarity   one ear by pyclarity's own `Ear.process`
    ours        the same ear by `harness.listening.simulation`

Then whole pairs by `sounds_of`, with one remix (the unprocessed mixture) and with five, as MP3 and as FLAC: the size of
what comes of them, and their time as a share of what the locked evaluator takes for the same remixes. All times are
processor time, medians of the rounds, for one second of music; compare the ratios.
"""

import argparse
import os

# Before NumPy is imported. Workers have one thread too.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clarity.evaluator.haaqi import compute_haaqi
from clarity.evaluator.msbg.msbg import Ear
from excerpt_set import build

from harness.challenge import PROTOCOL
from harness.enhancement import Signal, amplify, to_remix_format
from harness.haaqi.evaluator import ear_signals
from harness.hearing import Audiogram
from harness.listening import sounds_of
from harness.listening.simulation import degree, heard_by_ear
from harness.music.evaluationset import Pair
from harness.submission.flac import encode, read_remix

FULL_SCALE = 85.0


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ears(pairs: list[Pair]) -> dict[str, Audiogram]:
    """One audiogram for each degree of smearing."""
    return {degree(ear): ear for pair in pairs for ear in (pair.listener.left, pair.listener.right)}


def by_pyclarity(channel: Signal, audiogram: Audiogram) -> None:
    ear = Ear(equiv_0db_spl=FULL_SCALE, ahr=0.0)
    ear.set_audiogram(audiogram.for_pyclarity())
    ear.process(channel)


def compare_ears(pairs: list[Pair], music: Signal, rounds: int) -> None:
    """A line of the first table for each degree of smearing."""
    channel, seconds = music[:, 0], len(music) / PROTOCOL.sample_rate
    print("one ear, CPU s for 1 s of music\n")
    print(f"{'smearing':12}{'pyclarity':>12}{'ours':>10}{'ratio':>8}")
    for name, audiogram in sorted(ears(pairs).items()):
        heard_by_ear(channel[:22050], audiogram, FULL_SCALE)  # its filters are kept
        times = [
            (
                seconds_of(lambda ear=audiogram: by_pyclarity(channel, ear)),
                seconds_of(lambda ear=audiogram: heard_by_ear(channel, ear, FULL_SCALE)),
            )
            for _ in range(rounds)
        ]
        theirs, ours = (statistics.median(column) / seconds for column in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        print(f"{name:12}{theirs:12.3f}{ours:10.3f}{ratio:8.2f}", flush=True)


def haaqi(pair: Pair, path: Path, music: Signal) -> float:
    """Processor time of the locked evaluator for one second of one ear."""
    processed = read_remix(path, len(music)).signal[:, 0]
    signals = ear_signals("left", music[:, 0], processed, pair.listener.left)
    rate = PROTOCOL.haaqi_sample_rate
    taken = seconds_of(
        lambda: compute_haaqi(
            processed_signal=signals.processed,
            reference_signal=signals.reference,
            processed_sample_rate=rate,
            reference_sample_rate=rate,
            audiogram=pair.listener.left.for_pyclarity(),
            equalisation=PROTOCOL.haaqi_equalisation,
            level1=signals.level1,
        )
    )
    return taken / (len(music) / PROTOCOL.sample_rate)


@dataclass(frozen=True)
class Made:
    """The clips of a pair: processor time in seconds, size in bytes."""

    remixes: int
    suffix: str
    taken: float
    sound: int
    pictures: int


def pair_of_sounds(pair: Pair, remix: Path, count: int, lossless: bool, rounds: int) -> Made:
    remixes = {f"run {number}": remix for number in range(count)}
    sounds = sounds_of(pair, remixes, lossless=lossless)
    clips = [clip for sound in sounds for clip in (sound.as_file, sound.as_heard)]
    return Made(
        count,
        clips[0].suffix,
        statistics.median(seconds_of(lambda: sounds_of(pair, remixes, lossless=lossless)) for _ in range(rounds)),
        sum(len(clip.content) for clip in clips),
        sum(len(clip.spectrogram) for clip in clips),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the music (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    wanted = parser.parse_args()
    logging.root.addHandler(logging.NullHandler())  # pyclarity says what it does

    with tempfile.TemporaryDirectory() as temporary:
        pairs = build(Path(temporary) / "set", wanted.seconds).pairs
        pair = pairs[1]
        music = pair.scene.read("mixture")
        seconds = len(music) / PROTOCOL.sample_rate
        remix = Path(temporary) / pair.remix_name
        remix.write_bytes(encode(to_remix_format(amplify(music, pair.listener))[0]))
        print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        compare_ears(pairs, music, wanted.rounds)

        made = [
            pair_of_sounds(pair, remix, count, lossless, wanted.rounds)
            for count in (1, 5)
            for lossless in (False, True)
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        evaluator = haaqi(pair, remix, music)
    print(f"\nthe locked evaluator, one ear, CPU s for 1 s of music: {evaluator:.2f}")
    print(f"\npairs of {seconds:g} s, all signals with both ears, CPU s for 1 s of music\n")
    print(f"{'remixes':8}{'as':>6}{'CPU s':>10}{'of scoring the remixes':>26}{'kB sound':>10}{'kB pictures':>13}")
    for one in made:
        share = one.taken / seconds / (2 * one.remixes * evaluator)
        print(f"{one.remixes:<8}{one.suffix:>6}{one.taken / seconds:10.2f}{share:26.2f}", end="")
        print(f"{one.sound / 1000:10.0f}{one.pictures / 1000:13.0f}")
    print(f"\npeak memory until the evaluator came: {peak:.0f} MiB; load average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
