"""Systems in a Python environment of their own, which needs NumPy alone."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import soundfile
from support import RunCli, TinySet

import harness
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
from harness.submission.manifest import MANIFEST

HARNESS = Path(harness.__file__).parent

# Read, not imported: the module is loaded by a child, beside the child's own.
PLACES: dict[str, str] = next(
    ast.literal_eval(node.value)
    for node in ast.parse((HARNESS / "apart" / "foreign.py").read_text()).body
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLACES"
)
FOREIGN = ("apart/child.py", "apart/foreign.py", *PLACES.values())
"""Files of the harness that also run in other Python environments."""

SYSTEM = """
import sys
import numpy as np
from beside import QUARTER
from harness.systems import STEMS, Enhancer, Gains, Listener, Option, Separator, SystemFailure, hookimpl
from harness.systems import StreamingEnhancer, StreamingSeparator


class Probe(Separator):
    name, version, training_data, licence = "probe", "1", "official", "none"
    parameters = 3
    options = [Option("share", float, QUARTER, "of each stem", minimum=0, maximum=1)]

    def load(self):
        with open(__file__.replace("system.py", "weights.bin"), "rb") as file:
            self.weights = file.read()
        try:
            import harness.making
        except ImportError:
            return
        raise SystemFailure("the harness is here")

    def separate(self, mixture, sample_rate):
        return {stem: self.settings["share"] * mixture for stem in STEMS}


class Many(Probe):
    name = "many"

    def separate_many(self, mixtures, sample_rate):
        return [self.separate(mixture, sample_rate) for mixture in mixtures]


class Loud(Enhancer):
    name, version, training_data, licence = "loud", "1", "none", "none"

    def enhance(self, mixture, sample_rate, listener: Listener, gains: Gains):
        assert listener.left.frequencies[0] == 250 and sorted(gains) == sorted(STEMS)
        return mixture / 2


class Line(StreamingSeparator):
    name, version, training_data, licence, block, latency = "line", "1", "none", "none", 110, 110

    def load(self):
        import os
        assert os.environ["OMP_NUM_THREADS"] == "1"

    def prepare(self, sample_rate, block, channels):
        self.waiting = np.zeros((self.latency, channels))

    def process(self, block):
        both = np.concatenate([self.waiting, block])
        self.waiting = both[len(block):]
        return {stem: both[:len(block)] / 4 for stem in STEMS}


class Soft(StreamingEnhancer):
    name, version, training_data, licence = "soft", "1", "none", "none"

    def prepare(self, sample_rate, block, channels, listener, gains):
        assert listener.left.frequencies[0] == 250 and sorted(gains) == sorted(STEMS)

    def process(self, block):
        return block / 2


@hookimpl
def register_systems(register):
    for system in (Probe, Many, Loud, Line, Soft):
        register(system)
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own: this Python with NumPy and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for path in Path(numpy.__file__).parents[1].glob("numpy*"):
        (site / path.name).symlink_to(path)
    return folder / "bin/python"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"learned")
    (folder / "beside.py").write_text("QUARTER = 0.25\n")
    (folder / "system.py").write_text(SYSTEM)
    return folder / "system.py"


def test_it_separates_several_pieces_at_once_there(python: Path, system: Path) -> None:
    noise = [numpy.random.default_rng(seed).standard_normal((frames, 2)) for seed, frames in enumerate((500, 300))]
    for name, expected in (("many", True), ("probe", False)):
        running = Apart(Wanted(name, plugins=(str(system),)), Terms(python=python), Output())
        try:
            running.start()
            assert running.find().many is expected
            if expected:
                running.load()
                stems, cost = running.separate_many(noise)
                assert cost is not None
                assert [len(each) for each in stems] == [4, 4]
                for mixture, of_it in zip(noise, stems, strict=True):
                    for stem in of_it:
                        numpy.testing.assert_array_equal(stem, mixture / 4)
        finally:
            running.close()


