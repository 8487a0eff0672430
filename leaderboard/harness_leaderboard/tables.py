"""Boards and breakdowns as tables for a terminal, or as pictures of one.

A table has a line for each run. Columns are added in the order of their importance while there is room; what does not
fit is named below. Names and reasons come from strangers: they are shown as they are, never read as markup.
"""

import io
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness_leaderboard import columns, labels
from harness_leaderboard.formats import by_stem, notes, pivot
from harness_leaderboard.ranking import Board, breakdown
from harness_leaderboard.records import By
from harness_leaderboard.stems import heading as stem_heading

if TYPE_CHECKING:
    from harness_leaderboard.columns import Column

GAP = 2
"""Columns of the terminal between two columns of a table."""

ALWAYS = ("rank", "system", "mean")
"""What a board always shows, however narrow the terminal."""

BY_IMPORTANCE = (
    "group",
    "class",
    "left",
    "right",
    "load",
    "engine",
    "parameters",
    "look_ahead",
    "through",
    "scored",
    "training_data",
    "version",
    "last_scored",
)
"""What it shows besides while there is room; the first of them that fit."""

ORDER = (
    "rank",
    "group",
    "system",
    "version",
    "mean",
    "left",
    "right",
    "scored",
    "engine",
    "class",
    "look_ahead",
    "through",
    "load",
    "parameters",
    "training_data",
    "last_scored",
)
"""The order in which columns stand side by side."""

WHERE_KNOWN = ("look_ahead", "through", "load")
"""What it leaves out unless it is known of some run."""

PICTURE_WIDTH = 100
"""Columns of the terminal that a picture shows."""


def board_table(board: Board, width: int, names: Collection[str] | None = None, only: str = "") -> RenderableType:
    """A board with its title and notes.

    Args:
        board: the board.
        width: columns of the terminal.
        names: columns of `columns.COLUMNS`, or names of stems; if None, as many of the usual ones as fit, and where
            stems are scored, a second table of these.
        only: which runs are on the board, for the title.

    Raises:
        LeaderboardError: there is no such column.
    """
    lines = columns.lines(board)
    chosen = columns.choose(names, ORDER, () if names is None else columns.stems_of([board], names))
    cells = {column.name: [column.title, *(column.cell(line) for line in lines)] for column in chosen}
    widths = {name: max(map(cell_len, texts)) for name, texts in cells.items()}
    left_out: list[str] = []
    if names is None:
        chosen = [
            column
            for column in chosen
            if column.name not in WHERE_KNOWN or any(cell != "-" for cell in cells[column.name][1:])
        ]
        shown = _fitting({column.name: widths[column.name] for column in chosen}, width)
        left_out = [column.title.lower() for column in chosen if column.name not in shown]
        chosen = [column for column in chosen if column.name in shown]
    below = notes(board)
    if left_out:
        below.append(f"(no room for: {', '.join(left_out)}; choose with --columns)")
    table = _table(chosen, widths, width)
    for index in range(1, len(lines) + 1):
        table.add_row(*(Text(cells[column.name][index]) for column in chosen))
    parts: list[RenderableType] = [bold(labels.title(board, only)), table]
    if names is None and board.stems:
        systems = [columns.COLUMNS["system"].cell(line) for line in lines]
        means = [[line.row.stems.get(name) for name in board.stems] for line in lines]
        parts += [Text(), *_stem_tables("System", systems, board.stems, means, width)]
    return Group(*parts, *([Text(), *map(Text, below)] if below else []), Text())


def _stem_tables(
    heading: str, names: Sequence[str], stems: Sequence[str], means: Sequence[Sequence[float | None]], width: int
) -> list[RenderableType]:
    """The mean of each stem for each of some rows; several tables where one does not fit."""
    rows, across = [labels.printable(name) for name in names], list(map(stem_heading, stems))
    scores = [[labels.score(mean) for mean in line] for line in means]
    tables: list[RenderableType] = []
    for first, end in _blocks(heading, rows, across, width):
        tables += [Text()] if tables else []
        tables.append(_crossed(heading, rows, across[first:end], [line[first:end] for line in scores]))
    return tables


def _fitting(widths: dict[str, int], room: int) -> set[str]:
    """The columns that fit side by side: those that are always shown, then by importance whatever fits."""
    shown = set(ALWAYS)
    used = sum(widths[name] for name in shown) + GAP * (len(shown) - 1)
    for name in BY_IMPORTANCE:
        if name in widths and used + GAP + widths[name] <= room:
            shown.add(name)
            used += GAP + widths[name]
    return shown


