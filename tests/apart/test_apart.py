"""Systems in a process of their own: what they return, how they fail, what they take, and how work goes on."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import soundfile
from support import RunCli, TinySet

from harness.apart.process import how_it_ended
from harness.submission.manifest import MANIFEST

REMIX = "def enhance(self, mixture, sample_rate, listener, gains):\n    out = amplify(mixture, listener)\n"
ONE_FAILS = REMIX + "    if listener.id != 'V1': return out\n    import ctypes, os, signal, time\n"

ENDS = {
    "a segmentation fault": ("ctypes.string_at(0)", "died with signal 11 (segmentation fault)"),
    "an exit without a word": ("os._exit(7)", "ended with exit code 7"),
    "an exit in good order": ("sys.exit(4)", "raised SystemExit: 4 (plugin.py:"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "died with signal 9 (killed): out of memory?"),
    "descriptors closed": ("os.closerange(0, 100); return out", "ended with exit code 1"),
    "Ctrl-C from nowhere": ("raise KeyboardInterrupt", "raised KeyboardInterrupt: (plugin.py:"),
    "an exception of no family": (
        "class Odd(BaseException):\n        def __str__(self): raise RuntimeError\n    raise Odd",
        "raised Odd: (its text cannot be had) (plugin.py:",
    ),
    "text that is no text": (r"raise ValueError('bad \udcff')", r"raised ValueError: bad \udcff (plugin.py:"),
    "writes where it must not": (
        "import contextlib\n    for fd in range(3, 500):\n"
        "        with contextlib.suppress(OSError): os.write(fd, b'x' * 99)\n    return out",
        "broke the protocol",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_how_a_system_ends_is_the_reason_and_the_next_piece_goes_on(
    case: str, run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    body, expected = ENDS[case]
    before = _children()
    path = plugin(f"{ONE_FAILS}    {body}", "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--json")
    assert made.code == 1
    assert [(each["scene"], each["listener"]) for each in made.json["failures"]] == [
        ("scene_V001", "V1"),
        ("scene_V002", "V1"),
    ]
    for each in made.json["failures"]:
        assert f"system probe {expected}" in each["reason"]
    assert made.json["made"] == 2
    # What other tests have started may live on (multiprocessing's resource tracker).
    assert set(_children()) <= set(before)


def test_a_system_that_hangs_is_ended(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    sleeps = (
        ONE_FAILS + "    import subprocess\n    subprocess.Popen(['sleep', '98765'], start_new_session=True)\n"
        "    time.sleep(1000)"
    )
    path = plugin(sleeps, "Enhancer")
    made = run_cli(
        *("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--limit", "1"),
        *("--output", "made", "--json", "--timeout", "5"),
    )
    assert made.json["failures"][0]["reason"] == "system probe took longer than 5 s, and was ended"
    assert made.json["made"] == 1
    # With what it started, even in a session of its own.
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "98765"]]


def test_a_system_that_takes_too_much_memory_is_ended(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path]
) -> None:
    path = plugin(ONE_FAILS + "    hoard = np.ones(2**27)\n    time.sleep(60)\n    return out", "Enhancer")
    made = run_cli(
        *("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--limit", "1"),
        *("--output", "made", "--json", "--memory", "0.9"),
    )
    assert made.json["failures"][0]["reason"] == "system probe took more than 0.9 GB of memory"
    assert made.json["made"] == 1


def test_what_a_system_prints_goes_to_standard_error_and_a_log(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    prints = (
        "def load(self):\n    print('loading', end='')\n"
        + REMIX
        + "    print('\\x1b[31mred[/red]')\n    import os; os.write(1, b'raw\\n')\n"
        + "    os.system('echo shell')\n    return out"
    )
    path = plugin(prints, "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--json")
    assert made.code == 0
    assert made.json["made"] == 4
    assert r"loading\x1b[31mred[/red]" in made.stderr
    log = (tmp_path / "made.log").read_text()
    for line in ("loading\\x1b[31mred[/red]\n", "raw\n", "shell\n"):
        assert line in log
    assert "what probe printed, and its exceptions: made.log" in made.stderr
    assert run_cli("validate", "made", *tiny_set.args).code == 0


def test_what_each_piece_cost_is_measured(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    spends = (
        "def separate(self, mixture, sample_rate):\n"
        "    import time\n"
        "    until = time.process_time() + 0.3\n"
        "    hoard = np.ones(2**24)\n"
        "    while time.process_time() < until: pass\n"
        "    return {stem: mixture / 4 for stem in STEMS}"
    )
    path = plugin(spends)
    assert run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made").code == 0
    costs = json.loads((tmp_path / "made" / MANIFEST).read_text())["costs"]
    assert sorted(costs) == ["Vector One-hlp_0001", "Vector Two"]
    for cost in costs.values():
        assert 0.25 < cost["cpu_seconds"] < 5
        assert cost["wall_seconds"] > 0.25
        assert 2**27 < cost["peak_bytes"] < 2**31


def test_a_system_is_loaded_once(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    counts = (
        f"def load(self):\n    with open({str(tmp_path / 'loads')!r}, 'a') as file: file.write('x')\n"
        + REMIX
        + "    return out"
    )
    path = plugin(counts, "Enhancer")
    assert run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made").code == 0
    assert (tmp_path / "loads").read_text() == "x"


def test_a_system_that_cannot_be_loaded_again_is_not_tried_for_ever(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    once = (
        "def load(self):\n"
        f"    path = {str(tmp_path / 'loads')!r}\n"
        "    with open(path, 'a') as file: file.write('x')\n"
        "    if open(path).read() != 'x': raise RuntimeError('only once')\n"
        "    self.n = 0\n" + REMIX + "    import os; os._exit(3)"
    )
    path = plugin(once, "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--json")
    reasons = [each["reason"] for each in made.json["failures"]]
    assert reasons[0] == "system probe ended with exit code 3"
    assert all(
        "system probe could not be started again: raised RuntimeError: only once" in each for each in reasons[1:]
    )
    assert (tmp_path / "loads").read_text() == "xxxx"


def test_a_system_that_changes_between_two_starts_is_found_out(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    path = plugin(
        f"def load(self):\n    self.weights = open({str(tmp_path / 'weights')!r}).read()\n"
        + REMIX
        + f"    open({str(tmp_path / 'weights')!r}, 'w').write('others')\n    import os; os._exit(1)",
        "Enhancer",
    )
    (tmp_path / "weights").write_text("these")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--json")
    assert "declares something else after it was started again" in made.json["failures"][1]["reason"]


def test_a_copy_of_itself_that_a_system_makes_does_not_answer(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path]
) -> None:
    path = plugin(REMIX + "    import os; os.fork()\n    return out", "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--json")
    assert (made.code, made.json["made"]) == (0, 4)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("parameters = float('nan')", "raised ValueError"),
        ("parameters = -1", "declares itself wrongly: parameters: "),
        ("not_eligible = 3", "declares itself wrongly: not_eligible: "),
        ("not_eligible = property(lambda self: 1 / 0)", "ZeroDivisionError"),
        ("licence = 'x' * 10**7", "it broke the protocol"),
        ("def load(self): import os; os._exit(3)", "could not be set up: it ended with exit code 3"),
        ("def load(self): raise KeyboardInterrupt", "could not be set up: KeyboardInterrupt"),
    ],
)
def test_a_system_that_cannot_be_loaded_is_one_line(
    declared: str, expected: str, run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    path = plugin(f"{declared}\n{REMIX}    return out", "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made")
    assert made.code == 1
    assert expected in made.error.replace("ValueError: Out of range", "raised ValueError")
    assert not (tmp_path / "made").exists()


def test_a_plugin_that_ends_the_process_is_named(run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import os\nos._exit(0)\n")
    for command in (
        ("plugins", "--plugin", "ends.py"),
        ("systems", "--plugin", "ends.py"),
        ("enhance", "--plugin", "ends.py", "--system", "x", *tiny_set.args),
    ):
        ended = run_cli(*command)
        assert ended.code == 1
        assert "it ended with exit code 0" in ended.error


def test_in_process_is_for_debugging_and_never_ranked(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    path = plugin(f"{REMIX}    import os\n    assert os.getpid() == {os.getpid()}\n    return out", "Enhancer")
    run = ("run", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--engine", "fast")
    made = run_cli(*run, "--in-process", "--workers", "1", "--json")
    assert made.code == 0, made.stderr
    assert "probe is not eligible for ranking: ran in the harness's own process" in made.stderr
    (row,) = run_cli("leaderboard", "--json").json
    assert row["rank"] is None
    again = run_cli(*run)
    assert again.code == 1
    assert "(these differ: run in the harness's own process)" in again.error
    both = run_cli(*run, "--in-process", "--isolate")
    assert both.code == 2


def test_the_exception_of_a_system_in_process_has_its_traceback(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path]
) -> None:
    path = plugin(REMIX + "    raise ValueError('here')", "Enhancer")
    made = run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "made", "--in-process")
    assert made.code == 1
    assert f'File "{path}", line' in made.stderr


def test_a_reference_is_handed_the_true_stems_and_no_path(
    run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path
) -> None:
    path = plugin("def stems(self, true_stems, sample_rate):\n    return true_stems", "Reference")
    assert run_cli("enhance", "--plugin", path, "--system", "probe", *tiny_set.args, "--output", "a").code == 0
    assert run_cli("enhance", "--system", "oracle", *tiny_set.args, "--output", "b").code == 0
    for name in tiny_set.names:
        ours, theirs = (soundfile.read(tmp_path / folder / name)[0] for folder in "ab")
        assert (ours == theirs).all()


CLAIMS = """
from harness.apart import child
from harness.systems import STEMS, Separator, hookimpl

