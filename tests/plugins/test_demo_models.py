"""The demonstration models that ship with the package: real weights, so what they separate is tested too."""

import json
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import hybrid, save_demucs_model, seeded
from support import RunCli, TinySet

import harness
from harness.music.demo import demo
from harness.systems import STEMS, Separator, Signal, System, SystemFailure, WeightsMissing
from harness_plugins import torch_support
from harness_plugins.demucs import Demucs
from harness_plugins.passthrough import Passthrough
from harness_plugins.torch_support import BLEND_FILE, CHECKPOINTS
from harness_plugins.umx import OpenUnmix

ROOT = Path(__file__).parents[2]
SYSTEMS: dict[str, Callable[..., Separator]] = {"demucs": Demucs, "umx": OpenUnmix}

MARGIN_DB = 3.0
"""How far vocals and drums must be above the mixture as their estimate, and drums above silence (0 dB), too."""

QUARTER_DB = 1.0
"""How far the mean of the four stems must be above that of a quarter of the mixture, which separates nothing."""

WORTH_HAAQI = {"demucs": 0.001, "umx": 0.01}
"""How far mean HAAQI must be above that of `passthrough`. Hybrid Demucs learns less in its time (see its card)."""

LARGEST_BYTES = 25e6
"""Both folders together, as they are shipped."""

REASON = "demo is a demonstration model trained on synthetic music, not a published one"

each_system = pytest.mark.parametrize("name", SYSTEMS)


def loaded(name: str, **settings: Any) -> Separator:
    system = SYSTEMS[name](**settings)
    system.load()
    return system


def decibels(signal: Signal, rest: Signal) -> float:
    """10 log10 of the ratio of energies."""
    return float(10 * np.log10(np.sum(signal**2) / np.sum(rest**2)))


# ---- separation -----------------------------------------------------------------------------------------


@each_system
def test_separates_the_embedded_music(name: str) -> None:
    """Real music, which the models were not trained on."""
    system = loaded(name, model="demo")
    found: dict[str, list[float]] = {stem: [] for stem in STEMS}
    unseparated: dict[str, list[float]] = {stem: [] for stem in STEMS}
    quarter: dict[str, list[float]] = {stem: [] for stem in STEMS}
    for scene in demo().scenes:
        mixture, true = scene.read("mixture"), scene.read_stems()
        stems = system.separate(mixture.copy(), 44100)
        assert list(stems) == list(STEMS)
        for stem in STEMS:
            assert stems[stem].shape == mixture.shape
            assert np.isfinite(stems[stem]).all()
            found[stem].append(decibels(true[stem], true[stem] - stems[stem]))
            unseparated[stem].append(decibels(true[stem], true[stem] - mixture))
            quarter[stem].append(decibels(true[stem], true[stem] - mixture / 4))
    for stem in ("vocals", "drums"):
        assert np.mean(found[stem]) > MARGIN_DB + np.mean(unseparated[stem]), found
    # The vocals are quiet in this music: even silence is 9 dB better than the mixture. So that is not all to ask for.
    assert np.mean(found["drums"]) > MARGIN_DB, found
    assert np.mean(list(found.values())) > QUARTER_DB + np.mean(list(quarter.values())), found


@pytest.mark.parametrize(
    ("name", "option", "samples", "error"),
    [("demucs", "consistent", 1000, 1e-12), ("demucs", "consistent", 50_000, 1e-12), ("umx", "softmask", 50_000, 1e-5)],
)
def test_their_stems_add_up_to_the_mixture(name: str, option: str, samples: int, error: float) -> None:
    """Unless they are told not to, or for any other model: the networks leave some of the music to nobody."""
    mixture = demo().scenes[0].read("mixture")[:samples]
    stems = loaded(name, model="demo").separate(mixture.copy(), 44100)
    assert np.abs(sum(stems.values()) - mixture).max() < error
    as_trained = loaded(name, model="demo", **{option: False}).separate(mixture.copy(), 44100)
    assert decibels(mixture, mixture - sum(as_trained.values())) < 20


def haaqi(system: System) -> float:
    """Mean over the embedded set, by the fast engine."""
    pairs = harness.evaluate(system).pairs
    assert set(pairs["state"]) == {"scored"}
    return float(pairs["score"].mean())


