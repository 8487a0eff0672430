"""Makes the pictures of the documentation: a board, and two pages of a report, from systems that are run for it.

python -m website.pictures        make pictures; it takes Chromium, and three minutes
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from website import chromium, environment

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
SYSTEMS: tuple[tuple[str, ...], ...] = (
    ("passthrough",),
    ("centre",),
    ("umx", "--option", "model=demo"),
    ("demucs", "--option", "model=demo"),
    ("live", "--chain", "live"),
    ("oracle",),
)
"""As `make demo` runs them."""

WIDTH, COLOURS = 1160, 256


def main() -> None:
    """Write `board.svg`, `report.png` and `pair.png`."""
    browser = chromium()
    if browser is None:
        raise SystemExit("no Chromium here: make browser")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for system, *more in SYSTEMS:
            _harness(folder, "run", "--engine", "fast", "--system", system, *more)
        _harness(folder, "leaderboard", "--svg", "board.svg")
        _harness(folder, "report")
        _photograph(browser, folder / "report")
        shutil.copy(folder / "board.svg", PICTURES)


def _harness(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "harness", *arguments]
    subprocess.run(command, cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL)  # noqa: S603


def _photograph(browser: str, report: Path) -> None:
    # Not every pair of a report has sound.
    pair = next(page for page in sorted((report / "pairs").glob("*.html")) if "data-player" in page.read_text("utf-8"))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for path, name, height in ((report / "index.html", "report.png", 1660), (pair, "pair.png", 1840)):
            page = chromium.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(path.as_uri())
            page.wait_for_load_state("networkidle")
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.convert("RGB").quantize(COLOURS).save(PICTURES / name, optimize=True)
        chromium.close()


if __name__ == "__main__":
    main()
