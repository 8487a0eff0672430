"""The migrations lead to the models, and a database is changed as a whole or not at all."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import StaticPool
from stored import add, mark, on_sqlite

import harness_leaderboard
from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.migrations import REVISIONS
from harness_leaderboard.models import Base
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.records import ScoreRecord
from harness_leaderboard.store import Store

NEXT_STEP = '''"""Another step."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.create_table("extra", sa.Column("id", sa.Integer(), primary_key=True))
    {then}
'''

OPEN = """
import sys
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.store import Store
try:
    with Store.open(sys.argv[1], create=sys.argv[2] == "write") as store:
        print(len(store.runs()), "runs")
except (LeaderboardError, ValueError) as error:
    print(error)
"""


def test_migrated_database_is_that_of_the_models(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_check_constraints_are_those_of_the_models(store: Store, request: pytest.FixtureRequest) -> None:
    # Alembic compares everything but these.
    direct = create_engine("sqlite://", poolclass=StaticPool)
    if store.path is None:
        direct = create_engine(store.engine.url, connect_args={"options": "-c search_path=directly"})
        with store.engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA directly")
    request.addfinalizer(direct.dispose)
    Base.metadata.create_all(direct)
    migrated, modelled = inspect(store.engine), inspect(direct)

    def checks(inspector: object, table: str) -> dict[str, str]:
        found = inspector.get_check_constraints(table)  # type: ignore[attr-defined]
        named = {check["name"]: check["sqltext"] for check in found}
        assert len(named) == len(found)
        return named

    for table in Base.metadata.tables:
        assert checks(migrated, table) == checks(modelled, table)
    assert checks(migrated, "scores").keys() == {
        "ck_scores_left_score",
        "ck_scores_right_score",
        "ck_scores_score",
        "ck_scores_mean",
        "ck_scores_engine",
        "ck_scores_margin",
    }


def test_revisions_are_those_of_the_files(store: Store) -> None:
    with store.engine.connect() as connection:
        script = ScriptDirectory.from_config(alembic_config(connection))
    assert tuple(step.revision for step in reversed(list(script.walk_revisions()))) == REVISIONS


def with_another_step(folder: Path, then: str) -> Path:
    """A copy of the package that has one more migration."""
    package = folder / "newer" / "harness_leaderboard"
    shutil.copytree(Path(harness_leaderboard.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    step = NEXT_STEP.format(newest=REVISIONS[-1], then=then)
    (package / "migrations" / "versions" / "9999_another.py").write_text(step)
    listed = (package / "migrations" / "__init__.py").read_text()
    (package / "migrations" / "__init__.py").write_text(f'{listed}\nREVISIONS = (*REVISIONS, "9999")\n')
    return package.parent


OF_REVISION_0001 = [
    "INSERT INTO evaluation_sets VALUES (1, 'demo', 'valid', 'e', 2, 4)",
    "INSERT INTO evaluators VALUES ('f', '{}')",
    "INSERT INTO environments VALUES (1, '0', '{\"python\": \"3.11\"}')",
    "INSERT INTO runs VALUES (1, 'a', 1, 'f', 'demucs', '4', '{}', 0, 7, 'official', 'MIT', 'd', NULL, 0, 'demucs', 4,"
    " '2024-01-31T12:00:00Z', '2024-01-31T12:00:00Z')",
    "INSERT INTO pairs VALUES (3, 1, 'S1', 'L1', 'one', 'scored', NULL, '1', 0)",
    "INSERT INTO pairs VALUES (5, 1, 'S1', 'L2', 'one', 'failed', 'it raised', NULL, NULL)",
    "INSERT INTO pairs VALUES (6, 1, 'S2', 'L1', 'two', 'pending', NULL, NULL, NULL)",
    "INSERT INTO pairs VALUES (8, 1, 'S2', 'L2', 'two', 'scored', NULL, '2', NULL)",
    "INSERT INTO scores VALUES (8, 0.1, 0.30000000000000004, 0.2, 'f', 1, '2024-01-31T12:00:01Z')",
    "INSERT INTO scores VALUES (3, 0.5, 0.75, 0.625, 'f', 1, '2024-01-31T12:00:02Z')",
]
"""A run with two scores, as revision 0001 stored them."""


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """URL of a database that revision 0001 made."""
    path = tmp_path / "old.db"
    engine = sqlite_engine(path, create=True, timeout=1)
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        for statement in OF_REVISION_0001:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return f"sqlite:///{path}"


def test_scores_from_before_there_were_engines_are_the_locked_ones(old_url: str) -> None:
    with pytest.raises(LeaderboardError, match="older version: harness run or harness score brings it up to date"):
        Store.open(old_url, create=False)
    with Store.open(old_url, create=True) as store:
        found = store.find_run(1)
        (environment,) = store.environments()
    assert {pair: (record.state, record.reason) for pair, record in found.pairs.items()} == {
        ("S1", "L1"): ("scored", None),
        ("S1", "L2"): ("failed", "it raised"),
        ("S2", "L1"): ("pending", None),
        ("S2", "L2"): ("scored", None),
    }
    assert found.pairs["S1", "L1"].locked == ScoreRecord(
        "locked", 0.5, 0.75, 0.625, "2024-01-31T12:00:02Z", environment
    )
    assert found.pairs["S2", "L2"].locked == ScoreRecord(
        "locked", 0.1, 0.30000000000000004, 0.2, "2024-01-31T12:00:01Z", environment
    )
    assert [pair.fast for pair in found.pairs.values()] == [None] * 4
    with Store.open(old_url, create=False) as store:
        (scored,) = store.runs()
    assert scored.last_scored == "2024-01-31T12:00:02Z"
    assert (scored.scored, scored.failed, scored.fast, scored.checked) == (2, 1, 0, 0)


def test_a_migrated_database_holds_what_it_held_together(old_url: str) -> None:
    later = (
        "INSERT INTO scores (remix_id, evaluator_id, left_score, right_score, score, environment_id, scored_at)"
        " VALUES (1, 1, 0.5, 0.5, 0.5, 1, '2024-01-31T12:00:00Z')"
    )
    with Store.open(old_url, create=True) as store, store.engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
        assert {name for name in inspect(connection).get_table_names() if name != "alembic_version"} == set(
            Base.metadata.tables
        )
        # Only the rows that were there are given an engine.
        with pytest.raises(IntegrityError, match=r"NOT NULL.*engine"):
            connection.exec_driver_sql(later)
        with pytest.raises(IntegrityError, match="ck_scores_mean"):
            connection.exec_driver_sql("UPDATE scores SET left_score = 0.6")
        with pytest.raises(IntegrityError, match="FOREIGN KEY"):
            connection.exec_driver_sql("DELETE FROM runs")


def run(code: str, where: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_older_database_is_upgraded_by_writing_only(url: str, start: object, tmp_path: Path) -> None:
    start()  # type: ignore[operator]
    newer = with_another_step(tmp_path, "pass")
    assert "older version: harness run or harness score brings it up to date" in run(OPEN, newer, url, "read")
    assert run(OPEN, newer, url, "write") == "1 runs\n"
    assert run(OPEN, newer, url, "read") == "1 runs\n"


@on_sqlite
def test_replacing_a_table_keeps_what_refers_to_it(url: str, store: Store, start: object, tmp_path: Path) -> None:
    run_id = start()  # type: ignore[operator]
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.5, 0.5)
    replaced = """with op.batch_alter_table("runs", recreate="always") as batch:
        batch.add_column(sa.Column("note", sa.String(), nullable=True))"""
    assert run(OPEN, with_another_step(tmp_path, replaced), url, "write") == "1 runs\n"
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT note FROM runs").all() == [(None,)]
        assert connection.exec_driver_sql("SELECT count(*) FROM run_pairs").scalar() == 4
        assert connection.exec_driver_sql("SELECT count(*) FROM scores").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_an_upgrade_that_fails_changes_nothing(url: str, start: object, tmp_path: Path) -> None:
    start()  # type: ignore[operator]
    newer = with_another_step(tmp_path, 'raise ValueError("half-way")')
    assert run(OPEN, newer, url, "write") == "half-way\n"
    with Store.open(url, create=False) as store:
        assert "extra" not in inspect(store.engine).get_table_names()
        assert len(store.runs()) == 1


def test_a_new_step_can_be_generated(store: Store, tmp_path: Path) -> None:
    newer = with_another_step(tmp_path, "pass")
    # The recipe of harness_leaderboard/migrations/__init__.py.
    code = """
import sys
from alembic import command
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.store import Store
with Store.open(sys.argv[1], create=True) as store, store.engine.begin() as connection:
    config = alembic_config(connection)
    command.revision(config, "what changes", autogenerate=True, rev_id="99999")
"""
    run(code, newer, f"sqlite:///{tmp_path / 'scratch.db'}")
    (made,) = (newer / "harness_leaderboard" / "migrations" / "versions").glob("99999_*.py")
    compile(made.read_text(), made.name, "exec")
    assert 'drop_table("extra")' in made.read_text().replace("'", '"')
