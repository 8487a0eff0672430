"""The report's charts: what they say is what the scores say, and strangers' names stay text."""

import json
import re
import struct
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
import vl_convert
from stored import LOAD
from synthetic import NAMES, synthetic_view

from harness.errors import StorageError
from harness.report.charts import CHARTS
from harness.report.charts.drawing import LONGEST_LABEL, systems
from harness.report.charts.script import vega_script
from harness.report.charts.theme import PAPER, shades, with_colours
from harness.report.figures import Kind, for_paper, write_figures
from harness.report.view import BoardView
from harness_leaderboard.comparing import Difference
from harness_leaderboard.estimates import estimate

BY_NAME = {chart.name: chart for chart in CHARTS}
OF_SCENES = [chart for chart in CHARTS if chart.of != "songs"]

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "x" * 200,
    "x" * 199 + "y",
    "';alert(3);//\\",
    "var(--c0) 🎧 \u202eevil\n",
]


@pytest.fixture(scope="module")
def view() -> BoardView:
    return synthetic_view()


def spec_of(name: str, view: BoardView) -> dict[str, Any]:
    spec = BY_NAME[name].spec(view)
    assert isinstance(spec, dict), spec
    return spec


def rows_of(name: str, view: BoardView) -> list[dict[str, Any]]:
    """What a chart's table shows."""
    spec = spec_of(name, view)
    return spec["datasets"][spec["usermeta"]["table"]["data"]]


def scores_by(view: BoardView, *names: str) -> dict[tuple[str, ...], list[float]]:
    """Scores by the label of their run and by columns of theirs."""
    found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for pair in view.pairs.to_dict("records"):
        found[(view.labels[pair["run"]], *(str(pair[name]) for name in names))].append(pair["score"])
    return dict(found)


def compared(view: BoardView, first: int, second: int) -> Difference:
    """The comparison of two rows, of which the first stands above."""
    [found] = [each for each in view.differences if (each.first, each.second) == (view.rows[first], view.rows[second])]
    return found


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


def test_a_board_of_songs_has_a_chart_of_stems_and_none_of_gains_and_positions(view: BoardView) -> None:
    songs = synthetic_view(stems=True)
    assert {chart.name for chart in CHARTS if chart.fits(songs)} ^ {
        chart.name for chart in CHARTS if chart.fits(view)
    } == {"stems", "gains", "positions"}
    rows = rows_of("stems", songs)
    assert len(rows) == 8 * len(NAMES)
    for row in rows:
        stem, ear = row["row"].split()
        [of_run] = [place for place, name in enumerate(NAMES) if name == row["system"]]
        [source] = [each.source for each in songs.rows if each.run.system == NAMES[of_run]]
        scores = source.scores.stems[f"{ear}_{stem}"]
        assert row["mean"] == pytest.approx(fmean(scores), abs=5.1e-5)
        wanted = estimate(source.scores.scene, scores)
        assert (row["low"], row["high"]) == pytest.approx((wanted.low, wanted.high), abs=5.1e-5)
        assert (row["scenes"], row["pairs"]) == (12, 72)


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


def test_a_point_of_hearing_loss_is_the_mean_of_a_listener(view: BoardView) -> None:
    rows = rows_of("hearing-loss", view)

    wanted = scores_by(view, "listener")
    assert {(row["system"], row["listener"]) for row in rows} == set(wanted)
    for row in rows:
        assert row["score"] == pytest.approx(fmean(wanted[row["system"], row["listener"]]), abs=5.1e-5)
    assert view.listeners is not None
    assert {row["listener"]: row["pta"] for row in rows} == pytest.approx(
        dict(zip(view.listeners["listener"], view.listeners["pta"], strict=True))
    )


def test_names_of_lines_keep_their_distance_and_their_order() -> None:
    close = synthetic_view(levels=(0.500, 0.5001, 0.5002, 0.5003, 0.5004, 0.3))
    spec = spec_of("hearing-loss", close)
    ends = spec["datasets"]["ends"]

    [domain] = {tuple(layer["encoding"]["y"]["scale"]["domain"]) for layer in spec["layer"] if
                "scale" in layer["encoding"].get("y", {})}  # fmt: skip
    pixels = [(end["place"] - domain[0]) / (domain[1] - domain[0]) * spec["height"] for end in ends]
    assert [end["score"] for end in ends] == sorted(end["score"] for end in ends)
    assert min(other - one for one, other in pairwise(pixels)) > 14.8
    assert min(pixels) >= -0.1
    assert max(pixels) <= spec["height"] + 0.1


