"""Boards and breakdowns as CSV, JSON, Markdown and LaTeX.

Conventions:

- CSV and JSON are for programs: every number comes back to the last bit, parameters are integers, what is not
  there is an empty field or null. Keys and columns have the same names, see `columns.COLUMNS`. "evaluator" is the
  fingerprint of the locked evaluator, "engine" what computed the scores.
- Names and reasons come from strangers. In CSV, a text that a spreadsheet would take for a formula (it begins with
  one of = + - @, a tab or a carriage return, and is no number) has an apostrophe before it, and characters that cannot
  be printed are escaped (`\\n`, `\\x1b`). JSON escapes whatever is not ASCII.
- Markdown and LaTeX are for people: scores with four digits, parameters like 83.9M. What would be read as formatting,
  as a link or as a mention of somebody is escaped, and so are characters that cannot be printed.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from harness_leaderboard import columns, labels
from harness_leaderboard.classes import legend
from harness_leaderboard.comparing import basis, in_words
from harness_leaderboard.ranking import Board, Group, breakdown
from harness_leaderboard.records import By
from harness_leaderboard.stems import heading

BREAKDOWN_COLUMNS = (
    "evaluation_set",
    "split",
    "evaluation_set_sha256",
    "evaluator",
    "by",
    "group",
    "label",
    "number",
    "name",
    "system",
    "version",
    "submission",
    "mean",
    "left",
    "right",
    "pairs",
    "key",
)
"""What is said of a run over the pairs of one listener, scene or track, or of one pair."""

MARKDOWN_COLUMNS = (
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
    "parameters",
    "training_data",
    "last_scored",
)

LATEX_COLUMNS = ("rank", "group", "system", "mean", "left", "right", "class", "parameters")


# For programs


def boards_json(boards: Iterable[Board], names: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Boards as a JSON value: one object per run, with these columns for keys (all that its board has if None).

    Raises:
        LeaderboardError: there is no such column.
    """
    found: list[dict[str, Any]] = []
    for board in boards:
        chosen = columns.choose(names, stems=columns.stems_of([board], names))
        found += [{column.name: column.value(line) for column in chosen} for line in columns.lines(board)]
    return found


def boards_csv(boards: Iterable[Board], names: Collection[str] | None = None) -> str:
    """Boards as CSV with one header: one line per run, with these columns (all if None); settings are JSON.

    Raises:
        LeaderboardError: there is no such column.
    """
    boards = list(boards)
    lines = boards_json(boards, names)
    for line in lines:
        if "settings" in line:
            line["settings"] = json.dumps(line["settings"], sort_keys=True, ensure_ascii=False)
    return csv_text([column.name for column in columns.choose(names, stems=columns.stems_of(boards, names))], lines)


def breakdown_json(boards: Iterable[Board], by: Sequence[By]) -> list[dict[str, Any]]:
    """Breakdowns as a JSON value: one object per board, breakdown, group and run, with the keys `BREAKDOWN_COLUMNS`.

    Where stems are scored, their means stand between "right" and "pairs", called as the stems are.
    """
    found = []
    for board in boards:
        named = {id(row): label for row, label in zip(board.rows, labels.labels(board), strict=True)}
        about = board.evaluation_set
        found += [
            {
                "evaluation_set": about.name,
                "split": about.split,
                "evaluation_set_sha256": about.sha256,
                "evaluator": board.fingerprint,
                "by": str(each),
                "group": group.name,
                "label": named[id(group.row)],
                "number": group.row.source.id,
                "name": group.row.source.name,
                "system": group.row.run.system,
                "version": group.row.run.version,
                "submission": group.row.run.submission,
                "mean": group.mean,
                "left": group.left,
                "right": group.right,
                **{name: group.stems.get(name) for name in board.stems},
                "pairs": group.pairs,
                "key": group.row.run.key,
            }
            for each in by
            for group in breakdown(board, each)
        ]
    return found


