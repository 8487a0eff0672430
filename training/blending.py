"""Chooses how much of the plain mixture the demonstration models' stems hold: by HAAQI, on pieces never trained on.

    WORK/songs/choice/PIECE/{vocals,drums,bass,other}.flac      the richest 10 s of each held-out piece
    WORK/sets/choice/                                           an evaluation set of them: `harness set new`

What a listener hears is the remix, so that is what is scored: the stems with each share of the mixture, through gains,
loudness, NAL-R and HAAQI, at ears before loudspeakers as in the challenge. The model separates each scene once.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rich.progress
import soundfile

import harness
from harness.music import heads
from harness.systems.discovery import Plugins
from harness.systems.torch import blended
from harness_plugins.torch_support import BLEND_FILE, DEMO
from training import excerpts
from training.excerpts import FULL_SCALE, SAMPLE_RATE, STEMS

MODELS = ("demucs", "umx")
BLENDS = tuple(round(0.1 * tenth, 1) for tenth in range(10))
SECONDS = 10.0
SCENES_PER_PIECE = 2
LISTENERS = "clarity"
"""Those of the challenge's training set, two for each scene."""

SUBJECT, MIC = "SPHERE", "side"
ANGLES = (22.5, 30.0, 37.5)
"""Degrees of the challenge's loudspeakers to either side. Its microphones sit behind the ears, so a sphere without ear
canals stands for its heads: in KEMAR's canals 3 kHz is 10 dB louder, and what NAL-R adds makes most remixes clip."""


def evaluation_set(pieces: Path, work: Path, split: str) -> Path:
    """Make an evaluation set of a folder of pieces, or what is missing of it.

    Args:
        pieces: folder of pieces.
        work: gets `songs/SPLIT` and `sets/SPLIT`.
        split: what the set and its split are called.

    Returns:
        The root of the set.
    """
    songs, root = work / "songs" / split, work / "sets" / split
    for path in sorted(path for path in pieces.glob("*") if path.is_dir()):
        folder = songs / path.name
        if folder.is_dir():
            continue
        stems = excerpts.richest(excerpts.read(path), round(SECONDS * SAMPLE_RATE))
        partial = songs / f".{path.name}"
        partial.mkdir(parents=True, exist_ok=True)
        for name, stem in zip(STEMS, stems, strict=True):
            samples = np.rint(stem.T * FULL_SCALE).astype(np.int16)
            soundfile.write(partial / f"{name}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
        partial.rename(folder)
    positions = _spheres(work / "heads")
    _run(
        *("set", "new", root, "--songs", songs, "--listeners", LISTENERS, "--split", split),
        *("--per-song", SCENES_PER_PIECE, "--positions", positions, "--hrtf", positions.parent),
    )
    return root


def _spheres(folder: Path) -> Path:
    """Write the impulse responses of a spherical head, and the positions of loudspeakers around it."""
    folder.mkdir(parents=True, exist_ok=True)
    for angle in ANGLES:
        for sign, letter in ((-1, "n"), (1, "p")):
            response = heads.impulse_responses(sign * angle)
            soundfile.write(folder / f"{MIC}-{SUBJECT}-{letter}{angle}.wav", response, SAMPLE_RATE, subtype="FLOAT")
    pairs = enumerate(itertools.product(ANGLES, ANGLES), 1)
    positions = {
        f"hlp_{number:04d}": {"subject": SUBJECT, "left_angle": -left, "right_angle": right, "mic": MIC}
        for number, (left, right) in pairs
    }
    path = folder / "positions.json"
    path.write_text(json.dumps(positions, indent=2) + "\n", encoding="utf-8")
    return path


def compare(root: Path, split: str, work: Path) -> None:
    """Run and score the demonstration models on an evaluation set, and what they are measured by; print comparisons.

    Args:
        root, split: the evaluation set.
        work: gets `submissions/SPLIT/SYSTEM` and `SPLIT.db`. What is there already is not computed again.
    """
    database = ("--db", work / f"{split}.db")
    where = ("--data", root, "--split", split)
    for system, options in (
        ("passthrough", ()),
        ("centre", ()),
        *((name, ("--option", "model=demo")) for name in MODELS),
    ):
        output = ("--output", work / "submissions" / split / system)
        _run("run", "--system", system, *options, *where, *output, *database, "--engine", "fast")
    for first, second in ((model, other) for model in MODELS for other in ("passthrough", "centre")):
        _run("compare", first, second, *where, *database, "--worst", 0, show=True)


def _run(*arguments: object, show: bool = False) -> None:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=None if show else subprocess.DEVNULL)  # noqa: S603
    if done.returncode:
        raise excerpts.TrainingProblem(f"harness {' '.join(map(str, arguments))} ended with {done.returncode}")


def choose(system: str, root: Path, split: str, out: Path) -> None:
    """Write the blend with the highest mean HAAQI, and the means of all, to `out/blend.json`.

    Args:
        system: "demucs" or "umx"; its demonstration model must lie in `out`'s place of the installation.
        root, split: the evaluation set.
        out: folder of the demonstration model.
    """
    found = scores(system, root, split)
    means = found.groupby("blend")["haaqi"].mean()
    best = BLENDS[int(np.argmax(means.to_numpy()))]
    content = {
        "blend": best,
        "pieces": found["piece"].nunique(),
        "pairs": len(found) // len(BLENDS),
        "mean_haaqi": {f"{blend:g}": round(float(mean), 4) for blend, mean in means.items()},
    }
    partial = out / f"{BLEND_FILE}.partial"
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(out / BLEND_FILE)
    print(f"{system}: blend {best:g}")
    print(means.round(4).to_string())


def scores(system: str, root: Path, split: str) -> pd.DataFrame:
    """HAAQI of each blend for each pair: columns blend, song, scene, listener and haaqi."""
    data = harness.load_evaluation_set(root, split)
    separator: Any = Plugins().systems[system](model=DEMO, blend=0.0)
    separator.load()
    rows, remixes, scenes, listeners = [], [], [], []
    for scene in rich.progress.track(data.scenes, f"{system}: separating"):
        mixture = scene.read("mixture")
        stems = separator.separate(mixture, SAMPLE_RATE)
        for blend in BLENDS:
            for listener in scene.listeners:
                remixes.append(harness.remix(blended(stems, mixture, blend), scene, listener))
                scenes.append(scene)
                listeners.append(listener)
                rows.append({"blend": blend, "piece": scene.track, "scene": scene.id, "listener": listener.id})
    found = harness.haaqi_batch(remixes, scenes, listeners)
    return pd.DataFrame(rows).assign(haaqi=[score.mean for score in found])
