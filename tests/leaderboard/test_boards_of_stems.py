"""Boards of stems: eight means more in every form, and not a word more on boards of remixes."""

import csv
import io
import math
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from harness_leaderboard import formats, stems
from harness_leaderboard.columns import choose, stems_of
from harness_leaderboard.contrast_formats import Comparisons, comparisons_csv, comparisons_latex, comparisons_tables
from harness_leaderboard.contrasts import contrasts
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.ranking import Board, boards, breakdown
from harness_leaderboard.records import By, EvaluationSetRecord, PairScores, SceneSums, ScoredRun
from harness_leaderboard.tables import board_table, breakdown_table

MakeRun = Callable[..., ScoredRun]

NAMES = ("drums", "bass", "other", "vocals")
SONGS = [("Song one", "L1"), ("Song one", "L2"), ("Song two", "L1"), ("Song two", "L2")]
IN_ORDER = (
    *("left_vocals", "right_vocals", "left_drums", "right_drums"),
    *("left_bass", "right_bass", "left_other", "right_other"),
)


def of_level(make: MakeRun, level: float, **more: object) -> ScoredRun:
    """A run whose stems differ, and whose ears are the means of theirs."""
    eight = {
        f"{ear}_{stem}": tuple(level + 0.01 * stem_number + 0.002 * ear_number + 0.003 * pair for pair in range(4))
        for stem_number, stem in enumerate(NAMES)
        for ear_number, ear in enumerate(("left", "right"))
    }
    rows = [
        (song, who, song, *(sum(eight[f"{ear}_{stem}"][pair] for stem in NAMES) / 4 for ear in ("left", "right")))
        for pair, (song, who) in enumerate(SONGS)
    ]
    return make(rows, stems={name: eight[name] for name in stems.in_order(eight)}, **more)


@pytest.fixture
def board(scored_run: MakeRun) -> Board:
    """Three systems on the first challenge."""
    about = EvaluationSetRecord("songs", "valid", "c" * 64, 2, 4)
    levels = {"demucs": 0.6, "umx": 0.5, "a-system-of-24-character": 0.4}
    [made] = boards(of_level(scored_run, level, system=name, about=about) for name, level in levels.items())
    return made


@pytest.fixture
def other(scored_run: MakeRun) -> Board:
    """A board of remixes."""
    [made] = boards([scored_run([(*pair, pair[0], 0.5, 0.25) for pair in SONGS])])
    return made


def drawn(what: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), force_terminal=False, color_system=None)
    console.print(what)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_board_knows_its_stems_its_unit_and_its_protocol(board: Board, other: Board) -> None:
    assert (board.stems, board.unit, board.protocol) == (IN_ORDER, "song", "cad1")
    assert (other.stems, other.unit, other.protocol) == ((), "scene", "")
    for row in board.rows:
        assert row.stems == {name: math.fsum(column) / 4 for name, column in row.source.scores.stems.items()}
        assert sum(row.stems[f"left_{stem}"] for stem in NAMES) / 4 == pytest.approx(row.left, abs=1e-15)


def test_sums_go_through_json_and_stay_as_they_were_without_stems(board: Board, other: Board) -> None:
    for row in (*board.rows, *other.rows):
        assert SceneSums.of_json(row.source.sums.as_json()) == row.source.sums
    assert set(board.rows[0].source.sums.as_json()) == {"sums", "stems"}
    assert set(other.rows[0].source.sums.as_json()) == {"sums"}
    assert SceneSums.of(PairScores()).stems == {}


def test_json_and_csv_have_a_column_for_each_stem(board: Board, other: Board) -> None:
    first, *_, last = formats.boards_json([board, other])
    for name in IN_ORDER:
        assert first[name] == board.rows[0].stems[name]
        assert name not in last
    assert list(last) == list(formats.boards_json([other])[0])
    lines = list(csv.DictReader(io.StringIO(formats.boards_csv([board, other]))))
    assert float(lines[0]["left_bass"]) == board.rows[0].stems["left_bass"]
    assert lines[-1]["left_bass"] == ""
    assert "left_bass" not in formats.boards_csv([other])
    named = formats.boards_json([board, other], ["system", "left_bass"])
    assert [line["left_bass"] for line in named] == [*(row.stems["left_bass"] for row in board.rows), None]


