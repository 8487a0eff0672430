"""All that a report is made of, read from the leaderboard and the evaluation set before anything is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.music.demo import SETS
from harness.music.evaluationset import EvaluationSet
from harness.music.finding import embedded
from harness.report.systempages import Stored
from harness.report.view import BoardView, board_view
from harness.results.frames import results_of
from harness_leaderboard.ranking import Board, Row, boards
from harness_leaderboard.store import Store
from harness_leaderboard.whole import WholeRun

DEMO_PAIRS = 4
"""How many pairs of an embedded set are heard, unless somebody asks for more or fewer."""


@dataclass(frozen=True)
class Material:
    """A board and what is known of it.

    Attributes:
        view: the board with its frames.
        stored: reads what the database says of a run beside its scores.
        audio: how many pairs get sound unless somebody says otherwise.
        attribution: whose music it is, for the foot of every page.
    """

    view: BoardView
    stored: Callable[[Row], Stored]
    audio: int
    attribution: Sequence[str]


def materials(store: Store, evaluation_set: EvaluationSet | None) -> list[Material]:
    """Read what a report shows.

    Args:
        store: the leaderboard, open.
        evaluation_set: only the boards of this set; None: all boards. The embedded sets are recognised.

    Raises:
        UsageError: there is no board, or none of this set.
        LeaderboardError: any trouble with the database.
    """
    runs = store.whole_runs(("shown",))
    found = [
        board
        for board in boards(run.scored for run in runs)
        if evaluation_set is None or board.evaluation_set.sha256 == evaluation_set.sha256
    ]
    if not found:
        which = "" if evaluation_set is None else f" on {evaluation_set.name}, {evaluation_set.split}"
        raise UsageError(f"there is nothing to report: no runs{which} yet: harness run --system NAME")
    environments = store.environments()
    return [_material(store, board, runs, environments, evaluation_set) for board in found]


def _material(
    store: Store,
    board: Board,
    runs: Sequence[WholeRun],
    environments: Mapping[str, Mapping[str, Any]],
    evaluation_set: EvaluationSet | None,
) -> Material:
    about = board.evaluation_set
    is_demo = embedded(about.name, about.sha256)
    known = is_demo or evaluation_set
    ours = [run for run in runs if run.scored.evaluation_set.sha256 == about.sha256]
    view = board_view(board, results_of(ours, known), known)
    whole = {run.scored.id: run for run in ours if run.scored.fingerprint == board.fingerprint}
    return Material(
        view=view,
        stored=lambda row: Stored(whole[row.source.id], *store.history(row.source.id), environments),
        audio=DEMO_PAIRS if is_demo else 0,
        attribution=SETS[about.name].attribution if is_demo else [],
    )
