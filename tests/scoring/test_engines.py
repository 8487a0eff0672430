"""The fast engine: its scores are the locked evaluator's, a sample of them is checked, and no disagreement is lost."""

import csv
import json
import math
import re
import shutil
import socket
import sqlite3
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import soundfile
from stored import seal_scores

import harness.haaqi.fast as fast_engine
from harness.challenge import PROTOCOL, STEMS
from harness.compute.executor import Lost
from harness.compute.local import LocalProcesses
from harness.errors import DataError, EvaluatorError
from harness.haaqi.agreement import ensure_agreement
from harness.haaqi.conformance import LISTENERS
from harness.haaqi.evaluator import Score
from harness.hearing import Listener
from harness.music.evaluationset import Pair, Scene
from harness.scoring import tasks, waiting
from harness.scoring.rows import COLUMNS
from harness.scoring.tasks import ScoreTask, in_chunks
from harness_leaderboard import checks
from harness_leaderboard.records import (
    CHECK_TOLERANCE,
    NewCheck,
    NewScore,
)
from harness_leaderboard.store import Store

SCORES = ("left_score", "right_score", "score")


def board(run_cli, system="passthrough"):
    (row,) = [row for row in run_cli("leaderboard", "--json").json if row["system"] == system]
    return row


PAIRS = (
    "FROM run_pairs JOIN set_pairs ON set_pairs.id = run_pairs.pair_id"
    " LEFT JOIN scores f ON f.remix_id = run_pairs.remix_id AND f.engine = 'fast'"
    " LEFT JOIN scores l ON l.remix_id = run_pairs.remix_id AND l.engine = 'locked'"
)


def checks_in(folder):
    """Scene, listener, part and checker of every stored check."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        return sorted(
            database.execute(
                "SELECT DISTINCT scene, listener, part, checked_by FROM checks"
                " JOIN run_pairs ON run_pairs.remix_id = checks.remix_id JOIN set_pairs ON set_pairs.id = pair_id"
            )
        )


def pairs_with(folder, condition):
    """Scene and listener of the pairs for which an SQL condition holds; f and l are the engines' scores."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        return sorted(database.execute(f"SELECT scene, listener {PAIRS} WHERE {condition}"))


def change(folder, *statements):
    """Change scores as if the program had stored others; what it has summed up goes with them."""
    with sqlite3.connect(folder / "leaderboard.db") as database:
        for statement in statements:
            database.execute(*statement)
        database.execute("DELETE FROM summaries")
    with Store.open(f"sqlite:///{folder / 'leaderboard.db'}", create=True) as store:
        seal_scores(store)


def differences(some, others):
    """Largest difference of any score between two lists of rows for the same pairs."""
    assert [(row["scene"], row["listener"]) for row in some] == [(row["scene"], row["listener"]) for row in others]
    return max(abs(one[key] - other[key]) for one, other in zip(some, others, strict=True) for key in SCORES)


@pytest.fixture
def score(run_cli, tiny_set, submission):
    """`score(*args)`: score passthrough's submission with the fast engine, in this process."""
    return lambda *args: run_cli("score", submission, *tiny_set.args, "--engine", "fast", "--workers", "1", *args)


@pytest.fixture
def wrong(monkeypatch):
    """`wrong(error)`: make the fast engine wrong by so much in the right ear, or have it raise an exception."""
    ensure_agreement()  # while it is right
    right = fast_engine.score_pair

    def make(error):
        def score_pair(*args, **options):
            if isinstance(error, Exception):
                raise error
            found = right(*args, **options)
            return replace(found, right=found.right + (error if found.right < 0.5 else -error))

        monkeypatch.setattr(fast_engine, "score_pair", score_pair)

    return make


@pytest.fixture
def often(monkeypatch):
    """Have the locked evaluator check one part in four, as it does one in 640."""
    monkeypatch.setattr(checks, "PARTS_PER_CHECK", 4)


# Through the command line


