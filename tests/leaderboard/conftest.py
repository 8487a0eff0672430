"""Small runs and stores for the tests of the leaderboard."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness_leaderboard.records import EvaluationSetRecord, PairScores, RunRecord, SceneSums, ScoredRun, SetPair
from harness_leaderboard.store import Store

FINGERPRINT = "f" * 64
PAIRS = [
    SetPair("S1", "L1", "track one", "1" * 64),
    SetPair("S1", "L2", "track one", "2" * 64),
    SetPair("S2", "L1", "track two", "3" * 64),
    SetPair("S2", "L2", "track two", "4" * 64),
]
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


@pytest.fixture
def run_record() -> RunRecord:
    """A system that may be ranked, with four pairs due."""
    return RUN


@pytest.fixture
def evaluation_set() -> EvaluationSetRecord:
    """Two scenes with two listeners each."""
    return EVALUATION_SET


@pytest.fixture
def url(tmp_path: Path) -> str:
    """URL of a database that is not there yet, and is not waited for long."""
    return f"sqlite:///{tmp_path / 'leaderboard.db'}?timeout=1"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty leaderboard, open for writing."""
    with Store.open(url, create=True) as opened:
        yield opened


@pytest.fixture
def start(store: Store) -> Callable[..., int]:
    """Start a run in `store`; keywords change what the system declares."""

    def start(**declared: Any) -> int:
        return store.start_run(replace(RUN, **declared), EVALUATION_SET, FINGERPRINT, {"pyclarity": "0.9.0"}, PAIRS)

    return start


@pytest.fixture
def scored_run() -> Callable[..., ScoredRun]:
    """Make a run from rows (scene, listener, track, left, right); keywords change what the system declares.

    Runs are numbered from 1.
    """
    numbers = count(1)

    def make(
        rows: list[tuple[str, str, str, float, float]],
        failed: int = 0,
        about: EvaluationSetRecord = EVALUATION_SET,
        fingerprint: str = FINGERPRINT,
        fast: int = 0,
        checked: int = 0,
        largest_difference: float | None = None,
        name: str | None = None,
        only_fast: int | None = None,
        shares: dict[int, int] | None = None,
        **declared: Any,
    ) -> ScoredRun:
        columns = list(zip(*[(*row, (row[3] + row[4]) / 2) for row in rows], strict=True)) or [()] * 6
        run = replace(RUN, **{"key": declared.get("system", "demucs"), **declared})
        last = "2024-01-31T12:00:00Z" if rows else None
        return ScoredRun(
            next(numbers),
            name,
            run,
            about,
            fingerprint,
            SceneSums.of(PairScores(*columns)),
            failed,
            last,
            fast,
            checked,
            largest_difference,
            fast - checked if only_fast is None else only_fast,
            shares or {},
            lambda: PairScores(*columns),
        )

    return make


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach: those of pytest are closed to others."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def without_privileges() -> Callable[[], Any]:
    """A context in which root, for whom nothing is read-only, is somebody else."""

    @contextmanager
    def drop() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop
