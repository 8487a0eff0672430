"""Discovery: bundled plugins and strangers' come in through the same door, and a broken one stops nobody else."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support import RunCli

from harness.systems import hookspecs
from harness.systems.discovery import Plugins

Write = Callable[..., Path]
SEPARATE = "def separate(self, mixture, sample_rate):\n    return {stem: mixture / 4 for stem in STEMS}"

HOOK = "from harness.systems import hookimpl, Separator\n\n\n"
BROKEN = {
    # what is wrong: the file's text, what the message says
    "syntax error": ("def broken(:\n", "SyntaxError: "),
    "null byte": ("x = 1\0\n", "SyntaxError: "),
    "import error": ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
    "raises": ("raise RuntimeError('two\\nlines')\n", "RuntimeError: two lines"),
    "exits": ("import sys\nsys.exit('enough')\n", "SystemExit: enough"),
    "no hook": ("x = 1\n", "registers no system (is register_systems marked with @hookimpl?)"),
    "hook not marked": ("def register_systems(register):\n    register(int)\n", "registers no system"),
    "hook registers nothing": (HOOK + "@hookimpl\ndef register_systems(register):\n    pass\n", "registers no system"),
    "hook raises": (HOOK + "@hookimpl\ndef register_systems(register):\n    1 / 0\n", "ZeroDivisionError"),
    "hook with another argument": (
        HOOK + "@hookimpl\ndef register_systems(registry):\n    pass\n",
        "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the hookspec",
    ),
    "unknown hook": (
        HOOK + "@hookimpl\ndef register_sistems(register):\n    pass\n",
        "unknown hook 'register_sistems'",
    ),
    "not a system": (
        HOOK + "@hookimpl\ndef register_systems(register):\n    register(dict)\n",
        "<class 'dict'> is not a class derived from Separator or Enhancer",
    ),
    "an instance": (HOOK + "@hookimpl\ndef register_systems(register):\n    register(3)\n", "3 is not a class derived"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_by_name_and_stops_nobody(
    case: str, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, expected = BROKEN[case]
    path = tmp_path / "broken.py"
    path.write_text(text)

    named = run_cli("plugins", "--plugin", path)
    assert named.code == 2
    assert named.error.startswith(f"plugin {path}: ")
    assert expected in named.error

    monkeypatch.setenv("HARNESS_PLUGINS", str(path))
    listed = run_cli("plugins", "--json")
    assert listed.code == 0
    found = {each["name"]: each for each in listed.json}
    assert expected in found[str(path)]["error"]
    assert "\n" not in found[str(path)]["error"]
    assert found["passthrough"]["systems"] == ["passthrough"]
    assert run_cli("plugins").stdout.count("broken:") == sum(each["error"] is not None for each in listed.json)
    systems = run_cli("systems", "--json")
    assert systems.code == 0
    assert f"warning: plugin {path} (HARNESS_PLUGINS) is broken and left out: " in systems.stderr
    assert "oracle" in [each["name"] for each in systems.json]
    unknown = run_cli("systems", "broken")
    assert unknown.code == 2
    assert "; broken plugins: " in unknown.error
    assert str(path) in unknown.error


@pytest.mark.parametrize(
    ("base", "name", "body", "expected"),
    [
        ("Separator", "probe", "pass", "system probe does not implement separate"),
        ("Enhancer", "probe", "pass", "system probe does not implement enhance"),
        ("Reference", "probe", "pass", "system probe does not implement stems"),
        ("Separator", "passthrough", SEPARATE, "a system named 'passthrough' is registered already"),
        ("Separator", "../up", SEPARATE, "system name '../up': only letters, digits, dots, dashes and underscores"),
        ("Separator", "", SEPARATE, "system name '': only letters"),
        ("Separator", "probe", "version = 2\n" + SEPARATE, "Probe declares no version"),
        ("Separator", "probe", "name = None\n" + SEPARATE, "Probe declares no name"),
        ("Separator", "probe", "training_data = 'much'\n" + SEPARATE, "training_data 'much' is not one of: none, off"),
    ],
)
def test_a_class_that_is_no_complete_system(
    base: str, name: str, body: str, expected: str, plugin: Write, run_cli: RunCli
) -> None:
    outcome = run_cli("systems", "--plugin", plugin(body, base=base, name=name))
    assert outcome.code == 2
    assert expected in outcome.error


def test_all_ways_in(plugin: Write, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> None:
    file = plugin(SEPARATE, name="from-file", file="one.py")
    (tmp_path / "sub").mkdir()
    same_name = plugin(SEPARATE, name="same-file-name", file="sub/one.py")
    plugin(SEPARATE, name="from-module", file="probe_module_of_test.py")
    by_variable = plugin(SEPARATE, name="from-variable", file="two.py")
    monkeypatch.syspath_prepend(tmp_path)
    # A plugin that is named twice is one plugin.
    monkeypatch.setenv("HARNESS_PLUGINS", os.pathsep.join([str(by_variable), str(file)]))
    sources = [file, same_name, "probe_module_of_test"]
    outcome = run_cli("plugins", "--json", *(word for source in sources for word in ("--plugin", source)))
    assert outcome.code == 0, outcome.stderr
    found = [(each["name"], each["origin"], each["systems"]) for each in outcome.json if each["origin"][0] in "-H"]
    assert found == [
        (str(by_variable), "HARNESS_PLUGINS", ["from-variable"]),
        (str(file), "HARNESS_PLUGINS", ["from-file"]),
        (str(file), "--plugin", ["from-file"]),
        (str(same_name), "--plugin", ["same-file-name"]),
        ("probe_module_of_test", "--plugin", ["from-module"]),
    ]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("nowhere.py", "no such file: nowhere.py"),
        ("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("", "ValueError: Empty module name"),
    ],
)
def test_a_plugin_that_is_not_there(source: str, expected: str, run_cli: RunCli) -> None:
    outcome = run_cli("systems", "--plugin", source)
    assert outcome.code == 2
    assert expected in outcome.error


def test_the_bundled_systems_come_through_entry_points() -> None:
    found = {plugin.name: plugin for plugin in Plugins().plugins}
    assert {"passthrough", "oracle", "centre", "demucs", "umx"} <= set(found)
    for name in ("passthrough", "oracle", "demucs", "umx"):
        assert (found[name].systems, found[name].error) == ((name,), None)
        assert found[name].origin.startswith("cadenza-harness ")


def test_listing_systems(plugin: Write, run_cli: RunCli) -> None:
    path = plugin(
        "summary = 'halves [everything]'\n"
        "options = [Option('depth', float, 0.5, 'how [deep]', minimum=0, maximum=1),\n"
        "           Option('where', __import__('pathlib').Path, __import__('pathlib').Path('a'), 'a place')]\n"
        + SEPARATE
    )
    every = run_cli("systems", "--plugin", path, "--json")
    assert every.code == 0
    names = [each["name"] for each in every.json]
    assert names == sorted(names)
    assert {"passthrough", "oracle", "demucs", "umx", "probe"} <= set(names)
    table = run_cli("systems", "--plugin", path).stdout
    assert all(any(line.startswith(name) for line in table.splitlines()) for name in names)

    one = run_cli("systems", "probe", "--plugin", path, "--json").json
    assert one == next(each for each in every.json if each["name"] == "probe")
    assert (one["kind"], one["class"], one["training_data"]) == ("separator", "non-causal", "none")
    assert one["not_eligible"] is None
    depth = {"name": "depth", "type": "float", "default": 0.5, "expected": "float from 0 to 1", "help": "how [deep]"}
    assert one["options"][0] == depth
    assert one["options"][1]["default"] == "a"
    text = run_cli("systems", "probe", "--plugin", path).stdout
    assert text.startswith("probe 1: halves [everything]")
    assert "how [deep]" in text
    assert "no options" in run_cli("systems", "passthrough").stdout


@pytest.mark.parametrize("raised", ["ValueError('no')", "SystemExit(1)"])
def test_a_system_that_cannot_be_set_up_does_not_stop_the_listing(raised: str, plugin: Write, run_cli: RunCli) -> None:
    path = plugin(f"def __init__(self, **settings):\n    raise {raised}\n{SEPARATE}")
    outcome = run_cli("systems", "--plugin", path, "--json")
    assert outcome.code == 0
    assert {each["name"]: each["not_eligible"] for each in outcome.json}["probe"].startswith("cannot be set up: ")


def test_every_hook_is_documented() -> None:
    hooks = [each for each in vars(hookspecs).values() if hasattr(each, "harness_spec")]
    assert hooks
    for hook in hooks:
        assert inspect.getdoc(hook), hook
        for parameter in inspect.signature(hook).parameters:
            assert parameter in str(inspect.getdoc(hook)), (hook, parameter)
