"""`harness set show` and `harness set reference`: true figures, and the signals that HAAQI compares."""

from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from support import FRAMES, RunCli, TinySet

from harness.challenge import CAD1, STEMS
from harness.haaqi.evaluator import ear_signals, reference_mixture
from harness.haaqi.stems import reference_stems
from harness.music.finding import load_evaluation_set
from harness.music.layout import load
from harness.sets.provenance import write_provenance


def test_the_figures_of_a_set(tiny_set: TinySet, run_cli: RunCli) -> None:
    shown = run_cli("set", "show", tiny_set.root, "--levels", "--json").json
    counts = {key: shown[key] for key in ("songs", "pieces", "scenes", "listeners", "pairs", "missing", "protocol")}
    assert counts == {
        "songs": 2, "pieces": 2, "scenes": 2, "listeners": 2, "pairs": 4, "missing": 0, "protocol": "cad_icassp_2024",
    }  # fmt: skip
    assert shown["seconds"] == pytest.approx(2 * FRAMES / 44100)
    # V1 has a mild loss, V2 a normal right ear: the better ear counts.
    assert [(each["grade"], each["listeners"]) for each in shown["hearing"]] == [("normal", 1), ("mild", 1)]
    assert shown["gains"]["vocals"] == {"6": 1, "10": 1}
    assert sum(shown["gains"]["drums"].values()) == 2
    assert shown["positions"] == {"hlp_0001 (angles not known)": 1, "headphones": 1}
    loud = sorted(
        pyloudnorm.Meter(44100).integrated_loudness(soundfile.read(tiny_set.music("mixture", scene))[0])
        for scene in ("scene_V001", "scene_V002")
    )
    assert [shown["loudness"]["lufs"][key] for key in ("lowest", "highest")] == pytest.approx(loud, abs=1e-9)


def test_what_a_person_reads(tiny_set: TinySet, run_cli: RunCli) -> None:
    write_provenance(tiny_set.root, "valid", "set new", {"seed": "ours", "[red]odd": ["a\x1b[2J"]})
    outcome = run_cli("set", "show", tiny_set.root, "--levels")
    assert outcome.code == 0
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert "tiny, split valid: ICASSP 2024 Cadenza Grand Challenge" in lines
    assert "pieces of music 2, 1.4 s in all (0.7 s each)" in lines
    assert "made by harness set new" in lines
    assert "seed ours" in lines
    assert "\x1b" not in outcome.stdout
    assert any(line.startswith("loudness of mixtures median -") for line in lines)
    assert any(line.startswith("mild 1 ") for line in lines)
    embedded = run_cli("set", "show", "demo-cad1")
    assert (embedded.code, "first Cadenza challenge, task 1" in embedded.stdout) == (0, True)
    assert "scenes" not in embedded.stdout


def test_music_that_is_missing_is_counted(tiny_set: TinySet, run_cli: RunCli) -> None:
    tiny_set.music().unlink()
    assert run_cli("set", "show", tiny_set.root, "--json").json["missing"] == 1
    assert "1 of the pieces cannot be read: harness set check" in run_cli("set", "show", tiny_set.root).stdout


@pytest.mark.parametrize("listener", ["V1", "V2"])
def test_the_reference_is_what_haaqi_is_given(listener: str, tiny_set: TinySet, run_cli: RunCli) -> None:
    made = run_cli(
        "set",
        "reference",
        tiny_set.root,
        "--scene",
        "scene_V001",
        "--listener",
        listener,
        "--output",
        "a.wav",
        "--json",
    )
    assert made.code == 0, made.stderr
    signal, rate = soundfile.read("a.wav")
    assert (rate, signal.shape, soundfile.info("a.wav").subtype) == (44100, (FRAMES + 220, 2), "PCM_24")
    gain = made.json["gain_db"]
    scene = load(tiny_set.root).scenes[0]
    who = next(each for each in scene.listeners if each.id == listener)
    before = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
    for channel, (ear, audiogram) in enumerate((("left", who.left), ("right", who.right))):
        given = ear_signals(ear, before[:, channel], np.zeros(100, np.float32), audiogram).reference
        heard = soxr.resample(signal[:, channel] / 10 ** (gain / 20), 44100, 24000, quality="HQ")
        assert np.abs(heard - given).max() < 2**-21 / 10 ** (gain / 20)
    assert (gain == 0) == (np.abs(signal).max() < 10 ** (-1 / 20) - 1e-6)