def test_the_fast_engine_gives_the_locked_scores_on_real_music(run_cli):
    command = ("run", "--system", "passthrough", "--scenes", "scene_00003", "--workers", "2", "--json")
    fast = run_cli(*command, "--engine", "fast")
    assert fast.code == 0, fast.stderr
    due = {"name": "fast", "fast": 2, "parts": 4, "checked": 0, "checked_in_double": 2}
    assert fast.json["engine"].items() >= due.items()
    assert fast.json["engine"]["largest_difference"] <= CHECK_TOLERANCE
    assert board(run_cli)["status"] == "incomplete"
    locked = run_cli(*command)
    assert locked.code == 0, locked.stderr
    assert "2 pairs scored by the fast engine are scored again by the locked evaluator" in locked.stderr
    # A locked score of a pair is a check of both ears.
    assert locked.json["engine"].items() >= {**due, "name": "locked", "checked": 4}.items()
    assert locked.json["engine"]["largest_difference"] <= CHECK_TOLERANCE
    assert locked.json["evaluator"] == fast.json["evaluator"]
    # Where both engines scored a file the locked one counts, and the fast one is not that under another name.
    assert 0 < differences(fast.json["scores"], locked.json["scores"]) <= CHECK_TOLERANCE


def test_going_on_with_the_other_engine(score, run_cli, tmp_path):
    first = score("--limit", "1", "--json")
    assert first.code == 0, first.stderr
    assert first.json["engine"].items() >= {"fast": 2, "parts": 4, "checked": 0, "checked_in_double": 2}.items()
    # Locked scores for the other scene; then the fast engine has nothing to do, and replaces nothing.
    other = score("--scenes", "scene_V002", "--engine", "locked", "--json")
    assert other.code == 0, other.stderr
    assert other.json["engine"].items() >= {"name": "locked", "fast": 2, "checked": 0}.items()
    both = score("--json")
    assert "4 pairs are scored already" in both.stderr
    assert both.json["scores"] == first.json["scores"] + other.json["scores"]
    assert pairs_with(tmp_path, "f.score IS NOT NULL") == [("scene_V001", "V1"), ("scene_V001", "V2")]
    assert (board(run_cli)["scored"], board(run_cli)["engine"], board(run_cli)["rank"]) == (4, "mixed", 1)

    locked = score("--engine", "locked", "--json")
    assert "2 pairs are scored already" in locked.stderr
    assert "2 pairs scored by the fast engine are scored again by the locked evaluator" in locked.stderr
    assert len(pairs_with(tmp_path, "l.score IS NOT NULL")) == 4
    assert len(pairs_with(tmp_path, "f.score IS NOT NULL")) == 2
    assert 0 < differences(locked.json["scores"], both.json["scores"]) <= CHECK_TOLERANCE
    assert locked.json["engine"]["checked"] == 4


def test_everything_in_double_precision(score, run_cli, tmp_path):
    single = score("--limit", "1", "--json")
    assert single.code == 0, single.stderr
    double = score("--engine", "fast64", "--json")
    assert double.code == 0, double.stderr
    assert "2 pairs scored by the fast engine are scored again in double precision" in double.stderr
    assert double.json["engine"].items() >= {"name": "fast64", "fast": 4, "parts": 8, "in_double": 8}.items()
    # Nothing is left for double precision to check; what it checked were other scores.
    assert double.json["engine"].items() >= {"checked": 0, "checked_in_double": 0}.items()
    assert (board(run_cli)["engine"], board(run_cli)["rank"]) == ("fast64", 1)
    assert "fast64 ✓" in run_cli("leaderboard", "--columns", "system,engine").stdout
    assert 0 < differences(single.json["scores"], double.json["scores"][:2]) <= CHECK_TOLERANCE
    # Neither engine has anything to do, nor takes away what is better.
    for engine in ("fast", "fast64"):
        again = score("--engine", engine, "--json")
        assert "4 pairs are scored already" in again.stderr
        assert again.json["scores"] == double.json["scores"]
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        stored = set(database.execute("SELECT engine, in_double, margin, closest FROM scores"))
    assert stored == {("fast", "left right", None, None)}


