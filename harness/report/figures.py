"""The report's charts as files for a paper: the same specifications, in fixed colours and at a fixed width."""

import json
import math
import re
from pathlib import Path
from typing import Any, Literal

from harness.files import write_whole
from harness.report.charts import CHARTS
from harness.report.charts.drawing import PHONE
from harness.report.charts.theme import PAPER, with_colours
from harness.report.view import BoardView

Kind = Literal["svg", "pdf", "png"]

FONT = "Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"

POINTS = 0.72
"""Points of a pixel: 350 pixels become 3.5 inches (252 points), a column of an IEEE paper, and text of 11 to 12 pixels
becomes 8 to 8.6 points high."""

WIDE = 716
"""Pixels of a chart with many systems: 7.16 inches, both columns."""

MANY = 7
"""Systems from which a chart takes both columns."""

DOTS = 300
"""Dots of an inch of a PNG."""

_SIZE = re.compile(r'(<svg\b[^>]*?) width="([\d.]+)" height="([\d.]+)"')


def write_figures(view: BoardView, folder: Path, kind: Kind) -> list[Path]:
    """Write a figure for each chart that there is data for, `<name of the chart>.<kind>`, each whole or not at all.

    Args:
        view: the board.
        folder: where to; made if need be.
        kind: figures are 3.5 inches wide, a column, or 7.16, both columns, with `MANY` systems or more. A PNG has
            `DOTS` dots per inch.

    Returns:
        The files, in the order of `CHARTS`.

    Raises:
        StorageError: the folder cannot be written to.
    """
    written = []
    for chart in CHARTS:
        spec = chart.spec(view) if chart.fits(view) else ""
        if isinstance(spec, str):
            continue
        width = WIDE if len(view.rows) >= MANY else PHONE
        path = folder / f"{chart.name}.{kind}"
        write_whole(path, _drawn(for_paper(spec, width), kind))
        written.append(path)
    return written


def for_paper(spec: dict[str, Any], width: int) -> dict[str, Any]:
    """A chart's specification in the colours of `theme.PAPER`, on white, for a fixed width in pixels."""
    spec = with_colours(spec, PAPER)
    wide = min(width, PHONE) if spec["usermeta"].get("square") else width
    if wide >= spec["usermeta"].get("labelsFrom", math.inf):
        spec = _without_legends(spec)
    return {
        **spec,
        "width": wide,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": {**spec["config"], "font": FONT, "background": "white"},
        "params": [{**one, "value": wide} if one["name"] == "room" else one for one in spec["params"]],
    }


def _without_legends(part: Any) -> Any:
    """A specification, or a part of one, whose labels stand beside the marks."""
    if isinstance(part, dict):
        return {
            key: None if key == "legend" else found if key in ("datasets", "config") else _without_legends(found)
            for key, found in part.items()
        }
    return [_without_legends(item) for item in part] if isinstance(part, list) else part


def _drawn(spec: dict[str, Any], kind: Kind) -> bytes:
    import vl_convert

    # All data are inside: nothing is fetched.
    svg = vl_convert.vegalite_to_svg(json.dumps(spec), allowed_base_urls=[])
    # In SVG a number alone is a 96th of an inch; what converts it takes it for a point.
    unit = "pt" if kind == "svg" else ""
    size = rf'\1 width="{{}}{unit}" height="{{}}{unit}"'
    svg = _SIZE.sub(lambda found: found.expand(size.format(_points(found[2]), _points(found[3]))), svg, count=1)
    if kind == "pdf":
        return vl_convert.svg_to_pdf(svg)
    if kind == "png":
        return vl_convert.svg_to_png(svg, ppi=DOTS)
    return svg.encode()


def _points(pixels: str) -> str:
    return f"{float(pixels) * POINTS:g}"
