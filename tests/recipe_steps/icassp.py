"""The steps of ICASSP 2024: what each makes, by the recipe and by us, and how far the two are apart."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from checkpoints import hybrid, save_demucs_model, seeded
from clarity.utils.file_io import read_signal
from clarity.utils.flac_encoder import read_flac_signal
from recipe_steps.generator import at_microphones, drawn_scenes
from recipe_steps.official import (
    LISTENERS,
    NALR_AT_44,
    RATE,
    SCENES,
    STEMS_IN_ORDER,
    differing,
    gap,
    icassp_enhance,
    icassp_evaluate,
    theirs,
)
from support import write_tiny_set

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, apply_gains, remix, to_remix_format
from harness.haaqi import conformance, fast
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness.submission.flac import encode, read_remix
from harness_plugins.demucs.separator import Demucs


def icassp_set(folder: Path) -> EvaluationSet:
    write_tiny_set(folder / "set")
    return load(folder / "set")


def pairs(folder: Path) -> float:
    loaded = icassp_set(folder)
    listed = json.loads((folder / "set" / "metadata" / "scene_listeners.valid.json").read_text())
    return differing([pair.id for pair in loaded.pairs], icassp_evaluate.make_scene_listener_list(listed))


def reading(folder: Path) -> float:
    scene = icassp_set(folder).scenes[0]
    return max(gap(scene.read(name), read_signal(scene.folder / f"{name}.wav")) for name in ("mixture", *STEMS))


def separated(folder: Path) -> tuple[Signal, Signal]:
    """Ours and the recipe's: (stems, samples, 2) of one small Hybrid Demucs."""
    model = seeded(hybrid)
    save_demucs_model(folder, "aaaaaaaa", model)
    system = Demucs(model="aaaaaaaa", repo=folder, segment=2.0, device="cpu")
    music = SCENES[0].mixture
    system.load()
    ours = system.separate(music, RATE)
    listener = theirs(LISTENERS[0])
    others = icassp_enhance.decompose_signal(
        model, RATE, music, RATE, torch.device("cpu"), model.sources, listener, normalise=True
    )
    return np.stack([ours[stem] for stem in STEMS]), np.stack([others[stem] for stem in STEMS])


FADED = int(0.1 * RATE)
"""Samples at the end of every piece that the recipe fades out."""


def separation(folder: Path) -> float:
    ours, others = separated(folder)
    return gap(ours[:, :-FADED], others[:, :-FADED])


def gains(_folder: Path) -> float:
    return max(
        gap(ours, icassp_evaluate.apply_gains(scene.stems, RATE, scene.gains)[stem])
        for scene in SCENES
        for stem, ours in apply_gains(scene.stems, scene.gains).items()
    )


def official_remix(scene: conformance.ConformanceScene) -> Signal:
    gained = icassp_evaluate.apply_gains({stem: scene.stems[stem] for stem in STEMS_IN_ORDER}, RATE, scene.gains)
    return np.asarray(icassp_evaluate.remix_stems(gained, scene.mixture, RATE))


def remixing(_folder: Path) -> float:
    return max(gap(remix(scene.stems, scene.gains, scene.mixture), official_remix(scene)) for scene in SCENES)


def amplification(_folder: Path) -> float:
    music = SCENES[0].mixture
    return max(
        gap(
            amplify(music, who),
            icassp_enhance.process_remix_for_listener(music, NALR_AT_44, None, theirs(who)),
        )
        for who in LISTENERS
    )


def submitted_remix(folder: Path) -> float:
    """In LSB of 16 bit, of files that both write; loud, so that some samples are clipped."""
    signal = 8 * SCENES[0].mixture
    icassp_enhance.save_flac_signal(signal, folder / "theirs.flac", RATE, 32000, do_clip_signal=True)
    (folder / "ours.flac").write_bytes(encode(to_remix_format(signal)[0]))
    ours, others = (soundfile.read(folder / f"{name}.flac", dtype="int16") for name in ("ours", "theirs"))
    assert ours[1] == others[1]
    return gap(ours[0], others[0])


def reading_remix(folder: Path) -> float:
    path = folder / "remix.flac"
    path.write_bytes(encode(SCENES[0].processed(LISTENERS[0])))
    return gap(read_remix(path, len(SCENES[0].mixture)).signal, read_flac_signal(path)[0])


def seeding(_folder: Path) -> float:
    found = []
    for name in ("scene_10001", "Déjà vu - Ünder"):
        icassp_evaluate.set_song_seed(name)
        official = np.random.standard_normal(4)
        found.append(gap(np.random.RandomState(PROTOCOL.seed(name)).standard_normal(4), official))
    return max(found)


def reference(folder: Path) -> float:
    scene = icassp_set(folder).scenes[0]
    official, mixture = icassp_evaluate.load_reference_stems(scene.folder)
    gained = icassp_evaluate.apply_gains(official, RATE, scene.gains)
    ours = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
    return gap(ours, icassp_evaluate.remix_stems(gained, mixture, RATE))


def icassp_score(score: Callable[..., Score]) -> Callable[[Path], float]:
    """How far a score of ours is from the official program's on the first of the conformance pairs."""

    def measure(_folder: Path) -> float:
        scene, who = SCENES[0], LISTENERS[0]
        due = conformance.official_scores()[scene.id, who.id]
        submitted = (scene.processed(who) / 32768).astype(np.float32)
        found = score(scene.id, reference_mixture(scene.stems, scene.mixture, scene.gains), submitted, who)
        return max(gap(found.left, due.left), gap(found.right, due.right))

    return measure


STEPS: dict[str, Callable[[Path], float]] = {
    "ICASSP 2024: scenes and their listeners": drawn_scenes,
    "ICASSP 2024: music at the microphones": at_microphones,
    "ICASSP 2024: pairs": pairs,
    "ICASSP 2024: reading music": reading,
    "ICASSP 2024: separation": separation,
    "ICASSP 2024: gains": gains,
    "ICASSP 2024: remix and its loudness": remixing,
    "ICASSP 2024: NAL-R": amplification,
    "ICASSP 2024: submitted remix": submitted_remix,
    "ICASSP 2024: reading the remix": reading_remix,
    "ICASSP 2024: seed": seeding,
    "ICASSP 2024: reference": reference,
    "ICASSP 2024: score, locked evaluator": icassp_score(score_pair),
    "ICASSP 2024: score, fast engine": icassp_score(fast.score_pair),
}
"""By the names of the document's rows: the largest difference, measured in an empty folder."""
