"""The tables, with the constraints that make duplicates and impossible scores impossible.

A score is a fact about a remix (a file's content, held against a reference), an evaluator and an engine, and is
stored once under that key. A run is a declaration and a map from the pairs of its evaluation set to remixes. What one
run does can therefore never take another's scores away.

Scores are HAAQI values from 0 to 1, hashes lower-case hexadecimal SHA-256, times UTC in ISO 8601 as text. Names of the
classes here end in `Row`; what goes in and out of the store are the records of `records`.

The constraints hold whoever writes to the database. A score cannot be NaN: SQLite stores NaN as NULL, which
NOT NULL refuses, and PostgreSQL sorts NaN above every number, which "at most 1" refuses.

Rows that figures are read from have a checksum (`checksums`). Where it is missing or wrong, somebody else wrote them:
such a score or file counts as none. Triggers delete the sums of a run whose scores or files are changed by
anybody, so that the next to read the board reads those again.

A change here needs a new file in `migrations/versions`; a test compares the two.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    Index,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from harness_leaderboard.checks import Checker
from harness_leaderboard.records import Chain, Engine, Isolation, Visibility
from harness_leaderboard.texts import storable


class Text(TypeDecorator[str]):
    """Text of which any database can store every character; see `texts.storable`."""

    impl = String
    cache_ok = True
    python_type = str

    def process_bind_param(
        self,
        value: str | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> str | None:
        """What is stored."""
        return storable(value) if isinstance(value, str) else value


class Base(DeclarativeBase):
    """Common part of all tables."""

    # Constraints have fixed names so that a later migration can address them.
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    # Double: a plain Float is single precision in some databases.
    type_annotation_map = {dict[str, Any]: JSON, float: Double, str: Text}  # noqa: RUF012


class EvaluationSetRow(Base):
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


class ReferenceRow(Base):
    """What a remix is held against, see `records.SetPair`. Sets that share a scene and its listeners share these.

    A reference from before this table existed has an `UNRESOLVED` hash until its evaluation set is seen again.
    """

    __tablename__ = "reference_signals"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)


UNRESOLVED = "unresolved:"
"""Begins the hash of a reference of which only the evaluation set, the scene and the listener are known."""


class SetPairRow(Base):
    """A scene for a listener in an evaluation set."""

    __tablename__ = "set_pairs"
    __table_args__ = (UniqueConstraint("evaluation_set_id", "scene", "listener"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    evaluation_set_id: Mapped[int] = mapped_column(ForeignKey("evaluation_sets.id"))
    scene: Mapped[str]
    listener: Mapped[str]
    track: Mapped[str]
    reference_id: Mapped[int] = mapped_column(ForeignKey("reference_signals.id"), index=True)


class EvaluatorRow(Base):
    """A locked evaluator: what it consists of, under its fingerprint."""

    __tablename__ = "evaluators"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(unique=True)
    details: Mapped[dict[str, Any]]


class EnvironmentRow(Base):
    """The versions and the platform under which scores were computed; sha256 is of the canonical JSON."""

    __tablename__ = "environments"

    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    details: Mapped[dict[str, Any]]
    checksum: Mapped[str | None]


class RemixRow(Base):
    """A file's content and the reference that it is held against: what scores are about."""

    __tablename__ = "remixes"
    __table_args__ = (UniqueConstraint("reference_id", "file_sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    reference_id: Mapped[int] = mapped_column(ForeignKey("reference_signals.id"))
    file_sha256: Mapped[str]


class ScoreRow(Base):
    """The score that an engine under an evaluator gives a remix.

    The engine has no default: whoever writes a score has to say what computed it. The scores of stems are JSON, kept as
    text: the checksum is over what was written, whatever a database would make of it. So are the names of the parts
    that were computed in double precision, with blanks between them.
    """

    __tablename__ = "scores"
    __table_args__ = (
        CheckConstraint("left_score >= 0 AND left_score <= 1", name="left_score"),
        CheckConstraint("right_score >= 0 AND right_score <= 1", name="right_score"),
        CheckConstraint("score >= 0 AND score <= 1", name="score"),
        CheckConstraint("abs(score - (left_score + right_score) / 2) <= 1e-12", name="mean"),
        CheckConstraint("engine IN ('locked', 'fast')", name="engine"),
        CheckConstraint("margin >= 1", name="margin"),
        {"sqlite_with_rowid": False},
    )

    remix_id: Mapped[int] = mapped_column(ForeignKey("remixes.id"), primary_key=True)
    evaluator_id: Mapped[int] = mapped_column(ForeignKey("evaluators.id"), primary_key=True)
    engine: Mapped[Engine] = mapped_column(String, primary_key=True)
    left_score: Mapped[float]
    right_score: Mapped[float]
    score: Mapped[float]
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    scored_at: Mapped[str]
    disputed_at: Mapped[str | None]
    checksum: Mapped[str | None]
    stem_scores: Mapped[str | None]
    in_double: Mapped[str | None]
    margin: Mapped[float | None]
    closest: Mapped[str | None]


class CheckRow(Base):
    """What the locked evaluator or double precision says of a part of a fast score, see `checks`.

    Beside it stands the fast score that it was held against: where that is no longer the stored one, it says nothing.
    """

    __tablename__ = "checks"
    __table_args__ = (
        CheckConstraint("checked_by IN ('locked', 'fast64')", name="checked_by"),
        CheckConstraint("length(part) BETWEEN 1 AND 50", name="part"),
        CheckConstraint("score >= 0 AND score <= 1", name="score"),
        CheckConstraint("fast_score >= 0 AND fast_score <= 1", name="fast_score"),
        {"sqlite_with_rowid": False},
    )

    remix_id: Mapped[int] = mapped_column(ForeignKey("remixes.id"), primary_key=True)
    evaluator_id: Mapped[int] = mapped_column(ForeignKey("evaluators.id"), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    checked_by: Mapped[Checker] = mapped_column(String, primary_key=True)
    score: Mapped[float]
    fast_score: Mapped[float]
    environment_id: Mapped[int] = mapped_column(ForeignKey("environments.id"))
    checked_at: Mapped[str]
    checksum: Mapped[str | None]


class RunRow(Base):
    """A run: what it declares (see `records.RunRecord`), and whether it is shown."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("key", "evaluation_set_id"),
        CheckConstraint("parameters >= 0", name="parameters"),
        CheckConstraint("visibility IN ('shown', 'hidden', 'removed')", name="visibility"),
        CheckConstraint("isolation IN ('process', 'sandbox', 'in-process')", name="isolation"),
        CheckConstraint("causal OR NOT live", name="live"),
        CheckConstraint("chain IN ('baseline', 'live')", name="chain"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    evaluation_set_id: Mapped[int] = mapped_column(ForeignKey("evaluation_sets.id"))
    evaluator_id: Mapped[int] = mapped_column(ForeignKey("evaluators.id"))
    name: Mapped[str | None]
    visibility: Mapped[Visibility] = mapped_column(String)
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
    folder: Mapped[str | None]
    team: Mapped[str | None]
    contact: Mapped[str | None]
    url: Mapped[str | None]
    paper: Mapped[str | None]
    description: Mapped[str | None]
    isolation: Mapped[Isolation | None] = mapped_column(String)
    python: Mapped[str | None]
    created_at: Mapped[str]
    updated_at: Mapped[str]
    checksum: Mapped[str | None]
    live: Mapped[bool] = mapped_column(server_default=false())
    chain: Mapped[Chain] = mapped_column(String, server_default="baseline")
    causality: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    load: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class RunPairRow(Base):
    """Where a pair of the evaluation set stands in a run. Whether it is scored, its remix's scores say."""

    __tablename__ = "run_pairs"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'enhanced', 'failed')", name="state"),
        CheckConstraint(
            "(state = 'failed' AND reason IS NOT NULL) OR (state <> 'failed' AND reason IS NULL)",
            name="reason",
        ),
        CheckConstraint(
            "(state = 'enhanced' AND remix_id IS NOT NULL) OR (state <> 'enhanced' AND remix_id IS NULL)",
            name="remix",
        ),
        CheckConstraint("clipped >= 0", name="clipped"),
        Index("ix_run_pairs_remix_id", "remix_id"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    pair_id: Mapped[int] = mapped_column(ForeignKey("set_pairs.id"), primary_key=True)
    state: Mapped[str]
    reason: Mapped[str | None]
    remix_id: Mapped[int | None] = mapped_column(ForeignKey("remixes.id"))
    clipped: Mapped[int | None] = mapped_column(BigInteger)
    checksum: Mapped[str | None]


class PieceCostRow(Base):
    """What a piece of music cost the system of a run, see `records.PieceCost`."""

    __tablename__ = "piece_costs"
    __table_args__ = (
        CheckConstraint("length(piece) BETWEEN 1 AND 300", name="piece"),
        CheckConstraint("wall_seconds >= 0", name="wall_seconds"),
        CheckConstraint("cpu_seconds >= 0", name="cpu_seconds"),
        CheckConstraint("peak_bytes >= 0", name="peak_bytes"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    piece: Mapped[str] = mapped_column(primary_key=True)
    wall_seconds: Mapped[float]
    cpu_seconds: Mapped[float]
    peak_bytes: Mapped[int] = mapped_column(BigInteger)
    checksum: Mapped[str | None]


class DeclarationRow(Base):
    """What a run declared before it was declared anew."""

    __tablename__ = "declarations"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    declared: Mapped[dict[str, Any]]
    replaced_at: Mapped[str]
    checksum: Mapped[str | None]


class EventRow(Base):
    """The log: everything that was done to runs, when, and why. Rows are only ever added."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[str]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"), index=True)
    what: Mapped[str]
    why: Mapped[str]
    details: Mapped[dict[str, Any]]
    checksum: Mapped[str | None]


class SummaryRow(Base):
    """What the ranking needs of a run under an evaluator, kept so that it need not read every score.

    Derived from the other tables, and deleted in the same transaction as anything that it depends on changes: a row
    that is here is right, and one that is missing is computed (`reading.summarise`).
    """

    __tablename__ = "summaries"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    evaluator_id: Mapped[int] = mapped_column(ForeignKey("evaluators.id"), primary_key=True)
    summary: Mapped[dict[str, Any]]
    checksum: Mapped[str | None]
