"""Templates become pages. Everything that is put into one is escaped, unless a template says otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from harness import __version__
from harness.report.view import COLOURS, SHAPES
from harness.report.words import title_of
from harness_leaderboard import labels
from harness_leaderboard.ranking import Board

FOLDER = Path(__file__).parent

PAGES = (
    ("index", "Ranking"),
    ("listeners", "Listeners"),
    ("music", "Music"),
    ("head-to-head", "Head to head"),
    ("cost", "Cost"),
    ("listen", "Listen"),
)
"""The pages that all pages lead to: names of files, and what to call them."""

_PATHS = {
    "circle": "M0-5a5 5 0 1 1 0 10a5 5 0 1 1 0-10z",
    "square": "M-4.4-4.4h8.8v8.8h-8.8z",
    "triangle-up": "M0-5.4l5.2 9.6h-10.4z",
    "diamond": "M0-5.8l4.6 5.8l-4.6 5.8l-4.6-5.8z",
    "triangle-down": "M0 5.4l5.2-9.6h-10.4z",
    "cross": "M-1.8-5.4h3.6v3.6h3.6v3.6h-3.6v3.6h-3.6v-3.6h-3.6v-3.6h3.6z",
}


def shape_path(number: int) -> str:
    """The SVG path of a system's mark, in a square from -6 to 6."""
    return _PATHS[SHAPES[number % len(SHAPES)]]


def environment() -> jinja2.Environment:
    """Where templates are found and how they are filled in."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals.update(shape_path=shape_path, colours=COLOURS, version=__version__)
    return made


@dataclass(frozen=True)
class Pages:
    """The pages of one board.

    Attributes:
        board: the board.
        folder: of its pages, from the site's root: "" or "name/".
        several: whether the site has other boards.
        attribution: lines at the foot of every page, for music that is shown or played.
    """

    board: Board
    folder: str = ""
    several: bool = False
    attribution: Sequence[str] = ()
    environment: jinja2.Environment = field(default_factory=environment)

    def render(self, template: str, path: str, context: Mapping[str, Any]) -> bytes:
        """A page.

        Args:
            template: name of its template.
            path: where it goes, from the board's folder, e.g. "systems/3.html".
            context: what the template shows. It also sees `root` and `home`, the way from this page to the site's and
                to the board's folder ("../" or ""), `page`, the name of the page, `about`, the evaluation set, and
                `unit`, what scenes are called.
        """
        depth = path.count("/")
        page = path.removesuffix(".html")
        text = self.environment.get_template(template).render(
            about=_about(self.board),
            fingerprint=self.board.fingerprint,
            unit=self.board.unit,
            pages=PAGES,
            page=page,
            home="../" * depth,
            root="../" * (depth + self.folder.count("/")),
            several=self.several,
            made=datetime.now(UTC).strftime("%Y-%m-%d"),
            attribution=self.attribution,
            **context,
        )
        return text.encode()


def _about(board: Board) -> dict[str, Any]:
    about = board.evaluation_set
    return {**vars(about), "name": labels.printable(about.name), "title": title_of(about)}
