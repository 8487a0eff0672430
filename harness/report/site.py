"""A leaderboard becomes a folder of pages, whole or not at all, that opens from disk and from any static host."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import __version__
from harness.report.boards import Material
from harness.report.charts import CHARTS
from harness.report.charts.script import vega_script
from harness.report.chosen import ChosenPairs
from harness.report.figures import Kind, write_figures
from harness.report.front import DOWNLOADS, Provenance, board_files, front_page
from harness.report.pages import FOLDER, PAGES, Pages, environment
from harness.report.placing import MARK, placed
from harness.report.systempages import system_page
from harness.report.view import MOST_SYSTEMS
from harness.report.words import challenge_of, run_facts, title_of
from harness_leaderboard.comparing import in_words

ASSETS = ("style.css", "site.js", "icon.svg", "charts.js", "charts.css", "player.js", "player.css")

LEDES: Mapping[str, str] = {
    "listeners": "What each system does for each listener: a mean hides who gains and who loses.",
    "music": "Which songs are hard, and what was asked for: the gain of each stem, and where the music came from.",
    "head-to-head": "Two systems on the same pairs, chosen below.",
    "cost": "What a score costs: the size of a system, the processor time that it takes, and whether it keeps up with "
    "live music.",
}

LEDES_OF_SONGS = {**LEDES, "music": "Which stems and which songs are hard."}
"""Where stems of songs are scored: nothing is asked for there."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        index: the page to open.
        pages: how many pages there are.
        sound: how many pairs have sound.
        bytes: of all files, and of these those of sound.
        silent: pairs that were to have sound, and why they have none.
    """

    index: Path
    pages: int
    sound: int
    bytes: tuple[int, int]
    silent: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Wishes:
    """What a report is to be like.

    Attributes:
        command: makes it again, as the pages say it.
        audio: how many pairs of each board get sound; None: a few of the embedded set, none of any other.
        lossless: sound as FLAC rather than MP3.
        figures: write the charts for a paper too, in this form.
        workers: processes that make the sound.
    """

    command: str
    audio: int | None = None
    lossless: bool = False
    figures: Kind | None = None
    workers: int = 1


def write_report(
    materials: Sequence[Material],
    folder: Path,
    wishes: Wishes,
    started: Callable[[int], None] = lambda _total: None,
    advance: Callable[[int, str], None] = lambda _count, _what: None,
) -> Written:
    """Write the report: beside its place first, then in place of what is there.

    Args:
        materials: the boards and all that is known of them, one at least.
        folder: where it goes; a report that is there already is replaced.
        wishes: see there.
        started: called with the number of pairs of a board that get sound, if there are any.
        advance: called with 1 and the name of a pair whose sound is made.

    Raises:
        UsageError: the folder holds something else.
        StorageError: it cannot be written.
    """
    folder = folder.resolve()
    with placed(folder) as partial:
        site = _Site(partial, materials, wishes, started, advance)
        site.write()
    sizes = site.all_bytes, site.sound_bytes
    return Written(folder / "index.html", site.pages, site.sound, sizes, site.silent)


class _Site:
    """The site in the making."""

    def __init__(
        self,
        root: Path,
        materials: Sequence[Material],
        wishes: Wishes,
        started: Callable[[int], None],
        advance: Callable[[int, str], None],
    ) -> None:
        self.root, self.materials, self.wishes = root, materials, wishes
        self.started, self.advance = started, advance
        self.pages = self.sound = self.sound_bytes = self.all_bytes = 0
        self.silent: dict[tuple[str, str], str] = {}
        self.environment = environment()

    def write(self) -> None:
        for name in ASSETS:
            self._file(f"assets/{name}", (FOLDER / "assets" / name).read_bytes())
        self._file("assets/vega.js", vega_script().encode())
        several = len(self.materials) > 1
        folders = _folders(self.materials) if several else [""]
        for material, folder in zip(self.materials, folders, strict=True):
            self._board(material, folder, several)
        if several:
            self._list_boards(folders)
        about = {"harness": __version__, "boards": [_named(material) for material in self.materials]}
        self._file(MARK, json.dumps(about, indent=2).encode())

    def _file(self, path: str, content: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        self.all_bytes += len(content)
        self.sound_bytes += len(content) if "audio/" in path else 0
        self.pages += path.endswith(".html")

    def _list_boards(self, folders: Sequence[str]) -> None:
        boards = [
            {
                "folder": folder.rstrip("/"),
                **vars(material.view.board.evaluation_set),
                "title": title_of(material.view.board.evaluation_set),
                "fingerprint": material.view.board.fingerprint,
                "runs": len(material.view.board.rows),
                "sentence": in_words(material.view.board),
                "challenge": challenge_of(material.view.board),
            }
            for material, folder in zip(self.materials, folders, strict=True)
        ]
        self._file("index.html", self.environment.get_template("boards.html").render(boards=boards).encode())

    def _board(self, material: Material, folder: str, several: bool) -> None:
        view = material.view
        pages = Pages(view.board, folder, several, material.attribution, self.environment)
        runs = {row.source.id: run_facts(view, row) for row in view.board.rows}

        def page(template: str, path: str, context: Mapping[str, Any]) -> None:
            self._file(folder + path, pages.render(template, path, context))

        chosen = ChosenPairs(view, runs, self._audio(material), self.wishes.lossless)
        if chosen.wanted:
            self.started(len(chosen.wanted))
        for path, content in chosen.files(pages, self.wishes.workers, self.advance):
            self._file(folder + path, content)
        self.sound += len(chosen.heard)
        self.silent.update(chosen.failures)
        for name, title in PAGES:
            charts = [chart for chart in CHARTS if chart.page == name and chart.fits(view)]
            if not charts:
                continue
            made = [(chart, chart.spec(view)) for chart in charts]
            self._file(f"{folder}data/{name}.js", _script({chart.name: spec for chart, spec in made}))
            context = {
                "title": title,
                "lede": (LEDES_OF_SONGS if view.board.unit == "song" else LEDES)[name],
                "left_out": _left_out(material),
                "charts": [
                    {
                        "name": chart.name,
                        "title": chart.words(view)[0],
                        "caption": chart.words(view)[1],
                        "absent": spec if isinstance(spec, str) else "",
                    }
                    for chart, spec in made
                ],
            }
            page("charts.html", f"{name}.html", context)
        for row in view.board.rows:
            facts = runs[row.source.id]
            page("system.html", facts["href"], system_page(view, row, facts, material.stored(row), chosen.hrefs))
        if self.wishes.figures is not None:
            for figure in write_figures(view, self.root / folder / "figures", self.wishes.figures):
                self.all_bytes += figure.stat().st_size
        files = board_files(view)
        for name, content in files.items():
            self._file(f"{folder}downloads/{name}", content)
        provenance = Provenance(
            command=self.wishes.command,
            downloads=DOWNLOADS,
            pairs=list(chosen.hrefs.values()),
            sound=len(chosen.heard),
        )
        page("index.html", "index.html", front_page(view, runs, provenance))

    def _audio(self, material: Material) -> int:
        """How many pairs of a board get sound."""
        if material.view.evaluation_set is None:
            return 0
        return material.audio if self.wishes.audio is None else self.wishes.audio


def _script(specs: Mapping[str, dict[str, Any] | str]) -> bytes:
    """The script that hands a page its charts' specifications: pages on a disk cannot read other files."""
    drawn = {name: spec for name, spec in specs.items() if not isinstance(spec, str)}
    text = json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c")
    return f"window.harnessCharts = {text};\n".encode()


def _folders(materials: Sequence[Material]) -> list[str]:
    """A folder for each of several boards, named after its set and its hashes."""
    names = []
    for material in materials:
        board = material.view.board
        about = board.evaluation_set
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{about.name}-{about.split}").strip("-")[:40]
        names.append(f"{plain}-{about.sha256[:8]}-{board.fingerprint[:8]}/".lstrip("-"))
    return names


def _named(material: Material) -> dict[str, str]:
    board = material.view.board
    return {
        "evaluation_set": board.evaluation_set.name,
        "split": board.evaluation_set.split,
        "evaluation_set_sha256": board.evaluation_set.sha256,
        "evaluator": board.fingerprint,
    }


def _left_out(material: Material) -> str:
    rows = len([row for row in material.view.board.rows if row.scored])
    shown = len(material.view.rows)
    if shown >= rows:
        return ""
    return (
        f"Charts show {shown} of {rows} systems: the first {MOST_SYSTEMS} at most, of those whose every pair is scored."
    )
