"""How charts look: colours as variables of the site's style sheet, so that they follow light, dark and print.

Vega draws SVG and passes colours on as they are, so that "var(--c0)" is looked up by the browser and nothing is drawn
anew when the colours change. Figures for papers have no style sheet: `with_colours` puts in real colours.
"""

import re
from collections.abc import Mapping
from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif'
"""As the pages' own, --sans of the style sheet: Vega measures text before the style sheet is asked."""

STEPS = 6
"""Shades of a heat map."""

STRONGEST = 60
"""Per cent of the colour in the strongest shade; text on it keeps a contrast of 4.5:1 in both schemes."""

PAPER = {
    "bg": "#ffffff", "card": "#f0f2f4", "fg": "#000000", "muted": "#444444", "line": "#d0d4d9",
    "better": "#2f7fb8", "worse": "#c8691c",
    "c0": "#0061a8", "c1": "#b34700", "c2": "#007a58", "c3": "#a8407e", "c4": "#7a5d00",
    "c5": "#5057b8", "c6": "#8f3d3d", "c7": "#00717c", "c8": "#576400", "c9": "#6b4fa0",
}  # fmt: skip
"""The style sheet's colours as printed."""

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "padding": {"left": 2, "right": 2, "top": 4, "bottom": 2},
    "view": {"stroke": None},
    # A page has a table of the same numbers; thousands of marks that are read out one by one help nobody.
    "mark": {"aria": False},
    "text": {"color": "var(--fg)", "fontSize": 12},
    "rule": {"color": "var(--muted)"},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "labelPadding": 6,
        "titleColor": "var(--muted)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "gridColor": "var(--line)",
        "domain": False,
        "ticks": False,
    },
    # The end, so that a long title is not cut off beside names: there is room on the left.
    "axisX": {"titleAnchor": "end", "tickCount": {"expr": "room < 560 ? 4 : 8"}},
    "axisY": {"tickCount": 6},
    "axisBand": {"labelColor": "var(--fg)"},
    # What the vertical axis shows, lying flat above it.
    "title": {
        "anchor": "start",
        "frame": "bounds",
        "color": "var(--muted)",
        "fontSize": 12,
        "fontWeight": "normal",
        "offset": 12,
    },
    "legend": {
        "orient": "top",
        "labelColor": "var(--fg)",
        "labelFontSize": 12,
        "titleColor": "var(--muted)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titleLimit": 320,
        "symbolSize": 90,
        "rowPadding": 5,
        "columnPadding": 12,
        "offset": 14,
    },
}
"""Vega-Lite's configuration for all charts."""

_VARIABLE = re.compile(r"var\(--([a-z0-9]+)\)")
_MIX = re.compile(r"color-mix\(in srgb, var\(--([a-z0-9]+)\) (\d+)%, var\(--([a-z0-9]+)\)\)")

_STRANGERS = frozenset({"datasets", "domain", "usermeta", "description", "name"})
"""Parts of a specification with strangers' text in them, or with text for people: never colours."""


def shades(colour: str) -> list[str]:
    """`STEPS` shades from almost the ground to `STRONGEST` per cent of a variable, such as "better"."""
    per_cent = [round(4 + (STRONGEST - 4) * step / (STEPS - 1)) for step in range(STEPS)]
    return [f"color-mix(in srgb, var(--{colour}) {share}%, var(--bg))" for share in per_cent]


def with_colours(part: Any, colours: Mapping[str, str]) -> Any:
    """A specification with real colours in place of variables; strangers' text stays as it is.

    Args:
        part: a specification, or a part of one.
        colours: by the names of variables ("c0"), colours as "#rrggbb".
    """
    if isinstance(part, dict):
        return {key: value if key in _STRANGERS else with_colours(value, colours) for key, value in part.items()}
    if isinstance(part, list):
        return [with_colours(item, colours) for item in part]
    if isinstance(part, str):
        if mixed := _MIX.fullmatch(part):
            return _mixed(colours[mixed[1]], int(mixed[2]) / 100, colours[mixed[3]])
        return _VARIABLE.sub(lambda found: colours[found[1]], part) if "var(--" in part else part
    return part


def _mixed(colour: str, share: float, ground: str) -> str:
    """What CSS's color-mix in sRGB gives."""
    pairs = ((int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(one * share + other * (1 - share)):02x}" for one, other in pairs)
