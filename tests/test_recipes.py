"""Every step of the published recipes beside ours: each row of the tables in docs/explanation/agreement.md is a test.

The recipes' own functions are called, as pyclarity ships them. What the first challenge's official program (v0.3.4)
does otherwise than those shipped now shows in its scores, which stand in `conformance_cad1.csv`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from checkpoints import hybrid, save_demucs_model, seeded
from clarity.enhancer.nalr import NALR
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from clarity.utils.audiogram import Listener as ClarityListener
from clarity.utils.file_io import read_signal
from clarity.utils.flac_encoder import read_flac_signal
from clarity.utils.signal_processing import resample
from support import run_app, write_tiny_set

from harness.challenge import CAD1, EARS, PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, apply_gains, remix, to_remix_format
from harness.haaqi import conformance, conformance_cad1, fast
from harness.haaqi.evaluator import Score, reference_mixture, score_pair
from harness.haaqi.stems import reference_stems, score_stems, score_stems_fast
from harness.hearing import Listener
from harness.music.evaluationset import EvaluationSet, Pair
from harness.music.layout import load
from harness.submission.flac import encode, read_remix
from harness.submission.stems import StemsForm, processed, stem_files
from harness_plugins.demucs.separator import Demucs

DOCUMENT = Path(__file__).parents[1] / "docs" / "explanation" / "agreement.md"
RATE = PROTOCOL.sample_rate
SCENES = conformance.scenes()  # the second has a silent stem
LISTENERS = tuple(conformance.LISTENERS.values())
STEMS_IN_ORDER = ("drums", "bass", "other", "vocals")
LSB = 1 / 32768


class Fade:
    """Stands in for torchaudio's, which only loads beside the torch that it was built for: linear fades."""

    def __init__(self, fade_in_len: int, fade_out_len: int, fade_shape: str) -> None:
        assert fade_shape == "linear"
        self.fade_in_len, self.fade_out_len = fade_in_len, fade_out_len

    def __call__(self, music: torch.Tensor) -> torch.Tensor:
        shape = torch.ones(music.shape[-1])
        shape[: self.fade_in_len] = torch.linspace(0, 1, self.fade_in_len)
        shape[len(shape) - self.fade_out_len :] *= torch.linspace(1, 0, self.fade_out_len)
        return music * shape


@contextmanager
def without_torchaudio() -> Iterator[None]:
    """Import the recipes where torchaudio is missing or does not load: only `Fade` is used of it here."""
    parts: dict[str, dict[str, Any]] = {
        "torchaudio": {},
        "torchaudio.pipelines": {"HDEMUCS_HIGH_MUSDB": None},
        "torchaudio.transforms": {"Fade": Fade},
    }
    before = {name: sys.modules.get(name) for name in parts}
    try:
        for name, content in parts.items():
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(content)
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


pytest.importorskip("recipes.cad_icassp_2024.baseline.evaluate", reason="the recipe does not import here")
with without_torchaudio():
    icassp_enhance = import_module("recipes.cad_icassp_2024.baseline.enhance")
    cad1_enhance = import_module("recipes.cad1.task1.baseline.enhance")
icassp_evaluate = import_module("recipes.cad_icassp_2024.baseline.evaluate")
cad1_evaluate = import_module("recipes.cad1.task1.baseline.evaluate")

NALR_AT_44 = NALR(nfir=220, sample_rate=RATE)


def theirs(listener: Listener) -> ClarityListener:
    left, right = (
        ClarityAudiogram(levels=np.array(ear.levels), frequencies=np.array(ear.frequencies))
        for ear in (listener.left, listener.right)
    )
    return ClarityListener(left, right, listener.id)


def gap(ours: Any, others: Any) -> float:
    """The largest difference between two arrays, which must have one shape."""
    ours, others = np.asarray(ours), np.asarray(others)
    assert ours.shape == others.shape
    return float(np.abs(ours.astype(float) - others.astype(float)).max(initial=0.0))


