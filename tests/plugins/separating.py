"""What tests of `demucs` and `umx` share: noise as music, what holds for stems, `demucs` with weights loaded."""

from pathlib import Path
from typing import Any

import numpy as np

from harness.systems import STEMS, Separator, Signal
from harness_plugins.demucs import Demucs

RATE = 44100


def music(seconds: float, seed: int = 0) -> Signal:
    """Stereo noise with a level and an offset of its own."""
    frames = round(seconds * RATE)
    return 0.1 * np.random.default_rng(seed).standard_normal((frames, 2)) + 0.01


def separated(system: Separator, mixture: Signal) -> dict[str, Signal]:
    """The four stems, which are finite and of the mixture's shape."""
    stems = dict(system.separate(mixture.copy(), RATE))
    assert list(stems) == list(STEMS)
    for stem in stems.values():
        assert stem.shape == mixture.shape
        assert stem.dtype == np.float64
        assert np.isfinite(stem).all()
    return stems


def loaded_demucs(repo: Path, model: str = "tiny", **settings: Any) -> Demucs:
    """`demucs` with a model of a folder."""
    system = Demucs(repo=repo, model=model, **settings)
    system.load()
    return system
