"""What it costs to hand music to a process of its own block by block.

    python benchmarks/streaming.py [--seconds S] [--rounds N]

A separator that does next to nothing, in blocks of 64, 110 and 220 samples: the time for each block in this process and
in a child, and their difference, the round trip through the pipes. Median of the rounds; noise that comes before the
music is left out. The last column is the round trip as a share of the time that the block lasts: what the harness
takes of a piece's time, on no clock of the system's.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from harness.apart.inprocess import InProcess
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Running, Wanted
from harness.challenge import PROTOCOL
from harness.systems.streaming import stream

SYSTEM = """
from harness.systems import STEMS, Option, StreamingSeparator, hookimpl


class Quarters(StreamingSeparator):
    name, version, training_data, licence = "quarters", "1", "none", "none"
    options = (Option("block", int, 64, "samples", minimum=1),)

    def load(self):
        self.block = self.settings["block"]

    def prepare(self, sample_rate, block, channels):
        pass

    def process(self, block):
        return dict.fromkeys(STEMS, block / 4)


@hookimpl
def register_systems(register):
    register(Quarters)
"""


def seconds_per_block(running: Running, music: np.ndarray, rounds: int) -> float:
    """Median over the rounds of the time that a piece takes, divided by its blocks."""
    found = []
    for _ in range(rounds):
        with running.open_stream() as opened:
            started = time.perf_counter()
            streamed = stream(opened, music, PROTOCOL.sample_rate, warm_up=0)
            found.append((time.perf_counter() - started) / len(streamed.cpu))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10, help="of music")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    frames = round(arguments.seconds * PROTOCOL.sample_rate)
    music = 0.1 * np.random.default_rng(1).standard_normal((frames, 2))
    print("block   here us   child us   round trip us   blocks/s   of the block's duration")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quarters.py"
        path.write_text(SYSTEM)
        for block in (64, 110, 220):
            wanted = Wanted("quarters", (f"block={block}",), (str(path),))
            taken = []
            for running in (InProcess(wanted), Apart(wanted, Terms(), Output())):
                with closing(running):
                    running.start()
                    running.find()
                    running.load()
                    taken.append(seconds_per_block(running, music, arguments.rounds))
            here, child = taken
            share = (child - here) * PROTOCOL.sample_rate / block
            print(
                f"{block:5d} {1e6 * here:9.1f} {1e6 * child:10.1f} {1e6 * (child - here):15.1f} {1 / child:10.0f} "
                f"{share:10.1%}"
            )


if __name__ == "__main__":
    main()
