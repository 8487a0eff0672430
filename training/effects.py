"""What happens to a stem between its recording and the listener's ear, drawn at random while a network learns.

The pieces are few, and rendered cleaner than music is played; effects that differ each time make many of each. All of
them keep the sum of the stems what it is: they change one stem, or all stems by the same filters.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pedalboard as pb

SAMPLE_RATE = 44100

TREATED = 0.15
"""How often a stem gets an effect; half of them get a second one."""

AT_EARS = 0.25
"""How often the music is heard by two ears before two loudspeakers, as in the challenge's scenes."""

HEAD_RADIUS = 0.0875  # m, Woodworth & Schlosberg 1954
SOUND = 343.0  # m/s
ANGLE = (15.0, 55.0)
"""Range of a loudspeaker's angle from straight ahead, in degrees."""

Stereo = npt.NDArray[np.float32]
"""(2, samples), full scale at 1."""


def treat(sound: Stereo, rng: np.random.Generator) -> Stereo:
    """Send a stem through an effect, two, or none; silence stays as it is."""
    peak = float(np.abs(sound).max())
    if rng.random() >= TREATED or peak < 1e-4:
        return sound
    kinds = rng.permutation(len(_EFFECTS))[: int(rng.integers(1, 3))]
    board = pb.Pedalboard([_EFFECTS[int(kind)](rng) for kind in kinds])
    treated = np.asarray(board(0.5 / peak * sound, SAMPLE_RATE), np.float32)
    # As loud as before: how loud it is is decided elsewhere.
    energy = float(np.sqrt(np.mean(treated**2)))
    return treated * np.float32(np.sqrt(np.mean(sound**2)) / max(energy, 1e-6))


def _compressor(rng: np.random.Generator) -> Any:
    return pb.Compressor(
        rng.uniform(-34, -14), rng.uniform(1.5, 8), log_uniform(rng, 0.5, 40), log_uniform(rng, 30, 400)
    )


def _distortion(rng: np.random.Generator) -> Any:
    return pb.Distortion(rng.uniform(2, 22))


def _reverb(rng: np.random.Generator) -> Any:
    wet = rng.uniform(0.03, 0.35)
    return pb.Reverb(rng.uniform(0.05, 0.9), rng.uniform(0.1, 0.9), wet, 1 - 0.6 * wet, rng.uniform(0.3, 1))


def _chorus(rng: np.random.Generator) -> Any:
    return pb.Chorus(rng.uniform(0.2, 3), rng.uniform(0.05, 0.4), mix=rng.uniform(0.15, 0.5))


def _peak(rng: np.random.Generator) -> Any:
    return pb.PeakFilter(log_uniform(rng, 150, 9000), rng.uniform(-9, 9), log_uniform(rng, 0.4, 3))


def _cut(rng: np.random.Generator) -> Any:
    if rng.random() < 0.5:
        return pb.LowpassFilter(log_uniform(rng, 2500, 15000))
    return pb.HighpassFilter(log_uniform(rng, 40, 250))


_EFFECTS = (_compressor, _distortion, _reverb, _chorus, _peak, _peak, _cut)


def at_ears(stems: npt.NDArray[np.float32], rng: np.random.Generator) -> None:
    """Play all stems, (4, 2, samples), over two loudspeakers to two ears, in place.

    A sphere instead of a head: a sound reaches the far ear later (Woodworth's formula) and without its high
    frequencies, the near ear with more of them; ears, microphones and the room colour both. The filters are the
    same for all stems, and drawn anew for each excerpt.
    """
    shelf = log_uniform(rng, 900, 3000)
    near, far = pb.HighShelfFilter(shelf, rng.uniform(0, 5)), pb.HighShelfFilter(shelf, rng.uniform(-16, -4))
    colour = pb.Pedalboard([_peak(rng), pb.PeakFilter(log_uniform(rng, 2000, 5000), rng.uniform(-2, 8), 1.0)])
    angles = np.radians(rng.uniform(*ANGLE) + rng.uniform(-8, 8, 2))
    delays = np.rint(HEAD_RADIUS / SOUND * (angles + np.sin(angles)) * SAMPLE_RATE).astype(int)
    level = np.float32(10 ** (rng.uniform(-3, 0) / 20))
    for stem in stems:
        direct, shadowed = near(stem, SAMPLE_RATE), level * far(stem, SAMPLE_RATE)
        for speaker, delay in enumerate(delays.tolist()):
            direct[1 - speaker, delay:] += shadowed[speaker, : stem.shape[1] - delay]
        stem[:] = np.float32(0.7) * colour(direct, SAMPLE_RATE)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between two, each octave as likely as any other."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