def test_the_distance_to_the_best_is_zero_for_one_system_of_each_listener(view: BoardView) -> None:
    means = rows_of("heat-map", view)
    distances = rows_of("distance-to-best", view)

    best: dict[str, float] = defaultdict(float)
    for row in means:
        best[row["row"]] = max(best[row["row"]], row["score"])
    for one, other in zip(means, distances, strict=True):
        assert (one["row"], one["system"]) == (other["row"], other["system"])
        assert other["score"] == pytest.approx(one["score"] - best[one["row"]], abs=1.1e-4)
    assert all(sum(row["score"] == 0 for row in distances if row["row"] == name) == 1 for name in best)


def test_listeners_are_sorted_by_hearing_loss_under_its_grades(view: BoardView) -> None:
    spec = spec_of("heat-map", view)

    rows = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    losses = [float(re.findall(r"· (\d+) dB", row)[0]) for row in rows if "·" in row]
    assert losses == sorted(losses)
    assert view.listeners is not None
    assert [row for row in rows if "·" not in row] == [
        band for band in view.listeners["band"].cat.categories if (view.listeners["band"] == band).any()
    ]


def test_without_audiograms_listeners_are_sorted_by_score() -> None:
    bare = synthetic_view(with_set=False)
    spec = spec_of("heat-map", bare)

    means: defaultdict[str, list[float]] = defaultdict(list)
    for (_, listener), scores in scores_by(bare, "listener").items():
        means[listener].append(fmean(scores))
    rows = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert rows == sorted(means, key=lambda listener: -fmean(means[listener]))


def test_ears_are_right_minus_left(view: BoardView) -> None:
    rows = rows_of("ears", view)

    row = rows[0]
    pairs = view.pairs[
        (view.pairs["run"].map(view.labels) == row["system"]) & (view.pairs["listener"] == row["listener"])
    ]
    assert row["gap"] == pytest.approx((pairs["right"] - pairs["left"]).mean(), abs=5.1e-5)
    assert view.listeners is not None
    [who] = view.listeners[view.listeners["listener"] == row["listener"]].to_dict("records")
    assert row["asymmetry"] == pytest.approx(who["pta_right"] - who["pta_left"], abs=5.1e-5)


def test_of_many_tracks_the_hardest_and_the_easiest_are_shown() -> None:
    many = synthetic_view(scenes=80, tracks=40)
    spec = spec_of("tracks", many)

    means = {}
    for track in {str(track) for track in many.pairs["track"]}:
        scenes = [fmean(scores) for (_, name, _), scores in scores_by(many, "track", "scene").items() if name == track]
        means[track] = fmean(scenes)
    order = sorted(means, key=lambda track: means[track])
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == [
        "The hardest 15 of 40", *order[:15], "The easiest 15", *order[-15:],
    ]  # fmt: skip
    shown = {row["row"] for row in spec["datasets"]["scenes"]}
    assert shown == {*order[:15], *order[-15:]}


def test_scenes_have_a_column_for_each_system(view: BoardView) -> None:
    scenes = spec_of("scene-against-scene", view)["datasets"]["scenes"]

    wanted = scores_by(view, "scene")
    assert len(scenes) == 12
    for system in systems(view):
        for row in scenes:
            assert row[system.key] == pytest.approx(fmean(wanted[system.label, row["scene"]]), abs=5.1e-5)


@pytest.mark.parametrize("name", ["gains", "positions"])
def test_intervals_are_those_of_the_leaderboard(name: str, view: BoardView) -> None:
    rows = rows_of(name, view)

    assert view.gains is not None
    assert view.scenes is not None
    if name == "gains":
        row = next(row for row in rows if row["row"] == "vocals unchanged" and row["system"] == NAMES[3])
        unchanged = view.gains[(view.gains["stem"] == "vocals") & (view.gains["gain"] == 0)]
        scenes = set(unchanged["scene"])
    else:
        row = next(row for row in rows if row["system"] == NAMES[3] and row["scenes"] > 1)
        angle = float(re.findall(r"[\d.]+", row["row"])[0]) * (1 if row["row"].endswith("right") else -1)
        middle = (view.scenes["left_angle"] + view.scenes["right_angle"]) / 2
        scenes = set(view.scenes[middle == angle]["scene"])
    pairs = view.pairs[(view.pairs["run"].map(view.labels) == NAMES[3]) & view.pairs["scene"].isin(scenes)]
    wanted = estimate(pairs["scene"].tolist(), pairs["score"].tolist())
    assert len(scenes) == row["scenes"] == wanted.clusters > 1
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((wanted.mean, wanted.low, wanted.high), abs=5.1e-5)
    assert row["pairs"] == wanted.pairs


