"""Charts by music: tracks, gains asked for, positions of the listener."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from harness.challenge import STEMS
from harness.report.charts.drawing import (
    NARROW,
    NO_SCORES,
    NO_SET,
    Drawing,
    Records,
    System,
    bold,
    colour,
    name_limit,
    records,
    scores,
    shape,
    span,
    systems,
)
from harness.report.view import BoardView
from harness_leaderboard.estimates import of_sums

MOST_TRACKS = 30
"""Tracks of which all are shown; of more, only the hardest and the easiest."""

MOST_ROWS = 24
"""Positions that have a row each; of more, near ones share a row."""


def extremes(shown: Sequence[System]) -> int:
    """How many of the hardest and of the easiest tracks are shown, where there are too many for all."""
    return 15 if len(shown) <= 6 else 10


def _lanes(shown: Sequence[System]) -> alt.YOffset:
    """Every row has a lane for each system."""
    return alt.YOffset("system:N", scale=alt.Scale(domain=[system.label for system in shown], paddingOuter=0.3))


def _rows(rows: Sequence[str], headings: Sequence[str] = ()) -> alt.Y:
    """An axis of rows, named at the side; on a phone they stand above it (`_names`)."""
    axis = alt.Axis(
        grid=True, bandPosition=1.12, labelLimit=name_limit(), labelOverlap=False, **bold(headings),
        labelExpr=f"{NARROW} ? '' : datum.label",
    )  # fmt: skip
    return alt.Y(
        "row:N", title=None, scale=alt.Scale(domain=list(rows), paddingInner=0.4, paddingOuter=0.32), axis=axis
    )


def _names() -> Any:
    """The names above rows, from the data "rows"."""
    return (
        alt.Chart(alt.NamedData("rows"))
        .transform_filter(NARROW)
        .mark_text(
            align="left", baseline="middle", dy=-9, limit=330, fontSize=11.5,
            fontWeight=alt.ExprRef("datum.heading ? 'bold' : 'normal'"),
        )
        .encode(x=alt.value(0), y=alt.Y("row:N", bandPosition=0), text="row:N")
    )  # fmt: skip


def tracks(view: BoardView) -> Drawing | str:
    """A faint dot for each scene and a mark for each system's mean, track by track, the hardest on top."""
    shown = systems(view)
    frame = scores(view, shown)
    if frame.empty:
        return NO_SCORES
    scenes = (
        frame.groupby(["track", "scene", "system"], observed=True)["score"].agg(["mean", "size"]).reset_index()
    ).rename(columns={"mean": "score", "size": "pairs"})
    means = scenes.groupby(["track", "system"], observed=True)["score"].mean().reset_index()
    order = [str(name) for name in means.groupby("track", observed=True)["score"].mean().sort_values().index]
    some = extremes(shown)
    if len(order) > MOST_TRACKS:
        headings = [f"The hardest {some} of {len(order)}", f"The easiest {some}"]
        rows = [headings[0], *order[:some], headings[1], *order[-some:]]
    else:
        headings, rows = [], order
    scenes = scenes[scenes["track"].isin(rows)]
    means = means[means["track"].isin(rows)]
    low, high = span(scenes["score"], share=0.03)
    y = _rows(rows, headings)
    lanes = _lanes(shown)
    x = alt.X(
        "score:Q",
        title="mean HAAQI of a scene",
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(orient="top", format="f"),
    )
    wide = alt.Chart(alt.NamedData("scenes")).transform_fold([system.key for system in shown], as_=["key", "score"])
    named = wide.transform_lookup("key", alt.LookupData(alt.NamedData("systems"), "key", ["system"]))
    chart = alt.layer(
        named.transform_filter("isValid(datum.score)")
        .mark_point(filled=True, size=16, opacity=0.4, shape="circle")
        .encode(
            x=x,
            y=y,
            yOffset=lanes,
            color=colour(shown),
            tooltip=[
                alt.Tooltip("system:N", title="system"),
                alt.Tooltip("row:N", title="track"),
                alt.Tooltip("scene:N", title="scene"),
                alt.Tooltip("score:Q", title="mean HAAQI", format=".4f"),
            ],
        ),
        alt.Chart(alt.NamedData("means"))
        .mark_point(filled=True, size=64, opacity=1)
        .encode(
            x=x,
            y=y,
            yOffset=lanes,
            color=colour(shown),
            shape=shape(shown),
            tooltip=[
                alt.Tooltip("system:N", title="system"),
                alt.Tooltip("row:N", title="track"),
                alt.Tooltip("score:Q", title="mean of its scenes", format=".4f"),
            ],
        ),
        _names(),
    )
    return Drawing(
        chart.properties(width="container", height=len(rows) * (6 * len(shown) + 22)),
        {
            "means": records(means.rename(columns={"track": "row"})[["row", "system", "score"]]),
            "scenes": scene_table(scenes.rename(columns={"track": "row"}), shown, ["row", "scene"]),
            "systems": [{"key": system.key, "system": system.label} for system in shown],
            "rows": [{"row": row, "heading": row in headings} for row in rows],
        },
        [("row", "track"), ("system", "system"), ("score", "mean HAAQI of its scenes")],
    )


