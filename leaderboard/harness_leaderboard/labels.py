"""How runs are called and told apart, and how their figures are written for people.

Names, settings and reasons come from strangers: whoever prints what is returned here makes it printable first
(`printable`), and escapes what the format would read as markup.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness_leaderboard.classes import contradicts
from harness_leaderboard.ranking import Board, Row, compare
from harness_leaderboard.records import CHECK_TOLERANCE

LONGEST_VALUE = 16
"""Characters of a setting's value that are shown; of a longer one the end is, as the ends of paths differ."""

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def labels(board: Board) -> list[str]:
    """What to call each run of a board, in its order; no two are called the same.

    A run is called by the name that was chosen for it, else by its system. Where that leaves several with one label,
    what differs between them is added: settings, else the version, else the submission's folder, else the run's number.
    """
    found = [row.source.name or row.run.system for row in board.rows]
    chosen = [row.source.name is not None for row in board.rows]
    features: tuple[Callable[[Sequence[Row]], list[str]], ...] = (_settings, _versions, _submissions)
    for feature in features:
        for group in _alike(found):
            # Only those without a name of their own are told apart by what they are.
            group = [index for index in group if not chosen[index]]
            texts = feature([board.rows[index] for index in group])
            if len(set(texts)) > 1:
                for index, text in zip(group, texts, strict=True):
                    found[index] = f"{found[index]} {text}".rstrip()
    while alike := _alike(found):
        for index in (index for group in alike for index in group):
            found[index] += f" #{board.rows[index].source.id}"
        if _alike(found) == alike:  # numbers that do not differ: rows that are in no database
            break
    return found


def _alike(texts: Sequence[str]) -> list[list[int]]:
    """The positions of equal texts, for each text that occurs more than once."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        places[text].append(index)
    return [group for group in places.values() if len(group) > 1]


def _versions(rows: Sequence[Row]) -> list[str]:
    return [f"v{row.run.version.removeprefix('v')}" for row in rows]


def _submissions(rows: Sequence[Row]) -> list[str]:
    return [f"({row.run.submission})" for row in rows]


def _settings(rows: Sequence[Row]) -> list[str]:
    """The settings in which runs differ, as few of them as tell apart all that differ: "width=0.5"."""
    # What follows separation is told apart like a setting.
    chosen_for = [{**row.run.settings, "chain": row.run.chain} for row in rows]
    written = [{key: _value(value) for key, value in settings.items()} for settings in chosen_for]
    keys = sorted({key for settings in written for key in settings})

    def kinds(chosen: Sequence[str]) -> int:
        return len({_at(settings, chosen) for settings in written})

    wanted = kinds(keys)
    chosen: list[str] = []
    while kinds(chosen) < wanted:
        # max takes the first of equals, so that the same runs are always called the same.
        chosen.append(max((key for key in keys if key not in chosen), key=lambda key: kinds([*chosen, key])))
    return [
        " ".join(f"{key}={_shortened(settings[key])}" for key in sorted(chosen) if key in settings)
        for settings in written
    ]


def _at(settings: Mapping[str, str], keys: Sequence[str]) -> tuple[str | None, ...]:
    return tuple(settings.get(key) for key in keys)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"…{text[1 - LONGEST_VALUE :]}"


def title(board: Board, only: str = "") -> str:
    """What a board is about: its evaluation set and evaluator, and which runs there are `only` on it.

    Where stems are scored, the protocol is named too: a board of remixes is the rule, and needs no word.
    """
    about = board.evaluation_set
    parts = (
        about.name,
        about.split,
        board.protocol if board.stems else "",
        only,
        f"set {about.sha256[:12]}",
        f"evaluator {board.fingerprint[:12]}",
    )
    return " · ".join(part for part in parts if part)


def gaps(board: Board) -> list[str]:
    """A line on the paired difference between each ranked run and the one above it; p values are adjusted (Holm)."""
    names = {id(row): label for row, label in zip(board.rows, labels(board), strict=True)}
    lines = []
    for comparison in compare(board):
        gap = comparison.behind
        line = f"{names[id(comparison.row)]} is {gap.mean:.4f} behind {names[id(comparison.above)]}"
        if gap.low is not None and gap.high is not None and comparison.p_adjusted is not None:
            line += f" (95 %: {gap.low:.4f} to {gap.high:.4f}; p {p_value(comparison.p_adjusted, '= ')})"
        lines.append(line)
    return lines


def p_value(p: float | None, sign: str = "") -> str:
    """A p value with four digits, `sign` before it; "< 0.0001" where it is smaller, "-" where there is none."""
    return "-" if p is None else "< 0.0001" if p < 0.0001 else f"{sign}{p:.4f}"


def footnotes(board: Board) -> dict[str, str]:
    """The reasons for which runs have no rank, each with its mark: "¹" and "incomplete: 3 of 4 pairs scored"."""
    reasons = dict.fromkeys(_reason(row) for row in board.rows if row.rank is None)
    return {str(number).translate(SUPERSCRIPTS): reason for number, reason in enumerate(reasons, start=1)}


def _reason(row: Row) -> str:
    return f"{row.status}: {row.why_not_ranked}"


def rank(row: Row, marks: Mapping[str, str]) -> str:
    """A run's rank, or a dash and the mark of the footnote that says why it has none."""
    if row.rank is not None:
        return str(row.rank)
    return "–" + next((mark for mark, reason in marks.items() if reason == _reason(row)), "")


