"""What a system in the sandbox of --isolate can see and do: nothing that matters. Run where sandboxes can be made."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import RunCli, TinySet

from harness.apart import sandbox
from harness.errors import UsageError
from harness.submission.manifest import MANIFEST


def _possible() -> bool:
    try:
        sandbox.ensure_possible()
    except UsageError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(not _possible(), reason="no sandbox can be made here")

PEEK = """
import ctypes, gc, json, os, signal, socket, subprocess, sys, time
import numpy as np
from harness.systems import STEMS, Option, Separator, amplify, hookimpl


class Peek(Separator):
    name, version, training_data, licence = "peek", "1", "none", "none"
    options = [Option("about", str, "{}", "what to look for")]

    def separate(self, mixture, sample_rate):
        about = json.loads(self.settings["about"])
        possible = []

        def try_to(what, action):
            try:
                action()
            except BaseException as error:
                print("refused:", what, type(error).__name__)
            else:
                possible.append(what)

        def fill(path):
            try:
                with open(path, "wb") as file:
                    while True:
                        file.write(bytes(2**24))
            finally:
                os.unlink(path)

        def ptrace(pid):
            if ctypes.CDLL(None, use_errno=True).ptrace(16, pid, 0, 0):
                raise OSError(ctypes.get_errno(), "ptrace")

        def by_gc():
            paths = [each for each in gc.get_objects() if isinstance(each, os.PathLike)]
            found = [each for each in paths if about["stems"] in os.fspath(each)]
            open(os.path.join(found[0], "vocals.wav"))

        def processes():
            if len([each for each in os.listdir("/proc") if each.isdigit()]) < 5:
                raise OSError("only our own")

        parent = about["parent"]
        try_to("list the true stems", lambda: os.listdir(about["stems"]))
        try_to("find the true stems among objects", by_gc)
        try_to("read the database", lambda: open(about["database"]))
        try_to("list other submissions", lambda: os.listdir(about["submissions"]))
        try_to("read the home", lambda: open(os.path.join(about["home"], "secret")))
        try_to("read a secret of the environment", lambda: os.environ["A_SECRET"])
        try_to("connect to loopback", lambda: socket.create_connection(("127.0.0.1", about["port"]), 2))
        try_to("connect outside", lambda: socket.create_connection(("192.0.2.2", 22), 2))
        try_to("see other processes", processes)
        try_to("signal the parent", lambda: os.kill(parent, 0))
        try_to("trace the parent", lambda: ptrace(parent))
        try_to("read the parent's memory", lambda: open("/proc/%d/mem" % parent, "rb"))
        try_to("write beside the plugin", lambda: open(__file__, "a"))
        try_to("write into the environment", lambda: open(os.path.join(sys.prefix, "hacked"), "w"))
        try_to("write to the root", lambda: open("/hacked", "w"))
        try_to("write to /dev", lambda: open("/dev/hacked", "w"))
        try_to("fill the disk", lambda: fill("/tmp/big"))
        try_to("take 100 GB", lambda: np.ones(100 * 2**27))
        try_to("mount", lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True))
        try_to("make a namespace", lambda: subprocess.run(["unshare", "-U", "true"], check=True))
        assert not possible, possible
        open("/tmp/mine", "w").write("but its own")
        return {stem: mixture / 4 for stem in STEMS}


@hookimpl
def register_systems(register):
    register(Peek)
"""


@pytest.fixture
def delivered(tmp_path: Path) -> Callable[[str], Path]:
    """A stranger's plugin in a folder of its own."""

    def write(text: str) -> Path:
        path = tmp_path / "delivered" / "system.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@needs_sandbox