def differing(ours: Any, others: Any) -> int:
    """How many things in two lists, or of the bytes of two files, differ."""
    ours, others = list(ours), list(others)
    return sum(one != other for one, other in zip(ours, others, strict=True))


def icassp_set(folder: Path) -> EvaluationSet:
    write_tiny_set(folder / "set")
    return load(folder / "set")


def song_set(folder: Path) -> EvaluationSet:
    """An evaluation set of the first challenge: one song, two listeners."""
    scene = SCENES[0]
    music = folder / "set" / "audio" / "musdb18hq" / "train" / "Song"
    music.mkdir(parents=True)
    for name, signal in {"mixture": scene.mixture, **scene.stems}.items():
        soundfile.write(music / f"{name}.wav", signal, RATE, subtype="PCM_16")
    metadata = folder / "set" / "metadata"
    metadata.mkdir()
    (metadata / "musdb18.valid.json").write_text(json.dumps([{"Track Name": "Song", "Split": "valid"}]))
    listeners = {
        who.id: {
            "name": who.id,
            "audiogram_cfs": list(who.left.frequencies),
            "audiogram_levels_l": list(who.left.levels),
            "audiogram_levels_r": list(who.right.levels),
        }
        for who in LISTENERS
    }
    (metadata / "listeners.valid.json").write_text(json.dumps(listeners))
    return load(folder / "set")


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


# ICASSP 2024, step by step


def drawn_scenes(folder: Path) -> float:
    return differing_files(*generated(folder, "scenes"), "metadata", "scene*.train.json")


def at_microphones(folder: Path) -> float:
    ours, others = generated(folder, "scenes", "at-mic")
    return differing_files(ours, others, "audio/at_mic_music", "*.wav") + differing_files(
        ours, others, "metadata", "at_mic_music.train.json"
    )


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


# The first challenge, step by step


def songs_and_listeners(folder: Path) -> float:
    loaded = song_set(folder)
    metadata = folder / "set" / "metadata"
    songs = [song["Track Name"] for song in json.loads((metadata / "musdb18.valid.json").read_text())]
    listeners = json.loads((metadata / "listeners.valid.json").read_text())
    return differing([pair.id for pair in loaded.pairs], cad1_evaluate.make_song_listener_list(songs, listeners))


def float32(signal: Signal) -> Signal:
    return signal.astype(np.float32)


def official_stems(listener: Listener) -> dict[str, Signal]:
    """The recipe's eight stems, amplified, of stems that a network in single precision returned."""
    sources = np.stack([float32(SCENES[0].stems[stem]).T for stem in STEMS_IN_ORDER])
    eight = cad1_enhance.map_to_dict(sources, list(STEMS_IN_ORDER))
    found = cad1_enhance.process_stems_for_listener(eight, NALR_AT_44, None, theirs(listener))
    return dict(found)


def eight_stems(_folder: Path) -> float:
    music = {stem: float32(signal) for stem, signal in SCENES[0].stems.items()}
    found = []
    for who in LISTENERS:
        ours, others = dict(processed(music, who)), official_stems(who)
        assert ours.keys() == others.keys()
        found += [gap(ours[name], others[name]) for name in ours]
    return max(found)


def written(folder: Path) -> tuple[Pair, Path, Path]:
    """Ours and the recipe's files of a pair."""
    pair = song_set(folder).pairs[1]
    made = stem_files({stem: float32(signal) for stem, signal in SCENES[0].stems.items()}, pair)
    for name, (content, _) in made.items():
        path = folder / "ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    others = folder / "theirs"
    (others / pair.remix_name).parent.mkdir(parents=True)
    eight = official_stems(pair.listener)
    for name, signal in eight.items():
        path = others / CAD1.stem_name(*pair.id, name)
        cad1_enhance.save_flac_signal(signal, path, RATE, 24000, do_scale_signal=True)
    both = cad1_enhance.remix_signal(eight)
    cad1_enhance.save_flac_signal(both, others / pair.remix_name, RATE, 32000, do_clip_signal=True, do_soft_clip=True)
    return pair, folder / "ours", others


