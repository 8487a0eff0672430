"""What all charts share: how a system looks, the frames they start from, and how a specification is finished."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import pandas as pd

from harness.errors import printable
from harness.report.charts.theme import CONFIG
from harness.report.view import COLOURS, SHAPES, BoardView

LONGEST_LABEL = 40
"""Characters of a system's label on charts; of a longer one the end is left out."""

PHONE = 350
"""Pixels of width for which charts are made, if nobody says otherwise: a phone's, and a column's of a paper.

`charts.js` sets the parameter `room` to the width that there is.
"""

NARROW = "room < 560"
"""An expression: whether there is only room for a phone's layout."""

DIRECT = 640
"""Pixels of width from which labels stand beside the marks, and there is no legend."""

NO_SET = "It needs the evaluation set: make the report with --data."
NO_SCORES = "There are no scores yet."
TOO_FEW = "It needs two systems at least."

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class System:
    """A run as charts show it.

    Attributes:
        run: its number.
        label: what it is called; printable, at most some `LONGEST_LABEL` characters, no two are alike. Strangers' text.
        colour: a variable of the style sheet, "var(--c0)".
        shape: as Vega calls it.
        key: names the run's column in tables with a column for each: "s" and the position that fixes colour and shape.
    """

    run: int
    label: str
    colour: str
    shape: str
    key: str


@dataclass(frozen=True)
class Drawing:
    """A chart that is not finished: what is drawn, and the data, which are kept apart.

    Altair checks whatever is in a chart; data that it does not see cost no time.

    Attributes:
        chart: refers to data by name.
        data: by name, records; cells are numbers, text or None.
        table: fields and headings of the first of `data`, for who would rather read than look.
        turned: if records are of two systems, `a` and `b`: fields to `swap` and to `negate` if these are chosen the
            other way round.
        more: what `charts.js` has to know beside the specification.
    """

    chart: Any
    data: Mapping[str, Records]
    table: Sequence[tuple[str, str]]
    turned: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, description: str) -> dict[str, Any]:
        """The Vega-Lite specification.

        Args:
            description: what a screen reader says of the chart.
        """
        spec: dict[str, Any] = self.chart.to_dict()
        name = next(iter(self.data))
        spec["config"] = CONFIG
        spec["params"] = [*spec.get("params", []), {"name": "room", "value": PHONE}]
        spec["datasets"] = dict(self.data)
        spec["description"] = description
        columns = [list(column) for column in self.table]
        spec["usermeta"] = {"table": {"data": name, "columns": columns, **self.turned}, **self.more}
        return spec


def systems(view: BoardView) -> list[System]:
    """The runs that charts show, in the board's order."""
    found = [(row.source.id, _shortened(printable(view.labels[row.source.id]))) for row in view.rows]
    alike = Counter(label for _, label in found)
    return [
        System(
            run=run,
            label=f"{label} #{run}" if alike[label] > 1 else label,
            colour=f"var(--c{view.numbers[run] % COLOURS})",
            shape=SHAPES[view.numbers[run] % len(SHAPES)],
            key=f"s{view.numbers[run]}",
        )
        for run, label in found
    ]


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1].rstrip() + "…"


def scores(view: BoardView, shown: Sequence[System]) -> pd.DataFrame:
    """The scored pairs with a column `system`, the label on charts: categories in the board's order."""
    labels = pd.CategoricalDtype([system.label for system in shown], ordered=True)
    names = {system.run: system.label for system in shown}
    return view.pairs.assign(system=view.pairs["run"].map(names).astype(labels))


def records(frame: pd.DataFrame, digits: int = 4) -> Records:
    """A frame as rows of JSON: floats rounded, what is missing as None."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_float_dtype(column.dtype):
            column = column.round(digits)
        values = column.astype(object)
        columns[str(name)] = values.where(column.notna(), None).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# Scales


def colour(shown: Sequence[System], offset: float = 14) -> alt.Color:
    """The colour of systems. Together with `shape` it makes one legend, `offset` pixels above the plot."""
    return alt.Color(
        "system:N",
        title=None,
        scale=alt.Scale(domain=[system.label for system in shown], range=[system.colour for system in shown]),
        legend=_legend(shown, offset),
    )


def shape(shown: Sequence[System], offset: float = 14) -> alt.Shape:
    """The shape of systems."""
    return alt.Shape(
        "system:N",
        title=None,
        scale=alt.Scale(domain=[system.label for system in shown], range=[system.shape for system in shown]),
        legend=_legend(shown, offset),
    )


def _legend(shown: Sequence[System], offset: float) -> alt.Legend:
    """In as many columns as there is room for: a legend that is too wide would take its width from the chart."""
    widest = max((len(system.label) for system in shown), default=1) * 7 + 44
    return alt.Legend(
        columns=alt.ExprRef(
            f"max(1, min({len(shown)}, floor((room - 30) / ({NARROW} ? {min(widest, 160)} : {min(widest, 310)}))))"
        ),
        labelLimit=alt.ExprRef(f"{NARROW} ? 128 : 260"),
        symbolOpacity=1,
        symbolSize=90,
        offset=offset,
    )


def name_limit() -> alt.ExprRef:
    """The room for names at the side: Vega shortens what is longer."""
    return alt.ExprRef(f"{NARROW} ? 112 : 240")


def bold(headings: Sequence[str]) -> dict[str, Any]:
    """For an axis of rows: those that are headings."""
    if not headings:
        return {}
    test = f"indexof({list(headings)!r}, datum.value) >= 0"
    return {"labelFontWeight": {"condition": {"test": test, "value": "bold"}, "value": "normal"}}


def column_heads(shown: Sequence[System]) -> dict[str, Any]:
    """For an axis with a column for each system: names slant to the left, where rows' names leave room."""
    return {
        "labelAngle": alt.ExprRef(f"width / {len(shown)} < 30 ? 90 : 32"), "labelAlign": "right",
        "labelBaseline": alt.ExprRef(f"width / {len(shown)} < 30 ? 'middle' : 'bottom'"), "labelOverlap": False,
        "labelPadding": 4,
        "labelLimit": alt.ExprRef(f"{NARROW} ? 100 : 190"),
    }  # fmt: skip


def number_in_cell(name: str, form: str, shown: Sequence[System], zero: str = "") -> str:
    """An expression: a field as text that fits into a cell, of which there are as many in a row as systems.

    A narrow cell leaves out the zero before the point; where that is too long as well, colours and the table do.
    """
    text = f"format(datum.{name}, '{form}')"
    if zero:
        text = f"(datum.{name} == 0 ? '{zero}' : {text})"
    width = f"width / {len(shown)}"
    return f"{width} >= 44 ? {text} : {width} >= 33 ? replace({text}, '0.', '.') : ''"


def span(values: "pd.Series[Any]", share: float = 0.06, least: float = 0.01) -> tuple[float, float]:
    """The smallest and largest of some values, with some room on both sides."""
    low, high = float(values.min()), float(values.max())
    room = max((high - low) * share, least)
    return low - room, high + room
