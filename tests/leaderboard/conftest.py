"""Small runs and stores for the tests of the leaderboard."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import services.postgresql
from services.postgresql import PostgreSQL, running_postgresql
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN

from harness_leaderboard.records import EvaluationSetRecord, PairScores, RunRecord, SceneSums, ScoredRun
from harness_leaderboard.store import Store


@pytest.fixture
def run_record() -> RunRecord:
    """A system that may be ranked."""
    return RUN


@pytest.fixture
def evaluation_set() -> EvaluationSetRecord:
    """Two scenes with two listeners each."""
    return EVALUATION_SET


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A server with a database `template_leaderboard`, which is an empty leaderboard."""
    if why := services.postgresql.missing():
        pytest.skip(why)
    with running_postgresql() as server:
        server.execute("CREATE DATABASE template_leaderboard OWNER harness TEMPLATE template0")
        Store.open(server.url("template_leaderboard"), create=True).close()
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database is used: both in turn, but for tests that are `on_sqlite` or `on_postgresql`."""
    return str(request.param)


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """`new_url(template="template0")`: the URL of a database that is not there yet, or is empty."""
    numbers = count()
    with ExitStack() as databases:

        def make(template: str = "template0") -> str:
            if kind == "sqlite":
                return f"sqlite:///{tmp_path / f'leaderboard{next(numbers) or str()}.db'}"
            server: PostgreSQL = request.getfixturevalue("postgresql")
            return server.url(databases.enter_context(server.database(template)))

        yield make


@pytest.fixture
def url(new_url: Callable[..., str], request: pytest.FixtureRequest) -> str:
    """URL of a database that is not waited for long. It is not there yet or empty, or that of `store` in such tests."""
    # Making tables takes longer than copying them.
    return new_url("template_leaderboard" if "store" in request.fixturenames else "template0") + "?timeout=1"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty leaderboard, open for writing."""
    with Store.open(url, create=True) as opened:
        yield opened


@pytest.fixture
def start(store: Store) -> Callable[..., int]:
    """Start a run in `store`; keywords change what the system declares, `run_id` which run it is."""

    def start(fingerprint: str = FINGERPRINT, run_id: int | None = None, why: str = "", **declared: Any) -> int:
        run, details = replace(RUN, **declared), {"pyclarity": "0.9.0"}
        return store.start_run(run, EVALUATION_SET, fingerprint, details, PAIRS, run_id=run_id, why=why)

    return start


@pytest.fixture
def scored_run() -> Callable[..., ScoredRun]:
    """Make a run from rows (scene, listener, track, left, right); keywords change what the system declares.

    With the scores of `stems`, a column for each, it is one of the first challenge.

    Runs are numbered from 1. Unless `only_fast` says otherwise, fast scores are all that their pairs have. Two of their
    parts were checked by double precision, unless `checked_in_double` says otherwise.
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
        shares: Mapping[int, int] | None = None,
        stems: Mapping[str, tuple[float, ...]] | None = None,
        in_double: int = 0,
        checked_in_double: int | None = None,
        **declared: Any,
    ) -> ScoredRun:
        columns = list(zip(*[(*row, (row[3] + row[4]) / 2) for row in rows], strict=True)) or [()] * 6
        scores = PairScores(*columns, stems=stems or {})
        return ScoredRun(
            id=next(numbers),
            name=name,
            run=replace(RUN, **{"key": declared.get("system", "demucs"), **declared}),
            evaluation_set=about,
            fingerprint=fingerprint,
            sums=SceneSums.of(scores),
            failed=failed,
            last_scored="2024-01-31T12:00:00Z" if rows else None,
            fast=fast,
            checked=checked,
            largest_difference=largest_difference,
            only_fast=fast if only_fast is None else only_fast,
            shares=shares or {},
            load_scores=lambda: scores,
            protocol="cad1" if stems else "",
            parts=(parts := fast * (len(stems) if stems else 2)),
            in_single=parts - in_double,
            in_double=in_double,
            checked_in_double=min(2, parts) if checked_in_double is None else checked_in_double,
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
