"""Boards for people and programs: rich tables, Markdown, CSV and JSON.

Conventions:

- Tables and Markdown are for people: scores with four digits, parameters like 83.9M.
- CSV and JSON are for programs: every number comes back to the last bit, parameters are integers, what is not
  there is an empty field or null. Keys and columns have the same names, see `COLUMNS`.
- Names and reasons come from strangers. In tables they are shown as they are, never read as markup; in Markdown
  what would be read as formatting is escaped. Characters that cannot be printed become U+FFFD in both.
- The evaluator of a run is for people "locked", or how many scores are fast, how many of these were checked
  against the locked engine, and by how much they differed at most. For programs "evaluator" is the fingerprint.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from harness_leaderboard.ranking import Board, By, Row, breakdown, compare

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = (
    "evaluation_set",
    "split",
    "evaluation_set_sha256",
    "evaluator",
    "rank",
    "status",
    "why_not_ranked",
    "system",
    "version",
    "submission",
    "settings",
    "mean",
    "low",
    "high",
    "left",
    "right",
    "scored",
    "due",
    "failed",
    "engine",
    "fast",
    "checked",
    "largest_difference",
    "causal",
    "parameters",
    "training_data",
    "licence",
    "weights_sha256",
    "reference",
    "not_eligible",
    "behind",
    "behind_low",
    "behind_high",
    "behind_p",
    "last_scored",
    "key",
)
"""What is said of a run: `low` to `high` is the 95 % interval of `mean`, `behind` the mean paired difference to the
ranked run above it, with its 95 % interval and p value. `engine` computed the scores, "locked", "fast" or "mixed";
`fast` of them are the fast engine's, and of these `checked` were scored by the locked engine too."""

BREAKDOWN_COLUMNS = (
    "evaluation_set",
    "split",
    "evaluation_set_sha256",
    "evaluator",
    "by",
    "group",
    "system",
    "version",
    "submission",
    "mean",
    "left",
    "right",
    "pairs",
    "key",
)
"""What is said of a run over the pairs of one listener, scene or track."""


NARROW, WIDE = 100, 120
"""Columns of a terminal from which on a board has room for everything but the date, and for everything."""


def board_table(board: Board, width: int = WIDE) -> "Table":
    """A board as a rich table.

    Args:
        board: the board.
        width: columns of the terminal; below `WIDE` the date and below `NARROW` the training data too are left out
            rather than squeezed.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    labels = _labels(board)
    reasons = [
        f"{label} is {row.status}: {row.why_not_ranked}"
        for row, label in zip(board.rows, labels, strict=True)
        if row.status in ("disputed", "not eligible", "unchecked")
    ]
    table = Table(
        title=Text(_printable(_title(board))),
        caption=Text(_printable("\n".join(["", *_notes(board), *reasons]))),
        title_justify="left",
        caption_justify="left",
        title_style="bold",
        caption_style="",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    # In a narrow terminal the columns of words are the ones to be wrapped, numbers stay whole. The columns before
    # "Trained on" are kept slim so that there is room for the longest word of its labels, "supplementation".
    roomy = width >= WIDE
    table.add_column("Rank", no_wrap=True)
    table.add_column("System", overflow="fold", min_width=9, max_width=13 if roomy else 11)
    for header in ("HAAQI ±95 %", "Left", "Right"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("Pairs", justify="right", max_width=8 if width >= NARROW else 7)
    table.add_column("Evaluator", overflow="fold", max_width=18 if roomy else 9)
    table.add_column("Causal", no_wrap=True)
    table.add_column("Params", justify="right", no_wrap=True)
    if width >= NARROW:
        table.add_column("Trained on", overflow="fold")
    if roomy:
        table.add_column("Date", no_wrap=True)
    for row, label in zip(board.rows, labels, strict=True):
        cells = (
            _rank(row).replace(" ", "\n"),
            f"{label} {row.run.version}",
            _mean(row),
            _score(row.left),
            _score(row.right),
            f"{row.scored} of {row.due}",
            _evaluator(row),
            "yes" if row.run.causal else "no",
            _count(row.run.parameters),
            row.run.training_data,
            _date(row),
        )
        table.add_row(*(Text(_printable(cell)) for cell in cells[: len(table.columns)]))
    if not roomy:
        left_out = "training data and date" if width < NARROW else "date"
        table.caption = Text.assemble(table.caption or "", f"\n({left_out}: in a wider terminal)")
    return table


def breakdown_table(board: Board, by: By) -> "Table":
    """The mean scores of each listener, scene or track as a rich table, one column per run."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(_printable(f"Mean HAAQI by {by} · {_title(board)}")),
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    table.add_column(by.capitalize(), overflow="fold")
    for label in _labels(board):
        table.add_column(Text(_printable(label)), justify="right", overflow="fold")
    for name, means in _pivot(board, by):
        table.add_row(Text(_printable(name)), *map(_score, means))
    return table