@pytest.fixture(scope="module")
def doing_nothing() -> float:
    return haaqi(Passthrough())


@each_system
def test_they_are_worth_a_listen(name: str, doing_nothing: float) -> None:
    """Better than doing nothing by what the board measures, on real music."""
    assert haaqi(loaded(name, model="demo")) > WORTH_HAAQI[name] + doing_nothing


@each_system
def test_their_stems_hold_some_of_the_mixture(name: str) -> None:
    """As much as was chosen for them; any other model none, and whoever asks for something else gets that."""
    chosen = json.loads((CHECKPOINTS / name / BLEND_FILE).read_text())
    assert SYSTEMS[name](model="demo").settings["blend"] == chosen["blend"]
    assert chosen["mean_haaqi"][f"{chosen['blend']:g}"] == max(chosen["mean_haaqi"].values())
    assert SYSTEMS[name](model="demo", blend=0.0).settings["blend"] == 0
    assert SYSTEMS[name](repo=CHECKPOINTS / name, model="demo").settings["blend"] == 0
    assert SYSTEMS[name]().settings["blend"] == 0


# ---- what they are --------------------------------------------------------------------------------------


@each_system
def test_they_say_what_they_are(name: str) -> None:
    system = SYSTEMS[name](model="demo")
    assert (system.training_data, system.not_eligible) == ("synthetic", REASON)
    assert system.licence == "MIT"
    assert SYSTEMS[name](model="demo", training="synthetic").not_eligible == REASON


@each_system
@pytest.mark.parametrize("training", ["official", "private"])
def test_they_cannot_be_relabelled(name: str, training: str) -> None:
    with pytest.raises(SystemFailure, match=r"demo is no model of your own.*\(synthetic\)"):
        SYSTEMS[name](model="demo", training=training)


@each_system
def test_nobody_gets_one_without_asking(name: str) -> None:
    assert SYSTEMS[name]().settings["model"] != "demo"
    assert SYSTEMS[name]().training_data == "official"


@each_system
def test_weights_of_your_own_can_be_declared_as_synthetic(name: str, tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "mine", seeded(hybrid))
    model = {"model": "mine"} if name == "demucs" else {}
    system = SYSTEMS[name](repo=tmp_path, training="synthetic", **model)
    assert "declared as trained on synthetic music" in str(system.not_eligible)


def test_a_demo_of_your_own_is_your_own(tmp_path: Path) -> None:
    save_demucs_model(tmp_path, "demo", seeded(hybrid, 9))
    own = loaded("demucs", repo=tmp_path, model="demo", training="official")
    assert own.not_eligible is None
    assert own.licence == "unknown"
    assert own.weights_sha256() != loaded("demucs", model="demo").weights_sha256()


def test_a_copy_of_the_shipped_checkpoint_keeps_its_label(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINTS / "demucs", tmp_path / "copy")
    copy = loaded("demucs", repo=tmp_path / "copy", model="demo")
    assert (copy.training_data, copy.not_eligible, copy.licence) == ("synthetic", REASON, "MIT")
    assert copy.weights_sha256() == loaded("demucs", model="demo").weights_sha256()
    with pytest.raises(SystemFailure, match="its training data is known"):
        Demucs(repo=tmp_path / "copy", model="demo", training="official")


# ---- files ----------------------------------------------------------------------------------------------


def test_they_are_small_and_have_their_cards() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINTS.rglob("*") if path.is_file()) < LARGEST_BYTES
    assert {path.name for path in CHECKPOINTS.iterdir()} == set(SYSTEMS)
    for name in SYSTEMS:
        assert (CHECKPOINTS / name / "README.md").read_text(encoding="utf-8").strip()


def test_an_installed_package_holds_them(tmp_path: Path) -> None:
    """A wheel of a copy of the tree, built with the setuptools that is here: nothing is fetched."""
    pytest.importorskip("setuptools", minversion="77")
    tree = tmp_path / "tree"
    for folder in ("harness", "leaderboard", "plugins", "training"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    script = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, tmp_path], cwd=tree, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {path.relative_to(ROOT / "plugins").as_posix() for path in CHECKPOINTS.rglob("*") if path.is_file()}
    assert shipped <= names
    assert not [name for name in names if name.startswith("training/")]


