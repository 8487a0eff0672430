"""Where a difference comes from, and how comparisons are written."""

import csv
import io
import itertools
import json
from collections.abc import Callable

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from harness_leaderboard.comparing import differences
from harness_leaderboard.contrast_formats import (
    CSV_COLUMNS,
    Comparisons,
    comparisons_csv,
    comparisons_json,
    comparisons_latex,
    comparisons_tables,
    notes,
)
from harness_leaderboard.contrasts import contrasts
from harness_leaderboard.estimates import estimate
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import EvaluationSetRecord, ScoredRun

MakeRun = Callable[..., ScoredRun]

SCENES, LISTENERS = 24, 8
ABOUT = EvaluationSetRecord("made", "valid", "e" * 64, SCENES, SCENES * LISTENERS)
PAIRS = [(f"S{s:02}", f"L{who}", f"T{s // 2}") for s in range(SCENES) for who in range(LISTENERS)]
SEVERITIES = {"severity": {f"L{who}": ("mild" if who < 4 else "severe",) for who in range(LISTENERS)}}
GAINS = {"gain": {f"S{s:02}": (f"vocals {s % 3} dB", f"bass {s % 2} dB") for s in range(SCENES)}}


def made(scored_run: MakeRun, runs: int = 3, worst: int = 3, label: str = "system", scored: int = 999) -> Comparisons:
    """Comparisons of runs in the order in which they were made; the last one has only the first `scored` pairs."""
    draw = np.random.default_rng(2)
    values = 0.4 - 0.004 * np.arange(runs)[:, None] + draw.normal(0, 0.05, (runs, len(PAIRS)))
    # Rounded, so that some pairs are tied.
    found = [
        scored_run(
            [(*pair, x, x) for pair, x in zip(PAIRS, np.round(line, 2).tolist(), strict=True)][
                : scored if number == runs - 1 else None
            ],
            about=ABOUT,
            system=f"{label}{number}",
        )
        for number, line in enumerate(values)
    ]
    (board,) = boards(found)
    rows = tuple(sorted(board.rows, key=lambda row: row.source.id))
    return Comparisons(board, rows, contrasts(rows, worst, SEVERITIES, GAINS))


