"""Charts by listener: scores against hearing loss, and between the ears."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt
import pandas as pd

from harness.hearing import GRADE_BOUNDS, GRADES
from harness.report.charts import theme
from harness.report.charts.drawing import (
    DIRECT,
    NARROW,
    NO_SCORES,
    NO_SET,
    TOO_FEW,
    Drawing,
    System,
    bold,
    colour,
    column_heads,
    number_in_cell,
    records,
    scores,
    shape,
    span,
    systems,
)
from harness.report.view import BoardView

HEIGHT = 340
"""Pixels of a chart's plot."""

LINE = 15
"""Pixels between two labels at the ends of lines."""

NAMES = 30
"""Pixels above the plot with the names of bands."""

MOST_CELLS = 4000
"""Cells of a heat map; more are slow to draw and too many to read."""


def _by_listener(view: BoardView, shown: Sequence[System]) -> pd.DataFrame:
    """The mean of each system for each listener: system, listener, score, left, right, pairs."""
    grouped = scores(view, shown).groupby(["system", "listener"], observed=True)
    return grouped.agg(
        score=("score", "mean"), left=("left", "mean"), right=("right", "mean"), pairs=("score", "size")
    ).reset_index()


def _with_audiograms(frame: pd.DataFrame, listeners: pd.DataFrame) -> pd.DataFrame:
    known = listeners[["listener", "pta", "asymmetry", "band"]]
    return frame.astype({"listener": "string"}).merge(known.astype({"listener": "string"}), on="listener")


