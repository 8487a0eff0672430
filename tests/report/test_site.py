"""The report as a site: what is written where, and what its pages are like in a real browser."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pages import CONTRAST, address, drawn
from support import RunCli, TinySet, run_app

from harness.report.words import web_address

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
"""What pages looked like when they were last tested; git does not keep it."""

PAGES = ("index", "listeners", "music", "head-to-head", "cost", "listen")
HOSTILE = '<img src=x onerror="window.pwned=1"></script><script>window.pwned=2</script>🎧'


def pages_of(site: Path) -> list[str]:
    """One page of each kind."""
    return [
        *PAGES,
        "systems/1",
        next(iter(sorted((site / "pairs").iterdir()))).relative_to(site).with_suffix("").as_posix(),
    ]


class TestPages:
    def test_open_from_disk_and_from_a_server(
        self, site: Path, look: Callable[..., Any], served: Callable[[Path], str]
    ) -> None:
        for base in (site.as_uri() + "/", served(site)):
            for name in pages_of(site):
                page = look(f"{base}{name}.html").page
                drawn(page)
                assert page.locator("h1").count() == 1

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_accessible_and_readable(
        self, site: Path, look: Callable[..., Any], served: Callable[[Path], str], scheme: str
    ) -> None:
        from axe_playwright_python.sync_playwright import Axe

        base = served(site)  # axe reads style sheets, which it may not on a disk
        for name in pages_of(site):
            page = look(f"{base}{name}.html", scheme=scheme).page
            drawn(page)
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"
            assert page.evaluate(CONTRAST) == [], name

    @pytest.mark.parametrize("width", [390, 1280])
    def test_fit_and_are_kept_as_pictures(self, site: Path, look: Callable[..., Any], width: int) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            for name in pages_of(site):
                page = look(address(site, name), width=width, scheme=scheme).page
                drawn(page)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                picture = SCREENSHOTS / f"{name.replace('/', '-')}-{width}-{scheme}.png"
                page.screenshot(path=picture, full_page=True)
                assert picture.stat().st_size > 5000

    def test_links_lead_somewhere(self, site: Path, look: Callable[..., Any]) -> None:
        for name in pages_of(site):
            page = look(address(site, name)).page
            links = page.eval_on_selector_all(
                "a[href], link[href], script[src], img[src]", "all => all.map(e => e.href || e.src)"
            )
            for link in links:
                path = Path(link.removeprefix("file://").partition("#")[0])
                assert path.is_file(), f"{name} leads to {link}"

    def test_without_scripts_everything_is_there(self, site: Path, look: Callable[..., Any]) -> None:
        page = look(address(site, "index"), java_script_enabled=False).page
        assert page.get_by_role("heading", name="Causal", exact=True).is_visible()
        assert page.locator("table").first.is_visible()


class TestRanking:
    def test_tabs_show_one_class_at_a_time(self, site: Path, look: Callable[..., Any]) -> None:
        page = look(address(site, "index")).page
        assert page.locator("#all").is_visible()
        assert not page.locator("#causal").is_visible()
        page.get_by_role("tab", name="Causal", exact=True).click()
        assert page.locator("#causal").is_visible()
        assert page.locator("#causal tbody tr").count() == 1
        page.keyboard.press("ArrowRight")
        assert page.locator("#non-causal").is_visible()
        assert not page.locator("#causal").is_visible()

    def test_a_click_on_a_heading_sorts(self, site: Path, look: Callable[..., Any]) -> None:
        page = look(address(site, "index")).page

        def means() -> list[float]:
            return [float(text) for text in page.locator("#all tbody tr td:nth-child(2)").all_inner_texts()]

        head = page.locator("#all thead th").nth(1)
        head.get_by_role("button").click()
        assert means() == sorted(means())
        assert head.get_attribute("aria-sort") == "ascending"
        head.get_by_role("button").click()
        assert means() == sorted(means(), reverse=True)

    def test_says_what_the_leaderboard_says(self, site: Path, board: Path, look: Callable[..., Any]) -> None:
        told = json.loads(run_app("leaderboard", "--json", "--db", f"sqlite:///{board}").stdout)
        page = look(address(site, "index")).page
        for run in told:
            row = page.locator("#all tbody tr").filter(has=page.get_by_role("link", name=run["label"], exact=True))
            assert row.locator("td").first.inner_text() == f"{run['mean']:.4f}"
            assert row.locator(".rank").inner_text() == (str(run["rank"]) if run["rank"] else "–")
            assert told[0]["evaluator"][:24] in page.locator(".strip").inner_text()

    def test_downloads_are_the_board_and_its_pairs(self, site: Path, board: Path) -> None:
        pairs = pd.read_csv(site / "downloads" / "pairs.csv.gz")
        runs = json.loads((site / "downloads" / "leaderboard.json").read_text())
        assert len(pairs) == 8 * len(runs)
        means = pairs.groupby("run")["score"].mean()
        for run in runs:
            assert means[run["number"]] == pytest.approx(run["mean"], abs=1e-12)
            assert "contact" not in run


class TestAddresses:
    @pytest.mark.parametrize("text", ["https://example.org/a?b=1#c", "http://example.org"])
    def test_that_a_browser_may_be_sent_to(self, text: str) -> None:
        assert web_address(text) == text

    @pytest.mark.parametrize(
        "text",
        [
            "javascript:alert(1)",
            " https://example.org",
            "data:text/html,x",
            "https:",
            "example.org",
            "https://[",
            "file:///etc",
        ],
    )
    def test_that_stay_text(self, text: str) -> None:
        assert web_address(text) is None


class TestHeadToHead:
    def test_another_system_is_chosen(self, site: Path, look: Callable[..., Any]) -> None:
        page = look(address(site, "head-to-head")).page
        drawn(page)
        said = page.locator(".verdict")
        before = said.inner_text()
        page.locator("#choose-second").select_option(index=2)
        assert said.inner_text() != before
        drawn(page)


class TestHostileNames:
    @pytest.fixture
    def hostile(self, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> Path:
        """A report on runs whose names and declarations would like to do something."""
        for index, name in enumerate((HOSTILE, "=HYPERLINK(1)" + "x" * 87, "{{ 7 * 7 }} ${7*7} %7Bx")):
            folder = tmp_path / f"s{index}"
            made = run_cli("enhance", "--system", "passthrough", *tiny_set.args, "--output", folder)
            assert made.code == 0, made.stderr
            manifest = json.loads((folder / "submission.json").read_text())
            manifest.update(
                system=f"system{index}",
                team=HOSTILE,
                url="https://example.org/?a=1&b=<2>",
                paper="https://example.org/paper",
                description=HOSTILE,
                settings={HOSTILE: HOSTILE},
                training_data="none",
            )
            (folder / "submission.json").write_text(json.dumps(manifest))
            scored = run_cli("score", folder, *tiny_set.args, "--engine", "fast", "--name", name[:100])
            assert scored.code == 0, scored.stderr
        written = run_cli("report", *tiny_set.args)
        assert written.code == 0, written.stderr
        return tmp_path / "report"

    def test_stay_text(self, hostile: Path, look: Callable[..., Any]) -> None:
        for name in pages_of(hostile):
            for width in (390, 1280):
                page = look(address(hostile, name), width=width).page
                drawn(page)
                assert page.evaluate("window.pwned") is None
                assert page.locator("img[src=x]").count() == 0
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        page = look(address(hostile, "systems/1")).page
        assert HOSTILE[:40] in page.locator("main").inner_text()
        assert page.locator("a[href^='javascript']").count() == 0
        assert page.locator("a[href^='https://example.org']").count() == 2

    def test_cells_are_no_formulas(self, hostile: Path) -> None:
        pairs = pd.read_csv(hostile / "downloads" / "pairs.csv.gz")
        assert not pairs["label"].str.startswith("=").any()


class TestWriting:
    @pytest.fixture
    def scored(self, run_cli: RunCli, submission: Path, tiny_set: TinySet) -> None:
        done = run_cli("score", submission, *tiny_set.args, "--engine", "fast")
        assert done.code == 0, done.stderr

    def test_a_folder_of_something_else_is_left_alone(self, scored: None, run_cli: RunCli, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.tex").write_text("x")
        done = run_cli("report", "--output", "mine")
        assert done.code == 2
        assert "holds something else than a report" in done.stderr
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]

    def test_a_report_is_replaced(self, scored: None, run_cli: RunCli, tmp_path: Path) -> None:
        assert run_cli("report").code == 0
        (tmp_path / "report" / "old.html").write_text("old")
        assert run_cli("report").code == 0
        assert not (tmp_path / "report" / "old.html").exists()
        assert not list(tmp_path.glob(".partial-*"))

    def test_a_report_that_fails_leaves_the_old_one(
        self, scored: None, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run_cli("report").code == 0
        before = (tmp_path / "report" / "index.html").read_bytes()
        # The disk is full, as far as the last file is concerned.
        real = Path.write_bytes

        def full(self: Path, content: bytes) -> int:
            if self.name == "report.json":
                raise OSError(28, "No space left on device", str(self))
            return real(self, content)

        monkeypatch.setattr(Path, "write_bytes", full)
        done = run_cli("report")
        assert done.code == 1
        assert "No space left on device" in done.stderr
        assert (tmp_path / "report" / "index.html").read_bytes() == before
        assert not list(tmp_path.glob(".partial-*"))

    def test_json_for_programs(self, scored: None, run_cli: RunCli, tmp_path: Path) -> None:
        told = json.loads(run_cli("report", "--json").stdout)
        assert told["index"] == str(tmp_path / "report" / "index.html")
        assert told["pairs_with_sound"] == told["bytes_of_sound"] == 0
        sizes = [path.stat().st_size for path in (tmp_path / "report").rglob("*") if path.is_file()]
        assert told["bytes"] == sum(sizes)

    def test_sound_needs_the_music(self, scored: None, run_cli: RunCli) -> None:
        done = run_cli("report", "--audio", "3")
        assert done.code == 2
        assert "--data ROOT" in done.stderr

    def test_sound_of_ones_own_set(self, scored: None, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> None:
        told = json.loads(run_cli("report", *tiny_set.args, "--audio", "1", "--lossless", "--json").stdout)
        assert told["pairs_with_sound"] == 1
        assert list((tmp_path / "report").glob("audio/*/*.flac"))

    def test_a_remix_that_is_gone_is_said(
        self, scored: None, run_cli: RunCli, tiny_set: TinySet, submission: Path, tmp_path: Path
    ) -> None:
        shutil.rmtree(submission)
        done = run_cli("report", *tiny_set.args, "--audio", "1")
        assert done.code == 0, done.stderr
        pages = "".join(path.read_text() for path in (tmp_path / "report" / "pairs").iterdir())
        assert "its file is no longer there" in pages

    def test_runs_without_a_pair_in_common(self, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> None:
        for system, scene in (("passthrough", "scene_V001"), ("oracle", "scene_V002")):
            done = run_cli("run", "--system", system, *tiny_set.args, "--engine", "fast", "--scenes", scene)
            assert done.code == 0, done.stderr
        done = run_cli("report", *tiny_set.args)
        assert done.code == 0, done.stderr
        front = (tmp_path / "report" / "index.html").read_text()
        assert "incomplete: 2 of 4 pairs scored" in front
        assert "Every two systems compared" not in front

    def test_a_board_without_scores(
        self, run_cli: RunCli, tiny_set: TinySet, plugin: Callable[..., Path], tmp_path: Path, look: Callable[..., Any]
    ) -> None:
        path = plugin("def separate(self, mixture, sample_rate): raise ValueError('no luck today')")
        assert run_cli("run", "--plugin", path, "--system", "probe", *tiny_set.args, "--engine", "fast").code == 1
        assert run_cli("report", *tiny_set.args).code == 0
        for name in (*PAGES, "systems/1"):
            drawn(look(address(tmp_path / "report", name)).page)
        assert "no luck today" in (tmp_path / "report" / "systems" / "1.html").read_text()

    def test_nothing_to_report(self, run_cli: RunCli, tiny_set: TinySet, tmp_path: Path) -> None:
        done = run_cli("report")
        assert done.code == 1
        assert "leaderboard.db" in done.stderr
        assert not (tmp_path / "report").exists()

    def test_several_boards_have_a_page_that_lists_them(
        self, scored: None, run_cli: RunCli, tmp_path: Path, look: Callable[..., Any]
    ) -> None:
        assert run_cli("run", "--system", "passthrough", "--engine", "fast").code == 0
        assert run_cli("report", "--audio", "0").code == 0
        page = look(address(tmp_path / "report", "index")).page
        links = page.locator("h2 a")
        assert links.count() == 2
        links.first.click()
        page.locator("#ranking").wait_for()
        page.get_by_role("link", name="Listeners", exact=True).click()
        drawn(page)
        page.get_by_role("link", name="All boards").click()
        page.locator("h2 a").nth(1).wait_for()
