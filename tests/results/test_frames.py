"""Data frames of a leaderboard: every column, its type, and what is NA; damage; the evaluation set's frames."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stored import (
    EVALUATION_SET,
    FILE,
    FINGERPRINT,
    LOAD,
    OTHER_FILE,
    PAIRS,
    RUN,
    STREAMED,
    WHOLE_PIECE,
    add,
    mark,
    reference,
)
from support import SPLIT, RunCli, TinySet

from harness.challenge import STEMS
from harness.errors import DataError, HarnessError, UsageError
from harness.hearing import GRADES, Audiogram, Listener, grade_of
from harness.music.layout import load
from harness.results.frames import Results, load_results
from harness_leaderboard.labels import labels
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import NewScore, PieceCost
from harness_leaderboard.store import Store

PAIR_COLUMNS = (
    "run, evaluator, scene, listener, track, environment, state, engine, left, right, score, clipped, "
    "difference, margin, reason, file_sha256, in_double"
)
RUN_COLUMNS = (
    "run, label, name, system, version, settings, class, basis, chain, verdict, cuts, look_ahead, whole_piece, delay, "
    "through, load_p50, load_p99, load_worst, load_late, processor, parameters, training_data, licence, "
    "weights_sha256, team, contact, url, paper, description, submission, isolation, python, visibility, "
    "evaluation_set, split, evaluation_set_sha256, evaluator, engine, rank, group, status, why_not_ranked, mean, low, "
    "high, left, right, scored, due, failed, last_scored, wall_seconds, cpu_seconds, cpu_per_minute, peak_bytes, key"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the leaderboard of a test lies."""
    return tmp_path / "board.db"


def start(store: Store, fingerprint: str = FINGERPRINT, **declared: Any) -> int:
    run = replace(RUN, **{"key": str(declared).rjust(64)[:64], **declared})
    return store.start_run(run, EVALUATION_SET, fingerprint, {"pyclarity": "0.9.0"}, PAIRS)


def fill(store: Store, run_id: int, first: float, file: str = FILE, fingerprint: str = FINGERPRINT) -> None:
    """Score every pair, 0.01 more from one to the next."""
    for index, pair in enumerate(PAIRS):
        score = first + 0.01 * index
        mark(store, run_id, pair.scene, pair.listener, file, clipped=index)
        add(store, pair.scene, pair.listener, score, score + 0.1, file=file, fingerprint=fingerprint)