def boards_markdown(boards: Iterable[Board]) -> str:
    """Boards as GitHub Markdown: a heading, a table and the differences between ranked runs for each."""
    headers = (
        "Rank",
        "System",
        "Version",
        "HAAQI ±95 %",
        "Left",
        "Right",
        "Pairs",
        "Evaluator",
        "Class",
        "Parameters",
        "Training data",
        "Not ranked because",
        "Date",
    )
    parts = []
    for board in boards:
        lines = [
            (
                _rank(row),
                label,
                row.run.version,
                _mean(row),
                _score(row.left),
                _score(row.right),
                f"{row.scored} of {row.due}",
                _evaluator(row),
                "causal" if row.run.causal else "non-causal",
                _count(row.run.parameters),
                row.run.training_data,
                row.why_not_ranked or "",
                _date(row),
            )
            for row, label in zip(board.rows, _labels(board), strict=True)
        ]
        notes = "".join(f"- {_escaped(note)}\n" for note in _notes(board))
        table = _markdown_table(headers, lines, right=("HAAQI ±95 %", "Left", "Right", "Pairs", "Parameters"))
        parts.append(f"### {_escaped(_title(board))}\n\n{table}" + (f"\n{notes}" if notes else ""))
    return "\n".join(parts)


def breakdown_markdown(board: Board, by: By) -> str:
    """The mean scores of each listener, scene or track as GitHub Markdown, one column per run."""
    labels = _labels(board)
    lines = [(name, *map(_score, means)) for name, means in _pivot(board, by)]
    table = _markdown_table((by.capitalize(), *labels), lines, right=labels)
    return f"### {_escaped(f'Mean HAAQI by {by} · {_title(board)}')}\n\n{table}"


def boards_json(boards: Iterable[Board]) -> list[dict[str, Any]]:
    """Boards as a JSON value: one object per run, with the keys `COLUMNS`."""
    return [line for board in boards for line in _board_json(board)]


def breakdown_json(board: Board, by: By) -> list[dict[str, Any]]:
    """A breakdown as a JSON value: one object per run and group, with the keys `BREAKDOWN_COLUMNS`."""
    return [
        {
            **_about(board),
            "by": by,
            "group": group.name,
            "system": group.row.run.system,
            "version": group.row.run.version,
            "submission": group.row.run.submission,
            "mean": group.mean,
            "left": group.left,
            "right": group.right,
            "pairs": group.pairs,
            "key": group.row.run.key,
        }
        for group in breakdown(board, by)
    ]


def boards_csv(boards: Iterable[Board]) -> str:
    """Boards as CSV with a header: one line per run, with the columns `COLUMNS`; settings are JSON."""
    lines = boards_json(boards)
    for line in lines:
        line["settings"] = json.dumps(line["settings"], sort_keys=True, ensure_ascii=False)
    return _csv(COLUMNS, lines)


def breakdown_csv(board: Board, by: By) -> str:
    """A breakdown as CSV with a header: one line per run and group, with the columns `BREAKDOWN_COLUMNS`."""
    return _csv(BREAKDOWN_COLUMNS, breakdown_json(board, by))


def _board_json(board: Board) -> list[dict[str, Any]]:
    behind = {id(comparison.row): comparison.behind for comparison in compare(board)}
    lines = []
    for row in board.rows:
        run, mean, gap = row.run, row.estimate, behind.get(id(row))
        lines.append(
            {
                **_about(board),
                "rank": row.rank,
                "status": row.status,
                "why_not_ranked": row.why_not_ranked,
                "system": run.system,
                "version": run.version,
                "submission": run.submission,
                "settings": dict(run.settings),
                "mean": mean.mean if mean else None,
                "low": mean.low if mean else None,
                "high": mean.high if mean else None,
                "left": row.left,
                "right": row.right,
                "scored": row.scored,
                "due": row.due,
                "failed": row.source.failed,
                "engine": _engine(row),
                "fast": row.source.fast,
                "checked": row.source.checked,
                "largest_difference": row.source.largest_difference,
                "causal": run.causal,
                "parameters": run.parameters,
                "training_data": run.training_data,
                "licence": run.licence,
                "weights_sha256": run.weights_sha256,
                "reference": run.reference,
                "not_eligible": run.not_eligible,
                "behind": gap.mean if gap else None,
                "behind_low": gap.low if gap else None,
                "behind_high": gap.high if gap else None,
                "behind_p": gap.p if gap else None,
                "last_scored": row.source.last_scored,
                "key": run.key,
            }
        )
    return lines


