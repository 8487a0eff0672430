"""Comparisons of runs for a terminal, as JSON, CSV and LaTeX; the conventions are those of `formats`.

Runs are called A, B, C and so on where there is little room. Intervals are 95 % intervals.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness_leaderboard import labels
from harness_leaderboard.comparing import Difference, roughness, short
from harness_leaderboard.contrasts import Contrast, GroupDifference, PairDifference
from harness_leaderboard.estimates import SIGNIFICANT, Estimate
from harness_leaderboard.formats import csv_text, latex_comments, latex_table
from harness_leaderboard.ranking import Board, Row
from harness_leaderboard.tables import bold, empty_table

SHOWN = 3
"""How many groups are shown from either end, where there are more than twice as many."""

LISTED = 10
"""How many comparisons a line lists; of more it says how many there are."""

CSV_COLUMNS = (
    "evaluation_set", "split", "evaluation_set_sha256", "evaluator", "first", "first_run", "second", "second_run",
    "by", "group", "clusters_are", "difference", "low", "high", "p", "p_adjusted", "pairs", "clusters", "df", "won",
    "lost", "tied", "first_mean", "second_mean",
)  # fmt: skip
"""`by` is "all" for a comparison over all pairs, with a line for each kind of cluster, "scene" and "track", or "song";
"listener", "track" or another grouping for the pairs of a `group`; "stem" for the scores of a stem over all pairs;
"pair" for a single one, whose group is "scene listener". `first_mean` and `second_mean` are over the same pairs as the
difference."""


@dataclass(frozen=True)
class Comparisons:
    """What a comparison of runs found.

    Attributes:
        board: the runs' board: evaluation set, evaluator, and what they are called.
        rows: the runs in the order in which they were named; rows of the board.
        contrasts: every two of them, as `contrasts.contrasts` returns them.
    """

    board: Board
    rows: tuple[Row, ...]
    contrasts: Sequence[Contrast]

    def label(self, row: Row) -> str:
        """What a run is called on the board."""
        return self._labels[row.source.id]

    @cached_property
    def _labels(self) -> dict[int, str]:
        return {row.source.id: label for row, label in zip(self.board.rows, labels.labels(self.board), strict=True)}

    def letter(self, row: Row) -> str:
        """What a run is called where there is little room: A, B, ... Z, R27, R28, ..."""
        place = [each.source.id for each in self.rows].index(row.source.id)
        return chr(ord("A") + place) if place < 26 else f"R{place + 1}"


# For programs


def comparisons_json(found: Comparisons) -> dict[str, Any]:
    """Comparisons as a JSON value; every number with all its digits."""
    about = found.board.evaluation_set
    return {
        "evaluation_set": about.name,
        "split": about.split,
        "evaluation_set_sha256": about.sha256,
        "evaluator": found.board.fingerprint,
        "runs": [
            {
                "run": row.source.id,
                "label": found.label(row),
                "system": row.run.system,
                "version": row.run.version,
                "mean": row.estimate and row.estimate.mean,
                "scored": row.scored,
                "due": row.due,
                "status": row.status,
                "why_not_ranked": row.why_not_ranked,
            }
            for row in found.rows
        ],
        "comparisons": [_contrast_json(contrast) for contrast in found.contrasts],
    }


def _contrast_json(contrast: Contrast) -> dict[str, Any]:
    difference = contrast.difference
    by: dict[str, list[dict[str, Any]]] = {}
    for each in contrast.groups:
        by.setdefault(each.by, []).append(
            {"group": each.group, **_estimate_json(each.difference), "first_mean": each.first}
            | {"second_mean": each.second, "won": each.won, "lost": each.lost, "tied": each.tied}
        )
    return {
        "first": difference.first.source.id,
        "second": difference.second.source.id,
        "by_scene": {**_estimate_json(difference.by_scene), "p_adjusted": difference.p_adjusted},
        "by_track": {**_estimate_json(difference.by_track), "p_adjusted": difference.p_adjusted_by_track},
        "significant": difference.significant,
        "won": difference.won,
        "lost": difference.lost,
        "tied": difference.tied,
        "by": by,
        "worst": [
            {"scene": pair.scene, "listener": pair.listener, "track": pair.track, "difference": pair.difference}
            | {"first_score": pair.first, "second_score": pair.second}
            for pair in contrast.worst
        ],
    }


def _estimate_json(estimate: Estimate) -> dict[str, Any]:
    return {
        "difference": estimate.mean,
        "low": estimate.low,
        "high": estimate.high,
        "p": estimate.p,
        "pairs": estimate.pairs,
        "clusters": estimate.clusters,
        "df": estimate.df,
    }


def comparisons_csv(found: Comparisons) -> str:
    """Comparisons as CSV with one header, see `CSV_COLUMNS`."""
    about = found.board.evaluation_set
    common = {
        "evaluation_set": about.name,
        "split": about.split,
        "evaluation_set_sha256": about.sha256,
        "evaluator": found.board.fingerprint,
    }
    lines = []
    for contrast in found.contrasts:
        difference = contrast.difference
        runs = {
            "first": found.label(difference.first),
            "first_run": difference.first.source.id,
            "second": found.label(difference.second),
            "second_run": difference.second.source.id,
        }
        for line in _csv_lines(contrast, found.board):
            lines.append(dict.fromkeys(CSV_COLUMNS) | common | runs | line)
    return csv_text(CSV_COLUMNS, lines)


def _csv_lines(contrast: Contrast, board: Board) -> Iterator[dict[str, Any]]:
    whole = contrast.difference
    wins = {"won": whole.won, "lost": whole.lost, "tied": whole.tied}
    for clusters, estimate, adjusted in _both(whole, board):
        yield {"by": "all", "clusters_are": clusters, **_estimate_json(estimate), "p_adjusted": adjusted, **wins}
    for each in contrast.groups:
        wins = {"won": each.won, "lost": each.lost, "tied": each.tied}
        means = {"first_mean": each.first, "second_mean": each.second}
        about = {"by": each.by, "group": each.group, "clusters_are": board.unit}
        yield {**about, **_estimate_json(each.difference), **wins, **means}
    for pair in contrast.worst:
        which = {"by": "pair", "group": f"{pair.scene} {pair.listener}"}
        means = {"first_mean": pair.first, "second_mean": pair.second}
        yield {**which, "difference": pair.difference, "pairs": 1, **means}


def _both(difference: Difference, board: Board) -> tuple[tuple[str, Estimate, float | None], ...]:
    """Both ways of clustering: what clusters are, the estimate, and its adjusted p value. Of songs, both are one."""
    by_scene = (board.unit, difference.by_scene, difference.p_adjusted)
    if board.unit == "song":
        return (by_scene,)
    return by_scene, ("track", difference.by_track, difference.p_adjusted_by_track)


# For people


def comparisons_latex(found: Comparisons) -> str:
    """The differences as LaTeX: a tabular in the manner of booktabs, with what has to be said of it as comments."""
    kinds = ("song",) if found.board.unit == "song" else ("scene", "track")
    intervals = [header for kind in kinds for header in (f"95 % by {kind}", "p")]
    headers = ("First", "Second", "Difference", *intervals, "Won")
    lines = []
    for contrast in found.contrasts:
        difference = contrast.difference
        cells = [found.label(difference.first), found.label(difference.second), _signed(difference.by_scene.mean)]
        for _, estimate, adjusted in _both(difference, found.board):
            cells += [_interval(estimate), labels.p_value(adjusted)]
        lines.append([*cells, _won(difference.won, difference.pairs, difference.tied)])
    table = latex_table(headers, lines, [False, False] + [True] * (len(headers) - 2))
    return latex_comments([labels.title(found.board)]) + table + latex_comments(notes(found))


def notes(found: Comparisons) -> list[str]:
    """What has to be said of comparisons: who is told apart, over which pairs, what p and the intervals mean."""
    lines = []
    for apart, words in ((True, f"Told apart (p < {SIGNIFICANT} by {found.board.unit})"), (False, "Not told apart")):
        which = [
            f"{found.letter(contrast.difference.first)} and {found.letter(contrast.difference.second)}"
            for contrast in found.contrasts
            if contrast.difference.significant == apart
        ]
        if which:
            many = len(which) > LISTED
            lines.append(f"{words}: {f'{len(which)} of {len(found.contrasts)}' if many else ', '.join(which)}.")
    for contrast in found.contrasts:
        difference = contrast.difference
        if difference.pairs < found.board.evaluation_set.pairs:
            lines.append(
                f"{found.letter(difference.first)} − {found.letter(difference.second)} is over the {difference.pairs} "
                f"of {found.board.evaluation_set.pairs} pairs that both have scored."
            )
    count = len(found.contrasts)
    kinds = [kind for kind, _, _ in _both(found.contrasts[0].difference, found.board)]
    clusters = f"by {kinds[0]}"
    if len(kinds) > 1:
        clusters = "by scene, and, since scenes of a track share its music, by track"
    either = ", for either kind of cluster" if len(kinds) > 1 else ""
    adjusted = "" if count == 1 else f" p is adjusted over all {count} comparisons (Holm){either}; intervals are not."
    lines.append(
        f"First minus second, pair by pair; 95 % intervals and p are cluster-robust (CR2): {clusters}.{adjusted}"
    )
    fewest = {
        f"{kind}s": min(_both(contrast.difference, found.board)[place][1].clusters for contrast in found.contrasts)
        for place, kind in enumerate(kinds)
    }
    lines += roughness(**fewest)
    return [labels.printable(line) for line in lines]


def comparisons_tables(found: Comparisons) -> RenderableType:
    """Comparisons for a terminal of 80 columns or more: runs, differences, and where the first gained and lost."""
    parts: list[RenderableType] = [bold(labels.title(found.board)), _runs_table(found), Text()]
    parts += [_differences_table(found), Text(), *(Text(line) for line in notes(found)), Text()]
    for contrast in found.contrasts:
        second = contrast.difference.second
        which = f"{short(found.label(found.rows[0]))} (A) against {short(found.label(second))} ({found.letter(second)})"
        if contrast.groups:
            parts += [bold(f"Where points were gained and lost: {which}"), _groups_table(contrast.groups), Text()]
        if contrast.worst:
            parts += [
                bold(f"Pairs to listen to: {which}"),
                _pairs_table(contrast.worst, found.letter(second), found.board.unit),
                Text(),
            ]
    return Group(*parts)


def _runs_table(found: Comparisons) -> Table:
    table = empty_table()
    table.add_column("")
    table.add_column("Run", overflow="fold")
    table.add_column("#", justify="right")
    table.add_column("HAAQI ±95 %", justify="right", no_wrap=True)
    table.add_column("Pairs", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in found.rows:
        pairs = f"{row.scored}" + (f" of {row.due}" if row.scored < row.due else "")
        status = "" if row.status == "ranked" else row.status
        cells = (found.letter(row), labels.printable(found.label(row)), str(row.source.id), labels.estimate(row), pairs)
        table.add_row(*map(Text, (*cells, status)))
    return table


def _figures(table: Table, *titles: str) -> None:
    """Add columns of figures, which are never folded."""
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)


def _differences_table(found: Comparisons) -> Table:
    table = empty_table()
    table.add_column("")
    table.add_column("Difference", justify="right")
    _figures(table, "95 % interval", "p", "Clusters", "Won")
    for contrast in found.contrasts:
        difference = contrast.difference
        which = f"{found.letter(difference.first)} − {found.letter(difference.second)}"
        first = (which, _signed(difference.by_scene.mean), _won(difference.won, difference.pairs, difference.tied))
        for (kind, estimate, adjusted), (start, mean, won) in zip(
            _both(difference, found.board), (first, ("", "", "")), strict=False
        ):
            clusters = f"{estimate.clusters} {kind}{'' if estimate.clusters == 1 else 's'}"
            table.add_row(*map(Text, (start, mean, _interval(estimate), labels.p_value(adjusted), clusters, won)))
    return table


def _groups_table(groups: Iterable[GroupDifference]) -> Table:
    table = empty_table()
    table.add_column("By")
    table.add_column("Group", overflow="fold")
    _figures(table, "Difference", "95 % interval", "Pairs", "Won")
    for by, members in groupby(groups, key=lambda each: each.by):
        every = list(members)
        # Stems are few, and all are of interest.
        ends = every if by == "stem" or len(every) <= 2 * SHOWN else [*every[:SHOWN], *every[-SHOWN:]]
        for place, each in enumerate(ends):
            if place == SHOWN and len(every) > len(ends):
                table.add_row("", Text(f"… {len(every) - len(ends)} more …"))
            estimate = each.difference
            table.add_row(
                by if place == 0 else "",
                Text(labels.printable(each.group)),
                _signed(estimate.mean),
                _interval(estimate),
                str(estimate.pairs),
                _won(each.won, estimate.pairs, each.tied),
            )
    return table


def _pairs_table(pairs: Iterable[PairDifference], second: str, unit: str) -> Table:
    table = empty_table()
    columns = ("song", "listener") if unit == "song" else ("scene", "listener", "track")
    for heading in columns:
        table.add_column(heading.capitalize(), overflow="fold")
    for heading in ("A", second, "Difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for pair in pairs:
        names = (Text(labels.printable(text)) for text in (pair.scene, pair.listener, pair.track)[: len(columns)])
        table.add_row(*names, labels.score(pair.first), labels.score(pair.second), _signed(pair.difference))
    return table


def _signed(value: float) -> str:
    """A difference with its sign and four digits; zero has none."""
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "-"
    return f"{_signed(estimate.low)} to {_signed(estimate.high)}"


def _won(won: int, pairs: int, tied: int) -> str:
    """The share of pairs that were won, and how many were tied."""
    percent = round(100 * won / pairs)
    share = "> 99" if percent == 100 and won < pairs else "< 1" if percent == 0 and won else f"{percent}"
    return f"{share} %" + (f", {tied} tied" if tied else "")