@each_system
def test_they_need_no_network_and_no_cache(name: str, no_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"connects to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert loaded(name, model="demo").parameters > 0
    assert not no_weights.exists()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "files", "damage", "message"),
    [
        ("demucs", "demo-*.th", flip_a_byte, "Invalid checksum"),
        ("demucs", "demo-*.th", truncate, "Invalid checksum"),
        ("umx", "bass.pth", truncate, r"cannot be loaded.*bass\.pth"),
    ],
)
def test_a_damaged_checkpoint(
    name: str, files: str, damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(CHECKPOINTS / name, tmp_path / name)
    (path,) = folder.glob(files)
    damage(path)
    with pytest.raises(SystemFailure, match=message) as caught:
        loaded(name, repo=folder, model="demo")
    assert "\n" not in str(caught.value)


@each_system
@pytest.mark.parametrize("content", ["", "{}", '{"blend": null}', "[]"])
def test_a_damaged_blend(name: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CHECKPOINTS, tmp_path / "checkpoints")
    (tmp_path / "checkpoints" / name / BLEND_FILE).write_text(content)
    monkeypatch.setattr(torch_support, "CHECKPOINTS", tmp_path / "checkpoints")
    with pytest.raises(WeightsMissing, match=rf"{BLEND_FILE} is damaged: install the harness again"):
        SYSTEMS[name](model="demo")


@pytest.mark.parametrize(
    ("name", "file"), [("demucs", "demo-*.th"), ("umx", "drums.pth"), ("demucs", BLEND_FILE), ("umx", BLEND_FILE)]
)
def test_an_installation_that_lacks_them(name: str, file: str, tmp_path: Path, run_cli: RunCli) -> None:
    """A copy of the plugins without that file, which Python finds before the real ones."""
    copy = tmp_path / "harness_plugins"
    shutil.copytree(ROOT / "plugins/harness_plugins", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (path,) = (copy / "checkpoints" / name).glob(file)
    path.unlink()
    harness = [sys.executable, "-c", "from harness.cli import main; main()"]
    done = subprocess.run(
        [*harness, "enhance", "--system", name, "--option", "model=demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    error = done.stderr.splitlines()[-1]
    assert error.startswith(f"error: option model=demo: this installation is not complete, {file} missing in ")
    assert error.endswith("install the harness again")


# ---- through the command line ---------------------------------------------------------------------------


@each_system
def test_through_the_command_line(name: str, run_cli: RunCli, tiny_set: TinySet, no_weights: Path) -> None:
    command = ["run", "--system", name, *tiny_set.args, "--engine", "fast", "--workers", "1", "--limit", "1"]
    made = run_cli(*command, "--option", "model=demo", "--json")
    assert made.code == 0, made.stderr
    assert f"{name} is not eligible for ranking: {REASON}" in made.stderr
    manifest = json.loads(Path(f"submissions/{name}/submission.json").read_text())
    assert (manifest["training_data"], manifest["licence"]) == ("synthetic", "MIT")
    assert manifest["not_eligible"] == REASON
    assert manifest["settings"]["model"] == "demo"
    assert manifest["parameters"] > 0
    assert len(manifest["weights_sha256"]) == 64
    (row,) = run_cli("leaderboard", "--json").json
    assert (row["system"], row["training_data"], row["rank"]) == (name, "synthetic", None)
    assert row["not_eligible"] == REASON
    assert REASON in " ".join(run_cli("leaderboard").stdout.split())

    # Without the option the published model is meant: it is not here, and nothing else is taken in its place.
    missing = run_cli(*command, "--output", "published")
    assert missing.code == 1
    wrong, fetch, demo = missing.error.split("\n")
    assert wrong.startswith("the weights of ")
    assert " are not here, " in wrong
    assert fetch.startswith("  fetch ")
    assert "--option model=demo" in demo
    assert not Path("published").exists()


@each_system
def test_the_options_say_that_there_is_one(name: str, run_cli: RunCli) -> None:
    (option,) = [each for each in run_cli("systems", name, "--json").json["options"] if each["name"] == "model"]
    assert "demo" in option["help"]
    assert "no network" in option["help"]
