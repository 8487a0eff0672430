"""An evaluation set for benchmarks, of any length, made from the embedded excerpt; not a benchmark itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from harness.challenge import PROTOCOL, STEMS
from harness.music import demo
from harness.music.audiograms import AUDIOGRAMS, FREQUENCIES
from harness.music.evaluationset import EvaluationSet
from harness.music.excerpt import read_excerpt
from harness.music.layout import load

SPLIT = "benchmark"
LISTENERS = ["L0002", "L0003", "L0004", "L0005"]
SCENES = {
    "scene_00001": ("Excerpt", "gain_0001", LISTENERS[:3]),
    "scene_00002": ("Excerpt, sides exchanged", "gain_0002", LISTENERS[1:3]),
    "scene_00003": ("Excerpt", "gain_0003", LISTENERS[1:]),
}
"""Music, gains and listeners of each scene: 8 pairs. Two scenes share their music, and do not stand together."""


@dataclass(frozen=True)
class Variation:
    """How a piece of music differs from the excerpt: where in it it starts, in seconds, and its sides exchanged."""

    start: float = 0.0
    exchanged: bool = False


MUSIC = {"Excerpt": Variation(), "Excerpt, sides exchanged": Variation(exchanged=True)}

SLICE_MUSIC = {
    f"Slice {index + 1}": Variation(start, exchanged=index % 2 == 1)
    for index, start in enumerate((0.0, 1.1, 2.3, 3.4, 4.6))
}
SLICE_LISTENERS = 20

Ears = tuple[list[int], list[int]]
"""Levels of the left and of the right ear."""


def slice_listeners() -> dict[str, Ears]:
    """Twenty listeners, all different: mild to severe, flat and sloping, most of them asymmetric."""
    kinds = ("N2", "N3", "S2", "N3", "N2")

    def ear(index: int) -> list[int]:
        return [min(level + 5 * (index // 5 % 4), 105) for level in AUDIOGRAMS[kinds[index % 5]]]

    return {f"L{1001 + index}": (ear(index), ear(3 * index + 1)) for index in range(SLICE_LISTENERS)}


def build_slice(root: Path, scenes: int, seconds: float) -> EvaluationSet:
    """Write a set that is like a part of the official one: each scene has its own music, and 20 listeners."""
    listeners = slice_listeners()
    chosen = {
        f"scene_{1 + index:05}": (track, f"gain_{1 + index % 3:04}", list(listeners))
        for index, track in enumerate(list(SLICE_MUSIC)[:scenes])
    }
    return _write(root, seconds, chosen, SLICE_MUSIC, listeners)


def build_many(root: Path, scenes: int) -> EvaluationSet:
    """Write a set with as many scenes as the official one has, or fewer, for 20 listeners each, of very short music."""
    listeners = slice_listeners()
    tracks = list(SLICE_MUSIC)
    chosen = {
        f"scene_{1 + index:05}": (tracks[index % len(tracks)], f"gain_{1 + index % 3:04}", list(listeners))
        for index in range(scenes)
    }
    return _write(root, 0.6, chosen, SLICE_MUSIC, listeners)


def build(root: Path, seconds: float) -> EvaluationSet:
    """Write the set in the official layout, in headphone form; music longer than the excerpt repeats it."""
    listeners = {name: (AUDIOGRAMS[demo.LISTENERS[name][0]], AUDIOGRAMS[demo.LISTENERS[name][1]]) for name in LISTENERS}
    return _write(root, seconds, SCENES, MUSIC, listeners)


def _write(
    root: Path,
    seconds: float,
    scenes: Mapping[str, tuple[str, str, list[str]]],
    variations: Mapping[str, Variation],
    listeners: Mapping[str, Ears],
) -> EvaluationSet:
    music = read_excerpt()
    count = round(seconds * PROTOCOL.sample_rate)
    tracks = list(dict.fromkeys(track for track, _, _ in scenes.values()))
    for track in tracks:
        folder = root / "audio" / "musdb18hq" / SPLIT / track
        folder.mkdir(parents=True)
        variation = variations[track]
        first = round(variation.start * PROTOCOL.sample_rate)
        for name in ("mixture", *STEMS):
            signal = np.resize(np.roll(music[name], -first, axis=0), (count, 2))
            samples = np.clip(signal * 32768.0, -32768.0, 32767.0).astype(np.int16)
            samples = samples[:, ::-1] if variation.exchanged else samples
            soundfile.write(folder / f"{name}.wav", samples, PROTOCOL.sample_rate, subtype="PCM_16")

    metadata = {
        "gains": demo.GAINS,
        f"listeners.{SPLIT}": {
            name: {
                "name": name,
                "audiogram_cfs": FREQUENCIES,
                "audiogram_levels_l": left,
                "audiogram_levels_r": right,
            }
            for name, (left, right) in listeners.items()
        },
        f"scenes.{SPLIT}": {scene: {"music": track, "gain": gain} for scene, (track, gain, _) in scenes.items()},
        f"scene_listeners.{SPLIT}": {scene: names for scene, (_, _, names) in scenes.items()},
        f"musdb18.{SPLIT}": [{"Track Name": track, "Split": SPLIT, "Path": f"{SPLIT}/{track}"} for track in tracks],
    }
    (root / "metadata").mkdir()
    for name, content in metadata.items():
        (root / "metadata" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return load(root, SPLIT, "benchmark")
