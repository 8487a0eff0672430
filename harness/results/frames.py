"""A leaderboard as data frames: runs, pairs, and what the evaluation set says of listeners and scenes.

Frames are tidy: one row for one thing, one column for one fact about it. Scores are HAAQI values from 0 to 1; a missing
value is NA. Text comes from strangers: escape it where it is shown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pandas as pd
from pandas import DataFrame

from harness.challenge import PROTOCOL, STEMS
from harness.errors import DataError, HarnessError
from harness.files import database_url
from harness.hearing import GRADES, Listener, grade_of
from harness.music.evaluationset import EvaluationSet, Scene
from harness.music.finding import load_evaluation_set
from harness_leaderboard import labels
from harness_leaderboard.causality import Basis, Class
from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.ranking import Board, Row, boards
from harness_leaderboard.records import PieceCost
from harness_leaderboard.stems import in_order
from harness_leaderboard.store import Store
from harness_leaderboard.whole import PairColumns, WholeRun


@dataclass(frozen=True, eq=False)
class Results:
    """Results as data frames. The page "Results as data frames" describes every column.

    Attributes:
        runs: one row for each run under each evaluator that scored it, in the order of their numbers.
        pairs: one row for each scene-listener pair of each of these.
        listeners: one row for each listener of the evaluation set; None, as the following, where no set was named.
        audiograms: one row for each listener, ear and frequency.
        gains: one row for each scene and stem.
        scenes: one row for each scene.
    """

    runs: DataFrame
    pairs: DataFrame
    listeners: DataFrame | None = None
    audiograms: DataFrame | None = None
    gains: DataFrame | None = None
    scenes: DataFrame | None = None

    def __repr__(self) -> str:
        """How many rows each frame has."""
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return f"Results({', '.join(f'{name}: {len(frame)} rows' for name, frame in found if frame is not None)})"


def load_results(db: str | Path, data: str | Path | EvaluationSet | None = None, split: str | None = None) -> Results:
    """Read a leaderboard.

    Hidden runs are included, without a rank; removed ones are not. What was changed outside the harness counts as
    everywhere else: such a score or file is none, and the run's status is "changed".

    Args:
        db: an SQLite file, or the URL of a database.
        data: the evaluation set that listeners, gains and scenes are read from: its folder, "demo" for the embedded
            one, or one that is loaded already. Its runs and those on other sets are read alike.
        split: of `data`, where that is a folder with several.

    Raises:
        HarnessError: the database cannot be read, or is no leaderboard; the evaluation set cannot be found, or is
            damaged.
    """
    evaluation_set = load_evaluation_set(data, split) if isinstance(data, str | Path) else data
    with leaderboard_errors(), Store.open(database_url(db, "the database"), create=False) as store:
        runs = store.whole_runs()
    return results_of(runs, evaluation_set)


@contextmanager
def leaderboard_errors() -> Iterator[None]:
    """Make the leaderboard's own errors a `HarnessError`, so that there is one kind to catch."""
    try:
        yield
    except LeaderboardError as error:
        raise HarnessError(str(error)) from error


def results_of(runs: Sequence[WholeRun], evaluation_set: EvaluationSet | None, only: int | None = None) -> Results:
    """The frames of runs, and those of an evaluation set if there is one.

    Args:
        runs: all runs of a leaderboard.
        evaluation_set: whose listeners, gains and scenes are wanted.
        only: number of the only run that is wanted; its rank is that among all.
    """
    frame = _runs_frame(runs)
    if only is not None:
        frame = frame[frame["run"] == only].reset_index(drop=True)
    pairs = _pairs_frame([run for run in runs if only in (None, run.scored.id)])
    if evaluation_set is None:
        return Results(frame, pairs)
    listeners = {who.id: who for scene in evaluation_set.whole for who in scene.listeners}.values()
    scenes = _scenes_frame(evaluation_set)
    known = {run.scored.id: _cpu_per_minute(run.costs, scenes) for run in runs}
    # By name: the hash would take the music, and results are of use without it.
    of_set = (frame["evaluation_set"] == evaluation_set.name) & (frame["split"] == evaluation_set.split)
    return Results(
        runs=frame.assign(cpu_per_minute=frame["run"].map(known).astype("float64").where(of_set)),
        pairs=pairs,
        listeners=_listeners_frame(listeners),
        audiograms=_audiograms_frame(listeners),
        gains=_gains_frame(evaluation_set),
        scenes=scenes,
    )


def _cpu_per_minute(costs: Sequence[PieceCost], scenes: DataFrame) -> float | None:
    """Seconds of processor time for a minute of the music that a system was given; None where that is not known.

    A piece is a song, which a separator is given once, or a scene and a listener, which an enhancer is given.
    """
    seconds = dict(zip(scenes["scene"], scenes["seconds"], strict=True))
    seconds.update(zip(scenes["song"], scenes["seconds"], strict=True))
    known = [(cost, seconds.get(cost.piece, seconds.get(cost.piece.partition(" ")[0]))) for cost in costs]
    music = sum(length for _, length in known if length)
    return sum(cost.cpu_seconds for cost, length in known if length) / music * 60 if music else None