def test_loud_references_are_lowered_and_said_to_be(tiny_set: TinySet, run_cli: RunCli) -> None:
    for name in ("mixture", *STEMS):
        signal, rate = soundfile.read(tiny_set.music(name))
        soundfile.write(tiny_set.music(name), signal * 40, rate, subtype="FLOAT")
    made = run_cli("set", "reference", tiny_set.root, "--scene", "scene_V001", "--listener", "V1")
    assert (made.code, "lowered by" in made.stdout) == (0, True)
    signal, _ = soundfile.read("reference_scene_V001_V1.wav")
    assert np.abs(signal).max() == pytest.approx(10 ** (-1 / 20), abs=1e-6)


def test_the_references_of_stems_are_what_haaqi_compares(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    """HAAQI's own program amplifies the reference: what it then passes to its middle ear is what is written."""
    from clarity.evaluator.haaqi import compute_haaqi
    from clarity.evaluator.haspi import eb

    loaded = load_evaluation_set("demo-cad1")
    scene, who = loaded.scenes[0], loaded.scenes[0].listeners[-1]
    made = run_cli(
        "set", "reference", "demo-cad1", "--scene", scene.id, "--listener", who.id, "--output", "stems", "--json"
    )
    assert made.code == 0, made.stderr
    assert sorted(path.name for path in Path("stems").iterdir()) == sorted(f"{name}.wav" for name in STEMS)
    mono = reference_stems(scene.read_stems())["right_vocals"]

    class Caught(Exception):
        pass

    def caught(signal: Any, *_: Any) -> Any:
        raise Caught(signal)

    monkeypatch.setattr(eb, "middle_ear", caught)
    with pytest.raises(Caught) as given:
        compute_haaqi(mono, mono, 24000, 24000, who.right.for_pyclarity(), equalisation=1, level1=65)
    expected = given.value.args[0]
    signal, rate = soundfile.read("stems/vocals.wav")
    assert (rate, len(signal)) == (CAD1.haaqi_sample_rate, len(mono))
    heard = signal[:, 1] / 10 ** (made.json["gain_db"] / 20)
    assert np.abs(heard[: len(expected)] - expected).max() < 2**-21 / 10 ** (made.json["gain_db"] / 20)


def test_an_embedded_set_is_not_checked_but_by_its_hashes(run_cli: RunCli) -> None:
    outcome = run_cli("set", "check", "demo-kemar")
    assert outcome.code == 2
    assert "its hashes are checked whenever it is used" in outcome.error


def test_wrong_use_of_reference_is_one_line(tiny_set: TinySet, run_cli: RunCli, tmp_path: Path) -> None:
    def said(*options: object) -> str:
        outcome = run_cli("set", "reference", *options)
        assert outcome.code == 2
        return outcome.error

    here = (tiny_set.root, "--scene", "scene_V001", "--listener")
    assert "--scene scene_9: none of that name in tiny; it has scene_V001, scene_V002" in said(
        tiny_set.root, "--scene", "scene_9", "--listener", "V1"
    )
    assert "--listener V9: does not listen to scene_V001; V1, V2 do" in said(*here, "V9")
    assert "name a file that ends in .wav" in said(*here, "V1", "--output", "a.mp3")
    assert "name a file that ends in .wav" in said(*here, "V1", "--output", tmp_path)
    cad1 = load_evaluation_set("demo-cad1").scenes[0]
    assert "4 stems are written, name a folder" in said(
        "demo-cad1", "--scene", cad1.id, "--listener", cad1.listeners[0].id, "--output", "a.wav"
    )