def test_a_system_runs_in_another_environment_with_the_same_result(
    run_cli: RunCli, tiny_set: TinySet, python: Path, system: Path, tmp_path: Path, plugin: Callable[..., Path]
) -> None:
    theirs = ("enhance", "--plugin", system, *tiny_set.args, "--python", python)
    made = run_cli(*theirs, "--system", "probe", "--output", "made")
    assert made.code == 0, made.stderr
    manifest = json.loads((tmp_path / "made" / MANIFEST).read_text())
    assert sorted(manifest["code_files"]) == ["beside.py", "system.py"]
    assert list(manifest["weights_files"]) == ["weights.bin"]
    assert sorted(manifest["packages"]) == ["numpy", "python"]
    assert manifest["python"] == manifest["packages"]["python"]
    assert manifest["settings"] == {"share": 0.25}
    path = plugin("def separate(self, mixture, sample_rate):\n    return {stem: mixture / 4 for stem in STEMS}")
    assert run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "ours").code == 0
    for system_name in ("line", "loud", "soft"):
        made = run_cli(*theirs, "--system", system_name, "--output", system_name)
        assert made.code == 0, made.stderr
    for name in tiny_set.names:
        ours, *others = (soundfile.read(tmp_path / folder / name)[0] for folder in ("ours", "made", "line"))
        for other in others:
            assert (ours == other).all()
        loud, soft = (soundfile.read(tmp_path / folder / name)[0] for folder in ("loud", "soft"))
        assert (loud == soft).all()
    manifest = json.loads((tmp_path / "line" / MANIFEST).read_text())
    assert (manifest["class"], manifest["streaming"]) == ("causal", {"block": 110, "latency": 110})
    assert len(manifest["loads"]) == 2
    system.write_text(
        SYSTEM.replace("    def process", "    def separate(self, mixture, sample_rate): pass\n\n    def process", 1)
    )
    overrides = run_cli(*theirs, "--system", "line", "--output", "overrides")
    assert overrides.code == 2
    assert "system line overrides separate()" in overrides.error


@pytest.mark.parametrize("what", ["weights.bin", "beside.py", "system.py"])
def test_what_changed_makes_another_system(
    what: str, run_cli: RunCli, tiny_set: TinySet, python: Path, system: Path
) -> None:
    command = ("enhance", "--plugin", system, "--system", "probe", *tiny_set.args, "--python", python, "--limit", "1")
    assert run_cli(*command).code == 0
    assert run_cli(*command).code == 0
    with (system.parent / what).open("a") as file:
        file.write("\n# changed\n")
    changed = run_cli(*command)
    assert changed.code == 1
    assert f"{'weights' if what == 'weights.bin' else 'code'} ({what})" in changed.error


def test_wrong_uses_of_another_environment_are_one_line(
    run_cli: RunCli, tiny_set: TinySet, python: Path, system: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, code: int = 2) -> str:
        outcome = run_cli("enhance", *tiny_set.args, "--output", "made", *arguments)
        assert outcome.code == code
        assert not (tmp_path / "made").exists()
        return outcome.error

    theirs = ("--plugin", system, "--python", python)
    assert "--python nowhere: no such file" in refused("--system", "probe", "--python", "nowhere")
    assert "no system named 'x' in this plugin (it has: line, loud, many, probe, soft)" in refused(
        *theirs, "--system", "x"
    )
    wrong = refused(*theirs, "--system", "probe", "--option", "share=7")
    assert wrong.endswith(f"option share=7.0: expected float from 0 to 1 (in {python})")
    (system.parent / "weights.bin").unlink()
    assert "could not be set up: FileNotFoundError" in refused(*theirs, "--system", "probe", code=1)
    assert f"(in {python})" in refused("--system", "passthrough", "--python", python, code=1)
    program = refused("--plugin", system, "--system", "probe", "--python", "/bin/false", code=1)
    assert program.endswith("system probe could not be found: it ended with exit code 1 (in /bin/false)")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    assert "this Python has no NumPy" in refused(
        "--plugin", system, "--system", "probe", "--python", bare / "bin/python"
    )
    named = system.read_text().replace(
        'name, version, training_data, licence = "probe"',
        'environment = "Old-TF"\n    name, version, training_data, licence = "probe"',
    )
    system.write_text(named)
    (system.parent / "weights.bin").write_bytes(b"learned")
    missing = refused("--plugin", system, "--system", "probe")
    assert "needs a Python environment of its own (Old-TF), which is not here" in missing
    assert missing.endswith("HARNESS_PYTHON_OLD_TF")
    monkeypatch.setenv("HARNESS_PYTHON_OLD_TF", str(python))
    found = run_cli("enhance", "--plugin", system, "--system", "probe", *tiny_set.args, "--output", "made")
    assert found.code == 0, found.stderr


@pytest.mark.parametrize("file", FOREIGN)
def test_what_runs_there_is_older_python(file: str) -> None:
    text = (HARNESS / file).read_text()
    ast.parse(text, feature_version=(3, 8))
    assert " | " not in text or "from __future__ import annotations\n" in text


@pytest.mark.skipif(shutil.which("python3.8") is None, reason="no Python 3.8 here")
def test_the_childs_modules_compile_in_python_3_8(tmp_path: Path) -> None:
    files = [str(HARNESS / file) for file in FOREIGN]
    check = "import sys; [compile(open(path).read(), path, 'exec') for path in sys.argv[1:]]"
    tried = subprocess.run(["python3.8", "-c", check, *files], capture_output=True, text=True, check=False)
    if "not found" in tried.stderr or "pyenv" in tried.stderr:
        pytest.skip("no Python 3.8 here")
    assert tried.returncode == 0, tried.stderr
