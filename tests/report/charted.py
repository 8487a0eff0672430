"""What the charts of a view show, by their names."""

from typing import Any

from harness.report.charts import CHARTS
from harness.report.view import BoardView

BY_NAME = {chart.name: chart for chart in CHARTS}
OF_SCENES = [chart for chart in CHARTS if chart.of != "songs"]


def spec_of(name: str, view: BoardView) -> dict[str, Any]:
    """A chart that has something to show, as it is given to Vega-Lite."""
    spec = BY_NAME[name].spec(view)
    assert isinstance(spec, dict), spec
    return spec


def rows_of(name: str, view: BoardView) -> list[dict[str, Any]]:
    """What a chart's table shows."""
    spec = spec_of(name, view)
    rows: list[dict[str, Any]] = spec["datasets"][spec["usermeta"]["table"]["data"]]
    return rows