def scene_table(scenes: pd.DataFrame, shown: Sequence[System], names: list[str]) -> Records:
    """Means by scene with a column for each system, which takes a third of what a row for each would."""
    keys = {system.label: system.key for system in shown}
    wide = scenes.assign(system=scenes["system"].astype(str).map(keys)).pivot_table(
        index=names, columns="system", values="score", observed=True
    )
    wide.columns = [str(name) for name in wide.columns]
    return records(wide.reset_index())


# Means with intervals


def stems(view: BoardView) -> Drawing | str:
    """The mean of each stem and ear."""
    shown, frame = systems(view), scores(view, systems(view))
    rows: list[str] = []
    parts: list[pd.DataFrame] = []
    for name in view.board.stems:
        ear, _, stem = name.partition("_")
        row = f"{stem} {ear}"
        if rows and not rows[-1].startswith(f"{stem} "):
            # Spaces: a row without a name between two stems.
            rows.append(" " * len(parts))
        rows.append(row)
        parts.append(_by_scene(frame[frame[name].notna()], name).assign(row=row))
    if not parts:
        return NO_SCORES
    return _intervals(shown, pd.concat(parts, ignore_index=True), rows, "stem")


def gains(view: BoardView) -> Drawing | str:
    """The mean over the scenes that ask for a gain, for each stem and gain."""
    if view.gains is None:
        return NO_SET
    frame = view.gains
    level = frame["gain"].round(1)
    names = frame["stem"].astype(str) + level.map(lambda gain: " unchanged" if gain == 0 else f" {gain:+g} dB")
    kinds = frame.assign(row=names.str.replace("-", "−", regex=False), level=level)
    order = kinds.drop_duplicates("row").sort_values("level", ascending=False)
    rows: list[str] = []
    for number, stem in enumerate(STEMS):
        # Spaces: a row without a name between two stems.
        rows += [*([" " * number] if number else []), *order[order["stem"].astype(str) == stem]["row"]]
    return _with_intervals(view, kinds[["scene", "row"]], rows, "gain", lines=list(STEMS))


def positions(view: BoardView) -> Drawing | str:
    """The mean over the scenes with the loudspeakers at an angle, and over those that are heard by headphones."""
    if view.scenes is None:
        return NO_SET
    frame = view.scenes
    middle = (frame["left_angle"] + frame["right_angle"]) / 2
    if middle.round(1).nunique() > MOST_ROWS:
        middle = (middle / 10).round() * 10
    kinds = frame.assign(
        level=middle,
        row=[_position(str(form), angle) for form, angle in zip(frame["form"], middle.round(1), strict=True)],
    )
    order = kinds.drop_duplicates("row").sort_values("level")
    if len(order) < 2:
        return (
            "All scenes are heard in one way: " + (str(order["row"].iloc[0]) if len(order) else "there are none") + "."
        )
    return _with_intervals(view, kinds[["scene", "row"]], list(order["row"]), "position")


def _position(form: str, angle: float) -> str:
    """The loudspeakers' middle seen from the listener: its angle tells how far the head is turned away."""
    if form == "headphones":
        return "headphones"
    if np.isnan(angle):
        return "angle unknown"
    return "in front" if abs(angle) < 0.05 else f"{abs(angle):g}° {'right' if angle > 0 else 'left'}"


