"""Several submissions scored by one call: as one by one, each a run of its own, and nothing twice."""

import csv
import shutil
import sqlite3

import pytest
import soundfile
from scoring.scored import board, differences, pairs_with

from harness.scoring.rows import COLUMNS


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
