"""What is said of a run on a board: a column for each thing, as a value for programs and as text for people.

Names, settings and reasons come from strangers: see `labels`.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness_leaderboard import classes, labels
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.ranking import Board, Comparison, Row, compare
from harness_leaderboard.stems import NAME, heading, in_order


@dataclass(frozen=True)
class Line:
    """A run on its board, with what only the board knows of it.

    Attributes:
        board: the board.
        row: the run.
        label: what it is called on this board.
        gap: how far it is behind the ranked run above it; None for the first and for runs without a rank.
        marks: the board's footnotes, see `labels.footnotes`.
    """

    board: Board
    row: Row
    label: str
    gap: Comparison | None
    marks: Mapping[str, str]


@dataclass(frozen=True)
class Column:
    """One thing that is said of a run.

    Attributes:
        name: its name for programs, and in --columns.
        value: a JSON value, with every digit.
        header: its name for people; `name` if empty.
        text: how it is written for people; the value as text if None.
        right: whether it is set flush right.
    """

    name: str
    value: Callable[[Line], Any]
    header: str = ""
    text: Callable[[Line], str] | None = None
    right: bool = False

    @property
    def title(self) -> str:
        """The name for people."""
        return self.header or self.name

    def cell(self, line: Line) -> str:
        """What is written of a run for people, on one line."""
        return labels.printable(self.text(line) if self.text else _plain(self.value(line)))


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _behind(name: str) -> Callable[[Line], Any]:
    return lambda line: None if line.gap is None else getattr(line.gap.behind, name)


def _estimate(name: str) -> Callable[[Line], Any]:
    return lambda line: None if line.row.estimate is None else getattr(line.row.estimate, name)


def _declared(name: str, header: str = "") -> Column:
    return Column(name, lambda line: getattr(line.row.run, name), header)


def _small(line: Line) -> str:
    gap = line.row.source.largest_difference
    return "-" if gap is None else f"{gap:.0e}" if gap else "0"


def _causality(name: str) -> Callable[[Line], Any]:
    return lambda line: None if line.row.run.causality is None else getattr(line.row.run.causality, name)


def _load(line: Line) -> float | None:
    load = line.row.run.load
    return None if load is None else load.cpu_p99


def _times(name: str, header: str) -> Column:
    """A number of samples, written as a time."""
    value = _causality(name)
    return Column(name, value, header, lambda line: classes.milliseconds(value(line)), right=True)


_ALL = (
    Column("evaluation_set", lambda line: line.board.evaluation_set.name),
    Column("split", lambda line: line.board.evaluation_set.split),
    Column("evaluation_set_sha256", lambda line: line.board.evaluation_set.sha256),
    Column("evaluator", lambda line: line.board.fingerprint),
    Column("rank", lambda line: line.row.rank, "Rank", lambda line: labels.rank(line.row, line.marks)),
    Column("group", lambda line: line.row.group, "Group", right=True),
    Column("status", lambda line: line.row.status, "Status"),
    Column(
        "why_not_ranked",
        lambda line: line.row.why_not_ranked,
        "Not ranked because",
        lambda line: line.row.why_not_ranked or "",
    ),
    Column("label", lambda line: line.label, "Run"),
    Column("number", lambda line: line.row.source.id, "#", right=True),
    Column("name", lambda line: line.row.source.name, "Name"),
    Column("system", lambda line: line.row.run.system, "System", lambda line: line.label),
    _declared("version", "Version"),
    _declared("submission", "Submission"),
    Column("settings", lambda line: dict(line.row.run.settings), "Settings"),
    Column("mean", _estimate("mean"), "HAAQI ±95 %", lambda line: labels.estimate(line.row), right=True),
    Column("low", _estimate("low"), "Low", right=True),
    Column("high", _estimate("high"), "High", right=True),
    Column("left", lambda line: line.row.left, "Left", right=True),
    Column("right", lambda line: line.row.right, "Right", right=True),
    Column(
        "scored",
        lambda line: line.row.scored,
        "Pairs",
        lambda line: f"{line.row.scored}" + (f" of {line.row.due}" if line.row.scored < line.row.due else ""),
        right=True,
    ),
    Column("due", lambda line: line.row.due, "Due", right=True),
    Column("failed", lambda line: line.row.source.failed, "Failed", right=True),
    Column("engine", lambda line: labels.engine(line.row), "Engine", lambda line: labels.checked_engine(line.row)),
    Column("fast", lambda line: line.row.source.fast, "Fast", right=True),
    Column("parts", lambda line: line.row.source.parts, "Parts", right=True),
    Column("in_double", lambda line: line.row.source.in_double, "In double", right=True),
    Column("checked", lambda line: line.row.source.checked, "Checked", right=True),
    Column("checked_in_double", lambda line: line.row.source.checked_in_double, "Checked in double", right=True),
    Column("largest_difference", lambda line: line.row.source.largest_difference, "Difference", _small, right=True),
    Column("class", lambda line: line.row.run.class_, "Class", lambda line: classes.marked(line.row.run)),
    Column("basis", lambda line: line.row.run.basis, "Basis", lambda line: classes.basis(line.row.run)),
    _declared("causal", "Causal"),
    _declared("chain", "Chain"),
    Column("verdict", _causality("verdict"), "Verdict"),
    Column("cuts", _causality("cuts"), "Cuts", right=True),
    Column(
        "look_ahead",
        _causality("look_ahead"),
        "Look-ahead",
        lambda line: classes.look_ahead(line.row.run),
        right=True,
    ),
    Column("whole_piece", _causality("whole_piece"), "Whole piece"),
    _times("delay", "Delay"),
    _times("through", "Through"),
    Column("load", _load, "Load", lambda line: "-" if (load := _load(line)) is None else f"{load:.2f}", right=True),
    Column(
        "processor",
        lambda line: None if line.row.run.load is None else line.row.run.load.processor,
        "Processor",
    ),
    Column(
        "parameters",
        lambda line: line.row.run.parameters,
        "Params",
        lambda line: labels.count(line.row.run.parameters),
        right=True,
    ),
    _declared("training_data", "Trained on"),
    _declared("licence", "Licence"),
    _declared("weights_sha256", "Weights"),
    _declared("reference", "Reference"),
    _declared("not_eligible", "Not eligible because"),
    Column("behind", _behind("mean"), "Behind", right=True),
    Column("behind_low", _behind("low"), "Behind, low", right=True),
    Column("behind_high", _behind("high"), "Behind, high", right=True),
    Column("behind_p", _behind("p"), "p", right=True),
    Column(
        "behind_p_adjusted", lambda line: None if line.gap is None else line.gap.p_adjusted, "p, adjusted", right=True
    ),
    Column(
        "last_scored",
        lambda line: line.row.source.last_scored,
        "Date",
        lambda line: (line.row.source.last_scored or "-")[:10],
    ),
    _declared("key"),
)

COLUMNS = {column.name: column for column in _ALL}
"""What is said of a run: `low` to `high` is the 95 % interval of `mean`, `behind` the mean paired difference to the
ranked run above it, with its 95 % interval, its p value, and that adjusted over all ranked runs (Holm). A run cannot be
told apart from the first of its `group`. `engine` computed the scores, "locked", "fast", "fast64" or "mixed"; `fast` of
them are the fast engine's, with `parts` ears or stems, of which `in_double` were computed in double precision,
`checked` were scored by the locked engine too, and `checked_in_double` by double precision (`checks`). `label` is
what a run is called on its board, `name` what its owner chose to call it, `number` its number in the database.
`class` is "live", "causal" or "non-causal", `basis` what it rests on ("declared", "measured", "streamed");
`look_ahead`, `delay` and `through` are samples at 44.1 kHz. `load` is the 99th percentile of the processor time of a
block as a share of its duration, on one core of `processor`."""


def of_stems(names: Sequence[str]) -> dict[str, Column]:
    """A column for the mean of each stem, called as the stem is."""
    return {
        name: Column(name, lambda line, name=name: line.row.stems.get(name), heading(name), right=True)  # type: ignore[misc]
        for name in names
        if name not in COLUMNS
    }


def choose(
    names: Collection[str] | None, default: Sequence[str] = tuple(COLUMNS), stems: Sequence[str] = ()
) -> list[Column]:
    """The columns with these names, or the default ones if there are None.

    Args:
        names: which are wanted.
        default: which are shown otherwise; those of `stems` follow `right`.
        stems: names of the stems that are scored, of which there is a column each.

    Raises:
        LeaderboardError: there is no such column, or it is named twice, or none is named.
    """
    known = {**COLUMNS, **(extra := of_stems(stems))}
    after = default.index("right") + 1 if "right" in default else len(default)
    chosen = list([*default[:after], *extra, *default[after:]] if names is None else names)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        what = f"no column {', '.join(map(repr, unknown))}" if unknown else "no columns are named"
        raise LeaderboardError(f"{what}; there are {', '.join(known)}")
    if len(set(chosen)) < len(chosen):
        raise LeaderboardError(f"a column is named twice: {', '.join(chosen)}")
    return [known[name] for name in chosen]


def stems_of(boards: Iterable[Board], names: Collection[str] | None = None) -> tuple[str, ...]:
    """Which stems have columns, in the order in which they are shown.

    Args:
        boards: those that are shown together.
        names: the columns that were asked for. Then it is all stems among these: one that a board does not have is
            empty there, since another board may have it.
    """
    every = {name for board in boards for name in board.stems} if names is None else filter(NAME.fullmatch, names)
    return in_order(set(every))


def lines(board: Board) -> list[Line]:
    """The runs of a board in its order, with all that columns are made from."""
    gaps = {id(comparison.row): comparison for comparison in compare(board)}
    marks = labels.footnotes(board)
    return [
        Line(board, row, label, gaps.get(id(row)), marks)
        for row, label in zip(board.rows, labels.labels(board), strict=True)
    ]
