"""The tests' own Slurm: it works, and nothing is left of it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from services import slurm
from services.slurm import running_slurm

pytestmark = pytest.mark.skipif(slurm.missing() is not None, reason=slurm.missing() or "")

# A test session that is killed while a job of its Slurm runs.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from services.slurm import running_slurm

with running_slurm(1) as slurm:
    slurm.submit("--output=/dev/null", "--wrap", "setsid sleep 1234; sleep 1234", folder=Path("/"))
    while not [job for job in slurm.jobs() if job.state == "RUNNING"]:
        time.sleep(0.05)
    time.sleep(0.5)
    print(slurm.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def of_slurm(folder: Path) -> list[str]:
    """Processes that have the configuration of a Slurm among their variables: its daemons and its jobs."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in process.environ().get("SLURM_CONF", ""):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_an_array_runs_on_two_nodes(tmp_path: Path) -> None:
    with running_slurm(2) as slurm:
        # Each task takes a whole node, and waits until the other one has begun.
        meet = "touch $SLURM_ARRAY_TASK_ID; until [ -e 1 ] && [ -e 2 ]; do sleep 0.1; done; echo $SLURMD_NODENAME"
        job = slurm.submit("--array=1-2", "--ntasks=2", "--output=%a.out", "--wrap", meet, folder=tmp_path)
        assert slurm.wait_for(job) == {f"{job}_1": "COMPLETED", f"{job}_2": "COMPLETED"}
        assert {(tmp_path / f"{part}.out").read_text() for part in (1, 2)} == {"node1\n", "node2\n"}
        slurm.submit("--output=/dev/null", "--wrap", "sleep 1234", folder=tmp_path)
        slurm.cancel_all()
        assert slurm.jobs() == []
        folder = slurm.folder
        assert of_slurm(folder)
    assert of_slurm(folder) == []
    assert not folder.exists()


def test_nothing_outlives_a_session_that_is_killed() -> None:
    tests = str(Path(__file__).parents[1])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "PYTHONPATH": tests}, stdout=subprocess.PIPE, text=True
    )
    assert killed.returncode == -9
    folder = Path(killed.stdout.strip())
    assert folder.name.startswith("harness-slurm-")
    deadline = time.monotonic() + 30
    while (folder.exists() or of_slurm(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert of_slurm(folder) == []
    assert not folder.exists()