def test_a_run_in_parts_is_checked_as_much_as_a_whole_one(score, run_cli, tmp_path, often):
    for scene in ("scene_V002", "scene_V001"):
        outcome = score("--scenes", scene)
        assert outcome.code == 0, outcome.stderr
    checked = checks_in(tmp_path)
    by = [each[3] for each in checked]
    assert (by.count("locked"), by.count("fast64")) == (2, 2)
    assert re.search(
        r"fast engine: \d of 8 ears in double precision; 2 checked by the locked evaluator, 2 by double precision, "
        r"largest difference \de-\d\d",
        outcome.stderr,
    )
    assert board(run_cli)["rank"] == 1
    assert board(run_cli).items() >= {"parts": 8, "checked": 2, "checked_in_double": 2}.items()
    # Nothing is scored or checked again, and no pair was scored whole to check a part of it.
    change(tmp_path, ("UPDATE scores SET scored_at = '2000-01-01T00:00:00Z'",))
    times = "SELECT remix_id, engine, left_score, scored_at FROM scores"
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        before = sorted(database.execute(times), key=str)
    assert len(before) == 4
    assert "4 pairs are scored already" in score().stderr
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        assert sorted(database.execute(times), key=str) == before
    assert checks_in(tmp_path) == checked


def test_checks_are_what_both_give_for_the_ear(score, submission, tiny_set, often, tmp_path):
    assert score().code == 0
    found = {}
    for engine in ("locked", "fast64"):
        database = f"sqlite:///{tmp_path}/{engine}.db"
        rows = score("--engine", engine, "--json", "--db", database).json["scores"]
        found[engine] = {(row["scene"], row["listener"]): row for row in rows}
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        stored = database.execute(
            "SELECT scene, listener, part, checked_by, checks.score, fast_score, scores.left_score, scores.right_score"
            " FROM checks JOIN scores ON scores.remix_id = checks.remix_id"
            " JOIN run_pairs ON run_pairs.remix_id = checks.remix_id JOIN set_pairs ON set_pairs.id = pair_id"
        ).fetchall()
    assert len(stored) == 4
    for scene, listener, part, by, value, fast, *ears in stored:
        assert value == pytest.approx(found[by][scene, listener][f"{part}_score"], abs=0 if by == "locked" else 1e-13)
        assert fast == ears[("left", "right").index(part)]


