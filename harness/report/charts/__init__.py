"""The report's charts: Vega-Lite specifications, made with Altair from what a `BoardView` aggregates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from harness.report.charts import board, cost, head_to_head, listeners, load, music
from harness.report.charts.drawing import Drawing
from harness.report.view import BoardView
from harness.report.words import of_songs

Page = Literal["listeners", "music", "head-to-head", "cost", "figures"]
"""Where a chart stands. Those of "figures" are for papers only: pages have them as tables."""


@dataclass(frozen=True)
class Chart:
    """A chart of the report.

    Attributes:
        name: of its element and of its figure's file.
        page: where it stands.
        title: its heading.
        caption: how to read it.
        draw: makes it, or says in a sentence why it is not there.
        of: boards of "scenes" or of "songs", if it is only for these.
        of_songs: how to read it on boards of songs, where that is not what `words.of_songs` makes of the caption.
    """

    name: str
    page: Page
    title: str
    caption: str
    draw: Callable[[BoardView], Drawing | str]
    of: Literal["scenes", "songs"] | None = None
    of_songs: str = ""

    def fits(self, view: BoardView) -> bool:
        """Whether it is for this board."""
        return self.of in (None, f"{view.board.unit}s")

    def words(self, view: BoardView) -> tuple[str, str]:
        """Title and caption on this board."""
        if view.board.unit == "song":
            return of_songs(self.title), self.of_songs or of_songs(self.caption)
        return self.title, self.caption

    def spec(self, view: BoardView) -> dict[str, Any] | str:
        """The Vega-Lite specification with its data, in colours that are variables of the style sheet.

        Text in it comes from strangers: write it into a script with "<" escaped.

        Returns:
            The specification, or a sentence that says why there is none.
        """
        drawing = self.draw(view)
        if isinstance(drawing, str):
            return drawing
        spec = drawing.spec(". ".join(self.words(view)))
        return _titles_of_songs(spec) if view.board.unit == "song" else spec


def _titles_of_songs(part: Any, key: str = "") -> Any:
    """A specification with songs for scenes in all titles and in the headings of its table; data stay as they are."""
    if isinstance(part, dict):
        return {name: each if name == "datasets" else _titles_of_songs(each, name) for name, each in part.items()}
    if isinstance(part, list):
        # Of the table's columns, [field, heading] each, the first is a name.
        if key == "columns" and all(isinstance(each, list) for each in part):
            return [[field, of_songs(heading)] for field, heading in part]
        return [_titles_of_songs(each, key) for each in part]
    return of_songs(part) if key in ("title", "text") and isinstance(part, str) else part


CHARTS: tuple[Chart, ...] = (
    Chart(
        "hearing-loss",
        "listeners",
        "Score against hearing loss",
        "Each line is a system, each point a listener: the mean over all scenes that the listener heard. Further "
        "right is a greater loss in the better ear; bands are the grades of the World Health Organization (2021).",
        listeners.hearing_loss,
    ),
    Chart(
        "heat-map",
        "listeners",
        "Every listener, every system",
        "Mean HAAQI; the darker a cell, the further its score is from the lowest. Listeners are sorted by hearing "
        "loss in the better ear, so that colours mostly change from top to bottom; the next chart takes that out.",
        listeners.heat_map,
    ),
    Chart(
        "distance-to-best",
        "listeners",
        "Behind each listener's best system",
        "How far each system is behind the one that is best for that listener. A column in one colour: the system "
        "is as far behind for everybody. A row without colour: that listener gains nothing from the choice.",
        listeners.distance_to_best,
    ),
    Chart(
        "ears",
        "listeners",
        "Left against right",
        "Each mark is a listener with a system. Further right, the right ear has the greater loss; below the line, "
        "the right ear also scores lower. Marks away from the falling trend are ears that the audiogram does not "
        "explain.",
        listeners.ears,
    ),
    Chart(
        "stems",
        "music",
        "By stem and ear",
        "The mean over all pairs of each stem, held against the true one, with its 95 % interval over songs. A system "
        "that is behind its usual place separates that stem badly.",
        music.stems,
        of="songs",
    ),
    Chart(
        "tracks",
        "music",
        "Track by track",
        "Faint dots are scenes, marks a system's mean over the track's scenes; the hardest track for all systems is "
        "on top. A system that is behind its usual place fails on that music. Of many tracks only both ends are "
        "shown.",
        music.tracks,
        of_songs="Marks are a system's mean over the listeners of a song; the hardest song for all systems is on top. "
        "A system that is behind its usual place fails on that music. Of many songs only both ends are shown.",
    ),
    Chart(
        "gains",
        "music",
        "By gain of each stem",
        "The mean over all scenes that ask for this gain, with its 95 % interval over scenes. A line that leans to "
        "the left at the top or at the bottom: the more a stem is changed, the worse the separation is heard.",
        music.gains,
        of="scenes",
    ),
    Chart(
        "positions",
        "music",
        "By position of the listener",
        "The mean over scenes by how far the loudspeakers are to one side, seen from the listener, with its 95 % "
        "interval over scenes.",
        music.positions,
        of="scenes",
    ),
    Chart(
        "scene-against-scene",
        "head-to-head",
        "Scene by scene",
        "Each mark is a scene, the mean over its listeners. On the dashed line both systems are equal; below it, "
        "to the right, the first is better, above it the second.",
        head_to_head.scene_against_scene,
    ),
    Chart(
        "pair-differences",
        "head-to-head",
        "By how much, pair by pair",
        "How many pairs of scene and listener have which difference. The grey bar holds those about equal, the "
        "outermost bars all that is further out.",
        head_to_head.pair_differences,
    ),
    Chart(
        "won-by-severity",
        "head-to-head",
        "Who wins, by hearing loss",
        "The share of pairs on which each system has the higher score; grey are equal scores.",
        head_to_head.won_by_severity,
    ),
    Chart(
        "size",
        "cost",
        "Score against size",
        "Learned parameters on a logarithmic axis. On the dashed line are the ranked systems that no smaller one "
        "equals. Hollow marks are systems without a rank.",
        cost.size,
    ),
    Chart(
        "time",
        "cost",
        "Score against processor time",
        "What making the remixes took in all threads together, on a logarithmic axis, by the machine that each "
        "system ran on. On the dashed line are the ranked systems that no faster one equals.",
        cost.time,
    ),
    Chart(
        "load",
        "cost",
        "Load of streamed systems",
        "How long a block of music took, as a share of the time that it lasts: the median, the 99th percentile and "
        "the worst of all blocks, none left out. Right of the dashed line a block is late. Whole lines: processor "
        "time, what the system needs of one core; broken lines: the clock on the wall, what the machine gave. Nobody "
        "is ranked by it, since it belongs to a system on a machine.",
        load.blocks,
    ),
    Chart(
        "distance-to-first",
        "figures",
        "Distance to the first",
        "Mean HAAQI minus that of the first system over the same pairs, with its 95 % interval over scenes. References "
        "are left out.",
        board.distance_to_first,
    ),
    Chart(
        "difference-matrix",
        "figures",
        "Differences of every two systems",
        "Row minus column in mean HAAQI. Colour: the two can be told apart (p < 0.05, adjusted after Holm).",
        board.difference_matrix,
    ),
)
"""All charts, in the order of their pages."""
