"""The documentation's site: built strictly and without a network, read on a phone, searched from disk."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import Watched

ROOT = Path(__file__).parents[2]
PHONE = 390
"""Pixels."""


@pytest.fixture(scope="module")
def site(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return once("site", build) / "site"


def build(folder: Path) -> None:
    """Strict: a broken link, a page that is nowhere in the navigation or a wrong parameter name fails."""
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **quiet})
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_page_fits_a_phone(site: Path, look: Callable[..., Watched]) -> None:
    pages = sorted(path for path in site.rglob("*.html") if path.name != "404.html")
    assert len(pages) > 25
    watched = look(pages[0].as_uri(), PHONE)
    for path in pages:
        watched.page.goto(path.as_uri())
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= PHONE, path.name


def test_it_is_searched_from_disk(site: Path, look: Callable[..., Watched]) -> None:
    page: Any = look((site / "index.html").as_uri()).page
    page.locator(".md-search__input").click()
    page.keyboard.type("audiogram")
    results = page.locator(".md-search-result__item")
    results.first.wait_for()
    assert results.count() > 2


def test_what_is_generated_is_there(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "harness runs rescore" in commands
    manifest = (site / "reference" / "manifest.html").read_text(encoding="utf-8")
    assert "<code>training_data</code>" in manifest
    assert (site / "reference" / "manifest.schema.json").is_file()
    database = (site / "reference" / "database.html").read_text(encoding="utf-8")
    assert 'id="scores"' in database