def test_scores_that_nobody_checked_are_checked_by_the_next_call(score, run_cli, tmp_path, often):
    assert score().code == 0
    change(tmp_path, ("DELETE FROM checks",))
    assert board(run_cli).items() >= {"status": "unchecked", "rank": None}.items()
    assert board(run_cli)["why_not_ranked"] == (
        "0 of 2 checks by the locked evaluator made, 0 of 2 checks by double precision made"
    )
    # Also where other scenes are asked for: they are checks of the run.
    outcome = score("--scenes", "scene_V001", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["engine"].items() >= {"checked": 2, "checked_in_double": 2}.items()
    assert len(checks_in(tmp_path)) == 4
    assert board(run_cli)["rank"] == 1


def test_a_check_of_another_score_is_none(score, run_cli, tmp_path):
    assert score().code == 0
    change(tmp_path, ("UPDATE scores SET left_score = left_score - 1e-9, right_score = right_score + 1e-9",))
    assert board(run_cli).items() >= {"status": "unchecked", "checked_in_double": 0, "largest_difference": None}.items()
    # It is the stored score that is checked then, and it stays.
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        before = sorted(database.execute("SELECT left_score FROM scores"))
    outcome = score("--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["engine"]["checked_in_double"] == 2
    assert outcome.json["engine"]["largest_difference"] > 5e-10
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        assert sorted(database.execute("SELECT left_score FROM scores")) == before


@pytest.mark.parametrize("by", ["the locked evaluator", "its double precision"])
def test_a_wrong_engine_stops_the_scoring_and_its_run_is_not_ranked(
    by, score, run_cli, wrong, submission, tmp_path, monkeypatch
):
    if by == "the locked evaluator":
        monkeypatch.setattr(checks, "PARTS_PER_CHECK", 1)
    wrong(1e-5)
    # Both ears of all pairs are checked by the one, two ears by the other; only right ones are wrong.
    monkeypatch.setattr(checks, "SHARE_IN_DOUBLE", 1)
    outcome = score("--limit", "1")
    assert outcome.code == 1
    assert outcome.error.startswith(f"{submission} scene_V001 V")
    assert "the fast engine gives the right ear 0." in outcome.error
    assert f", {by} 0." in outcome.error
    assert "--engine locked" in outcome.error
    assert "harness evaluator verify --engine fast" in outcome.error
    # The disagreement is kept.
    found = board(run_cli)
    assert (found["rank"], found["status"]) == (None, "disputed")
    assert found["largest_difference"] == pytest.approx(1e-5, rel=1e-2)
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        disputed = f"SELECT part FROM checks WHERE abs(score - fast_score) > {CHECK_TOLERANCE}"
        assert {part for (part,) in database.execute(disputed)} == {"right"}


def test_a_disputed_pair_is_scored_and_checked_again(score, run_cli, tmp_path):
    assert score().code == 0
    # Not one of the sample: what was disputed before, say when only a part was scored, is not forgotten.
    checked = {each[:2] for each in checks_in(tmp_path)}
    unchecked = next(each for each in pairs_with(tmp_path, "l.score IS NULL") if each not in checked)
    change(
        tmp_path,
        (
            "INSERT INTO scores (remix_id, evaluator_id, engine, left_score, right_score, score, environment_id,"
            " scored_at) SELECT f.remix_id, f.evaluator_id, 'locked', f.left_score + 2e-6, f.right_score,"
            f" f.score + 1e-6, f.environment_id, f.scored_at {PAIRS} WHERE scene = ? AND listener = ?",
            unchecked,
        ),
    )
    assert board(run_cli)["rank"] is None
    outcome = score("--json")
    assert outcome.code == 0, outcome.stderr
    assert "3 pairs are scored already" in outcome.stderr
    assert unchecked in pairs_with(tmp_path, f"abs(f.left_score - l.left_score) <= {CHECK_TOLERANCE}")
    assert outcome.json["engine"]["checked"] == 2
    assert board(run_cli)["rank"] == 1


@pytest.mark.parametrize("by", ["locked", "fast64"])
def test_a_disputed_part_is_scored_and_checked_again_by_the_same(by, score, run_cli, tmp_path, often):
    assert score().code == 0
    part = next(each for each in checks_in(tmp_path) if each[3] == by)
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        pair = store.find_run(1).pairs[part[:2]]
        fast = getattr(pair.fast, part[2])
        bad = NewCheck(pair.file_sha256, pair.reference_sha256, part[2], by, fast + 2e-6, fast)
        environment = {"python": "another"}
        fingerprint = store.find_run(1).status.fingerprint
        store.add_scores([], fingerprint, {"locked": environment, "fast": environment}, [bad])
    assert board(run_cli)["status"] == "disputed"
    outcome = score("--json")
    assert outcome.code == 0, outcome.stderr
    assert "3 pairs are scored already" in outcome.stderr
    assert outcome.json["engine"].items() >= {"checked": 2, "checked_in_double": 2}.items()
    assert board(run_cli)["rank"] == 1


def test_the_locked_evaluator_settles_a_dispute(score, run_cli, wrong, monkeypatch):
    wrong(1e-5)
    monkeypatch.setattr(checks, "SHARE_IN_DOUBLE", 1)
    assert score().code == 1
    outcome = score("--engine", "locked", "--json")
    assert outcome.code == 0, outcome.stderr
    # The wrong scores that were stored are still known, and decide nothing any more.
    assert outcome.json["engine"]["name"] == "locked"
    assert outcome.json["engine"]["checked"] == 2 * outcome.json["engine"]["fast"] > 0
    assert outcome.json["engine"]["largest_difference"] == pytest.approx(1e-5, rel=1e-2)
    assert board(run_cli)["rank"] == 1
    assert board(run_cli)["engine"] == "locked"


def test_an_engine_that_fails_where_the_locked_one_does_not_disagrees(score, run_cli, wrong):
    wrong(EvaluatorError("no luck today"))
    outcome = score()
    assert outcome.code == 1
    assert "the fast engine gives no score (no luck today), the locked evaluator 0." in outcome.error
    assert board(run_cli)["scored"] == 0


def test_an_engine_that_scores_where_the_locked_one_fails_disagrees(score, run_cli, tmp_path, monkeypatch, often):
    def fails(*_):
        raise EvaluatorError("HAAQI fails on the left ear")

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "score_ear", fails)
        outcome = score("--limit", "1")
    assert outcome.code == 1
    assert "ear 0." in outcome.error
    assert "the locked evaluator no score (HAAQI fails on the left ear)" in outcome.error
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        (failed,) = database.execute(f"SELECT scene, listener {PAIRS} WHERE state = 'failed'")
    # It is checked again, also where the sample is another one.
    again = score()
    assert again.code == 0, again.stderr
    assert failed in pairs_with(tmp_path, "f.score IS NOT NULL AND l.score IS NOT NULL")


def test_where_a_pair_cannot_be_scored_another_one_is_checked(score, tiny_set, submission):
    # Music that consists of a click, on which HAAQI itself fails, in either engine.
    for name in ("mixture", *STEMS):
        path = tiny_set.music(name, "scene_V002")
        click, rate = soundfile.read(path)
        click[:] = 0
        click[20000] = 0.5
        soundfile.write(path, click, rate, subtype="PCM_16")
    manifest = json.loads((submission / "submission.json").read_text())
    manifest["evaluation_set"]["mixtures_sha256"] = None
    (submission / "submission.json").write_text(json.dumps(manifest))
    outcome = score("--json")
    assert outcome.code == 1
    assert [failure["scene"] for failure in outcome.json["failures"]] == ["scene_V002"] * 2
    assert "HAAQI" in outcome.json["failures"][0]["reason"]
    assert outcome.json["engine"].items() >= {"fast": 2, "parts": 4, "checked_in_double": 2}.items()


# Several submissions


@pytest.fixture
def other(run_cli, tiny_set, tmp_path):
    """Another submission: the reference system's."""
    made = run_cli("enhance", "--system", "oracle", *tiny_set.args, "--output", tmp_path / "oracle")
    assert made.code == 0, made.stderr
    return tmp_path / "oracle"


@pytest.mark.parametrize("evaluator", ["fast", "locked"])
def test_several_submissions_score_as_one_by_one(evaluator, run_cli, tiny_set, submission, other, tmp_path):
    folders = [submission, other]
    command = ("--engine", evaluator, *tiny_set.args, "--workers", "2", "--json")
    if evaluator == "locked":
        command += ("--limit", "1")
    together = run_cli("score", *folders, *command)
    assert together.code == 0, together.stderr
    assert [each["submission"] for each in together.json] == [str(folder) for folder in folders]
    assert together.json[0]["run"] != together.json[1]["run"]
    for folder, each in zip(folders, together.json, strict=True):
        alone = run_cli("score", folder, *command, "--db", f"sqlite:///{tmp_path}/{folder.name}-{evaluator}.db")
        assert alone.code == 0, alone.stderr
        assert each["key"] == alone.json["key"]
        assert differences(each["scores"], alone.json["scores"]) == 0
        assert (
            each["engine"]["checked_in_double"]
            == alone.json["engine"]["checked_in_double"]
            == (2 if evaluator == "fast" else 0)
        )


def test_an_invalid_submission_does_not_keep_the_others_from_being_scored(run_cli, tiny_set, submission, other):
    (other / tiny_set.names[0]).unlink()
    command = ("score", other, submission, *tiny_set.args, "--engine", "fast", "--workers", "1", "--limit", "1")
    outcome = run_cli(*command)
    assert outcome.code == 1
    assert f"not valid, so not scored: {other}; fix what is reported" in outcome.error
    assert f"  {tiny_set.names[0]}: " in outcome.stdout
    assert board(run_cli)["scored"] == 2
    assert [row["system"] for row in run_cli("leaderboard", "--json").json] == ["passthrough"]
    listed = run_cli(*command, "--json")
    assert listed.code == 1
    assert [each.get("verdict", each.get("scored")) for each in listed.json] == ["not valid", 2]


def test_scores_of_several_go_to_one_file(run_cli, tiny_set, submission, other, tmp_path):
    command = (*tiny_set.args, "--engine", "fast", "--workers", "1", "--limit", "1", "--csv", "scores.csv")
    assert run_cli("score", submission, other, *command).code == 0
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["submission", *COLUMNS]
    assert [row["submission"] for row in rows] == [str(submission)] * 2 + [str(other)] * 2
    assert run_cli("score", submission, *command).code == 0
    with (tmp_path / "scores.csv").open(newline="") as file:
        alone = list(csv.DictReader(file))
    assert list(alone[0]) == list(COLUMNS)
    assert [{key: row[key] for key in COLUMNS} for row in rows[:2]] == alone


def test_a_copied_submission_is_a_run_of_its_own_and_scored_once(run_cli, tiny_set, submission, tmp_path):
    twin = shutil.copytree(submission, tmp_path / "twin")
    outcome = run_cli("score", submission, twin, *tiny_set.args, "--limit", "1", "--workers", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    one, other = outcome.json
    assert one["run"] != other["run"]
    assert one["scores"] == other["scores"]
    assert len(pairs_with(tmp_path, "l.score IS NOT NULL")) == 4
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        assert database.execute("SELECT count(*) FROM scores").fetchone() == (2,)


def test_what_declares_the_same_but_has_other_files_is_another_submission(run_cli, tiny_set, submission, tmp_path):
    """As two teams do whose folders have the same name and no manifest."""
    folders = []
    for team in ("a", "b"):
        folders.append(shutil.copytree(submission, tmp_path / team / "remixes"))
        (folders[-1] / "submission.json").unlink()
    path = folders[1] / tiny_set.names[0]
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples // 2, rate, subtype="PCM_16")
    command = (*tiny_set.args, "--engine", "fast", "--workers", "1", "--limit", "1", "--json")
    first = run_cli("score", *folders, *command).json
    assert first[0]["run"] != first[1]["run"]
    assert first[0]["scores"][0] != first[1]["scores"][0]
    assert first[0]["scores"][1] == first[1]["scores"][1]
    # In whatever order they come, and alone, they are known again.
    again = run_cli("score", *reversed(folders), *command)
    assert "4 pairs are scored already" in again.stderr
    assert again.json == first[::-1]
    assert run_cli("score", folders[1], *command).json["run"] == first[1]["run"]


# Chunks


def tasks_of(scenes, listeners, submissions, engine="fast", check=(), by="locked"):
    people = [Listener(f"L{index:04}", LISTENERS["V1"].left, LISTENERS["V1"].right) for index in range(listeners)]
    return [
        ScoreTask(pair, folder, "0" * 64, (), engine, (("left", by),) if pair.id in check else ())
        for index in range(scenes)
        for scene in [
            Scene(f"scene_{index:05}", "song", "track", dict.fromkeys(STEMS, 0), tuple(people), Path("music"))
        ]
        for pair in (Pair(scene, who) for who in people)
        for folder in map(Path, map(str, range(submissions)))
    ]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 1), (7, 5, 3), (2, 3, 50), (40, 2, 2)])