def _with_intervals(
    view: BoardView, kinds: pd.DataFrame, rows: list[str], what: str, lines: list[str] | None = None
) -> Drawing | str:
    """Rows with a mean and its interval for each system.

    Args:
        view: the view.
        kinds: scene, row: which rows a scene counts for.
        rows: all rows in their order.
        what: what rows are, for the table.
        lines: the beginnings of names that are joined by a line; none by default.
    """
    shown = systems(view)
    by_scene = _by_scene(scores(view, shown), "score")
    joined = by_scene.astype({"scene": "string"}).merge(kinds.astype({"scene": "string"}), on="scene")
    return _intervals(shown, joined, rows, what, lines or [])


def _by_scene(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Sum and number of pairs of a column: system, scene, sum, size."""
    return frame.groupby(["system", "scene"], observed=True)[column].agg(["sum", "size"]).reset_index()


def _intervals(
    shown: Sequence[System], joined: pd.DataFrame, rows: list[str], what: str, lines: Sequence[str] = ()
) -> Drawing | str:
    """The same from sums by scene.

    Args:
        shown: the systems.
        joined: row, system, scene, sum, size.
        rows, what, lines: as `_with_intervals` has them.
    """
    found: list[dict[str, Any]] = []
    for (system, row), group in joined.groupby(["system", "row"], observed=True):
        sums = group["sum"].tolist()
        estimate = of_sums(group["size"].tolist(), sums, sum(sums))
        found.append(
            {
                "row": row, "system": system, "mean": estimate.mean, "low": estimate.low, "high": estimate.high,
                "pairs": estimate.pairs, "scenes": estimate.clusters,
                "part": next((name for name in lines if str(row).startswith(name)), ""),
            }
        )  # fmt: skip
    if not found:
        return NO_SCORES
    frame = pd.DataFrame(found)
    frame[["low", "high"]] = frame[["low", "high"]].astype(float)
    present = set(frame["row"])
    rows = [row for row in rows if row in present or not row.strip()]
    y = _rows(rows)
    lanes, height = _lanes(shown), len(rows) * max(36, 4 * len(shown) + 16)
    # An interval from very few scenes may be wider than all scores: it is cut, and the table has it.
    low, high = span(frame["mean"], share=0.35)
    low = max(low, float(frame["low"].fillna(frame["mean"]).min()) - 0.005)
    high = min(high, float(frame["high"].fillna(frame["mean"]).max()) + 0.005)
    frame["from"] = frame["low"].clip(lower=low)
    frame["to"] = frame["high"].clip(upper=high)
    scale = alt.Scale(domain=[low, high], nice=False)
    x = alt.X(
        "mean:Q",
        title="mean HAAQI with 95 % interval",
        scale=scale,
        axis=alt.Axis(orient="top", format="f"),
    )
    base = alt.Chart(alt.NamedData("means")).encode(y=y, yOffset=lanes, color=colour(shown))
    tooltip = [
        alt.Tooltip("system:N", title="system"),
        alt.Tooltip("row:N", title=what),
        alt.Tooltip("mean:Q", title="mean HAAQI", format=".4f"),
        alt.Tooltip("low:Q", title="95 % from", format=".4f"),
        alt.Tooltip("high:Q", title="to", format=".4f"),
        alt.Tooltip("scenes:Q", title="scenes"),
    ]
    layers = [
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2, opacity=0.55)
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q"),
        base.mark_point(filled=True, size=56, opacity=1).encode(x=x, shape=shape(shown), tooltip=tooltip),
        _names(),
    ]
    if lines:
        joining = base.mark_line(strokeWidth=1.2, opacity=0.5).encode(x=x, detail="part:N", order=alt.Order("place:Q"))
        frame["place"] = frame["row"].map(rows.index)
        layers.insert(0, joining)
    columns = ["row", "system", "mean", "low", "high", "from", "to", "scenes", "pairs", "part"]
    return Drawing(
        alt.layer(*layers).properties(width="container", height=height),
        {
            "means": records(frame[columns + (["place"] if lines else [])]),
            "rows": [{"row": row, "heading": False} for row in rows],
        },
        [("row", what), ("system", "system"), ("mean", "mean HAAQI"), ("low", "95 % from"), ("high", "to"),
         ("scenes", "scenes"), ("pairs", "pairs")],
    )  # fmt: skip
