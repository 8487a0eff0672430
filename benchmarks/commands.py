"""How long people wait for the commands that only show something: `harness --help`, `leaderboard`, `compare`.

    python benchmarks/commands.py [--repeats N] [--runs N ...] [--scenes N] [--listeners N]

Starts each command as a process of its own, in turns, and prints the median wall time. Beforehand databases are filled
with as many complete runs as asked for: by default one with 10 and one with 100 runs of 960 scenes for 20 listeners,
19,200 scores each, as many as the challenge's largest split has. Summaries are kept, as they are at the end of scoring.
Aims: 0.3 s for the help, 1 s for a leaderboard of 10 runs, 3 s for one of 100, 5 s for comparing two runs. At the end
it says how long SQLite takes to check how each database is put together, as a whole and the tables that a board is read
from.

The limit is the interpreter's own start, `python -c pass`: nothing written in Python is faster. The last column is
the ratio to it within each round, since machines are shared and noisy.
"""

import argparse
import hashlib
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import bindparam, func, insert, select, update

from harness.haaqi import lock
from harness_leaderboard.checksums import of_pair, of_score
from harness_leaderboard.database import READ_BY_BOARDS
from harness_leaderboard.models import EnvironmentRow, ReferenceRow, RemixRow, RunPairRow, ScoreRow, SetPairRow
from harness_leaderboard.records import EvaluationSetRecord, RunRecord, SetPair
from harness_leaderboard.rows import environment_id, evaluator_id
from harness_leaderboard.store import Store

HELP_AIM = 0.3
BOARD_AIMS = {10: 1.0, 100: 3.0}
COMPARE_AIM = 5.0
"""Seconds; those for the leaderboard by the number of runs. A comparison reads every pair of its runs."""


def fill(url: str, runs: int, scenes: int, listeners: int) -> None:
    """Store complete runs, of systems that differ little, with scores that differ by scene and by listener."""
    draw = np.random.default_rng(0)
    names = [
        (f"scene_{1 + s:05}", f"L{1 + who:04}", f"Track {s % 50:02}") for s in range(scenes) for who in range(listeners)
    ]
    pairs = [SetPair(*name, reference_sha256=hashlib.sha256(" ".join(name[:2]).encode()).hexdigest()) for name in names]
    base = draw.uniform(0.3, 0.7, scenes)[:, None] + draw.uniform(-0.2, 0.2, listeners)
    evaluation_set = EvaluationSetRecord("benchmark", "valid", "0" * 64, scenes, len(names))
    with Store.open(url, create=True) as store:
        for index in range(runs):
            run = record(index, system=f"system{index}", causal=bool(index % 2), parameters=1000 * index)
            run_id = store.start_run(run, evaluation_set, lock.fingerprint(), lock.lock(), pairs)
            scores = np.clip(base[..., None] + 0.005 * index + draw.normal(0, 0.05, (scenes, listeners, 2)), 0, 1)
            add_files_and_scores(store, run_id, scores.reshape(-1, 2))
        store.keep_summaries()


def record(index: int, **declared: Any) -> RunRecord:
    """The record of a run that declares little; `index` tells it from others."""
    usual: dict[str, Any] = {
        "version": "1",
        "settings": {"index": index},
        "training_data": "none",
        "licence": "none",
        "weights_sha256": "",
        "not_eligible": None,
        "reference": False,
        "submission": f"system{index}",
    }
    return RunRecord(key=f"{index:064x}", **{**usual, **declared})


