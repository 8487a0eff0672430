"""harness compare: which runs can be compared, and what the command says of them."""

import csv
import io
import json
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from stored import EVALUATION_SET, FINGERPRINT, PAIRS, RUN

from harness.music import demo
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness_leaderboard.comparing import differences
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, SetPair
from harness_leaderboard.store import Store

OTHER_SET = EvaluationSetRecord("other", "valid", "9" * 64, 2, 4)


@pytest.fixture
def enter(run_cli, tmp_path):
    """`enter("name", 0.1, 0.2, ...)`: store a run with these scores of the first pairs; returns its number."""

    def enter(
        name: str,
        *scores: float,
        about: EvaluationSetRecord = EVALUATION_SET,
        pairs: Any = PAIRS,
        fingerprint: str = FINGERPRINT,
        **declared: Any,
    ) -> int:
        with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
            run = RUN.__class__(**{**vars(RUN), "key": name.encode().hex(), "system": name, **declared})
            number = store.start_run(run, about, fingerprint, {"pyclarity": "0.9.0"}, pairs)
            # A file of its own for each run and pair.
            files = [f"{number:032x}{place:032x}" for place in range(len(scores))]
            scored = list(zip(pairs, files, scores, strict=False))
            store.mark_all_enhanced(
                number, [EnhancedFile(pair.scene, pair.listener, file, 0) for pair, file, _ in scored]
            )
            store.add_scores(
                [NewScore(file, pair.reference_sha256, "locked", score, score) for pair, file, score in scored],
                fingerprint,
                {"locked": {"python": "3.11"}},
            )
        return number

    return enter


def test_two_runs_on_a_terminal(run_cli, enter):
    enter("one", 0.5, 0.6, 0.7, 0.8)
    enter("two", 0.4, 0.5, 0.5, 0.9)
    outcome = run_cli("compare", "one", "two")
    assert outcome.code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert any(line.startswith("A  one") for line in lines)
    assert any(line.startswith("B  two") for line in lines)
    (whole,) = (line for line in lines if line.startswith("A − B") and "scenes" in line)
    # Differences 0.1, 0.1 | 0.2, -0.1: mean 0.075, and three of four pairs won.
    assert whole.split()[3] == "+0.0750"
    assert whole.endswith("75 %")
    worst = lines[next(place for place, line in enumerate(lines) if line.startswith("Pairs to listen to: one (A)")) + 3]
    assert worst.split()[0:2] == [PAIRS[3].scene, PAIRS[3].listener]
    assert worst.split()[-3:] == ["0.8000", "0.9000", "−0.1000"]
    assert "(by stem gain and severity too: --data ROOT)" in outcome.stderr


def test_what_programs_get_is_what_the_statistics_say(run_cli, enter, tmp_path):
    for name, scores in {
        "one": (0.5, 0.6, 0.7, 0.8),
        "two": (0.4, 0.5, 0.5, 0.9),
        "three": (0.1, 0.3, 0.1, 0.2),
    }.items():
        enter(name, *scores, causal=name == "two")
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=False) as store:
        (board,) = boards(store.runs())
        rows = sorted(board.rows, key=lambda row: ["three", "one", "two"].index(row.run.system))
        expected = differences(rows)
    said = run_cli("compare", "three", "#1", "two", "--json", "--worst", "2").json
    assert [run["run"] for run in said["runs"]] == [3, 1, 2]
    for each, difference in zip(said["comparisons"], expected, strict=True):
        assert (each["first"], each["second"]) == (difference.first.source.id, difference.second.source.id)
        assert each["by_scene"]["difference"] == difference.by_scene.mean
        assert each["by_scene"]["p_adjusted"] == difference.p_adjusted
    assert [len(each["worst"]) for each in said["comparisons"]] == [2, 2, 0]
    lines = list(csv.DictReader(io.StringIO(run_cli("compare", "three", "1", "two", "--csv").stdout)))
    assert [float(line["difference"]) for line in lines if line["by"] == "all"][::2] == [
        d.by_scene.mean for d in expected
    ]
    assert "\\toprule" in run_cli("compare", "one", "two", "--latex").stdout


def test_incomplete_hidden_and_never_ranked_runs_too(run_cli, enter):
    enter("one", 0.5, 0.6, 0.7)
    enter("two", 0.4, 0.5, 0.5, 0.9, reference=True)
    enter("three", 0.4, 0.5, 0.5, 0.8)
    assert run_cli("runs", "hide", "three", "--reason", "a trial").code == 0
    outcome = run_cli("compare", "one", "two", "three")
    assert outcome.code == 0, outcome.stderr
    assert "A − B is over the 3 of 4 pairs that both have scored." in outcome.stdout
    assert "incomplete" in outcome.stdout
    assert "reference" in outcome.stdout
    assert "B − C is over" not in outcome.stdout


def test_variants_of_one_system_are_told_apart_by_their_settings(run_cli, enter):
    enter("halves", 0.5, 0.6, 0.7, 0.8, settings={"width": 0.5}, key="01")
    enter("halves", 0.4, 0.5, 0.5, 0.9, settings={"width": 1.0}, key="02")
    assert "several runs are called 'halves'" in run_cli("compare", "halves", "1").error
    outcome = run_cli("compare", "1", "2")
    assert "halves width=0.5 (A) against halves width=1.0 (B)" in outcome.stdout


