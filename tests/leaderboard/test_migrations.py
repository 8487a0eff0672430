"""The migrations lead to the models, and a database is changed as a whole or not at all."""

import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import IntegrityError

import harness_leaderboard
from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.migrations import REVISIONS
from harness_leaderboard.models import Base
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, RunRecord, SetPair
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


def test_check_constraints_are_those_of_the_models(store: Store, tmp_path: Path) -> None:
    # Alembic compares everything but these.
    direct = create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
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
    }
    direct.dispose()


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


RUN_VALUES = "'demucs', '4', '{}', 0, 7, 'official', 'MIT', 'd', NULL, 0, 'demucs', 4, '2024-01-31T12:00:00Z'"
OF_REVISION_0001 = [
    "INSERT INTO evaluation_sets VALUES (1, 'demo', 'valid', 'e', 2, 4)",
    "INSERT INTO evaluators VALUES ('f', '{}')",
    "INSERT INTO environments VALUES (1, '0', '{\"python\": \"3.11\"}')",
    f"INSERT INTO runs VALUES (1, 'a', 1, 'f', {RUN_VALUES}, '2024-01-31T12:00:00Z')",
    "INSERT INTO pairs VALUES (3, 1, 'S1', 'L1', 'one', 'scored', NULL, '1', 0)",
    "INSERT INTO pairs VALUES (5, 1, 'S1', 'L2', 'one', 'failed', 'it raised', NULL, NULL)",
    "INSERT INTO pairs VALUES (6, 1, 'S2', 'L1', 'two', 'pending', NULL, NULL, NULL)",
    "INSERT INTO pairs VALUES (8, 1, 'S2', 'L2', 'two', 'scored', NULL, '2', NULL)",
    "INSERT INTO scores VALUES (8, 0.1, 0.30000000000000004, 0.2, 'f', 1, '2024-01-31T12:00:01Z')",
    "INSERT INTO scores VALUES (3, 0.5, 0.75, 0.625, 'f', 1, '2024-01-31T12:00:02Z')",
]
"""A run with two scores, as revision 0001 stored them."""

OF_REVISION_0002 = [
    "INSERT INTO evaluators VALUES ('g', '{}')",
    # The same run under a later evaluator, with another version declared, and one file that it has not scored yet.
    f"INSERT INTO runs VALUES (2, 'a', 1, 'g', {RUN_VALUES.replace(chr(39) + '4' + chr(39), chr(39) + '5' + chr(39))},"
    " '2024-02-01T12:00:00Z')",
    "INSERT INTO pairs VALUES (11, 2, 'S1', 'L1', 'one', 'scored', NULL, '1', 0)",
    "INSERT INTO pairs VALUES (12, 2, 'S1', 'L2', 'one', 'enhanced', NULL, '9', 3)",
    "INSERT INTO scores VALUES (11, 0.25, 0.25, 0.25, 'g', 1, '2024-02-01T12:00:00Z', 'locked', NULL, NULL)",
    # Another system: fast scores, one of them checked, of a file that the first run has too.
    f"INSERT INTO runs VALUES (3, 'b', 1, 'f', {RUN_VALUES}, '2024-01-31T12:00:00Z')",
    "INSERT INTO pairs VALUES (21, 3, 'S1', 'L1', 'one', 'scored', NULL, '3', 0)",
    "INSERT INTO pairs VALUES (22, 3, 'S2', 'L2', 'two', 'scored', NULL, '2', 0)",
    "INSERT INTO scores VALUES (21, 0.1, 0.3, 0.2, 'f', 1, '2024-03-01T12:00:00Z', 'fast', 0.1000000001, 0.3)",
    "INSERT INTO scores VALUES (22, 0.1000000002, 0.3, 0.2000000001, 'f', 1, '2024-03-01T12:00:00Z', 'fast', NULL,"
    " NULL)",
]
"""What revision 0002 may have stored beside that."""


def old_database(path: Path, revision: str, statements: list[str]) -> str:
    """Make a database as a revision made it; returns its URL."""
    engine = sqlite_engine(path, create=True, timeout=1)
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        for statement in OF_REVISION_0001:
            connection.exec_driver_sql(statement)
        command.upgrade(alembic_config(connection), revision)
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture
def old_url(tmp_path: Path) -> str:
    """URL of a database that revision 0001 made."""
    return old_database(tmp_path / "old.db", "0001", [])


def facts(store: Store) -> set[tuple[object, ...]]:
    """Every score with all that it is a fact about."""
    with store.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT r.sha256, m.file_sha256, v.fingerprint, s.engine, s.left_score, s.right_score, s.score, s.scored_at"
            " FROM scores s JOIN remixes m ON m.id = s.remix_id JOIN reference_signals r ON r.id = m.reference_id"
            " JOIN evaluators v ON v.id = s.evaluator_id"
        )
        return {tuple(row) for row in rows}


def test_scores_from_before_there_were_engines_are_the_locked_ones(old_url: str) -> None:
    with pytest.raises(LeaderboardError, match="older version: harness run or harness score brings it up to date"):
        Store.open(old_url, create=False)
    with Store.open(old_url, create=True) as store:
        found = store.find_run(1)
    assert {pair: (record.state, record.reason) for pair, record in found.pairs.items()} == {
        ("S1", "L1"): ("scored", None),
        ("S1", "L2"): ("failed", "it raised"),
        ("S2", "L1"): ("pending", None),
        ("S2", "L2"): ("scored", None),
    }
    score = found.pairs["S2", "L2"].locked
    assert score is not None
    assert (score.left, score.right, score.score) == (0.1, 0.30000000000000004, 0.2)
    assert (score.engine, score.scored_at) == ("locked", "2024-01-31T12:00:01Z")
    with Store.open(old_url, create=False) as store:
        (scored,) = store.runs()
        assert scored.last_scored == "2024-01-31T12:00:02Z"
        assert (len(scored.scores.score), scored.failed, scored.fast, scored.checked) == (2, 1, 0, 0)