def test_a_stem_that_nobody_scored_is_no_column(board: Board, other: Board) -> None:
    assert stems_of([other, board]) == IN_ORDER
    with pytest.raises(LeaderboardError, match=r"no column 'left_choir'; there are .*, right_other"):
        choose(["left_choir"], stems=stems_of([board]))
    with pytest.raises(LeaderboardError, match="no column 'left_bass'"):
        choose(["left_bass"], stems=stems_of([other]))


@pytest.mark.parametrize("by", list(By))
def test_breakdowns_have_the_means_of_stems(board: Board, other: Board, by: By) -> None:
    for group in breakdown(board, by):
        scores = group.row.source.scores
        which = [
            place
            for place, pair in enumerate(zip(scores.scene, scores.listener, strict=True))
            if group.name in (*pair, " ".join(pair))
        ]
        assert len(which) == group.pairs
        for name, column in scores.stems.items():
            assert group.stems[name] == math.fsum(column[place] for place in which) / len(which)
    lines = list(csv.DictReader(io.StringIO(formats.breakdown_csv([board, other], [by]))))
    assert [line["left_drums"] == "" for line in lines].count(True) == len(breakdown(other, by))
    assert "drums" not in formats.breakdown_csv([other], [by])


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_terminal_has_a_second_table_of_stems(board: Board, other: Board, width: int) -> None:
    lines = drawn(board_table(board, width), width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for name in IN_ORDER:
        assert stems.heading(name) in text
        assert all(f"{row.stems[name]:.4f}" in text for row in board.rows)
    # There is room for all of it: only columns of the first table are ever left out.
    assert "no room for" not in text or "vocals" not in text.partition("no room for")[2]
    assert lines[0].startswith("songs · valid · cad1 · set cccccccccccc")
    assert "Vocals" not in "\n".join(drawn(board_table(other, width), width))
    for by in By:
        assert max(map(cell_len, drawn(breakdown_table(board, by, width), width))) <= width
    assert "demucs: mean HAAQI by listener and stem" in drawn(breakdown_table(board, By.listener, width), width)


def test_columns_that_were_chosen_are_all_that_is_shown(board: Board) -> None:
    lines = drawn(board_table(board, 100, ["system", "right_vocals"]), 100)
    assert lines[1].split() == ["System", "Vocals", "R"]
    assert sum("Vocals" in line for line in lines) == 1


def test_markdown_and_latex_have_eight_columns_more(board: Board, other: Board) -> None:
    for text in (formats.boards_markdown([board]), formats.boards_latex([board])):
        assert all(stems.heading(name) in text and f"{board.rows[1].stems[name]:.4f}" in text for name in IN_ORDER)
    assert "Vocals" not in formats.boards_markdown([other]) + formats.boards_latex([other])
    assert "### demucs: mean HAAQI by listener and stem · songs" in formats.breakdown_markdown([board], [By.listener])
    assert "% umx: mean HAAQI by pair and stem · songs" in formats.breakdown_latex([board], [By.pair])


def test_comparisons_tell_the_difference_by_stem_and_by_song(board: Board) -> None:
    rows = board.rows[:2]
    found = contrasts(rows, worst=1)
    by_stem = {each.group: each for each in found[0].groups if each.by == "stem"}
    assert set(by_stem) == set(IN_ORDER)
    for name, each in by_stem.items():
        ours, theirs = (row.source.scores.stems[name] for row in rows)
        gaps = [one - two for one, two in zip(ours, theirs, strict=True)]
        assert each.difference.mean == pytest.approx(sum(gaps) / 4, abs=1e-15)
        assert (each.difference.pairs, each.difference.clusters) == (4, 2)
        assert (each.won, each.lost) == (4, 0)
        assert (each.first, each.second) == pytest.approx((rows[0].stems[name], rows[1].stems[name]), abs=1e-15)
    shown = Comparisons(board, rows, found)
    text = "\n".join(drawn(comparisons_tables(shown), 100))
    assert "2 songs" in text
    assert "scene" not in text.lower()
    assert all(name in text for name in IN_ORDER)
    lines = list(csv.DictReader(io.StringIO(comparisons_csv(shown))))
    assert {line["clusters_are"] for line in lines} == {"song", ""}
    assert "by track" not in comparisons_latex(shown)


def test_stems_that_only_some_pairs_have_are_not_averaged() -> None:
    assert stems.columns([{"left_bass": 0.5, "left_drums": 0.25}, {"left_bass": 0.75}]) == {"left_bass": (0.5, 0.75)}
    assert stems.columns([{"left_bass": 0.5}, None]) == {}
    assert stems.columns([]) == {}