def test_a_strangers_system_sees_nothing_and_reaches_nobody(
    run_cli: RunCli,
    tiny_set: TinySet,
    delivered: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("A_SECRET", "of the user")
    monkeypatch.setattr(sandbox, "SPACE", 2**26)
    (tmp_path / "leaderboard.db").touch()
    (tmp_path / "secret").touch()
    (tmp_path / "others").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        about = {
            "stems": str(tiny_set.music().parent),
            "database": str(tmp_path / "leaderboard.db"),
            "submissions": str(tmp_path / "others"),
            "home": str(tmp_path),
            "port": server.getsockname()[1],
            "parent": os.getpid(),
        }
        made = run_cli(
            *("enhance", "--isolate", "--plugin", delivered(PEEK), "--system", "peek"),
            *("--option", f"about={json.dumps(about)}", *tiny_set.args, "--output", "made", "--json"),
        )
    assert made.json["failures"] == []
    assert made.json["made"] == 4
    assert made.stderr.count("refused: ") == 2 * 20
    assert json.loads((tmp_path / "made" / MANIFEST).read_text())["isolation"] == "sandbox"


@needs_sandbox
def test_a_bomb_of_processes_is_ended(run_cli: RunCli, tiny_set: TinySet, delivered: Callable[[str], Path]) -> None:
    bomb = PEEK.replace("possible = []", "[os.fork() or time.sleep(60) for _ in range(10_000)]")
    made = run_cli(
        *("enhance", "--isolate", "--plugin", delivered(bomb), "--system", "peek", *tiny_set.args),
        *("--limit", "1", "--output", "made", "--json"),
    )
    reasons = {each["reason"] for each in made.json["failures"]}
    assert len(reasons) == 1
    # Which limit is reached first depends on the machine; memory that they share counts for each of them.
    reason = reasons.pop()
    assert any(limit in reason for limit in ("started more than 256 processes", "GB of memory", "BlockingIOError"))


@needs_sandbox
def test_what_options_name_can_be_read_and_the_rest_of_its_folder_not(
    run_cli: RunCli, tiny_set: TinySet, delivered: Callable[[str], Path], tmp_path: Path
) -> None:
    reads = PEEK.replace(
        'options = [Option("about", str, "{}", "what to look for")]',
        'options = [Option("weights", __import__("pathlib").Path, None, "x")]\n\n'
        "    def load(self):\n"
        '        assert self.settings["weights"].read_text() == "learned"\n'
        '        assert os.listdir(os.path.dirname(os.path.abspath(self.settings["weights"]))) == ["model.pt"]',
    ).replace('about = json.loads(self.settings["about"])', "return {stem: mixture / 4 for stem in STEMS}")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.pt").write_text("learned")
    (tmp_path / "weights" / "notes.txt").touch()
    made = run_cli(
        *("enhance", "--isolate", "--plugin", delivered(reads), "--system", "peek", *tiny_set.args),
        *("--option", "weights=weights/model.pt", "--output", "made"),
    )
    assert made.code == 0, made.stderr


@needs_sandbox
@pytest.mark.parametrize("place", ["beside the submission", "among the music"])
def test_a_plugin_beside_what_must_stay_hidden_is_refused(
    place: str, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path
) -> None:
    path = tmp_path / "system.py" if place == "beside the submission" else tiny_set.music().with_name("system.py")
    path.write_text(PEEK)
    made = run_cli("enhance", "--isolate", "--plugin", path, "--system", "peek", *tiny_set.args, "--output", "made")
    assert made.code == 2
    assert "--isolate: the system would see " in made.error
    assert "folder of their own" in made.error


@needs_sandbox
def test_a_plugin_cannot_choose_what_its_sandbox_shows(
    run_cli: RunCli,
    tiny_set: TinySet,
    delivered: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HARNESS_PYTHON_THEIRS", sys.executable)
    (tmp_path / "private").mkdir()
    claims = (
        "from harness.apart import child\n"
        "packed = child.packed\n"
        f"claimed = {{'environment': 'theirs', 'source': {{'module': 'x', 'folder': {str(tmp_path / 'private')!r}}}}}\n"
        "def claim(document, arrays):\n"
        "    return packed({**document, 'result': {**(document.get('result') or {}), **claimed}}, arrays)\n"
        "child.packed = claim\n"
    )
    made = run_cli(
        *("enhance", "--isolate", "--plugin", delivered(PEEK + claims), "--system", "peek", *tiny_set.args),
        *("--output", "made"),
    )
    assert made.code == 2
    assert "the plugin is not installed in the harness's environment" in made.error


@needs_sandbox
def test_bundled_systems_run_in_the_sandbox(run_cli: RunCli, tiny_set: TinySet) -> None:
    made = run_cli("enhance", "--isolate", "--system", "centre", *tiny_set.args, "--limit", "1", "--output", "made")
    assert made.code == 0, made.stderr


def test_without_bubblewrap_isolation_is_refused(
    run_cli: RunCli, tiny_set: TinySet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = run_cli("enhance", "--isolate", "--system", "centre", *tiny_set.args, "--output", "made")
    assert refused.code == 2
    assert "no sandbox can be made here (bwrap: setting up uid map: Permission denied)" in refused.error
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr(sandbox.shutil, "which", lambda *_, **__: None)
    refused = run_cli("enhance", "--isolate", "--system", "centre", *tiny_set.args, "--output", "made")
    assert (refused.code, "needs bubblewrap" in refused.error) == (2, True)
