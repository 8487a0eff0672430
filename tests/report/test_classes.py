"""Boards by class in the report, and what its pages say of a run's class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import CONTRAST, address, drawn
from stored import EVALUATION_SET, FINGERPRINT, LOAD, MEASURED, PAIRS, RUN, STREAMED, WHOLE_PIECE, add, mark
from support import RunCli

from harness_leaderboard.records import RunRecord
from harness_leaderboard.store import Store

HOSTILE = '<img src=x onerror="window.pwned=1">'


@pytest.fixture
def report(run_cli: RunCli, tmp_path: Path) -> Path:
    """A report on a run of each class."""
    live: dict[str, Any] = {"causal": True, "live": True, "chain": "live", "causality": STREAMED}
    runs: dict[str, dict[str, Any]] = {
        "caught": {"causality": WHOLE_PIECE},
        "tried": {"causal": True, "causality": MEASURED},
        "live": {**live, "load": LOAD},
        "hostile": {
            **live,
            "causality": STREAMED.__class__(**{**vars(STREAMED), "reason": HOSTILE}),
            "load": LOAD.__class__(**{**vars(LOAD), "processor": HOSTILE}),
        },
    }
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        for place, (name, declared) in enumerate(runs.items()):
            run = RunRecord(**{**vars(RUN), "key": name, "system": name, **declared})
            run_id = store.start_run(run, EVALUATION_SET, FINGERPRINT, {}, PAIRS)
            for index, pair in enumerate(PAIRS):
                mark(store, run_id, pair.scene, pair.listener, name)
                score = 0.9 - 0.1 * place + 0.01 * index
                add(store, pair.scene, pair.listener, score, score, file=name)
    written = run_cli("report")
    assert written.code == 0, written.stderr
    return tmp_path / "report"


def test_every_class_has_its_table(report: Path, look: Callable[..., Any]) -> None:
    page = look(address(report, "index")).page
    tables = {"live": ["live", "hostile"], "causal": ["tried", "live", "hostile"], "non-causal": ["caught"]}
    for name, systems in tables.items():
        page.get_by_role("tab", name=name.capitalize(), exact=True).click()
        rows = page.locator(f"#{name} tbody tr")
        assert rows.locator("th a").all_inner_texts() == systems
        assert rows.locator(".rank").all_inner_texts() == [str(place + 1) for place in range(len(systems))]
    text = page.locator("main").inner_text()
    assert f"caught is not causal: {WHOLE_PIECE.reason}" in text
    page.get_by_role("tab", name="All systems", exact=True).click()
    assert "causal, measured (16 cuts)" in page.locator("#all").inner_text()


def test_a_systems_page_says_what_its_class_rests_on(report: Path, look: Callable[..., Any]) -> None:
    text = look(address(report, "systems/3")).page.locator("main").inner_text()
    for said in ("live, streamed", "219 samples (5.0 ms)", "329 samples (7.5 ms)", "p99 0.44", "A Processor"):
        assert said in text
    page = look(address(report, "systems/2")).page
    levels = page.get_by_role("region", name="Look-ahead by threshold").locator("tbody tr")
    assert levels.all_inner_texts()[0].split("\t") == ["-140 dB", "219 samples (5.0 ms)"]


@pytest.mark.parametrize("width", [390, 1280])
def test_loads_are_on_the_page_of_costs(report: Path, look: Callable[..., Any], width: int) -> None:
    page = look(address(report, "cost"), width=width).page
    drawn(page)
    chart = page.locator("figure[data-chart=load]")
    assert chart.locator("svg").is_visible()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_strangers_say_stays_text(report: Path, look: Callable[..., Any]) -> None:
    for name in ("index", "cost", "systems/4"):
        page = look(address(report, name)).page
        drawn(page)
        assert page.evaluate("window.pwned") is None
        assert page.locator("img[src=x]").count() == 0
    assert HOSTILE in look(address(report, "systems/4")).page.locator("main").inner_text()
