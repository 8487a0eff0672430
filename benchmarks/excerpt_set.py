"""An evaluation set for benchmarks, of any length, made from the embedded excerpt; not a benchmark itself."""

import json
from pathlib import Path

import numpy as np
import soundfile

from harness import demo
from harness.challenge import PROTOCOL, STEMS
from harness.evaluationset import EvaluationSet, load

SPLIT = "benchmark"
LISTENERS = ["L0002", "L0003", "L0004", "L0005"]
SCENES = {
    "scene_00001": ("Excerpt", "gain_0001", LISTENERS[:3]),
    "scene_00002": ("Excerpt, sides exchanged", "gain_0002", LISTENERS[1:3]),
    "scene_00003": ("Excerpt", "gain_0003", LISTENERS[1:]),
}
"""Music, gains and listeners of each scene: 8 pairs. Two scenes share their music, and do not stand together."""


def build(root: Path, seconds: float) -> EvaluationSet:
    """Write the set in the official layout, in headphone form; music longer than the excerpt repeats it."""
    music = demo._decode(demo._excerpt())
    count = round(seconds * PROTOCOL.sample_rate)
    tracks = list(dict.fromkeys(track for track, _, _ in SCENES.values()))
    for track in tracks:
        folder = root / "audio" / "musdb18hq" / SPLIT / track
        folder.mkdir(parents=True)
        for name in ("mixture", *STEMS):
            signal = np.resize(music[name], (count, 2))
            samples = np.clip(signal * 32768.0, -32768.0, 32767.0).astype(np.int16)
            samples = samples[:, ::-1] if "exchanged" in track else samples
            soundfile.write(folder / f"{name}.wav", samples, PROTOCOL.sample_rate, subtype="PCM_16")

    def audiograms(name: str) -> dict[str, object]:
        left, right = (demo.AUDIOGRAMS[ear] for ear in demo.LISTENERS[name])
        return {
            "name": name,
            "audiogram_cfs": demo.FREQUENCIES,
            "audiogram_levels_l": left,
            "audiogram_levels_r": right,
        }

    metadata = {
        "gains": demo.GAINS,
        f"listeners.{SPLIT}": {name: audiograms(name) for name in LISTENERS},
        f"scenes.{SPLIT}": {scene: {"music": track, "gain": gain} for scene, (track, gain, _) in SCENES.items()},
        f"scene_listeners.{SPLIT}": {scene: listeners for scene, (_, _, listeners) in SCENES.items()},
        f"musdb18.{SPLIT}": [{"Track Name": track, "Split": SPLIT, "Path": f"{SPLIT}/{track}"} for track in tracks],
    }
    (root / "metadata").mkdir()
    for name, content in metadata.items():
        (root / "metadata" / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return load(root, SPLIT, "benchmark")