def test_chunks_are_neighbours_of_one_scene(shape, workers):
    tasks = tasks_of(*shape)
    chunks = in_chunks(tasks, workers)
    assert [task for chunk in chunks for task in chunk] == tasks
    assert all(len({task.pair.scene.id for task in chunk}) == 1 for chunk in chunks)
    left, submissions = len(tasks), shape[2]
    for chunk, following in pairwise([*chunks, ()]):
        largest = max(3, math.ceil(left / (2 * workers)))
        assert 1 <= len(chunk) <= largest
        if following and chunk[-1].pair.id == following[0].pair.id:
            assert submissions > largest, "a listener's tasks were split"
        elif following and chunk[-1].pair.scene.id == following[0].pair.scene.id:
            assert len(chunk) + submissions > largest, "the next listener's tasks had room"
        left -= len(chunk)
    assert left == 0


def test_chunks_are_whole_scenes_first_and_small_ones_last():
    """A scene costs each worker that has a part of it; and at the end nobody should wait for another's long chunk."""
    assert [len(chunk) for chunk in in_chunks(tasks_of(5, 20, 1), 2)] == [20, 20, 15, 5, 10, 8, 2, 5, 4, 3, 3, 3, 2]


def test_what_is_to_be_checked_comes_first_and_alone():
    check = {("scene_00001", "L0002"), ("scene_00002", "L0000")}
    tasks = tasks_of(3, 4, 2, check=check)
    chunks = in_chunks(tasks, 1)
    first = [(task,) for task in tasks if task.checks]
    assert len(first) == 4
    assert chunks[:4] == first
    assert [task for chunk in chunks[4:] for task in chunk] == [task for task in tasks if not task.checks]