def samples(folder: Path, which: Callable[[str], bool]) -> float:
    pair, ours, others = written(folder)
    names = [name for name in pair.files if which(name)]
    assert names
    found = []
    for name in names:
        one, other = (soundfile.read(root / name, dtype="int16") for root in (ours, others))
        assert one[1] == other[1]
        found.append(gap(one[0], other[0]))
    return max(found)


def submitted_stems(folder: Path) -> float:
    return samples(folder, lambda name: name.endswith(".flac") and "_remix" not in name)


def scale_factors(folder: Path) -> float:
    pair, ours, others = written(folder)
    names = [name for name in pair.files if name.endswith(".txt")]
    return differing(((ours / name).read_bytes() for name in names), ((others / name).read_bytes() for name in names))


def remix_to_listen_to(folder: Path) -> float:
    return samples(folder, lambda name: name.endswith("_remix.flac"))


def reading_stems(folder: Path) -> float:
    pair, ours, _ = written(folder)
    signals = StemsForm().read(ours, pair).signals
    assert isinstance(signals, dict)
    return max(gap(signals[name], read_flac_signal(ours / CAD1.stem_name(*pair.id, name))[0]) for name in CAD1.signals)


def true_stems(_folder: Path) -> float:
    """As v0.3.4 has them: 16-bit samples in single precision, both channels resampled at once."""
    ours = reference_stems(SCENES[0].stems)
    return max(
        gap(ours[f"{ear}_{stem}"], resample(float32(SCENES[0].stems[stem]), RATE, 24000)[:, channel])
        for stem in STEMS
        for channel, ear in enumerate(EARS)
    )


def cad1_score(score: Callable[..., Score]) -> Callable[[Path], float]:
    """As `icassp_score`, of each of a pair's eight stems."""

    def measure(folder: Path) -> float:
        pair, references, submitted = next(conformance_cad1.submitted(folder))
        due = conformance_cad1.official_scores()[pair.id].stems
        found = score(pair.scene.id, references, submitted, pair.listener).stems
        assert due is not None
        assert found is not None
        return max(gap(found[name], due[name]) for name in CAD1.signals)

    return measure


MEASURES: dict[str, Callable[[Path], float]] = {
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
    "CAD1: pairs": songs_and_listeners,
    "CAD1: eight stems with NAL-R": eight_stems,
    "CAD1: submitted stems": submitted_stems,
    "CAD1: scale factors": scale_factors,
    "CAD1: remix to listen to": remix_to_listen_to,
    "CAD1: reading the stems": reading_stems,
    "CAD1: reference": true_stems,
    "CAD1: score, locked evaluator": cad1_score(score_stems),
    "CAD1: score, fast engine": cad1_score(score_stems_fast),
}


def rows() -> Iterator[tuple[str, str]]:
    """The document's steps with the difference that each allows."""
    challenge = None
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            challenge = {"## ICASSP 2024": "ICASSP 2024", "## CAD1, task 1": "CAD1"}.get(line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if challenge and len(cells) == 4 and not set(cells[0]) <= set("-") and cells[0] != "step":
            yield f"{challenge}: {cells[0]}", cells[3]


ROWS = dict(rows())


def test_the_document_has_every_step_and_no_other() -> None:
    assert list(ROWS) == list(MEASURES)


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("step", MEASURES)
def test_a_step_is_the_recipes(step: str, tmp_path: Path) -> None:
    allowed = float(ROWS[step].removesuffix(" LSB"))
    assert MEASURES[step](tmp_path) <= allowed


def test_the_recipe_fades_the_end_of_every_stem_and_we_do_not(tmp_path: Path) -> None:
    ours, others = separated(tmp_path)
    assert gap(ours[:, -FADED:], others[:, -FADED:]) > 1e-3
    # It fades what the network returns, before the mixture's mean is added again.
    mean = SCENES[0].mixture.mean()
    faded = (ours[:, -FADED:] - mean) * np.linspace(1, 0, FADED)[:, None] + mean
    assert gap(faded, others[:, -FADED:]) < 1e-7
