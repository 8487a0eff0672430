"""Scores as rows: with the columns of the official results, and as a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.files import write_whole
from harness.music.evaluationset import Pair
from harness_leaderboard.records import ScoreRecord

Row = dict[str, str | float]

COLUMNS = ("scene", "song", "listener", "left_score", "right_score", "score")
"""Columns of the ICASSP 2024 challenge's official results."""

CAD1_COLUMNS = (
    "song", "listener", "score", "left_bass", "right_bass", "left_drums", "right_drums", "left_other", "right_other",
    "left_vocals", "right_vocals",
)  # fmt: skip
"""Those of the first challenge's, in the order in which pyclarity 0.3.4 writes them."""

_COLUMNS = {PROTOCOL.name: COLUMNS, CAD1.name: CAD1_COLUMNS}


def columns_of(protocol: Protocol) -> tuple[str, ...]:
    """The columns of a protocol's official results."""
    return _COLUMNS[protocol.name]


def row_of(pair: Pair, score: ScoreRecord) -> Row:
    """A stored score with the columns of `COLUMNS`; where stems are scored, each is a column more."""
    values = (pair.scene.id, pair.scene.song, pair.listener.id, score.left, score.right, score.score)
    return {**dict(zip(COLUMNS, values, strict=True)), **(score.stems or {})}


def write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] = COLUMNS) -> None:
    """Write these columns of rows, every number with all its digits, whole or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # csv writes a float as repr() does: the shortest text that reads back the same
    write_whole(path, buffer.getvalue().encode())