def test_a_run_is_called_as_the_board_calls_it(run_cli, enter, tmp_path):
    enter("halves", 0.5, 0.6, 0.7, 0.8, settings={"width": 0.5}, key="01")
    enter("halves", 0.4, 0.5, 0.5, 0.9, settings={"width": 1.0}, key="02")
    assert run_cli("runs", "rename", "1", "soft halves", "--reason", "to be told apart").code == 0
    outcome = run_cli("compare", "soft halves", "halves", "--csv")
    assert outcome.code == 0, outcome.stderr
    assert [row["second"] for row in csv.DictReader(io.StringIO(outcome.stdout))][:1] == ["halves"]


def test_the_evaluation_set_decides_between_runs_of_one_name(run_cli, enter, enter_on, tiny_set):
    enter("one", 0.5, 0.6)
    enter("two", 0.4, 0.5)
    enter_on(load(tiny_set.root, None), "one", "two")
    unclear = run_cli("compare", "one", "two")
    assert unclear.code == 2
    assert "several runs are called 'one': say which by its number: 1 (one on demo), 3 (one on tiny)" in unclear.error
    outcome = run_cli("compare", "one", "two", *tiny_set.args, "--json")
    assert outcome.code == 0, outcome.stderr
    assert [run["run"] for run in outcome.json["runs"]] == [3, 4]


def test_what_cannot_be_compared_is_said_in_one_line(run_cli, enter):
    enter("one", 0.5, 0.6)
    enter("two", 0.4, 0.5, 0.5, 0.9)
    enter("elsewhere", 0.4, 0.5, about=OTHER_SET)
    enter("new")
    enter("rest", 0.5, 0.6, pairs=PAIRS[::-1])
    enter("older", 0.5, 0.6, fingerprint="0" * 64)
    enter("gone", 0.5, 0.6)
    assert run_cli("runs", "remove", "gone", "--reason", "a trial", "--yes").code == 0
    for arguments, code, error in (
        (("one",), 2, "name two runs or more: harness runs lists them"),
        (("one", "1"), 2, "'1' is run 1, which is named twice: name two different runs"),
        (("one", "nobody"), 2, "no run 'nobody': harness runs lists them"),
        (("one", "two", "--csv", "--json"), 2, "choose one of --csv, --latex and --json"),
        (("one", "two", "--split", "valid"), 2, "--split goes with --data"),
        (("one", "elsewhere"), 2, "run 1 is on demo · valid · eeeeeeeeeeee, run 3 on other · valid · 999999999999: "),
        (("one", "new"), 1, "run 4 has no scores yet: harness runs show 4 says what is missing"),
        (("one", "rest"), 1, "runs 1 and 5 have no scored pair in common: score the same pairs of both"),
        (("one", "older"), 1, f"by different evaluators (1 by {FINGERPRINT[:12]}, 6 by 000000000000): "),
        (("one", "7"), 2, "run 7 was removed: harness runs restore 7"),
        (("one", "two", "--data", "demo"), 2, "--data demo is another evaluation set than the runs', "),
    ):
        outcome = run_cli("compare", *arguments)
        assert (outcome.code, error in outcome.error) == (code, True), outcome.error


def test_a_run_that_was_changed_is_not_compared(run_cli, enter, tmp_path):
    enter("one", 0.5, 0.6, 0.7, 0.8)
    enter("two", 0.4, 0.5, 0.5, 0.9)
    with closing(sqlite3.connect(tmp_path / "leaderboard.db")) as connection, connection:
        connection.execute("UPDATE scores SET left_score = 0.95, right_score = 0.95, score = 0.95 WHERE remix_id = 1")
        connection.execute("DELETE FROM summaries")
    outcome = run_cli("compare", "one", "two")
    assert outcome.code == 1
    assert outcome.error.startswith("run 1 cannot be compared: changed, ")
    assert "harness runs rescore 1" in outcome.error


@pytest.fixture
def enter_on(enter):
    """`enter_on(evaluation_set, *names)`: store runs with some scores of all pairs of a set that is loaded."""

    def enter_on(loaded: EvaluationSet, *names: str) -> None:
        tracks = {pair.id: pair.scene.track for pair in loaded.all_pairs}
        pairs = [SetPair(*pair, tracks[pair], sha256) for pair, sha256 in loaded.references().items()]
        about = EvaluationSetRecord(loaded.name, loaded.split, loaded.sha256, len(loaded.whole), len(pairs))
        draw = np.random.default_rng(1)
        for name in names:
            enter(name, *draw.uniform(0.3, 0.6, len(pairs)).tolist(), about=about, pairs=pairs)

    return enter_on


def test_with_the_evaluation_set_by_gain_and_severity_too(run_cli, enter_on, tiny_set):
    enter_on(load(tiny_set.root, None), "one", "two")
    by = run_cli("compare", "one", "two", *tiny_set.args, "--json").json["comparisons"][0]["by"]
    # V1 has a mild loss, V2 one severe and one normal ear: by the better ear it is normal.
    assert {(each["group"], each["pairs"]) for each in by["severity"]} == {("mild", 2), ("normal", 2)}
    gains = json.loads(tiny_set.metadata("gains").read_text())
    expected = {
        f"{stem} {gain:+g} dB" if gain else f"{stem} 0 dB" for of in gains.values() for stem, gain in of.items()
    }
    assert {each["group"] for each in by["gain"]} == expected
    assert "severity" not in run_cli("compare", "one", "two", "--json").json["comparisons"][0]["by"]


def test_the_embedded_set_is_known_without_being_named(run_cli, enter_on):
    enter_on(demo.demo(), "one", "two")
    outcome = run_cli("compare", "one", "two")
    assert outcome.code == 0, outcome.stderr
    assert "vocals +10 dB" in outcome.stdout
    assert "moderate" in outcome.stdout
    assert "--data" not in outcome.stderr
