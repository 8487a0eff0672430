"""What each piece of music cost the system of a run."""

import math
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from harness_leaderboard.checksums import of_cost
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.models import PieceCostRow
from harness_leaderboard.records import PieceCost
from harness_leaderboard.rows import in_parts
from harness_leaderboard.texts import storable

LONGEST_PIECE = 300
"""Characters of a piece's name."""


def keep_costs(connection: Connection, run_id: int, costs: Sequence[PieceCost]) -> None:
    """Store what pieces cost; see `store.Store.keep_costs`."""
    new: dict[str, tuple[float, float, int]] = {}
    for cost in costs:
        piece = storable(cost.piece)
        if not 1 <= len(piece) <= LONGEST_PIECE:
            raise LeaderboardError(
                f"the piece {piece[:40]!r} has {len(piece)} characters, not 1 to {LONGEST_PIECE}: shorten its name"
            )
        values = float(cost.wall_seconds), float(cost.cpu_seconds), int(cost.peak_bytes)
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise LeaderboardError(f"piece {piece!r} cannot have cost {values}: costs are finite numbers from 0 on")
        new[piece] = values
    for part in in_parts(new):
        connection.execute(delete(PieceCostRow).where(PieceCostRow.run_id == run_id, PieceCostRow.piece.in_(part)))
    if new:
        columns = ("wall_seconds", "cpu_seconds", "peak_bytes")
        connection.execute(
            insert(PieceCostRow),
            [
                {
                    "run_id": run_id,
                    "piece": piece,
                    **dict(zip(columns, values, strict=True)),
                    "checksum": of_cost(run_id, piece, *values),
                }
                for piece, values in new.items()
            ],
        )


def costs_of_run(connection: Connection, run_id: int) -> tuple[list[PieceCost], list[str]]:
    """What pieces cost a run's system, by their names; and the pieces whose costs somebody else wrote."""
    intact: list[PieceCost] = []
    changed: list[str] = []
    columns = (PieceCostRow.piece, PieceCostRow.wall_seconds, PieceCostRow.cpu_seconds, PieceCostRow.peak_bytes)
    for row in connection.execute(
        select(*columns, PieceCostRow.checksum).where(PieceCostRow.run_id == run_id).order_by(PieceCostRow.piece)
    ):
        if row.checksum == of_cost(run_id, *row[:4]):
            intact.append(PieceCost(*row[:4]))
        else:
            changed.append(row.piece)
    return intact, changed
