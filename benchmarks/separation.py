"""How well the systems separate the embedded set's music, next to the mixture itself as the estimate of every stem.

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
well: published figures are medians over the 50 songs of MUSDB18's test set.

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
from rich.console import Console
from rich.table import Table

from harness.challenge import PROTOCOL, STEMS
from harness.errors import HarnessError
from harness.music.demo import demo
from harness.music.evaluationset import Scene
from harness.systems import Separator, Signal, parse_options
from harness.systems.discovery import Plugins

MIXTURE = "the mixture itself"
UNSEPARATED = {MIXTURE: 1.0, "a quarter of it": 0.25}
"""How much of the mixture is the estimate of every stem."""

SYSTEMS = ("centre", "umx:model=demo", "umx:model=demo,niter=1", "demucs:model=demo")
WINDOW = PROTOCOL.sample_rate
"""Samples: the second that museval takes by default, without overlap."""

Figures = dict[str, float]
"""dB of each stem, and their mean."""


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
    """SDR of BSS Eval v4 of each stem in dB: median over windows; NaN where no window counts."""
    sdr, *_ = metrics.bss_eval(
        np.stack([true[stem] for stem in STEMS]),
        np.stack([estimates[stem] for stem in STEMS]),
        window=WINDOW,
        hop=WINDOW,
    )
    return [float(value) for value in np.nanmedian(sdr, axis=1)]


def plain_sdr(true: Mapping[str, Signal], estimates: Mapping[str, Signal]) -> list[float]:
    """Energy of each true stem over that of the error, in dB."""
    return [
        float(10 * np.log10(np.sum(true[stem] ** 2) / np.sum((true[stem] - estimates[stem]) ** 2))) for stem in STEMS
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


def measured(metrics: ModuleType, scenes: Sequence[Scene], system: Separator | float) -> dict[str, Figures]:
    """Both figures of a system, or of so much of the mixture as the estimate of every stem."""
    rows: dict[str, list[list[float]]] = {"bss_eval_v4_sdr": [], "plain_sdr": []}
    for scene in scenes:
        mixture, true = scene.read("mixture"), scene.read_stems()
        if isinstance(system, float):
            estimates: Mapping[str, Signal] = dict.fromkeys(STEMS, system * mixture)
        else:
            estimates = system.separate(mixture.copy(), PROTOCOL.sample_rate)
        rows["bss_eval_v4_sdr"].append(bss_eval_sdr(metrics, true, estimates))
        rows["plain_sdr"].append(plain_sdr(true, estimates))
    figures = {}
    for name, values in rows.items():
        means = np.mean(values, axis=0)
        figures[name] = {**dict(zip(STEMS, map(float, means), strict=True)), "mean": float(np.mean(means))}
    return figures


def table(title: str, figures: Mapping[str, Figures]) -> Table:
    """Systems in rows, stems in columns; the gain over the mixture in brackets."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False)
    made.add_column("", no_wrap=True)
    base = figures[MIXTURE]
    for column in base:
        made.add_column(column, justify="right", no_wrap=True)
    for name, values in figures.items():
        gains = {column: "" if name == MIXTURE else f" ({values[column] - base[column]:+.1f})" for column in base}
        made.add_row(name, *(f"{values[column]:.1f}{gains[column]}" for column in base))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", action="append", default=[], metavar="NAME[:KEY=VALUE,...]", help="one more system")
    parser.add_argument("--only", action="store_true", help="only what --system names, beside what is no separation")
    parser.add_argument("--json", action="store_true", help="print JSON")
    wanted = parser.parse_args()

    metrics, scenes = museval_metrics(), demo().scenes
    names = [*(() if wanted.only else SYSTEMS), *wanted.system]
    figures = {name: measured(metrics, scenes, share) for name, share in UNSEPARATED.items()}
    for name in dict.fromkeys(names):
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            figures[name] = measured(metrics, scenes, separator(name))
        except HarnessError as error:
            raise SystemExit(f"--system {name}: {error}") from error
    if wanted.json:
        rows = [{"system": name, **values} for name, values in figures.items()]
        print(json.dumps({"scenes": [scene.id for scene in scenes], "unit": "dB", "rows": rows}, indent=1))
        return
    console = Console(width=max(Console().width, 110))  # wide enough for every name and figure
    for title, key in (("BSS Eval v4 SDR, dB", "bss_eval_v4_sdr"), ("Plain SDR, dB", "plain_sdr")):
        console.print(table(title, {name: values[key] for name, values in figures.items()}))
        console.print()


if __name__ == "__main__":
    main()
