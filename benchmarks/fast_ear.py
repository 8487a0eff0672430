"""How much faster the fast engine scores an ear than the locked evaluator, on one core, and where its time goes.

    python benchmarks/fast_ear.py [--seconds S] [--rounds N] [--listeners N]

Music of 10 s and 20 listeners with different losses, as in the official set; what is scored is the unprocessed mixture,
made for each listener and resampled as submissions are. In turns, in this one process:

    locked      one ear by pyclarity's `compute_haaqi`, another one in each round
    a call      the same ear by `harness.haaqi.fast.compute_haaqi`, which draws its noise for each call
    fast64      the ears of three listeners in double precision, with the noise of their scene drawn for them
    fast        all ears of the scene by `harness.haaqi.fast.score_pair`, as a worker scores them: noise and whatever
                else the listeners of a scene have in common is made once. NAL-R and resampling are timed apart and
                taken away, since the locked figure does not hold them either

All times are processor time, which other programs on the machine do not lengthen much, and libraries are kept to one
thread. Printed: the time for one ear with each engine and its ratio in each round, with medians. Then the time of each
stage, with the functions of both engines timed where they are called (each without the others that it calls), next to
what a feasibility study found on another machine.

Where the golden data lies beside the checkout (../shared/golden), its submissions are scored with the fast engine too,
and the largest difference from the official scores is printed.
"""

import argparse
import csv
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import soxr
from clarity.evaluator.haaqi import compute_haaqi
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from excerpt_set import build_slice

from harness.challenge import PROTOCOL
from harness.compute.local import ONE_THREAD
from harness.enhancement import Signal, amplify, amplify_ear, to_remix_format
from harness.haaqi import fast
from harness.haaqi.evaluator import reference_mixture
from harness.haaqi.fast import nalr
from harness.hearing import Listener
from harness.music.evaluationset import Scene
from harness.music.layout import load
from harness.submission.flac import read_remix

FEW = 3  # listeners
GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
REST = "Python, copies, the rest"


@dataclass(frozen=True)
class Stage:
    """A part of HAAQI: the functions that do it in each engine, by module and name where they are looked up."""

    name: str
    locked: list[tuple[str, str]]
    fast: list[tuple[str, str]]
    study: tuple[float, float]
    """Seconds for 10 s that the study found: pyclarity, and its own kernels in double precision."""


def _fast(module: str, *names: str) -> list[tuple[str, str]]:
    return [(f"harness.haaqi.fast.{module}", name) for name in names]


def _single(module: str, *names: str) -> list[tuple[str, str]]:
    return _fast(f"single.{module}", *names)


def _eb(*names: str) -> list[tuple[str, str]]:
    return [("clarity.evaluator.haspi.eb", name) for name in names]


STAGES = [
    Stage(
        "input_align, middle_ear",
        _eb("input_align", "middle_ear"),
        [*_single("input_align", "analyse", "delay_of"), *_single("engine", "shifted", "middle_ear")],
        (0.034, 0.029),
    ),
    Stage(
        "gammatone, bandwidth, compression",
        _eb("gammatone_basilar_membrane", "bandwidth_adjust", "env_compress_basilar_membrane"),
        [
            *_single("filterbank", "filters", "control", "analysis"),
            *_fast("double.filterbank", "adjusted_bandwidth", "group_delays"),
        ],
        (1.18, 0.117),
    ),
    Stage("envelope_align", _eb("envelope_align"), _single("envelope_align", "delays"), (1.50, 0.122)),
    Stage(
        "hair cells, noise, env_smooth, bm_covary",
        [
            *_eb("envelope_sl", "inner_hair_cell_adaptation", "basilar_membrane_add_noise", "group_delay_compensate"),
            *_eb("env_smooth", "bm_covary"),
        ],
        [*_single("comparison", "compare"), *_fast("noise", "Noise.read")],
        (6.05, 0.107),
    ),
    Stage(
        "melcor9, ave_covary2, spectrum_diff",
        _eb("melcor9", "ave_covary2", "spectrum_diff"),
        [
            *_fast("cepstrum", "reference_modulation", "correlation"),
            *_fast("double.covariance", "tiles", "coherence"),
            *_eb("spectrum_diff"),
        ],
        (0.02, 0.004),
    ),
]
"""An ear that goes to double precision is part of what Python, copies and the rest take."""


