"""The official generator of training data beside ours: scenes, and the music at the microphones."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
from recipe_steps.official import RATE, SCENES
from support import run_app

from harness.challenge import STEMS
from harness.haaqi import conformance


def generator_root(folder: Path) -> Path:
    """What the official generator of training data starts from: songs, heads, gains, positions and listeners."""
    root = folder / "root"
    positions = {
        f"hlp_{number:04}": {"subject": "S", "left_angle": -angle, "right_angle": 22.5, "mic": "M"}
        for number, angle in enumerate((22.5, 30.0, 37.5, 45.0, 52.5), 1)
    }
    tracks = [
        {"Track Name": name, "Split": "train", "Path": f"train/{name}"} for name in ("One", "Déjà vu", "Three", "Four")
    ]
    listeners = {
        f"L{number:04}": {
            "name": f"L{number:04}",
            "audiogram_cfs": list(map(int, conformance.FREQUENCIES)),
            "audiogram_levels_l": [5 * number] * 8,
            "audiogram_levels_r": [20] * 8,
        }
        for number in range(1, 8)
    }
    gains = {f"gain_{number:04}": dict.fromkeys(STEMS, number) for number in range(1, 10)}
    for name, content in (
        ("head_loudspeaker_positions", positions),
        ("musdb18.train", tracks),
        ("listeners.train", listeners),
        ("gains", gains),
    ):
        (root / "metadata").mkdir(parents=True, exist_ok=True)
        (root / "metadata" / f"{name}.json").write_text(json.dumps(content))
    noise = np.random.RandomState(0)
    for side, angles in (("n", (22.5, 30.0, 37.5, 45.0, 52.5)), ("p", (22.5,))):
        for angle in angles:
            path = root / "audio" / "hrtf" / f"M-S-{side}{angle}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            response = noise.standard_normal((64, 2)) * np.exp(-np.arange(64) / 8)[:, None]
            soundfile.write(path, response, RATE, subtype="FLOAT")
    for number, track in enumerate(tracks):
        scene = SCENES[number % 2]
        music = root / "audio" / "music" / track["Path"]
        music.mkdir(parents=True)
        for name, signal in {"mixture": scene.mixture, **scene.stems}.items():
            # Loud, so that some samples are clipped.
            soundfile.write(music / f"{name}.wav", (1 + number / 2) * signal[: RATE // 2], RATE, subtype="PCM_16")
    return root


PROGRAMS = {"scenes": "generate_train_scenes", "at-mic": "generate_at_mic_musdb18"}
"""Of the official generator, by the names of our commands."""


def generated(folder: Path, *commands: str) -> tuple[Path, Path]:
    """What we make of `generator_root`, and what the official generator does, as programs of their own."""
    root = generator_root(folder)
    ours, others = folder / "ours", folder / "theirs"
    shutil.copytree(root, ours)
    shutil.copytree(root, others)
    package = find_spec("recipes.cad_icassp_2024.generate_dataset")
    assert package is not None
    for command in commands:
        assert run_app("set", command, ours).code == 0
        path = Path(next(iter(package.submodule_search_locations or []))) / f"{PROGRAMS[command]}.py"
        subprocess.run(
            [sys.executable, "-W", "ignore", str(path), f"path.root={others}", f"hydra.run.dir={folder / 'hydra'}"],
            check=True,
            capture_output=True,
        )
    return ours, others


def differing_files(ours: Path, others: Path, below: str, pattern: str) -> float:
    """How many files that the official program wrote are not the same to the byte."""
    names = sorted(path.relative_to(others) for path in (others / below).rglob(pattern))
    assert names
    return sum((ours / name).read_bytes() != (others / name).read_bytes() for name in names)


def drawn_scenes(folder: Path) -> float:
    return differing_files(*generated(folder, "scenes"), "metadata", "scene*.train.json")


def at_microphones(folder: Path) -> float:
    ours, others = generated(folder, "scenes", "at-mic")
    return differing_files(ours, others, "audio/at_mic_music", "*.wav") + differing_files(
        ours, others, "metadata", "at_mic_music.train.json"
    )
