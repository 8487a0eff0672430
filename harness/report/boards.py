"""All that a report is made of, read from the leaderboard and the evaluation set before anything is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.music import demo
from harness.music.evaluationset import EvaluationSet
from harness.report.systempages import Stored
from harness.report.view import BoardView, board_view
from harness.results.frames import load_results
from harness_leaderboard.ranking import Board, Row, boards
from harness_leaderboard.store import Store

DEMO_PAIRS = 4
"""How many pairs of the embedded set are heard, unless somebody asks for more or fewer."""


@dataclass(frozen=True)
class Material:
    """A board and what is known of it.

    Attributes:
        view: the board with its frames.
        stored: reads what the database says of a run beside its scores.
        costs: seconds of processor time for a minute of music, by the runs' numbers, as far as they are known.
        audio: how many pairs get sound unless somebody says otherwise.
        attribution: whose music it is, for the foot of every page.
    """

    view: BoardView
    stored: Callable[[Row], Stored]
    costs: Mapping[int, float]
    audio: int
    attribution: Sequence[str]


def materials(store: Store, db: str, evaluation_set: EvaluationSet | None) -> list[Material]:
    """Read what a report shows.

    Args:
        store: the leaderboard, open.
        db: its URL.
        evaluation_set: only the boards of this set; None: all boards. The embedded set is recognised.

    Raises:
        UsageError: there is no board, or none of this set.
        LeaderboardError: any trouble with the database.
    """
    found = [
        board
        for board in boards(store.runs())
        if evaluation_set is None or board.evaluation_set.sha256 == evaluation_set.sha256
    ]
    if not found:
        which = "" if evaluation_set is None else f" on {evaluation_set.name}, {evaluation_set.split}"
        raise UsageError(f"there is nothing to report: no runs{which} yet: harness run --system NAME")
    return [_material(store, db, board, evaluation_set) for board in found]


def _material(store: Store, db: str, board: Board, evaluation_set: EvaluationSet | None) -> Material:
    embedded = None
    if evaluation_set is None and board.evaluation_set.name == demo.NAME:
        embedded = demo.demo()
    known = evaluation_set or embedded
    if known is not None and known.sha256 != board.evaluation_set.sha256:
        known = None
    environments = store.environments()

    def stored(row: Row) -> Stored:
        run = store.find_run(row.source.id, board.fingerprint)
        return Stored(run, *store.history(row.source.id), environments)

    is_demo = known is not None and known.sha256 == demo.demo().sha256 if known and known.name == demo.NAME else False
    view = board_view(board, load_results(db, known), known)
    return Material(
        view=view,
        stored=stored,
        costs=_costs(view, stored),
        audio=DEMO_PAIRS if is_demo else 0,
        attribution=[demo.ATTRIBUTION] if is_demo else [],
    )


def _costs(view: BoardView, stored: Callable[[Row], Stored]) -> dict[int, float]:
    """Processor time in seconds for a minute of music.

    A piece is a song, which a separator is given once, or a scene and a listener, which an enhancer is given.
    """
    if view.scenes is None:
        return {}
    songs = dict(zip(view.scenes["song"], view.scenes["seconds"], strict=True))
    scenes = dict(zip(view.scenes["scene"], view.scenes["seconds"], strict=True))
    costs = {}
    for row in view.board.rows:
        spent = music = 0.0
        for piece in stored(row).run.costs:
            length = songs.get(piece.piece) or scenes.get(piece.piece.partition(" ")[0])
            if length:
                spent += piece.cpu_seconds
                music += length
        if music:
            costs[row.source.id] = spent / music * 60
    return costs
