"""The front page: the sentence in words, the ranking, the matrix of differences, and why to believe it."""

import gzip
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from harness.report.view import BoardView
from harness.report.words import challenge_of, hundredths, interval, p_value, score, title_of
from harness_leaderboard import columns, formats, labels
from harness_leaderboard.causality import Class
from harness_leaderboard.comparing import Difference, in_words
from harness_leaderboard.estimates import FEW_CLUSTERS
from harness_leaderboard.ranking import Board, Row, boards

PRIVATE = ("contact", "folder")
"""Columns that stay in the database."""

WIDTH = 200
"""Of the picture of how far a system is behind."""

STRONGEST = 0.6
"""Opacity of the largest difference's colour in the matrix: text on it stays readable in both schemes."""

WEAKEST = 0.12


@dataclass(frozen=True)
class Provenance:
    """What the trust strip says beside what the board knows.

    Attributes:
        command: makes the report again.
        downloads: the names of files and what to call them.
        pairs: paths of the pages of chosen pairs, in the order in which they are listed.
        sound: how many of these have sound.
    """

    command: str
    downloads: Sequence[tuple[str, str]]
    pairs: Sequence[str]
    sound: int


def front_page(view: BoardView, runs: Mapping[int, Mapping[str, Any]], provenance: Provenance) -> dict[str, Any]:
    """What the template `index.html` shows.

    Args:
        view: the board.
        runs: what every page says of each run, by its number (`words.run_facts`).
        provenance: see there.
    """
    board = view.board
    tables = [
        _table("all", "All systems", board, runs, view.compared),
        *(_table(name, name.capitalize(), _within(board, name), runs, view.compared) for name in CLASSES),
    ]
    return {
        "sentence": in_words(board),
        "challenge": challenge_of(board),
        "stems": _stems(board, runs),
        "few": board.evaluation_set.scenes < FEW_CLUSTERS,
        "tables": tables,
        "matrix": _matrix(view, runs) if len(view.rows) > 1 else None,
        "comparisons": [_comparison(view, each) for each in view.differences],
        "trust": _trust(view),
        "notes": [
            *(f"{reason[0].upper()}{reason[1:]}" for reason in labels.footnotes(board).values()),
            *labels.contradictions(board),
            *labels.shares(board),
        ],
        "command": provenance.command,
        "downloads": provenance.downloads,
        "pairs_with_pages": len(provenance.pairs),
        "first_pair": provenance.pairs[0] if provenance.pairs else "",
        "sound": provenance.sound,
    }


DOWNLOADS = (
    ("leaderboard.csv", "Leaderboard (CSV)"),
    ("leaderboard.json", "Leaderboard (JSON)"),
    ("pairs.csv.gz", "Scores of all pairs (CSV, gzip)"),
)
"""Files that everybody may take away, and what to call them."""


def board_files(view: BoardView) -> dict[str, bytes]:
    """The contents of `DOWNLOADS`, by name. What a run declares as its contact or folder is not for everybody."""
    chosen = columns.choose(None, stems=view.board.stems)
    names = [column.name for column in chosen if column.name not in PRIVATE]
    columns_of_pairs = ["run", "label", "scene", "listener", "track", "engine", "left", "right", "score"]
    columns_of_pairs += [*view.board.stems, "clipped"]
    pairs = view.pairs[columns_of_pairs].astype({"label": str, "track": str, "scene": str, "listener": str})
    for name in ("label", "track", "scene", "listener"):
        pairs[name] = pairs[name].map({text: formats.cell(text) for text in pairs[name].unique()})
    contents = (
        formats.boards_csv([view.board], names).encode(),
        (json.dumps(formats.boards_json([view.board], names), indent=2) + "\n").encode(),
        # Without a time in it, so that the same scores make the same file.
        gzip.compress(pairs.to_csv(index=False).encode(), mtime=0),
    )
    return dict(zip((name for name, _ in DOWNLOADS), contents, strict=True))


CLASSES: Sequence[Class] = get_args(Class)


