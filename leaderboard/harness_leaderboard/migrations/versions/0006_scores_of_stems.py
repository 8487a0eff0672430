"""Scores may have those of stems beside them, where an evaluator scores stems.

What is here has none, and keeps its checksums: they cover the new column only where it holds something.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("scores", sa.Column("stem_scores", sa.String(), nullable=True))
