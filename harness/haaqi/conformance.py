"""Conformance vectors: small synthetic music, and the scores that the official program gives it.

The scores in `conformance.csv` were computed by pyclarity's own `baseline/evaluate.py`, run as a program on this
very music written out in the official layout (`tests/golden/make_golden.py` does that). Scoring the same music here
must agree with them to `TOLERANCE`. The music is made from sines and a counted noise and rounded to 16 bit, so that it
is the same on every machine; it exercises gains, loudness, a silent stem, NAL-R up to a severe loss,
its flat path for normal hearing, clipping and both ears.
"""

import csv
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL, Gains
from harness.compute.local import map_unordered
from harness.enhancement import Signal, amplify, remix, to_remix_format
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.hearing import Audiogram, Listener
from harness.submission.flac import encode, read_remix

TOLERANCE = 1e-8
"""Largest difference of a score between library versions, with room: 1.8e-9 was the largest ever seen."""

SECONDS = 1.2
FREQUENCIES = (250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0)


@dataclass(frozen=True)
class ConformanceScene:
    """A scene of the conformance set: music, gains and listeners, as `evaluationset.Scene` without files."""

    id: str
    music: str
    gains: Gains
    listeners: tuple[Listener, ...]
    mixture: Signal
    stems: dict[str, Signal]

    def processed(self, listener: Listener) -> NDArray[np.int16]:
        """What a leaky separator would submit: every stem holds a tenth of the mixture."""
        leaky = {name: 0.9 * stem + 0.1 * self.mixture for name, stem in self.stems.items()}
        remixed, _ = to_remix_format(amplify(remix(leaky, self.gains, self.mixture), listener))
        return remixed


def _listener(name: str, left: tuple[float, ...], right: tuple[float, ...]) -> Listener:
    return Listener(name, Audiogram(FREQUENCIES, left), Audiogram(FREQUENCIES, right))


LISTENERS = {
    "V1": _listener("V1", (10, 15, 20, 25, 35, 40, 45, 50), (15, 15, 25, 30, 40, 45, 50, 60)),
    "V2": _listener("V2", (60, 65, 70, 75, 80, 85, 95, 95), (0, 0, 0, 0, 0, 0, 0, 0)),
}


def _noise(count: int, seed: int) -> Signal:
    """White noise in +-1 that no library can change: a linear congruential generator (Numerical Recipes)."""
    values = np.empty(count)
    state = seed
    for index in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values[index] = state / 2**31 - 1
    return values


def _to_16_bit(signal: Signal) -> Signal:
    return np.clip(np.round(signal * 32768), -32768, 32767) / 32768


def scenes() -> list[ConformanceScene]:
    """The scenes of the conformance set. Stems do not sum to the mixture, as at a microphone."""
    time = np.arange(int(SECONDS * PROTOCOL.sample_rate)) / PROTOCOL.sample_rate

    def tone(frequency: float, partials: int = 6) -> Signal:
        total = np.zeros_like(time)
        for k in range(1, partials + 1):
            total += np.sin(2 * np.pi * k * frequency * time + 0.3 * k) / k
        return total

    def stereo(left: Signal, right: Signal, level: float) -> Signal:
        return _to_16_bit(level * np.stack([left, right], axis=1))

    beat = np.exp(-18 * np.mod(time, 0.25))
    noise = _noise(len(time), 20240101)
    vibrato = np.sin(2 * np.pi * 220 * time + 4 * np.sin(2 * np.pi * 5.5 * time))
    voice = vibrato * (0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * time)) + 0.3 * tone(660, 3)
    chord = tone(196) + tone(246.94) + tone(293.66)
    stems = {
        "vocals": stereo(voice, voice, 0.12),
        "drums": stereo(noise * beat, 0.8 * noise * beat, 0.25),
        "bass": stereo(tone(55, 4), tone(55, 4), 0.1),
        "other": stereo(chord, 0.5 * tone(392) + chord, 0.05),
    }
    mixture = _to_16_bit(0.95 * sum(stems.values(), np.zeros((len(time), 2))))
    without_vocals = {**stems, "vocals": np.zeros_like(mixture)}
    instrumental = _to_16_bit(mixture - 0.95 * stems["vocals"])
    listeners = tuple(LISTENERS.values())
    return [
        ConformanceScene(
            "scene_V001",
            "Vector One-hlp_0001",
            {"vocals": 6, "drums": -3, "bass": 0, "other": -10},
            listeners,
            mixture,
            stems,
        ),
        ConformanceScene(
            "scene_V002",
            "Vector Two-hlp_0001",
            {"vocals": 10, "drums": 3, "bass": -6, "other": 0},
            listeners,
            instrumental,
            without_vocals,
        ),
    ]


def official_scores() -> dict[tuple[str, str], Score]:
    """The official program's scores, by scene and listener."""
    text = resources.files(__package__).joinpath("conformance.csv").read_text(encoding="utf-8")
    return {
        (row["scene"], row["listener"]): Score(float(row["left_score"]), float(row["right_score"]))
        for row in csv.DictReader(text.splitlines())
    }


def disagreements() -> list[str]:
    """Score the conformance set as submissions are scored; one line for every score that is not the official one."""
    with tempfile.TemporaryDirectory() as folder:
        ((_, problems),) = map_unordered(_disagreements, [Path(folder) / "remix.flac"], workers=1)
        return problems


def _disagreements(path: Path) -> list[str]:
    problems = []
    official = official_scores()
    for scene in scenes():
        reference = reference_mixture(scene.stems, scene.mixture, scene.gains)
        for listener in scene.listeners:
            # The way that submissions go: written to FLAC, read and checked.
            path.write_bytes(encode(scene.processed(listener)))
            submitted = read_remix(path, len(scene.mixture))
            score = score_pair(scene.id, reference, submitted.signal, listener)
            expected = official[scene.id, listener.id]
            for ear in ("left", "right"):
                found, due = getattr(score, ear), getattr(expected, ear)
                if not abs(found - due) <= TOLERANCE:
                    problems.append(
                        f"conformance vector {scene.id} {listener.id} {ear} ear scores {found!r}, "
                        f"the official program gives {due!r}"
                    )
    return problems
