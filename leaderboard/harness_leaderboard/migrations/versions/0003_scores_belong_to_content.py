"""Scores belong to content: a remix (file and reference), an evaluator and an engine. Runs become maps to remixes.

Every score is kept. A fast score with the locked engine's numbers beside it becomes two scores. Runs that differ only
in their evaluator become one, which declares what the latest of them declared.

What the references were made of is not in the old tables: their hashes stand for the evaluation set, the scene and the
listener until the set is seen again (`models.UNRESOLVED`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

OLD = ("scores", "pairs", "runs", "evaluators")


def upgrade() -> None:
    """Set the old tables aside, make the new ones, fill them, drop the old ones."""
    for table in OLD:
        # A plain copy: names of constraints are free for the new tables, in every kind of database.
        op.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608
    for table in OLD:
        op.drop_table(table)
    # The copies have no keys of their own, and joining half a million rows needs some.
    op.execute("CREATE INDEX ix_old_pairs ON old_pairs (id)")
    op.execute("CREATE INDEX ix_old_pairs_run ON old_pairs (run_id)")
    op.execute("CREATE INDEX ix_old_scores ON old_scores (pair_id)")
    _create_tables()
    _fill()
    for table in OLD:
        op.execute(f"DROP TABLE old_{table}")


def _create_tables() -> None:
    op.create_table(
        "reference_signals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference_signals")),
        sa.UniqueConstraint("sha256", name=op.f("uq_reference_signals_sha256")),
    )
    op.create_table(
        "set_pairs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("evaluation_set_id", sa.Integer(), nullable=False),
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("listener", sa.String(), nullable=False),
        sa.Column("track", sa.String(), nullable=False),
        sa.Column("reference_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_set_id"], ["evaluation_sets.id"], name=op.f("fk_set_pairs_evaluation_set_id")
        ),
        sa.ForeignKeyConstraint(["reference_id"], ["reference_signals.id"], name=op.f("fk_set_pairs_reference_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_pairs")),
        sa.UniqueConstraint("evaluation_set_id", "scene", "listener", name=op.f("uq_set_pairs_evaluation_set_id")),
    )
    op.create_index(op.f("ix_set_pairs_reference_id"), "set_pairs", ["reference_id"])
    op.create_table(
        "evaluators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluators")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_evaluators_fingerprint")),
    )
    op.create_table(
        "remixes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["reference_id"], ["reference_signals.id"], name=op.f("fk_remixes_reference_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_remixes")),
        sa.UniqueConstraint("reference_id", "file_sha256", name=op.f("uq_remixes_reference_id")),
    )
    op.create_table(
        "scores",
        sa.Column("remix_id", sa.Integer(), nullable=False),
        sa.Column("evaluator_id", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(), nullable=False),
        sa.Column("left_score", sa.Double(), nullable=False),
        sa.Column("right_score", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("environment_id", sa.Integer(), nullable=False),
        sa.Column("scored_at", sa.String(), nullable=False),
        sa.CheckConstraint("left_score >= 0 AND left_score <= 1", name=op.f("ck_scores_left_score")),
        sa.CheckConstraint("right_score >= 0 AND right_score <= 1", name=op.f("ck_scores_right_score")),
        sa.CheckConstraint("score >= 0 AND score <= 1", name=op.f("ck_scores_score")),
        sa.CheckConstraint("abs(score - (left_score + right_score) / 2) <= 1e-12", name=op.f("ck_scores_mean")),
        sa.CheckConstraint("engine IN ('locked', 'fast')", name=op.f("ck_scores_engine")),
        sa.ForeignKeyConstraint(["environment_id"], ["environments.id"], name=op.f("fk_scores_environment_id")),
        sa.ForeignKeyConstraint(["evaluator_id"], ["evaluators.id"], name=op.f("fk_scores_evaluator_id")),
        sa.ForeignKeyConstraint(["remix_id"], ["remixes.id"], name=op.f("fk_scores_remix_id")),
        sa.PrimaryKeyConstraint("remix_id", "evaluator_id", "engine", name=op.f("pk_scores")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("evaluation_set_id", sa.Integer(), nullable=False),
        sa.Column("evaluator_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("visibility", sa.String(), nullable=False),
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
        sa.Column("folder", sa.String(), nullable=True),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("contact", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("paper", sa.String(), nullable=True),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.CheckConstraint("parameters >= 0", name=op.f("ck_runs_parameters")),
        sa.CheckConstraint("visibility IN ('shown', 'hidden', 'removed')", name=op.f("ck_runs_visibility")),
        sa.ForeignKeyConstraint(["evaluation_set_id"], ["evaluation_sets.id"], name=op.f("fk_runs_evaluation_set_id")),
        sa.ForeignKeyConstraint(["evaluator_id"], ["evaluators.id"], name=op.f("fk_runs_evaluator_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("key", "evaluation_set_id", name=op.f("uq_runs_key")),
    )
    op.create_table(
        "run_pairs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("remix_id", sa.Integer(), nullable=True),
        sa.Column("clipped", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'enhanced', 'failed')", name=op.f("ck_run_pairs_state")),
        sa.CheckConstraint(
            "(state = 'failed' AND reason IS NOT NULL) OR (state <> 'failed' AND reason IS NULL)",
            name=op.f("ck_run_pairs_reason"),
        ),
        sa.CheckConstraint(
            "(state = 'enhanced' AND remix_id IS NOT NULL) OR (state <> 'enhanced' AND remix_id IS NULL)",
            name=op.f("ck_run_pairs_remix"),
        ),
        sa.CheckConstraint("clipped >= 0", name=op.f("ck_run_pairs_clipped")),
        sa.ForeignKeyConstraint(["pair_id"], ["set_pairs.id"], name=op.f("fk_run_pairs_pair_id")),
        sa.ForeignKeyConstraint(["remix_id"], ["remixes.id"], name=op.f("fk_run_pairs_remix_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_pairs_run_id")),
        sa.PrimaryKeyConstraint("run_id", "pair_id", name=op.f("pk_run_pairs")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_run_pairs_remix_id"), "run_pairs", ["remix_id"])
    op.create_table(
        "declarations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("declared", sa.JSON(), nullable=False),
        sa.Column("replaced_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_declarations_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_declarations")),
    )
    op.create_index(op.f("ix_declarations_run_id"), "declarations", ["run_id"])
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_events_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_run_id"), "events", ["run_id"])
    op.create_table(
        "summaries",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("evaluator_id", sa.Integer(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["evaluator_id"], ["evaluators.id"], name=op.f("fk_summaries_evaluator_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_summaries_run_id")),
        sa.PrimaryKeyConstraint("run_id", "evaluator_id", name=op.f("pk_summaries")),
        sqlite_with_rowid=False,
    )


DECLARED = (
    "system, version, settings, causal, parameters, training_data, licence, weights_sha256, not_eligible, reference, "
    "submission, created_at, updated_at"
)

# Of the runs with the same key and evaluation set, the one that was updated last; the higher id among equals.
CHOSEN = (
    "SELECT r.id FROM old_runs r WHERE NOT EXISTS (SELECT 1 FROM old_runs o"
    " WHERE o.key = r.key AND o.evaluation_set_id = r.evaluation_set_id"
    " AND (o.updated_at > r.updated_at OR (o.updated_at = r.updated_at AND o.id > r.id)))"
)

# A pair, its run, and its place among the pairs of the evaluation set.
PLACED = (
    " FROM old_pairs p JOIN old_runs r ON r.id = p.run_id"
    " JOIN set_pairs s ON s.evaluation_set_id = r.evaluation_set_id AND s.scene = p.scene AND s.listener = p.listener"
)


def _fill() -> None:
    op.execute("INSERT INTO evaluators (fingerprint, details) SELECT fingerprint, details FROM old_evaluators")
    pairs = (
        " FROM (SELECT r.evaluation_set_id AS set_id, p.scene AS scene, p.listener AS listener,"
        " min(p.track) AS track, min(p.id) AS first FROM old_pairs p JOIN old_runs r ON r.id = p.run_id"
        " GROUP BY r.evaluation_set_id, p.scene, p.listener) x JOIN evaluation_sets e ON e.id = x.set_id"
    )
    reference = "'unresolved:' || e.sha256 || ' ' || x.scene || ' ' || x.listener"
    op.execute(f"INSERT INTO reference_signals (sha256) SELECT {reference}{pairs} ORDER BY x.first")
    op.execute(
        "INSERT INTO set_pairs (evaluation_set_id, scene, listener, track, reference_id)"
        f" SELECT x.set_id, x.scene, x.listener, x.track, f.id{pairs}"
        f" JOIN reference_signals f ON f.sha256 = {reference} ORDER BY x.first"
    )
    op.execute(
        "INSERT INTO remixes (reference_id, file_sha256) SELECT DISTINCT s.reference_id, p.file_sha256"
        f"{PLACED} WHERE p.file_sha256 IS NOT NULL"
    )
    # The same file may have been scored in several runs: the locked engine's scores are equal to the last bit there, of
    # the fast engine's the latest is kept.
    remix = f"{PLACED} JOIN remixes m ON m.reference_id = s.reference_id AND m.file_sha256 = p.file_sha256"
    for engine, left, right, where in (
        ("locked", "c.left_score", "c.right_score", "c.engine = 'locked'"),
        ("fast", "c.left_score", "c.right_score", "c.engine = 'fast'"),
        ("locked", "c.locked_left", "c.locked_right", "c.locked_left IS NOT NULL"),
    ):
        mean = "c.score" if left == "c.left_score" else f"({left} + {right}) / 2"
        op.execute(
            "INSERT INTO scores (remix_id, evaluator_id, engine, left_score, right_score, score, environment_id,"  # noqa: S608
            f" scored_at) SELECT remix, evaluator, '{engine}', l, r, mean, environment, at FROM ("
            f"SELECT m.id AS remix, v.id AS evaluator, {left} AS l, {right} AS r, {mean} AS mean,"
            " c.environment_id AS environment, c.scored_at AS at,"
            " row_number() OVER (PARTITION BY m.id, v.id ORDER BY c.scored_at DESC, c.pair_id DESC) AS place"
            f"{remix} JOIN old_scores c ON c.pair_id = p.id JOIN evaluators v ON v.fingerprint = c.fingerprint"
            f" WHERE {where}) x WHERE place = 1 AND NOT EXISTS (SELECT 1 FROM scores y WHERE y.remix_id = x.remix"
            f" AND y.evaluator_id = x.evaluator AND y.engine = '{engine}')"
        )
    op.execute(
        f"INSERT INTO runs (id, key, evaluation_set_id, evaluator_id, visibility, {DECLARED})"  # noqa: S608
        f" SELECT r.id, r.key, r.evaluation_set_id, v.id, 'shown', {', '.join('r.' + c for c in DECLARED.split(', '))}"
        f" FROM old_runs r JOIN evaluators v ON v.fingerprint = r.fingerprint WHERE r.id IN ({CHOSEN})"
    )
    if op.get_bind().dialect.name == "postgresql":
        # It counts only the numbers that it gave itself.
        op.execute("SELECT setval(pg_get_serial_sequence('runs', 'id'), max(id)) FROM runs")
    # Of runs that become one, a pair is taken from the latest in which it is not pending: what a scoring under a new
    # evaluator has not come to yet keeps its file, and with it its old score.
    op.execute(
        "INSERT INTO run_pairs (run_id, pair_id, state, reason, remix_id, clipped)"  # noqa: S608
        " SELECT run, pair, state, reason, remix, clipped FROM (SELECT n.id AS run, s.id AS pair,"
        " CASE WHEN p.state = 'scored' THEN 'enhanced' ELSE p.state END AS state, p.reason AS reason, m.id AS remix,"
        " p.clipped AS clipped, row_number() OVER (PARTITION BY n.id, s.id ORDER BY"
        " CASE WHEN p.state = 'pending' THEN 1 ELSE 0 END, r.updated_at DESC, r.id DESC) AS place"
        f"{PLACED} JOIN runs n ON n.key = r.key AND n.evaluation_set_id = r.evaluation_set_id"
        " LEFT JOIN remixes m ON m.reference_id = s.reference_id AND m.file_sha256 = p.file_sha256) x WHERE place = 1"
    )
    # Pairs that a run has never had, where others on its evaluation set have them.
    op.execute(
        "INSERT INTO run_pairs (run_id, pair_id, state) SELECT r.id, s.id, 'pending' FROM runs r"
        " JOIN set_pairs s ON s.evaluation_set_id = r.evaluation_set_id"
        " WHERE NOT EXISTS (SELECT 1 FROM run_pairs x WHERE x.run_id = r.id AND x.pair_id = s.id)"
    )
