"""The curves of a training as a picture."""

import csv
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from training.excerpts import STEMS

COLOURS = {"drums": "#d55e00", "bass": "#0072b2", "other": "#009e73", "vocals": "#cc79a7"}
"""Of the palette of Okabe and Ito, which people with a colour vision deficiency can tell apart."""


def draw(log: Path, picture: Path, title: str) -> None:
    """Draw the losses and the SDR of each stem over the steps. The same log gives the same file.

    Args:
        log: `log.csv` of a training.
        picture: the SVG file to write.
        title: over the picture.
    """
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    # Text stays text, which is small; without a salt, the identifiers in the file would be random.
    with matplotlib.rc_context({"svg.hashsalt": "harness", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8, 3), layout="constrained")
        figure.suptitle(title)
        loss, ratio = figure.subplots(1, 2)
        loss.plot(steps, column("train_loss"), color="#999999", label="training (augmented)")
        loss.plot(steps, column("held_out_loss"), color="black", label="held-out")
        loss.set(xlabel="step", ylabel="loss", yscale="log")
        for stem in STEMS:
            ratio.plot(steps, column(f"sdr_{stem}"), color=COLOURS[stem], label=stem)
        ratio.set(xlabel="step", ylabel="held-out SDR, median (dB)")
        for axes in (loss, ratio):
            axes.grid(alpha=0.3)
            axes.legend(frameon=False)
        figure.savefig(picture, format="svg", metadata={"Date": None})
