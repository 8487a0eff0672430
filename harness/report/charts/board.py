"""Charts that pages have as tables: for papers."""

import altair as alt
import pandas as pd

from harness.report.charts import theme
from harness.report.charts.drawing import (
    TOO_FEW,
    Drawing,
    column_heads,
    name_limit,
    number_in_cell,
    records,
    systems,
)
from harness.report.view import BoardView


def distance_to_first(view: BoardView) -> Drawing | str:
    """How far each system is from the first, with its interval. References are too far ahead for its scale."""
    rows = [row for row in view.rows if row.status != "reference"]
    labels = {system.run: system for system in systems(view)}
    shown = [labels[row.source.id] for row in rows]
    if len(shown) < 2:
        return TOO_FEW
    compared = view.compared
    first = rows[0]
    found = [{"system": shown[0].label, "mean": 0.0, "low": None, "high": None}]
    for row in rows[1:]:
        difference, sign = compared[row.source.id, first.source.id]
        about = difference.by_scene
        limits = sorted(sign * value for value in (about.low, about.high) if value is not None)
        low, high = limits if limits else (None, None)
        found.append({"system": labels[row.source.id].label, "mean": sign * about.mean, "low": low, "high": high})
    frame = pd.DataFrame(found).astype({"mean": float, "low": float, "high": float})
    least = min(float(frame["mean"].min()), 0.0)
    room = max(-least * 0.25, 0.01)
    most = max(float(frame["mean"].max()), 0.0) + room / 2
    frame["from"] = frame["low"].clip(lower=least - room)
    frame["to"] = frame["high"].clip(upper=most)
    y = alt.Y(
        "system:N", title=None, scale=alt.Scale(domain=list(frame["system"])), axis=alt.Axis(labelLimit=name_limit())
    )
    scale = alt.Scale(domain=[least - room, most], nice=False)
    x = alt.X(
        "mean:Q",
        title="HAAQI, difference to the first, 95 % interval",
        scale=scale,
        axis=alt.Axis(format="+f"),
    )
    base = alt.Chart(alt.NamedData("systems")).encode(y=y)
    colours = alt.Color(
        "system:N",
        scale=alt.Scale(domain=[system.label for system in shown], range=[system.colour for system in shown]),
        legend=None,
    )
    shapes = alt.Shape(
        "system:N",
        scale=alt.Scale(domain=[system.label for system in shown], range=[system.shape for system in shown]),
        legend=None,
    )
    chart = alt.layer(
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2)
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q", color=colours),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=x, color=colours, shape=shapes),
        base.transform_filter("datum.mean != 0")
        .mark_text(dy=-11, fontSize=11)
        .encode(x=x, text=alt.Text("mean:Q", format="+.3f")),
    )
    return Drawing(
        chart.properties(width="container", height=38 * len(shown)),
        {"systems": records(frame, digits=5)},
        [("system", "system"), ("mean", "difference to the first"), ("low", "95 % from"), ("high", "to")],
    )


def difference_matrix(view: BoardView) -> Drawing | str:
    """Row minus column, in colour where the two can be told apart."""
    shown = systems(view)
    if len(shown) < 2:
        return TOO_FEW
    compared = view.compared
    found = []
    for row, one in zip(view.rows, shown, strict=True):
        for column, other in zip(view.rows, shown, strict=True):
            if row is not column:
                difference, sign = compared[row.source.id, column.source.id]
                found.append(
                    {
                        "row": one.label,
                        "column": other.label,
                        "mean": sign * difference.by_scene.mean,
                        "p": difference.p_adjusted,
                        "significant": difference.significant,
                    }
                )
    frame = pd.DataFrame(found).astype({"p": float})
    largest = max(float(frame["mean"].abs().max()), 1e-4)
    names = [system.label for system in shown]
    base = alt.Chart(alt.NamedData("cells")).encode(
        x=alt.X(
            "column:N",
            title=None,
            scale=alt.Scale(domain=names, padding=0.04),
            axis=alt.Axis(orient="top", **column_heads(shown)),
        ),
        y=alt.Y(
            "row:N",
            title=None,
            scale=alt.Scale(domain=names, padding=0.04),
            axis=alt.Axis(labelLimit=name_limit(), labelOverlap=False),
        ),
    )  # fmt: skip
    scale = alt.Scale(
        type="quantize",
        domain=[-largest, largest],
        range=[*theme.shades("worse")[:0:-1], *theme.shades("better")[1:]],
    )
    chart = alt.layer(
        base.transform_filter("datum.significant")
        .mark_rect()
        .encode(color=alt.Color("mean:Q", scale=scale, legend=None)),
        base.transform_calculate(text=number_in_cell("mean", "+.3f", shown))
        .mark_text(fontSize=11.5)
        .encode(text="text:N"),
    )
    return Drawing(
        chart.properties(width="container", height=30 * len(shown)),
        {"cells": records(frame, digits=5)},
        [("row", "system"), ("column", "minus"), ("mean", "difference"), ("p", "p, adjusted")],
    )
