"""What the bundled streaming systems separate, score and take: `live` with other constants, and the load of both.

    python benchmarks/live.py            plain SDR of each stem and mean HAAQI, about 3 minutes on two cores
    python benchmarks/live.py --load     the load of `live`, and of `convtasnet` in its published size

On the embedded evaluation set (8 pairs, three excerpts of one song), with the fast engine: differences of some
thousandths are no more than that. SDR is 10 log10 of the energy of the true stem over that of the error, mean over the
excerpts. Load is the time that a block takes as a share of the time that it lasts, one thread, processor time. It does
not depend on the weights of `convtasnet`, so they are random here, and nothing is fetched.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import harness
from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import amplify, remix
from harness.systems import Signal, StreamingSeparator
from harness.systems.streaming import OwnStream, Streamed, stream
from harness_plugins import past_masks
from harness_plugins.convtasnet import ConvTasNet
from harness_plugins.live import Live

VARIANTS: tuple[tuple[str, Mapping[str, float], Mapping[str, Any]], ...] = (
    ("live", {}, {}),
    ("blend 0", {}, {"blend": 0.0}),
    ("blend 0.15", {}, {"blend": 0.15}),
    ("memory 5", {}, {"memory": 5}),
    ("memory 17", {}, {"memory": 17}),
    ("no release", {"RELEASE": 1e-9}, {}),
    ("release 12 ms", {"RELEASE": 0.012}, {}),
    ("release 50 ms", {"RELEASE": 0.05}, {}),
    ("long window 4096", {"LONG_WINDOW": 4096}, {}),
    ("long window 16384", {"LONG_WINDOW": 16384}, {}),
)
"""Name, constants of `past_masks`, options of `live`."""

PUBLISHED = {"N": 256, "L": 20, "B": 256, "H": 512, "P": 3, "X": 10, "R": 4, "C": 2, "audio_channels": 2}
SECONDS = 5.0


def streamed(system: StreamingSeparator, mixture: Signal) -> Streamed:
    with OwnStream(system) as own:
        return stream(own, mixture, PROTOCOL.sample_rate)


def sdr(true: Signal, estimate: Signal) -> float:
    """In dB, nothing forgiven."""
    return float(10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2)))


def quality() -> None:
    """A line for each variant."""
    evaluation_set = harness.load_evaluation_set("demo")
    pairs = list(evaluation_set.pairs)
    print(f"{'':18} {'HAAQI':>7}", *(f"{stem:>7}" for stem in STEMS))
    for name, constants, options in VARIANTS:
        before = {constant: getattr(past_masks, constant) for constant in constants}
        vars(past_masks).update(constants)
        stems = {}
        for scene in evaluation_set.scenes:
            signals = streamed(Live(**options), scene.read("mixture")).signals
            stems[scene.id] = dict(zip(STEMS, signals, strict=True))
        vars(past_masks).update(before)
        gained = [[sdr(scene.read(stem), stems[scene.id][stem]) for stem in STEMS] for scene in evaluation_set.scenes]
        remixes = [
            amplify(remix(stems[pair.scene.id], pair.scene.gains, pair.scene.read("mixture")), pair.listener)
            for pair in pairs
        ]
        scores = harness.haaqi_batch(remixes, [pair.scene for pair in pairs], [pair.listener for pair in pairs])
        mean = np.mean([score.mean for score in scores])
        print(f"{name:18} {mean:7.4f}", *(f"{each:7.1f}" for each in np.mean(gained, axis=0)), flush=True)


def random_convtasnet(folder: Path) -> ConvTasNet:
    """The published network's size with random weights, written and loaded like a model of one's own."""
    import torch
    from safetensors.torch import save_file

    from harness_plugins.convtasnet.configuration import read_configuration
    from harness_plugins.convtasnet.network import Network

    more = {"samplerate": 44100, "norm_type": "cLN", "causal": True, "mask_nonlinear": "relu"}
    (folder / "config.json").write_text(json.dumps({**PUBLISHED, **more}), encoding="utf-8")
    torch.manual_seed(0)
    save_file(Network(read_configuration(folder / "config.json")).state_dict(), folder / "model.safetensors")
    return ConvTasNet(repo=folder, device="cpu")


def load() -> None:
    """A line for each system."""
    import torch

    torch.set_num_threads(1)
    music = 0.1 * np.random.default_rng(0).standard_normal((round(SECONDS * PROTOCOL.sample_rate), 2))
    print(f"{'':12} {'block':>6} {'p50':>6} {'p99':>6} {'worst':>6} {'late':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for system in (Live(), random_convtasnet(Path(folder))):
            system.load()
            cpu = streamed(system, music).cpu
            figures = " ".join(f"{np.percentile(cpu, share):6.2f}" for share in (50, 99, 100))
            print(f"{system.name:12} {system.block:6} {figures} {np.sum(cpu > 1):5} of {len(cpu)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", action="store_true", help="the load alone")
    (load if parser.parse_args().load else quality)()


if __name__ == "__main__":
    main()
