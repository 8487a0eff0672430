"""The training of the demonstration models, on little music and with tiny networks: does it learn, resume, export?"""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import harness
from harness_plugins.demucs import Demucs
from harness_plugins.torch_support import BLEND_FILE
from harness_plugins.umx import OpenUnmix
from training import blending, composition, curves, demucs_demo, effects, excerpts, learning, sounds, states, umx_demo
from training.excerpts import SAMPLE_RATE, STEMS, TrainingProblem

TINY_DEMUCS = {"channels": 4, "depth": 5, "dconv_mode": 0, "segment": 1, "samplerate": SAMPLE_RATE}
RECIPES: dict[str, Callable[[], Any]] = {
    "demucs": lambda: demucs_demo.Recipe(TINY_DEMUCS, batch=1, seconds=0.5),
    "umx": lambda: umx_demo.Recipe(hidden_size=8, batch=1, seconds=0.5),
}
each_recipe = pytest.mark.parametrize("name", RECIPES)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pieces to learn from and one held out: a tone, a hum, noise, and a silent stem in one of them."""
    folder = tmp_path_factory.mktemp("pieces")
    rng = np.random.default_rng(0)
    times = np.arange(9 * SAMPLE_RATE)[:, None] / SAMPLE_RATE
    for number, part in enumerate(["train/0000", "train/0001", "held-out/0000"]):
        (folder / part).mkdir(parents=True)
        for pitch, stem in zip((0, 60, 440, 0 if number == 0 else 700), STEMS, strict=True):
            sound = 0.3 * np.sin(2 * np.pi * pitch * times) * [1, 0.5]
            if stem == "drums":
                sound = rng.normal(0, 0.1, (len(times), 2))
            soundfile.write(folder / part / f"{stem}.flac", sound, SAMPLE_RATE, subtype="PCM_16")
    return folder


# ---- excerpts -------------------------------------------------------------------------------------------


def test_excerpts_depend_on_seed_and_step_alone(pieces: Path) -> None:
    music = excerpts.load(pieces / "train")
    whole = list(excerpts.batches(music, 3, 0, 4, 2, 8000))
    resumed = list(excerpts.batches(music, 3, 2, 4, 2, 8000))
    assert [batch.shape for batch in whole] == [(2, 4, 2, 8000)] * 4
    assert all(np.array_equal(a, b) for a, b in zip(whole[2:], resumed, strict=True))
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[0], next(iter(excerpts.batches(music, 4, 0, 1, 2, 8000))))


def test_pieces_that_are_not_as_expected(pieces: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingProblem, match="no pieces"):
        excerpts.load(tmp_path)
    (tmp_path / "0000").mkdir()
    with pytest.raises(TrainingProblem, match="0000"):
        excerpts.load(tmp_path)
    for stem in STEMS:
        soundfile.write(tmp_path / "0000" / f"{stem}.flac", np.zeros((100 + len(stem), 2)), SAMPLE_RATE)
    with pytest.raises(TrainingProblem, match="differ in length"):
        excerpts.load(tmp_path)


# ---- effects --------------------------------------------------------------------------------------------


def noise(seed: int) -> Any:
    return np.random.default_rng(seed).normal(0, 0.1, (2, 8000)).astype(np.float32)


def test_effects_keep_how_loud_a_stem_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects, "TREATED", 0.5)
    changed = 0
    for seed in range(60):
        sound = noise(seed)
        treated = effects.treat(sound.copy(), np.random.default_rng(seed))
        assert treated.shape == sound.shape
        assert treated.dtype == np.float32
        assert np.std(treated) == pytest.approx(np.std(sound), rel=0.02)
        changed += not np.array_equal(treated, sound)
        assert np.array_equal(treated, effects.treat(sound.copy(), np.random.default_rng(seed)))
    assert 0.3 < changed / 60 < 0.7
    silence = np.zeros((2, 8000), np.float32)
    assert all(not effects.treat(silence, np.random.default_rng(seed)).any() for seed in range(20))


@pytest.mark.parametrize("seed", range(5))
def test_two_ears_hear_the_sum_of_what_they_hear_of_each_stem(seed: int) -> None:
    stems = np.stack([noise(seed + number) for number in range(4)])
    together = np.concatenate([stems.sum(axis=0, keepdims=True), np.zeros((3, *stems.shape[1:]), np.float32)])
    effects.at_ears(stems, np.random.default_rng(seed))
    effects.at_ears(together, np.random.default_rng(seed))
    np.testing.assert_allclose(stems.sum(axis=0), together[0], atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_far_ear_hears_a_loudspeaker_later_and_duller(seed: int) -> None:
    stems = np.zeros((4, 2, 8000), np.float32)
    stems[0, 0, 1000] = 1  # a click, on the left
    effects.at_ears(stems, np.random.default_rng(seed))
    left, right = np.abs(stems[0])
    late = int(np.argmax(right > 0.1 * right.max())) - int(np.argmax(left > 0.1 * left.max()))
    assert 0.1e-3 < late / SAMPLE_RATE < 0.9e-3
    near, far = (np.abs(np.fft.rfft(ear)) for ear in stems[0])
    high = slice(2000, 3500)  # 11 to 19 kHz
    assert far[high].mean() / near[high].mean() < far[20:60].mean() / near[20:60].mean()


# ---- blending -------------------------------------------------------------------------------------------


def test_the_blend_is_chosen_by_haaqi(pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model that ships, on an evaluation set of half a second of one piece."""
    monkeypatch.setattr(blending, "SECONDS", 0.6)
    monkeypatch.setattr(blending, "BLENDS", (0.0, 0.5))
    root = blending.evaluation_set(pieces / "held-out", tmp_path, "choice")
    again = blending.evaluation_set(pieces / "held-out", tmp_path, "choice")
    data = harness.load_evaluation_set(again, "choice")
    assert root == again
    assert [scene.track for scene in data.scenes] == ["0000"] * blending.SCENES_PER_PIECE
    blending.choose("umx", root, "choice", tmp_path)
    chosen = json.loads((tmp_path / BLEND_FILE).read_text())
    found = blending.scores("umx", root, "choice").groupby("blend")["haaqi"].mean()
    assert chosen["blend"] == found.idxmax()
    assert chosen["mean_haaqi"] == {"0": round(found[0.0], 4), "0.5": round(found[0.5], 4)}
    assert chosen["pieces"] == 1
    assert chosen["pairs"] == sum(len(scene.listeners) for scene in data.scenes)


