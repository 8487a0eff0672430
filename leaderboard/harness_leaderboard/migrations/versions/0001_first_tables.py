"""The first tables: evaluation sets, evaluators, environments, runs, pairs, scores.

Written out instead of derived from the models: this step stays what it was when the models change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "evaluation_sets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("scenes", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.CheckConstraint("scenes > 0", name=op.f("ck_evaluation_sets_scenes")),
        sa.CheckConstraint("pairs > 0", name=op.f("ck_evaluation_sets_pairs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation_sets")),
        sa.UniqueConstraint("sha256", name=op.f("uq_evaluation_sets_sha256")),
    )
    op.create_table(
        "evaluators",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_evaluators")),
    )
    op.create_table(
        "environments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("sha256", name=op.f("uq_environments_sha256")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("evaluation_set_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("causal", sa.Boolean(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("training_data", sa.String(), nullable=False),
        sa.Column("licence", sa.String(), nullable=False),
        sa.Column("weights_sha256", sa.String(), nullable=False),
        sa.Column("not_eligible", sa.String(), nullable=True),
        sa.Column("reference", sa.Boolean(), nullable=False),
        sa.Column("submission", sa.String(), nullable=False),
        sa.Column("pairs_due", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.CheckConstraint("parameters >= 0", name=op.f("ck_runs_parameters")),
        sa.CheckConstraint("pairs_due > 0", name=op.f("ck_runs_pairs_due")),
        sa.ForeignKeyConstraint(["evaluation_set_id"], ["evaluation_sets.id"], name=op.f("fk_runs_evaluation_set_id")),
        sa.ForeignKeyConstraint(["fingerprint"], ["evaluators.fingerprint"], name=op.f("fk_runs_fingerprint")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("key", "evaluation_set_id", "fingerprint", name=op.f("uq_runs_key")),
    )
    op.create_table(
        "pairs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("listener", sa.String(), nullable=False),
        sa.Column("track", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("file_sha256", sa.String(), nullable=True),
        sa.Column("clipped", sa.Integer(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'enhanced', 'scored', 'failed')", name=op.f("ck_pairs_state")),
        sa.CheckConstraint(
            "(state = 'failed' AND reason IS NOT NULL) OR (state <> 'failed' AND reason IS NULL)",
            name=op.f("ck_pairs_reason"),
        ),
        sa.CheckConstraint(
            "(state IN ('enhanced', 'scored') AND file_sha256 IS NOT NULL)"
            " OR (state IN ('pending', 'failed') AND file_sha256 IS NULL)",
            name=op.f("ck_pairs_file_sha256"),
        ),
        sa.CheckConstraint("clipped >= 0", name=op.f("ck_pairs_clipped")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_pairs_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
        sa.UniqueConstraint("run_id", "scene", "listener", name=op.f("uq_pairs_run_id")),
    )
    op.create_table(
        "scores",
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("left_score", sa.Double(), nullable=False),
        sa.Column("right_score", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("scored_at", sa.String(), nullable=False),
        sa.CheckConstraint("left_score >= 0 AND left_score <= 1", name=op.f("ck_scores_left_score")),
        sa.CheckConstraint("right_score >= 0 AND right_score <= 1", name=op.f("ck_scores_right_score")),
        sa.CheckConstraint("score >= 0 AND score <= 1", name=op.f("ck_scores_score")),
        sa.CheckConstraint("abs(score - (left_score + right_score) / 2) <= 1e-12", name=op.f("ck_scores_mean")),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name=op.f("fk_scores_environment_id")),
        sa.ForeignKeyConstraint(["fingerprint"], ["evaluators.fingerprint"], name=op.f("fk_scores_fingerprint")),
        sa.ForeignKeyConstraint(["pair_id"], ["pairs.id"], name=op.f("fk_scores_pair_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pair_id", name=op.f("pk_scores")),
    )
