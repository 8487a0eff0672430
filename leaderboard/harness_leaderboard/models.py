"""The tables, with the constraints that make duplicates and impossible scores impossible.

Scores are HAAQI values from 0 to 1, hashes lower-case hexadecimal SHA-256, times UTC in ISO 8601 as text.

The constraints hold whoever writes to the database. A score cannot be NaN: SQLite stores NaN as NULL, which
NOT NULL refuses, and PostgreSQL sorts NaN above every number, which "at most 1" refuses.

A change here needs a new file in `migrations/versions`; a test compares the two.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from harness_leaderboard.records import Engine, State


class Base(DeclarativeBase):
    """Common part of all tables."""

    # Constraints have fixed names so that a later migration can address them.
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    # Double: a plain Float is single precision in some databases.
    type_annotation_map = {dict[str, Any]: JSON, float: Double}  # noqa: RUF012


class EvaluationSet(Base):
    """An evaluation set; its hash is its identity."""

    __tablename__ = "evaluation_sets"
    __table_args__ = (
        CheckConstraint("scenes > 0", name="scenes"),
        CheckConstraint("pairs > 0", name="pairs"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    split: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    scenes: Mapped[int]
    pairs: Mapped[int]


class Evaluator(Base):
    """A locked evaluator: what it consists of, under its fingerprint."""

    __tablename__ = "evaluators"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    details: Mapped[dict[str, Any]]


class Environment(Base):
    """The versions and the platform under which scores were computed; sha256 is of the canonical JSON."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    details: Mapped[dict[str, Any]]


class Run(Base):
    """A system on an evaluation set under an evaluator. See `records.RunRecord` for what it declares."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("key", "evaluation_set_id", "fingerprint"),
        CheckConstraint("parameters >= 0", name="parameters"),
        CheckConstraint("pairs_due > 0", name="pairs_due"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    evaluation_set_id: Mapped[int] = mapped_column(ForeignKey("evaluation_sets.id"))
    fingerprint: Mapped[str] = mapped_column(ForeignKey("evaluators.fingerprint"))
    system: Mapped[str]
    version: Mapped[str]
    settings: Mapped[dict[str, Any]]
    causal: Mapped[bool]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    training_data: Mapped[str]
    licence: Mapped[str]
    weights_sha256: Mapped[str]
    not_eligible: Mapped[str | None]
    reference: Mapped[bool]
    submission: Mapped[str]
    pairs_due: Mapped[int]
    created_at: Mapped[str]
    updated_at: Mapped[str]


class Pair(Base):
    """A scene for a listener in a run, and where it stands."""

    __tablename__ = "pairs"
    __table_args__ = (
        UniqueConstraint("run_id", "scene", "listener"),
        CheckConstraint("state IN ('pending', 'enhanced', 'scored', 'failed')", name="state"),
        CheckConstraint(
            "(state = 'failed' AND reason IS NOT NULL) OR (state <> 'failed' AND reason IS NULL)",
            name="reason",
        ),
        CheckConstraint(
            "(state IN ('enhanced', 'scored') AND file_sha256 IS NOT NULL)"
            " OR (state IN ('pending', 'failed') AND file_sha256 IS NULL)",
            name="file_sha256",
        ),
        CheckConstraint("clipped >= 0", name="clipped"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    scene: Mapped[str]
    listener: Mapped[str]
    track: Mapped[str]
    state: Mapped[State] = mapped_column(String)
    reason: Mapped[str | None]
    file_sha256: Mapped[str | None]
    clipped: Mapped[int | None]


class Score(Base):
    """The score of a pair. There is one exactly when the pair's state is "scored": the store sees to that.

    The engine has no default: whoever writes a score has to say what computed it.
    """

    __tablename__ = "scores"
    __table_args__ = (
        CheckConstraint("left_score >= 0 AND left_score <= 1", name="left_score"),
        CheckConstraint("right_score >= 0 AND right_score <= 1", name="right_score"),
        CheckConstraint("score >= 0 AND score <= 1", name="score"),
        CheckConstraint("abs(score - (left_score + right_score) / 2) <= 1e-12", name="mean"),
        CheckConstraint("engine IN ('locked', 'fast')", name="engine"),
        # A comparison with NULL is neither true nor false, and a check refuses only what is false.
        CheckConstraint("locked_left >= 0 AND locked_left <= 1", name="locked_left"),
        CheckConstraint("locked_right >= 0 AND locked_right <= 1", name="locked_right"),
        CheckConstraint(
            "(locked_left IS NULL AND locked_right IS NULL)"
            " OR (engine = 'fast' AND locked_left IS NOT NULL AND locked_right IS NOT NULL)",
            name="checked",
        ),
    )

    pair_id: Mapped[int] = mapped_column(ForeignKey("pairs.id", ondelete="CASCADE"), primary_key=True)
    left_score: Mapped[float]
    right_score: Mapped[float]
    score: Mapped[float]
    fingerprint: Mapped[str] = mapped_column(ForeignKey("evaluators.fingerprint"))
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    scored_at: Mapped[str]
    engine: Mapped[Engine] = mapped_column(String)
    locked_left: Mapped[float | None]
    locked_right: Mapped[float | None]
