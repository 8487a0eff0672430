"""The constraints, each met by the database itself, without the store's own checks."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from harness_leaderboard.models import (
    EnvironmentRow,
    EvaluationSetRow,
    EvaluatorRow,
    ReferenceRow,
    RemixRow,
    RunPairRow,
    RunRow,
    ScoreRow,
    SetPairRow,
)
from harness_leaderboard.records import EnhancedFile, NewScore
from harness_leaderboard.store import Store


@pytest.fixture
def filled(store: Store, start: Callable[..., int]) -> Store:
    """One run with a scored pair, another file, an environment, and two pending pairs."""
    run_id = start()
    store.mark_all_enhanced(run_id, [EnhancedFile("S1", "L1", "1" * 64, 0), EnhancedFile("S1", "L2", "2" * 64, 0)])
    store.add_scores([NewScore("1" * 64, "1" * 64, "locked", 0.5, 0.6)], "f" * 64, {"locked": {"python": "3.11"}})
    return store


def write(store: Store, statement: Any) -> None:
    with store.engine.begin() as connection:
        connection.execute(statement)


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
    row = {
        "remix_id": 2,
        "evaluator_id": 1,
        "left_score": 0.5,
        "right_score": 0.6,
        "score": 0.55,
        "environment_id": 1,
        "scored_at": "2024-01-31T12:00:00Z",
        "engine": "fast",
    }
    with pytest.raises(IntegrityError):
        write(filled, insert(ScoreRow).values(**{**row, column: value}))
    write(filled, insert(ScoreRow).values(**row))
    with pytest.raises(IntegrityError):
        write(filled, insert(ScoreRow).values(**row))


def test_a_score_has_to_say_its_engine(filled: Store) -> None:
    columns = "remix_id, evaluator_id, left_score, right_score, score, environment_id, scored_at"
    with pytest.raises(IntegrityError, match=r"NOT NULL.*engine"):
        write(filled, text(f"INSERT INTO scores ({columns}) SELECT {columns} FROM scores"))


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": 999},
        {"pair_id": 999},
        {"state": "done"},
        {"state": None},
        {"state": "failed"},
        {"state": "scored", "remix_id": 1},
        {"reason": "a reason without a failure"},
        {"state": "enhanced"},
        {"remix_id": 1},
        {"remix_id": 999, "state": "enhanced"},
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
    with pytest.raises(IntegrityError):
        write(filled, insert(RunPairRow).values(**row))


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
        insert(ReferenceRow).values(sha256="1" * 64),
        insert(RemixRow).values(reference_id=1, file_sha256="1" * 64),
        insert(RemixRow).values(reference_id=999, file_sha256="1" * 64),
        insert(SetPairRow).values(evaluation_set_id=1, scene="S1", listener="L1", track="x", reference_id=1),
        insert(SetPairRow).values(evaluation_set_id=1, scene="S9", listener="L1", track="x", reference_id=999),
    ],
)
def test_what_identifies_is_unique(filled: Store, statement: Any) -> None:
    with pytest.raises(IntegrityError):
        write(filled, statement)


def test_a_run_with_pairs_cannot_be_deleted(filled: Store) -> None:
    with pytest.raises(IntegrityError):
        write(filled, text("DELETE FROM runs"))