def drawn(found: Comparisons, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(comparisons_tables(found))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_every_group_is_the_mean_over_its_pairs_clustered_by_scene(scored_run: MakeRun) -> None:
    found = made(scored_run)
    assert [contrast.difference for contrast in found.contrasts] == differences(found.rows)
    for place, contrast in enumerate(found.contrasts[:2], start=1):
        ours, theirs = found.rows[0].source.scores, found.rows[place].source.scores
        of_pairs = {
            pair: (a, b, a - b) for *pair, a, b in zip(ours.scene, ours.listener, ours.score, theirs.score, strict=True)
            for pair in [tuple(pair)]
        }  # fmt: skip
        members = {
            "listener": lambda scene, listener: [listener],
            "track": lambda scene, listener: [f"T{int(scene[1:]) // 2}"],
            "severity": lambda scene, listener: SEVERITIES["severity"][listener],
            "gain": lambda scene, listener: GAINS["gain"][scene],
        }
        assert [by for by, _ in itertools.groupby(contrast.groups, key=lambda each: each.by)] == list(members)
        for each in contrast.groups:
            inside = {pair: of for pair, of in of_pairs.items() if each.group in members[each.by](*pair)}
            gaps = [gap for _, _, gap in inside.values()]
            expected = estimate([scene for scene, _ in inside], gaps)
            assert each.difference.mean == pytest.approx(expected.mean, abs=1e-14)
            assert each.difference.low == pytest.approx(expected.low, abs=1e-12)
            assert (each.difference.pairs, each.difference.clusters) == (len(gaps), expected.clusters)
            assert each.first == pytest.approx(np.mean([a for a, _, _ in inside.values()]))
            assert each.second == pytest.approx(np.mean([b for _, b, _ in inside.values()]))
            assert each.won == sum(a > b for a, b, _ in inside.values())
            assert each.won + each.lost + each.tied == len(gaps)
        for _, group in itertools.groupby(contrast.groups, key=lambda each: each.by):
            means = [each.difference.mean for each in group]
            assert means == sorted(means, reverse=True)
        assert len(contrast.groups) == LISTENERS + SCENES // 2 + 2 + 5
    # Between others than the first only the difference is wanted.
    assert (found.contrasts[2].groups, found.contrasts[2].worst) == ((), ())


def test_pairs_to_listen_to_are_those_where_the_first_is_furthest_behind(scored_run: MakeRun) -> None:
    found = made(scored_run, runs=2, worst=10)
    (contrast,) = found.contrasts
    ours, theirs = (row.source.scores for row in found.rows)
    every = sorted(
        (a - b, scene, listener)
        for a, b, scene, listener in zip(ours.score, theirs.score, ours.scene, ours.listener, strict=True)
    )
    assert [(pair.difference, pair.scene, pair.listener) for pair in contrast.worst] == every[:10]
    assert all(pair.track == f"T{int(pair.scene[1:]) // 2}" for pair in contrast.worst)
    assert made(scored_run, runs=2, worst=0).contrasts[0].worst == ()
    assert len(made(scored_run, runs=2, worst=9999).contrasts[0].worst) == len(PAIRS)


def test_groups_are_taken_over_pairs_that_both_have_scored(scored_run: MakeRun) -> None:
    found = made(scored_run, runs=2, scored=2 * LISTENERS + 3)  # two scenes, and three listeners of a third
    (contrast,) = found.contrasts
    pairs = {each.group: each.difference.pairs for each in contrast.groups}
    assert (pairs["L0"], pairs["L7"], pairs["T0"], pairs["T1"]) == (3, 2, 16, 3)
    assert "T2" not in pairs
    assert contrast.difference.pairs == 19
    assert "A − B is over the 19 of 192 pairs that both have scored." in notes(found)


def test_json_and_csv_say_everything_with_every_digit(scored_run: MakeRun) -> None:
    found = made(scored_run)
    said = json.loads(json.dumps(comparisons_json(found), allow_nan=False))
    assert [run["label"] for run in said["runs"]] == ["system0", "system1", "system2"]
    assert [(each["first"], each["second"]) for each in said["comparisons"]] == list(
        itertools.combinations([row.source.id for row in found.rows], 2)
    )
    for each, contrast in zip(said["comparisons"], found.contrasts, strict=True):
        whole = contrast.difference
        assert each["by_scene"]["difference"] == whole.by_scene.mean
        assert (each["by_scene"]["low"], each["by_track"]["high"]) == (whole.by_scene.low, whole.by_track.high)
        assert (each["by_scene"]["p_adjusted"], each["by_track"]["p_adjusted"]) == (
            whole.p_adjusted,
            whole.p_adjusted_by_track,
        )
        assert each["won"] + each["lost"] + each["tied"] == len(PAIRS)
    assert {by: len(groups) for by, groups in said["comparisons"][0]["by"].items()} == {
        "listener": 8, "track": 12, "severity": 2, "gain": 5
    }  # fmt: skip
    lines = list(csv.DictReader(io.StringIO(comparisons_csv(found))))
    assert tuple(lines[0]) == CSV_COLUMNS
    count = 2 * 3 + 2 * (27 + 3)  # every two, by scene and by track; groups and pairs of the first with two others
    assert len(lines) == count
    whole = [line for line in lines if line["by"] == "all"]
    assert [(line["first"], line["second"], line["clusters_are"]) for line in whole[:2]] == [
        ("system0", "system1", "scene"), ("system0", "system1", "track")
    ]  # fmt: skip
    assert [float(line["difference"]) for line in whole[::2]] == [c.difference.by_scene.mean for c in found.contrasts]
    assert [float(line["p_adjusted"]) for line in whole[1::2]] == [
        c.difference.p_adjusted_by_track for c in found.contrasts
    ]
    pair = next(line for line in lines if line["by"] == "pair")
    worst = found.contrasts[0].worst[0]
    assert pair["group"] == f"{worst.scene} {worst.listener}"
    assert (float(pair["first_mean"]), float(pair["second_mean"])) == (worst.first, worst.second)


@pytest.mark.parametrize(("runs", "width"), [(2, 80), (6, 80), (6, 120), (28, 80)])
def test_tables_fit_a_terminal(scored_run: MakeRun, runs: int, width: int) -> None:
    found = made(scored_run, runs=runs, label="a system with a long name that goes on ")
    lines = drawn(found, width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    differences_table = [line for line in lines if " 24 scenes " in line and "%" in line]
    assert len(differences_table) == runs * (runs - 1) // 2
    assert sum(" 12 tracks" in line for line in lines) >= len(differences_table)
    assert text.count("… 2 more …") == runs - 1  # eight listeners: three from either end
    assert text.count("… 6 more …") == runs - 1  # twelve tracks
    assert text.count("Pairs to listen to: ") == runs - 1
    assert ("R27 − R28" in text) == (runs == 28)
    assert ("(Holm)" in text) == (runs > 2)
    assert ("of 378." in text) == (runs == 28)
    assert "…" not in text.replace("… 2 more …", "").replace("… 6 more …", "").split("Where points")[0]


def test_what_is_said_below_the_table(scored_run: MakeRun) -> None:
    found = made(scored_run)
    said = notes(found)
    apart = [contrast.difference.significant for contrast in found.contrasts]
    assert True in apart
    assert False in apart
    assert [line.split(":")[0] for line in said[:2]] == ["Told apart (p < 0.05 by scene)", "Not told apart"]
    assert sum(line.count(" and ") for line in said[:2]) == 3
    assert said[2].startswith("First minus second")
    assert said[-1].startswith("Intervals are rough: 12 tracks are few")  # and 24 scenes are not


def test_latex_is_for_papers(scored_run: MakeRun) -> None:
    text = comparisons_latex(made(scored_run))
    lines = text.splitlines()
    assert lines[1] == r"\begin{tabular}{llrrrrrr}"
    assert lines[3] == (r"  First & Second & Difference & 95 \% by scene & p & 95 \% by track & p & Won \\")
    body = lines[lines.index(r"  \midrule") + 1 : lines.index(r"  \bottomrule")]
    assert len(body) == 3
    assert all(line.count("&") == 7 for line in body)
    assert "−" not in "".join(body)  # no character that LaTeX has no glyph for
    assert any("$-$0." in line for line in body)
    assert all(line.startswith("% ") for line in lines[lines.index(r"\end{tabular}") + 1 :])


def test_names_from_strangers_are_shown_and_do_nothing(scored_run: MakeRun) -> None:
    evil = "=[red]a|b[/red]\x1b[2J\n<b>&\\end"
    found = made(scored_run, label=evil)
    text = "\n".join(drawn(found, 200))
    assert r"=[red]a|b[/red]\x1b[2J <b>&\end0" in text
    assert "\x1b" not in text
    for written in (comparisons_csv(found), comparisons_latex(found), json.dumps(comparisons_json(found))):
        assert "\x1b" not in written
    (first, *_) = csv.DictReader(io.StringIO(comparisons_csv(found)))
    assert first["first"].startswith("'=[red]")
    code = [line for line in comparisons_latex(found).splitlines() if not line.startswith("%")]
    assert sum("\\end{" in line for line in code) == 1
