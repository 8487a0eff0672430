"""The wheel holds everything that the program needs, and works beside folders that bear the names of our own."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from harness import __version__

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "harness": ROOT / "harness",
    "harness_leaderboard": ROOT / "leaderboard" / "harness_leaderboard",
    "harness_plugins": ROOT / "plugins" / "harness_plugins",
}
HOSTILE = "raise ImportError('this belongs to the user, not to harness')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources: what an earlier build left in the checkout must not get in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("harness", "leaderboard", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment of its own with the wheel in it, which borrows the libraries of this one."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    _pip("--python", environment / "bin" / "python", "install", "--no-deps", wheel)
    (site,) = environment.glob("lib/python*/site-packages")
    # Folders named by a .pth file are searched, their own .pth files are not read: no editable install gets in.
    libraries = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries) + "\n", encoding="utf-8")
    return environment / "bin"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with folders `plugins` and `leaderboard` of its own, none of which may be imported."""
    for folder in ("plugins", "leaderboard"):
        (tmp_path / folder).mkdir()
        for name in ("__init__", "demucs", "umx", "passthrough", "store", "models"):
            (tmp_path / folder / f"{name}.py").write_text(HOSTILE, encoding="utf-8")
    return tmp_path


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(program: Path, *arguments: str, project: Path) -> str:
    """Standard output of a program that is run in the user's project, with that first on Python's path."""
    environment = {**os.environ, "PYTHONPATH": str(project), "COLUMNS": "160"}
    done = subprocess.run(
        [str(program), *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode("utf-8"))


def test_it_holds_every_file_of_the_packages_and_no_other_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert found == expected
    assert {
        "harness/haaqi/lock.json",
        "harness/haaqi/conformance.csv",
        "harness_leaderboard/migrations/script.py.mako",
        "harness_leaderboard/migrations/versions/0001_first_tables.py",
        "harness_plugins/checkpoints/umx/vocals.pth",
    } <= found


def test_an_index_page_has_what_it_shows(wheel: Path) -> None:
    metadata = _metadata(wheel)
    assert metadata["Name"] == "cadenza-harness"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert "Operating System :: POSIX" in metadata.get_all("Classifier", [])
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "not an official" in " ".join(str(metadata.get_payload()).split())


def test_folders_of_the_users_with_our_names_are_left_alone(programs: Path, project: Path) -> None:
    listed = _run(programs / "harness", "systems", project=project)
    for system in ("passthrough", "centre", "oracle", "demucs", "umx"):
        assert system in listed
    assert "broken" not in listed


def test_a_system_runs_beside_them(programs: Path, project: Path) -> None:
    shown = _run(programs / "harness", "run", "--system", "passthrough", "--limit", "1", project=project)
    assert "passthrough" in shown
    assert list((project / "submissions" / "passthrough").glob("*_remix.flac"))


def test_it_runs_as_a_module_and_from_where_it_was_installed(programs: Path, project: Path) -> None:
    python = programs / "python"
    assert _run(python, "-m", "harness", "--version", project=project).split()[-1] == __version__
    where = "import harness, harness_leaderboard, harness_plugins as p; print(harness.__file__, p.__file__)"
    for path in _run(python, "-c", where, project=project).split():
        assert Path(path).is_relative_to(programs.parent)


def test_nothing_of_ours_is_importable_under_a_common_name(programs: Path, tmp_path: Path) -> None:
    find = "from importlib.util import find_spec; print(find_spec('plugins'), find_spec('leaderboard'))"
    assert _run(programs / "python", "-c", find, project=tmp_path) == "None None\n"
