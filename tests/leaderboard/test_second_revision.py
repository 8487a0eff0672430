"""A database of the second revision, in which scores belonged to the pairs of a run, keeps everything when it moves."""

import math
import random
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import Connection
from stored import PAIRS, RUN, add, count, kill_while_migrating, mark, set_pairs

from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.estimates import estimate
from harness_leaderboard.models import UNRESOLVED
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import EvaluationSetRecord, ScoreRecord
from harness_leaderboard.store import Store

EARLY, LATE = "2024-01-31T12:00:00Z", "2024-02-01T12:00:00Z"
SET = EvaluationSetRecord("demo", "valid", "e", 2, 4)
PLACES = [(pair.scene, pair.listener, pair.track) for pair in PAIRS]


def old_database(path: Path, tables: dict[str, list[tuple[Any, ...]]], *more: str) -> str:
    """Make a database of revision 0002 with rows of these tables; give its URL."""
    engine = sqlite_engine(path, create=True, timeout=1)
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0002")
        for table, rows in tables.items():
            _insert(connection, table, rows)
        for statement in more:
            connection.exec_driver_sql(statement)
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    engine.dispose()
    return f"sqlite:///{path}"


def _insert(connection: Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    for row in rows:
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def run(id_: int, key: str, fingerprint: str = "f", at: str = EARLY, **declared: Any) -> tuple[Any, ...]:
    given = {"system": f"system{id_}", "reference": 0, **declared}
    return (
        *(id_, key, 1, fingerprint, given["system"], "4", '{"a": 1}', 0, 7, "official", "MIT", "d", None),
        *(given["reference"], "folder", 4, EARLY, at),
    )


def score(
    pair: int,
    left: float,
    right: float,
    engine: str = "locked",
    locked: tuple[float | None, float | None] = (None, None),
    fingerprint: str = "f",
    environment: int = 1,
    at: str = EARLY,
) -> tuple[Any, ...]:
    return (pair, left, right, (left + right) / 2, fingerprint, environment, at, engine, *locked)


DRAW = random.Random(7)
VALUE = {(run_id, place): (DRAW.random(), DRAW.random()) for run_id in range(1, 7) for place in range(4)}
"""(left, right) of a run's pairs, with all their digits."""


def pairs(run_id: int, *states: str, file: str = "") -> list[tuple[Any, ...]]:
    """The pairs of a run; their ids are ten times the run's and the place."""
    made = []
    for place, (where, state) in enumerate(zip(PLACES, states, strict=True)):
        has = f"file {file or run_id} {place}" if state in ("enhanced", "scored") else None
        reason = "it raised" if state == "failed" else None
        made.append((10 * run_id + place, run_id, *where, state, reason, has, place if has else None))
    return made


def near(pair: tuple[float, float]) -> tuple[float, float]:
    return pair[0] + 1e-10, pair[1]


TABLES: dict[str, list[tuple[Any, ...]]] = {
    "evaluation_sets": [(1, "demo", "valid", "e", 2, 4)],
    "evaluators": [("f", '{"old": 1}'), ("g", '{"new": 1}')],
    "environments": [(1, "0" * 64, '{"python": "3.11"}'), (2, "1" * 64, '{"python": "3.12"}')],
    "runs": [
        run(1, "locked"),
        run(2, "fast"),
        run(3, "twice", "f", EARLY, system="before"),
        run(4, "twice", "g", LATE, system="after"),
        run(5, "copy", reference=1),
        run(6, "part"),
    ],
    "pairs": [
        *pairs(1, *["scored"] * 4),
        *pairs(2, *["scored"] * 4),
        *pairs(3, *["scored"] * 4, file="3"),
        # Its fourth pair was not come to yet.
        *pairs(4, "scored", "scored", "enhanced", "pending", file="3"),
        *pairs(5, *["scored"] * 4, file="1"),
        *pairs(6, "scored", "failed", "pending", "enhanced"),
    ],
    "scores": [
        *(score(10 + place, *VALUE[1, place]) for place in range(4)),
        *(
            score(20 + place, *near(VALUE[2, place]), "fast", VALUE[2, place] if place < 2 else (None, None))
            for place in range(4)
        ),
        *(score(30 + place, *VALUE[3, place], at=LATE) for place in range(4)),
        *(score(40 + place, *VALUE[4, place], fingerprint="g", environment=2) for place in range(2)),
        # The same files as the first run's; the fast engine's scores of two, one of them checked.
        *(score(50 + place, *VALUE[1, place]) for place in range(2)),
        score(52, *near(VALUE[1, 2]), "fast", VALUE[1, 2], environment=2),
        score(53, *near(VALUE[1, 3]), "fast"),
        score(60, *VALUE[6, 0]),
    ],
}


@pytest.fixture
def migrated(tmp_path: Path) -> Iterable[Store]:
    """The database above, brought up to date."""
    with Store.open(old_database(tmp_path / "old.db", TABLES), create=True) as store:
        yield store


def stored(engine: Any, value: tuple[float, float], at: str = EARLY, environment: str = "0" * 64) -> ScoreRecord:
    return ScoreRecord(engine, *value, (value[0] + value[1]) / 2, at, environment)


def test_every_score_is_kept_to_the_last_bit(migrated: Store) -> None:
    for place, (scene, listener, track) in enumerate(PLACES):
        where = scene, listener
        first, second, copy = (migrated.find_run(run_id).pairs[where] for run_id in (1, 2, 5))
        assert (first.track, first.clipped, first.file_sha256) == (track, place, f"file 1 {place}")
        assert first.locked == stored("locked", VALUE[1, place])
        assert second.fast == stored("fast", near(VALUE[2, place]))
        assert second.locked == (stored("locked", VALUE[2, place]) if place < 2 else None)
        # One file, one set of scores, whichever run it came with.
        assert (first.locked, first.fast) == (copy.locked, copy.fast)
        environment = "1" * 64 if place == 2 else "0" * 64
        expected = stored("fast", near(VALUE[1, place]), environment=environment) if place > 1 else None
        assert first.fast == expected
        old = migrated.find_run(4, "f").pairs[where]
        assert old.locked == stored("locked", VALUE[3, place], at=LATE)
        new = migrated.find_run(4).pairs[where]
        assert new.locked == (stored("locked", VALUE[4, place], environment="1" * 64) if place < 2 else None)
    assert migrated.environments() == {"0" * 64: {"python": "3.11"}, "1" * 64: {"python": "3.12"}}


def test_states_and_reasons_are_kept(migrated: Store) -> None:
    found = migrated.find_run(6).pairs
    states = [found[scene, listener].state for scene, listener, _ in PLACES]
    assert states == ["scored", "failed", "pending", "enhanced"]
    assert found["S1", "L2"].reason == "it raised"
    assert found["S2", "L2"].file_sha256 == "file 6 3"
    assert migrated.find_run(1).run == replace(
        RUN, key="locked", system="system1", version="4", settings={"a": 1}, parameters=7, weights_sha256="d",
        submission="folder",
    )  # fmt: skip
    assert [status.id for status in migrated.statuses()] == [1, 2, 4, 5, 6]
    assert {status.visibility for status in migrated.statuses()} == {"shown"}


def test_runs_under_two_evaluators_become_one_with_both_scores(migrated: Store) -> None:
    assert migrated.find_run(4).run.system == "after"
    assert [(run.fingerprint, run.scored) for run in migrated.runs() if run.id == 4] == [("f", 4), ("g", 2)]
    # What the second scoring had not come to keeps the first one's file.
    assert migrated.find_run(4).pairs["S2", "L2"].state == "enhanced"
    assert migrated.find_run(4, "f").pairs["S2", "L2"].state == "scored"


def test_the_figures_of_the_ranking_are_those_from_before(migrated: Store) -> None:
    first, second = boards(migrated.runs())
    assert (first.fingerprint, second.fingerprint) == ("f", "g")
    rows = {row.source.id: row for row in first.rows}
    scenes = [scene for scene, _, _ in PLACES]
    for run_id, source in ((1, 1), (4, 3), (5, 1)):
        # As the second revision computed them, from every pair; checked pairs counted with their fast score then.
        values = [sum(VALUE[source, place]) / 2 for place in range(4)]
        expected, row = estimate(scenes, values), rows[run_id]
        assert row.estimate is not None
        assert row.estimate.mean == expected.mean
        assert (row.estimate.low, row.estimate.high, row.estimate.p) == pytest.approx(
            (expected.low, expected.high, expected.p), abs=1e-12
        )
        assert row.left == math.fsum(VALUE[source, place][0] for place in range(4)) / 4
    assert {id_: row.status for id_, row in rows.items()} == {
        1: "ranked",
        2: "ranked",
        4: "ranked",
        5: "reference",
        6: "incomplete",
    }
    assert (rows[2].source.fast, rows[2].source.checked, rows[2].source.only_fast) == (4, 4, 2)
    assert rows[1].source.shares == {5: 4}


def test_references_are_resolved_when_the_set_is_seen_again(migrated: Store) -> None:
    def hashes() -> list[str]:
        with migrated.engine.connect() as connection:
            return list(connection.exec_driver_sql("SELECT sha256 FROM reference_signals ORDER BY id").scalars())

    before = migrated.runs()
    assert [name.startswith(UNRESOLVED) for name in hashes()] == [True] * 4
    run_id = migrated.start_run(replace(RUN, key="new"), SET, "f", {}, PAIRS)
    assert hashes() == [pair.reference_sha256 for pair in PAIRS]
    after = [run for run in migrated.runs() if run.id != run_id]
    assert [replace(run, load_scores=None) for run in after] == [replace(run, load_scores=None) for run in before]  # type: ignore[arg-type]


def test_references_that_are_there_already_take_over_what_the_unresolved_have(migrated: Store) -> None:
    # Another set with the same scenes is seen first; its references, files and scores are those that stay.

    other = migrated.start_run(replace(RUN, key="other"), replace(SET, sha256="x"), "f", {}, PAIRS)
    mark(migrated, other, "S1", "L1", "file 1 0")
    add(migrated, "S1", "L1", 0.25, 0.5, file="file 1 0", fingerprint="f")
    mark(migrated, other, "S1", "L2", "file 1 1")
    migrated.keep_summaries()
    before = {run.id: run.sums for run in migrated.runs() if run.fingerprint == "f"}
    migrated.start_run(replace(RUN, key="new"), SET, "f", {}, PAIRS)
    assert count(migrated, "reference_signals") == 4
    assert migrated.find_run(other).pairs["S1", "L2"].locked == stored("locked", VALUE[1, 1])
    # A score that the reference has stays, one that it lacks comes along.
    assert [migrated.find_run(id_, "f").pairs["S1", "L1"].locked.left for id_ in (1, 5, other)] == [0.25] * 3  # type: ignore[union-attr]
    after = {run.id: run.sums for run in migrated.runs() if run.fingerprint == "f"}
    assert {id_ for id_, sums in before.items() if after[id_] != sums} == {1, 5, other}
    with migrated.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_killed_in_the_middle_it_is_the_old_database_still(tmp_path: Path) -> None:
    path, many = tmp_path / "old.db", 4000
    places = [(f"S{number:04}", "L1", "track") for number in range(many)]
    tables: dict[str, list[tuple[Any, ...]]] = {
        "evaluation_sets": [(1, "demo", "valid", "e", many, many)],
        "evaluators": [("f", "{}")],
        "environments": [(1, "0", "{}")],
        "runs": [run(1, "a")],
        "pairs": [
            (number, 1, *place, "scored", None, f"file {number}", 0) for number, place in enumerate(places, start=1)
        ],
        "scores": [score(number, number / many, 0.5) for number in range(1, many + 1)],
    }
    url = old_database(path, tables)
    kill_while_migrating(
        path,
        url,
        ("CREATE TABLE old_scores", "INSERT INTO scores", "INSERT INTO run_pairs", "DROP TABLE old_evaluators"),
    )
    start = time.monotonic()
    with Store.open(url, create=True) as store:
        assert time.monotonic() - start < 10
        (found,) = store.runs()
        assert found.scored == many
        assert sorted(found.scores.left) == [number / many for number in range(1, many + 1)]
        assert store.start_run(replace(RUN, key="a"), replace(SET, scenes=many, pairs=many), "f", {}, set_pairs(places))
        assert [run.sums for run in store.runs()] == [found.sums]
