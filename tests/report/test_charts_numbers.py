"""The numbers of the report's charts: what they say is what the scores say."""

import re
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, pairwise
from statistics import fmean

import pytest
from report.charted import rows_of, spec_of
from stored import LOAD
from synthetic import NAMES, synthetic_view

from harness.report.charts import CHARTS
from harness.report.charts.drawing import systems
from harness.report.view import BoardView
from harness_leaderboard.comparing import Difference
from harness_leaderboard.estimates import estimate


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


# Listeners and music


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


# One system against another


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


def test_a_reference_does_not_stretch_the_distances_to_the_first() -> None:
    names, levels = ["a", "b", "truth"], (0.5, 0.45, 0.9)
    view = synthetic_view(names, levels, parameters=(1, 1, 1), cpu_seconds=(1, 1, 1), not_eligible=[2])
    truth = replace(view.rows[2], status="reference")
    spec = spec_of("distance-to-first", replace(view, rows=(*view.rows[:2], truth)))

    assert [row["system"] for row in spec["datasets"]["systems"]] == ["a", "b"]


def test_where_a_reference_stands_first_the_distances_are_to_the_first_that_is_none() -> None:
    view = synthetic_view(
        ["a", "b", "c"], (0.5, 0.45, 0.4), parameters=(1, 1, 1), cpu_seconds=(1, 1, 1), not_eligible=[]
    )
    truth = replace(view.rows[0], status="reference")
    rows = rows_of("distance-to-first", replace(view, rows=(truth, *view.rows[1:])))

    assert [row["system"] for row in rows] == ["b", "c"]
    assert rows[1]["mean"] == pytest.approx(-compared(view, 1, 2).by_scene.mean, abs=1e-5)


def test_what_is_ahead_of_the_first_without_a_rank_is_within_the_distances() -> None:
    names, levels = ["a", "b", "private"], (0.5, 0.45, 0.7)
    view = synthetic_view(names, levels, parameters=(1, 1, 1), cpu_seconds=(1, 1, 1), not_eligible=[2])
    spec = spec_of("distance-to-first", view)

    (_, most) = spec["layer"][1]["encoding"]["x"]["scale"]["domain"]
    ahead = next(row for row in spec["datasets"]["systems"] if row["system"] == "private")
    assert 0 < ahead["mean"] < most
    assert ahead["to"] <= most


# Cost


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