# Runs

RUN_TYPES: Mapping[str, Any] = {
    "run": "int64", "label": "string", "name": "string", "system": "string", "version": "string", "settings": "object",
    "class": pd.CategoricalDtype(list(get_args(Class))), "basis": pd.CategoricalDtype(list(get_args(Basis))),
    "chain": "category",
    "verdict": "category", "cuts": "Int64", "look_ahead": "Int64", "whole_piece": "boolean", "delay": "Int64",
    "through": "Int64", "load_p50": "float64", "load_p99": "float64", "load_worst": "float64", "load_late": "Int64",
    "processor": "string", "parameters": "Int64", "training_data": "category", "licence": "string",
    "weights_sha256": "string", "team": "string", "contact": "string", "url": "string", "paper": "string",
    "description": "string", "submission": "string", "isolation": "category", "python": "string",
    "visibility": "category", "evaluation_set": "category", "split": "category", "evaluation_set_sha256": "category",
    "evaluator": "category", "engine": "category", "rank": "Int64", "group": "Int64", "status": "category",
    "why_not_ranked": "string", "mean": "float64", "low": "float64", "high": "float64", "left": "float64",
    "right": "float64", "scored": "int64", "due": "int64", "failed": "int64", "last_scored": "datetime64[ns, UTC]",
    "wall_seconds": "float64", "cpu_seconds": "float64", "cpu_per_minute": "float64", "peak_bytes": "Int64",
    "key": "string",
}  # fmt: skip
"""Columns of `Results.runs`, in their order, and the type of each."""


_OF_CAUSALITY = ("verdict", "cuts", "look_ahead", "whole_piece", "delay", "through")


def _runs_frame(runs: Sequence[WholeRun]) -> DataFrame:
    placed = _placed(boards(run.scored for run in runs if run.visibility == "shown"))
    if any(run.visibility == "hidden" for run in runs):
        # What is hidden takes nobody's rank or label.
        taken = {label for _, label in placed.values()}
        for key, (row, label) in _placed(boards(run.scored for run in runs)).items():
            placed.setdefault(key, (row, f"{label} #{key[0]}" if label in taken else label))
    records = [_run_record(run, *placed[run.scored.id, run.scored.fingerprint]) for run in runs]
    return _typed(records, {**RUN_TYPES, **_stem_types(run.scored.sums.stems for run in runs)})


def _stem_types(scored: Iterable[Iterable[str]]) -> dict[str, Any]:
    """The column of each stem that is scored anywhere, called as the stem is; they come last."""
    return dict.fromkeys(in_order({name for names in scored for name in names}), "float64")


def _placed(found: Iterable[Board]) -> dict[tuple[int, str], tuple[Row, str]]:
    """Each row of some boards with its label, by the number of its run and the evaluator."""
    return {
        (row.source.id, board.fingerprint): (row, label)
        for board in found
        for row, label in zip(board.rows, labels.labels(board), strict=True)
    }


def _run_record(run: WholeRun, row: Row, label: str) -> dict[str, Any]:
    source, declared, estimate = row.source, row.run, row.estimate
    record: dict[str, Any] = {
        name: getattr(declared, name) for name in RUN_TYPES if name in declared.__dataclass_fields__
    }
    hidden = run.visibility == "hidden" and row.status == "ranked"
    load = declared.load
    return {
        **record,
        "run": source.id,
        "label": label,
        "name": source.name,
        "settings": dict(declared.settings),
        "class": declared.class_,
        "basis": declared.basis,
        **{name: getattr(declared.causality, name, None) for name in _OF_CAUSALITY},
        "load_p50": load and load.cpu_p50,
        "load_p99": load and load.cpu_p99,
        "load_worst": load and load.cpu_worst,
        "load_late": load and load.cpu_late,
        "processor": load and load.processor,
        "visibility": run.visibility,
        "evaluation_set": source.evaluation_set.name,
        "split": source.evaluation_set.split,
        "evaluation_set_sha256": source.evaluation_set.sha256,
        "evaluator": source.fingerprint,
        "engine": labels.engine(row),
        "rank": None if hidden else row.rank,
        "group": None if hidden else row.group,
        "status": "hidden" if hidden else row.status,
        "why_not_ranked": f"hidden: harness runs unhide {source.id}" if hidden else row.why_not_ranked,
        "mean": estimate and estimate.mean,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "left": row.left,
        "right": row.right,
        "scored": row.scored,
        "due": row.due,
        "failed": source.failed,
        "last_scored": source.last_scored,
        "wall_seconds": sum(cost.wall_seconds for cost in run.costs) if run.costs else None,
        "cpu_seconds": sum(cost.cpu_seconds for cost in run.costs) if run.costs else None,
        "peak_bytes": max((cost.peak_bytes for cost in run.costs), default=None),
        **row.stems,
    }