def test_differences_of_pairs_are_all_in_one_bar(view: BoardView) -> None:
    bars = spec_of("pair-differences", view)["datasets"]["bars"]
    shares = spec_of("won-by-severity", view)["datasets"]["shares"]

    for a, b in combinations(range(len(view.rows)), 2):
        difference = compared(view, a, b)
        ours = [bar for bar in bars if (bar["a"], bar["b"]) == (a, b)]
        assert sum(bar["pairs"] for bar in ours) == difference.pairs
        mean = sum(bar["about"] * bar["pairs"] for bar in ours) / difference.pairs
        assert mean == pytest.approx(difference.by_scene.mean, abs=ours[0]["half"])
        [every] = [row for row in shares if (row["a"], row["b"], row["row"]) == (a, b, "all listeners")]
        assert (every["won"], every["lost"], every["tied"]) == (difference.won, difference.lost, difference.tied)
        parts = [row for row in shares if (row["a"], row["b"]) == (a, b) and row["row"] != "all listeners"]
        assert sum(row["won"] for row in parts) == difference.won


def test_what_is_said_of_two_systems_is_their_comparison(view: BoardView) -> None:
    spec = spec_of("scene-against-scene", view)

    found = spec["usermeta"]["verdicts"]
    assert len(found) == len(view.differences) == 15
    for said, difference in zip(found, view.differences, strict=True):
        assert said["mean"] == pytest.approx(difference.by_scene.mean, rel=1e-5)
        assert said["significant"] is difference.significant
        assert view.rows[said["a"]] is difference.first
    assert [one["run"] for one in spec["usermeta"]["choose"]] == [row.source.id for row in view.rows]


def test_the_line_of_cost_leaves_out_what_is_beaten_and_what_has_no_rank() -> None:
    priced = synthetic_view(
        names=["a", "b", "c", "d"], levels=(0.6, 0.5, 0.4, 0.7), parameters=(100, 10, 20, 50), not_eligible=[3]
    )
    spec = spec_of("size", priced)

    marks = {row["system"]: row for row in spec["datasets"]["systems"]}
    assert [point["at"] for point in spec["datasets"]["best"]] == [10, 100]
    assert {name: row["eligible"] for name, row in marks.items()} == {
        "a": "ranked", "b": "ranked", "c": "ranked", "d": "not ranked",
    }  # fmt: skip
    assert [marks[name]["kind"] for name in "abcd"] == ["non-causal", "causal", "non-causal", "live"]


def test_what_costs_nothing_has_a_place_on_the_logarithmic_axis() -> None:
    free = synthetic_view(names=["a", "b"], levels=(0.6, 0.5), parameters=(5_000_000, 0))

    marks = {row["system"]: row for row in rows_of("size", free)}
    assert (marks["b"]["cost"], marks["b"]["at"]) == (0, 100_000)


def test_time_is_for_a_minute_of_music() -> None:
    timed = synthetic_view(names=["a", "b"], levels=(0.6, 0.5), scenes=12, listeners=6, cpu_seconds=(720.0, 72.0))
    bare = synthetic_view(names=["a", "b"], levels=(0.6, 0.5), scenes=12, listeners=6, cpu_seconds=(720.0, 72.0),
                          with_set=False)  # fmt: skip

    # 72 remixes of 10 s are 12 minutes.
    assert [row["cost"] for row in rows_of("time", timed)] == pytest.approx([60, 6])
    assert [row["cost"] for row in rows_of("time", bare)] == pytest.approx([10, 1])