packed = child.packed

def claim(document, arrays):
    result = document.get("result")
    if isinstance(result, dict) and "broken" in result:
        document = {**document, "result": {**result, **CLAIMED}}
    elif isinstance(result, dict):
        document = {**document, "result": {**result, "reference": False, "kind": "separator"}}
    return packed(document, arrays)

child.packed = claim
child.Host.separate = lambda self, mixture, true_stems: list(true_stems or [mixture / 4] * 4)


class Probe(Separator):
    name, version, training_data, licence = "probe", "1", "none", "none"

    def separate(self, mixture, sample_rate):
        return {}


@hookimpl
def register_systems(register):
    register(Probe)
"""


def test_who_claims_the_true_stems_is_a_reference_whatever_else_it_says(
    run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
) -> None:
    (tmp_path / "claims.py").write_text(CLAIMS.replace("CLAIMED", "{'kind': 'reference'}"))
    run = ("enhance", "--plugin", "claims.py", "--system", "probe", *tiny_set.args, "--output")
    assert run_cli(*run, "made").code == 0
    assert run_cli("enhance", "--system", "oracle", *tiny_set.args, "--output", "true").code == 0
    for name in tiny_set.names:  # it got them
        assert (soundfile.read(tmp_path / "made" / name)[0] == soundfile.read(tmp_path / "true" / name)[0]).all()
    assert json.loads((tmp_path / "made" / MANIFEST).read_text())["reference"] is True


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        ("{'kind': 'judge'}", "it broke the protocol"),
        ("{'kind': []}", "it broke the protocol"),
        ("{'broken': [1]}", "it broke the protocol"),
        ("{'environment': '../../theirs'}", "no name for a folder"),
    ],
)
def test_what_a_child_says_of_its_system_is_not_believed(
    claimed: str, expected: str, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
) -> None:
    (tmp_path / "claims.py").write_text(CLAIMS.replace("CLAIMED", claimed))
    made = run_cli("enhance", "--plugin", "claims.py", "--system", "probe", *tiny_set.args, "--output", "made")
    assert made.code in (1, 2)
    assert expected in made.error


def test_how_a_process_ended_in_words() -> None:
    assert how_it_ended(-11) == "died with signal 11 (segmentation fault)"
    assert how_it_ended(137) == "died with signal 9 (killed): out of memory?"
    assert how_it_ended(0) == "ended with exit code 0"


def _children() -> list[psutil.Process]:
    return [each for each in psutil.Process().children(recursive=True) if each.status() != psutil.STATUS_ZOMBIE]
