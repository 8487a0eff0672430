"""What it costs in HAAQI to be late: the hole in the rule for causal systems, measured.

    python benchmarks/late.py

The remixes of the true stems and the mixture itself, each delayed by so many milliseconds, on the embedded
evaluation set (8 pairs), with the fast engine. The rule for causal systems limits look-ahead and says nothing of delay,
and HAAQI aligns the signals before it compares them.
"""

from collections.abc import Callable

import numpy as np

import harness
from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, remix
from harness.music.evaluationset import Pair

MILLISECONDS = (0, 1, 2.5, 5, 10, 20, 50, 100, 300)


def oracle(pair: Pair) -> Signal:
    """The baseline's chain on the true stems."""
    stems = {stem: pair.scene.read(stem) for stem in STEMS}
    return amplify(remix(stems, pair.scene.gains, pair.scene.read("mixture")), pair.listener)


def passthrough(pair: Pair) -> Signal:
    """The mixture, amplified."""
    return amplify(pair.scene.read("mixture"), pair.listener)


def delayed(signal: Signal, milliseconds: float) -> Signal:
    """A signal that starts later and is cut at its old end."""
    samples = round(milliseconds / 1000 * PROTOCOL.sample_rate)
    return np.concatenate([np.zeros((samples, 2)), signal])[: len(signal)]


def mean_haaqi(make: Callable[[Pair], Signal], pairs: list[Pair], milliseconds: float) -> float:
    """The mean over the pairs."""
    remixes = [delayed(make(pair), milliseconds) for pair in pairs]
    scores = harness.haaqi_batch(remixes, [pair.scene for pair in pairs], [pair.listener for pair in pairs])
    return float(np.mean([score.mean for score in scores]))


def main() -> None:
    """Print a line for each system."""
    pairs = list(harness.load_evaluation_set("demo").pairs)
    print("ms later      ", *(f"{late:>7g}" for late in MILLISECONDS))
    for make in (oracle, passthrough):
        scores = [mean_haaqi(make, pairs, late) for late in MILLISECONDS]
        print(f"{make.__name__:14}", *(f"{score:7.4f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()
