"""Songs on disk for tests: a second of noise for each stem, and their sum."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from harness.challenge import STEMS

RATE = 44100


def write_song(
    folder: Path,
    seconds: float = 0.6,
    suffix: str = "wav",
    subtype: str = "PCM_16",
    rate: int = RATE,
    names: Sequence[str] = ("mixture", *STEMS),
    silent: Sequence[str] = (),
    seed: int = 1,
) -> dict[str, np.ndarray]:
    """Write a song, and give what is in its files: (samples, 2), whole numbers of 1/32768."""
    rng = np.random.default_rng(seed)
    signals = {stem: rng.integers(-3000, 3000, (round(seconds * rate), 2)) / 32768 for stem in STEMS}
    for stem in silent:
        signals[stem][:] = 0
    signals["mixture"] = sum(signals[stem] for stem in STEMS)
    folder.mkdir(parents=True)
    for name in names:
        write_signal(folder / f"{name}.{suffix}", signals[name], rate, subtype)
    return signals


def write_signal(path: Path, signal: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> None:
    """Write whole numbers of 1/32768 so that reading gives the same, whatever the format; floats as they are."""
    if subtype.startswith("PCM"):
        signal = (signal * 2**31).astype(np.int32)
    soundfile.write(path, signal, rate, subtype=subtype)