def _within(board: Board, wanted: Class) -> Board | None:
    """The board with systems of one class, ranked among themselves. Live ones are among the causal ones too."""
    found = boards(row.source for row in board.rows if row.run.in_class(wanted))
    return found[0] if found else None


def _table(
    name: str,
    title: str,
    ranked: Board | None,
    runs: Mapping[int, Mapping[str, Any]],
    compared: Mapping[tuple[int, int], tuple[Difference, int]],
) -> dict[str, Any]:
    rows: list[Row] = list(ranked.rows) if ranked else []
    first = next((row for row in rows if row.rank is not None), None)
    behind: dict[int, Difference | None] = {}
    signs = {}
    for row in rows:
        key = (row.source.id, first.source.id) if first else None
        found = compared.get(key) if key and key[0] != key[1] else None
        behind[row.source.id], signs[row.source.id] = found or (None, 1)
    axis = _axis([_read(each, signs[number]) for number, each in behind.items() if each is not None])
    lines = []
    group = None
    for row in rows:
        number = row.source.id
        each = behind[number]
        lines.append(
            {
                **runs[number],
                "rank": row.rank,
                "group": row.group,
                "starts_group": row.group != group,
                "why": f"incomplete: {row.why_not_ranked}" if row.status == "incomplete" else row.status,
                "first": row is first,
                "mean": None if row.estimate is None else row.estimate.mean,
                "score": score(None if row.estimate is None else row.estimate.mean),
                "left": score(row.left),
                "right": score(row.right),
                "behind": None if each is None else _behind(each, signs[number], axis),
            }
        )
        group = row.group
    return {
        "id": name,
        "title": title,
        "rows": lines,
        "ranked": first is not None,
        "teams": any(line["team"] for line in lines),
    }


Read = tuple[float, float | None, float | None]
"""Mean and interval of a comparison."""


def _axis(read: Sequence[Read]) -> Callable[[float], float]:
    """The axis on which a table shows how far systems are behind: all of the bars and intervals find room on it.

    A system that is ahead of the first (a reference) has no bar, and takes no room.
    """
    behind = [each for each in read if each[0] <= 0]
    low = min((mean if low is None else low for mean, low, _ in behind), default=-0.01)
    high = max((0.0 if high is None else high for _, _, high in behind), default=0.0)
    low, high = min(low, -1e-6), max(high, 0.0)

    def x(value: float) -> float:
        return round(2 + (WIDTH - 4) * (value - low) / (high - low), 2)

    return x


def _behind(each: Difference, sign: int, x: Callable[[float], float]) -> dict[str, Any]:
    """The picture of how far a system is behind the first."""
    mean, low, high = _read(each, sign)
    zero, end = x(0.0), x(min(mean, 0.0))
    spread = None if low is None or high is None or mean > 0 else (x(low), x(high))
    return {
        "figure": hundredths(mean),
        "zero": zero,
        "bar_from": end,
        "bar_width": round(zero - end, 2),
        # Within the thickness of the bar's end an interval says nothing.
        "interval": spread if spread and spread[1] - spread[0] > 2 else None,
        "text": f"{hundredths(mean)}, 95 % interval {interval(low, high)}",
    }


def _read(each: Difference, sign: int) -> Read:
    """Mean and interval of a comparison, read in either direction."""
    estimate = each.by_scene
    if sign > 0 or estimate.low is None or estimate.high is None:
        return sign * estimate.mean, estimate.low, estimate.high
    return -estimate.mean, -estimate.high, -estimate.low