def test_every_score_of_the_second_revision_is_kept(tmp_path: Path) -> None:
    url = old_database(tmp_path / "old.db", "0002", OF_REVISION_0002)
    first = "2024-01-31T12:00:0"
    with Store.open(url, create=True) as store:
        assert facts(store) == {
            ("unresolved:e S1 L1", "1", "f", "locked", 0.5, 0.75, 0.625, f"{first}2Z"),
            ("unresolved:e S2 L2", "2", "f", "locked", 0.1, 0.30000000000000004, 0.2, f"{first}1Z"),
            ("unresolved:e S1 L1", "1", "g", "locked", 0.25, 0.25, 0.25, "2024-02-01T12:00:00Z"),
            ("unresolved:e S1 L1", "3", "f", "fast", 0.1, 0.3, 0.2, "2024-03-01T12:00:00Z"),
            ("unresolved:e S1 L1", "3", "f", "locked", 0.1000000001, 0.3, 0.20000000005, "2024-03-01T12:00:00Z"),
            ("unresolved:e S2 L2", "2", "f", "fast", 0.1000000002, 0.3, 0.2000000001, "2024-03-01T12:00:00Z"),
        }
        # One run declares what the latest of both evaluators' declared; each evaluator's scores stand on its board.
        assert {(status.id, status.run.key, status.run.version) for status in store.statuses()} == {
            (2, "a", "5"),
            (3, "b", "4"),
        }
        runs = {(run.run.key, run.fingerprint): run for run in store.runs()}
        assert runs["a", "f"].scores.score == (0.625,)
        assert runs["a", "g"].scores.score == (0.25,)
        assert (runs["b", "f"].fast, runs["b", "f"].checked, runs["b", "f"].only_fast) == (2, 2, 0)
        pairs = store.find_run(2).pairs
        assert (pairs["S1", "L2"].file_sha256, pairs["S1", "L2"].clipped) == ("9", 3)
        assert pairs["S2", "L1"].state == "pending"
        with store.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]


def test_references_become_known_when_their_set_is_seen_again(tmp_path: Path) -> None:
    url = old_database(tmp_path / "old.db", "0002", OF_REVISION_0002)
    about = EvaluationSetRecord("demo", "valid", "e", 2, 4)
    names = [("S1", "L1"), ("S1", "L2"), ("S2", "L1"), ("S2", "L2")]
    pairs = [SetPair(*name, "track", f"true {' '.join(name)}") for name in names]
    other = EvaluationSetRecord("a part", "valid", "0", 1, 1)
    run = RunRecord("c", "s", "1", {}, True, 0, "none", "none", "", None, False, "s")
    with Store.open(url, create=True) as store:
        # Another set, seen first, has scored a file of the same scene already.
        early = store.start_run(run, other, "f", {}, [pairs[0]])
        store.mark_all_enhanced(
            early,
            [
                EnhancedFile("S1", "L1", "1", 0),
            ],
        )
        store.add_scores([NewScore("1", "true S1 L1", "fast", 0.5, 0.75)], "f", {"fast": {"python": "3.11"}})
        before = facts(store)
        store.start_run(run, about, "f", {}, pairs)
        after = facts(store)
        assert len(after) == len(before) == 7
        assert {row[0] for row in after} == {"true S1 L1", "true S2 L2"}
        assert {row[1:] for row in after} == {row[1:] for row in before}
        # The old scores are found for the other set too.
        assert store.find_run(early, "f").pairs["S1", "L1"].locked is not None
        kept = [run.sums for run in store.runs()]
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM summaries")
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert [run.sums for run in store.runs()] == kept


def test_a_migration_killed_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    scenes = range(3000)
    many = [
        statement
        for scene in scenes
        for statement in (
            f"INSERT INTO pairs VALUES ({100 + scene}, 3, 'T{scene}', 'L1', 'one', 'scored', NULL, '7', 0)",
            f"INSERT INTO scores VALUES ({100 + scene}, 0.5, 0.5, 0.5, 'f', 1, '2024', 'locked', NULL, NULL)",
        )
    ]
    url = old_database(path, "0002", [*OF_REVISION_0002, *many])
    before = sorted(sqlite3.connect(path).iterdump())
    killed = 0
    for milliseconds in (900, 1000, 1100, 1200, 1300):
        opening = subprocess.Popen([sys.executable, "-c", OPEN, url, "write"], stdout=subprocess.DEVNULL)
        time.sleep(milliseconds / 1000)
        opening.kill()
        opening.wait()
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",):
                killed += 1
                assert sorted(connection.iterdump()) == before
    with Store.open(url, create=True) as store:
        assert len(facts(store)) == 6 + len(scenes)


def test_a_migrated_database_holds_what_it_held_together(old_url: str) -> None:
    with Store.open(old_url, create=True) as store, store.engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
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


def test_replacing_a_table_keeps_what_refers_to_it(url: str, store: Store, start: object, tmp_path: Path) -> None:
    run_id = start()  # type: ignore[operator]
    store.mark_all_enhanced(run_id, [EnhancedFile("S1", "L1", "1" * 64, 0)])
    store.add_scores([NewScore("1" * 64, "1" * 64, "locked", 0.5, 0.5)], "f" * 64, {"locked": {}})
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
