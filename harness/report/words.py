"""How figures and facts are written on pages. Names and reasons come from strangers: templates escape them."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from harness.challenge import PROTOCOLS
from harness.report.view import BoardView
from harness_leaderboard import classes, labels
from harness_leaderboard.ranking import Board, Row
from harness_leaderboard.records import EvaluationSetRecord

MINUS = "−"


def hundredths(value: float) -> str:
    """A difference of scores in hundredths of HAAQI, with its sign: "+2.4", "−0.03"."""
    points = 100 * value
    text = f"{points:+.1f}" if abs(points) >= 0.95 or points == 0 else f"{points:+.2f}"
    return text.replace("-", MINUS)


def score(value: float | None) -> str:
    """A score with four digits; "–" where there is none."""
    return "–" if value is None else labels.score(value)


def interval(low: float | None, high: float | None) -> str:
    """An interval in hundredths of HAAQI; "–" where there is none."""
    return "–" if low is None or high is None else f"{hundredths(low)} to {hundredths(high)}"


def p_value(p: float | None) -> str:
    """A p value as papers write it."""
    if p is None:
        return "–"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}" if p < 0.01 else f"p = {p:.2f}"


def seconds(value: float | None) -> str:
    """Seconds with two digits that count: "0.21", "3.4", "120"."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 20 else f"{value:,.0f}"


def web_address(text: str | None) -> str | None:
    """A stranger's address, if a browser may be sent there; None for whatever is no plain web address."""
    if text is None or not text.isprintable() or " " in text:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.netloc else None


def title_of(about: EvaluationSetRecord) -> str:
    """What an evaluation set is called: its name, and its split unless that says the same."""
    parts = dict.fromkeys((about.name, about.split))
    return labels.printable(" · ".join(filter(None, parts)))


def challenge_of(board: Board) -> str:
    """Which challenge a board is of, in words, with what it scores; "" for the challenge whose remixes are the rule."""
    if board.unit != "song":
        return ""
    protocol = PROTOCOLS.get(board.protocol)
    title = labels.printable(board.protocol) if protocol is None else protocol.title
    return f"{title[:1].upper()}{title[1:]}: the score of a pair is the mean over its {len(board.stems)} stems."


def of_songs(text: str) -> str:
    """Our own words about scenes and tracks, where songs stand for both."""
    text = re.sub(r"\b(scene|track)(?=s?\b)", "song", text)
    return re.sub(r"\b(Scene|Track)(?=s?\b)", "Song", text)


def href(row: Row) -> str:
    """Where the page of a run is, from the board's folder."""
    return f"systems/{row.source.id}.html"


def run_facts(view: BoardView, row: Row) -> Mapping[str, Any]:
    """What every page says of a run; "cost" is in seconds of processor time for a minute of music."""
    run = row.run
    [known] = view.runs.loc[view.runs["run"] == row.source.id, "cpu_per_minute"]
    cost = None if pd.isna(known) else float(known)
    return {
        "id": row.source.id,
        "label": labels.printable(view.labels[row.source.id]),
        "number": view.numbers[row.source.id],
        "href": href(row),
        "class_": run.class_,
        "basis": classes.basis(run),
        "parameters": run.parameters,
        "size": "–" if run.parameters is None else labels.count(run.parameters),
        "training_data": labels.printable(run.training_data),
        "team": None if run.team is None else labels.printable(run.team),
        "cost": cost,
        "cost_text": seconds(cost),
    }
