"""A database of the third revision, in which nothing had a checksum, keeps everything when it moves."""

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from stored import PAIRS, RUN, add, kill_while_migrating, mark, set_pairs

from harness_leaderboard.database import sqlite_engine
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.history import Event, OldDeclaration
from harness_leaderboard.opening import alembic_config
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import EvaluationSetRecord, ScoreRecord
from harness_leaderboard.store import Store

AT = "2024-01-31T12:00:00Z"
SET = EvaluationSetRecord("démo", "valid", "e", 2, 4)
ENVIRONMENT = {"python": "3.11", "threads": 2, "ratio": 0.1}
DRAW = random.Random(3)
VALUES = [(DRAW.random(), DRAW.random()) for _ in range(8)]
"""(left, right) of the first run's pairs, then of the second's, with all their digits."""

DECLARED = {**vars(RUN), "settings": {"b": [1, 2.5, None], "a": "é"}, "training_data": "private"}


def run(id_: int, key: str, name: str | None, visibility: str = "shown") -> tuple[Any, ...]:
    return (
        *(id_, key, 1, 1, name, visibility, f"system {id_}", "4", json.dumps(DECLARED["settings"]), id_ % 2, 7),
        *("official", "MIT", "d", None, 0, "folder", "/data/folder", "A Team", None, None, None, None, AT, AT),
    )


def score(remix: int, left: float, right: float, engine: str = "locked") -> tuple[Any, ...]:
    return remix, 1, engine, left, right, (left + right) / 2, 1, AT


TABLES: dict[str, list[tuple[Any, ...]]] = {
    "evaluation_sets": [(1, "démo", "valid", "e", 2, 4)],
    "evaluators": [(1, "f", "{}")],
    "environments": [(1, "0" * 64, json.dumps(ENVIRONMENT))],
    "reference_signals": [(place, pair.reference_sha256) for place, pair in enumerate(PAIRS, 1)],
    "set_pairs": [(place, 1, pair.scene, pair.listener, pair.track, place) for place, pair in enumerate(PAIRS, 1)],
    "remixes": [(remix, (remix - 1) % 4 + 1, f"file {remix}") for remix in range(1, 9)],
    "scores": [
        *(score(remix, *VALUES[remix - 1]) for remix in range(1, 9) if remix != 8),
        *(score(remix, VALUES[remix - 1][0] + 1e-10, VALUES[remix - 1][1], "fast") for remix in (1, 2)),
    ],
    "runs": [run(1, "a", "ours"), run(2, "b", None), run(3, "c", None, "hidden")],
    "run_pairs": [
        *((1, place, "enhanced", None, place, place - 1) for place in range(1, 5)),
        *((2, place, "enhanced", None, place + 4, None) for place in range(1, 4)),
        (2, 4, "failed", "it raised", None, None),
        *((3, place, "pending", None, None, None) for place in range(1, 5)),
    ],
    "declarations": [(1, 1, json.dumps(DECLARED), AT)],
    "events": [(1, AT, 1, "entered", "", '{"submission": "folder"}'), (2, AT, 1, "renamed", "é", "{}")],
    "summaries": [(1, 1, '{"of": "the third revision"}')],
}


def old_database(path: Path, tables: dict[str, list[tuple[Any, ...]]]) -> str:
    """Make a database of revision 0003 with these rows; give its URL."""
    engine = sqlite_engine(path, create=True, timeout=1)
    with engine.execution_options(immediate=True, migrate=True).begin() as connection:
        command.upgrade(alembic_config(connection), "0003")
        for table, rows in tables.items():
            for row in rows:
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture
def migrated(tmp_path: Path) -> Iterable[Store]:
    """The database above, brought up to date."""
    url = old_database(tmp_path / "old.db", TABLES)
    with pytest.raises(LeaderboardError, match="older version: harness run or harness score brings it up to date"):
        Store.open(url, create=False)
    with Store.open(url, create=True) as store:
        yield store


def test_every_score_is_kept_and_believed(migrated: Store) -> None:
    first, second, third = (migrated.find_run(number) for number in (1, 2, 3))
    assert (first.changed, second.changed, third.changed) == ((), (), ())
    for place, pair in enumerate(PAIRS):
        found = first.pairs[pair.scene, pair.listener]
        left, right = VALUES[place]
        assert found.locked == ScoreRecord("locked", left, right, (left + right) / 2, AT, "0" * 64)
        assert (found.fast is not None, found.file_sha256, found.clipped) == (place < 2, f"file {place + 1}", place)
    states = [pair.state for pair in second.pairs.values()]
    assert states == ["scored", "scored", "scored", "failed"]
    assert second.pairs["S2", "L2"].reason == "it raised"
    assert {pair.state for pair in third.pairs.values()} == {"pending"}
    assert migrated.environments() == {"0" * 64: ENVIRONMENT}
    assert (first.costs, first.run.isolation, first.run.python) == ((), None, None)


def test_the_board_and_the_log_are_what_they_were(migrated: Store) -> None:
    for _ in range(2):
        (board,) = boards(migrated.runs())
        first, second = board.rows
        assert (first.rank, first.source.name, first.source.changed, first.source.disputed) == (1, "ours", (), 0)
        assert (second.status, second.source.changed) == ("incomplete", ())
        assert first.estimate is not None
        assert first.estimate.mean == pytest.approx(sum(sum(pair) for pair in VALUES[:4]) / 8, abs=1e-15)
        migrated.keep_summaries()
    old, events = migrated.history(1)
    assert old == [OldDeclaration(DECLARED, AT)]
    assert events == [
        Event(AT, 1, "entered", "", {"submission": "folder"}),
        Event(AT, 1, "renamed", "é", {}),
    ]
    assert [status.intact for status in migrated.statuses()] == [True] * 3


def test_it_can_be_written_to(migrated: Store) -> None:
    run_id = migrated.start_run(replace(RUN, key="b"), SET, "f", {}, PAIRS)
    assert run_id == 2
    mark(migrated, 2, "S2", "L2", "file 8")
    add(migrated, "S2", "L2", 0.5, 0.5, file="file 8", fingerprint="f")
    assert [(run.scored, run.changed) for run in migrated.runs()] == [(4, ()), (4, ())]


def test_killed_in_the_middle_it_is_the_old_database_still(tmp_path: Path) -> None:
    path, many = tmp_path / "old.db", 1500
    places = set_pairs((f"S{number:04}", "L1", "track") for number in range(many))
    numbers = range(1, many + 1)
    url = old_database(
        path,
        {
            **TABLES,
            "evaluation_sets": [(1, "demo", "valid", "e", many, many)],
            "reference_signals": [(number, places[number - 1].reference_sha256) for number in numbers],
            "set_pairs": [(number, 1, places[number - 1].scene, "L1", "track", number) for number in numbers],
            "remixes": [(number, number, f"file {number}") for number in numbers],
            "scores": [score(number, number / many, 0.5) for number in numbers],
            "run_pairs": [(1, number, "enhanced", None, number, 0) for number in numbers],
        },
    )
    kill_while_migrating(path, url, ("UPDATE scores", "UPDATE events"))
    with Store.open(url, create=True) as store:
        found = store.runs()[0]
        assert (found.scored, found.changed) == (many, ())
        assert sorted(found.scores.left) == [number / many for number in numbers]
