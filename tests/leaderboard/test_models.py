"""The constraints, each met by the database itself, without the store's own checks."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from harness_leaderboard.models import Environment, EvaluationSet, Evaluator, Pair, Run, Score
from harness_leaderboard.store import Store


@pytest.fixture
def filled(store: Store, start: Callable[..., int]) -> Store:
    """One run with a scored pair, an environment, and three pending pairs."""
    run_id = start()
    store.mark_enhanced(run_id, "S1", "L1", "1" * 64, 0)
    store.add_score(run_id, "S1", "L1", "1" * 64, 0.5, 0.6, "f" * 64, {"python": "3.11"})
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
        ("pair_id", 1),
        ("pair_id", 999),
        ("fingerprint", "unknown"),
        ("fingerprint", None),
        ("environment_id", 999),
        ("environment_id", None),
        ("scored_at", None),
        ("engine", None),
        ("engine", "quick"),
        ("engine", "Fast"),
        ("engine", "locked"),
        ("locked_left", -0.001),
        ("locked_left", 1.001),
        ("locked_left", None),
        ("locked_left", float("nan")),
        ("locked_right", -0.001),
        ("locked_right", 1.001),
        ("locked_right", None),
        ("locked_right", float("inf")),
    ],
)
def test_scores_refuse(filled: Store, column: str, value: Any) -> None:
    row = {
        "pair_id": 2,
        "left_score": 0.5,
        "right_score": 0.6,
        "score": 0.55,
        "fingerprint": "f" * 64,
        "environment_id": 1,
        "scored_at": "2024-01-31T12:00:00Z",
        "engine": "fast",
        "locked_left": 0.5,
        "locked_right": 0.6,
    }
    with pytest.raises(IntegrityError):
        write(filled, insert(Score).values(**{**row, column: value}))
    write(filled, insert(Score).values(**row))


@pytest.mark.parametrize("engine", ["locked", "fast"])
def test_scores_need_no_check(filled: Store, engine: str) -> None:
    write(filled, text("UPDATE scores SET engine = :engine").bindparams(engine=engine))


def test_a_score_has_to_say_its_engine(filled: Store) -> None:
    row = {name: getattr(Score, name) for name in Score.__table__.columns.keys() if name != "engine"}  # noqa: SIM118
    again = insert(Score).from_select(list(row), select(*{**row, "pair_id": Score.pair_id + 1}.values()))
    with pytest.raises(IntegrityError, match=r"NOT NULL.*engine"):
        write(filled, again)


@pytest.mark.parametrize(
    "change",
    [
        {"scene": "S1"},
        {"run_id": 999},
        {"run_id": None},
        {"track": None},
        {"state": "done"},
        {"state": None},
        {"state": "failed"},
        {"reason": "a reason without a failure"},
        {"state": "enhanced"},
        {"state": "scored"},
        {"file_sha256": "1" * 64},
        {"state": "failed", "reason": "it has a file", "file_sha256": "1" * 64},
        {"clipped": -1},
    ],
)
def test_pairs_refuse(filled: Store, change: dict[str, Any]) -> None:
    row = {"run_id": 1, "scene": "S3", "listener": "L1", "track": "track", "state": "pending"}
    with pytest.raises(IntegrityError):
        write(filled, insert(Pair).values(**{**row, **change}))
    write(filled, insert(Pair).values(**row))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"key": "b", "evaluation_set_id": 999},
        {"key": "b", "fingerprint": "unknown"},
        {"key": "b", "parameters": -1},
        {"key": "b", "pairs_due": 0},
        {"key": "b", "system": None},
        {"key": "b", "causal": None},
        {"key": "b", "created_at": None},
    ],
)
def test_runs_refuse(filled: Store, change: dict[str, Any]) -> None:
    with filled.engine.begin() as connection:
        row = dict(connection.execute(select(Run.__table__)).mappings().one())
    del row["id"]
    with pytest.raises(IntegrityError):
        write(filled, insert(Run).values(**{**row, **change}))
    write(filled, insert(Run).values(**{**row, "key": "b"}))


@pytest.mark.parametrize(
    "statement",
    [
        insert(EvaluationSet).values(name="x", split="valid", sha256="e" * 64, scenes=2, pairs=4),
        insert(EvaluationSet).values(name="x", split="valid", sha256="0", scenes=0, pairs=4),
        insert(EvaluationSet).values(name="x", split="valid", sha256="0", scenes=2, pairs=0),
        insert(Evaluator).values(fingerprint="f" * 64, details={}),
        insert(Environment).from_select(["sha256", "details"], select(Environment.sha256, Environment.details)),
    ],
)
def test_what_identifies_is_unique(filled: Store, statement: Any) -> None:
    with pytest.raises(IntegrityError):
        write(filled, statement)


def test_a_deleted_run_takes_its_pairs_and_scores_with_it(filled: Store) -> None:
    write(filled, text("DELETE FROM runs"))
    with filled.engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pairs")) == 0
        assert connection.scalar(text("SELECT count(*) FROM scores")) == 0