def _typed(records: Iterable[Mapping[str, Any]], types: Mapping[str, Any]) -> DataFrame:
    """A frame with these columns of these types, whatever the records hold and however few there are."""
    frame = DataFrame(list(records), columns=list(types))
    for name, kind in types.items():
        if str(kind).startswith("datetime64"):
            # What pandas makes of text depends on the text; no run may have any.
            frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame.astype(dict(types))


# Pairs

_NAMES = ("scene", "listener", "track", "environment")
_CHOICES = {"state": ("pending", "enhanced", "scored", "failed"), "engine": ("locked", "fast")}
_NUMBERS: Mapping[str, Any] = {
    "left": "float64",
    "right": "float64",
    "score": "float64",
    "clipped": "Int64",
    "difference": "float64",
    "margin": "float64",
}
_TEXTS = ("reason", "file_sha256", "in_double")


def _pairs_frame(runs: Sequence[WholeRun]) -> DataFrame:
    lengths = [len(run.pairs.scene) for run in runs]
    columns: dict[str, Any] = {
        "run": pd.Series([run.scored.id for run in runs], dtype="int64").repeat(lengths).reset_index(drop=True),
        "evaluator": pd.Categorical([run.scored.fingerprint for run in runs]).repeat(lengths),
    }

    def joined(name: str) -> list[Any]:
        return [value for run in runs for value in getattr(run.pairs, name)]

    for name in _NAMES:
        columns[name] = pd.Categorical(joined(name))
    for name, choices in _CHOICES.items():
        columns[name] = pd.Categorical(joined(name), categories=choices)
    for name, kind in _NUMBERS.items():
        columns[name] = pd.Series(joined(name), dtype=kind)
    for name in _TEXTS:
        columns[name] = pd.Series(joined(name), dtype="string")
    assert {*columns, "stems"} == {"run", "evaluator", *PairColumns.__dataclass_fields__}
    for name, kind in _stem_types(run.pairs.stems for run in runs).items():
        of_runs = (run.pairs.stems.get(name, [None] * length) for run, length in zip(runs, lengths, strict=True))
        columns[name] = pd.Series([value for values in of_runs for value in values], dtype=kind)
    return DataFrame(columns)


# Evaluation set


def _listeners_frame(listeners: Iterable[Listener]) -> DataFrame:
    def record(who: Listener) -> dict[str, Any]:
        left, right = who.left.pure_tone_average, who.right.pure_tone_average
        return {
            "listener": who.id,
            "pta_left": left,
            "pta_right": right,
            "pta": who.better_ear_average,
            "asymmetry": right - left,
            "band": grade_of(who.better_ear_average),
        }

    types: dict[str, Any] = {
        "listener": "string",
        **dict.fromkeys(("pta_left", "pta_right", "pta", "asymmetry"), "float64"),
    }
    frame = _typed(map(record, listeners), {**types, "band": "object"})
    frame["band"] = pd.Categorical(frame["band"], categories=GRADES, ordered=True)
    return frame


def _audiograms_frame(listeners: Iterable[Listener]) -> DataFrame:
    records = (
        {"listener": who.id, "ear": ear, "frequency": frequency, "level": level}
        for who in listeners
        for ear, audiogram in (("left", who.left), ("right", who.right))
        for frequency, level in zip(audiogram.frequencies, audiogram.levels, strict=True)
    )
    return _typed(records, {"listener": "string", "ear": "category", "frequency": "float64", "level": "float64"})


def _gains_frame(evaluation_set: EvaluationSet) -> DataFrame:
    records = (
        {"scene": scene.id, "stem": stem, "gain": scene.gains[stem]} for scene in evaluation_set.whole for stem in STEMS
    )
    frame = _typed(records, {"scene": "string", "stem": "object", "gain": "float64"})
    frame["stem"] = pd.Categorical(frame["stem"], categories=STEMS)
    return frame


def _scenes_frame(evaluation_set: EvaluationSet) -> DataFrame:
    folders = {scene.folder: scene for scene in evaluation_set.whole}
    lengths = {folder: _seconds(scene) for folder, scene in folders.items()}
    records = (
        {
            "scene": scene.id,
            "track": scene.track,
            "song": scene.song,
            "form": "headphones" if scene.position is None else "loudspeakers",
            "position": scene.position,
            "left_angle": None if scene.angles is None else scene.angles[0],
            "right_angle": None if scene.angles is None else scene.angles[1],
            "seconds": lengths[scene.folder],
        }
        for scene in evaluation_set.whole
    )
    types = {"scene": "string", "track": "string", "song": "string", "form": "category", "position": "string"}
    return _typed(records, {**types, **dict.fromkeys(("left_angle", "right_angle", "seconds"), "float64")})


def _seconds(scene: Scene) -> float | None:
    """How long a scene's music lasts; None where it is not here: results are of use without it."""
    try:
        return scene.frames / PROTOCOL.sample_rate
    except DataError:
        return None
