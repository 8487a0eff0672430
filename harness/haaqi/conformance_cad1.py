"""Conformance vectors of the first challenge: eight stems for each song and listener, with the official scores.

The scores in `conformance_cad1.csv` were computed by `recipes/cad1/task1/baseline/evaluate.py` of pyclarity 0.3.4, the
challenge's own program, run on this very music and submission (`tests/golden/make_golden_cad1.py` does that). The
music is that of `harness.haaqi.conformance`. It exercises the seed by song, with a name that is not ASCII; the one
random stream of eight stems; levels at 24 kHz of white noise and of a stem 40 dB down; scale factors on both sides of
1; a stem that a system did not find; HAAQI's own NAL-R up to a severe loss, and its flat path for normal hearing.
"""

import csv
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import soundfile

from harness.challenge import CAD1, EARS, STEMS
from harness.compute.local import map_unordered
from harness.enhancement import Signal
from harness.haaqi.conformance import LISTENERS, TOLERANCE, scenes
from harness.haaqi.evaluator import Score
from harness.haaqi.stems import Stems, reference_stems, score_stems
from harness.music.evaluationset import Pair, Scene
from harness.submission.protocols import form_of
from harness.submission.stems import stem_files

SECONDS = 0.6
"""Of each song. Sixteen channels of it for each of two listeners make up what is scored."""

SUBMISSION = "enhanced_signals"
"""Folder of the submission, named as the official program expects it."""


@dataclass(frozen=True)
class ConformanceSong:
    """A song of the conformance set: everything is (samples, 2) at 44.1 kHz, and fits 16 bit.

    Attributes:
        name: of the song; seeds the noise.
        music: the mixture and the true stems, by name.
        separated: what a system makes of it: every stem holds a tenth of the mixture, but the second song's "other",
            of which it finds nothing.
    """

    name: str
    music: Mapping[str, Signal]
    separated: Mapping[str, Signal]


def songs() -> list[ConformanceSong]:
    """The songs of the conformance set: two parts of one piece of music."""
    scene, frames = scenes()[0], int(SECONDS * CAD1.sample_rate)
    whole = {"mixture": scene.mixture, **scene.stems}
    first = {name: signal[:frames] for name, signal in whole.items()}
    second = {name: signal[frames : 2 * frames, ::-1].copy() for name, signal in whole.items()}
    second["vocals"][:, 1] = np.round(second["vocals"][:, 1] * 32768 / 100) / 32768
    leaky = [{name: 0.9 * music[name] + 0.1 * music["mixture"] for name in STEMS} for music in (first, second)]
    leaky[1]["other"] = np.zeros_like(second["other"])
    return [ConformanceSong("Vector One", first, leaky[0]), ConformanceSong("Vector Zwölf", second, leaky[1])]


def write(root: Path) -> list[Pair]:
    """Write the songs and their submission below `root`, in the official layout, and return the pairs in its order.

    The music comes to `audio/musdb18hq/train`, the submission to `SUBMISSION`; metadata is not written.
    """
    pairs = []
    for song in songs():
        folder = root / "audio" / "musdb18hq" / "train" / song.name
        folder.mkdir(parents=True)
        for name, signal in song.music.items():
            soundfile.write(folder / f"{name}.wav", signal, CAD1.sample_rate, subtype="PCM_16")
        scene = Scene(
            id=song.name,
            song=song.name,
            track=song.name,
            gains=dict.fromkeys(STEMS, 0.0),
            listeners=tuple(LISTENERS.values()),
            folder=folder,
            protocol=CAD1,
        )
        for who in scene.listeners:
            pair = Pair(scene, who)
            for name, (content, _) in stem_files(song.separated, pair).items():
                path = root / SUBMISSION / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            pairs.append(pair)
    return pairs


def submitted(root: Path) -> Iterator[tuple[Pair, Stems, Stems]]:
    """Write the set below `root`, and read each pair as it is read for scoring: with the true and submitted stems.

    The true stems of a song are one object for all its listeners.
    """
    references: dict[str, Stems] = {}
    for pair in write(root):
        if pair.scene.id not in references:
            references[pair.scene.id] = reference_stems(pair.scene.read_stems())
        signals = form_of(CAD1).read(root / SUBMISSION, pair).signals
        assert isinstance(signals, Mapping), "the form of the first challenge has stems"
        yield pair, references[pair.scene.id], signals


def official_scores() -> dict[tuple[str, str], Score]:
    """The official program's scores, by song and listener."""
    text = resources.files(__package__).joinpath("conformance_cad1.csv").read_text(encoding="utf-8")
    return {(row["song"], row["listener"]): score_in(row) for row in csv.DictReader(text.splitlines())}


def score_in(row: Mapping[str, str]) -> Score:
    """The score in a row of the official program's CSV, with every stem's."""
    found = {name: float(row[name]) for name in CAD1.signals}
    left, right = (float(np.mean([found[f"{ear}_{stem}"] for stem in CAD1.score_order])) for ear in EARS)
    return Score(left, right, found)


def disagreements() -> list[str]:
    """Score the conformance set as submissions are scored; one line for every score that is not the official one."""
    with tempfile.TemporaryDirectory() as folder:
        ((_, problems),) = map_unordered(_disagreements, [Path(folder)], workers=1)
        return problems


def _disagreements(root: Path) -> list[str]:
    problems = []
    official = official_scores()
    for pair, references, processed in submitted(root):
        found = score_stems(pair.scene.id, references, processed, pair.listener).stems or {}
        due = official[pair.id].stems or {}
        for name in CAD1.signals:
            if not abs(found[name] - due[name]) <= TOLERANCE:
                problems.append(
                    f"conformance vector {' '.join(pair.id)} {name} scores {found[name]!r}, "
                    f"the official program gives {due[name]!r}"
                )
    return problems