def test_chunks_with_something_that_double_precision_checks_come_before_the_others():
    tasks = tasks_of(3, 4, 2, check={("scene_00001", "L0002")}, by="fast64")
    chunks, plain = in_chunks(tasks, 1), in_chunks(tasks_of(3, 4, 2), 1)
    assert [[task.pair.id for task in chunk] for chunk in chunks[1:]] == [
        [task.pair.id for task in chunk]
        for chunk in plain
        if ("scene_00001", "L0002") not in {t.pair.id for t in chunk}
    ]
    assert ("scene_00001", "L0002") in {task.pair.id for task in chunks[0]}
    assert len(chunks[0]) > 1


def test_the_locked_evaluator_takes_pair_by_pair():
    tasks = tasks_of(2, 3, 2, engine="locked")
    assert in_chunks(tasks, 2) == [(task,) for task in tasks]
    assert in_chunks([], 2) == []


@pytest.mark.parametrize(("workers", "pairs"), [(1, 20), (16, 20), (1000, 5)])
def test_far_workers_are_handed_whole_scenes(workers, pairs, monkeypatch):
    """Handing out a task costs the main process milliseconds: it must not be what a thousand workers wait for."""
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    tasks = tasks_of(960, 20, 1, engine="locked")
    chunks = in_chunks(tasks, workers, far=True)
    assert [task for chunk in chunks for task in chunk] == tasks
    assert {len(chunk) for chunk in chunks} == {pairs}