def test_loads_are_shown_by_both_clocks_and_none_is_hidden() -> None:
    spec = spec_of("load", synthetic_view(names=["a", "b", "c"], levels=(0.6, 0.5, 0.4), live=[0, 2]))

    table = spec["datasets"]["loads"]
    assert [(row["system"], row["clock"], row["late"]) for row in table] == [
        (system, *said) for system in "ac" for said in (("processor time", "0 of 3,210"), ("wall clock", "99 of 3,210"))
    ]
    shown = {(row["system"], row["clock"], row["place"]): row["load"] for row in spec["datasets"]["marks"]}
    assert shown["a", "processor time", "p99"] == LOAD.cpu_p99
    assert shown["c", "wall clock", "worst"] == LOAD.wall_worst
    assert len(shown) == 12


def test_distances_to_the_first_are_its_comparisons(view: BoardView) -> None:
    rows = rows_of("distance-to-first", view)
    matrix = rows_of("difference-matrix", view)

    for row, ranked in zip(rows[1:], view.rows[1:], strict=True):
        behind = compared(view, 0, view.rows.index(ranked)).by_scene
        assert row["mean"] == pytest.approx(-behind.mean, abs=1e-5)
        assert (row["low"], row["high"]) == pytest.approx((-behind.high, -behind.low), abs=1e-5)
        assert row["low"] < row["mean"] < row["high"]
    assert len(matrix) == 30
    first = next(cell for cell in matrix if (cell["row"], cell["column"]) == (rows[1]["system"], rows[0]["system"]))
    assert first["mean"] == pytest.approx(rows[1]["mean"], abs=1.1e-5)


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


def test_real_colours_take_the_place_of_variables_and_names_stay() -> None:
    named = synthetic_view(names=["var(--c0)", "var(--nothing)", *NAMES[2:]])

    for chart in OF_SCENES:
        spec = chart.spec(named)
        assert isinstance(spec, dict)
        painted = with_colours(spec, PAPER)
        assert painted["datasets"] == spec["datasets"]
        left = {key: value for key, value in painted.items() if key not in ("datasets", "usermeta")}
        assert set(re.findall(r"var\(--\w+\)", json.dumps(left))) <= {"var(--c0)", "var(--nothing)"}
        assert "color-mix" not in json.dumps(left)


def test_shades_are_mixed_as_css_does() -> None:
    shade = shades("better")[-1]

    assert shade == "color-mix(in srgb, var(--better) 60%, var(--bg))"
    assert with_colours(shade, {"better": "#ff0000", "bg": "#ffffff"}) == "#ff6666"


def test_the_paper_has_the_style_sheets_colours() -> None:
    style = (Path(__file__).parents[2] / "harness" / "report" / "assets" / "style.css").read_text()
    root = style[: style.index("@media")]

    for name in [*(f"c{number}" for number in range(10)), "better", "worse"]:
        assert f"--{name}: {PAPER[name]};" in root


# Files


@pytest.mark.parametrize("kind", ["svg", "pdf", "png"])
def test_figures_open(kind: Kind, tmp_path: Path) -> None:
    small = synthetic_view(NAMES[:3], (0.6, 0.5, 0.4), scenes=3, listeners=3, tracks=2, live=[0])

    files = write_figures(small, tmp_path, kind)

    assert [path.name for path in files] == [f"{chart.name}.{kind}" for chart in OF_SCENES]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for content in (path.read_bytes() for path in files):
        if kind == "svg":
            assert ET.fromstring(content).get("width") == "252pt"
        elif kind == "pdf":
            assert content.startswith(b"%PDF-")
            assert content.rstrip().endswith(b"%%EOF")
            assert re.search(rb"/MediaBox \[0 0 252 ", content)
        else:
            assert content.startswith(b"\x89PNG")
            assert struct.unpack(">I", content[16:20]) == (1050,)


def test_figures_of_many_systems_take_both_columns(tmp_path: Path) -> None:
    names = [f"system {number} 🎧 <b>" for number in range(9)]
    many = synthetic_view(names, [0.6 - 0.01 * number for number in range(9)])

    files = write_figures(many, tmp_path, "svg")
    widths = {path.stem: ET.parse(path).getroot().get("width") for path in files}
    assert widths.pop("scene-against-scene") == "252pt"
    assert set(widths.values()) == {"515.52pt"}


def test_a_folder_that_is_a_file_is_an_error_of_one_line(view: BoardView, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot write"):
        write_figures(view, tmp_path / "file", "svg")


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
