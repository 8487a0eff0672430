"""Several processes of a system side by side: the same files, and nothing lost or left whatever happens."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support import Outcome, RunCli, TinySet, TinySongs

from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
from harness.compute.local import LocalProcesses
from harness.making.make import Enhancement, loaded_manifest
from harness.making.make import enhance as enhance_all
from harness.music.layout import load
from harness.submission.manifest import MANIFEST

Write = Callable[..., Path]
STEMS = "def separate(self, mixture, sample_rate):\n    "
QUARTERS = "return dict.fromkeys(STEMS, mixture / 4)"
REMIX = "def enhance(self, mixture, sample_rate, listener, gains):\n    "
TWO = ("--processes", 2)


def content(folder: Path) -> dict[str, bytes]:
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return {name: data for name, data in found.items() if name != MANIFEST}


def manifest_of(folder: Path) -> dict[str, Any]:
    """What does not differ from run to run: of costs and loads the names of the pieces."""
    found = json.loads((folder / MANIFEST).read_text())
    return {**found, "costs": sorted(found["costs"]), "loads": sorted(found["loads"])}


def left_beside(folder: Path) -> list[Path]:
    return list(folder.parent.glob(".partial-harness-*"))


def wait_until(condition: Callable[[], object], process: "subprocess.Popen[Any] | None" = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def made_by(system: str, processes: int, tiny_set: TinySet, folder: Path) -> Enhancement:
    """What the command does, but for finding out whether a system is causal, which takes longer than all else."""
    found = load(tiny_set.root)
    running = Apart(Wanted(system), Terms(), Output())
    try:
        running.start()
        manifest = loaded_manifest(running, running.find().kind, found, soft_clip=False)
        several = nullcontext(LocalProcesses(processes, apart=True)) if processes > 1 else None
        return enhance_all(running, manifest, found, folder, workers=2, elsewhere=lambda _pieces: several)
    finally:
        running.close()


@pytest.mark.parametrize("system", ["centre", "live", "passthrough", "oracle"])
def test_bundled_systems_make_the_same_files(system: str, tiny_set: TinySet, tmp_path: Path) -> None:
    for processes, folder in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        result = made_by(system, processes, tiny_set, folder)
        assert (len(result.made), result.kept, result.failures) == (4, [], {})
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert sorted(content(tmp_path / "two")) == tiny_set.names
    assert manifest_of(tmp_path / "two") == manifest_of(tmp_path / "one")
    assert left_beside(tmp_path / "two") == []


def test_stems_are_submitted_from_several_processes(run_cli: RunCli, tiny_songs: TinySongs, tmp_path: Path) -> None:
    common = ("enhance", "--system", "centre", *tiny_songs.args)
    assert run_cli(*common, "--output", "one").code == 0
    assert run_cli(*common, *TWO, "--output", "two").code == 0
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert sorted(content(tmp_path / "two")) == sorted(tiny_songs.names)


@pytest.fixture
def enhance(run_cli: RunCli, tiny_set: TinySet, plugin: Write) -> Callable[..., Outcome]:
    """Run a system with this class body over the tiny set, in two processes."""

    def run(body: str, *args: object) -> Outcome:
        path = plugin(body, base="Enhancer" if "def enhance" in body else "Separator")
        return run_cli("enhance", "--system", "probe", "--plugin", path.name, *tiny_set.args, *TWO, "--json", *args)

    return run


def test_what_fails_is_the_reason_of_its_pairs_and_is_tried_again(enhance: Callable[..., Outcome]) -> None:
    body = (
        REMIX + "if listener.id == 'V2' and not __import__('pathlib').Path('fixed').exists():\n"
        "        raise RuntimeError('not for V2')\n    return mixture"
    )
    first = enhance(body)
    assert (first.code, first.json["made"]) == (1, 2)
    assert {(each["scene"], each["listener"]) for each in first.json["failures"]} == {
        ("scene_V001", "V2"),
        ("scene_V002", "V2"),
    }
    for failure in first.json["failures"]:
        assert failure["reason"] == "system probe raised RuntimeError: not for V2 (plugin.py:14)"
    # Where the command was started, files are named as ever.
    Path("fixed").touch()
    second = enhance(body)
    assert (second.code, second.json["made"], second.json["kept"]) == (0, 2, 2)


def test_a_submission_that_is_there_is_added_to(enhance: Callable[..., Outcome], tiny_set: TinySet) -> None:
    body = STEMS + QUARTERS
    assert enhance(body, "--scenes", "scene_V002").json["made"] == 2
    second = enhance(body)
    assert (second.json["made"], second.json["kept"]) == (2, 2)
    assert enhance(body).json["kept"] == 4
    anew = enhance(body, "--overwrite", "always")
    assert (anew.json["made"], anew.json["kept"]) == (4, 0)
    assert sorted(content(Path("submissions/probe"))) == tiny_set.names
    assert enhance(body, "--overwrite", "never").code == 1


def test_a_system_that_dies_fails_its_piece_alone(enhance: Callable[..., Outcome]) -> None:
    outcome = enhance(
        STEMS + "import os, signal\n    try:\n        os.mkdir('first')\n    except FileExistsError:\n"
        f"        {QUARTERS}\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert (outcome.code, outcome.json["made"]) == (1, 2)
    assert {failure["reason"] for failure in outcome.json["failures"]} == {
        "system probe died with signal 9 (killed): out of memory?"
    }


def test_what_is_printed_is_in_the_log_and_said(enhance: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = enhance(STEMS + f"print('from the', 'worker')\n    {QUARTERS}")
    assert outcome.code == 0
    log = tmp_path / "submissions" / "probe.log"
    assert log.read_text().count("from the worker") == 2
    assert "what probe printed, and its exceptions: " in outcome.stderr
    assert "from the worker" not in outcome.stderr


def test_workers_run_the_system_in_the_users_surroundings(
    enhance: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "modules"
    elsewhere.mkdir()
    (elsewhere / "only_there.py").write_text("FACTOR = 4\n")
    monkeypatch.syspath_prepend(elsewhere)
    monkeypatch.setenv("PROBE_SAYS", "so")
    outcome = enhance(
        STEMS + "import os, only_there\n    assert os.environ['PROBE_SAYS'] == 'so'\n"
        "    assert os.path.exists('plugin.py')\n    return dict.fromkeys(STEMS, mixture / only_there.FACTOR)"
    )
    assert (outcome.code, outcome.json["failures"]) == (0, [])


def test_a_system_that_is_another_one_in_a_worker_is_refused(enhance: Callable[..., Outcome]) -> None:
    outcome = enhance(
        "def weights_sha256(self):\n    import hashlib, os\n"
        "    return hashlib.sha256(str(os.getpid()).encode()).hexdigest()\n" + STEMS + QUARTERS
    )
    assert outcome.code == 1
    assert "system probe declares something else than in the main process (weights_" in outcome.error
    assert json.loads(Path("submissions/probe", MANIFEST).read_text())["files"] == {}
    assert left_beside(Path("submissions/probe")) == []


def test_options_that_do_not_go_together(run_cli: RunCli, tiny_set: TinySet) -> None:
    common = ("enhance", "--system", "passthrough", *tiny_set.args)
    for options, expected in (
        (("--in-process", *TWO), "--in-process does not go with --processes"),
        (("--in-process", "--cluster", "local"), "--in-process does not go with --cluster"),
        (("--cluster", "local", *TWO), "--processes is for one machine"),
        (("--cluster-config", "x.yaml"), "--cluster-config goes with --cluster"),
    ):
        outcome = run_cli(*common, *options)
        assert (outcome.code, expected in outcome.error) == (2, True), outcome.stderr
    assert not Path("submissions").exists()


SLOW = STEMS + (
    "import os, pathlib, time\n    pathlib.Path(f'at-{os.getpid()}').touch()\n"
    f"    time.sleep(0 if pathlib.Path('quick').exists() else 600)\n    {QUARTERS}"
)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_is_stopped_leaves_no_process_and_goes_on(
    how: signal.Signals, run_cli: RunCli, tiny_set: TinySet, plugin: Write, tmp_path: Path
) -> None:
    path = plugin(SLOW)
    command = ["enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--output", "made", *TWO]
    with subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, command)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        wait_until(lambda: len(list(tmp_path.glob("at-*"))) == 2, process)
        children = {int(each) for each in _descendants(process.pid)}
        assert len(children) >= 4  # two workers, each with a system's process
        os.kill(process.pid, how)
        _, stderr = process.communicate(timeout=120)
        wait_until(lambda: not any(_alive(child) for child in children))
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert stderr.splitlines()[-1] == "error: interrupted; run the same command again: it continues"
        assert left_beside(tmp_path / "made") == []
    else:
        assert left_beside(tmp_path / "made") != []
        # What is left there is no part of the submission.
        assert "partial" not in run_cli("validate", "made", *tiny_set.args).stdout
    (tmp_path / "quick").touch()
    again = run_cli(*command, "--json")
    assert (again.code, again.json["made"]) == (0, 4), again.stderr
    assert left_beside(tmp_path / "made") == []


def _descendants(pid: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [child, *_descendants(int(child))]
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