def test_no_chunk_outlives_a_far_worker(monkeypatch):
    """A scene's chunk may hold many submissions: the job's time would be up before it is scored."""
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="locked"), 2, far=True))) == 30
    monkeypatch.setattr(Scene, "frames", 600 * PROTOCOL.sample_rate)
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="locked"), 2, far=True))) == 1
    assert max(map(len, in_chunks(tasks_of(10, 20, 10, engine="fast"), 2, far=True))) == 5


# Executors


class Fake:
    """An executor that loses some tasks, and else works in this process."""

    workers, far = 1, True

    def __init__(self, deadly):
        self.deadly, self.given = deadly, []

    def map_unordered(self, function, tasks, idle):
        for chunk in tasks:
            self.given.append(len(chunk.tasks))
            lost = any(task.pair.id == self.deadly for task in chunk.tasks)
            yield chunk, Lost("its worker process died 3 times") if lost else function(chunk)


def test_of_a_chunk_that_ends_its_workers_only_the_guilty_pair_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(tasks, "_score_one", lambda task: Score(0.5, 0.5))
    monkeypatch.setattr(Scene, "frames", 10 * PROTOCOL.sample_rate)
    todo = [
        replace(task, folder=tmp_path, pair=replace(task.pair, scene=replace(task.pair.scene, folder=tmp_path)))
        for task in tasks_of(8, 5, 1)
    ]
    executor = Fake(("scene_00002", "L0003"))
    found = {task.pair.id: outcome for results, _ in tasks.score(todo, executor) for task, outcome in results}
    assert len(found) == len(todo)
    assert found.pop(("scene_00002", "L0003")) == "its worker process died 3 times"
    assert set(found.values()) == {Score(0.5, 0.5)}
    assert executor.given == [5] * 8 + [1] * 5


