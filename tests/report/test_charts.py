"""The report's charts: each can be drawn or says what it lacks, and strangers' names stay text."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import vl_convert
from report.charted import BY_NAME, OF_SCENES, rows_of, spec_of
from synthetic import synthetic_view

from harness.report.charts import CHARTS
from harness.report.charts.drawing import LONGEST_LABEL, systems
from harness.report.charts.script import vega_script
from harness.report.figures import for_paper
from harness.report.view import BoardView

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "x" * 200,
    "x" * 199 + "y",
    "';alert(3);//\\",
    "var(--c0) 🎧 \u202eevil\n",
]


@pytest.mark.parametrize("chart", OF_SCENES, ids=lambda chart: chart.name)
def test_charts_are_what_vega_lite_can_draw(chart: Any, view: BoardView) -> None:
    spec = chart.spec(view)

    assert isinstance(spec, dict), spec
    json.dumps(spec, allow_nan=False)
    picture = ET.fromstring(vl_convert.vegalite_to_svg(for_paper(spec, 350)))
    assert picture.findall(".//{http://www.w3.org/2000/svg}path")
    table = spec["usermeta"]["table"]
    rows = spec["datasets"][table["data"]]
    assert rows
    assert all(field in rows[0] for field, _ in table["columns"])


@pytest.mark.parametrize("chart", [chart for chart in CHARTS if chart.of != "scenes"], ids=lambda chart: chart.name)
def test_charts_of_songs_are_what_vega_lite_can_draw(chart: Any) -> None:
    songs = synthetic_view(stems=True)
    assert chart.fits(songs)
    test_charts_are_what_vega_lite_can_draw(chart, songs)
    spec = chart.spec(songs)
    words = [*chart.words(songs), *(heading for _, heading in spec["usermeta"]["table"]["columns"])]
    titles = re.findall(r'"title": "([^"]*)"', json.dumps({**spec, "datasets": {}}))
    assert not [text for text in (*words, *titles) if re.search(r"\b(scene|track)s?\b", text, re.IGNORECASE)]


def test_charts_have_names_titles_and_captions() -> None:
    assert len(BY_NAME) == len(CHARTS)
    assert all(chart.title and chart.caption.endswith(".") for chart in CHARTS)
    assert {chart.page for chart in CHARTS} == {"listeners", "music", "head-to-head", "cost", "figures"}


def test_marks_stay_few_whatever_the_size() -> None:
    names = [f"system {number}" for number in range(12)]
    large = synthetic_view(names, [0.6 - 0.01 * number for number in range(12)], 400, 60, 150, each=20)

    for chart in OF_SCENES:
        spec = chart.spec(large)
        assert isinstance(spec, dict)
        assert max(map(len, spec["datasets"].values())) <= 2000, chart.name


def test_vegas_script_defines_nothing_but_its_one_name() -> None:
    script = vega_script()

    assert "Redistributions in binary form" in script[:2000]
    assert re.search(r"^\(\(\) => \{$", script, re.MULTILINE)
    assert script.endswith("})();\n")
    assert script.count("window.vegaEmbed") == 1


def test_frames_stay_as_they_are(view: BoardView) -> None:
    before = view.pairs.copy(), view.runs.copy()

    for chart in OF_SCENES:
        chart.spec(view)

    pd.testing.assert_frame_equal(view.pairs, before[0])
    pd.testing.assert_frame_equal(view.runs, before[1])


# What is not there


def test_without_the_evaluation_set_charts_say_what_they_need() -> None:
    bare = synthetic_view(with_set=False)

    said = {chart.name: spec for chart in OF_SCENES if isinstance(spec := chart.spec(bare), str)}
    assert set(said) == {"hearing-loss", "ears", "gains", "positions"}
    assert all("--data" in sentence for sentence in said.values())


def test_a_single_system_has_nobody_to_be_compared_with() -> None:
    alone = synthetic_view(names=["alone"], levels=[0.5], not_eligible=())

    said = {chart.name for chart in OF_SCENES if isinstance(chart.spec(alone), str)}
    assert said == {
        "distance-to-best", "scene-against-scene", "pair-differences", "won-by-severity", "size", "time",
        "load", "distance-to-first", "difference-matrix",
    }  # fmt: skip


def test_a_single_listener_and_unknown_costs() -> None:
    small = synthetic_view(listeners=1, parameters=[None], cpu_seconds=[None])

    said = {chart.name for chart in OF_SCENES if isinstance(chart.spec(small), str)}
    assert said == {"hearing-loss", "ears", "size", "time"}


def test_one_scene_gives_means_without_intervals() -> None:
    one = synthetic_view(scenes=1, tracks=1)

    assert all(row["low"] is None for row in rows_of("gains", one))
    assert "All scenes are heard in one way" in str(BY_NAME["positions"].spec(one))
    assert all(said["p"] is None for said in spec_of("won-by-severity", one)["usermeta"]["verdicts"])


def test_a_view_without_scores_is_no_error(view: BoardView) -> None:
    empty = replace(view, rows=(), pairs=view.pairs.iloc[:0])

    assert all(isinstance(chart.spec(empty), str) for chart in OF_SCENES)


# Strangers' names


def test_labels_are_short_printable_and_told_apart() -> None:
    labels = [system.label for system in systems(synthetic_view(names=HOSTILE))]

    assert len(set(labels)) == len(labels)
    assert all(label.isprintable() and len(label) <= LONGEST_LABEL + 8 for label in labels)


def test_hostile_names_are_data_and_never_expressions() -> None:
    hostile = synthetic_view(names=HOSTILE)

    def expressions(part: Any, key: str = "") -> list[str]:
        if isinstance(part, dict):
            return [text for name, inner in part.items() if name != "datasets" for text in expressions(inner, name)]
        if isinstance(part, list):
            return [text for inner in part for text in expressions(inner, key)]
        is_one = key in ("expr", "calculate", "filter", "test", "labelExpr", "signal")
        return [part] if is_one and isinstance(part, str) else []

    for chart in OF_SCENES:
        spec = chart.spec(hostile)
        found = expressions(spec)
        assert not [text for text in found if "alert" in text or "xxx" in text or "evil" in text], chart.name
