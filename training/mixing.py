"""What a mixing desk does to the players: filters, compression, distortion, room, place, level.

Effects come from pedalboard (GPL 3, by Spotify), loudness from pyloudnorm. All settings are drawn at random within
what is usual for the role.
"""

import warnings
from typing import Any

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from training.composition import Role, Stem
from training.excerpts import SAMPLE_RATE
from training.sounds import Stereo

LEVELS: dict[Stem, tuple[float, float]] = {"vocals": (-8, 4), "drums": (-5, 4), "bass": (-7, 2), "other": (-6, 4)}
"""Range of a stem's loudness around -20 LUFS."""

MASTER = (-18.0, -9.0)
"""Range of the mixture's loudness in LUFS; its peak stays below full scale all the same."""


def treat(sound: Stereo, role: Role, rng: np.random.Generator) -> Stereo:
    """Send one player's sound through its own effects and put it in its place between left and right.

    Args:
        sound: (samples, 2).
        role: decides which effects are likely.
        rng: the source of chance.

    Returns:
        (samples, 2), of the same length.
    """
    import pedalboard as pb

    effects: list[Any] = []
    if role == "vocals":
        effects += [pb.HighpassFilter(float(rng.uniform(60, 160))), _compressor(rng, -24), *_equaliser(rng, 4)]
        effects.append(pb.HighShelfFilter(float(rng.uniform(3500, 7000)), float(rng.uniform(-2, 7))))
        if rng.random() < 0.3:
            effects.append(pb.Distortion(float(rng.uniform(3, 14))))
        if rng.random() < 0.3:
            effects.append(_delay(rng))
        effects.append(_reverb(rng, 0.35))
    elif role in ("drums", "percussion"):
        effects += [*_equaliser(rng, 5)]
        if rng.random() < 0.7:
            effects.append(_compressor(rng, -20))
        if rng.random() < 0.25:
            effects.append(pb.Distortion(float(rng.uniform(3, 16))))
        if rng.random() < 0.7:
            effects.append(_reverb(rng, 0.25))
    elif role == "bass":
        effects += [_compressor(rng, -22), *_equaliser(rng, 5)]
        if rng.random() < 0.35:
            effects.append(pb.Distortion(float(rng.uniform(4, 22))))
        effects.append(pb.LowpassFilter(float(np.exp(rng.uniform(np.log(900), np.log(9000))))))
    else:
        if role == "power" or (role in ("riff", "lead", "strum") and rng.random() < 0.35):
            effects += [
                pb.HighpassFilter(float(rng.uniform(70, 180))),
                pb.Distortion(float(rng.uniform(10, 38))),
                pb.LowpassFilter(float(rng.uniform(3500, 7500))),
                pb.LowpassFilter(float(rng.uniform(4500, 9000))),
            ]
        effects += [pb.HighpassFilter(float(rng.uniform(40, 250))), *_equaliser(rng, 6)]
        if rng.random() < 0.4:
            effects.append(_compressor(rng, -20))
        if rng.random() < 0.2:
            effects.append(
                pb.Chorus(float(rng.uniform(0.3, 2)), float(rng.uniform(0.1, 0.4)), mix=float(rng.uniform(0.2, 0.5)))
            )
        if rng.random() < 0.15:
            effects.append(pb.Phaser(float(rng.uniform(0.2, 1))))
        if rng.random() < 0.25:
            effects.append(_delay(rng))
        if rng.random() < 0.7:
            effects.append(_reverb(rng, 0.4))
    loudest = float(np.abs(sound).max()) or 1.0
    treated = pb.Pedalboard(effects)((0.5 * sound / loudest).T.copy(), SAMPLE_RATE).T
    spread = {"vocals": 0.08, "bass": 0.05, "drums": 0.1}.get(role, 0.55)
    return placed(np.asarray(treated, np.float32), float(rng.normal(0, spread)), float(rng.uniform(0.2, 1.2)))


def _equaliser(rng: np.random.Generator, strength: float) -> list[Any]:
    import pedalboard as pb

    return [
        pb.LowShelfFilter(float(rng.uniform(80, 300)), float(rng.uniform(-strength, strength))),
        pb.PeakFilter(
            float(np.exp(rng.uniform(np.log(250), np.log(6000)))), float(rng.uniform(-strength, strength)), 0.8
        ),
        pb.HighShelfFilter(float(rng.uniform(3000, 9000)), float(rng.uniform(-strength, strength))),
    ]


def _compressor(rng: np.random.Generator, threshold: float) -> Any:
    import pedalboard as pb

    return pb.Compressor(
        threshold + float(rng.uniform(-6, 6)),
        float(rng.uniform(1.5, 6)),
        float(rng.uniform(1, 25)),
        float(rng.uniform(40, 250)),
    )


def _delay(rng: np.random.Generator) -> Any:
    import pedalboard as pb

    return pb.Delay(float(rng.uniform(0.08, 0.5)), float(rng.uniform(0, 0.45)), float(rng.uniform(0.05, 0.3)))


def _reverb(rng: np.random.Generator, most: float) -> Any:
    import pedalboard as pb

    wet = float(rng.uniform(0, most)) ** 1.3
    return pb.Reverb(float(rng.uniform(0.1, 0.85)), float(rng.uniform(0.2, 0.8)), wet, 1 - 0.5 * wet, 1.0)


def placed(sound: Stereo, place: float, width: float) -> Stereo:
    """Set the width of a sound and move it between left (-1) and right (+1), at constant power."""
    middle, side = sound.mean(axis=1), (sound[:, 0] - sound[:, 1]) / 2 * width
    angle = (float(np.clip(place, -1, 1)) + 1) * np.pi / 4
    gains = np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)
    return np.stack([(middle + side) * gains[0], (middle - side) * gains[1]], axis=1).astype(np.float32)


def loudness(sound: NDArray[Any]) -> float:
    """Integrated loudness in LUFS; -inf for silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(sound.astype(np.float64)))


def levelled(sound: Stereo, target: float) -> Stereo:
    """Bring a sound to a loudness in LUFS; silence stays silent."""
    now = loudness(sound)
    return sound if not np.isfinite(now) else (sound * np.float32(10 ** ((target - now) / 20)))


def mixed(stems: dict[Stem, Stereo], rng: np.random.Generator) -> dict[Stem, Stereo]:
    """Balance the stems and bring their sum to its level, below full scale."""
    import pedalboard as pb

    balanced: dict[Stem, Stereo] = {}
    for stem, sound in stems.items():
        if rng.random() < 0.5:  # a compressor and saturation over the whole group, as on most records
            bus = pb.Pedalboard([_compressor(rng, -18), pb.Limiter(float(rng.uniform(-6, -1)), 100)])
            loudest = float(np.abs(sound).max()) or 1.0
            sound = np.asarray(bus((0.9 * sound / loudest).T.copy(), SAMPLE_RATE).T, np.float32)
        balanced[stem] = levelled(sound, -20 + float(rng.uniform(*LEVELS[stem])))
    mixture = np.sum(list(balanced.values()), axis=0)
    now = loudness(mixture)
    gain = 10 ** ((float(rng.uniform(*MASTER)) - now) / 20) if np.isfinite(now) else 1.0
    peak = max(float(np.abs(mixture).max()), *(float(np.abs(sound).max()) for sound in balanced.values()), 1e-9)
    gain = min(gain, 0.98 / peak)
    return {stem: (sound * np.float32(gain)).astype(np.float32) for stem, sound in balanced.items()}