def _table(chosen: "Sequence[Column]", widths: dict[str, int], room: int) -> Table:
    """An empty table with these columns; where they do not fit, those with words are folded, the widest first."""
    table = empty_table()
    tight = sum(widths[column.name] for column in chosen) + GAP * (len(chosen) - 1) > room
    for column in chosen:
        folded = tight and not column.right
        table.add_column(
            Text(column.title),
            justify="right" if column.right else "left",
            no_wrap=not folded,
            overflow="fold",
            min_width=None if folded else widths[column.name],
        )
    return table


def empty_table() -> Table:
    """A table without columns, in the form that all of them have."""
    # The box itself puts a space between two columns.
    return Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)


def bold(text: str) -> Text:
    """A stranger's text as a title."""
    return Text(labels.printable(text), style="bold")


def breakdown_table(board: Board, by: By, width: int, only: str = "") -> RenderableType:
    """The mean scores of each group of pairs, with a title.

    Groups are the rows and runs the columns; the other way round if only so it fits; else in several tables of as many
    runs as fit. Where stems are scored, a table for each run follows with the means of these.

    Args:
        board: the board.
        by: what to group pairs by.
        width: columns of the terminal.
        only: which runs are on the board, for the title.
    """
    runs = [labels.printable(label) for label in labels.labels(board)]
    found = breakdown(board, by)
    crossed = pivot(board, found)
    groups = [labels.printable(name) for name, _ in crossed]
    scores = [[labels.score(mean) for mean in means] for _, means in crossed]
    heading = by.capitalize()
    tables: list[Table]
    if _width(heading, groups, runs) <= width:
        tables = [_crossed(heading, groups, runs, scores)]
    elif _width("System", runs, groups) <= width:
        tables = [_crossed("System", runs, groups, [list(column) for column in zip(*scores, strict=True)])]
    else:
        tables = []
        for first, end in _blocks(heading, groups, runs, width):
            tables.append(_crossed(heading, groups, runs[first:end], [line[first:end] for line in scores]))
    title = bold(f"Mean HAAQI by {by} · {labels.title(board, only)}")
    parts: list[RenderableType] = [title, *(part for table in tables for part in (table, Text()))]
    for label, lines in by_stem(board, found):
        names, means = zip(*lines, strict=True)
        parts += [bold(f"{label}: mean HAAQI by {by} and stem")]
        parts += [*_stem_tables(heading, names, board.stems, means, width), Text()]
    return Group(*parts)


SCORE_WIDTH = len("0.1234")


def _width(heading: str, rows: Sequence[str], across: Sequence[str]) -> int:
    """Columns of the terminal that a table of scores takes."""
    first = max(map(cell_len, [heading, *rows]))
    return first + sum(GAP + max(SCORE_WIDTH, cell_len(name)) for name in across)


def _blocks(heading: str, rows: Sequence[str], across: Sequence[str], room: int) -> list[tuple[int, int]]:
    """Where to cut `across` so that each table fits; a column that is too wide by itself has a table of its own."""
    blocks = []
    first = 0
    for end in range(1, len(across) + 1):
        if end == len(across) or _width(heading, rows, across[first : end + 1]) > room:
            blocks.append((first, end))
            first = end
    return blocks


def _crossed(heading: str, rows: Sequence[str], across: Sequence[str], scores: Sequence[Sequence[str]]) -> Table:
    table = empty_table()
    table.add_column(heading, overflow="fold")
    for name in across:
        table.add_column(Text(name), justify="right", overflow="fold", min_width=SCORE_WIDTH)
    for name, line in zip(rows, scores, strict=True):
        table.add_row(Text(name), *line)
    return table


def shown(
    boards: Iterable[Board],
    width: int,
    by: Sequence[By] = (),
    names: Collection[str] | None = None,
    only: str = "",
) -> list[RenderableType]:
    """The tables of boards, or of their breakdowns if there are any: see `board_table` and `breakdown_table`."""
    if not by:
        return [board_table(board, width, names, only) for board in boards]
    return [breakdown_table(board, each, width, only) for board in boards for each in by]


def picture(parts: Iterable[RenderableType]) -> str:
    """A picture of a terminal that shows these things, as SVG; the same for the same things."""
    console = Console(
        record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(*parts)
    # Rich names fonts on somebody's server, which whoever looks at the picture would fetch from.
    return re.sub(
        r"@font-face \{.*?\}\s*",
        "",
        console.export_svg(title="harness leaderboard", unique_id="harness-leaderboard"),
        flags=re.DOTALL,
    )