def breakdown_csv(boards: Iterable[Board], by: Sequence[By]) -> str:
    """Breakdowns as CSV with one header: see `breakdown_json`."""
    boards = list(boards)
    place = BREAKDOWN_COLUMNS.index("pairs")
    names = (*BREAKDOWN_COLUMNS[:place], *columns.stems_of(boards), *BREAKDOWN_COLUMNS[place:])
    return csv_text(names, breakdown_json(boards, by))


def csv_text(names: Sequence[str], lines: Iterable[dict[str, Any]]) -> str:
    """Lines as CSV with a header; names are those of the columns, and what a line does not have is empty."""
    # The csv module writes floats with repr, which is the shortest text that reads back as the same number.
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in line.items()} for line in lines)
    return text.getvalue()


def cell(value: Any) -> Any:
    """A value as a cell of CSV, which no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    if value.startswith(("=", "+", "-", "@", "\t", "\r")) and not re.fullmatch(r"[+-]?\d+(\.\d*)?", value, re.ASCII):
        value = f"'{value}"
    return labels.escaped(value)


# For people


def pivot(board: Board, groups: Sequence[Group]) -> list[tuple[str, list[float | None]]]:
    """For each group of a breakdown its name and the mean of each row of the board, None without pairs."""
    column = {id(row): index for index, row in enumerate(board.rows)}
    lines: dict[str, list[float | None]] = {}
    for group in groups:
        lines.setdefault(group.name, [None] * len(board.rows))[column[id(group.row)]] = group.mean
    return list(lines.items())


def by_stem(board: Board, groups: Sequence[Group]) -> list[tuple[str, list[tuple[str, list[float | None]]]]]:
    """For each run its label, and for each of its groups the name and the mean of each of the board's stems.

    Runs without scores are left out; where no stems are scored, so are all.
    """
    named = {id(row): label for row, label in zip(board.rows, labels.labels(board), strict=True)}
    found: dict[str, list[tuple[str, list[float | None]]]] = {}
    for group in groups if board.stems else ():
        means = [group.stems.get(name) for name in board.stems]
        found.setdefault(named[id(group.row)], []).append((group.name, means))
    # In the board's order, whichever run has the first group.
    return [(label, found[label]) for label in named.values() if label in found]


def notes(board: Board) -> list[str]:
    """What stands below a board: who cannot be told apart, footnotes, what classes rest on, how fast scores were
    checked, shared files, gaps between ranked runs and what they rest on."""
    told_apart = [in_words(board)] if len(board.ranked) > 1 else []
    reasons = [f"{mark} {reason}" for mark, reason in labels.footnotes(board).items()]
    below = (
        *legend([row.run for row in board.rows]),
        *labels.contradictions(board),
        *labels.checks(board),
        *labels.shares(board),
        *labels.gaps(board),
        *basis(board),
    )
    return [labels.printable(note) for note in (*told_apart, *reasons, *below)]


def boards_markdown(boards: Iterable[Board], names: Collection[str] | None = None, only: str = "") -> str:
    """Boards as GitHub Markdown: for each a heading, a table, and its notes.

    Args:
        boards: the boards.
        names: columns of `columns.COLUMNS`; a usual choice if None.
        only: which runs are on the boards, for the headings.

    Raises:
        LeaderboardError: there is no such column.
    """
    parts = []
    for board in boards:
        chosen = columns.choose(names, MARKDOWN_COLUMNS, columns.stems_of([board], names))
        cells = [[column.cell(line) for column in chosen] for line in columns.lines(board)]
        table = _markdown_table([column.title for column in chosen], cells, [column.right for column in chosen])
        below = "".join(f"- {_markdown(note)}\n" for note in notes(board))
        parts.append(f"### {_markdown(labels.title(board, only))}\n\n{table}" + (f"\n{below}" if below else ""))
    return "\n".join(parts)


def breakdown_markdown(boards: Iterable[Board], by: Sequence[By], only: str = "") -> str:
    """The mean scores of each group of pairs as GitHub Markdown, one column per run, a table for each breakdown."""
    parts = []
    for board in boards:
        names = labels.labels(board)
        for each in by:
            for title, headers, lines in _breakdown_tables(board, each, names):
                table = _markdown_table(headers, lines, [False] + [True] * (len(headers) - 1))
                parts.append(f"### {_markdown(f'{title} · {labels.title(board, only)}')}\n\n{table}")
    return "\n".join(parts)


def _breakdown_tables(
    board: Board, by: By, names: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, headers and lines of the tables of a breakdown: one of all runs; where stems are scored, one of each."""
    found = breakdown(board, by)
    lines = [(name, *map(labels.score, means)) for name, means in pivot(board, found)]
    yield f"Mean HAAQI by {by}", (by.capitalize(), *names), lines
    headers = (by.capitalize(), *map(heading, board.stems))
    for label, groups in by_stem(board, found):
        yield f"{label}: mean HAAQI by {by} and stem", headers, [(n, *map(labels.score, means)) for n, means in groups]