def add_files_and_scores(store: Store, run_id: int, scores: "np.ndarray[Any, Any]") -> None:
    """Give each pair of a run a file and a locked score, in bulk: the store looks at what is there already.

    Args:
        scores: of the left and right ear, in the order of the pairs, [pairs, 2].
    """
    with store.transaction(write=True) as connection:
        environment = environment_id(connection, lock.environment())
        evaluator = evaluator_id(connection, lock.fingerprint())
        first = 1 + (connection.scalar(select(func.max(RemixRow.id))) or 0)
        pairs = connection.execute(
            select(SetPairRow.id, SetPairRow.reference_id, SetPairRow.scene, SetPairRow.listener, SetPairRow.track)
            .add_columns(ReferenceRow.sha256)
            .join(RunPairRow, RunPairRow.pair_id == SetPairRow.id)
            .join(ReferenceRow, SetPairRow.reference_id == ReferenceRow.id)
            .where(RunPairRow.run_id == run_id)
            .order_by(SetPairRow.id)
        ).all()
        made = [
            (id_, pair, hashlib.sha256(f"{id_}".encode()).hexdigest(), ears)
            for id_, (pair, ears) in enumerate(zip(pairs, scores.tolist(), strict=True), first)
        ]
        connection.execute(
            insert(RemixRow),
            [{"id": id_, "reference_id": pair.reference_id, "file_sha256": file} for id_, pair, file, _ in made],
        )
        environment_sha256 = connection.scalar(select(EnvironmentRow.sha256).where(EnvironmentRow.id == environment))
        at = "2024-01-31T12:00:00Z"
        connection.execute(
            insert(ScoreRow),
            [
                {
                    "remix_id": id_,
                    "evaluator_id": evaluator,
                    "engine": "locked",
                    "left_score": left,
                    "right_score": right,
                    "score": (left + right) / 2,
                    "environment_id": environment,
                    "scored_at": at,
                    "checksum": of_score(
                        *(pair.sha256, file, lock.fingerprint(), "locked"),
                        *(left, right, (left + right) / 2, environment_sha256, at, None),
                    ),
                }
                for id_, pair, file, (left, right) in made
            ],
        )
        connection.execute(
            update(RunPairRow)
            .where(RunPairRow.run_id == run_id, RunPairRow.pair_id == bindparam("of"))
            .values(state="enhanced", remix_id=bindparam("new_remix"), clipped=0, checksum=bindparam("new_checksum")),
            [
                {
                    "of": pair.id,
                    "new_remix": id_,
                    "new_checksum": of_pair(run_id, *pair[2:5], "enhanced", None, file, 0),
                }
                for id_, pair, file, _ in made
            ],
        )


def structure(path: Path) -> tuple[float, float]:
    """Seconds that SQLite takes to check a database, and the tables that a board is read from; the best of three."""

    def check(*pragmas: str) -> float:
        taken = []
        for _ in range(3):
            with closing(sqlite3.connect(path)) as connection:
                start = time.perf_counter()
                if any(connection.execute(f"PRAGMA {pragma}").fetchall() != [("ok",)] for pragma in pragmas):
                    raise SystemExit(f"{path} is damaged")
                taken.append(time.perf_counter() - start)
        return min(taken)

    return check("quick_check"), check(*(f"quick_check('{table}')" for table in READ_BY_BOARDS))


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
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[10, 100], help="runs in each database (default: one of 10, one of 100)"
    )
    parser.add_argument("--scenes", type=int, default=960, help="scenes of each run (default 960)")
    parser.add_argument("--listeners", type=int, default=20, help="listeners of each scene (default 20)")
    wanted = parser.parse_args()
    program = shutil.which("harness", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit(f"no program harness beside {sys.executable}: install the project there")

    with tempfile.TemporaryDirectory() as folder:
        commands: dict[str, Sequence[str]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "harness --help": [program, "--help"],
        }
        aims = {"harness --help": HELP_AIM}
        checks: dict[int, tuple[int, tuple[float, float]]] = {}
        for runs in wanted.runs:
            url = f"sqlite:///{folder}/{runs}.db"
            print(f"database: {runs} runs x {wanted.scenes * wanted.listeners:,} scores", flush=True)
            fill(url, runs, wanted.scenes, wanted.listeners)
            name = f"leaderboard, {runs} runs"
            commands[name] = [program, "leaderboard", "--db", url]
            if runs in BOARD_AIMS:
                aims[name] = BOARD_AIMS[runs]
            for compared in (count for count in (2, 6) if runs == min(wanted.runs) and count <= runs):
                name = f"compare, {compared} of {runs} runs"
                commands[name] = [program, "compare", *map(str, range(1, compared + 1)), "--db", url]
                if compared == 2:
                    aims[name] = COMPARE_AIM
            path = Path(folder) / f"{runs}.db"
            checks[runs] = path.stat().st_size, structure(path)
        for command in commands.values():  # reads files and compiles modules once
            seconds(command, os.environ)
        rounds = [
            {name: seconds(command, os.environ) for name, command in commands.items()} for _ in range(wanted.repeats)
        ]

    print(f"{wanted.repeats} rounds; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':24} {'median':>8} {'fastest':>8} {'aim':>7} {'x python':>9}")
    for name in commands:
        times = [taken[name] for taken in rounds]
        ratio = statistics.median(taken[name] / taken["python -c pass"] for taken in rounds)
        aim = f"{aims[name]:.1f} s" if name in aims else ""
        print(f"{name:24} {statistics.median(times):6.3f} s {min(times):6.3f} s {aim:>7} {ratio:9.1f}")
    for runs, (size, (whole, tables)) in checks.items():
        print(
            f"quick_check, {runs} runs, {size / 1e6:.0f} MB: {whole:.2f} s; "
            f"only what a board is read from: {tables:.4f} s"
        )


if __name__ == "__main__":
    main()
