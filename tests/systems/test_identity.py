"""What a system is made of: nothing that changes its output may change unnoticed, and a move changes nothing."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

PLUGIN = """
from pathlib import Path
from harness.systems import STEMS, Separator, hookimpl
{imports}

class Tiny(Separator):
    name, version, training_data, licence = "tiny", "1", "{training_data}", "MIT"

    def load(self):
        {load}

    def separate(self, mixture, sample_rate):
        stems = {{name: mixture * (1 - self.gain) / 3 for name in STEMS}}
        return {{**stems, "vocals": mixture[:, ::-1] * self.gain}}

@hookimpl
def register_systems(register):
    register(Tiny)
"""


def write(folder, load, imports="", name="tiny.py", training_data="none"):
    folder.mkdir(exist_ok=True)
    body = PLUGIN.format(
        load=textwrap.indent(textwrap.dedent(load), " " * 8).strip(), imports=imports, training_data=training_data
    )
    (folder / name).write_text(body)
    return folder / name


def checkpoint(path, gain):
    torch.save({"gain": torch.tensor(gain)}, path)


FROM_CHECKPOINT = """
import torch
self.gain = float(torch.load(Path(__file__).with_name("tiny.pt"))["gain"])
"""


@pytest.fixture
def manifest_of(tmp_path, tiny_set):
    """`manifest_of(plugin, system="tiny")`: what a process of its own writes into a new submission's manifest."""

    def make(*arguments, system="tiny", output="made", **environment):
        command = [sys.executable, "-m", "harness", "enhance", "--system", system, *arguments, *tiny_set.args]
        folder = tmp_path / output
        shutil.rmtree(folder, ignore_errors=True)
        done = subprocess.run(
            [*map(str, command), "--limit", "1", "--output", str(folder)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stderr
        return json.loads((folder / "submission.json").read_text())

    return make


def key(manifest):
    from harness.submission.manifest import Manifest

    return Manifest.model_validate(manifest).key


# The stories


def test_a_retrained_model_does_not_get_its_old_score(run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", FROM_CHECKPOINT)
    checkpoint(tmp_path / "plugin" / "tiny.pt", 0.9)
    command = ("run", "--plugin", plugin, "--system", "tiny", *tiny_set.args, "--scenes", "scene_V002")
    command += ("--engine", "fast", "--workers", "1", "--json")
    first = run_cli(*command)
    assert first.code == 0, first.stderr
    assert "2 pairs are scored already" in run_cli(*command).stderr
    checkpoint(tmp_path / "plugin" / "tiny.pt", 0.1)
    refused = run_cli(*command)
    assert refused.code == 1
    assert "was made by another system (these differ: weights (tiny.pt))" in refused.error
    second = run_cli(*command, "--overwrite", "always")
    assert second.code == 0, second.stderr
    assert second.json["mean"] != first.json["mean"]
    # The same row, with the figure that it replaces, and what it declared before.
    assert second.json["run"] == first.json["run"]
    assert second.json["replaced"] == {"mean": first.json["mean"], "pairs": 2}
    shown = run_cli("runs", "show", "tiny", "--json").json
    assert [event["what"] for event in shown["log"]] == ["entered", "declared anew", "replaced"]
    assert shown["log"][-1]["details"]["mean"] == first.json["mean"]
    # Back again: the old files' scores are facts, so nothing is scored.
    checkpoint(tmp_path / "plugin" / "tiny.pt", 0.9)
    third = run_cli(*command, "--overwrite", "always")
    assert "2 pairs are scored already" in third.stderr
    assert third.json["scores"] == first.json["scores"]


def test_an_edited_module_of_an_installed_plugin_is_another_system(manifest_of, tmp_path):
    site = tmp_path / "site-packages"
    package = site / "mypackage"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    write(package, "from mypackage import net\nself.gain = net.GAIN", name="mysystem.py")
    (package / "net.py").write_text("GAIN = 0.5\n")
    information = site / "mypackage-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[harness]\nmine = mypackage.mysystem\n")
    files = [*package.glob("*.py"), *information.glob("*")]
    (information / "RECORD").write_text("".join(f"{file.relative_to(site)},,\n" for file in files))

    before = manifest_of(PYTHONPATH=str(site))
    assert set(before["code_files"]) == {"mypackage/__init__.py", "mypackage/mysystem.py", "mypackage/net.py"}
    assert key(manifest_of(PYTHONPATH=str(site))) == key(before)
    (package / "net.py").write_text("GAIN = 0.6\n")
    after = manifest_of(PYTHONPATH=str(site))
    changed = [name for name in before["code_files"] if before["code_files"][name] != after["code_files"][name]]
    assert changed == ["mypackage/net.py"]
    assert key(after) != key(before)


@pytest.mark.parametrize("imports", ["import mynet", ""])
def test_a_neighbour_counts_wherever_it_is_imported(imports, manifest_of, tmp_path):
    load = "self.gain = mynet.GAIN" if imports else "import mynet\nself.gain = mynet.GAIN"
    plugin = write(tmp_path / "plugin", load, imports)
    (tmp_path / "plugin" / "mynet.py").write_text("from deeper import GAIN\n")
    (tmp_path / "plugin" / "deeper.py").write_text("GAIN = 0.5\n")
    (tmp_path / "plugin" / "unrelated.py").write_text("GAIN = 0.5\n")
    before = manifest_of("--plugin", plugin)
    assert set(before["code_files"]) == {"tiny.py", "mynet.py", "deeper.py"}
    (tmp_path / "plugin" / "unrelated.py").write_text("GAIN = 0.6\n")
    assert key(manifest_of("--plugin", plugin)) == key(before)
    (tmp_path / "plugin" / "deeper.py").write_text("GAIN = 0.6\n")
    assert key(manifest_of("--plugin", plugin)) != key(before)


def test_a_neighbour_that_is_imported_by_name_at_run_time_counts(manifest_of, tmp_path):
    plugin = write(tmp_path / "plugin", 'import importlib\nself.gain = importlib.import_module("my" + "net").GAIN')
    (tmp_path / "plugin" / "mynet.py").write_text("GAIN = 0.5\n")
    before = manifest_of("--plugin", plugin)
    assert set(before["code_files"]) == {"tiny.py", "mynet.py"}


def test_two_plugins_have_their_own_neighbours(run_cli, tmp_path, tiny_set):
    plugins = []
    for name, gain in (("one", 0.25), ("two", 0.75)):
        plugins.append(write(tmp_path / name, "import othernet\nself.gain = othernet.GAIN", "import net"))
        plugins[-1].write_text(plugins[-1].read_text().replace('"tiny"', f'"{name}"'))
        (tmp_path / name / "net.py").write_text(f"GAIN = {gain}\n")
        (tmp_path / name / "othernet.py").write_text(f"GAIN = {gain}\n")
    from harness.systems.discovery import Plugins
    from harness.systems.identity import made

    found = Plugins(map(str, plugins))
    for name, gain in (("one", 0.25), ("two", 0.75), ("one", 0.25)):
        system = found.system(name)
        assert made(system, {}).gain == gain
        assert gain == sys.modules[system.__module__].net.GAIN


def test_natively_read_weights_are_found_on_the_instance(manifest_of, tmp_path):
    from safetensors.torch import save_file

    load = """
    import torch
    from safetensors.torch import load_file
    self.networks = {"one": [torch.nn.Linear(1, 1, bias=False)]}
    self.networks["one"][0].load_state_dict(load_file(Path(__file__).with_name("net.safetensors")))
    self.gain = float(self.networks["one"][0].weight)
    """
    plugin = write(tmp_path / "plugin", load)
    keys = []
    for gain in (0.5, 0.5, 0.6):
        save_file({"weight": torch.tensor([[gain]])}, tmp_path / "plugin" / "net.safetensors")
        keys.append(key(manifest_of("--plugin", plugin)))
    assert keys[0] == keys[1] != keys[2]


def test_a_moved_checkpoint_with_the_same_bytes_is_the_same(manifest_of, tmp_path):
    plugin = write(tmp_path / "plugin", FROM_CHECKPOINT)
    checkpoint(tmp_path / "plugin" / "tiny.pt", 0.5)
    before = manifest_of("--plugin", plugin)
    shutil.copytree(tmp_path / "plugin", tmp_path / "elsewhere")
    moved = manifest_of("--plugin", tmp_path / "elsewhere" / "tiny.py")
    assert key(moved) == key(before)
    assert before["weights_files"].keys() == {"tiny.pt"}
    assert str(tmp_path) not in json.dumps(moved)


def test_a_configuration_file_counts(manifest_of, tmp_path):
    plugin = write(tmp_path / "plugin", 'self.gain = float(Path(__file__).with_name("gain.txt").read_text())')
    (tmp_path / "plugin" / "gain.txt").write_text("0.5")
    before = manifest_of("--plugin", plugin)
    (tmp_path / "plugin" / "gain.txt").write_text("0.6")
    assert key(manifest_of("--plugin", plugin)) != key(before)


def test_what_cannot_be_identified_is_made_again(run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", "self.gain = 0.5", training_data="official")
    command = ("enhance", "--plugin", plugin, "--system", "tiny", *tiny_set.args, "--limit", "1", "--json")
    assert run_cli(*command).json["made"] == 2
    again = run_cli(*command)
    assert again.code == 0, again.stderr
    assert (again.json["made"], again.json["kept"]) == (2, 0)
    assert "what tiny has learned cannot be identified, so its files are made again" in again.stderr


def test_weights_sha256_overrides_what_was_read(manifest_of, tmp_path):
    plugin = write(tmp_path / "plugin", FROM_CHECKPOINT)
    text = plugin.read_text().replace(
        "    def separate", '    def weights_sha256(self):\n        return "0" * 64\n\n    def separate'
    )
    plugin.write_text(text)
    checkpoint(tmp_path / "plugin" / "tiny.pt", 0.5)
    made = manifest_of("--plugin", plugin)
    assert (made["weights_sha256"], made["weights_files"]) == ("0" * 64, {})


@pytest.mark.parametrize("name", ["demucs", "umx"])
def test_bundled_systems_are_the_same_in_every_process(name, manifest_of):
    one, other = (manifest_of("--option", "model=demo", system=name) for _ in range(2))
    assert key(one) == key(other)
    assert all(file.startswith("harness") for file in one["code_files"])
    other_plugin = {"demucs": "umx", "umx": "demucs"}[name]
    assert not any(f"/{other_plugin}" in file for file in one["code_files"])


def test_a_forgotten_constructor_is_named(run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", "self.gain = 0.5")
    text = plugin.read_text().replace(
        "    def load", "    def __init__(self, **settings):\n        pass\n\n    def load"
    )
    plugin.write_text(text)
    outcome = run_cli("enhance", "--plugin", plugin, "--system", "tiny", *tiny_set.args)
    assert outcome.code == 1
    assert "call super().__init__(**settings) in its __init__" in outcome.error


def test_only_reading_is_watched(tmp_path):
    from harness.systems.watching import files_read

    (tmp_path / "read").write_text("x")
    with files_read() as seen:
        (tmp_path / "read").read_text()
        (tmp_path / "written").write_text("x")
        os.close(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))
    Path(tmp_path / "written").read_text()
    assert {name for name in seen if name.startswith(str(tmp_path))} == {str(tmp_path / "read")}


def test_what_is_read_while_the_plugin_is_imported_counts(manifest_of, tmp_path):
    imports = 'GAIN = float(Path(__file__).with_name("gain.txt").read_text())'
    plugin = write(tmp_path / "plugin", "self.gain = GAIN", imports)
    (tmp_path / "plugin" / "gain.txt").write_text("0.5")
    before = manifest_of("--plugin", plugin)
    assert set(before["weights_files"]) == {"gain.txt"}
    (tmp_path / "plugin" / "gain.txt").write_text("0.6")
    assert key(manifest_of("--plugin", plugin)) != key(before)


def test_a_network_in_a_helper_object_is_found(manifest_of, tmp_path):
    load = """
    import torch
    class Engine: pass
    self.engine = Engine()
    self.engine.net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(self.engine.net.weight, float(__import__("os").environ["GAIN"]))
    self.gain = float(self.engine.net.weight)
    """
    plugin = write(tmp_path / "plugin", load, training_data="unknown")
    keys = [key(manifest_of("--plugin", plugin, GAIN=gain)) for gain in ("0.5", "0.5", "0.25")]
    assert keys[0] == keys[1] != keys[2]


def test_weights_in_a_folder_of_the_machine_that_holds_data_count(manifest_of, tmp_path):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        weights = Path(folder) / "gain.txt"
        weights.write_text("0.5")
        plugin = write(tmp_path / "plugin", f"self.gain = float(Path({str(weights)!r}).read_text())")
        assert set(manifest_of("--plugin", plugin)["weights_files"]) == {"gain.txt"}


@pytest.mark.parametrize("name", ["statistics", "soxr", "harness_leaderboard"])
def test_a_neighbour_named_like_another_module_has_to_be_renamed(name, run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", "self.gain = GAIN", f"from {name} import GAIN")
    (tmp_path / "plugin" / f"{name}.py").write_text("GAIN = 0.5\n")
    outcome = run_cli("enhance", "--plugin", plugin, "--system", "tiny", *tiny_set.args)
    assert outcome.code == 2
    assert f"{name}.py beside it has the name of another module that is installed: rename it" in outcome.error


def test_the_harness_does_not_import_a_plugins_neighbours(manifest_of, tmp_path):
    plugin = write(tmp_path / "plugin", "self.gain = 0.5")
    (tmp_path / "plugin" / "soxr.py").write_text("raise SystemError\n")
    assert set(manifest_of("--plugin", plugin)["code_files"]) == {"tiny.py"}


def test_a_neighbour_edited_within_a_process_is_imported_again(run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", "self.gain = GAIN", "from mynet import GAIN")
    made = []
    for gain in ("0.25", "0.0625"):
        (tmp_path / "plugin" / "mynet.py").write_text(f"GAIN = {gain}\n")
        outcome = run_cli(
            "enhance", "--plugin", plugin, "--system", "tiny", *tiny_set.args, "--limit", "1", "--output", gain
        )
        assert outcome.code == 0, outcome.stderr
        made.append(json.loads((tmp_path / gain / "submission.json").read_text()))
    assert made[0]["code_sha256"] != made[1]["code_sha256"]
    assert made[0]["files"] != made[1]["files"]


def test_what_people_add_to_a_manifest_stays(run_cli, tmp_path, tiny_set):
    plugin = write(tmp_path / "plugin", "self.gain = 0.5")
    command = ("enhance", "--plugin", plugin, "--system", "tiny", *tiny_set.args, "--limit", "1", "--output", "made")
    assert run_cli(*command).code == 0
    path = tmp_path / "made" / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "team": "A Team"}))
    for more in ((), ("--overwrite", "always")):
        assert run_cli(*command, *more).code == 0
        assert json.loads(path.read_text())["team"] == "A Team"
