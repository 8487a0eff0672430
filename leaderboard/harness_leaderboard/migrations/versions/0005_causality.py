"""Runs say whether they are live, what was found out of their causality, and what their blocks took.

What is here was only declared. The checksums of runs are computed anew, over the new columns too; one that is wrong
already stays wrong.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = (
    "key name visibility system version training_data licence weights_sha256 not_eligible submission folder team"
    " contact url paper description python isolation created_at updated_at checksum"
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

NOT_TOLD = ("run_checksum", "run_evaluation_set_id", "run_evaluator_id")
NEW = {"run_live": False, "run_chain": "baseline", "run_causality": "null", "run_load": "null"}
"""What the new columns hold in the runs that are here, as checksums are over it."""


def upgrade() -> None:
    """Add the columns, and compute checksums."""
    connection = op.get_bind()
    # Written out, since Alembic cannot add a column together with its constraint.
    no = "0" if connection.dialect.name == "sqlite" else "false"
    op.execute(
        f"ALTER TABLE runs ADD COLUMN live BOOLEAN DEFAULT {no} NOT NULL"
        " CONSTRAINT ck_runs_live CHECK (causal OR NOT live)"
    )
    op.execute(
        "ALTER TABLE runs ADD COLUMN chain VARCHAR DEFAULT 'baseline' NOT NULL"
        " CONSTRAINT ck_runs_chain CHECK (chain IN ('baseline', 'live'))"
    )
    for name in ("causality", "load"):
        op.add_column("runs", sa.Column(name, sa.JSON(), nullable=True))
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
        told: dict[str, Any] = {name: value for name, value in row.items() if name not in NOT_TOLD}
        told["run_settings"] = json.dumps(told["run_settings"], sort_keys=True, separators=(",", ":"))
        if row["run_checksum"] == _of(told):
            connection.execute(
                sa.text("UPDATE runs SET checksum = :checksum WHERE id = :id"),
                {"checksum": _of({**told, **NEW}), "id": row["run_id"]},
            )


def _of(told: Mapping[str, Any]) -> str:
    return hashlib.blake2b(ascii(tuple(sorted(told.items()))).encode(), digest_size=8).hexdigest()
