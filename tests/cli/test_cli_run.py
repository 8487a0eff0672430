"""The main job through the command line: run, score, leaderboard, on music that the official program has scored."""

import csv
import io
import json
import shutil

import pytest
import soundfile
from golden.make_golden import write_layout

from harness.haaqi.conformance import TOLERANCE, official_scores

COLUMNS = ["scene", "song", "listener", "left_score", "right_score", "score"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """An evaluation set, a submission for it, and a leaderboard with two runs."""
    folder = tmp_path_factory.mktemp("work")
    write_layout(folder / "set")
    return folder


@pytest.fixture
def run(work, run_cli, monkeypatch):
    monkeypatch.chdir(work)
    monkeypatch.setenv("HARNESS_DB", "sqlite:///board.db")
    return run_cli


@pytest.fixture
def scored(run, work):
    """The conformance submission, scored; the first test that asks for it pays."""
    return run("score", "set/submission", "--data", "set", "--csv", "scores.csv", "--json")


def test_scoring_a_submission_without_manifest_gives_the_official_scores(scored, work):
    assert scored.code == 0, scored.stderr
    with (work / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    official = official_scores()
    assert [(row["scene"], row["listener"]) for row in rows] == list(official)
    for row in rows:
        expected = official[row["scene"], row["listener"]]
        assert abs(float(row["left_score"]) - expected.left) <= TOLERANCE
        assert abs(float(row["right_score"]) - expected.right) <= TOLERANCE
        assert float(row["score"]) == (float(row["left_score"]) + float(row["right_score"])) / 2


def test_csv_and_json_hold_the_same_digits(scored, work):
    with (work / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    reported = json.loads(scored.stdout)["scores"]
    for row, same in zip(rows, reported, strict=True):
        assert [float(row[key]) for key in COLUMNS[3:]] == [same[key] for key in COLUMNS[3:]]


def test_scoring_again_scores_nothing_again(scored, run):
    again = run("score", "set/submission", "--data", "set", "--json")
    assert "4 pairs are scored already" in again.stderr
    assert json.loads(again.stdout)["scores"] == json.loads(scored.stdout)["scores"]


def test_a_submission_of_unknown_training_data_is_not_ranked(scored, run):
    board = json.loads(run("leaderboard", "--json").stdout)
    row = next(row for row in board if row["system"] == "submission")
    assert row["rank"] is None
    assert "not declared" in row["not_eligible"]


def test_other_files_under_the_same_name_are_another_submission(scored, run, work):
    other = work / "elsewhere" / "submission"
    shutil.copytree(work / "set/submission", other, dirs_exist_ok=True)
    name = "scene_V001_V1_remix.flac"
    samples, rate = soundfile.read(other / name, dtype="int16")
    soundfile.write(other / name, samples // 2, rate, subtype="PCM_16")

    result = run("score", other, "--data", "set", "--scenes", "scene_V001", "--json")
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout)["run"] != json.loads(scored.stdout)["run"]
    board = [row for row in json.loads(run("leaderboard", "--json").stdout) if row["system"] == "submission"]
    assert sorted(row["scored"] for row in board) == [2, 4]
    # The first submission's scores are as they were.
    again = run("score", "set/submission", "--data", "set", "--json")
    assert json.loads(again.stdout)["scores"] == json.loads(scored.stdout)["scores"]


def test_parts_of_two_submissions_are_never_one_run(run, work):
    """Both declare the same, and were scored on different scenes."""
    for name, scene in (("one", "scene_V001"), ("two", "scene_V002")):
        folder = work / name / "same-name"
        folder.mkdir(parents=True)
        for path in (work / "set/submission").glob(f"{scene}_*.flac"):
            shutil.copy(path, folder)
        result = run("score", folder, "--data", "set", "--scenes", scene, "--json")
        assert result.code == 0, result.stderr
    board = [row for row in json.loads(run("leaderboard", "--json").stdout) if row["system"] == "same-name"]
    assert [row["scored"] for row in board] == [2, 2]


def test_run_enhances_validates_scores_and_ranks(run, work):
    partly = run("run", "--system", "passthrough", "--data", "set", "--limit", "1", "--json")
    assert partly.code == 0, partly.stderr
    row = next(row for row in json.loads(run("leaderboard", "--json").stdout) if row["system"] == "passthrough")
    assert (row["scored"], row["due"], row["rank"]) == (2, 4, None)

    first = run("run", "--system", "passthrough", "--data", "set")
    assert first.code == 0, first.stderr
    assert "2 remixes written, 2 were there already" in first.stderr
    assert "2 pairs are scored already" in first.stderr
    assert "clipping:" in first.stderr
    assert "passthrough" in first.stdout
    assert run("validate", "submissions", "--data", "set").code == 0

    row = next(row for row in json.loads(run("leaderboard", "--json").stdout) if row["system"] == "passthrough")
    assert (row["scored"], row["rank"]) == (4, 1)
    assert row["causal"] is True


def test_the_oracle_is_shown_as_reference_and_has_no_rank(run):
    result = run("run", "--system", "oracle", "--data", "set", "--limit", "1", "--json")
    assert result.code == 0, result.stderr
    row = next(row for row in json.loads(run("leaderboard", "--json").stdout) if row["system"] == "oracle")
    assert row["reference"] is True
    assert row["rank"] is None


def test_a_changed_file_is_noticed_and_made_anew(run, work):
    assert run("run", "--system", "passthrough", "--data", "set", "--limit", "1").code == 0
    path = work / "submissions/passthrough/scene_V001_V1_remix.flac"
    good = path.read_bytes()
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples // 2, rate, subtype="PCM_16")

    result = run("run", "--system", "passthrough", "--data", "set", "--limit", "1")
    assert result.code == 0, result.stderr
    assert "1 remixes written, 1 were there already" in result.stderr
    assert path.read_bytes() == good


@pytest.mark.parametrize("by", ["listener", "scene", "track", "pair"])
def test_leaderboard_formats(scored, run, by):
    for breakdown in ((), ("--by", by), ("--by", by, "--by", "scene")):
        assert run("leaderboard", "--latex", *breakdown).stdout.count(r"\toprule") >= 1
        assert "submission" in run("leaderboard", *breakdown).stdout
        assert run("leaderboard", "--markdown", *breakdown).stdout.count("|") > 10
        rows = list(csv.DictReader(io.StringIO(run("leaderboard", "--csv", *breakdown).stdout)))
        listed = json.loads(run("leaderboard", "--json", *breakdown).stdout)
        assert len(rows) == len(listed) >= 1


def test_both_breakdowns_are_shown_in_the_order_given(scored, run):
    lines = json.loads(run("leaderboard", "--json", "--by", "track", "--by", "listener", "--by", "track").stdout)
    assert list(dict.fromkeys(line["by"] for line in lines)) == ["track", "listener"]
    shown = run("leaderboard", "--by", "track", "--by", "listener").stdout
    assert shown.index("Mean HAAQI by track") < shown.index("Mean HAAQI by listener")


def test_classes_are_ranked_by_themselves(scored, run):
    assert run("run", "--system", "passthrough", "--data", "set").code == 0
    lines = json.loads(run("leaderboard", "--class", "causal", "--json").stdout)
    assert {line["causal"] for line in lines} == {True}
    assert next(line["rank"] for line in lines if line["system"] == "passthrough") == 1
    assert "only causal systems" in run("leaderboard", "--class", "causal").stdout
    others = json.loads(run("leaderboard", "--class", "non-causal", "--json").stdout)
    assert {line["system"] for line in others}.isdisjoint({"passthrough"})
    assert "submission" in {line["system"] for line in others}


def test_chosen_columns_and_a_picture(scored, run, work):
    text = run("leaderboard", "--columns", "system,mean", "--csv").stdout
    assert text.startswith("system,mean\n")
    assert run("leaderboard", "--svg", "board.svg").code == 0
    assert "<svg" in (work / "board.svg").read_text()
    assert [path.name for path in work.glob(".partial-*")] == []
    assert run("leaderboard", "--svg", "set").code == 2


def test_a_database_is_named_by_its_path(scored, run):
    by_path, by_url = (run("leaderboard", "--json", "--db", db) for db in ("board.db", "sqlite:///board.db"))
    assert by_path.stdout == by_url.stdout
    assert by_path.code == 0


def test_leaderboard_of_another_evaluation_set_is_empty(scored, run):
    assert json.loads(run("leaderboard", "--data", "demo", "--json").stdout) == []


def test_an_invalid_submission_is_not_scored(run, work):
    bad = work / "bad"
    shutil.copytree(work / "set/submission", bad, dirs_exist_ok=True)
    (bad / "scene_V001_V1_remix.txt").write_text("2.0")
    result = run("score", bad, "--data", "set")
    assert result.code == 1
    assert "scale factor" in result.stdout
    assert "not valid, so not scored" in result.stderr


def test_no_leaderboard_yet(run, tmp_path):
    result = run("leaderboard", "--db", f"sqlite:///{tmp_path}/none.db")
    assert result.code == 1
    assert "harness run" in result.stderr
    assert not (tmp_path / "none.db").exists()
