"""What people see on a terminal of 80, 100 or 120 columns."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from stored import LOAD, MEASURED, STREAMED, WHOLE_PIECE

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.ranking import Board, boards
from harness_leaderboard.records import By, EvaluationSetRecord, ScoredRun
from harness_leaderboard.tables import PICTURE_WIDTH, board_table, breakdown_table, picture, shown

MakeRun = Callable[..., ScoredRun]
WIDTHS = [80, 100, 120]


def rows(scale: float, scenes: int = 2) -> list[tuple[str, str, str, float, float]]:
    pairs = [(f"S{scene}", listener, f"track {scene}") for scene in range(1, scenes + 1) for listener in ("L1", "L2")]
    return [(*pair, scale / (i + 3), scale / (i + 7)) for i, pair in enumerate(pairs)]


def drawn(what: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


@pytest.fixture
def board(scored_run: MakeRun) -> Board:
    """A real set's size, every status and engine, and names of 24 characters."""
    about = EvaluationSetRecord("demo", "valid", "e" * 64, 960, 19_200)
    many = rows(0.9) * 4800
    common = {"about": about, "training_data": "official + supplementation"}
    fast = {"fast": 19_200, "checked": 60, "checked_in_double": 768, "largest_difference": 3e-10}
    (made,) = boards(
        [
            scored_run(many, system="a-system-of-24-character", **fast, **common),
            scored_run([(*row[:3], row[3] / 2, row[4] / 2) for row in many], system="half", causal=True, **common),
            scored_run(many, system="hasty", **{**fast, "checked": 59}, **common),
            scored_run(many, system="doubtful", **{**fast, "largest_difference": 2e-5}, **common),
            scored_run(many, system="oracle", reference=True, parameters=0, **common),
            scored_run(many, system="another-of-24-characters", not_eligible="trained on private data", **common),
            scored_run(many[:3], system="new", failed=1, **common),
        ]
    )
    return made


@pytest.mark.parametrize("width", WIDTHS)
def test_one_line_for_each_system_and_all_of_it(board: Board, width: int) -> None:
    lines = drawn(board_table(board, width), width)
    assert max(map(cell_len, lines)) <= width
    assert lines[0] == "demo · valid · set eeeeeeeeeeee · evaluator ffffffffffff"
    table = lines[1 : lines.index("", 2)]
    assert len(table) == 2 + len(board.rows)  # header, rule, and a line for each
    for line, row in zip(table[2:], board.rows, strict=True):
        assert row.run.system in line
        assert row.estimate is not None
        assert f"{row.estimate.mean:.4f}" in line
    assert "…" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("width", "headers"),
    [
        (80, "Rank Group System HAAQI ±95 % Left Right Class"),
        (100, "Rank Group System HAAQI ±95 % Left Right Engine Class Params"),
        (120, "Rank Group System HAAQI ±95 % Left Right Pairs Engine Class Params Version"),
    ],
)
def test_columns_are_added_while_there_is_room(board: Board, width: int, headers: str) -> None:
    lines = drawn(board_table(board, width), width)
    shown_headers = lines[1].split()
    assert set(headers.split()) <= set(shown_headers)
    # Nothing that is left out would fit; and it is said what that is.
    spare = width - max(map(cell_len, lines[1 : lines.index("", 2)]))
    missing = {"version": 7, "date": 10, "trained on": 26, "class": 10, "params": 6}
    note = " ".join(lines[lines.index("", 2) :]).split("(no room for: ")[1].split(";")[0]
    for name in note.split(", "):
        assert name in {*missing, "pairs", "engine"}
        assert spare < missing.get(name, 15) + 2
    for name in missing:
        assert (name in note) != (name.split()[0].capitalize() in shown_headers)


def test_everything_fits_into_a_wide_terminal(board: Board) -> None:
    text = "\n".join(drawn(board_table(board, 200), 200))
    assert "no room" not in text
    assert text.count("supplementation") == len(board.rows)
    assert text.count("2024-01-31") == len(board.rows)


def test_footnotes_say_why_there_is_no_rank_and_what_the_tick_means(board: Board) -> None:
    lines = drawn(board_table(board, 120), 120)
    cells = {line.split()[2]: line.split()[0] for line in lines[3 : 3 + len(board.rows)]}
    reasons = {line[0]: line[2:] for line in lines if line[:1] in set("¹²³⁴⁵")}
    assert cells["a-system-of-24-character"] == "1"
    assert reasons[cells["hasty"][-1]] == "unchecked: 59 of 60 checks by the locked evaluator made"
    assert reasons[cells["doubtful"][-1]].startswith("disputed: a fast score differs from its check by 2e-05")
    assert reasons[cells["oracle"][-1]].startswith("reference: ")
    assert reasons[cells["another-of-24-characters"][-1]] == "not eligible: trained on private data"
    assert reasons[cells["new"][-1]] == "incomplete: 3 of 19200 pairs scored, 1 failed"
    assert (
        "✓ 38,400 ears with fast scores (0 in double precision): 60 checked by the locked evaluator, 768 by double "
        "precision; largest difference 3e-10, allowed 1e-06"
    ) in " ".join(lines)
    text = "\n".join(lines)
    assert text.count("fast ✓") == 1
    assert text.count("fast ✗") == 1
    assert any(line.startswith("half is 0.") and "behind a-system-of-24-character" in line for line in lines)


@pytest.fixture
def classes(scored_run: MakeRun) -> Board:
    """A run of each class, resting on whatever a class can rest on."""
    known = {"live": True, "causal": True, "chain": "live", "causality": STREAMED, "load": LOAD}
    (made,) = boards(
        [
            scored_run(rows(0.9), system="caught", causality=WHOLE_PIECE),
            scored_run(rows(0.8), system="live", **known),
            scored_run(rows(0.7), system="tried", causal=True, causality=MEASURED),
            scored_run(rows(0.6), system="believed", causal=True),
            scored_run(rows(0.5), system="offline"),
        ]
    )
    return made