def _markdown(text: str) -> str:
    """The text as it has to be written in Markdown to appear as it is, on one line, without links or mentions."""
    escaped = re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", labels.printable(text))
    # GitHub makes links of addresses and of @name, #12 and GH-12, escaped or not; an empty comment takes them apart.
    return re.sub(r"(@(?=\w)|#(?=\w)|:(?=//)|www(?=\.)|\bGH(?=-))", r"\1<!-- -->", escaped, flags=re.IGNORECASE)


def _markdown_table(headers: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    rule = ["---:" if flush else "---" for flush in right]
    rows = [list(map(_markdown, headers)), rule, *(list(map(_markdown, line)) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def boards_latex(boards: Iterable[Board], names: Collection[str] | None = None, only: str = "") -> str:
    r"""Boards as LaTeX: for each a tabular in the manner of the package booktabs, with its notes as comments.

    Args:
        boards: the boards.
        names: columns of `columns.COLUMNS`; those that a paper needs if None.
        only: which runs are on the boards, for the comments.

    Raises:
        LeaderboardError: there is no such column.
    """
    parts = []
    for board in boards:
        chosen = columns.choose(names, LATEX_COLUMNS, columns.stems_of([board], names))
        cells = [[column.cell(line) for column in chosen] for line in columns.lines(board)]
        table = latex_table([column.title for column in chosen], cells, [column.right for column in chosen])
        parts.append(latex_comments([labels.title(board, only)]) + table + latex_comments(notes(board)))
    return "\n".join(parts)


def breakdown_latex(boards: Iterable[Board], by: Sequence[By], only: str = "") -> str:
    """The mean scores of each group of pairs as LaTeX, one column per run, a tabular for each breakdown."""
    parts = []
    for board in boards:
        names = labels.labels(board)
        for each in by:
            for title, headers, lines in _breakdown_tables(board, each, names):
                comment = latex_comments([f"{title} · {labels.title(board, only)}"])
                parts.append(comment + latex_table(headers, lines, [False] + [True] * (len(headers) - 1)))
    return "\n".join(parts)


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # At the beginning of a row, a bracket would be read as the option of the \\ before it, a star as its variant.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\ldots{}",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    **{mark: rf"\textsuperscript{{{digit}}}" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
"""What a character has to be written as in LaTeX. The tick needs the package amssymb."""


def _latex(text: str) -> str:
    """The text as it has to be written in LaTeX to appear as it is, on one line."""
    return "".join(_LATEX.get(char, char) for char in labels.printable(text))


def latex_comments(lines: Iterable[str]) -> str:
    """Lines as comments of LaTeX."""
    return "".join(f"% {labels.printable(line)}\n" for line in lines)


def latex_table(headers: Sequence[str], lines: Iterable[Sequence[str]], right: Sequence[bool]) -> str:
    """Texts as a tabular in the manner of the package booktabs.

    Args:
        headers: of the columns.
        lines: cells of each line.
        right: whether each column is set flush right.
    """

    def row(cells: Sequence[str]) -> str:
        return f"  {' & '.join(map(_latex, cells))} \\\\\n"

    alignment = "".join("r" if flush else "l" for flush in right)
    body = "".join(map(row, lines))
    return (
        f"\\begin{{tabular}}{{{alignment}}}\n  \\toprule\n{row(headers)}  \\midrule\n{body}"
        "  \\bottomrule\n\\end{tabular}\n"
    )
