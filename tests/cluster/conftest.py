"""Shared by the tests on clusters: a Slurm of two nodes, a PostgreSQL, and a folder in which commands are run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from services import postgresql as postgresql_here
from services import slurm as slurm_here
from services.postgresql import PostgreSQL, running_postgresql
from services.slurm import Slurm, running_slurm
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool
from support import SPLIT, Outcome, TinySet, listeners_as_json, run_app, write_tiny_set

PATIENCE = 300
SCENES, LISTENERS = 6, 2

CONFIGURATION = {"jobs": 2, "cores": 1, "walltime": "00:10:00", "interface": "lo", "folder": "jobs"}

Row = tuple[str, str, str, float, float]
"""Scene, listener, engine, and the scores of both ears."""


def write_set(root: Path) -> None:
    """An evaluation set with a piece of 0.7 s of music for each of 6 scenes, and 2 listeners."""
    write_tiny_set(root)
    tiny = TinySet(root)
    first, second = "scene_V001", "scene_V002"
    more = [f"scene_V{number:03}" for number in range(3, SCENES + 1)]
    source = tiny.music(scene=second).parent
    for number, scene in enumerate(more, 1):
        source.with_name(scene).mkdir()
        for path in source.iterdir():
            signal, rate = soundfile.read(path, dtype="int16")
            soundfile.write(source.with_name(scene) / path.name, np.roll(signal, 1000 * number, axis=0), rate)
    tiny.edit("musdb18", lambda tracks: tracks + [{"Track Name": scene, "Split": SPLIT} for scene in more])
    tiny.edit("scenes", lambda scenes: scenes | {scene: scenes[second] | {"music": scene} for scene in more})
    # Their left ears differ by 1 dB.
    (listener, *_) = listeners_as_json().values()
    who = {
        f"L{number}": listener
        | {"name": f"L{number}", "audiogram_levels_l": [level + number for level in listener["audiogram_levels_l"]]}
        for number in range(LISTENERS)
    }
    tiny.metadata("listeners").write_text(json.dumps(who))
    tiny.metadata("scene_listeners").write_text(json.dumps({scene: list(who) for scene in (first, second, *more)}))


@dataclass(frozen=True)
class Work:
    """A folder with an evaluation set (`set`), a submission for it (`made`) and a configuration (`slurm.yaml`).

    Attributes:
        folder: where commands are run.
        slurm: the Slurm that they find.
        db: the leaderboard that they use unless told otherwise.
        password: of that, in the variable PGPASSWORD.
    """

    folder: Path
    slurm: Slurm
    db: str
    password: str

    @property
    def pairs(self) -> int:
        return SCENES * LISTENERS

    @property
    def environment(self) -> dict[str, str]:
        """Variables of commands and jobs: this Python's programs come first."""
        found = {**os.environ, **self.slurm.environment, "HARNESS_DB": self.db, "PGPASSWORD": self.password}
        # What the other tests are run with must not reach workers.
        for name in [name for name in found if name.startswith(("PYTHON", "DASK_", "COV_"))]:
            del found[name]
        found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found["PATH"]])
        return found

    def configure(self, **different: object) -> None:
        """Write the configuration, `CONFIGURATION` but for what is different."""
        (self.folder / "slurm.yaml").write_text(yaml.safe_dump({**CONFIGURATION, **different}))

    def start(self, *arguments: object, **variables: str) -> "subprocess.Popen[bytes]":
        """Start `harness ARGUMENTS`, as a program; what it says goes into files."""
        with (self.folder / "stdout").open("wb") as stdout, (self.folder / "stderr").open("wb") as stderr:
            return subprocess.Popen(
                ["harness", *map(str, arguments)],
                cwd=self.folder,
                env={**self.environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    @property
    def said(self) -> str:
        """What the last command has said so far, on standard error."""
        return (self.folder / "stderr").read_text()

    def finish(self, process: "subprocess.Popen[bytes]") -> Outcome:
        """Wait for a command."""
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(self.said) from None
        return Outcome(process.returncode, (self.folder / "stdout").read_text(), self.said)

    def harness(self, *arguments: object, **variables: str) -> Outcome:
        """Run `harness ARGUMENTS`."""
        return self.finish(self.start(*arguments, **variables))

    def until(self, condition: Callable[[], object], process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Wait until something is the case, while a command runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if process is not None:
                assert process.poll() is None, self.said
            if time.monotonic() > deadline:
                if process is not None:
                    process.kill()
                raise AssertionError(self.said)
            time.sleep(0.1)

    def expected(self, engine: str) -> list[Row]:
        """What an engine gives the submission on this machine, without a cluster."""
        return [row for row in self.scores(f"sqlite:///{self.folder}/{engine}.db") if row[2] == engine]

    def scores(self, db: str = "") -> list[Row]:
        """What a leaderboard holds, in order; nothing where it is not there yet."""
        return self._rows(SCORES, db)

    def provenance(self, engine: str, db: str = "") -> list[tuple[Any, ...]]:
        """Evaluators and environments of an engine's scores."""
        return self._rows(PROVENANCE.format(engine=engine), db)

    def _rows(self, statement: str, db: str) -> list[tuple[Any, ...]]:
        url = make_url(db or self.db)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg", password=self.password)
        engine = create_engine(url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                rows = connection.execute(text(statement)).all()
        except Exception as error:
            if any(said in str(error) for said in ("no such table", "unable to open", "does not exist")):
                return []
            raise
        return [tuple(row) for row in rows]


SCORES = """
SELECT scene, listener, engine, left_score, right_score
FROM run_pairs JOIN set_pairs ON set_pairs.id = pair_id JOIN scores ON scores.remix_id = run_pairs.remix_id
ORDER BY scene, listener, engine
"""

PROVENANCE = """
SELECT DISTINCT fingerprint, environments.sha256
FROM scores JOIN evaluators ON evaluators.id = evaluator_id JOIN environments ON environments.id = environment_id
WHERE engine = '{engine}'
"""


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    if why := slurm_here.missing():
        pytest.skip(why)
    with running_slurm(2) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_jobs_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """One test's jobs do not take the nodes from the next."""
    yield
    if "slurm" in request.fixturenames:
        request.getfixturevalue("slurm").cancel_all()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    if why := postgresql_here.missing():
        pytest.skip(why)
    with running_postgresql() as running:
        yield running


@pytest.fixture
def db(postgresql: PostgreSQL) -> Iterator[str]:
    """The URL of a new database, as people write it, but for its password: that is not in any argument."""
    with postgresql.database() as name:
        yield postgresql.url(name).replace(f":{postgresql.password}@", "@")


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the evaluation set, a submission for it, and the leaderboards of both engines (`fast.db`)."""
    folder = tmp_path_factory.mktemp("cluster")
    write_set(folder / "set")
    made = run_app("enhance", "--system", "passthrough", "--data", folder / "set", "--output", folder / "made")
    assert made.code == 0, made.stderr
    for engine in ("fast", "locked"):
        options = ("--data", folder / "set", "--engine", engine, "--workers", "2", "--db", folder / f"{engine}.db")
        scored = run_app("score", folder / "made", *options)
        assert scored.code == 0, scored.stderr
    return folder


@pytest.fixture
def work(slurm: Slurm, postgresql: PostgreSQL, _made: Path, tmp_path: Path, db: str) -> Work:
    found = Work(shutil.copytree(_made, tmp_path / "work"), slurm, db, postgresql.password)
    found.configure()
    return found
