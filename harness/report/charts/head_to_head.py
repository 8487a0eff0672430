"""Two systems against each other; which two is chosen on the page.

Each chart has the parameters `first` and `second`, positions in `systems`, that `charts.js` sets. Everything that
depends on them is made ready for every two systems, so that a page needs no pairs.
"""

from itertools import combinations
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

from harness.report.charts.drawing import TOO_FEW, Drawing, scores, systems
from harness.report.charts.music import scene_table
from harness.report.view import BoardView

BINS = 20
"""Bars of the histogram on either side of the one around zero, at most."""

WIDTHS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Widths of a bar that make a readable axis."""

CHOSEN = "datum.a == first && datum.b == second || datum.a == second && datum.b == first"
FORWARD = "datum.a == first"

HEIGHT = 440
"""Pixels of the plot of scenes, which is about square."""


WHOLE = "datum.value == floor(datum.value) ? format(datum.value, ',d') : ''"
"""Labels of an axis that counts: there is no half a pair."""


def _ends(base: alt.Chart, second: str, first: str, share: float) -> list[alt.Chart]:
    """What the two ends above a plot stand for: the second system on the left, the first on the right.

    Args:
        base: a chart with one row of data.
        second, first: expressions of the texts.
        share: of the width that a text may take.
    """
    ends: tuple[tuple[Literal["left", "right"], Any, str, str], ...] = (
        ("left", 0, second, "second"),
        ("right", "width", first, "first"),
    )
    return [
        base.mark_text(
            align=side,
            baseline="top",
            limit=alt.ExprRef(f"width * {share}"),
            text=alt.ExprRef(text),
            color=alt.ExprRef(f"systems[{which}].colour"),
        ).encode(x=alt.value(at), y=alt.value(-18))
        for side, at, text, which in ends
    ]


def _parameters(view: BoardView) -> list[Any]:
    """`first`, `second`, and what the two are called and coloured."""
    shown = systems(view)
    by_scene = scores(view, shown).groupby(["system", "scene"], observed=True)["score"].mean()
    ends = by_scene.groupby("system", observed=True).agg(["min", "max"]).round(4)
    known = [
        {"name": system.label, "colour": system.colour, "low": float(low), "high": float(high)}
        for system, (low, high) in zip(shown, ends.to_numpy(), strict=True)
    ]
    return [
        alt.param(name="systems", value=known),
        alt.param(name="first", value=0),
        alt.param(name="second", value=1),
    ]


def _finished(
    view: BoardView, chart: Any, data: dict[str, Any], table: list[tuple[str, str]], square: bool = False, **turned: Any
) -> Drawing:
    choose = [{"run": system.run, "name": system.label, "colour": system.colour} for system in systems(view)]
    more = {"choose": choose, "verdicts": _verdicts(view), "square": square}
    return Drawing(chart.add_params(*_parameters(view)), data, table, turned, more)


def _verdicts(view: BoardView) -> list[dict[str, Any]]:
    """What the page says of every two systems; `a` and `b` are positions, the difference is a minus b."""
    place = {row.source.id: number for number, row in enumerate(view.rows)}

    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.6g}")

    return [
        {
            "a": place[found.first.source.id],
            "b": place[found.second.source.id],
            "mean": rounded(found.by_scene.mean),
            "low": rounded(found.by_scene.low),
            "high": rounded(found.by_scene.high),
            "p": rounded(found.p_adjusted),
            "significant": found.significant,
            "won": found.won,
            "lost": found.lost,
            "tied": found.tied,
        }
        for found in view.differences
    ]


def scene_against_scene(view: BoardView) -> Drawing | str:
    """A dot for each scene: the mean of the second system over that of the first."""
    shown = systems(view)
    if len(shown) < 2:
        return TOO_FEW
    frame = scores(view, shown)
    means = frame.groupby(["track", "scene", "system"], observed=True)["score"].mean().reset_index()
    least = "min(systems[first].low, systems[second].low) - 0.01"
    most = "max(systems[first].high, systems[second].high) + 0.01"
    scale = alt.Scale(domainMin=alt.ExprRef(least), domainMax=alt.ExprRef(most), nice=False, zero=False)
    keys = [system.key for system in shown]
    base = (
        alt.Chart(alt.NamedData("scenes"))
        .transform_calculate(one=f"datum[{keys!r}[first]]", other=f"datum[{keys!r}[second]]")
        .transform_filter("isValid(datum.one) && isValid(datum.other)")
        .transform_calculate(gap="datum.one - datum.other")
    )
    corner = alt.Chart(alt.NamedData("corner"))
    line = alt.Chart(alt.NamedData("diagonal")).transform_calculate(at=f"datum.end ? {most} : {least}")
    chart = alt.layer(
        line.mark_line(color="var(--muted)", strokeWidth=1, strokeDash=[4, 3]).encode(
            x=alt.X("at:Q", scale=scale), y=alt.Y("at:Q", scale=scale)
        ),
        base.mark_point(
            filled=True,
            size=26 if frame["scene"].nunique() > 200 else 60,
            opacity=0.6,
            color=alt.ExprRef("datum.gap > 0 ? systems[first].colour : systems[second].colour"),
            shape=alt.ExprRef("datum.gap > 0 ? 'circle' : 'square'"),
        ).encode(
            x=alt.X("one:Q", title="mean HAAQI of the first in a scene", scale=scale, axis=alt.Axis(format="f")),
            y=alt.Y("other:Q", scale=scale, axis=alt.Axis(title=None, format="f")),
            tooltip=[
                alt.Tooltip("scene:N", title="scene"),
                alt.Tooltip("track:N", title="track"),
                alt.Tooltip("one:Q", title="first", format=".4f"),
                alt.Tooltip("other:Q", title="second", format=".4f"),
                alt.Tooltip("gap:Q", title="first minus second", format="+.4f"),
            ],
        ),
        *_ends(corner, "'↖ ■ ' + systems[second].name", "systems[first].name + ' ● ↘'", share=0.48),
    )
    return _finished(
        view,
        chart.properties(width="container", height=HEIGHT, title=alt.Title("mean HAAQI of the second", offset=24)),
        {
            "scenes": scene_table(means, shown, ["scene", "track"]),
            "diagonal": [{"end": False}, {"end": True}],
            "corner": [{}],
        },
        [("scene", "scene"), ("track", "track"), *((system.key, system.label) for system in shown)],
        square=True,
    )


def pair_differences(view: BoardView) -> Drawing | str:
    """How many pairs have which difference, for every two systems."""
    shown = systems(view)
    if len(shown) < 2:
        return TOO_FEW
    values = _aligned(view).to_numpy(dtype=float).T
    gaps = {(a, b): values[a] - values[b] for a, b in combinations(range(len(shown)), 2)}
    gaps = {two: gap[~np.isnan(gap)] for two, gap in gaps.items()}
    bars, edges = [], []
    for (a, b), gap in gaps.items():
        # The axis is that of most pairs; the outermost bars hold what is beyond it.
        largest = float(np.quantile(np.abs(gap), 0.998)) if len(gap) else 0.0
        width = next((width for width in WIDTHS if largest <= width * BINS), WIDTHS[-1])
        most = max(3, min(BINS, int(np.ceil(largest / width))))
        places, counts = np.unique(np.clip(np.rint(gap / width), -most, most), return_counts=True)
        bars += [
            {"a": a, "b": b, "about": round(int(place) * width, 4), "half": round(0.46 * width, 5), "pairs": int(count)}
            for place, count in zip(places, counts, strict=True)
        ]
        edges += [{"a": a, "b": b, "edge": round(sign * (most + 0.6) * width, 5)} for sign in (-1, 1)]
    base = (
        alt.Chart(alt.NamedData("bars"))
        .transform_filter(CHOSEN)
        .transform_calculate(middle=f"({FORWARD} ? 1 : -1) * datum.about")
        .transform_calculate(low="datum.middle - datum.half", high="datum.middle + datum.half")
    )
    words = alt.Chart(alt.NamedData("corner"))
    chart = alt.layer(
        base.mark_rect(
            color=alt.ExprRef(
                "datum.middle > 0 ? systems[first].colour : datum.middle < 0 ? systems[second].colour : 'var(--muted)'"
            )
        ).encode(
            x=alt.X(
                "low:Q",
                title="HAAQI of the first minus the second, pair by pair",
                scale=alt.Scale(nice=False),
                axis=alt.Axis(format="+f", grid=False),
            ),
            x2="high:Q",
            y=alt.Y("pairs:Q", axis=alt.Axis(title=None, labelExpr=WHOLE, tickCount=4)),
            y2=alt.datum(0),
            tooltip=[
                alt.Tooltip("middle:Q", title="difference, about", format="+.3f"),
                alt.Tooltip("pairs:Q", title="pairs", format=",d"),
            ],
        ),
        alt.Chart(alt.NamedData("edges")).transform_filter(CHOSEN).mark_rule(opacity=0).encode(x="edge:Q"),
        *_ends(words, "'← ' + systems[second].name", "systems[first].name + ' →'", share=0.45),
    )
    return _finished(
        view,
        chart.properties(width="container", height=240, title=alt.Title("pairs", offset=24)),
        {"bars": bars, "edges": edges, "corner": [{}]},
        [("about", "difference, about"), ("pairs", "pairs")],
        negate=["about"],
    )


def _aligned(view: BoardView) -> pd.DataFrame:
    """Scores pair by pair, a column for each system in the board's order; NaN where it has none."""
    wide = view.pairs.pivot_table(index=["scene", "listener"], columns="run", values="score", observed=True)
    return wide.reindex(columns=[row.source.id for row in view.rows])


