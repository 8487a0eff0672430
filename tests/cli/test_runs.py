"""harness runs: what is managed, what is kept, and what a corrected declaration costs."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import tuple_, update

from harness_leaderboard.facts import stored_scores
from harness_leaderboard.keptchecks import stored_checks
from harness_leaderboard.models import CheckRow, ScoreRow
from harness_leaderboard.records import PieceCost
from harness_leaderboard.store import Store


@pytest.fixture
def scored(run_cli, tiny_set, submission):
    """passthrough's submission, entered by the fast engine: run 1."""
    outcome = run_cli("score", submission, *tiny_set.args, "--engine", "fast", "--workers", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    return outcome.json


def correct(folder: Path, **declared: object) -> None:
    manifest = json.loads((folder / "submission.json").read_text())
    (folder / "submission.json").write_text(json.dumps({**manifest, **declared}))


def log(run_cli, run="1"):
    return [(event["what"], event["why"]) for event in run_cli("runs", "show", run, "--json").json["log"]]


def test_a_corrected_declaration_keeps_its_row_and_costs_no_score(run_cli, tiny_set, submission, scored):
    correct(submission, training_data="official", system="corrected", team="A Team", url="https://example.org/x")
    outcome = run_cli("score", submission, *tiny_set.args, "--engine", "fast", "--workers", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    assert "4 pairs are scored already" in outcome.stderr
    assert "Scoring" not in outcome.stderr
    assert (outcome.json["run"], outcome.json["scores"]) == (1, scored["scores"])
    (row,) = run_cli("leaderboard", "--json").json
    assert (row["system"], row["training_data"], row["rank"]) == ("corrected", "official", 1)
    shown = run_cli("runs", "show", "1", "--json").json
    assert shown["declared"]["team"] == "A Team"
    assert [(old["run"]["system"], old["run"]["training_data"]) for old in shown["history"]] == [
        ("passthrough", "none")
    ]
    assert "declared until" in run_cli("runs", "show", "corrected").stdout


def test_a_copied_manifest_does_not_take_anothers_row(run_cli, tiny_set, submission, scored, tmp_path):
    thief = shutil.copytree(submission, tmp_path / "thief")
    correct(thief, team="Others")
    outcome = run_cli("score", thief, *tiny_set.args, "--engine", "fast", "--workers", "1", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json["run"] == 2
    assert outcome.json["scores"] == scored["scores"]
    assert run_cli("runs", "show", "1", "--json").json["declared"]["team"] is None
    assert "share 4 of 4 files, byte for byte" in " ".join(run_cli("leaderboard").stdout.split())
    assert run_cli("runs", "show", "2").stdout.count("4 with run 1") == 1


def test_unknown_keys_of_a_manifest_are_named_with_what_is_allowed(run_cli, tiny_set, submission):
    correct(submission, teem="A Team")
    outcome = run_cli("validate", submission, *tiny_set.args)
    assert outcome.code == 1
    assert "teem: unknown key (known are class, clipped" not in outcome.stdout
    assert "teem: unknown key (known are " in outcome.stdout
    assert "team, training_data" in " ".join(outcome.stdout.split())
    manifest = json.loads((submission / "submission.json").read_text())
    del manifest["teem"]
    (submission / "submission.json").write_text(json.dumps({**manifest, "url": "javascript:alert(1)"}))
    assert "url: String should match pattern" in " ".join(
        run_cli("validate", submission, *tiny_set.args).stdout.split()
    )


def test_runs_are_listed_and_managed_with_a_reason(run_cli, scored):
    (listed,) = run_cli("runs", "--json").json
    assert (listed["run"], listed["visibility"], listed["scored"]) == (1, "shown", 4)
    assert listed["mean"] == pytest.approx(scored["mean"], abs=1e-15)
    assert run_cli("runs", "rename", "1", "ours", "--reason", "shorter").code == 0
    assert run_cli("leaderboard", "--json").json[0]["label"] == "ours"
    assert run_cli("runs", "hide", "ours", "--reason", "a doubt").code == 0
    assert run_cli("leaderboard", "--json").json == []
    assert "hidden" in run_cli("runs").stdout
    assert run_cli("runs", "unhide", "ours", "--reason", "no doubt").code == 0
    assert run_cli("runs", "remove", "ours", "--reason", "withdrawn", "--yes").code == 0
    assert run_cli("runs", "--json").json == []
    assert len(run_cli("runs", "--all", "--json").json) == 1
    twice = run_cli("runs", "remove", "1", "--reason", "again", "--yes")
    assert (twice.code, "run 1 is removed, so it cannot be removed" in twice.error) == (1, True)
    assert run_cli("runs", "restore", "1", "--reason", "a mistake").code == 0
    assert len(run_cli("leaderboard", "--json").json) == 1
    assert log(run_cli)[1:] == [
        ("renamed", "shorter"),
        ("hidden", "a doubt"),
        ("unhidden", "no doubt"),
        ("removed", "withdrawn"),
        ("restored", "a mistake"),
    ]
    assert run_cli("runs", "hide", "1").code == 2  # without a reason


def test_removing_asks_first(run_cli, scored):
    outcome = run_cli("runs", "remove", "1", "--reason", "withdrawn")  # nobody answers
    assert outcome.code == 1
    assert len(run_cli("leaderboard", "--json").json) == 1


@pytest.mark.parametrize("name", ["7", "#7", " x", "a\nb", "x" * 101])
def test_names_that_cannot_be(name, run_cli, scored):
    outcome = run_cli("runs", "rename", "1", name, "--reason", "why not")
    assert outcome.code == 2
    assert "'" in outcome.error


def test_a_run_that_is_not_there_or_not_alone(run_cli, scored, tiny_set, submission, tmp_path):
    missing = run_cli("runs", "show", "nothing")
    assert (missing.code, "no run 'nothing'" in missing.error) == (2, True)
    correct(shutil.copytree(submission, tmp_path / "other"), team="Others")
    run_cli("score", tmp_path / "other", *tiny_set.args, "--engine", "fast", "--workers", "1")
    several = run_cli("runs", "show", "passthrough")
    assert (several.code, "several runs are called 'passthrough'" in several.error) == (2, True)


def test_an_audit_scores_again_and_finds_what_was_changed(run_cli, scored, tiny_set, tmp_path):
    command = ("runs", "audit", "1", *tiny_set.args, "--workers", "1", "--json")
    outcome = run_cli(*command, "--sample", "2")
    assert outcome.code == 0, outcome.stderr
    assert (outcome.json["passed"], outcome.json["pairs"], outcome.json["disputed"]) == (True, 2, 0)
    assert outcome.json["largest_difference"] < 1e-6
    # Somebody who knows how checksums are computed: nothing but an audit finds that out.
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        with store.transaction(write=True) as connection:
            for score in stored_scores(connection, range(1, 5)).values():
                better = {"left_score": 1.0, "score": (1 + score.row["right_score"]) / 2}
                forge = update(ScoreRow).where(
                    tuple_(ScoreRow.remix_id, ScoreRow.engine) == (score.key[0], score.key[2])
                )
                connection.execute(forge.values(**better, checksum=score.checksum(**better)))
            for key, check in stored_checks(connection, range(1, 5)).items():
                if key[2] == "left":
                    forged = replace(check, row={**check.row, "score": 1.0, "fast_score": 1.0})
                    this = (CheckRow.remix_id == key[0], CheckRow.part == key[2], CheckRow.checked_by == key[3])
                    values = {"score": 1.0, "fast_score": 1.0, "checksum": forged.checksum()}
                    connection.execute(update(CheckRow).where(*this).values(**values))
        store.keep_summaries()
    assert run_cli("leaderboard", "--json").json[0]["rank"] == 1
    outcome = run_cli(*command, "--sample", "1")
    assert (outcome.code, outcome.json["passed"], outcome.json["disputed"]) == (1, False, 1)
    assert log(run_cli)[-1] == ("audited", "")
    (row,) = run_cli("leaderboard", "--json").json
    assert (row["rank"], row["status"]) == (None, "disputed")
    assert row["why_not_ranked"].endswith("score the run again with harness runs rescore 1")
    assert "disputed" in run_cli("runs").stdout
    assert "by an audit: harness runs rescore 1" in " ".join(run_cli("runs", "show", "1").stdout.split())
    rescored = run_cli("runs", "rescore", "1", *tiny_set.args, "--workers", "1")
    assert rescored.code == 0, rescored.stderr


def by_hand(tmp_path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(tmp_path / "leaderboard.db")) as database, database:
        for statement in statements:
            database.execute(statement)


def test_what_was_changed_by_hand_is_told_everywhere_and_rescoring_puts_it_right(
    run_cli, scored, tiny_set, submission, tmp_path
):
    true = run_cli("leaderboard", "--json").json
    clipped = [pair["clipped"] for pair in run_cli("runs", "show", "1", "--json").json["pairs"]]
    by_hand(
        tmp_path,
        "UPDATE scores SET left_score = 1, score = (1 + right_score) / 2 WHERE remix_id = 1",
        "UPDATE run_pairs SET clipped = 7 WHERE pair_id = 2",
        "UPDATE runs SET causal = 1, parameters = 5",
    )
    says = "its declaration, 1 file and "
    fix = "put that right with harness runs rescore 1"
    (row,) = run_cli("leaderboard", "--json").json
    assert (row["rank"], row["status"]) == (None, "changed")
    assert row["why_not_ranked"].startswith(says)
    assert row["why_not_ranked"].endswith(f"changed outside the harness: {fix}")
    for command in (("leaderboard",), ("leaderboard", "--csv"), ("leaderboard", "--markdown"), ("runs", "show", "1")):
        assert fix in " ".join(run_cli(*command).stdout.split())
    assert "changed" in run_cli("runs").stdout.splitlines()[1]
    assert run_cli("runs", "--json").json[0]["changed"][:2] == ["its declaration", "1 file"]
    assert f"run 1 is left out: {says}" in run_cli("leaderboard", "--by", "pair").stderr
    assert "entries were changed outside the harness and left out" in run_cli("runs", "export", "board.db").stderr
    audit = run_cli("runs", "audit", "1", *tiny_set.args, "--workers", "1")
    assert (audit.code, fix in audit.stderr) == (1, True)
    outcome = run_cli("runs", "rescore", "1", *tiny_set.args, "--workers", "1", "--engine", "fast")
    assert outcome.code == 0, outcome.stderr
    assert "entries were changed outside the harness and are dropped" in outcome.stderr
    now = run_cli("leaderboard", "--json").json
    told = ("rank", "mean", "left", "right", "causal", "parameters", "key", "system", "scored")
    assert [{name: row[name] for name in told} for row in now] == [{name: row[name] for name in told} for row in true]
    shown = run_cli("runs", "show", "1", "--json").json
    assert (shown["changed"], shown["disputed"]) == ([], 0)
    assert [pair["clipped"] for pair in shown["pairs"]] == clipped
    assert "changes dropped" in [what for what, _ in log(run_cli)]


def test_what_a_run_cost_is_shown(run_cli, scored, tmp_path):
    shown = run_cli("runs", "show", "1", "--json").json
    assert [each["piece"] for each in shown["costs"]] == [
        f"scene_V00{scene} V{who}" for scene in (1, 2) for who in (1, 2)
    ]
    assert all(each["wall_seconds"] > 0 and each["peak_bytes"] > 10**7 for each in shown["costs"])
    assert (shown["declared"]["isolation"], shown["declared"]["python"]) == ("process", None)
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        store.keep_costs(1, [PieceCost(each["piece"], 1.5, 2.0, 10**9) for each in shown["costs"]])
        store.keep_costs(1, [PieceCost("scene_V001 V1", 1.25, 3.5, 2 * 10**9)])
    shown = run_cli("runs", "show", "1", "--json").json
    assert shown["cost"] == {"pieces": 4, "wall_seconds": 5.75, "cpu_seconds": 9.5, "peak_bytes": 2 * 10**9}
    assert shown["costs"][0] == {
        "piece": "scene_V001 V1",
        "wall_seconds": 1.25,
        "cpu_seconds": 3.5,
        "peak_bytes": 2 * 10**9,
    }
    text = " ".join(run_cli("runs", "show", "1").stdout.split())
    assert "4 pieces of music, 5.8 s, 9.5 s of processor time, at most 2000 MB of memory" in text


def test_rescoring_with_the_locked_engine(run_cli, scored, tiny_set, submission):
    command = ("runs", "rescore", "1", *tiny_set.args, "--workers", "2", "--reason", "for the paper")
    outcome = run_cli(*command)
    assert outcome.code == 0, outcome.stderr
    assert "run 1: 4 pairs scored, 0 not" in outcome.stderr
    (row,) = run_cli("leaderboard", "--json").json
    assert (row["engine"], row["checked"]) == ("locked", 8)
    assert log(run_cli)[-1] == ("rescored", "for the paper")
    # Its files, not whatever lies there now.
    moved = submission.rename(submission.with_name("moved"))
    gone = run_cli(*command)
    assert (gone.code, "name their folder with --submission" in gone.error) == (2, True)
    assert run_cli(*command, "--submission", moved).code == 0
    (moved / tiny_set.names[0]).unlink()
    changed = run_cli(*command, "--submission", moved)
    assert changed.code == 2
    assert f"1 of its files are missing in {moved} or have changed, {tiny_set.names[0]}" in changed.error


def test_a_leaderboard_is_exported_and_imported(run_cli, scored, tmp_path):
    assert run_cli("runs", "export", "board.db").code == 0
    again = run_cli("runs", "export", "board.db")
    assert (again.code, "exists" in again.error) == (1, True)
    outcome = run_cli("runs", "import", "board.db", "--reason", "a merge", "--db", "other.db", "--json")
    assert outcome.code == 0, outcome.stderr
    assert outcome.json.items() >= {"runs": 1, "scores": 4, "checks": scored["engine"]["checked_in_double"]}.items()
    ours, theirs = (run_cli("leaderboard", "--json", "--db", db).json for db in ("leaderboard.db", "other.db"))
    assert ours == theirs