@pytest.mark.parametrize("width", [80, 120])
def test_classes_say_what_they_rest_on(classes: Board, width: int) -> None:
    lines = drawn(board_table(classes, width), width)
    assert max(map(cell_len, lines)) <= width
    header, table = lines[1], lines[3:8]
    places = [header.index("Class") + size for size in (0, 12)]
    cells = {line.split()[2]: line[slice(*places)].split()[0] for line in table}
    assert cells == {
        "caught": "non-causal†", "live": "live‡", "tried": "causal†", "believed": "causal", "offline": "non-causal",
    }  # fmt: skip
    text = " ".join(" ".join(lines).split())
    assert "class: † measured (1 to 16 cuts), ‡ streamed, no mark: only declared" in text
    assert f"caught is not causal: {WHOLE_PIECE.reason}" in text
    assert "Load" in header
    assert [line.count("0.44") for line in table] == [0, 1, 0, 0, 0]
    assert "on one core of A Processor" in text


def test_times_are_shown_where_there_is_room(classes: Board) -> None:
    lines = drawn(board_table(classes, 140), 140)
    for system, times in {"live": "5.0 ms 7.5 ms", "tried": "4.8 ms 4.8 ms", "caught": "whole piece -"}.items():
        (line,) = (line for line in lines[3:8] if line.split()[2] == system)
        assert times in " ".join(line.split())


def test_a_board_of_declarations_has_no_columns_for_what_nobody_measured(board: Board) -> None:
    lines = drawn(board_table(board, 200), 200)
    assert not {"Load", "Look-ahead", "Through"} & set(lines[1].split())
    assert not any(line.startswith("class:") for line in lines)


def test_the_same_reason_has_one_footnote(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run(rows(0.9), system=name, reference=True) for name in "ab"])
    lines = drawn(board_table(made, 80), 80)
    assert [line.split()[0] for line in lines[3:5]] == ["–¹", "–¹"]
    assert sum("reference: " in line for line in lines) == 1


def test_chosen_columns_are_shown_in_any_width(board: Board) -> None:
    names = ["training_data", "label", "status", "number", "class"]
    for width in (40, 80):
        lines = drawn(board_table(board, width, names), width)
        header = " ".join(lines).split("Class")[0].split()
        assert [word for word in header if word in ("Run", "Status", "#")] == ["Run", "Status", "#"]
        assert "System" not in header
        assert max(map(cell_len, lines)) <= width
    with pytest.raises(LeaderboardError, match="no column 'colour'; there are "):
        board_table(board, 80, ["colour"])


def test_a_name_that_is_too_long_is_folded_and_numbers_stay_whole(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run(rows(0.9), system="x" * 100)])
    lines = drawn(board_table(made, 60), 60)
    assert max(map(cell_len, lines)) <= 60
    assert sum(line.count("x") for line in lines[3:-1]) == 100
    assert "±" in lines[3]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("systems", "scenes"), [(3, 30), (12, 3), (12, 30), (30, 2)])
def test_breakdowns_fit_whatever_there_are_many_of(scored_run: MakeRun, width: int, systems: int, scenes: int) -> None:
    about = EvaluationSetRecord("demo", "valid", "e" * 64, scenes, 2 * scenes)
    names = [f"system-{number:02}" for number in range(systems)]
    (made,) = boards([scored_run(rows(0.9, scenes), about=about, system=name) for name in names])
    lines = drawn(breakdown_table(made, By.scene, width), width)
    assert max(map(cell_len, lines)) <= width
    assert lines[0].startswith("Mean HAAQI by scene · demo")
    words = " ".join(lines).split()
    assert all(words.count(name) == 1 for name in names)
    assert sum(word.startswith("0.") for word in words) == systems * scenes
    systems_are_rows = lines[1].startswith("System")
    assert systems_are_rows == (3 + 11 * systems > width and 9 + 8 * scenes <= width)


def test_a_group_that_a_run_lacks_is_a_gap(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run(rows(0.9), system="a"), scored_run(rows(0.8)[:1], system="b")])
    assert drawn(breakdown_table(made, By.pair, 80), 80)[-2].split() == ["S2", "L2", "0.1200", "-"]


def test_a_run_without_scores(scored_run: MakeRun) -> None:
    (made,) = boards([scored_run([], system="new")])
    assert any("incomplete: 0 of 4" in line for line in drawn(board_table(made, 80), 80))
    assert drawn(breakdown_table(made, By.scene, 80), 80)[0].startswith("Mean HAAQI by scene")


def test_names_from_strangers_are_shown_and_do_nothing(scored_run: MakeRun) -> None:
    evil = "[red]a|b[/red]\x1b[2J\n<b>*x*"
    about = EvaluationSetRecord(evil, evil, "e" * 64, 2, 4)
    made = boards([scored_run(rows(0.9), about=about, system=evil, not_eligible=evil, training_data=evil)])
    text = "\n".join(line for part in [*shown(made, 400), *shown(made, 400, list(By))] for line in drawn(part, 400))
    assert "[red]a|b[/red]\\x1b[2J <b>*x*" in text
    assert "\x1b" not in text


def test_a_picture_is_svg_that_says_what_the_table_says_and_always_the_same(board: Board) -> None:
    svg = picture(shown([board], PICTURE_WIDTH))
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert "a-system-of-24-character" in text
    assert f"{board.rows[0].estimate.mean:.4f}" in text  # type: ignore[union-attr]
    assert svg == picture(shown([board], PICTURE_WIDTH))
    assert "font-face" not in svg  # or whoever looks at it asks a server for fonts
