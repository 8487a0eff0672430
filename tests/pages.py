"""A report's pages in a browser: where they are, when they are drawn, whether they can be read."""

from pathlib import Path
from typing import Any

CONTRAST = """
() => {
  // By painting it: colours come in many notations.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], a: a / 255 };
  };
  const over = (top, below) => top.rgb.map((value, at) => value * top.a + below[at] * (1 - top.a));
  const luminance = (rgb) => {
    const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((value) => linear(value / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = parse(getComputedStyle(document.body).backgroundColor).rgb;
  // What lies under a text of a chart: the marks drawn before it that contain its middle.
  const under = (text) => {
    const box = text.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    let colour = ground;
    for (const mark of text.ownerSVGElement.querySelectorAll("path, rect")) {
      if (mark.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_PRECEDING) break;
      const style = getComputedStyle(mark);
      const at = mark.getBoundingClientRect();
      if (/none|url/.test(style.fill) || x < at.left || x > at.right || y < at.top || y > at.bottom) continue;
      const fill = parse(style.fill);
      fill.a *= Number(style.fillOpacity) * Number(style.opacity);
      colour = over(fill, colour);
    }
    return colour;
  };
  const poor = [];
  for (const text of document.querySelectorAll("svg text")) {
    if (!text.textContent.trim() || !text.getBoundingClientRect().width) continue;
    const style = getComputedStyle(text);
    const below = under(text);
    const fill = parse(style.fill);
    fill.a *= Number(style.fillOpacity) * Number(style.opacity);
    if (fill.a === 0) continue; // a label that Vega hides because it would touch another
    const found = ratio(over(fill, below), below);
    if (found < 4.5) poor.push([text.textContent, style.fill, found.toFixed(2)]);
  }
  return poor;
}
"""
"""Texts of pictures that are hard to read: axe does not look at these."""


def drawn(page: Any) -> None:
    """Wait until every chart of a page is drawn."""
    page.wait_for_function(
        "[...document.querySelectorAll('figure[data-chart]')].every((figure) => figure.querySelector('svg'))"
    )


def address(site: Path, page: str) -> str:
    """Where a browser finds a page of a report."""
    return (site / f"{page}.html").as_uri()
