"""The charts as figures for a paper: their colours, and files that open."""

import json
import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from report.charted import OF_SCENES
from synthetic import NAMES, synthetic_view

from harness.errors import StorageError
from harness.report.charts.theme import PAPER, shades, with_colours
from harness.report.figures import Kind, write_figures
from harness.report.view import BoardView

# Colours


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