def won_by_severity(view: BoardView) -> Drawing | str:
    """The share of pairs won, by the listener's hearing loss."""
    shown = systems(view)
    if len(shown) < 2:
        return TOO_FEW
    wide = _aligned(view)
    groups = pd.Series("all listeners", index=wide.index)
    rows = ["all listeners"]
    found: list[dict[str, Any]] = []
    parts: list[pd.Series[Any]] = [groups]
    if view.listeners is not None:
        known = view.listeners.astype({"listener": str}).set_index("listener")["band"]
        heard = pd.Series(wide.index.get_level_values("listener").astype(str), index=wide.index)
        bands = heard.map(known)
        parts.append(bands)
        rows += [f"{band}" for band in view.listeners["band"].cat.categories if (bands == band).any()]
    for a, b in combinations(range(len(shown)), 2):
        gap = wide.iloc[:, a] - wide.iloc[:, b]
        signs = pd.DataFrame({"won": gap > 0, "tied": gap == 0, "lost": gap < 0})
        for part in parts:
            for name, counts in signs.groupby(part.astype(str)).sum().iterrows():
                if name in rows and int(counts.sum()):
                    found.append({"a": a, "b": b, "row": name, **{key: int(counts[key]) for key in signs.columns}})
    base = (
        alt.Chart(alt.NamedData("shares"))
        .transform_filter(CHOSEN)
        .transform_calculate(
            all="datum.won + datum.tied + datum.lost",
            ours=f"({FORWARD} ? datum.won : datum.lost)",
            theirs=f"({FORWARD} ? datum.lost : datum.won)",
        )
        .transform_calculate(till="datum.ours / datum.all", since="1 - datum.theirs / datum.all", start="0", end="1")
    )
    y = alt.Y("row:N", title=None, scale=alt.Scale(domain=rows, paddingInner=0.22), axis=alt.Axis(labelLimit=150))
    axis = alt.Axis(labelExpr="100 * datum.value + ' %'", orient="top", values=[0, 0.25, 0.5, 0.75, 1])
    x = alt.X("start:Q", title="share of pairs won", scale=alt.Scale(domain=[0, 1]), axis=axis)
    tooltip = [
        alt.Tooltip("row:N", title="listeners"),
        alt.Tooltip("ours:Q", title="first is better", format=",d"),
        alt.Tooltip("tied:Q", title="equal", format=",d"),
        alt.Tooltip("theirs:Q", title="second is better", format=",d"),
    ]
    inside: dict[str, Any] = {"baseline": "middle", "color": "var(--bg)", "fontSize": 12, "fontWeight": 600}
    chart = alt.layer(
        base.mark_rect(color="var(--line)").encode(x=x, x2="end:Q", y=y, tooltip=tooltip),
        base.mark_rect(color=alt.ExprRef("systems[first].colour")).encode(x=x, x2="till:Q", y=y, tooltip=tooltip),
        base.mark_rect(color=alt.ExprRef("systems[second].colour")).encode(
            x=alt.X("since:Q"), x2="end:Q", y=y, tooltip=tooltip
        ),
        base.transform_filter("datum.till * width > 44")
        .transform_calculate(text="format(100 * datum.till, '.0f') + ' %'")
        .mark_text(align="left", dx=8, **inside)
        .encode(x=x, y=y, text="text:N"),
        base.transform_filter("(1 - datum.since) * width > 44")
        .transform_calculate(text="format(100 - 100 * datum.since, '.0f') + ' %'")
        .mark_text(align="right", dx=-8, **inside)
        .encode(x=alt.X("end:Q"), y=y, text="text:N"),
        alt.Chart(alt.NamedData("half")).mark_rule(color="var(--bg)", strokeWidth=2).encode(x="at:Q"),
    )
    return _finished(
        view,
        chart.properties(width="container", height=34 * len(rows)),
        {"shares": found, "half": [{"at": 0.5}]},
        [("row", "listeners"), ("won", "first is better"), ("tied", "equal"), ("lost", "second is better")],
        swap=[["won", "lost"]],
    )
