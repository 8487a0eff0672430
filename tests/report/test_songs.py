"""The report of the first challenge's board: eight stems, and songs where others have scenes."""

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import drawn
from synthetic import synthetic_view

from harness.report.boards import Material
from harness.report.site import Wishes, write_report
from harness.report.systempages import Stored
from harness.report.view import BoardView
from harness_leaderboard.whole import PairColumns, WholeRun


def material(view: BoardView) -> Material:
    """A board of which the database says nothing but its scores."""
    return Material(view, lambda row: Stored(WholeRun(row.source, "shown", PairColumns(), ()), [], [], {}), 0, [])


@pytest.fixture(scope="module")
def view() -> BoardView:
    return synthetic_view(stems=True)


@pytest.fixture(scope="module")
def site(view: BoardView, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report alone."""
    folder = tmp_path_factory.mktemp("songs") / "report"
    write_report([material(view)], folder, Wishes("harness report"))
    return folder


def text_of(site: Path, page: str) -> str:
    """What a page says, without what names its parts."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", (site / page).read_text(encoding="utf-8")))


def test_the_front_page_says_which_challenge_and_has_every_stem(site: Path, view: BoardView) -> None:
    text = text_of(site, "index.html")
    assert "First Cadenza challenge, task 1: the score of a pair is the mean over its 8 stems." in text
    assert "12 songs, 72 song-listener pairs" in text
    assert "Vocals left Vocals right Drums left Drums right Bass left Bass right Other left Other right" in text
    for row in view.board.rows:
        assert " ".join(f"{mean:.4f}" for mean in row.stems.values()) in text


def test_a_systems_page_has_its_stems(site: Path, view: BoardView) -> None:
    first = view.board.ranked[0]
    text = text_of(site, f"systems/{first.source.id}.html")
    assert "Stem by stem" in text
    for stem in ("vocals", "drums", "bass", "other"):
        assert re.search(rf"{stem} {first.stems[f'left_{stem}']:.4f} \S+ {first.stems[f'right_{stem}']:.4f} \S+", text)


def test_no_page_speaks_of_scenes_gains_or_tracks(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = re.findall(r"\b(?:scene|track)s?\b", text_of(site, page.relative_to(site).as_posix()), re.IGNORECASE)
        assert not found, page
    assert "gain of each stem" not in text_of(site, "music.html")
    charts = (site / "data" / "music.js").read_text(encoding="utf-8")
    drawn_there = json.loads(charts.removeprefix("window.harnessCharts = ").rstrip(";\n"))
    assert list(drawn_there) == ["stems", "tracks"]


def test_downloads_have_the_stems(site: Path, view: BoardView) -> None:
    with gzip.open(site / "downloads" / "pairs.csv.gz", "rt", encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    [row] = [row for row in view.board.rows if row.source.id == int(pairs[0]["run"])]
    assert float(pairs[0]["right_other"]) == row.source.scores.stems["right_other"][0]
    for line, row in zip(
        json.loads((site / "downloads" / "leaderboard.json").read_text()), view.board.rows, strict=True
    ):
        assert {name: line[name] for name in view.board.stems} == row.stems


def test_boards_of_both_challenges_stand_side_by_side(view: BoardView, tmp_path: Path) -> None:
    write_report([material(synthetic_view()), material(view)], tmp_path / "report", Wishes("harness report"))
    text = text_of(tmp_path / "report", "index.html")
    assert text.count("First Cadenza challenge, task 1") == 1
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "report").glob("*/index.html")]
    assert sorted("Stem by stem" in page for page in pages) == [False, True]
    assert sorted("song" in re.sub(r"Song number \d", "", page) for page in pages) == [False, True]


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_drawn_and_fit(site: Path, look: Callable[..., Any], width: int) -> None:
    for name in ("index", "music", "listeners", "head-to-head", "systems/1"):
        page = look(f"{site.as_uri()}/{name}.html", width=width).page
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