def engine(row: Row) -> str | None:
    """Which engine computed the scores of a run: "locked", "fast", "fast64" (all in double precision) or "mixed".

    None without scores.
    """
    source = row.source
    if not row.scored:
        return None
    if source.only_fast == 0:
        return "locked"
    if source.fast < row.scored:
        return "mixed"
    return "fast64" if source.in_double and source.in_double == source.parts else "fast"


def checked_engine(row: Row) -> str:
    """The engine of a run with the outcome of its checks: "fast ✓", "fast ✗" if disputed, "fast" while they lack."""
    which, source = engine(row), row.source
    if which is None or which == "locked":
        return which or "-"
    if source.largest_difference is not None and source.largest_difference > CHECK_TOLERANCE:
        return f"{which} ✗"
    return which if source.checks_lacking else f"{which} ✓"


def contradictions(board: Board) -> list[str]:
    """A line for each run that was found not to be causal, with the reason."""
    return [
        f"{label} is not causal: {row.run.causality.reason}"
        for row, label in zip(board.rows, labels(board), strict=True)
        if row.run.causality is not None and contradicts(row.run)
    ]


def checks(board: Board) -> list[str]:
    """A line on how the scores of runs marked ✓ were checked; none without such runs."""
    rows = [row for row in board.rows if checked_engine(row).endswith("✓")]
    if not rows:
        return []
    sources = [row.source for row in rows]
    parts, locked, double, computed = (
        sum(getattr(source, name) for source in sources)
        for name in ("parts", "checked", "checked_in_double", "in_double")
    )
    gaps = [source.largest_difference for source in sources if source.largest_difference is not None]
    largest = f"; largest difference {_small(max(gaps))}, allowed {_small(CHECK_TOLERANCE)}" if gaps else ""
    return [
        f"✓ {parts:,} {'stems' if board.stems else 'ears'} with fast scores ({computed:,} in double precision): "
        f"{locked:,} checked by the locked evaluator, {double:,} by double precision{largest}"
    ]


def shares(board: Board) -> list[str]:
    """A line for each two runs of the board that have files in common."""
    names = {row.source.id: label for row, label in zip(board.rows, labels(board), strict=True)}
    found = []
    for row in board.rows:
        for other, count in sorted(row.source.shares.items()):
            if other in names and row.source.id < other:
                files = min(row.scored, board.evaluation_set.pairs)
                found.append(f"{names[row.source.id]} and {names[other]} share {count} of {files} files, byte for byte")
    return found


def _small(value: float) -> str:
    return f"{value:.0e}" if value else "0"


def estimate(row: Row) -> str:
    """The mean and half the width of its 95 % interval."""
    if row.estimate is None:
        return "-"
    if row.estimate.high is None:
        return f"{row.estimate.mean:.4f}"
    return f"{row.estimate.mean:.4f}±{row.estimate.high - row.estimate.mean:.4f}"


def score(value: float | None) -> str:
    """A score with four digits; "-" where there is none."""
    return "-" if value is None else f"{value:.4f}"


def count(number: int | None) -> str:
    """A number of parameters with one digit after the point: 83.9M, 12.0k, 950; ? where it is not declared."""
    if number is None:
        return "?"
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        # A little less than 1, so that 999,999 is 1.0M and not 1000.0k.
        if number / size >= 0.99995:
            return f"{number / size:.1f}{unit}"
    return str(number)


def printable(text: str) -> str:
    """The text on one line, otherwise as `escaped` writes it."""
    return escaped(" ".join(text.splitlines()))


def escaped(text: str) -> str:
    r"""The text without characters that move the cursor, change colours or are no UTF-8: they are written as `\x1b`."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