def hearing_loss(view: BoardView) -> Drawing | str:
    """Mean score against the better ear's pure-tone average: a line for each system, a point for each listener."""
    if view.listeners is None:
        return NO_SET
    shown = systems(view)
    frame = _with_audiograms(_by_listener(view, shown), view.listeners).sort_values(["system", "pta"])
    if frame["listener"].nunique() < 2:
        return "It needs scores of two listeners at least."
    low, high = span(frame["score"])
    first, last = span(frame["pta"], least=2.0)
    scale = alt.Scale(domain=[first, last], nice=False, zero=False)
    x = alt.X(
        "pta:Q",
        title="better-ear average of 0.5, 1, 2 and 4 kHz, dB HL",
        scale=scale,
        axis=alt.Axis(grid=False),
    )
    y = alt.Y("score:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=alt.Axis(title=None, format="f"))
    bands = alt.Chart(alt.NamedData("bands"))
    points = alt.Chart(alt.NamedData("means")).encode(x=x, y=y, color=colour(shown, NAMES))
    tooltip = [
        alt.Tooltip("system:N", title="system"),
        alt.Tooltip("listener:N", title="listener"),
        alt.Tooltip("pta:Q", title="better ear, dB HL", format=".1f"),
        alt.Tooltip("score:Q", title="mean HAAQI", format=".4f"),
        alt.Tooltip("pairs:Q", title="pairs"),
    ]
    chart = alt.layer(
        bands.mark_rect(color="var(--card)")
        .transform_filter("datum.odd")
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        bands.transform_calculate(
            shown="datum.share * width > 7 * datum.name.length + 6 ? datum.name : "
            "datum.share * width > 7 * datum.short.length + 6 ? datum.short : ''"
        )
        .mark_text(color="var(--muted)", fontSize=11.5, baseline="bottom")
        .encode(x=alt.X("middle:Q", scale=scale), y=alt.value(-5), text="shown:N"),
        points.mark_line(strokeWidth=1.8, opacity=0.75),
        points.mark_point(filled=True, size=52, opacity=1).encode(shape=shape(shown, NAMES), tooltip=tooltip),
        alt.Chart(alt.NamedData("ends"))
        .transform_filter(f"room >= {DIRECT}")
        .mark_text(align="left", baseline="middle", dx=10, limit=150)
        .encode(x=x, y=alt.Y("place:Q"), text="system:N", color=colour(shown, NAMES)),
    )
    ends = _ends(frame, low, high)
    return Drawing(
        chart.properties(
            width="container",
            height=HEIGHT,
            # Room for the labels at the ends of lines, which Vega takes for a little shorter than they are.
            padding={"left": 2, "top": 4, "bottom": 2, "right": 14},
            title=alt.Title("mean HAAQI of a listener", offset=alt.ExprRef(f"room >= {DIRECT} ? {NAMES} : 12"))),
        {
            "means": records(frame[["system", "listener", "pta", "band", "score", "pairs"]]),
            "bands": records(_bands(first, last)),
            "ends": records(ends),
        },
        [("listener", "listener"), ("pta", "better ear, dB HL"), ("band", "hearing loss"), ("system", "system"),
         ("score", "mean HAAQI"), ("pairs", "pairs")],
        more={"labelsFrom": DIRECT},
    )  # fmt: skip


def _bands(first: float, last: float) -> pd.DataFrame:
    """The grades of hearing loss between two averages in dB HL."""
    bounds = [first, *GRADE_BOUNDS, last]
    found = [
        {"name": name, "low": max(low, first), "high": min(high, last), "odd": bool(number % 2)}
        for number, (name, (low, high)) in enumerate(zip(GRADES, pairwise(bounds), strict=True))
        if min(high, last) > max(low, first)
    ]
    frame = pd.DataFrame(found)
    short = frame["name"].str.replace("moderately", "mod.", regex=False)
    return frame.assign(
        short=short, middle=(frame["low"] + frame["high"]) / 2, share=(frame["high"] - frame["low"]) / (last - first)
    )


def _ends(frame: pd.DataFrame, low: float, high: float) -> pd.DataFrame:
    """Where the labels at the ends of lines go: as near to the last point as others allow."""
    ends = frame.groupby("system", observed=True).tail(1)[["system", "pta", "score"]].sort_values("score")
    step = LINE * (high - low) / HEIGHT
    places: list[float] = []
    for score in ends["score"]:
        places.append(max(score, places[-1] + step) if places else score)
    # What was pushed up as a whole is let down again, so that labels are off by as little as can be.
    surplus = max(0.0, places[-1] - high)
    for index in range(len(places) - 1, -1, -1):
        above = places[index + 1] - step if index + 1 < len(places) else high
        places[index] = min(places[index], above) if surplus else places[index]
    return ends.assign(place=places, pta=frame["pta"].max())


# Heat maps


def heat_map(view: BoardView) -> Drawing | str:
    """The mean of each system for each listener."""
    return _heat_map(view, best=False)


def distance_to_best(view: BoardView) -> Drawing | str:
    """How far each system is behind the best one of each listener."""
    return _heat_map(view, best=True)


def _heat_map(view: BoardView, best: bool) -> Drawing | str:
    shown = systems(view)
    if best and len(shown) < 2:
        return TOO_FEW
    frame = _by_listener(view, shown)
    if frame.empty:
        return NO_SCORES
    if len(frame) > MOST_CELLS:
        return f"There are too many listeners to show: {frame['listener'].nunique()}."
    if best:
        frame["score"] -= frame.groupby("listener", observed=True)["score"].transform("max")
    if view.listeners is None:
        order = frame.groupby("listener", observed=True)["score"].mean().sort_values(ascending=False)
        frame["row"] = frame["listener"].astype(str)
        rows, headings = [str(name) for name in order.index], list[str]()
    else:
        frame = _with_audiograms(frame, view.listeners).sort_values(["pta", "listener"], kind="stable")
        frame["row"] = frame["listener"].astype(str) + " · " + frame["pta"].map("{:.0f} dB".format)
        rows, headings = _under_headings(frame)
    low, high = float(frame["score"].min()), float(frame["score"].max())
    values = alt.Color(
        "score:Q",
        title="behind the best, HAAQI" if best else "mean HAAQI",
        scale=alt.Scale(
            type="quantize",
            domain=[low, high if high > low else low + 0.01],
            range=theme.shades("worse")[::-1] if best else theme.shades("better"),
        ),
        legend=alt.Legend(
            type="symbol", symbolType="square", symbolSize=160, format=".2f", columns=alt.ExprRef(f"{NARROW} ? 3 : 6")
        ),
    )
    base = alt.Chart(alt.NamedData("cells")).encode(
        x=alt.X(
            "system:N",
            title=None,
            scale=alt.Scale(domain=[system.label for system in shown], paddingInner=0.04, paddingOuter=0),
            axis=alt.Axis(orient="top", **column_heads(shown)),
        ),
        y=alt.Y(
            "row:N",
            title=None,
            scale=alt.Scale(domain=rows, paddingInner=0.08, paddingOuter=0),
            axis=alt.Axis(labelLimit=alt.ExprRef(f"{NARROW} ? 136 : 240"), labelOverlap=False, **bold(headings)),
        ),
    )  # fmt: skip
    text = number_in_cell("score", "+.3f" if best else ".3f", shown, zero="best" if best else "")
    chart = alt.layer(
        base.mark_rect().encode(
            color=values,
            tooltip=[
                alt.Tooltip("system:N", title="system"),
                alt.Tooltip("row:N", title="listener"),
                alt.Tooltip("score:Q", title="behind the best" if best else "mean HAAQI", format=".4f"),
                alt.Tooltip("pairs:Q", title="pairs"),
            ],
        ),
        base.transform_calculate(text=text).mark_text(fontSize=11.5).encode(text="text:N"),
    )
    return Drawing(
        chart.properties(width="container", height=22 * len(rows)),
        {"cells": records(frame[["row", "system", "score", "pairs"]])},
        [("row", "listener"), ("system", "system"), ("score", "behind the best" if best else "mean HAAQI"),
         ("pairs", "pairs")],
    )  # fmt: skip


def _under_headings(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The rows of a heat map, grade by grade, each grade under its name; and these names."""
    rows: list[str] = []
    headings: list[str] = []
    for band, group in frame.groupby("band", observed=True):
        headings.append(f"{band}")
        rows += [headings[-1], *group["row"].unique()]
    return rows, headings


# Ears


def ears(view: BoardView) -> Drawing | str:
    """Right minus left: score against audiogram."""
    if view.listeners is None:
        return NO_SET
    shown = systems(view)
    frame = _with_audiograms(_by_listener(view, shown), view.listeners)
    if frame["listener"].nunique() < 2:
        return "It needs scores of two listeners at least."
    frame["gap"] = frame["right"] - frame["left"]
    widest = max(float(frame["asymmetry"].abs().max()) * 1.1, 5.0)
    largest = max(float(frame["gap"].abs().max()) * 1.15, 0.01)
    base = alt.Chart(alt.NamedData("means"))
    x = alt.X(
        "asymmetry:Q",
        title="right ear's average minus left ear's, dB",
        scale=alt.Scale(domain=[-widest, widest], nice=False),
        axis=alt.Axis(format="+~f"),
    )
    y = alt.Y("gap:Q", scale=alt.Scale(domain=[-largest, largest], nice=False), axis=alt.Axis(title=None, format="+f"))
    words = alt.Chart(alt.NamedData("words"))
    muted: dict[str, Any] = {"color": "var(--muted)", "fontSize": 11.5, "baseline": "bottom"}
    chart = alt.layer(
        alt.Chart(alt.NamedData("zero")).mark_rule().encode(y="zero:Q"),
        alt.Chart(alt.NamedData("zero")).mark_rule().encode(x="zero:Q"),
        base.mark_point(filled=True, size=60, opacity=0.85).encode(
            x=x,
            y=y,
            color=colour(shown),
            shape=shape(shown),
            tooltip=[
                alt.Tooltip("system:N", title="system"),
                alt.Tooltip("listener:N", title="listener"),
                alt.Tooltip("asymmetry:Q", title="right minus left, dB", format="+.1f"),
                alt.Tooltip("left:Q", title="HAAQI, left", format=".4f"),
                alt.Tooltip("right:Q", title="HAAQI, right", format=".4f"),
            ],
        ),
        words.mark_text(align="left", **muted).encode(x=alt.value(4), y=alt.value(HEIGHT - 6), text="left:N"),
        words.mark_text(align="right", **muted).encode(x=alt.value("width"), y=alt.value(HEIGHT - 6), text="right:N"),
    )
    return Drawing(
        chart.properties(width="container", height=HEIGHT, title="HAAQI of the right ear minus the left"),
        {
            "means": records(frame[["listener", "system", "asymmetry", "left", "right", "gap"]]),
            "zero": [{"zero": 0}],
            "words": [{"left": "← left ear hears worse", "right": "right ear hears worse →"}],
        },
        [("listener", "listener"), ("asymmetry", "right minus left, dB"), ("system", "system"), ("left", "HAAQI, left"),
         ("right", "HAAQI, right"), ("gap", "right minus left")],
    )  # fmt: skip