def _about(board: Board) -> dict[str, Any]:
    """The columns that say which board a line belongs to."""
    return {
        "evaluation_set": board.evaluation_set.name,
        "split": board.evaluation_set.split,
        "evaluation_set_sha256": board.evaluation_set.sha256,
        "evaluator": board.fingerprint,
    }


def _csv(columns: Sequence[str], lines: Iterable[dict[str, Any]]) -> str:
    # The csv module writes floats with repr, which is the shortest text that reads back as the same number.
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _title(board: Board) -> str:
    about = board.evaluation_set
    return f"{about.name} · {about.split} · set {about.sha256[:12]} · evaluator {board.fingerprint[:12]}"


def _labels(board: Board) -> list[str]:
    """What to call each run: its system, or as much more as it takes to tell it from the others."""
    labels = [row.run.system for row in board.rows]
    for more in ("submission", "key"):
        labels = [
            f"{row.run.system} ({getattr(row.run, more)[:24]})" if labels.count(label) > 1 else label
            for row, label in zip(board.rows, labels, strict=True)
        ]
    return labels


def _notes(board: Board) -> list[str]:
    """A line on the paired difference between each ranked run and the one above it."""
    names = {id(row): label for row, label in zip(board.rows, _labels(board), strict=True)}
    notes = []
    for comparison in compare(board):
        gap = comparison.behind
        note = f"{names[id(comparison.row)]} is {gap.mean:.4f} behind {names[id(comparison.above)]}"
        if gap.low is not None and gap.high is not None and gap.p is not None:
            p = "p < 0.0001" if gap.p < 0.0001 else f"p = {gap.p:.4f}"
            note += f" (95 %: {gap.low:.4f} to {gap.high:.4f}; {p})"
        notes.append(note)
    return notes


def _pivot(board: Board, by: By) -> list[tuple[str, list[float | None]]]:
    """For each listener, scene or track its name and the mean of each row of the board, None without pairs."""
    column = {id(row): index for index, row in enumerate(board.rows)}
    lines: dict[str, list[float | None]] = {}
    for group in breakdown(board, by):
        lines.setdefault(group.name, [None] * len(board.rows))[column[id(group.row)]] = group.mean
    return list(lines.items())


def _rank(row: Row) -> str:
    return row.status if row.rank is None else str(row.rank)


def _mean(row: Row) -> str:
    """The mean and half the width of its 95 % interval."""
    if row.estimate is None:
        return "-"
    if row.estimate.high is None:
        return f"{row.estimate.mean:.4f}"
    return f"{row.estimate.mean:.4f}±{row.estimate.high - row.estimate.mean:.4f}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _engine(row: Row) -> str | None:
    """Which engine computed the scores of a run; None without scores."""
    if not row.scored:
        return None
    return "locked" if row.source.only_fast == 0 else "fast" if row.source.fast == row.scored else "mixed"


def _evaluator(row: Row) -> str:
    """The engine of a run, and how well its fast scores are checked: "fast, 2 checked, 3e-10"."""
    engine, source = _engine(row), row.source
    if engine is None or engine == "locked":
        return engine or "-"
    which = "fast," if engine == "fast" else f"fast {source.fast}, locked {row.scored - source.fast};"
    gap = source.largest_difference
    return f"{which} {source.checked} checked" + ("" if gap is None else f", {gap:.0e}" if gap else ", 0")


def _date(row: Row) -> str:
    return (row.source.last_scored or "-")[:10]


def _count(number: int | None) -> str:
    """A number of parameters with one digit after the point: 83.9M, 12.0k, 950; ? where it is not declared."""
    if number is None:
        return "?"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # A little less than 1, so that 999,999 is 1.0M and not 1000.0k.
        if number / size >= 0.99995:
            return f"{number / size:.1f}{unit}"
    return str(number)


def _printable(text: str) -> str:
    """The text without characters that would move the cursor or change colours; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)


def _escaped(text: str) -> str:
    """The text as it has to be written in Markdown to appear as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", _printable(" ".join(text.splitlines())))


def _markdown_table(headers: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[str]) -> str:
    """A Markdown table, the columns named in `right` set flush right."""
    rule = ["---:" if header in right else "---" for header in headers]
    rows = [list(map(_escaped, headers)), rule, *(list(map(_escaped, line)) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