# ---- learning -------------------------------------------------------------------------------------------


def state(work: Path) -> Any:
    import torch

    return torch.load(work / states.STATE, weights_only=True)


@each_recipe
def test_resuming_gives_what_an_uninterrupted_run_gives(
    name: str, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    learning.train(RECIPES[name](), pieces, tmp_path / "whole", 4, 0)

    learn = learning._Run._learn_from

    def interrupted(run: Any, stems: Any) -> None:
        learn(run, stems)
        if run.step == 2:
            run.save(tmp_path / "parts")
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(learning._Run, "_learn_from", interrupted)
        with pytest.raises(KeyboardInterrupt):
            learning.train(RECIPES[name](), pieces, tmp_path / "parts", 4, 0)
    learning.train(RECIPES[name](), pieces, tmp_path / "parts", 4, 0)

    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == parts["step"] == 4
    for key, value in whole["average"].items():
        assert torch.equal(value, parts["average"][key]), key
    with pytest.raises(TrainingProblem, match="seed: 0 there, 1 now"):
        learning.train(RECIPES[name](), pieces, tmp_path / "parts", 4, 1)


def test_it_learns(pieces: Path, tmp_path: Path) -> None:
    """Tones and noise are easy to tell apart: a few dozen steps must show in what was held out."""
    recipe = umx_demo.Recipe(hidden_size=32, batch=4, seconds=1.0)
    recipe.rate = 5e-3
    learning.train(recipe, pieces, tmp_path, 40, 0)
    rows = state(tmp_path)["rows"]
    assert rows[-1][2] < 0.8 * rows[0][2], rows


# ---- checkpoints ----------------------------------------------------------------------------------------


@each_recipe
def test_the_systems_load_what_is_exported(name: str, pieces: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    learning.train(RECIPES[name](), pieces, work, 2, 0)
    module, system = {"demucs": (demucs_demo, Demucs), "umx": (umx_demo, OpenUnmix)}[name]
    for _ in range(2):  # the second takes the first one's place
        module.export(work, out, RECIPES[name]())
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert "</svg>" in (out / "loss.svg").read_text(encoding="utf-8")
    assert len(list(out.glob("demo-*.th"))) == (name == "demucs")
    settings = {"model": "demo"} if name == "demucs" else {}
    separator = system(repo=out, device="cpu", **settings)
    separator.load()
    mixture = np.random.default_rng(0).normal(0, 0.1, (SAMPLE_RATE, 2))
    stems = separator.separate(mixture, SAMPLE_RATE)
    assert all(np.isfinite(stems[stem]).all() and stems[stem].shape == mixture.shape for stem in STEMS)


def test_export_without_a_training(tmp_path: Path) -> None:
    with pytest.raises(TrainingProblem, match="train first"):
        umx_demo.export(tmp_path, tmp_path / "out")


def test_curves_are_the_same_each_time(tmp_path: Path) -> None:
    log = tmp_path / learning.LOG
    log.write_text(",".join(learning.COLUMNS) + "\n1,2,3,4,5,6,nan,8\n2,1,2,5,6,7,nan,9\n", encoding="utf-8")
    for name in ("a.svg", "b.svg"):
        curves.draw(log, tmp_path / name, "title")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


# ---- music ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_composed_within_bounds(seed: int) -> None:
    piece = composition.compose(np.random.default_rng(seed), 30, (50, 70))
    again = composition.compose(np.random.default_rng(seed), 30, (50, 70))
    assert piece == again
    assert 15 < piece.seconds < 45
    for part in piece.parts:
        assert part.stem in STEMS
        for note in part.notes:
            assert 0 <= note.start < piece.seconds + 0.1
            assert note.duration > 0
            assert 0 <= note.pitch <= 127
            assert 1 <= note.velocity <= 127
    sung = [note for part in piece.parts if part.role == "vocals" for note in part.notes]
    assert all(50 <= note.pitch <= 70 for note in sung)
    assert all(a.start + a.duration <= b.start + 1e-9 for a, b in pairwise(sung))


def test_a_piece_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real synthesisers, where they are installed (training/system-packages and the extra `training`)."""
    pytest.importorskip("fluidsynth")
    pytest.importorskip("pyworld")
    if not all(path.is_file() for path in sounds.SOUND_FONTS.values()) or not sounds.DRUM_KITS.is_dir():
        pytest.skip("the sound fonts and drum kits are not installed")
    from training import pieces, voice

    monkeypatch.setattr(voice, "SPEAKERS", voice.SPEAKERS[:1])
    monkeypatch.setattr(voice, "HELD_OUT_SPEAKERS", voice.HELD_OUT_SPEAKERS[:1])
    monkeypatch.setattr(pieces, "SECONDS", 8.0)
    arrays = {}
    for speaker, singer in enumerate([*voice.SPEAKERS, *voice.HELD_OUT_SPEAKERS]):
        utterance = pieces._utter(singer, np.random.default_rng(speaker))
        assert len(utterance.nuclei) > 4
        for number in range(pieces.UTTERANCES):
            arrays |= {f"{speaker}.{number}.{key}": value for key, value in vars(utterance).items()}
    np.savez(tmp_path / "voices.npz", **arrays)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "voices.npz").symlink_to(tmp_path / "voices.npz")
        pieces.render_piece(tmp_path / folder, "train", 0, 0)
    stems = {stem: soundfile.read(tmp_path / "a" / "train" / "0000" / f"{stem}.flac")[0] for stem in STEMS}
    again = {stem: soundfile.read(tmp_path / "b" / "train" / "0000" / f"{stem}.flac")[0] for stem in STEMS}
    assert all(np.array_equal(stems[stem], again[stem]) for stem in STEMS)
    assert sum(np.abs(sound).max() > 0.01 for sound in stems.values()) >= 3
    assert np.abs(sum(stems.values())).max() < 1
    assert excerpts.load(tmp_path / "a" / "train")[0].shape[0] == len(STEMS)
