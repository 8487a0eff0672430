"""Where the fast engine and what checks it disagree, that is said, kept, and settled by scoring again."""

import sqlite3
from dataclasses import replace

import pytest
from scoring.scored import PAIRS, board, change, checks_in, pairs_with

import harness.haaqi.fast as fast_engine
from harness.errors import EvaluatorError
from harness.haaqi.agreement import ensure_agreement
from harness.scoring import tasks
from harness_leaderboard import checks
from harness_leaderboard.records import CHECK_TOLERANCE, NewCheck
from harness_leaderboard.store import Store


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
