"""Scores say which engine computed them, and what the locked engine gave where a fast score was checked.

Until now there was the locked engine only, so every score there is becomes one of its.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def new_columns() -> "list[sa.Column[Any]]":
    """The columns as they are added."""
    return [
        # The default gives the rows that are there their engine, and goes again below: later rows have to say it.
        sa.Column("engine", sa.String(), nullable=False, server_default="locked"),
        sa.Column("locked_left", sa.Double(), nullable=True),
        sa.Column("locked_right", sa.Double(), nullable=True),
    ]


CHECKS = {
    "ck_scores_engine": "engine IN ('locked', 'fast')",
    "ck_scores_locked_left": "locked_left >= 0 AND locked_left <= 1",
    "ck_scores_locked_right": "locked_right >= 0 AND locked_right <= 1",
    "ck_scores_checked": (
        "(locked_left IS NULL AND locked_right IS NULL)"
        " OR (engine = 'fast' AND locked_left IS NOT NULL AND locked_right IS NOT NULL)"
    ),
}

# SQLite's table is replaced by a copy. What there is to copy is written out: whether Alembic finds the CHECK
# constraints by looking depends on its version and SQLAlchemy's.
BEFORE = sa.Table(
    "scores",
    sa.MetaData(),
    sa.Column("pair_id", sa.Integer(), nullable=False),
    sa.Column("left_score", sa.Double(), nullable=False),
    sa.Column("right_score", sa.Double(), nullable=False),
    sa.Column("score", sa.Double(), nullable=False),
    sa.Column("fingerprint", sa.String(), nullable=False),
    sa.Column("environment_id", sa.Integer(), nullable=False),
    sa.Column("scored_at", sa.String(), nullable=False),
    *new_columns(),
    sa.CheckConstraint("left_score >= 0 AND left_score <= 1", name="ck_scores_left_score"),
    sa.CheckConstraint("right_score >= 0 AND right_score <= 1", name="ck_scores_right_score"),
    sa.CheckConstraint("score >= 0 AND score <= 1", name="ck_scores_score"),
    sa.CheckConstraint("abs(score - (left_score + right_score) / 2) <= 1e-12", name="ck_scores_mean"),
    sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name="fk_scores_environment_id"),
    sa.ForeignKeyConstraint(["fingerprint"], ["evaluators.fingerprint"], name="fk_scores_fingerprint"),
    sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name="fk_scores_pair_id", ondelete="CASCADE"),
    sa.PrimaryKeyConstraint("pair_id", name="pk_scores"),
)


def upgrade() -> None:
    """Add the columns, then their constraints."""
    for column in new_columns():
        op.add_column("scores", column)
    with op.batch_alter_table("scores", copy_from=BEFORE) as batch:
        batch.alter_column("engine", existing_type=sa.String(), existing_nullable=False, server_default=None)
        for name, condition in CHECKS.items():
            batch.create_check_constraint(op.f(name), condition)
