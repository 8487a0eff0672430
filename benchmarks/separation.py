"""How well the systems separate the embedded set's music, next to the mixture itself as the estimate of every stem.

A set of your own instead (`harness set new`), the first scene of each track, with intervals over the tracks:

    python benchmarks/separation.py --data sets/mine --split mine

    python benchmarks/separation.py                                  about three minutes on two cores
    python benchmarks/separation.py --system umx:model=demo,niter=2  further systems, as many as you like
    python benchmarks/separation.py --only --system centre           these alone, beside what is no separation
    python benchmarks/separation.py --json                           for programs

Two figures for each stem, in dB, with the gain over the mixture in brackets:

    BSS Eval v4   SDR of `museval`, the figure that the literature on source separation reports: median over windows of
                  one second, those left out in which a true or an estimated stem is silent, as museval does. It
                  forgives a filter of 512 taps between the true stem and its estimate
    plain SDR     10 log10 of the energy of the true stem over that of the error, over the whole scene, nothing forgiven

A stem that is quiet in the mixture makes the gain large for whoever gives little of it: silence has 0 dB. So a quarter
of the mixture is a row too; what does not beat that separates nothing.

Both are means over the embedded set's scenes: excerpts of one song, four seconds each, which overlap, two at ears
before loudspeakers and one in headphone form. That is enough to see that a system separates, and too little to say how
well: published figures are medians over the 50 songs of MUSDB18's test set. Of another set they are means over its
tracks, with 95 % intervals (Student's t); a stem that is silent in a track does not count there.

The oracle's estimates are the true stems, so it is left out.

References:
    E. Vincent, R. Gribonval, C. Févotte, "Performance measurement in blind audio source separation", IEEE TASLP 14(4),
        2006.
    F.-R. Stöter, A. Liutkus, N. Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018: v4, and museval.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.stats
from rich.console import Console
from rich.table import Table

from harness.challenge import PROTOCOL, STEMS
from harness.errors import HarnessError
from harness.music.demo import DEMO
from harness.music.evaluationset import Scene
from harness.music.finding import load_evaluation_set
from harness.systems import Separator, Signal, parse_options
from harness.systems.discovery import Plugins

MIXTURE = "the mixture itself"
UNSEPARATED = {MIXTURE: 1.0, "a quarter of it": 0.25}
"""How much of the mixture is the estimate of every stem."""

SYSTEMS = ("centre", "umx:model=demo", "umx:model=demo,niter=1", "demucs:model=demo")
WINDOW = PROTOCOL.sample_rate
"""Samples: the second that museval takes by default, without overlap."""

COLUMNS = (*STEMS, "mean")

SILENCE = 1e-4
"""RMS below which a stem has no SDR."""

Figures = dict[str, float]
"""dB of each stem, and their mean."""

Measured = dict[str, Figures]
"""By kind, `KINDS`; and half of each one's interval, with `INTERVAL` before the name, if there are several tracks."""

KINDS = ("bss_eval_v4_sdr", "plain_sdr")
INTERVAL = "interval_of_"


def museval_metrics() -> ModuleType:
    """The module `museval.metrics` alone: the package around it also imports stempeg, which wants an ffmpeg program."""
    spec = importlib.util.find_spec("museval")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package museval is missing: pip install museval")
    path = Path(spec.submodule_search_locations[0]) / "metrics.py"
    alone = importlib.util.spec_from_file_location("museval_metrics", path)
    assert alone is not None
    assert alone.loader is not None
    module = importlib.util.module_from_spec(alone)
    alone.loader.exec_module(module)
    return module


def bss_eval_sdr(metrics: ModuleType, true: Mapping[str, Signal], estimates: Mapping[str, Signal]) -> list[float]:
    """SDR of BSS Eval v4 of each stem in dB: median over windows; NaN where no window counts, or the stem is silent."""
    sounding = [stem for stem in STEMS if np.std(true[stem]) > SILENCE]
    sdr, *_ = metrics.bss_eval(
        np.stack([true[stem] for stem in sounding]),
        np.stack([estimates[stem] for stem in sounding]),
        window=WINDOW,
        hop=WINDOW,
    )
    found = dict(zip(sounding, np.nanmedian(sdr, axis=1), strict=True))
    return [float(found.get(stem, np.nan)) for stem in STEMS]


def plain_sdr(true: Mapping[str, Signal], estimates: Mapping[str, Signal]) -> list[float]:
    """Energy of each true stem over that of the error, in dB; NaN of a silent one."""
    return [
        float(10 * np.log10(np.sum(true[stem] ** 2) / np.sum((true[stem] - estimates[stem]) ** 2)))
        if np.std(true[stem]) > SILENCE
        else np.nan
        for stem in STEMS
    ]


