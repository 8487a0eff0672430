"""The report's charts in a real browser: they draw, follow the colours of the page, can be chosen, and stay inert."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic import NAMES, synthetic_view

from harness.report.charts import CHARTS
from harness.report.charts.script import vega_script
from harness.report.view import BoardView

ASSETS = Path(__file__).parents[2] / "harness" / "report" / "assets"

HOSTILE = [
    "<img src=x onerror=\"document.body.dataset.hacked='yes'\">",
    "</script><script>document.body.dataset.hacked='yes'</script>",
    '=HYPERLINK("http://example.org")',
    "Ünïcode 🎧🎶 with emoji",
    "a name of two hundred characters " * 6,
    "';document.body.dataset.hacked='yes';//",
]


def page_of(view: BoardView, folder: Path) -> str:
    """A page with all charts, and nothing else; its address on disk."""
    specs = {chart.name: spec for chart in CHARTS if isinstance(spec := chart.fits(view) and chart.spec(view), dict)}
    figures = "".join(f'<figure data-chart="{name}"></figure>' for name in specs)
    for name in ("style.css", "charts.css", "charts.js"):
        (folder / name).write_bytes((ASSETS / name).read_bytes())
    (folder / "vega.js").write_text(vega_script())
    # A script of the page's own with the very names that Vega's bundle declares at its top.
    own = "const t = 1, n = 2, S = 3, e = 4;"
    data = json.dumps(specs).replace("<", "\\u003c")
    (folder / "data.js").write_text(f"{own}\nwindow.harnessCharts = {data};")
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Charts</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # No `unsafe-eval`: a specification is interpreted, never compiled.
        '<meta http-equiv="Content-Security-Policy" content="script-src \'self\' file: http:">'
        '<link rel="stylesheet" href="style.css"><link rel="stylesheet" href="charts.css">'
        '<script defer src="vega.js"></script><script defer src="data.js"></script>'
        '<script defer src="charts.js"></script></head>'
        f"<body><main><h1>Charts</h1><div data-choose></div>{figures}</main></body></html>"
    )
    return (folder / "index.html").as_uri()


def drawn(page: Any) -> None:
    """Wait until all charts are drawn."""
    page.wait_for_function(
        "document.querySelectorAll('.chart[data-drawn] svg').length"
        " === document.querySelectorAll('figure[data-chart]').length"
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(synthetic_view(), tmp_path_factory.mktemp("charts"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page_of(synthetic_view(names=HOSTILE), tmp_path_factory.mktemp("hostile"))


CONTRAST = """() => {
  const luminance = (colour) => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  const plain = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join()})`;
  };
  const found = [];
  for (const text of document.querySelectorAll(".chart svg text")) {
    const box = text.getBoundingClientRect();
    if (!text.textContent.trim() || !box.width || getComputedStyle(text).opacity === "0") continue;
    // What is painted below the middle of a text: the last shape before it in the picture that reaches there.
    let ground = getComputedStyle(document.body).backgroundColor;
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    for (const shape of text.closest("svg").querySelectorAll(".mark-rect path")) {
      const one = shape.getBoundingClientRect();
      const over = one.left <= x && x <= one.right && one.top <= y && y <= one.bottom;
      const before = shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
      if (over && before && getComputedStyle(shape).fill !== "none") ground = getComputedStyle(shape).fill;
    }
    const [one, other] = [plain(getComputedStyle(text).fill), plain(ground)].map(luminance).sort((a, b) => b - a);
    found.push({
      chart: text.closest("figure").dataset.chart, text: text.textContent,
      contrast: (one + 0.05) / (other + 0.05), size: parseFloat(getComputedStyle(text).fontSize),
    });
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_text_can_be_read(width: int, scheme: str, address: str, look: Callable[..., Any]) -> None:
    page = look(address, width=width, scheme=scheme).page
    drawn(page)

    texts = page.evaluate(CONTRAST)
    assert len(texts) > 300
    assert [text for text in texts if text["contrast"] < 4.5] == []
    assert [text for text in texts if text["size"] < 11] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_is_cut_off(width: int, address: str, look: Callable[..., Any]) -> None:
    page = look(address, width=width).page
    drawn(page)

    cut = page.evaluate("""() => [...document.querySelectorAll('.chart svg text')].filter((text) => {
      const [box, room] = [text.getBoundingClientRect(), text.closest('.chart').getBoundingClientRect()];
      return text.textContent && box.width && (box.left < room.left - 1 || box.right > room.right + 1);
    }).map((text) => text.closest('figure').dataset.chart + ': ' + text.textContent)""")
    assert cut == []


def test_there_is_a_legend_where_lines_have_no_names(address: str, look: Callable[..., Any]) -> None:
    for width, legends in ((1280, 0), (390, 1)):
        page = look(address, width=width).page
        drawn(page)
        figure = page.locator("figure[data-chart=hearing-loss]")
        assert figure.locator(".role-legend").count() == legends
        assert figure.get_by_text(NAMES[0], exact=True).count() == 1


def test_a_chart_follows_the_width_of_the_window(address: str, look: Callable[..., Any]) -> None:
    page = look(address, width=1280).page
    drawn(page)
    figure = page.locator("figure[data-chart=hearing-loss]")

    page.set_viewport_size({"width": 390, "height": 900})
    figure.locator(".role-legend").wait_for()
    page.wait_for_function("document.querySelector('figure[data-chart=size] svg').getBoundingClientRect().width < 391")
    drawn(page)


def test_names_of_strangers_stay_text(hostile: str, look: Callable[..., Any]) -> None:
    page = look(hostile).page
    drawn(page)

    page.locator("figure[data-chart=heat-map] .mark-rect path").first.hover()
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    assert "<img src=x" in tooltip.inner_text()
    page.locator("figure[data-chart=heat-map] summary").click()
    page.locator("figure[data-chart=heat-map] td", has_text="<img src=x").first.wait_for()
    for name in range(len(HOSTILE)):
        page.select_option("#choose-first", str(name))
    assert page.locator("img, script:not([src])").count() == 0
    assert page.evaluate("document.body.dataset.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_two_systems_are_chosen_on_the_page(address: str, look: Callable[..., Any]) -> None:
    view = synthetic_view()
    page = look(address).page
    drawn(page)
    verdict = page.locator(".verdict")
    assert f"{NAMES[0]} is ahead of {NAMES[1]}" in verdict.inner_text()

    page.get_by_label("First system", exact=True).select_option(label=NAMES[5])
    page.get_by_label("Second system", exact=True).select_option(label=NAMES[4])

    [difference] = [
        each for each in view.differences if [each.first.run.system, each.second.run.system] == [NAMES[4], NAMES[5]]
    ]
    said = verdict.inner_text()
    assert f"{NAMES[4]} is ahead of {NAMES[5]} by {difference.by_scene.mean:.4f} HAAQI" in said
    assert f"({difference.by_scene.low:.4f} to {difference.by_scene.high:.4f})" in said.replace("95 % interval ", "")
    share = round(100 * difference.won / difference.pairs)
    assert f"better on {share} % of {difference.pairs} pairs" in said
    shares = page.locator("figure[data-chart=won-by-severity]")
    shares.get_by_text(f"{share} %", exact=True).first.wait_for()
    shares.locator("summary").click()
    shares.locator("tbody td").first.wait_for()
    cells = shares.locator("tbody tr").first.locator("td").all_inner_texts()
    assert cells == ["all listeners", str(difference.lost), str(difference.tied), str(difference.won)]
    assert page.evaluate("location.hash") == "#runs=6,5"


def test_the_choice_comes_from_the_address_and_two_are_never_the_same(address: str, look: Callable[..., Any]) -> None:
    page = look(f"{address}#runs=4,2").page
    drawn(page)
    chosen = "[...document.querySelectorAll('select')].map((list) => list.selectedOptions[0].textContent)"
    assert page.evaluate(chosen) == [NAMES[3], NAMES[1]]

    page.get_by_label("First system", exact=True).select_option(label=NAMES[1])
    assert page.evaluate(chosen) == [NAMES[1], NAMES[3]]


def test_numbers_can_be_read_and_saved(hostile: str, look: Callable[..., Any]) -> None:
    page = look(hostile, accept_downloads=True).page
    drawn(page)
    figure = page.locator("figure[data-chart=size]")

    figure.locator("summary").focus()
    page.keyboard.press("Enter")
    figure.locator("th").first.wait_for()
    heads = figure.locator("th").all_inner_texts()
    assert heads == ["system", "mean HAAQI", "learned parameters", "class", "ranking"]
    with page.expect_download() as download:
        figure.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "size.csv"
    text = Path(download.value.path()).read_text()
    assert text.splitlines()[0] == "system,mean HAAQI,learned parameters,class,ranking"
    # A spreadsheet would compute what begins like this.
    assert '"\'=HYPERLINK(""http://example.org"")"' in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme: str, address: str, look: Callable[..., Any]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = look(address, scheme=scheme).page
    drawn(page)
    page.locator("figure[data-chart=heat-map] summary").click()
    page.locator("figure[data-chart=heat-map] td").first.wait_for()

    # Without `preload`: axe would read the style sheets once more, which a page on a disk may not.
    found = axe.Axe().run(page, options={"preload": False}).response
    assert found["violations"] == []
