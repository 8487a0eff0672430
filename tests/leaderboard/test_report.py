"""What people and programs get to see, hostile names included."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from harness_leaderboard.ranking import Board, boards
from harness_leaderboard.records import EvaluationSetRecord, ScoredRun
from harness_leaderboard.report import (
    BREAKDOWN_COLUMNS,
    COLUMNS,
    board_table,
    boards_csv,
    boards_json,
    boards_markdown,
    breakdown_csv,
    breakdown_json,
    breakdown_markdown,
    breakdown_table,
)

MakeRun = Callable[..., ScoredRun]


def rows(scale: float) -> list[tuple[str, str, str, float, float]]:
    pairs = [("S1", "L1", "one"), ("S1", "L2", "one"), ("S2", "L1", "two"), ("S2", "L2", "two")]
    return [(*pair, scale / (i + 3), scale / (i + 7)) for i, pair in enumerate(pairs)]


def shown(table: Table, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def board(scored_run: MakeRun) -> Board:
    """One run of each status."""
    (made,) = boards(
        [
            scored_run(rows(0.9), system="demucs"),
            scored_run(rows(0.8), system="umxhq", parameters=35_400_000, training_data="official + supplementation"),
            scored_run(rows(0.7)[:3], system="centre", causal=True, parameters=0, failed=1, training_data="none"),
            scored_run(rows(1.0), system="oracle", reference=True, parameters=0, training_data="none"),
            scored_run(
                rows(0.95),
                system="htdemucs",
                training_data="private",
                not_eligible="trained on private data, which the challenge excludes",
            ),
        ]
    )
    return made


def test_the_table_says_it_all_in_100_columns(board: Board) -> None:
    text = shown(board_table(board, 100))
    assert max(map(len, text.splitlines())) <= 100
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "demo · valid · set eeeeeeeeeeee · evaluator ffffffffffff"
    for header in (
        "Rank",
        "System",
        "HAAQI ±95 %",
        "Left",
        "Right",
        "Pairs",
        "Evaluator",
        "Causal",
        "Params",
        "Trained on",
    ):
        assert header in lines[1]
    words = text.split()
    for word in ("demucs", "umxhq", "centre", "oracle", "htdemucs", "reference", "incomplete", "eligible"):
        assert word in words
    for word in ("83.9M", "35.4M", "yes", "locked", "private", "excludes"):
        assert word in text
    first = board.rows[0]
    assert first.estimate is not None
    assert first.estimate.high is not None
    assert f"{first.estimate.mean:.4f}±{first.estimate.high - first.estimate.mean:.4f}" in text
    assert "3 of 4" in text
    assert "umxhq is 0.0" in text
    assert "behind demucs (95 %: " in text
    assert "…" not in text
    assert "supplementation" in text
    assert lines[-1] == "(date: in a wider terminal)"
    assert shown(board_table(board, 120), 120).count("2024-01-31") == 5


ENGINES = [
    ({}, "locked", "locked"),
    ({"fast": 4, "checked": 2, "largest_difference": 3e-10}, "fast", "fast, 2 checked, 3e-10"),
    ({"fast": 4, "checked": 2, "largest_difference": 0.0}, "fast", "fast, 2 checked, 0"),
    ({"fast": 4}, "fast", "fast, 0 checked"),
    ({"fast": 3, "checked": 2, "largest_difference": 2e-7}, "mixed", "fast 3, locked 1; 2 checked, 2e-07"),
]


@pytest.mark.parametrize(("source", "engine", "cell"), ENGINES)
def test_the_engine_of_a_run(scored_run: MakeRun, source: dict[str, Any], engine: str, cell: str) -> None:
    made = boards([scored_run(rows(0.9), **source)])
    assert f"| 4 of 4 | {cell} | non-causal |" in boards_markdown(made)
    expected = {"fast": 0, "checked": 0, "largest_difference": None, **source, "engine": engine}
    assert expected.items() <= boards_json(made)[0].items()
    (line,) = csv.DictReader(io.StringIO(boards_csv(made)))
    assert {name: line[name] for name in expected} == {
        name: "" if value is None else str(value) for name, value in expected.items()
    }


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_engines_fit_into_a_terminal(scored_run: MakeRun, width: int) -> None:
    about = EvaluationSetRecord("demo", "valid", "e" * 64, 960, 19_200)
    many = rows(0.9) * 4800
    declared = {"about": about, "training_data": "official + supplementation"}
    (board,) = boards(
        [
            scored_run(many, system="passthrough", fast=19_200, checked=192, largest_difference=3e-10, **declared),
            scored_run(many, system="half", fast=9_600, checked=96, largest_difference=2e-10, **declared),
            scored_run(many, system="hasty", fast=19_200, checked=191, largest_difference=3e-10, **declared),
            scored_run(many, system="doubtful", fast=19_200, checked=9, largest_difference=2e-5, **declared),
            scored_run(many[:3], system="new", **declared),
        ]
    )
    text = shown(board_table(board, width), width)
    lines = text.splitlines()
    assert lines[1].split()[-1] == {80: "Params", 100: "on", 120: "Date"}[width]
    assert "…" not in text
    words = text.split()
    for word in ("unchecked", "disputed", "incomplete", "192", "checked,", "3e-10", "locked", "19200"):
        assert word in words
    assert text.count("supplementation") == (0 if width < 100 else 5)
    assert "hasty is unchecked: 191 of 192 checks against the locked engine made" in text
    assert "doubtful is disputed: fast and locked scores differ by 2e-05, more than 1e-06" in text


def test_breakdown_table(board: Board) -> None:
    text = shown(breakdown_table(board, "listener"))
    assert "Mean HAAQI by listener" in text
    assert [line.split()[0] for line in text.splitlines()[-2:]] == ["L1", "L2"]
    assert shown(breakdown_table(board, "track")).splitlines()[-2].startswith("one")


def test_a_run_without_the_group_has_a_gap(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run(rows(0.9), system="a"), scored_run(rows(0.8)[:1], system="b")])
    assert shown(breakdown_table(made, "scene")).splitlines()[-1].split()[-1] == "-"
    assert breakdown_markdown(made, "scene").splitlines()[-1].endswith("| - |")


def test_a_run_without_scores(scored_run: MakeRun) -> None:
    made = boards([scored_run([], system="new")])
    assert "incomplete" in shown(board_table(made[0]))
    assert "| 0 of 4 |" in boards_markdown(made)
    assert boards_json(made)[0]["mean"] is None
    (line,) = csv.DictReader(io.StringIO(boards_csv(made)))
    assert (line["mean"], line["rank"], line["last_scored"]) == ("", "", "")
    assert (line["engine"], line["fast"], line["largest_difference"]) == ("", "0", "")
    assert "| 0 of 4 | - |" in boards_markdown(made)
    assert breakdown_json(made[0], "scene") == []
    shown(breakdown_table(made[0], "scene"))


def test_csv_comes_back_to_the_last_bit(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(boards_csv([board]))))
    assert tuple(lines[0]) == COLUMNS
    assert len(lines) == 5
    for line, row in zip(lines, board.rows, strict=True):
        assert row.estimate is not None
        assert float(line["mean"]) == row.estimate.mean
        assert float(line["low"]) == row.estimate.low
        assert float(line["high"]) == row.estimate.high
        assert float(line["left"]) == row.left
        assert float(line["right"]) == row.right
        assert int(line["parameters"]) == row.run.parameters
        assert line["rank"] == str(row.rank or "")
        assert json.loads(line["settings"]) == {"overlap": 0.25}
    assert lines[0]["parameters"] == "83900000"
    assert lines[0]["behind"] == ""
    assert float(lines[1]["behind"]) == boards_json([board])[1]["behind"]


def test_json_comes_back_as_it_was(board: Board) -> None:
    lines = boards_json([board])
    assert json.loads(json.dumps(lines)) == lines
    assert all(tuple(line) == COLUMNS for line in map(in_order, lines))
    assert lines[0]["evaluator"] == "f" * 64
    assert lines[0]["evaluation_set_sha256"] == "e" * 64
    assert [line["status"] for line in lines] == ["ranked", "ranked", "reference", "not eligible", "incomplete"]


def in_order(line: dict[str, object]) -> dict[str, object]:
    """The line with the known columns first; an unknown one would be left over at the end."""
    return {**{name: line[name] for name in COLUMNS}, **line}


def test_breakdown_csv_and_json_agree(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(breakdown_csv(board, "listener"))))
    objects = breakdown_json(board, "listener")
    assert tuple(lines[0]) == BREAKDOWN_COLUMNS
    assert [(line["group"], line["system"], float(line["mean"]), int(line["pairs"])) for line in lines] == [
        (found["group"], found["system"], found["mean"], found["pairs"]) for found in objects
    ]
    assert len(lines) == 10


def test_markdown(board: Board) -> None:
    text = boards_markdown([board])
    lines = text.splitlines()
    assert lines[0] == "### demo · valid · set eeeeeeeeeeee · evaluator ffffffffffff"
    assert all(line.count("|") == 14 for line in lines[2:9])
    assert lines[4].startswith("| 1 | demucs | 4.0.1 | ")
    assert "| 83.9M | official |" in lines[4]
    assert lines[6].startswith("| reference | oracle |")
    assert "| non-causal |" in lines[6]
    assert "trained on private data, which the challenge excludes" in lines[7]
    assert "| causal | 0 | none | 3 of 4 pairs scored, 1 failed | 2024-01-31 |" in lines[8]
    assert lines[-1].startswith("- umxhq is 0.0")
    assert boards_markdown([]) == ""


def test_names_from_strangers_are_shown_and_do_nothing(
    scored_run: MakeRun, evaluation_set: EvaluationSetRecord
) -> None:
    evil = "[red]a|b[/red]\x1b[2J\n<b>*x*"
    about = EvaluationSetRecord(evil, evil, "e" * 64, 2, 4)
    made = boards([scored_run(rows(0.9), about=about, system=evil, not_eligible=evil, key="k", training_data=evil)])
    text = shown(board_table(made[0]), width=400) + shown(breakdown_table(made[0], "track"), width=400)
    assert "[red]a|b[/red]\ufffd[2J" in text
    assert "\x1b" not in text
    for markdown in (boards_markdown(made), breakdown_markdown(made[0], "track")):
        assert r"\[red\]a\|b\[/red\]" in markdown
        assert r"\<b\>\*x\*" in markdown
        assert "\x1b" not in markdown
        rules = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len({line.replace(r"\|", "").count("|") for line in rules}) == 1
    (line,) = csv.DictReader(io.StringIO(boards_csv(made), newline=""))
    assert line["system"] == evil


def test_runs_of_one_system_are_told_apart(scored_run: MakeRun) -> None:
    (made,) = boards(
        [
            scored_run(rows(0.9), system="demucs", key="1" * 64, submission="mine"),
            scored_run(rows(0.8), system="demucs", key="2" * 64, submission="yours"),
            scored_run(rows(0.7), system="demucs", key="3" * 64, submission="yours"),
            scored_run(rows(0.6), system="umx", key="4" * 64),
        ]
    )
    text = boards_markdown([made])
    for label in ("demucs (mine)", f"demucs ({'2' * 24})", f"demucs ({'3' * 24})", "| umx |"):
        assert label in text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (999_949, "999.9k"),
        (999_999, "1.0M"),
        (83_900_000, "83.9M"),
        (2_000_000_000, "2.0B"),
    ],
)
def test_parameters_for_people(scored_run: MakeRun, number: int, text: str) -> None:
    assert f"| {text} |" in boards_markdown(boards([scored_run(rows(0.9), parameters=number)]))