def separator(text: str) -> Separator:
    """The loaded system of `NAME[:key=value,...]`."""
    name, _, options = text.partition(":")
    system = Plugins(()).system(name)
    if not issubclass(system, Separator):
        raise SystemExit(f"--system {text}: {name} does not separate")
    ready = system(**parse_options(system, options.split(",") if options else []))
    ready.load()
    return ready


def first_scenes(data: str, split: str | None) -> Sequence[Scene]:
    """The first scene of each track: another one has the same music at other ears."""
    scenes = load_evaluation_set(data, split).scenes
    first = {scene.track: scene for scene in reversed(scenes)}
    return [scene for scene in scenes if first[scene.track] is scene]


def measured(metrics: ModuleType, scenes: Sequence[Scene], system: Separator | float, with_intervals: bool) -> Measured:
    """Both figures of a system, or of so much of the mixture as the estimate of every stem."""
    rows: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for scene in scenes:
        mixture, true = scene.read("mixture"), scene.read_stems()
        if isinstance(system, float):
            estimates: Mapping[str, Signal] = dict.fromkeys(STEMS, system * mixture)
        else:
            estimates = system.separate(mixture.copy(), PROTOCOL.sample_rate)
        for kind, figure in zip(
            KINDS, (bss_eval_sdr(metrics, true, estimates), plain_sdr(true, estimates)), strict=True
        ):
            rows[kind].append(figure)
    figures = {}
    for kind, values in rows.items():
        # A column for each stem, and one for their mean.
        table = np.column_stack([values, np.nanmean(values, axis=1)])
        figures[kind] = dict(zip(COLUMNS, map(float, np.nanmean(table, axis=0)), strict=True))
        if with_intervals:
            halves = [half_interval(column[~np.isnan(column)]) for column in table.T]
            figures[INTERVAL + kind] = dict(zip(COLUMNS, halves, strict=True))
    return figures


def half_interval(values: np.ndarray) -> float:
    """Half of the 95 % interval of a mean, by Student's t."""
    return float(scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def table(title: str, figures: Mapping[str, Measured], kind: str) -> Table:
    """Systems in rows, stems in columns; the gain over the mixture in brackets, or the interval after ±."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.add_column("", no_wrap=True)
    base = figures[MIXTURE][kind]
    for column in COLUMNS:
        made.add_column(column, justify="right", no_wrap=True)
    for name, found in figures.items():
        values, halves = found[kind], found.get(INTERVAL + kind)
        if halves:
            beside = {column: f" ±{halves[column]:.1f}" for column in COLUMNS}
        else:
            beside = {c: "" if name == MIXTURE else f" ({values[c] - base[c]:+.1f})" for c in COLUMNS}
        made.add_row(name, *(f"{values[column]:.1f}{beside[column]}" for column in COLUMNS))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", action="append", default=[], metavar="NAME[:KEY=VALUE,...]", help="one more system")
    parser.add_argument("--only", action="store_true", help="only what --system names, beside what is no separation")
    parser.add_argument("--data", default=DEMO.name, help="an evaluation set; by default the embedded one")
    parser.add_argument("--split", help="its split; by default its only one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    wanted = parser.parse_args()

    metrics, scenes = museval_metrics(), first_scenes(wanted.data, wanted.split)
    # The embedded set's tracks are excerpts of one song, which overlap: they say nothing of other songs.
    with_intervals = len(scenes) > 1 and wanted.data != DEMO.name
    names = [*(() if wanted.only else SYSTEMS), *wanted.system]
    figures = {name: measured(metrics, scenes, share, with_intervals) for name, share in UNSEPARATED.items()}
    for name in dict.fromkeys(names):
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            figures[name] = measured(metrics, scenes, separator(name), with_intervals)
        except HarnessError as error:
            raise SystemExit(f"--system {name}: {error}") from error
    if wanted.json:
        rows = [{"system": name, **values} for name, values in figures.items()]
        print(json.dumps({"scenes": [scene.id for scene in scenes], "unit": "dB", "rows": rows}, indent=1))
        return
    console = Console(width=max(Console().width, 110))  # wide enough for every name and figure
    for title, kind in zip(("BSS Eval v4 SDR, dB", "Plain SDR, dB"), KINDS, strict=True):
        console.print(table(title, figures, kind))
        console.print()


if __name__ == "__main__":
    main()
