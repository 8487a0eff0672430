"""How long people wait for the commands that only show something: `harness --help` and `harness leaderboard`.

    python benchmarks/commands.py [--repeats N] [--runs N] [--scenes N] [--listeners N]

Starts each command as a process of its own, in turns, and prints the median wall time. The database is filled
beforehand with as many runs as asked for, each complete: by default 10 runs of 960 scenes for 20 listeners, 19,200
scores each, as many as the challenge's largest split has. Aims: 0.3 s for the help, 1 s for the leaderboard.

The limit is the interpreter's own start, `python -c pass`: nothing written in Python is faster. The last column is
the ratio to it within each round, since machines are shared and noisy.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select, update

from harness.haaqi import lock
from harness_leaderboard.models import Environment, Pair, Score
from harness_leaderboard.records import EvaluationSetRecord, RunRecord
from harness_leaderboard.store import Store

AIMS = {"harness --help": 0.3, "harness leaderboard": 1.0}
"""Seconds."""


def fill(url: str, runs: int, scenes: int, listeners: int) -> None:
    """Store complete runs, of systems that differ little, with scores that differ by scene and by listener."""
    draw = np.random.default_rng(0)
    names = [
        (f"scene_{1 + s:05}", f"L{1 + who:04}", f"Track {s % 50:02}") for s in range(scenes) for who in range(listeners)
    ]
    base = draw.uniform(0.3, 0.7, scenes)[:, None] + draw.uniform(-0.2, 0.2, listeners)
    fingerprint = lock.fingerprint()
    evaluation_set = EvaluationSetRecord("benchmark", "valid", "0" * 64, scenes, len(names))
    with Store.open(url, create=True) as store:
        for index in range(runs):
            run = RunRecord(
                key=f"{index:064x}",
                system=f"system{index}",
                version="1",
                settings={"index": index},
                causal=bool(index % 2),
                parameters=1000 * index,
                training_data="none",
                licence="none",
                weights_sha256="",
                not_eligible=None,
                reference=False,
                submission=f"system{index}",
                pairs_due=len(names),
            )
            run_id = store.start_run(run, evaluation_set, fingerprint, lock.lock(), names)
            scores = np.clip(base[..., None] + 0.005 * index + draw.normal(0, 0.05, (scenes, listeners, 2)), 0, 1)
            with store.engine.begin() as connection:
                environment = connection.scalar(select(Environment.id))
                if environment is None:
                    made = insert(Environment).values(sha256="0" * 64, details=lock.environment())
                    environment = connection.execute(made.returning(Environment.id)).scalar_one()
                # Bulk statements; `Store.add_score` is a transaction for each score, as it has to be.
                of_run = Pair.run_id == run_id
                connection.execute(update(Pair).where(of_run).values(state="scored", file_sha256="0" * 64, clipped=0))
                ids = connection.scalars(select(Pair.id).where(of_run).order_by(Pair.id)).all()
                connection.execute(
                    insert(Score),
                    [
                        {
                            "pair_id": pair_id,
                            "left_score": left,
                            "right_score": right,
                            "score": (left + right) / 2,
                            "fingerprint": fingerprint,
                            "environment_id": environment,
                            "scored_at": "2024-01-31T12:00:00Z",
                            "engine": "locked",
                        }
                        for pair_id, (left, right) in zip(ids, scores.reshape(-1, 2).tolist(), strict=True)
                    ],
                )


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Wall time of one process; ends the benchmark if it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)  # noqa: S603
    taken = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="processes of each command (default 9)")
    parser.add_argument("--runs", type=int, default=10, help="runs in the database (default 10)")
    parser.add_argument("--scenes", type=int, default=960, help="scenes of each run (default 960)")
    parser.add_argument("--listeners", type=int, default=20, help="listeners of each scene (default 20)")
    wanted = parser.parse_args()
    program = shutil.which("harness", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit(f"no program harness beside {sys.executable}: install the project there")

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/leaderboard.db"
        print(f"database: {wanted.runs} runs x {wanted.scenes * wanted.listeners:,} scores", flush=True)
        fill(url, wanted.runs, wanted.scenes, wanted.listeners)
        environment = {**os.environ, "HARNESS_DB": url}
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "harness --help": [program, "--help"],
            "harness leaderboard": [program, "leaderboard"],
        }
        for command in commands.values():  # reads files and compiles modules once
            seconds(command, environment)
        rounds = [
            {name: seconds(command, environment) for name, command in commands.items()} for _ in range(wanted.repeats)
        ]

    print(f"{wanted.repeats} rounds; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':20} {'median':>8} {'fastest':>8} {'aim':>7} {'x python':>9}")
    for name in commands:
        times = [taken[name] for taken in rounds]
        ratio = statistics.median(taken[name] / taken["python -c pass"] for taken in rounds)
        aim = f"{AIMS[name]:.1f} s" if name in AIMS else ""
        print(f"{name:20} {statistics.median(times):6.3f} s {min(times):6.3f} s {aim:>7} {ratio:9.1f}")


if __name__ == "__main__":
    main()
