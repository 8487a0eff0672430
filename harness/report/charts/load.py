"""What streamed systems take of the time that a block lasts."""

from typing import Any

import altair as alt
import pandas as pd

from harness.report.charts.drawing import Drawing, name_limit, records, systems
from harness.report.view import BoardView

LEAST = 1e-4
"""The lowest load on the axis, which is logarithmic: clocks have steps."""

CLOCKS = {"cpu": "processor time", "wall": "wall clock"}
PLACES = ("p50", "p99", "worst")


def blocks(view: BoardView) -> Drawing | str:
    """The load of blocks by both clocks: median, 99th percentile and worst."""
    shown = systems(view)
    loads = {row.source.id: row.run.load for row in view.rows}
    streamed = [(system, load) for system in shown if (load := loads[system.run]) is not None]
    if not streamed:
        return "It needs a system that was streamed."
    frame = pd.DataFrame(
        {
            "system": system.label,
            "clock": words,
            **{place: float(getattr(load, f"{clock}_{place}")) for place in PLACES},
            "late": f"{getattr(load, f'{clock}_late'):,} of {load.blocks:,}",
            "processor": load.processor,
        }
        for system, load in streamed
        for clock, words in CLOCKS.items()
    )
    marks = frame.melt(["system", "clock"], list(PLACES), var_name="place", value_name="load")
    marks["at"] = marks["load"].clip(lower=LEAST)
    scale = alt.Scale(
        type="log",
        domain=[float(marks["at"].min()) / 1.5, max(1.0, float(marks["at"].max())) * 1.5],
        nice=False,
    )
    names = [system.label for system, _ in streamed]

    def x(name: str) -> alt.X:
        axis = alt.Axis(format="~g", labelOverlap="greedy", tickCount=6)
        return alt.X(f"{name}:Q", title="time of a block ÷ its duration", scale=scale, axis=axis)

    common: dict[str, Any] = {
        "y": alt.Y(
            "system:N",
            title=None,
            scale=alt.Scale(domain=names, paddingInner=0.3),
            axis=alt.Axis(labelLimit=name_limit(), labelOverlap=False),
        ),
        "yOffset": alt.YOffset("clock:N", sort=list(CLOCKS.values())),
        "color": alt.Color(
            "system:N",
            scale=alt.Scale(domain=names, range=[system.colour for system, _ in streamed]),
            legend=None,
        ),
    }
    places = alt.Shape(
        "place:N",
        title=None,
        scale=alt.Scale(domain=list(PLACES), range=["circle", "diamond", "triangle-right"]),
        legend=alt.Legend(
            orient="top", symbolFillColor="var(--muted)", symbolStrokeColor="var(--muted)", symbolSize=90, offset=14
        ),
    )
    base = alt.Chart(alt.NamedData("marks"))
    dash = alt.condition(f"datum.clock == '{CLOCKS['cpu']}'", alt.value([1, 0]), alt.value([4, 3]))
    layers = [
        alt.Chart(alt.NamedData("limit"))
        .mark_rule(color="var(--muted)", strokeDash=[5, 4], strokeWidth=1.5)
        .encode(x=x("at")),
        base.mark_line(strokeWidth=2).encode(x=x("at"), detail="clock:N", strokeDash=dash, **common),
        base.mark_point(size=80, filled=True, opacity=1).encode(
            x=x("at"),
            shape=places,
            tooltip=[
                alt.Tooltip("system:N", title="system"),
                alt.Tooltip("clock:N", title="by"),
                alt.Tooltip("place:N", title="block"),
                alt.Tooltip("load:Q", title="load", format=".3f"),
            ],
            **common,
        ),
    ]
    return Drawing(
        alt.layer(*layers).properties(width="container", height=64 * len(streamed)),
        {
            "loads": records(frame),
            "marks": records(marks),
            "limit": [{"at": 1.0}],
        },
        [
            *(("system", "system"), ("clock", "by"), ("p50", "p50"), ("p99", "p99"), ("worst", "worst")),
            *(("late", "late blocks"), ("processor", "on")),
        ],
    )
