"""What scores cost: learned parameters, and processor time."""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from harness.report.charts.drawing import NARROW, Drawing, records, span, systems
from harness.report.view import BoardView

HEIGHT = 340

CHARACTER = 6.6
"""Pixels of a character of a label, about."""

LONGEST = 150
"""Pixels of a label on a phone."""


def size(view: BoardView) -> Drawing | str:
    """Mean score against the number of learned parameters."""
    frame = view.runs.assign(cost=view.runs["parameters"].astype("Float64").astype(float))
    return _against(view, frame, "learned parameters", "that declare how many parameters they have", "~s")


def time(view: BoardView) -> Drawing | str:
    """Mean score against the processor time for a minute of music; or for a remix, if the music is not there."""
    title = "processor seconds per minute of music"
    cost = view.runs["cpu_per_minute"]
    if cost.isna().all():
        title = "processor seconds per remix"
        cost = view.runs["cpu_seconds"] / view.runs["run"].map(view.pairs.groupby("run").size())
    return _against(view, view.runs.assign(cost=cost), title, "whose processor time was measured", "~g")


def _against(view: BoardView, frame: pd.DataFrame, title: str, needed: str, form: str) -> Drawing | str:
    shown = systems(view)
    known = {system.run: system for system in shown}
    frame = frame[frame["run"].isin(list(known)) & frame["cost"].notna() & frame["mean"].notna()]
    frame = frame.drop_duplicates("run")
    if len(frame) < 2:
        return f"It needs two systems {needed}."
    positive = frame["cost"][frame["cost"] > 0]
    if positive.empty:
        return "None of the systems costs anything."
    # A logarithmic axis has no zero: it gets a place of its own to the left, which says so.
    nothing = float(10.0 ** (np.floor(np.log10(positive.min())) - 1))
    free = bool((frame["cost"] <= 0).any())
    frame = frame.assign(
        system=[known[run].label for run in frame["run"]],
        kind=frame["class"].astype(str),
        eligible=[_eligible(str(status)) for status in frame["status"]],
        at=frame["cost"].where(frame["cost"] > 0, nothing),
    )
    low, high = span(frame["mean"], share=0.12)
    first = nothing / 1.6 if free else float(positive.min()) / 1.6
    last = float(positive.max()) * 1.6
    best = _pareto(frame)
    frame = _placed(frame, best["run"], np.log10([first, last]), (low, high))
    x = alt.X(
        "at:Q",
        title=title,
        scale=alt.Scale(type="log", domain=[first, last], nice=False),
        axis=alt.Axis(
            labelExpr=f"{str(free).lower()} && datum.value == {nothing!r} ? 'none' : format(datum.value, '{form}')",
            values=_ticks(first, last, nothing if free else None),
            labelOverlap="greedy",
            grid=False,
        ),
    )
    y = alt.Y("mean:Q", scale=alt.Scale(domain=[low, high], nice=False), axis=alt.Axis(title=None, format="f"))
    base = alt.Chart(alt.NamedData("systems"))
    tooltip = [
        alt.Tooltip("system:N", title="system"),
        alt.Tooltip("mean:Q", title="mean HAAQI", format=".4f"),
        alt.Tooltip("cost:Q", title=title, format=",.4~g" if form == "~g" else ",d"),
        alt.Tooltip("kind:N", title="class"),
        alt.Tooltip("eligible:N", title="ranking"),
    ]
    kinds = alt.Shape(
        "kind:N",
        title=None,
        scale=alt.Scale(domain=["live", "causal", "non-causal"], range=["diamond", "triangle-right", "circle"]),
        legend=alt.Legend(symbolFillColor="var(--muted)", symbolStrokeColor="var(--muted)"),
    )
    tints = alt.Scale(domain=[system.label for system in shown], range=[system.colour for system in shown])
    layers = [
        alt.Chart(alt.NamedData("best"))
        .mark_line(color="var(--muted)", strokeDash=[5, 4], strokeWidth=1.5, interpolate="step-after")
        .encode(x=x, y=y),
        base.mark_point(size=110, strokeWidth=2, opacity=1).encode(
            x=x,
            y=y,
            shape=kinds,
            fillOpacity=alt.condition("datum.eligible == 'ranked'", alt.value(1), alt.value(0)),
            stroke=alt.Stroke("system:N", scale=tints, legend=None),
            fill=alt.Fill("system:N", scale=tints, legend=None),
            tooltip=tooltip,
        ),
        base.mark_text(
            align=alt.ExprRef("datum.side == 'right' ? 'left' : 'right'"),
            baseline="middle",
            dx=alt.ExprRef("datum.side == 'right' ? 9 : -9"),
            dy=alt.ExprRef("datum.shift"),
            limit=alt.ExprRef(f"{NARROW} ? {LONGEST} : 260"),
        ).encode(x=x, y=y, text="system:N"),
    ]
    return Drawing(
        alt.layer(*layers).properties(width="container", height=HEIGHT, title="mean HAAQI"),
        {
            "systems": records(frame[["system", "mean", "cost", "at", "kind", "eligible", "side", "shift"]], digits=6),
            "best": records(best[["at", "mean"]], digits=6),
        },
        [("system", "system"), ("mean", "mean HAAQI"), ("cost", title), ("kind", "class"), ("eligible", "ranking")],
    )


