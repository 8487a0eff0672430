"""The fast engine: its scores are the locked evaluator's, and a sample of them is checked."""

import json
import re
import sqlite3

import pytest
import soundfile
from scoring.scored import board, change, checks_in, differences, pairs_with

from harness.challenge import STEMS
from harness_leaderboard.records import CHECK_TOLERANCE

# Scores


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


# Checks


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
