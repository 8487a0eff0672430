"""What programs and papers get to see, hostile names included."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from shutil import which
from typing import Any

import pytest

from harness_leaderboard.columns import COLUMNS
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.formats import (
    BREAKDOWN_COLUMNS,
    boards_csv,
    boards_json,
    boards_latex,
    boards_markdown,
    breakdown_csv,
    breakdown_json,
    breakdown_latex,
    breakdown_markdown,
)
from harness_leaderboard.ranking import Board, boards
from harness_leaderboard.records import By, EvaluationSetRecord, ScoredRun

MakeRun = Callable[..., ScoredRun]


def rows(scale: float) -> list[tuple[str, str, str, float, float]]:
    pairs = [("S1", "L1", "one"), ("S1", "L2", "one"), ("S2", "L1", "two"), ("S2", "L2", "two")]
    return [(*pair, scale / (i + 3), scale / (i + 7)) for i, pair in enumerate(pairs)]


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


ENGINES = [
    ({}, "locked", "locked"),
    ({"fast": 4, "checked": 1, "largest_difference": 3e-10}, "fast", "fast ✓"),
    ({"fast": 4, "checked_in_double": 2, "largest_difference": 0.0}, "fast", "fast ✓"),
    ({"fast": 4, "checked_in_double": 1, "largest_difference": 0.0}, "fast", "fast"),
    ({"fast": 4, "checked_in_double": 2, "largest_difference": 2e-6}, "fast", "fast ✗"),
    ({"fast": 3, "in_double": 1, "largest_difference": 2e-7}, "mixed", "mixed ✓"),
    ({"fast": 4, "in_double": 8, "checked_in_double": 0}, "fast64", "fast64 ✓"),
]


@pytest.mark.parametrize(("source", "engine", "cell"), ENGINES)
def test_the_engine_of_a_run(scored_run: MakeRun, source: dict[str, Any], engine: str, cell: str) -> None:
    made = boards([scored_run(rows(0.9), **source)])
    assert f"| 4 | {cell} | non-causal |" in boards_markdown(made)
    parts = 2 * source.get("fast", 0)
    expected = {
        **{"fast": 0, "parts": parts, "in_double": 0, "checked": 0, "largest_difference": None},
        **{"checked_in_double": min(2, parts), **source, "engine": engine},
    }
    assert expected.items() <= boards_json(made)[0].items()
    (line,) = csv.DictReader(io.StringIO(boards_csv(made)))
    assert {name: line[name] for name in expected} == {
        name: "" if value is None else str(value) for name, value in expected.items()
    }


def test_a_run_without_the_group_has_a_gap(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run(rows(0.9), system="a"), scored_run(rows(0.8)[:1], system="b")])
    assert breakdown_markdown([made], [By.scene]).splitlines()[-1].endswith("| - |")


def test_a_run_without_scores(scored_run: MakeRun) -> None:
    made = boards([scored_run([], system="new")])
    assert "| 0 of 4 |" in boards_markdown(made)
    assert boards_json(made)[0]["mean"] is None
    (line,) = csv.DictReader(io.StringIO(boards_csv(made)))
    assert (line["mean"], line["rank"], line["last_scored"]) == ("", "", "")
    assert (line["engine"], line["fast"], line["largest_difference"]) == ("", "0", "")
    assert "| 0 of 4 | - |" in boards_markdown(made)
    assert breakdown_json(made, [By.scene]) == []


def test_csv_comes_back_to_the_last_bit(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(boards_csv([board]))))
    assert tuple(lines[0]) == tuple(COLUMNS)
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
    assert all(tuple(line) == tuple(COLUMNS) for line in lines)
    assert lines[0]["evaluator"] == "f" * 64
    assert lines[0]["evaluation_set_sha256"] == "e" * 64
    assert [line["status"] for line in lines] == ["ranked", "ranked", "reference", "not eligible", "incomplete"]


def test_breakdown_csv_and_json_agree(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(breakdown_csv([board], [By.listener]))))
    objects = breakdown_json([board], [By.listener])
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
    assert lines[4].startswith("| 1 | 1 | demucs | 4.0.1 | ")
    assert "| 83.9M | official |" in lines[4]
    assert lines[6].startswith("| –¹ | - | oracle |")
    assert "| non-causal |" in lines[6]
    assert lines[8].startswith("| –³ | - | centre |")
    assert "| 3 of 4 | locked | causal | 0 | none | 2024-01-31 |" in lines[8]
    assert lines[10] == "- demucs and umxhq cannot be told apart."
    assert lines[11] == "- ¹ reference: a reference, not a system that competes"
    assert "² not eligible: trained on private data, which the challenge excludes" in lines[12]
    assert lines[13] == "- ³ incomplete: 3 of 4 pairs scored, 1 failed"
    assert lines[14].startswith("- umxhq is 0.0")
    assert lines[15:] == [
        r"- Told apart means p \< 0.05: paired, clustered by scene.",
        "- Intervals are rough: 2 scenes are few; below 20, even corrected ones (CR2) may mislead.",
    ]
    assert boards_markdown([]) == ""


def test_names_from_strangers_are_shown_and_do_nothing(
    scored_run: MakeRun, evaluation_set: EvaluationSetRecord
) -> None:
    evil = "[red]a|b[/red]\x1b[2J\n<b>*x*"
    about = EvaluationSetRecord(evil, evil, "e" * 64, 2, 4)
    made = boards([scored_run(rows(0.9), about=about, system=evil, not_eligible=evil, key="k", training_data=evil)])
    for markdown in (boards_markdown(made), breakdown_markdown(made, [By.track])):
        assert r"\[red\]a\|b\[/red\]" in markdown
        assert r"\<b\>\*x\*" in markdown
        assert "\x1b" not in markdown
        rules = [line for line in markdown.splitlines() if line.startswith("|")]
        assert len({line.replace(r"\|", "").count("|") for line in rules}) == 1
    (line,) = csv.DictReader(io.StringIO(boards_csv(made), newline=""))
    assert line["system"] == r"[red]a|b[/red]\x1b[2J\n<b>*x*"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", r"'\t=1"),
        ("\r=1", r"'\r=1"),
        ("-1.5", "-1.5"),
        ("+3", "+3"),
        ("a=b", "a=b"),
        ("caf\udce9 \x07", r"caf\udce9 \x07"),
    ],
)
def test_no_cell_of_csv_is_a_formula(scored_run: MakeRun, name: str, cell: str) -> None:
    about = EvaluationSetRecord("demo", name, "e" * 64, 2, 4)
    made = boards([scored_run([(name, *rest) for _, *rest in rows(0.9)], system=name, not_eligible=name, about=about)])
    board_text, scenes = boards_csv(made), breakdown_csv(made, [By.scene])
    assert (board_text + scenes).encode()
    (line,) = csv.DictReader(io.StringIO(board_text, newline=""))
    assert [line[column] for column in ("system", "label", "split", "not_eligible", "why_not_ranked")] == [cell] * 5
    assert {line["group"] for line in csv.DictReader(io.StringIO(scenes, newline=""))} == {cell}
    # Numbers below zero are numbers.
    gap = boards([scored_run(rows(0.9), system="a"), scored_run(rows(0.9), system="b")])
    assert "'" not in boards_csv(gap, ["behind_low", "behind_p", "mean"])


@pytest.mark.parametrize(
    "name", ["@octocat", "a@b.org", "https://x.org", "WWW.x.org", "see #12", "gh-7", "mailto:a@b.org", "x/y#3"]
)
def test_nothing_of_a_strangers_text_is_a_link_or_a_mention_in_markdown(scored_run: MakeRun, name: str) -> None:
    (made,) = boards([scored_run(rows(0.9), system=name, not_eligible=name)])
    text = boards_markdown([made]) + breakdown_markdown([made], [By.scene])
    # What GitHub makes links of: mentions and addresses, numbers of issues, autolinks.
    assert not re.search(r"@\w|#\w|://|www\.|gh-\d", text, re.IGNORECASE)
    assert name in text.replace("<!-- -->", "").replace("\\", "")


def test_what_is_not_utf8_is_escaped_in_every_format(scored_run: MakeRun) -> None:
    made = boards([scored_run(rows(0.9), system="\udc80", training_data="\x1b[2J", settings={"a": "\udc80"})])
    for text in (boards_csv(made), boards_markdown(made), boards_latex(made), json.dumps(boards_json(made))):
        assert text.encode()
        assert "udc80" in text
        assert "\x1b" not in text


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


def two_boards(scored_run: MakeRun) -> list[Board]:
    other = EvaluationSetRecord("other", "valid", "9" * 64, 2, 4)
    return boards([scored_run(rows(0.9)), scored_run(rows(0.8), about=other), scored_run(rows(0.7), about=other)])


def test_two_evaluation_sets_and_two_breakdowns_are_one_csv_with_one_header(scored_run: MakeRun) -> None:
    made = two_boards(scored_run)
    lines = list(csv.DictReader(io.StringIO(breakdown_csv(made, [By.track, By.pair]))))
    assert [(line["evaluation_set"], line["by"]) for line in lines] == (
        [("demo", "track")] * 2 + [("demo", "pair")] * 4 + [("other", "track")] * 4 + [("other", "pair")] * 8
    )
    assert [line["group"] for line in lines[2:6]] == ["S1 L1", "S1 L2", "S2 L1", "S2 L2"]
    assert len(list(csv.DictReader(io.StringIO(boards_csv(made))))) == 3
    assert json.loads(json.dumps(breakdown_json(made, [By.pair])))[0]["by"] == "pair"
    headings = [line for line in breakdown_markdown(made, [By.scene, By.pair]).splitlines() if line.startswith("#")]
    assert [line.split(" · ")[:2] for line in headings] == [
        ["### Mean HAAQI by scene", "demo"],
        ["### Mean HAAQI by pair", "demo"],
        ["### Mean HAAQI by scene", "other"],
        ["### Mean HAAQI by pair", "other"],
    ]


def test_columns_can_be_chosen(board: Board) -> None:
    names = ["system", "low", "rank", "settings"]
    lines = list(csv.DictReader(io.StringIO(boards_csv([board], names))))
    assert list(lines[0]) == names
    assert float(lines[0]["low"]) == boards_json([board])[0]["low"]
    assert list(boards_json([board], names)[0]) == names
    assert boards_markdown([board], names).splitlines()[2] == "| System | Low | Rank | Settings |"
    assert boards_latex([board], names).splitlines()[1:4] == [
        r"\begin{tabular}{lrll}",
        r"  \toprule",
        r"  System & Low & Rank & Settings \\",
    ]


@pytest.mark.parametrize("form", [boards_csv, boards_json, boards_markdown, boards_latex])
@pytest.mark.parametrize(
    ("names", "what"), [(["system", "colour"], "'colour'"), ([], "no columns"), (["key"] * 2, "twice")]
)
def test_columns_that_there_are_not(board: Board, form: Callable[..., Any], names: list[str], what: str) -> None:
    with pytest.raises(LeaderboardError, match=what) as caught:
        form([board], names)
    assert what == "twice" or "there are evaluation_set, split," in str(caught.value)


def test_latex(board: Board) -> None:
    text = boards_latex([board])
    lines = text.splitlines()
    assert lines[0].startswith("% demo · valid")
    assert lines[1:4] == [
        r"\begin{tabular}{lrlrrrlr}",
        r"  \toprule",
        r"  Rank & Group & System & HAAQI $\pm$95 \% & Left & Right & Class & Params \\",
    ]
    assert re.fullmatch(
        r"  1 & 1 & demucs & 0\.\d{4}\$\\pm\$0\.\d{4} & 0\.\d{4} & 0\.\d{4} & non-causal & 83\.9M \\\\", lines[5]
    )
    assert lines[7].startswith(r"  --\textsuperscript{1} & - & oracle & ")
    assert r"\bottomrule" in lines[10]
    assert lines[12] == "% demucs and umxhq cannot be told apart."
    assert lines[13] == "% ¹ reference: a reference, not a system that competes"
    assert boards_latex([]) == ""
    assert r"\begin{tabular}{lrrrrr}" in breakdown_latex([board], [By.pair])


def test_latex_reads_names_from_strangers_as_text(scored_run: MakeRun) -> None:
    evil = '\\input{x}%$&#_^~[1]*<>|"\n\\end'
    made = boards([scored_run(rows(0.9), system=evil, not_eligible=evil)])
    text = boards_latex(made, ["system", "not_eligible"]) + breakdown_latex(made, [By.scene])
    code = [line for line in text.splitlines() if not line.startswith("%")]
    escaped = (
        r"\textbackslash{}input\{x\}\%\$\&\#\_\textasciicircum{}\textasciitilde{}{[}1{]}{*}"
        r"\textless{}\textgreater{}\textbar{}\textquotedbl{} \textbackslash{}end"
    )
    assert rf"  {escaped} & {escaped} \\" in code
    assert sum(line.startswith(r"\end{tabular}") for line in code) == 2
    assert all(line.lstrip().startswith(("\\", "S", "  ", "--")) or "&" in line for line in code if line)


@pytest.mark.skipif(which("pdflatex") is None, reason="no LaTeX here")
def test_latex_compiles(board: Board, tmp_path: Any) -> None:
    body = boards_latex([board], list(COLUMNS)) + breakdown_latex([board], list(By))
    document = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,amssymb}\\begin{document}\n"
    (tmp_path / "board.tex").write_text(f"{document}{body}\\end{{document}}\n", encoding="utf-8")
    subprocess.run(["pdflatex", "-halt-on-error", "board.tex"], cwd=tmp_path, check=True, capture_output=True)