class Clock:
    """Adds up the processor time inside callables, without that of others which they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def timed(self, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.process_time() - start
                self.seconds[what] += taken - self._inner.pop()
                if self._inner:
                    self._inner[-1] += taken

        return call

    @contextmanager
    def watching(self, places: list[tuple[Any, str, str]]) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, what in places:
                stack.enter_context(patch.object(owner, name, self.timed(what, getattr(owner, name))))
            yield


AROUND = "NAL-R and resampling"
AROUND_HAAQI = [(soxr, "resample", AROUND), (nalr, "blocks_of", AROUND), (nalr, "filtered", AROUND)]
"""What `score_pair` does besides HAAQI."""


@dataclass(frozen=True)
class Prepared:
    """A scene and what each of its listeners submitted."""

    scene: Scene
    reference: Signal
    submitted: dict[Listener, Any]


def prepare(scene: Scene, listeners: int) -> Prepared:
    """The unprocessed mixture for each listener, in the form of a submission."""
    mixture = scene.read("mixture")
    submitted = {
        who: (to_remix_format(amplify(mixture, who))[0] / 32768).astype(np.float32)
        for who in scene.listeners[:listeners]
    }
    return Prepared(scene, reference_mixture(scene.read_stems(), mixture, scene.gains), submitted)


def single_call(function: Callable[..., float], prepared: Prepared, index: int) -> float:
    """Processor time of one ear by pyclarity's `compute_haaqi`, or by what stands in for it."""
    who, samples = list(prepared.submitted.items())[index // 2 % len(prepared.submitted)]
    channel = index % 2
    audiogram = (who.left, who.right)[channel]
    reference = prepared.reference[:, channel]
    processed = soxr.resample(samples[:, channel], PROTOCOL.remix_sample_rate, 24000, quality="HQ")
    amplified = soxr.resample(amplify_ear(reference, audiogram), PROTOCOL.sample_rate, 24000, quality="HQ")
    level = PROTOCOL.haaqi_level_db - 20 * np.log10(np.sqrt(np.mean(reference**2)))
    ear = ClarityAudiogram(levels=np.array(audiogram.levels), frequencies=np.array(audiogram.frequencies))
    np.random.seed(PROTOCOL.seed(prepared.scene.id))
    start = time.process_time()
    function(processed, amplified, 24000, 24000, ear, PROTOCOL.haaqi_equalisation, level)
    return time.process_time() - start


def fast_ears(
    prepared: Prepared, places: list[tuple[Any, str, str]], *, in_double: bool = False
) -> tuple[Clock, float]:
    """Score all listeners with the fast engine: what was timed inside, and the processor time for one ear of them."""
    # The scene before was another one: nothing of this one is kept yet.
    who, samples = next(iter(prepared.submitted.items()))
    fast.score_pair("another scene", prepared.reference[:22050], samples[:16000], who, in_double=in_double)
    clock = Clock()
    with clock.watching([*AROUND_HAAQI, *places]):
        start = time.process_time()
        for who, samples in prepared.submitted.items():
            fast.score_pair(prepared.scene.id, prepared.reference, samples, who, in_double=in_double)
        taken = time.process_time() - start
    return clock, (taken - clock.seconds[AROUND]) / (2 * len(prepared.submitted))


def show_stages(prepared: Prepared) -> None:
    """Time each stage of both engines, once."""

    def places(engine: str) -> list[tuple[Any, str, str]]:
        found = []
        for stage in STAGES:
            for module, name in getattr(stage, engine):
                *owners, function = name.split(".")
                owner = reduce(getattr, owners, importlib.import_module(module))
                found.append((owner, function, stage.name))
        return found

    locked = Clock()
    with locked.watching(places("locked")):
        locked_whole = single_call(compute_haaqi, prepared, 0)
    fast_clock, fast_whole = fast_ears(prepared, places("fast"))
    ears = 2 * len(prepared.submitted)
    print(f"\n{'stage':40}{'locked, s':>11}{'fast, s':>11}{'ratio':>8}{'study: locked, its own':>26}")
    rows = [
        (stage.name, locked.seconds[stage.name], fast_clock.seconds[stage.name] / ears, stage.study) for stage in STAGES
    ]
    rest = [whole - sum(row[index] for row in rows) for index, whole in ((1, locked_whole), (2, fast_whole))]
    rows.append((REST, rest[0], rest[1], (0.30, 0.001)))
    rows.append(("all", locked_whole, fast_whole, (9.23, 0.387)))
    for name, slow, quick, (study_locked, study_own) in rows:
        ratio = f"{slow / quick:8.1f}" if quick > 1e-6 else f"{'-':>8}"
        print(f"{name:40}{slow:11.3f}{quick:11.4f}{ratio}{study_locked:17.3f}{study_own:9.3f}")
    print("The noise was supplied in the study's own figures; here one listener in so many draws it.")


def show_golden() -> None:
    """Score the golden submissions with the fast engine, and compare with the official scores."""
    scenes = {scene.id: scene for scene in load(GOLDEN).scenes}
    references: dict[str, Signal] = {}
    print(f"\n{'golden submission':20}{'ears':>6}{'largest difference':>22}{'mean':>12}")
    for path in sorted((GOLDEN / "golden").glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        differences = []
        for row in rows:
            scene = scenes[row["scene"]]
            if scene.id not in references:
                references[scene.id] = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
            who = next(who for who in scene.listeners if who.id == row["listener"])
            remix = GOLDEN / "submissions" / path.stem / PROTOCOL.remix_name(scene.id, who.id)
            score = fast.score_pair(scene.id, references[scene.id], read_remix(remix, scene.frames).signal, who)
            differences += [abs(score.left - float(row["left_score"])), abs(score.right - float(row["right_score"]))]
        print(f"{path.stem:20}{len(differences):6}{max(differences):22.1e}{statistics.fmean(differences):12.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the music (default 10)")
    parser.add_argument("--rounds", type=int, default=5, help="about half a minute each (default 5)")
    parser.add_argument("--listeners", type=int, default=20, help="listeners of the scene (default 20)")
    wanted = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # Libraries read these when they are imported: start again.
        environment = os.environ | ONE_THREAD
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606

    with tempfile.TemporaryDirectory() as folder:
        (scene,) = build_slice(Path(folder) / "set", 1, wanted.seconds).scenes
        prepared = prepare(scene, wanted.listeners)
    short = Prepared(scene, prepared.reference[:22050], {who: x[:16000] for who, x in prepared.submitted.items()})
    few = replace(prepared, submitted=dict(list(prepared.submitted.items())[:FEW]))
    single_call(compute_haaqi, short, 0)  # all of them compile
    single_call(fast.compute_haaqi, short, 0)
    fast_ears(short, [])
    fast_ears(short, [], in_double=True)
    print(f"one ear of {wanted.seconds:g} s, scene of {len(prepared.submitted)} listeners, one core, processor time")
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(
        f"{'':10}{'locked, s':>11}{'fast, s':>11}{'ratio':>8}{'a call, s':>11}{'ratio':>8}{'fast64, s':>11}{'ratio':>8}"
    )

    def show(name: str, row: Sequence[float]) -> None:
        slow, quick, ratio, *others = row
        figures = "".join(f"{value:11.3f}{times:8.1f}" for value, times in zip(others[::2], others[1::2], strict=True))
        print(f"{name:10}{slow:11.2f}{quick:11.4f}{ratio:8.1f}{figures}", flush=True)

    rows = []
    for index in range(wanted.rounds):
        slow = single_call(compute_haaqi, prepared, index)
        quick = [
            fast_ears(prepared, [])[1],
            single_call(fast.compute_haaqi, prepared, index),
            fast_ears(few, [], in_double=True)[1],
        ]
        rows.append((slow, *(figure for each in quick for figure in (each, slow / each))))
        show(f"round {index + 1}", rows[-1])
    show("median", [statistics.median(column) for column in zip(*rows, strict=True)])
    show_stages(prepared)
    if GOLDEN.is_dir():
        show_golden()
    print(f"\nload average after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
