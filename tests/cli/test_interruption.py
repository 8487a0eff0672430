"""Runs that are stopped in the middle: the next one goes on, nothing is lost, doubled or half-written."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from golden.make_golden import write_layout

HARNESS = [sys.executable, "-m", "harness"]
PATIENCE = 180

SLOW = """
import time
from harness.systems import STEMS, Separator, hookimpl

class Slow(Separator):
    name, version, training_data, licence = "slow", "1", "none", "none"

    def separate(self, mixture, sample_rate):
        time.sleep(3)
        return {stem: mixture / 4 for stem in STEMS}

@hookimpl
def register_systems(register):
    register(Slow)
"""


@pytest.fixture
def work(tmp_path):
    write_layout(tmp_path / "set")
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def with_listeners(work, count):
    """Give each scene of the set `count` listeners, whose left ears differ by 0.1 dB."""
    metadata = work / "set" / "metadata"
    (listeners_file,) = metadata.glob("listeners.*.json")
    (scenes_file,) = metadata.glob("scene_listeners.*.json")
    listeners, scenes = json.loads(listeners_file.read_text()), json.loads(scenes_file.read_text())
    more = [f"M{number:03}" for number in range(count)]
    scenes_file.write_text(json.dumps(dict.fromkeys(scenes, more)))
    (first, *_) = listeners.values()
    for number, name in enumerate(more):
        levels = [level + number / 10 for level in first["audiogram_levels_l"]]
        listeners[name] = first | {"name": name, "audiogram_levels_l": levels}
    listeners_file.write_text(json.dumps(listeners))


def start(work, *arguments):
    return subprocess.Popen(
        [*HARNESS, *arguments, "--data", "set"],
        cwd=work,
        env={**os.environ, "HARNESS_DB": "sqlite:///board.db"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that; a terminal has not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    stdout, stderr = process.communicate(timeout=PATIENCE)
    return process.returncode, stdout, stderr


def wait_until(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def scores(work):
    if not (work / "board.db").exists():
        return []
    # Closed at once: asked again and again, connections that wait for the garbage collector hold a thousand files open.
    with contextlib.closing(sqlite3.connect(work / "board.db", timeout=10)) as database:
        try:
            return database.execute(
                "SELECT remix_id, engine, left_score, right_score, scored_at FROM scores ORDER BY remix_id, engine"
            ).fetchall()
        except sqlite3.OperationalError:  # not migrated yet
            return []


def processes_of(group):
    """Processes that still run in a process group."""
    alive = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            alive.append(stat.parent.name)
    return alive


RUN = ("run", "--system", "passthrough", "--workers", "2")
FAST_RUN = ("run", "--system", "passthrough", "--workers", "1", "--engine", "fast")


# So many pairs that the fast engine needs seconds for them, also where this test sees the first score late.
@pytest.mark.parametrize(("command", "pairs"), [(RUN, 4), (FAST_RUN, 40)], ids=["locked", "fast"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_stopped_while_scoring_goes_on(work, how, command, pairs):
    if pairs > 4:
        with_listeners(work, pairs // 2)
    process = start(work, *command)
    wait_until(lambda: scores(work), process)
    os.kill(process.pid, how)
    code, _, stderr = finish(process)
    before = scores(work)
    remixes = {row[0] for row in before}
    assert 1 <= len(remixes) < pairs
    if how == signal.SIGINT:
        assert code == 130, stderr
        assert "interrupted; run the same command again: it continues" in stderr
        assert "Traceback" not in stderr
    # The workers go too, also when nobody was left to tell them.
    deadline = time.monotonic() + 30
    while processes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_of(process.pid)

    code, _, stderr = finish(start(work, *command))
    assert code == 0, stderr
    assert f"{len(remixes)} pairs are scored already" in stderr
    after = scores(work)
    assert len({row[0] for row in after}) == pairs
    assert set(before) <= set(after)


def test_an_enhancement_killed_in_the_middle_goes_on(work):
    command = ("enhance", "--plugin", "slow.py", "--system", "slow", "--output", "made")
    process = start(work, *command)
    wait_until(lambda: list(work.glob("made/*_remix.flac")), process)
    process.kill()
    finish(process)
    made = list(work.glob("made/*_remix.flac"))
    for path in made:
        assert soundfile.info(path).frames > 0
    assert 1 <= len(made) <= 2  # the first scene's, or one of them: the second scene takes three seconds more
    # What a killed writer leaves is cleared away.
    (work / "made/.partial-harness-abcd_123").write_bytes(b"half")

    code, _, stderr = finish(start(work, *command))
    assert code == 0, stderr
    assert sorted(path.name for path in (work / "made").iterdir()) == [
        "scene_V001_V1_remix.flac",
        "scene_V001_V2_remix.flac",
        "scene_V002_V1_remix.flac",
        "scene_V002_V2_remix.flac",
        "submission.json",
    ]
    code, stdout, stderr = finish(start(work, "validate", "made"))
    assert code == 0, stdout + stderr


def test_an_interrupted_enhancement_keeps_what_it_made(work):
    command = ("enhance", "--plugin", "slow.py", "--system", "slow", "--output", "made")
    process = start(work, *command)
    wait_until(lambda: len(list(work.glob("made/*_remix.flac"))) == 2, process)
    process.send_signal(signal.SIGINT)
    code, _, stderr = finish(process)
    assert code == 130
    assert "it continues" in stderr

    code, _, stderr = finish(start(work, *command))
    assert code == 0
    assert "2 remixes written, 2 were there already" in stderr


def test_two_runs_at_once_do_not_write_into_one_folder(work):
    command = ("enhance", "--plugin", "slow.py", "--system", "slow", "--output", "made")
    first = start(work, *command)
    wait_until((work / "made").exists, first)
    time.sleep(0.5)
    code, _, stderr = finish(start(work, *command))
    assert code == 1
    assert "another harness is writing to made" in stderr
    assert finish(first)[0] == 0


def test_two_runs_at_once_share_a_leaderboard(work):
    both = [start(work, *RUN[:-2], "--workers", "1", "--output", name) for name in ("one", "two")]
    results = [finish(process) for process in both]
    assert [code for code, _, _ in results] == [0, 0], results
    assert len(scores(work)) == 4
