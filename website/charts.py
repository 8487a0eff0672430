"""The page of the report's charts, from their own titles and captions."""

from harness.report.charts import CHARTS

WHERE = {
    "listeners": "on the page Listeners",
    "music": "on the page Music",
    "head-to-head": "on the page Head to head; as a figure, of the first two systems of the ranking",
    "cost": "on the page Cost",
    "figures": "as a figure only; the report has it as a table",
}


def charts() -> str:
    """Every chart: the name of its figure's file, where it stands, and how to read it."""
    lines = [
        "# Charts and figures",
        "",
        "The charts of a report, and of `harness report --figures FORMAT`, which writes each into a file of this name. "
        "A chart that has nothing to show is left out: those that need listeners, gains or positions need the "
        "evaluation set (`--data`), and those that compare need two systems.",
    ]
    for chart in CHARTS:
        of_songs = ". Only on boards of the first challenge" if chart.of == "songs" else ""
        lines += ["", f"## {chart.name}", "", f"*{chart.title}*, {WHERE[chart.page]}{of_songs}.", "", chart.caption]
    return "\n".join(lines) + "\n"