def _stems(board: Board, runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The mean of each stem, where stems are scored."""
    if not board.stems:
        return None
    lines = [
        {
            "run": runs[row.source.id],
            "cells": [{"mean": row.stems.get(name), "score": score(row.stems.get(name))} for name in board.stems],
        }
        for row in board.rows
        if row.stems
    ]
    return {"columns": [name.partition("_")[::2] for name in board.stems], "lines": lines}


def _matrix(view: BoardView, runs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    largest = max((abs(each.by_scene.mean) for each in view.differences), default=0.0)
    numbers = [row.source.id for row in view.rows]
    lines = []
    for of in numbers:
        cells: list[dict[str, Any] | None] = []
        for against in numbers:
            found = view.compared.get((of, against))
            if found is None:
                cells.append(None)
                continue
            each, sign = found
            mean, low, high = _read(each, sign)
            share = math.sqrt(abs(mean) / largest) if largest else 0.0
            cells.append(
                {
                    "mean": mean,
                    "figure": hundredths(mean),
                    "href": f"head-to-head.html#runs={of},{against}",
                    "significant": each.significant,
                    "strength": f"{WEAKEST + (STRONGEST - WEAKEST) * share:.2f}",
                    "text": f"{view.labels[of]} minus {view.labels[against]}: {hundredths(mean)}, "
                    f"95 % {interval(low, high)}, {p_value(each.p_adjusted)}",
                }
            )
        lines.append({"run": runs[of], "cells": cells})
    columns = [{"number": view.numbers[number], "short": _short(view.labels[number])} for number in numbers]
    return {"columns": columns, "lines": lines}


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:23]}…"


def _comparison(view: BoardView, each: Difference) -> dict[str, Any]:
    return {
        "first": view.labels[each.first.source.id],
        "second": view.labels[each.second.source.id],
        "mean": each.by_scene.mean,
        "figure": hundredths(each.by_scene.mean),
        "by_scene": interval(each.by_scene.low, each.by_scene.high),
        "by_track": interval(each.by_track.low, each.by_track.high),
        "p": each.p_adjusted,
        "p_text": p_value(each.p_adjusted),
        "won": each.won,
        "pairs": each.by_scene.pairs,
        "share": each.won / each.by_scene.pairs,
    }


def _trust(view: BoardView) -> list[dict[str, str]]:
    board = view.board
    scored = [row for row in board.rows if row.scored]
    parts, in_double, checked, again = (
        sum(getattr(row.source, name) for row in scored)
        for name in ("parts", "in_double", "checked", "checked_in_double")
    )
    largest = [row.source.largest_difference for row in scored if row.source.largest_difference is not None]
    failed = sum(row.source.failed for row in board.rows)
    engines = sorted({engine for row in scored if (engine := labels.engine(row)) is not None})
    bad = [row for row in board.rows if row.status in ("changed", "disputed")]
    clipped = view.pairs["clipped"].fillna(0)

    def fact(name: str, value: object, more: str = "") -> dict[str, str]:
        return {"name": name, "value": str(value), "more": more}

    about = board.evaluation_set
    return [
        fact("Evaluation set", title_of(about), f"SHA-256 {about.sha256[:24]}…"),
        fact("Evaluator", "pyclarity's HAAQI, locked", f"fingerprint {board.fingerprint[:24]}…"),
        fact(
            "Engine",
            ", ".join(engines) or "–",
            ("scores by the locked evaluator itself" if engines else "no scores yet")
            if not parts
            else f"{in_double:,} of {parts:,} {'stems' if board.stems else 'ears'} in double precision; "
            f"{checked:,} computed by the locked evaluator too, {again:,} by double precision",
        ),
        fact(
            "Largest difference in a check",
            f"{max(largest):.1g}" if largest else "–",
            f"HAAQI, {'any stem' if board.stems else 'either ear'}; 1e-06 is allowed",
        ),
        fact("Failed pairs", f"{failed:,}", "of all runs on this board"),
        fact(
            "Clipped remixes",
            f"{int((clipped > 0).sum()):,}",
            "of the systems compared here; at least one sample of 32 kHz at full scale",
        ),
        fact("Runs", f"{len(board.rows)}", f"{sum(row.rank is not None for row in board.rows)} of them ranked"),
        fact(
            "Integrity",
            "intact" if not bad else f"{len(bad)} run{'s' if len(bad) > 1 else ''} without rank",
            "every score holds its checksum" if not bad else "changed outside the harness, or disputed by an audit",
        ),
    ]