def _eligible(status: str) -> str:
    return "ranked" if status == "ranked" else "not ranked"


def _ticks(first: float, last: float, nothing: float | None) -> list[float]:
    """Decades, with steps between them where there are few; and the place of what costs nothing."""
    steps = (1, 2, 5) if np.log10(last / first) < 2.5 else (1,)
    decades = range(int(np.floor(np.log10(first))), int(np.ceil(np.log10(last))) + 1)
    every = [float(f"{step}e{decade}") for decade in decades for step in steps]
    above = first if nothing is None else nothing * 5
    return [*([] if nothing is None else [nothing]), *(tick for tick in every if above <= tick <= last)]


def _pareto(frame: pd.DataFrame) -> pd.DataFrame:
    """The ranked systems that none is better than at the same cost or less, the cheapest first."""
    ordered = frame[frame["eligible"] == "ranked"].sort_values(["at", "mean"], ascending=[True, False])
    ahead = ordered["mean"] > ordered["mean"].cummax().shift(fill_value=-1.0)
    return ordered[ahead]


def _placed(frame: pd.DataFrame, best: "pd.Series[int]", logs: Any, scores: tuple[float, float]) -> pd.DataFrame:
    """On which side of its mark a label stands, and how far it is shifted, so that none lies on another on a phone."""
    width = 300.0
    sides, shifts, points = [], [], []
    for at, mean, label in zip(frame["at"], frame["mean"], frame["system"], strict=True):
        points.append(
            (
                (np.log10(at) - logs[0]) / (logs[1] - logs[0]) * width,
                (scores[1] - mean) / (scores[1] - scores[0]) * HEIGHT,
                min(len(label) * CHARACTER, LONGEST) + 9,
            )
        )
    # The marks themselves are in the way of labels too.
    taken = [(x - 6, x + 6, y) for x, y, _ in points]
    for (x, y, long), on_line in zip(points, frame["run"].isin(best), strict=True):
        # The line comes to its points from below and leaves them to the right.
        order = [("left", -13), ("right", -13), ("right", 13), ("left", 13)]
        if not on_line:
            order = [("right", 13), ("right", -13), ("right", 0), ("left", 13)]
        order += [
            ("left", 0),
            ("right", -26),
            ("left", -26),
            ("right", 26),
            ("left", 26),
            ("left", 39),
            ("right", 39),
            ("left", -39),
        ]
        options = [
            (place, side, shift)
            for place, (side, shift) in enumerate(order)
            if (x + long <= width + 4 if side == "right" else x - long >= -4)
        ] or [(0, "right" if x < width / 2 else "left", -13)]

        def free(option: tuple[float, str, int], x: float = x, y: float = y, long: float = long) -> bool:
            begin = x if option[1] == "right" else x - long
            return all(
                abs(y + option[2] - other) >= 13 or begin >= stop or begin + long <= start
                for start, stop, other in taken
            )

        _, side, shift = min((option for option in options if free(option)), default=min(options))
        begin = x if side == "right" else x - long
        taken.append((begin, begin + long, y + shift))
        sides.append(side)
        shifts.append(shift)
    return frame.assign(side=sides, shift=shifts)
