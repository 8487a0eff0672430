"""The constraints, each met by the database itself, without the store's own checks."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError
from stored import FILE, add, mark, reference

from harness_leaderboard.models import (
    EnvironmentRow,
    EvaluationSetRow,
    EvaluatorRow,
    EventRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SetPairRow,
    SummaryRow,
)
from harness_leaderboard.store import Store


@pytest.fixture
def filled(store: Store, start: Callable[..., int]) -> Store:
    """A run with a scored pair, one with an unscored file (remix 2), an environment, and two pending pairs."""
    run_id = start()
    mark(store, run_id, "S1", "L1")
    mark(store, run_id, "S1", "L2")
    add(store, "S1", "L1", 0.5, 0.6)
    return store


def write(store: Store, statement: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(statement)


SCORE = {
    "remix_id": 2,
    "evaluator_id": 1,
    "engine": "fast",
    "left_score": 0.5,
    "right_score": 0.6,
    "score": 0.55,
    "environment_id": 1,
    "scored_at": "2024-01-31T12:00:00Z",
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("left_score", -0.001),
        ("left_score", 1.001),
        ("left_score", float("nan")),
        ("left_score", float("inf")),
        ("left_score", None),
        ("right_score", -0.001),
        ("right_score", 1.001),
        ("right_score", float("nan")),
        ("right_score", None),
        ("score", -0.001),
        ("score", 1.001),
        ("score", float("nan")),
        ("score", None),
        ("score", 0.55 + 1e-9),
        ("remix_id", 999),
        ("remix_id", None),
        ("evaluator_id", 999),
        ("evaluator_id", None),
        ("environment_id", 999),
        ("environment_id", None),
        ("scored_at", None),
        ("engine", None),
        ("engine", "quick"),
        ("engine", "Fast"),
    ],
)
def test_scores_refuse(filled: Store, column: str, value: Any) -> None:
    with pytest.raises(IntegrityError):
        write(filled, insert(ScoreRow).values(**{**SCORE, column: value}))
    write(filled, insert(ScoreRow).values(**SCORE))


def test_a_remix_has_one_score_of_each_engine(filled: Store) -> None:
    for engine in ("fast", "locked"):
        write(filled, insert(ScoreRow).values(**{**SCORE, "engine": engine}))
        with pytest.raises(IntegrityError, match=r"(?i)unique"):
            write(filled, insert(ScoreRow).values(**{**SCORE, "engine": engine}))


def test_a_score_has_to_say_its_engine(filled: Store) -> None:
    columns = ", ".join(name for name in SCORE if name != "engine")
    values = ", ".join(f":{name}" for name in SCORE if name != "engine")
    said_nothing = text(f"INSERT INTO scores ({columns}) VALUES ({values})").bindparams(
        **{name: value for name, value in SCORE.items() if name != "engine"}
    )
    with pytest.raises(IntegrityError, match=r"NOT NULL.*engine|engine.*not-null"):
        write(filled, said_nothing)


@pytest.mark.parametrize(
    "change",
    [
        {"pair_id": 1},
        {"pair_id": 999},
        {"pair_id": None},
        {"run_id": 999},
        {"run_id": None},
        {"state": "done"},
        {"state": "scored"},
        {"state": None},
        {"state": "failed"},
        {"reason": "a reason without a failure"},
        {"state": "enhanced"},
        {"state": "enhanced", "remix_id": 999},
        {"remix_id": 1},
        {"state": "failed", "reason": "it has a file", "remix_id": 1},
        {"clipped": -1},
    ],
)
def test_pairs_of_runs_refuse(filled: Store, change: dict[str, Any]) -> None:
    write(filled, text("DELETE FROM run_pairs WHERE pair_id = 4"))
    row = {"run_id": 1, "pair_id": 4, "state": "pending"}
    with pytest.raises(IntegrityError):
        write(filled, insert(RunPairRow).values(**{**row, **change}))
    write(filled, insert(RunPairRow).values(**row))


@pytest.mark.parametrize(
    "change",
    [
        {"scene": "S1"},
        {"scene": None},
        {"listener": None},
        {"track": None},
        {"evaluation_set_id": 999},
        {"reference_id": 999},
        {"reference_id": None},
    ],
)
def test_pairs_of_sets_refuse(filled: Store, change: dict[str, Any]) -> None:
    row = {"evaluation_set_id": 1, "scene": "S3", "listener": "L1", "track": "track", "reference_id": 1}
    with pytest.raises(IntegrityError):
        write(filled, insert(SetPairRow).values(**{**row, **change}))
    write(filled, insert(SetPairRow).values(**row))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"key": "b", "evaluation_set_id": 999},
        {"key": "b", "evaluator_id": 999},
        {"key": "b", "parameters": -1},
        {"key": "b", "visibility": "secret"},
        {"key": "b", "visibility": None},
        {"key": "b", "system": None},
        {"key": "b", "causal": None},
        {"key": "b", "created_at": None},
    ],
)
def test_runs_refuse(filled: Store, change: dict[str, Any]) -> None:
    with filled.engine.begin() as connection:
        row = dict(connection.execute(select(RunRow.__table__)).mappings().one())
    del row["id"]
    with pytest.raises(IntegrityError):
        write(filled, insert(RunRow).values(**{**row, **change}))
    write(filled, insert(RunRow).values(**{**row, "key": "b"}))


@pytest.mark.parametrize(
    "statement",
    [
        insert(EvaluationSetRow).values(name="x", split="valid", sha256="e" * 64, scenes=2, pairs=4),
        insert(EvaluationSetRow).values(name="x", split="valid", sha256="0", scenes=0, pairs=4),
        insert(EvaluationSetRow).values(name="x", split="valid", sha256="0", scenes=2, pairs=0),
        insert(EvaluatorRow).values(fingerprint="f" * 64, details={}),
        insert(EnvironmentRow).from_select(
            ["sha256", "details"], select(EnvironmentRow.sha256, EnvironmentRow.details)
        ),
        insert(ReferenceRow).values(sha256=reference("S1", "L1")),
        insert(RemixRow).values(reference_id=1, file_sha256=FILE),
    ],
)
def test_what_identifies_is_unique(filled: Store, statement: Any) -> None:
    with pytest.raises(IntegrityError):
        write(filled, statement)


@pytest.mark.parametrize(
    "statement",
    [
        insert(RemixRow).values(reference_id=999, file_sha256=FILE),
        insert(EventRow).values(at="2024-01-31T12:00:00Z", run_id=999, what="hidden", why="", details={}),
        insert(SummaryRow).values(run_id=999, evaluator_id=1, summary={}),
        insert(SummaryRow).values(run_id=1, evaluator_id=999, summary={}),
        text("INSERT INTO declarations (run_id, declared, replaced_at) VALUES (999, '{}', 'now')"),
    ],
)
def test_what_belongs_to_something_needs_it(filled: Store, statement: Any) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        write(filled, statement)


@pytest.mark.parametrize("table", ["runs", "remixes", "reference_signals", "evaluators", "environments", "set_pairs"])
def test_nothing_that_scores_are_about_can_go_while_they_stay(filled: Store, table: str) -> None:
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        write(filled, text(f"DELETE FROM {table}"))
