"""Checks are of single parts of fast scores, and these say what was computed in double precision, and how closely.

Scores that are here say nothing of that, and keep their checksums: they cover the new columns only where they hold
something. A pair with scores of both engines counts as checked in all its parts. Sums are dropped, to be summed up
anew.
"""

import sqlalchemy as sa
from alembic import op

from harness_leaderboard.migrations.triggers import OF_CHECKS, creating

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, the table and its triggers."""
    dialect = op.get_bind().dialect.name
    for name in ("in_double", "closest"):
        op.add_column("scores", sa.Column(name, sa.String(), nullable=True))
    # Written out, since Alembic cannot add a column together with its constraint.
    double = "DOUBLE" if dialect == "sqlite" else "DOUBLE PRECISION"
    op.execute(f"ALTER TABLE scores ADD COLUMN margin {double} CONSTRAINT ck_scores_margin CHECK (margin >= 1)")
    op.create_table(
        "checks",
        sa.Column("remix_id", sa.Integer(), nullable=False),
        sa.Column("evaluator_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("checked_by", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("fast_score", sa.Double(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.String(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=True),
        sa.CheckConstraint("checked_by IN ('locked', 'fast64')", name=op.f("ck_checks_checked_by")),
        sa.CheckConstraint("length(part) BETWEEN 1 AND 50", name=op.f("ck_checks_part")),
        sa.CheckConstraint("score >= 0 AND score <= 1", name=op.f("ck_checks_score")),
        sa.CheckConstraint("fast_score >= 0 AND fast_score <= 1", name=op.f("ck_checks_fast_score")),
        sa.ForeignKeyConstraint(["remix_id"], ["remixes.id"], name=op.f("fk_checks_remix_id")),
        sa.ForeignKeyConstraint(["evaluator_id"], ["evaluators.id"], name=op.f("fk_checks_evaluator_id")),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name=op.f("fk_checks_environment_id")),
        sa.PrimaryKeyConstraint("remix_id", "evaluator_id", "part", "checked_by", name=op.f("pk_checks")),
        sqlite_with_rowid=False,
    )
    op.execute("DELETE FROM summaries")
    for name in OF_CHECKS:
        for statement in creating(name, dialect):
            op.execute(statement)
