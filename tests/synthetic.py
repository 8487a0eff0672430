"""Boards of any size with made-up scores, as charts and pages start from them; no database and no music."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pandas as pd
from stored import FINGERPRINT, LOAD, RUN, STREAMED

from harness.challenge import EARS, STEMS
from harness.hearing import GRADES, grade_of
from harness.report.view import BoardView, board_view
from harness.results.frames import Results, results_of
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import EvaluationSetRecord, PairScores, PieceCost, SceneSums, ScoredRun
from harness_leaderboard.whole import PairColumns, WholeRun

NAMES = ("demucs ensemble", "scnet", "hdemucs", "umx", "centre", "passthrough")
LEVELS = (0.613, 0.611, 0.589, 0.554, 0.509, 0.480)
"""Mean scores, about."""


def synthetic_view(
    names: Sequence[str] = NAMES,
    levels: Sequence[float] = LEVELS,
    scenes: int = 12,
    listeners: int = 6,
    tracks: int = 5,
    each: int | None = None,
    with_set: bool = True,
    parameters: Sequence[int | None] = (320_000_000, 42_000_000, 83_000_000, 9_000_000, 0, None),
    cpu_seconds: Sequence[float | None] = (31_200.0, 9_600.0, 14_000.0, 2_200.0, 100.0, 20.0),
    not_eligible: Sequence[int] = (2,),
    live: Sequence[int] = (3,),
    seed: int = 1,
    stems: bool = False,
) -> BoardView:
    """A board with a run for each name; a listener with a greater loss scores lower, tracks and scenes differ.

    Args:
        each: listeners of a scene, by default all.
        with_set: whether listeners, gains and scenes are known.
        parameters, cpu_seconds: of each run; None where they are not known.
        not_eligible: positions of runs that have no rank.
        live: positions of runs that are live; of the others, every third from the second is causal.
        stems: whether it is a board of the first challenge: a song for each scene, and eight stems for each score.
    """
    random = np.random.default_rng(seed)
    each, tracks = each or listeners, scenes if stems else tracks
    people = [f"L{number:04}" for number in range(1, listeners + 1)]
    left = np.round(np.sort(random.uniform(12, 72, listeners)), 1)
    right = np.round(np.clip(left + random.normal(0, 9, listeners), 0, 78), 1)
    pta = np.minimum(left, right)
    songs = [f"{'Artist Somebody - ' if number % 3 else ''}Song number {number}" for number in range(tracks)]
    hard = random.normal(0, 0.03, tracks)

    columns: dict[str, list[str]] = {"scene": [], "listener": [], "track": []}
    base: list[tuple[float, float]] = []
    for number in range(scenes):
        scene_effect = hard[number % tracks] + random.normal(0, 0.02)
        for person in (np.arange(each) + number * 7) % listeners:
            columns["scene"].append(songs[number] if stems else f"scene_{10000 + number}")
            columns["listener"].append(people[person])
            columns["track"].append(songs[number % tracks])
            base.append(tuple(0.09 + scene_effect - 0.0022 * ear[person] for ear in (left, right)))
    ears = np.array(base)

    about = EvaluationSetRecord("synthetic", "valid", "e" * 64, scenes, len(ears))
    runs = []
    for place, (name, level) in enumerate(zip(names, levels, strict=True)):
        values = np.clip(level + ears * (0.4 + level) + random.normal(0, 0.02, ears.shape), 0, 1)
        eight: dict[str, list[float]] = {}
        if stems:
            off = np.array([0.1, 0.05, -0.03, -0.12]) + random.normal(0, 0.01, (*ears.shape, 4))
            each_stem = np.clip(values[..., None] + off, 0, 1)
            values = each_stem.mean(axis=2)
            eight = {
                f"{ear}_{stem}": each_stem[:, channel, number].tolist()
                for number, stem in enumerate(STEMS)
                for channel, ear in enumerate(EARS)
            }
        lefts, rights = (column.tolist() for column in values.T)
        means = values.mean(axis=1).tolist()
        found = PairScores(
            *map(tuple, (*columns.values(), lefts, rights, means)),
            stems={name: tuple(column) for name, column in eight.items()},
        )
        declared = replace(
            RUN,
            key=f"{place:064x}",
            system=name,
            causal=place % 3 == 1 or place in live,
            live=place in live,
            causality=STREAMED if place in live else None,
            load=LOAD if place in live else None,
            parameters=parameters[place % len(parameters)],
            not_eligible="trained on private data" if place in not_eligible else None,
        )
        scored = ScoredRun(
            place + 1, None, declared, about, "c" * 64 if stems else FINGERPRINT, SceneSums.of(found), 0,
            "2026-01-31T12:00:00Z", 0, 0, None, 0, {}, lambda found=found: found,
            protocol="cad1" if stems else "cad_icassp_2024",
        )  # fmt: skip
        known = {
            **columns, "state": ["scored"] * len(ears), "engine": ["locked"] * len(ears), "left": lefts,
            "right": rights, "score": means, "clipped": [0] * len(ears), "file_sha256": ["1" * 64] * len(ears),
        }  # fmt: skip
        unknown = {
            field.name: [None] * len(ears) for field in fields(PairColumns) if field.name not in (*known, "stems")
        }
        pairs = PairColumns(**known, **unknown, stems=eight)
        spent = cpu_seconds[place % len(cpu_seconds)]
        costs = [] if spent is None else [PieceCost("all", spent / 2, spent, 10**9)]
        runs.append(WholeRun(scored, "shown", pairs, costs))
    [board] = boards([run.scored for run in runs])
    results = results_of(runs, None)
    if with_set:
        names_of = {
            songs[number] if stems else f"scene_{10000 + number}": songs[number % tracks] for number in range(scenes)
        }
        results = _with_set(results, random, names_of, people, left, right, pta)
    return board_view(board, results, None)


def _with_set(
    results: Results,
    random: np.random.Generator,
    scenes: dict[str, str],
    people: list[str],
    left: np.ndarray,
    right: np.ndarray,
    pta: np.ndarray,
) -> Results:
    turned = random.choice(np.arange(-30, 31, 7.5), len(scenes))
    gains = np.where(
        random.random((len(scenes), len(STEMS))) < 0.5, 0.0, random.choice([-10.0, -6, -3, 3, 6, 10], (len(scenes), 4))
    )
    minutes = len(scenes) * len(people) * 10 / 60
    return replace(
        results,
        runs=results.runs.assign(cpu_per_minute=results.runs["cpu_seconds"] / minutes),
        listeners=pd.DataFrame(
            {
                "listener": pd.array(people, dtype="string"),
                "pta_left": left,
                "pta_right": right,
                "pta": pta,
                "asymmetry": right - left,
                "band": pd.Categorical([grade_of(value) for value in pta], categories=GRADES, ordered=True),
            }
        ),
        gains=pd.DataFrame(
            [(scene, stem, gain) for scene, row in zip(scenes, gains, strict=True)
             for stem, gain in zip(STEMS, row, strict=True)],
            columns=["scene", "stem", "gain"],
        ),
        scenes=pd.DataFrame(
            {
                "scene": list(scenes),
                "track": list(scenes.values()),
                "song": list(scenes.values()),
                "form": "loudspeakers",
                "position": [f"hlp_{number:04}" for number in range(len(scenes))],
                "left_angle": turned - 30,
                "right_angle": turned + 30,
                "seconds": 10.0,
            }
        ),
    )  # fmt: skip