def test_runs_are_those_of_the_boards(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        fill(store, start(store, system="worse", parameters=None), 0.3)
        fill(store, start(store, system="better", settings={"width": 0.5}, team="we"), 0.5, OTHER_FILE)
        unfinished = start(store, system="unfinished")
        store.mark_failed(unfinished, {("S1", "L1"): "out of memory"})
        (board,) = boards(store.runs())
        names = labels(board)
    runs = load_results(path).runs
    assert ", ".join(runs.columns) == RUN_COLUMNS
    assert list(runs["run"]) == [1, 2, 3]
    by_id = runs.set_index("run")
    for row, label in zip(board.rows, names, strict=True):
        found = by_id.loc[row.source.id]
        assert found["label"] == label
        assert found["status"] == row.status
        if row.estimate is None:
            assert pd.isna(found["mean"])
            assert pd.isna(found["low"])
        else:
            assert (found["mean"], found["low"], found["high"]) == (
                *(row.estimate.mean, row.estimate.low, row.estimate.high),
            )
            assert (found["left"], found["right"]) == (row.left, row.right)
        assert (found["scored"], found["due"], found["failed"]) == (row.scored, row.due, row.source.failed)
    assert list(runs["rank"][:2]) == [2, 1]
    assert pd.isna(by_id.loc[3, "rank"])
    assert by_id.loc[2, "settings"] == {"width": 0.5}
    assert by_id.loc[2, "team"] == "we"
    assert pd.isna(by_id.loc[1, "parameters"])
    assert by_id.loc[2, "parameters"] == RUN.parameters
    assert by_id.loc[3, "why_not_ranked"] == "0 of 4 pairs scored, 1 failed"
    assert pd.isna(by_id.loc[3, "engine"])


def test_classes_and_what_they_rest_on(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        start(store, system="believed", causal=True)
        start(store, system="streamed", causal=True, live=True, chain="live", causality=STREAMED, load=LOAD)
        start(store, system="caught", causality=WHOLE_PIECE)
    runs = load_results(path).runs.set_index("run")
    assert list(runs["class"]) == ["causal", "live", "non-causal"]
    assert list(runs["basis"]) == ["declared", "streamed", "measured"]
    assert list(runs["class"].cat.categories) == ["live", "causal", "non-causal"]
    assert list(runs["verdict"].astype(object).fillna("?")) == ["?", "causal", "not causal"]
    streamed = runs.loc[2]
    found = [streamed[name] for name in ("look_ahead", "delay", "through", "whole_piece", "load_p99", "load_late")]
    assert found == [219, 110, 329, False, 0.44, 0]
    assert pd.isna(runs.loc[3, "look_ahead"])
    assert runs.loc[3, "whole_piece"]
    assert runs.loc[1, ["look_ahead", "whole_piece", "load_p99", "processor"]].isna().all()


def test_types_do_not_depend_on_what_is_stored(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        empty = load_results(path)
        fill(store, start(store), 0.3)
    full = load_results(path)
    for name in ("runs", "pairs"):
        before, after = getattr(empty, name), getattr(full, name)
        assert before.empty
        for column in after.columns:
            if after[column].dtype == "category":
                assert before[column].dtype == "category"
            else:
                assert before[column].dtype == after[column].dtype, column
    types = {name: str(kind) for name, kind in full.runs.dtypes.items()}
    assert types["run"] == "int64"
    assert {types[name] for name in ("rank", "group", "parameters", "peak_bytes")} == {"Int64"}
    assert types["last_scored"] == "datetime64[ns, UTC]"
    types = {name: str(kind) for name, kind in full.pairs.dtypes.items()}
    assert ", ".join(types) == PAIR_COLUMNS
    names = "evaluator", "scene", "listener", "track", "environment", "state", "engine"
    assert {types[name] for name in names} == {"category"}
    assert {types[name] for name in ("left", "right", "score", "difference")} == {"float64"}
    assert types["clipped"] == "Int64"


def test_pairs_say_what_is_stored(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        run_id = start(store)
        mark(store, run_id, "S1", "L1", clipped=7)
        add(store, "S1", "L1", 0.25, 0.5)
        add(store, "S1", "L1", 0.25 + 1e-9, 0.5 - 3e-9, engine="fast")
        mark(store, run_id, "S1", "L2")
        fast = NewScore(FILE, reference("S1", "L2"), "fast", 0.1, 0.2, in_double=("left",), margin=1.5, closest="right")
        store.add_scores([fast], FINGERPRINT, {"fast": {"numpy": "2.0"}})
        mark(store, run_id, "S2", "L1", clipped=None)
        store.mark_failed(run_id, {("S2", "L2"): "it broke"})
    pairs = load_results(path).pairs
    assert list(pairs["state"]) == ["scored", "scored", "enhanced", "failed"]
    assert list(pairs["engine"])[:2] == ["locked", "fast"]
    assert pairs["engine"].isna().tolist() == [False, False, True, True]
    assert pairs["left"].tolist()[:2] == [0.25, 0.1]
    assert pairs["score"].tolist()[:2] == [0.375, (0.1 + 0.2) / 2]
    assert pairs["score"].isna().tolist() == [False, False, True, True]
    assert pairs["difference"][0] == pytest.approx(3e-9, rel=1e-6)
    assert pairs["difference"].isna().tolist() == [False, True, True, True]
    assert pairs["margin"].isna().tolist() == [True, False, True, True]
    assert pairs["in_double"].isna().tolist() == [True, False, True, True]
    assert (pairs["margin"][1], pairs["in_double"][1]) == (1.5, "left")
    assert pairs["clipped"][0] == 7
    assert pairs["clipped"].isna().tolist() == [False, False, True, True]
    assert pairs["reason"][3] == "it broke"
    assert pairs["reason"].isna().tolist() == [True, True, True, False]
    assert pairs["file_sha256"][0] == FILE
    assert pairs["file_sha256"].isna()[3]
    assert list(pairs["track"]) == [pair.track for pair in PAIRS]
    assert pairs["environment"].isna().tolist() == [False, False, True, True]
    assert pairs["environment"][0] == pairs["environment"][1]


def test_means_of_pairs_are_those_of_runs(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        fill(store, start(store, system="one"), 0.3)
        fill(store, start(store, system="two"), 0.4, OTHER_FILE)
    results = load_results(path)
    means = results.pairs.groupby("run")[["score", "left", "right"]].mean()
    runs = results.runs.set_index("run")
    np.testing.assert_allclose(means["score"], runs["mean"], rtol=1e-12)
    np.testing.assert_allclose(means[["left", "right"]], runs[["left", "right"]], rtol=1e-12)


def test_a_run_stands_once_under_each_evaluator(path: Path) -> None:
    other = "9" * 64
    with Store.open(f"sqlite:///{path}", create=True) as store:
        run_id = start(store)
        fill(store, run_id, 0.3)
        store.start_run(RUN, EVALUATION_SET, other, {"pyclarity": "1.0"}, PAIRS, run_id=run_id)
        fill(store, run_id, 0.4, fingerprint=other)
    results = load_results(path)
    assert list(results.runs["run"]) == [1, 1]
    assert set(results.runs["evaluator"]) == {FINGERPRINT, other}
    merged = results.pairs.merge(results.runs[["run", "evaluator", "mean"]], on=["run", "evaluator"])
    assert len(merged) == 8
    for _, of_one in merged.groupby("evaluator"):
        assert of_one["score"].mean() == pytest.approx(of_one["mean"].iloc[0], rel=1e-12)


def test_hidden_runs_are_there_without_a_rank_and_removed_ones_are_not(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        for system, first, file in (("a", 0.3, "1"), ("a", 0.5, "2"), ("b", 0.4, "3")):
            fill(store, start(store, system=system, submission=file), first, file * 64)
        store.set_visibility(2, "hidden", "a test")
        store.set_visibility(3, "removed", "a test")
    results = load_results(path)
    runs = results.runs.set_index("run")
    assert list(runs.index) == [1, 2]
    assert list(results.pairs["run"].unique()) == [1, 2]
    assert runs.loc[1, "rank"] == 1
    assert pd.isna(runs.loc[2, "rank"])
    assert pd.isna(runs.loc[2, "group"])
    assert list(runs["status"]) == ["ranked", "hidden"]
    assert runs.loc[2, "why_not_ranked"] == "hidden: harness runs unhide 2"
    assert runs.loc[2, "mean"] == pytest.approx(0.565)
    # The one that is shown is called as on its board.
    assert runs.loc[1, "label"] == "a"
    assert runs.loc[2, "label"] != "a"


CHANGES = {
    "a score": ("UPDATE scores SET left_score = 0.9, score = (0.9 + right_score) / 2 WHERE remix_id = 1", 3),
    "a file": (f"UPDATE remixes SET file_sha256 = '{OTHER_FILE}' WHERE id = 1", 3),
    "a score without a trigger": ("UPDATE scores SET left_score = 0.9, score = (0.9 + right_score) / 2", 0),
    "scores that are gone": ("DELETE FROM scores WHERE remix_id = 2", 3),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("triggers", [True, False])
def test_what_was_changed_by_hand_is_no_score(path: Path, what: str, triggers: bool) -> None:
    statement, left = CHANGES[what]
    with Store.open(f"sqlite:///{path}", create=True) as store:
        fill(store, start(store), 0.3)
        fill(store, start(store, system="another"), 0.5, "3" * 64)
        store.keep_summaries()
    with closing(sqlite3.connect(path)) as connection, connection:
        if not triggers:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    results = load_results(path)
    pairs = results.pairs[results.pairs["run"] == 1]
    assert pairs["score"].notna().sum() == left
    assert not (pairs["left"] == 0.9).any()
    status = results.runs.set_index("run")["status"]
    # With triggers a score that is gone is one that was never made.
    assert status[1] == ("incomplete" if what == "scores that are gone" and triggers else "changed")
    assert status[2] == ("changed" if left == 0 else "ranked")


def test_costs(path: Path) -> None:
    with Store.open(f"sqlite:///{path}", create=True) as store:
        run_id = start(store)
        store.keep_costs(run_id, [PieceCost("a", 1.5, 2.5, 10), PieceCost("b", 2.0, 3.0, 30)])
        start(store, system="unknown")
    runs = load_results(path).runs.set_index("run")
    assert (runs.loc[1, "wall_seconds"], runs.loc[1, "cpu_seconds"], runs.loc[1, "peak_bytes"]) == (3.5, 5.5, 30)
    assert runs.loc[2, ["wall_seconds", "cpu_seconds", "peak_bytes"]].isna().all()


def test_processor_time_is_for_a_minute_of_what_the_system_was_given(path: Path, tiny_set: TinySet) -> None:
    evaluation_set = load(tiny_set.root, SPLIT)
    one, two = evaluation_set.whole
    pieces = {
        # A separator is given a song once, an enhancer a scene for each listener.
        "separator": [PieceCost(one.song, 9.0, 2.0, 10), PieceCost(two.song, 9.0, 5.0, 10)],
        "enhancer": [PieceCost(" ".join(pair.id), 9.0, 1.0, 10) for pair in evaluation_set.all_pairs],
        "unknown": [PieceCost("something else", 9.0, 1.0, 10)],
    }
    about = replace(EVALUATION_SET, name=evaluation_set.name, split=SPLIT)
    with Store.open(f"sqlite:///{path}", create=True) as store:
        for system, costs in pieces.items():
            run = replace(RUN, key=system.rjust(64), system=system)
            store.keep_costs(store.start_run(run, about, FINGERPRINT, {"pyclarity": "0.9.0"}, PAIRS), costs)
    runs = load_results(path, evaluation_set).runs.set_index("system")
    minutes = sum(scene.frames for scene in evaluation_set.whole) / 44100 / 60
    assert runs.loc["separator", "cpu_per_minute"] == pytest.approx(7 / minutes)
    assert runs.loc["enhancer", "cpu_per_minute"] == pytest.approx(4 / (2 * minutes))
    assert pd.isna(runs.loc["unknown", "cpu_per_minute"])
    assert load_results(path).runs["cpu_per_minute"].isna().all()


def test_a_run_of_the_command_line_with_its_set(tiny_set: TinySet, run_cli: RunCli, tmp_path: Path) -> None:
    assert run_cli("run", "--system", "passthrough", *tiny_set.args, "--engine", "fast", "--limit", 1).code == 0
    results = load_results(tmp_path / "leaderboard.db", data=tiny_set.root)
    assert repr(results) == (
        "Results(runs: 1 rows, pairs: 4 rows, listeners: 2 rows, audiograms: 32 rows, gains: 8 rows, scenes: 2 rows)"
    )
    (run,) = results.runs.to_dict("records")
    assert (run["system"], run["status"], run["scored"], run["due"]) == ("passthrough", "incomplete", 2, 4)
    assert run["evaluation_set_sha256"] == load(tiny_set.root).sha256
    assert run["wall_seconds"] > 0
    assert run["label"] == "passthrough"
    assert run["mean"] == results.pairs["score"].mean()
    assert results.pairs["difference"].max() < 1e-6
    scenes = results.scenes
    assert scenes is not None
    assert list(scenes["form"]) == ["loudspeakers", "headphones"]
    assert list(scenes["position"].fillna("-")) == ["hlp_0001", "-"]
    assert scenes["left_angle"].isna().all()
    assert list(scenes["seconds"]) == pytest.approx([0.7, 0.7])
    joined = results.pairs.merge(scenes, on="scene").merge(results.listeners, on="listener")
    assert len(joined) == 4


def test_frames_of_an_evaluation_set(tiny_set: TinySet, path: Path) -> None:
    positions = {"hlp_0001": {"subject": "x", "left_angle": -30, "right_angle": 22.5, "mic": "front"}}
    tiny_set.metadata("gains").with_name("head_positions.json").write_text(json.dumps(positions))
    loaded = load(tiny_set.root, SPLIT)
    with Store.open(f"sqlite:///{path}", create=True):
        results = load_results(path, loaded)
    assert results.gains is not None
    for scene in loaded.whole:
        of_scene = results.gains[results.gains["scene"] == scene.id].set_index("stem")["gain"]
        assert of_scene.to_dict() == scene.gains
    assert list(results.gains["stem"].cat.categories) == list(STEMS)
    assert results.scenes is not None
    assert results.scenes.loc[0, ["left_angle", "right_angle"]].tolist() == [-30, 22.5]
    assert results.scenes.loc[1, ["left_angle", "right_angle"]].isna().all()
    listeners, audiograms = results.listeners, results.audiograms
    assert listeners is not None
    assert audiograms is not None
    averaged = audiograms[audiograms["frequency"].isin([500, 1000, 2000, 4000])]
    means = averaged.groupby(["listener", "ear"], observed=True)["level"].mean().unstack()
    np.testing.assert_allclose(means["left"], listeners.set_index("listener")["pta_left"])
    one, two = listeners.to_dict("records")
    # V1: 15, 20, 25, 40 and 15, 25, 30, 45. V2: 65, 70, 75, 85, and normal in the right ear.
    assert (one["pta_left"], one["pta_right"], one["pta"], one["asymmetry"]) == (25, 28.75, 25, 3.75)
    assert (one["band"], two["band"]) == ("mild", "normal")
    assert two["asymmetry"] == -73.75
    assert listeners["band"].cat.ordered
    assert list(listeners["band"].cat.categories) == list(GRADES)


def test_angles_change_no_hash(tiny_set: TinySet) -> None:
    before = load(tiny_set.root)
    positions = {"hlp_0001": {"left_angle": -30.0, "right_angle": 22.5}}
    tiny_set.metadata("gains").with_name("head_positions.json").write_text(json.dumps(positions))
    after = load(tiny_set.root)
    assert after.whole[0].angles == (-30.0, 22.5)
    assert (after.sha256, after.mixtures_sha256) == (before.sha256, before.mixtures_sha256)
    assert after.references() == before.references()


@pytest.mark.parametrize("content", ["{", "[]", '{"hlp_0001": {"left_angle": "x", "right_angle": 1}}'])
def test_damaged_positions_are_one_line(tiny_set: TinySet, content: str) -> None:
    tiny_set.metadata("gains").with_name("head_positions.json").write_text(content)
    with pytest.raises(DataError, match=r"head_positions\.json") as error:
        load(tiny_set.root)
    assert "\n" not in str(error.value)


def test_results_are_of_use_without_the_music(tiny_set: TinySet, path: Path) -> None:
    tiny_set.music().unlink()
    with Store.open(f"sqlite:///{path}", create=True):
        scenes = load_results(path, tiny_set.root).scenes
    assert scenes is not None
    assert scenes["seconds"].isna().tolist() == [True, False]


def test_wrong_arguments_are_one_line(tmp_path: Path, path: Path) -> None:
    path.write_text("no database")
    for db, data, kind in (
        (tmp_path / "none.db", None, HarnessError),
        (path, None, HarnessError),
        (path, tmp_path / "nowhere", UsageError),
        ("nonsense://x", None, HarnessError),
        ("~nobody-here/board.db", None, UsageError),
    ):
        with pytest.raises(kind) as error:
            load_results(db, data)
        assert str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("average", "grade"),
    [
        *((-5, "normal"), (19.9, "normal"), (20, "mild"), (34.9, "mild"), (35, "moderate"), (50, "moderately severe")),
        *((65, "severe"), (79.9, "severe"), (80, "profound"), (94.9, "profound"), (95, "complete"), (130, "complete")),
    ],
)
def test_grades(average: float, grade: str) -> None:
    assert grade_of(average) == grade


def test_an_average_needs_its_frequencies() -> None:
    whole = Audiogram((500.0, 1000.0, 2000.0, 4000.0, 6000.0), (10.0, 20.0, 30.0, 40.0, 99.0))
    assert whole.pure_tone_average == 25
    assert Listener("x", whole, Audiogram(whole.frequencies, (0.0,) * 5)).better_ear_average == 0
    with pytest.raises(ValueError, match="no threshold at 500, 4000 Hz"):
        _ = Audiogram((1000.0, 2000.0), (0.0, 0.0)).pure_tone_average


def test_every_frame_has_a_name() -> None:
    assert list(Results.__dataclass_fields__) == ["runs", "pairs", "listeners", "audiograms", "gains", "scenes"]


def test_stems_have_columns_where_some_are_scored(path: Path) -> None:
    eight = {"right_bass": 0.25, "left_vocals": 0.5, "left_bass": 0.75}
    with Store.open(f"sqlite:///{path}", create=True) as store:
        first, second = start(store), start(store, system="other")
        for listener, file in (("L1", FILE), ("L2", OTHER_FILE)):
            mark(store, first, "S1", listener, file)
            add(
                store,
                "S1",
                listener,
                0.5,
                0.25,
                file=file,
                stems={**eight, "left_bass": 0.75 if file == FILE else 0.25},
            )
        mark(store, second, "S2", "L1", "3" * 64)
        add(store, "S2", "L1", 0.1, 0.2, file="3" * 64)
    results = load_results(path)
    names = ["left_vocals", "left_bass", "right_bass"]
    assert list(results.runs.columns) == [*RUN_COLUMNS.split(", "), *names]
    assert list(results.pairs.columns) == [*PAIR_COLUMNS.split(", "), *names]
    assert set(map(str, results.pairs[names].dtypes)) == {"float64"}
    assert results.runs[names].iloc[0].tolist() == [0.5, 0.5, 0.25]
    assert results.runs[names].iloc[1].isna().all()
    scored = results.pairs[results.pairs["score"].notna()]
    assert scored["left_bass"].tolist()[:2] == [0.75, 0.25]
    assert results.pairs[names].notna().all(axis=1).sum() == 2
