"""The embedded sets beside `demo`: the measured head's against the official generator, and the first challenge's."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support import RunCli

from harness.challenge import CAD1, PROTOCOL, STEMS
from harness.errors import UsageError
from harness.music.demo import DEMO_CAD1, DEMO_KEMAR, SETS
from harness.music.evaluationset import EvaluationSet
from harness.music.excerpt import TRACK, read_excerpt
from harness.music.finding import EMBEDDED, embedded, load_evaluation_set
from harness.music.layout import load


@pytest.fixture(scope="module")
def kemar() -> EvaluationSet:
    return load_evaluation_set("demo-kemar")


@pytest.fixture(scope="module")
def cad1() -> EvaluationSet:
    return load_evaluation_set("demo-cad1")


def test_all_are_known_by_name_and_hash() -> None:
    assert EMBEDDED == ("demo", "demo-kemar", "demo-cad1")
    hashes = {}
    for name in EMBEDDED:
        found = load_evaluation_set(name)
        assert found.name == name
        assert found.protocol == (CAD1 if name == "demo-cad1" else PROTOCOL)
        assert embedded(name, found.sha256) == found
        hashes[name] = found.sha256
    assert len(set(hashes.values())) == 3
    assert embedded("demo", hashes["demo-kemar"]) is None
    assert embedded("demo-other", hashes["demo"]) is None


@pytest.mark.parametrize("name", EMBEDDED)
def test_each_says_whose_music_it_is(name: str) -> None:
    text = " ".join(SETS[name].attribution)
    assert "The Easton Ellises" in text
    assert "CC BY-NC-SA 3.0" in text
    assert ("Gardner and Keith Martin" in text) == (name == "demo-kemar")


def test_another_split_or_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="demo-cad1 has no split 'demo', only 'valid'"):
        load_evaluation_set("demo-cad1", "demo")
    with pytest.raises(UsageError, match="demo-kemar is one of the ICASSP 2024"):
        load_evaluation_set("demo-kemar", protocol=CAD1)
    assert load_evaluation_set("demo-cad1", "valid", CAD1).protocol == CAD1


def test_the_measured_head_is_at_angles_that_were_measured(kemar: EvaluationSet, cache: Path) -> None:
    assert [scene.angles for scene in kemar.scenes] == [(-30.0, 30.0), (-25.0, 35.0), None]
    plain = load_evaluation_set("demo")
    assert [scene.id for scene in kemar.scenes] == [scene.id for scene in plain.scenes]
    # In headphone form there is no head: that scene is the same one, and so are its scores.
    same = {pair for pair, sha256 in kemar.references().items() if plain.references()[pair] == sha256}
    assert same == {("scene_00003", "L0002"), ("scene_00003", "L0003")}
    hrtf = cache / f"demo-kemar-{DEMO_KEMAR.revision}" / "audio" / "hrtf"
    names = ["ear-KEMAR-n25.0.wav", "ear-KEMAR-n30.0.wav", "ear-KEMAR-p30.0.wav", "ear-KEMAR-p35.0.wav"]
    assert sorted(path.name for path in hrtf.iterdir()) == names


@pytest.mark.filterwarnings("ignore:Possible clipped samples")
@pytest.mark.parametrize("scene_id", ["scene_00001", "scene_00002"])
def test_its_music_is_what_the_official_generator_makes(
    scene_id: str, kemar: EvaluationSet, cache: Path, tmp_path: Path
) -> None:
    """Sample for sample, by the functions of the installed pyclarity's recipe."""
    from clarity.utils.file_io import read_signal, write_signal
    from recipes.cad_icassp_2024.generate_dataset.generate_at_mic_musdb18 import (
        apply_hrtf,
        load_hrtf_signals,
        normalise_lufs_level,
    )

    root = cache / f"demo-kemar-{DEMO_KEMAR.revision}"
    (scene,) = kemar.select([scene_id]).scenes
    positions = json.loads((root / "metadata" / "head_loudspeaker_positions.json").read_text())
    speakers = load_hrtf_signals(str(root / "audio" / "hrtf"), positions[scene.position])
    excerpt = read_excerpt()
    first = {"scene_00001": 0, "scene_00002": 70560}[scene_id]
    for name in ("mixture", *STEMS):
        samples = np.clip(excerpt[name][first : first + 176400] * 32768, -32768, 32767).astype(np.int16)
        soundfile.write(tmp_path / "music.wav", samples, 44100, subtype="PCM_16")
        music = read_signal(tmp_path / "music.wav")
        at_mic = normalise_lufs_level(apply_hrtf(music, *speakers), music, 44100)
        write_signal(tmp_path / "official.wav", at_mic, 44100, floating_point=False)
        official, _ = soundfile.read(tmp_path / "official.wav", dtype="int16")
        ours, _ = soundfile.read(scene.folder / f"{name}.wav", dtype="int16")
        assert np.any(ours)
        assert np.array_equal(official, ours)


def test_the_first_challenge_has_songs_of_which_every_stem_is_heard(cad1: EvaluationSet) -> None:
    assert [scene.id for scene in cad1.scenes] == [f"{TRACK} (0 s)", f"{TRACK} (2.4 s)"]
    assert [who.id for who in cad1.scenes[0].listeners] == ["L0002", "L0003", "L0005"]
    for scene in cad1.scenes:
        assert scene.folder.parent.name == "train"
        stems = scene.read_stems()
        mixture = scene.read("mixture")
        assert len(mixture) == 3 * 44100
        for stem in stems.values():
            # Of the mixture's loudness, not a residue of coding.
            assert np.all(np.sqrt(np.mean(stem**2, axis=0)) > 0.03)
        rest = mixture - sum(stems.values())
        assert np.sum(rest**2) < 0.01 * np.sum(mixture**2)


def test_the_first_challenge_has_the_official_layout(cad1: EvaluationSet, cache: Path) -> None:
    root = cache / f"demo-cad1-{DEMO_CAD1.revision}"
    assert {path.name for path in (root / "metadata").iterdir()} == {"listeners.valid.json", "musdb18.valid.json"}
    rows = json.loads((root / "metadata" / "musdb18.valid.json").read_text())
    assert [list(row) for row in rows] == [["Track Name", "Genre", "Source", "License", "Split"]] * 2
    assert {row["Split"] for row in rows} == {"valid"}
    for path in (root / "audio").rglob("*.wav"):
        header = soundfile.info(path)
        assert (header.samplerate, header.channels, header.subtype) == (44100, 2, "PCM_16")
    assert load(root).sha256 == cad1.sha256


@pytest.mark.parametrize(("name", "system"), [("demo-kemar", "passthrough"), ("demo-cad1", "centre")])
def test_commands_take_them_by_name(name: str, system: str, run_cli: RunCli, tmp_path: Path) -> None:
    outcome = run_cli("enhance", "--system", system, "--data", name, "--limit", 1, "--output", tmp_path / "made")
    assert outcome.code == 0, outcome.error
    assert name in run_cli("enhance", "--help").stdout
    manifest = json.loads((tmp_path / "made" / "submission.json").read_text())
    assert manifest["evaluation_set"]["name"] == name
