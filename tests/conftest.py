"""Shared by all tests: a cache of their own, a tiny evaluation set, a submission for it, and the command line."""

import faulthandler
import gc
import os
import shutil
import signal
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsing import browser, look, served
from support import RunCli, TinySet, TinySongs, run_app, write_tiny_set, write_tiny_songs

from harness.files import locked_folder

# One browser for all folders: Playwright starts once in a process.
__all__ = ["browser", "look", "served"]


def pytest_configure(config: pytest.Config) -> None:
    """One cache folder for the whole session: the demo set is built, the evaluator proven and code compiled once.

    Before anything is imported: the fast engine looks where to keep its code when it is. Workers inherit it.
    """
    # Shells have what they start in the background ignore Ctrl-C, and so would everything that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ["HARNESS_CACHE"] = str(Path(tempfile.mkdtemp(prefix="harness-tests-")) / "cache")


def pytest_unconfigure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(Path(os.environ["HARNESS_CACHE"]).parent, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def cache() -> Iterator[Path]:
    """The session's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("HARNESS_PLUGINS", raising=False)
        patch.delenv("HARNESS_DB", raising=False)
        yield Path(os.environ["HARNESS_CACHE"])


@pytest.fixture(scope="session")
def once(cache: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """`once(name, make)`: a folder that one of the session's processes makes, and all of them read."""

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = cache.parent / name
        with locked_folder(folder, wait=True):
            if not (folder / "complete").exists():
                make(folder)
                (folder / "complete").touch()
        return folder

    return made


@pytest.fixture(autouse=True)
def _garbage_is_collected() -> Iterator[None]:
    """Whatever a test does with streams of this process and does not close (`OwnStream`)."""
    yield
    gc.enable()


@pytest.fixture(scope="session")
def _tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny") / "tiny"
    write_tiny_set(root)
    return root


@pytest.fixture
def tiny_set(_tiny_set: Path, tmp_path: Path) -> TinySet:
    """A tiny evaluation set of the test's own."""
    return TinySet(shutil.copytree(_tiny_set, tmp_path / "tiny"))


@pytest.fixture(scope="session")
def _tiny_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("songs") / "songs"
    write_tiny_songs(root)
    return root


@pytest.fixture
def tiny_songs(_tiny_songs: Path, tmp_path: Path) -> TinySongs:
    """A tiny evaluation set of the first challenge, of the test's own."""
    return TinySongs(shutil.copytree(_tiny_songs, tmp_path / "songs"))


@pytest.fixture
def run_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunCli:
    """`run_cli(*args)`: run `harness ARGS` in this process, in tmp_path, with a leaderboard of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DB", f"sqlite:///{tmp_path / 'leaderboard.db'}")
    return run_app


@pytest.fixture(scope="session")
def _submission(_tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "passthrough"
    made = run_app("enhance", "--system", "passthrough", "--data", _tiny_set, "--output", folder)
    assert made.code == 0, made.stderr
    return folder


@pytest.fixture
def submission(_submission: Path, tmp_path: Path) -> Path:
    """A valid submission for `tiny_set` that a test may damage: passthrough's, with its manifest."""
    return shutil.copytree(_submission, tmp_path / "passthrough")


@pytest.fixture(scope="session")
def _stems(_tiny_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "centre"
    made = run_app("enhance", "--system", "centre", "--data", _tiny_songs, "--output", folder)
    assert made.code == 0, made.stderr
    return folder


@pytest.fixture
def stems(_stems: Path, tmp_path: Path) -> Path:
    """A valid submission for `tiny_songs` that a test may damage: that of `centre`, with its manifest."""
    return shutil.copytree(_stems, tmp_path / "centre")


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    """`plugin(body, base="Separator", name="probe")`: write a plugin file with one system that has this class body."""

    def write(body: str, base: str = "Separator", name: str = "probe", file: str = "plugin.py") -> Path:
        path = tmp_path / file
        path.write_text(
            "import sys\n"
            "import numpy as np\n"
            "from harness.systems import STEMS, Enhancer, Option, Reference, Separator, amplify, hookimpl, "
            "StreamingEnhancer, StreamingSeparator\n\n\n"
            f"class Probe({base}):\n"
            f'    name = "{name}"\n    version = "1"\n    training_data = "none"\n    licence = "none"\n\n'
            f"{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n\n\n"
            "@hookimpl\n"
            "def register_systems(register):\n"
            "    register(Probe)\n"
        )
        return path

    return write


@pytest.fixture
def must_not_hang() -> Iterator[None]:
    """End the process if the test takes a minute: a thread that waits for a named pipe cannot be ended otherwise."""
    faulthandler.dump_traceback_later(60, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


SLOW = (
    "documentation/test_pages.py",
    "cluster/test_slurm.py",
    "report/test_site.py",
    "test_golden.py",
    "scoring/test_engines.py",
    "cli/test_cad1.py",
    "scoring/test_scores_of_stems.py",
    "results/test_documentation.py",
    "haaqi/test_lock.py",
    "results/test_evaluate.py",
    "making/test_pipeline.py",
    "cli/test_interruption.py",
    "cli/test_machine.py",
    "cli/test_runs.py",
    "test_golden_cad1.py",
    "training/test_training.py",
    "report/test_player.py",
    "reliability/test_hostile_plugins.py",
    "making/test_processes.py",
    "haaqi/test_stems.py",
    "systems/test_identity.py",
    "reliability/test_trials.py",
    "causality/test_examining.py",
    "making/test_parts.py",
    "results/test_scoring.py",
    "leaderboard/test_concurrency.py",
    "haaqi/test_fast_properties.py",
    "cli/test_cli_run.py",
    "apart/test_apart.py",
    "live/test_session.py",
    "causality/test_networks.py",
    "plugins/test_through_cli.py",
    "leaderboard/test_models.py",
    "haaqi/test_agreement.py",
    "scoring/test_several_submissions.py",
    "sets/test_building.py",
    "sets/test_checking.py",
    "sets/test_checking_damage.py",
    "report/test_charts.py",
    "scoring/test_disputes.py",
    "making/test_streaming_systems.py",
    "plugins/test_umx.py",
    "scoring/test_trust.py",
    "plugins/test_spleeter.py",
    "leaderboard/test_merging.py",
    "cluster/test_arrays.py",
    "making/test_chains.py",
    "sets/test_at_mic.py",
    "packaging/test_wheel.py",
    "plugins/test_live.py",
    "systems/test_streaming.py",
    "reliability/test_tampering.py",
    "report/test_charts_in_browser.py",
    "apart/test_streams.py",
    "plugins/test_demo_models.py",
    "haaqi/test_double_stages.py",
    "test_recipes.py",
    "apart/test_foreign.py",
    "plugins/test_demucs_weights.py",
    "plugins/test_demucs.py",
    "scoring/test_executors.py",
    "report/test_figures.py",
    "apart/test_sandbox.py",
    "cli/test_live.py",
    "leaderboard/test_integrity.py",
    "music/test_evaluationset.py",
    "making/test_systems_failing.py",
    "leaderboard/test_postgresql.py",
    "leaderboard/test_checks.py",
    "scoring/test_classes.py",
    "leaderboard/test_stems.py",
    "making/test_clusters.py",
    "making/test_batching.py",
    "systems/test_plugins.py",
    "plugins/test_convtasnet.py",
    "leaderboard/test_store.py",
    "leaderboard/test_scores.py",
    "results/test_frames.py",
    "plugins/test_torch_systems.py",
    "leaderboard/test_estimates.py",
)
"""Files that take more than some seconds for what they test, the longest first: `make quick` leaves them out.

With them the whole suite begins, so that none is still at work when all others are done.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the files in `SLOW`; a new slow test carries the marker itself."""
    slow = {Path(__file__).parent / name: place for place, name in enumerate(SLOW)}
    missing = sorted(str(path) for path in slow if not path.is_file())
    if missing:
        raise pytest.UsageError(f"SLOW in tests/conftest.py names files that are gone: {', '.join(missing)}")
    for item in items:
        if item.path in slow:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: slow.get(item.path, len(slow)))
