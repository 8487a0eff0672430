"""Checksums of what figures are read from, disputed scores, how a system was run and what that cost.

What is here is taken as it is: its checksums are computed now. Sums are dropped, to be summed up anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from harness_leaderboard.migrations.triggers import TRIGGERS, creating

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NEW_COLUMNS = {
    "scores": ("disputed_at", "checksum"),
    "run_pairs": ("checksum",),
    "runs": ("python", "checksum"),
    "summaries": ("checksum",),
    "environments": ("checksum",),
    "declarations": ("checksum",),
    "events": ("checksum",),
}


def upgrade() -> None:
    """Add columns and the table, compute checksums, and have the sums of changed scores deleted."""
    for table, names in NEW_COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, sa.String(), nullable=True))
    # Written out, since Alembic cannot add a column together with its constraint.
    op.execute(
        "ALTER TABLE runs ADD COLUMN isolation VARCHAR"
        " CONSTRAINT ck_runs_isolation CHECK (isolation IN ('process', 'sandbox', 'in-process'))"
    )
    op.create_table(
        "piece_costs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("piece", sa.String(), nullable=False),
        sa.Column("wall_seconds", sa.Double(), nullable=False),
        sa.Column("cpu_seconds", sa.Double(), nullable=False),
        sa.Column("peak_bytes", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.CheckConstraint("length(piece) BETWEEN 1 AND 300", name=op.f("ck_piece_costs_piece")),
        sa.CheckConstraint("wall_seconds >= 0", name=op.f("ck_piece_costs_wall_seconds")),
        sa.CheckConstraint("cpu_seconds >= 0", name=op.f("ck_piece_costs_cpu_seconds")),
        sa.CheckConstraint("peak_bytes >= 0", name=op.f("ck_piece_costs_peak_bytes")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_piece_costs_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "piece", name=op.f("pk_piece_costs")),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    connection.execute(sa.text("DELETE FROM summaries"))
    for statements in (SCORES, PAIRS):
        _compute(connection, *statements)
    for table, checksums in (("runs", _runs(connection)), *((name, _log(connection, name)) for name in LOGS)):
        update = f"UPDATE {table} SET checksum = :checksum WHERE id = :id"  # noqa: S608
        for id_, checksum in list(checksums):
            connection.execute(sa.text(update), {"id": id_, "checksum": checksum})
    for name in TRIGGERS:
        for statement in creating(name, connection.dialect.name):
            op.execute(statement)


Statements = tuple[str, str, int, Callable[[Any], tuple[Any, ...]], str]


def _compute(
    connection: sa.Connection,
    last: str,
    select: str,
    step: int,
    values: Callable[[Any], tuple[Any, ...]],
    write: str,
) -> None:
    """Compute the checksums of a large table, a part at a time."""
    for low in range(0, (connection.scalar(sa.text(last)) or 0) + 1, step):
        found = connection.execute(sa.text(select), {"low": low, "high": low + step - 1}).all()
        parameters = [{"checksum": _of(*values(row)), **dict(zip("abc", row[:3], strict=True))} for row in found]
        if parameters:
            connection.execute(sa.text(write), parameters)


def _of(*values: object) -> str:
    return hashlib.blake2b(ascii(values).encode(), digest_size=8).hexdigest()


SCORES: Statements = (
    "SELECT max(remix_id) FROM scores",
    "SELECT s.remix_id, s.evaluator_id, s.engine, r.sha256, m.file_sha256, v.fingerprint, s.left_score, s.right_score,"
    " s.score, e.sha256, s.scored_at FROM scores s JOIN remixes m ON m.id = s.remix_id"
    " JOIN reference_signals r ON r.id = m.reference_id JOIN evaluators v ON v.id = s.evaluator_id"
    " JOIN environments e ON e.id = s.environment_id WHERE s.remix_id BETWEEN :low AND :high",
    20_000,
    lambda row: (*row[3:6], row[2], *row[6:], None),
    "UPDATE scores SET checksum = :checksum WHERE remix_id = :a AND evaluator_id = :b AND engine = :c",
)
PAIRS: Statements = (
    "SELECT max(run_id) FROM run_pairs",
    "SELECT r.run_id, r.pair_id, r.state, p.scene, p.listener, p.track, r.reason, m.file_sha256, r.clipped"
    " FROM run_pairs r JOIN set_pairs p ON p.id = r.pair_id LEFT JOIN remixes m ON m.id = r.remix_id"
    " WHERE r.run_id BETWEEN :low AND :high AND NOT (r.state = 'pending' AND r.clipped IS NULL)",
    1,
    lambda row: (row[0], *row[3:6], row[2], *row[6:]),
    "UPDATE run_pairs SET checksum = :checksum WHERE run_id = :a AND pair_id = :b AND state = :c",
)
"""What the largest number is, what to read between two (the first three columns are the key), how many numbers at a
time, what of a row the checksum is of, and how it is written."""

TEXT = (
    "key name visibility system version training_data licence weights_sha256 not_eligible submission folder team"
    " contact url paper description python isolation created_at updated_at"
)
RUNS = sa.table(
    "runs",
    *(sa.column(name, sa.String()) for name in TEXT.split()),
    *(sa.column(name, sa.Integer()) for name in ("id", "evaluation_set_id", "evaluator_id")),
    *(sa.column(name, sa.Boolean()) for name in ("causal", "reference")),
    sa.column("parameters", sa.BigInteger()),
    sa.column("settings", sa.JSON()),
)
SETS = sa.table("evaluation_sets", *map(sa.column, ("id", "name", "split", "sha256", "scenes", "pairs")))
EVALUATORS = sa.table("evaluators", *map(sa.column, ("id", "fingerprint")))


LOGS = {
    "environments": ("sha256", "details"),
    "declarations": ("run_id", "declared", "replaced_at"),
    "events": ("run_id", "at", "what", "why", "details"),
}
"""What the checksums of small tables are over."""


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _log(connection: sa.Connection, name: str) -> Iterator[tuple[int, str]]:
    """Number and checksum of each row of one of `LOGS`."""
    table = sa.table(
        name,
        *(sa.column(each, sa.JSON() if each in ("details", "declared") else None) for each in ("id", *LOGS[name])),
    )
    for id_, *said in connection.execute(sa.select(table)).all():
        yield id_, _of(*(_canonical(value) if isinstance(value, dict) else value for value in said))


def _runs(connection: sa.Connection) -> Iterator[tuple[int, str]]:
    """Number and checksum of each run."""
    rows = connection.execute(
        sa.select(
            *(column.label(f"run_{column.name}") for column in RUNS.c),
            *(column.label(f"set_{column.name}") for column in SETS.c if column.name != "id"),
            EVALUATORS.c.fingerprint,
        )
        .join_from(RUNS, SETS, RUNS.c.evaluation_set_id == SETS.c.id)
        .join(EVALUATORS, RUNS.c.evaluator_id == EVALUATORS.c.id)
    ).mappings()
    for row in rows.all():
        told: dict[str, Any] = dict(row)
        del told["run_evaluation_set_id"], told["run_evaluator_id"]
        told["run_settings"] = _canonical(told["run_settings"])
        yield row["run_id"], _of(*sorted(told.items()))
