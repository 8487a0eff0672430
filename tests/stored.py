"""What the tests of the leaderboard store: a small evaluation set, a system, and short ways to name things."""

import hashlib
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from harness_leaderboard.facts import stored_scores
from harness_leaderboard.models import RemixRow, ScoreRow
from harness_leaderboard.records import (
    Causality,
    Engine,
    EnhancedFile,
    EvaluationSetRecord,
    Load,
    NewScore,
    PairRecord,
    RunRecord,
    SetPair,
)
from harness_leaderboard.store import Store

FINGERPRINT = "f" * 64
FILE, OTHER_FILE = "1" * 64, "2" * 64


def reference(scene: str, listener: str) -> str:
    """Hash that stands for what a remix of a scene for a listener is held against."""
    return hashlib.sha256(f"{scene} {listener}".encode()).hexdigest()


def set_pairs(names: Iterable[tuple[str, str, str]]) -> list[SetPair]:
    """Pairs of (scene, listener, track)."""
    return [SetPair(scene, listener, track, reference(scene, listener)) for scene, listener, track in names]


PAIRS = set_pairs(
    [("S1", "L1", "track one"), ("S1", "L2", "track one"), ("S2", "L1", "track two"), ("S2", "L2", "track two")]
)
EVALUATION_SET = EvaluationSetRecord(name="demo", split="valid", sha256="e" * 64, scenes=2, pairs=4)
RUN = RunRecord(
    key="a" * 64,
    system="demucs",
    version="4.0.1",
    settings={"overlap": 0.25},
    causal=False,
    parameters=83_900_000,
    training_data="official",
    licence="MIT",
    weights_sha256="d" * 64,
    not_eligible=None,
    reference=False,
    submission="demucs",
)

MEASURED = Causality(
    basis="measured",
    verdict="causal",
    reason="nothing before the cuts changed",
    look_ahead=212,
    whole_piece=False,
    delay=0,
    through=212,
    cuts=16,
    evidence={"levels": {"-40": 70, "-100": 212, "-140": 219, "-60": None}, "noise_db": None},
)
WHOLE_PIECE = Causality(
    basis="measured",
    verdict="not causal",
    reason="declared causal, but the output depends on the whole piece, through a gain of -1.0 dB",
    look_ahead=None,
    whole_piece=True,
    delay=0,
    through=None,
    cuts=1,
)
STREAMED = Causality(
    basis="streamed",
    verdict="causal",
    reason="streamed in blocks of 110 samples",
    look_ahead=219,
    whole_piece=False,
    delay=110,
    through=329,
    cuts=2,
)
LOAD = Load(110, 3210, 0.2, 0.44, 0.59, 0, 0.21, 2.05, 3.65, 99, "A Processor")


def add(
    store: Store,
    scene: str,
    listener: str,
    left: float,
    right: float,
    engine: Engine = "locked",
    file: str = FILE,
    replaces: bool = False,
    fingerprint: str = FINGERPRINT,
    environment: Mapping[str, Any] | None = None,
    stems: Mapping[str, float] | None = None,
) -> None:
    """Store one score."""
    score = NewScore(file, reference(scene, listener), engine, left, right, replaces, stems)
    store.add_scores([score], fingerprint, {engine: environment if environment is not None else {"numpy": "2.0"}})


def entered(store: Store) -> int:
    """Number of the run of `RUN`, which is entered if it was not."""
    return store.start_run(RUN, EVALUATION_SET, FINGERPRINT, {}, PAIRS)


def mark(store: Store, run_id: int, scene: str, listener: str, file: str = FILE, clipped: int | None = 0) -> None:
    """Say that one file is there."""
    store.mark_all_enhanced(run_id, [EnhancedFile(scene, listener, file, clipped)])


def give_score(store: Store, run_id: int, left: float = 0.1, right: float = 0.2) -> None:
    """Give a run a file with a score."""
    mark(store, run_id, "S1", "L1", clipped=7)
    add(store, "S1", "L1", left, right)


def pair_of(store: Store, run_id: int, scene: str = "S1", listener: str = "L1") -> PairRecord:
    """What a run has of a pair."""
    return store.find_run(run_id).pairs[scene, listener]


def seal_scores(store: Store) -> None:
    """Give all scores the checksums of what they say: a test's own become the harness's."""
    with store.transaction(write=True) as connection:
        remixes = list(connection.scalars(select(RemixRow.id)))
        for key, score in stored_scores(connection, remixes).items():
            row = (ScoreRow.remix_id == key[0]) & (ScoreRow.evaluator_id == key[1]) & (ScoreRow.engine == key[2])
            connection.execute(update(ScoreRow).where(row).values(checksum=score.checksum()))


def count(store: Store, table: str) -> int:
    """Number of rows."""
    with store.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def by_hand(store: Store, *statements: str) -> None:
    """Change a database as people do who have a program for it. SQLite then does not mind what refers to what."""
    if store.path is None:
        with store.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(_in_postgresql(statement))
        return
    with closing(sqlite3.connect(store.path)) as opened, opened:
        for statement in statements:
            opened.execute(statement)


def _in_postgresql(statement: str) -> str:
    """A statement in SQLite's words, in PostgreSQL's."""
    if statement.startswith("PRAGMA"):
        return "SELECT 1"
    statement = re.sub(r"DROP TRIGGER ((\w+)_\w+)", r"DROP TRIGGER \1 ON \2", statement)
    return re.sub(r"(\w+) = replace\(\w+, (.*)\)", r"\1 = CAST(replace(CAST(\1 AS TEXT), \2) AS JSON)", statement)


on_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
"""For a test of what only SQLite files have."""

on_postgresql = pytest.mark.parametrize("kind", ["postgresql"])
"""For a test of what only servers have."""


SLOWLY = """
import sys, time
from sqlalchemy import Connection
from harness_leaderboard.store import Store
execute = Connection.execute
def slowly(self, statement, *more, **options):
    found = execute(self, statement, *more, **options)
    if str(statement).startswith(sys.argv[2]):
        print("there", flush=True)
        time.sleep(60)
    return found
Connection.execute = slowly
Store.open(sys.argv[1], create=True)
"""
"""Opens a database to write to; says when it has come to a statement, and dawdles there."""


def kill_while_migrating(path: Path, url: str, statements: Iterable[str]) -> None:
    """Kill a process that migrates an SQLite database, after each of these statements: nothing may have changed."""

    def content() -> list[str]:
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return list(connection.iterdump())

    before = content()
    for at in statements:
        with subprocess.Popen([sys.executable, "-c", SLOWLY, url, at], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            process.send_signal(signal.SIGKILL)
        assert content() == before