def test_a_machine_that_does_not_see_the_files_is_named(tmp_path):
    (task,) = tasks_of(1, 1, 1)
    task = replace(
        task, folder=tmp_path / "gone", pair=replace(task.pair, scene=replace(task.pair.scene, folder=tmp_path))
    )
    with pytest.raises(
        DataError, match=f"{socket.gethostname()} does not see {tmp_path}/gone: what is scored must stay"
    ):
        list(tasks.score([task], LocalProcesses(1)))


def test_a_worker_with_another_evaluator_is_named(monkeypatch, tmp_path, score):
    tasks._proven.cache_clear()
    real = tasks.lock.source_problems
    monkeypatch.setattr(tasks.lock, "source_problems", lambda protocol: ["clarity/x.py has been changed"])
    monkeypatch.setattr("harness.haaqi.lock.ensure_locked", lambda protocol: None)
    refused = score()
    assert refused.code == 1
    assert f"error: {socket.gethostname()}: the evaluator is not the locked one: clarity/x.py" in refused.stderr
    monkeypatch.setattr(tasks.lock, "source_problems", real)
    # Its own lock is another one.
    described = tasks.described
    monkeypatch.setattr(
        tasks, "described", lambda protocol: replace(described(protocol), host="n7", fingerprint="1" * 64)
    )
    refused = score()
    tasks._proven.cache_clear()
    assert refused.code == 1
    assert "n7 scores with another evaluator (111111111111) than this machine (16b8" in refused.stderr


def test_a_score_has_the_environment_of_who_computed_it(monkeypatch, score, tmp_path):
    tasks._proven.cache_clear()
    environment = tasks.lock.environment
    monkeypatch.setattr(tasks.lock, "environment", lambda: {**environment(), "platform": "another node"})
    assert score("--limit", "1").code == 0
    tasks._proven.cache_clear()
    with sqlite3.connect(tmp_path / "leaderboard.db") as database:
        details = [json.loads(each) for (each,) in database.execute("SELECT details FROM environments")]
    assert {each["platform"] for each in details} == {"another node"}


def test_scores_of_one_moment_are_one_transaction(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    proof = tasks.described(PROTOCOL)
    held = waiting.Waiting()
    new = NewScore("1" * 64, "2" * 64, "fast", 0.5, 0.5, False, None)

    def came(count, after):
        clock[0] += after
        held.add([new] * count, proof)
        if held.due(came=True):
            return [len(scores) for scores, _, _ in held.take()]
        return None

    # What comes slowly is stored at once.
    assert came(1, 5) == [1]
    assert came(20, 0.2) == [20]
    # What comes fast waits for half a second, or until there are fifty.
    assert came(1, 0.05) is None
    assert [came(1, 0.09) for _ in range(5)] == [None, None, None, None, [6]]
    assert came(49, 0.01) is None
    assert came(1, 0.01) == [50]
    # While nothing comes, what waits does not wait for the next.
    assert came(1, 0.05) is None
    clock[0] += 0.09
    assert not held.due(came=False)
    clock[0] += 0.02
    assert held.due(came=False)
    # What could not be stored waits on.
    next(held.take())
    assert [len(scores) for scores, _, _ in held.take()] == [1]
    assert not held.due(came=False)
    other = replace(proof, host="n2")
    held.add([new], other)
    held.add([new], proof)
    assert sorted(len(scores) for scores, _, _ in held.take()) == [1, 1]
    assert list(held.take()) == []
    # Checks count as scores do.
    check = NewCheck("1" * 64, "2" * 64, "left", "locked", 0.5, 0.5)
    clock[0] += 5
    held.add([], proof, [check])
    assert held.due(came=True)
    assert [(scores, found) for scores, found, _ in held.take()] == [([], [check])]
