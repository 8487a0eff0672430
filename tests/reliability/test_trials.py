"""The trials of benchmarks/reliability.py, as far as a gate can afford them: kills and full disks at chosen moments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import write_tiny_set

ROOT = Path(__file__).parents[2]

# Of scoring, which starts no system: each takes a fraction of a second.
MOMENTS = [
    *(("score", "statement", after, number) for after in (False, True) for number in (2, 30, 61, 75, 90, 105, 120)),
    *(("score", "commit", after, number) for after in (False, True) for number in (2, 4, 6, 8)),
    *(("run", "fsync", False, number) for number in (1, 3)),
    *(("run", "rename", after, 2) for after in (False, True)),
]
FULL = [("run", "fsync", False, 3), ("run", "rename", False, 2), ("run", "mkstemp", False, 4)]

PROGRAM = f"""
import json, sys, tempfile
from pathlib import Path
sys.path[:0] = {[str(ROOT / "benchmarks"), str(ROOT / "tests"), str(ROOT / "tests/reliability")]}
from trials import injected
from trials.common import Tally

injected.load_everything()
tally = Tally()
for moments, trial in (({MOMENTS}, lambda *a: injected.killed(a[0], True, a[1])), ({FULL}, injected.full)):
    for moment in moments:
        folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
        found = trial(injected.Point(*moment), folder)
        tally.merge(found)
        tally.failures += [] if found.counts else [(str(moment), "this moment never comes")]
print(json.dumps([sum(tally.counts.values()), tally.failures]))
"""


@pytest.mark.slow
def test_what_a_kill_or_a_full_disk_leaves_is_completed_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: this one may have threads, and what forks must have none."""
    write_tiny_set(tmp_path / "tiny")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        env={**os.environ, **threads, "TRIALS_BASE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [len(MOMENTS) + len(FULL), []]
