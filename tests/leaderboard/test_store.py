"""What is written comes back, and scores belong to files: no run can take away another's."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from stored import (
    FILE,
    FINGERPRINT,
    OTHER_FILE,
    PAIRS,
    count,
    give_score,
    mark,
    on_sqlite,
    pair_of,
    reference,
    set_pairs,
)

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import (
    EnhancedFile,
    EvaluationSetRecord,
    NewScore,
    PairRecord,
    RunRecord,
)
from harness_leaderboard.store import Store

Start = Callable[..., int]


@on_sqlite
def test_the_connection_is_set_up(store: Store) -> None:
    with store.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA busy_timeout")) == 1000


def test_without_a_timeout_in_the_url_it_is_30_seconds(tmp_path: Path) -> None:
    with (
        Store.open(f"sqlite:///{tmp_path / 'x.db'}", create=True) as store,
        store.engine.connect() as connection,
    ):
        assert connection.scalar(text("PRAGMA busy_timeout")) == 30000


def test_a_relative_path_and_odd_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open("sqlite:///a #% ü.db", create=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a #% ü.db"]
    with Store.open("sqlite:///a #% ü.db", create=False) as store:
        assert store.runs() == []


def test_a_run_comes_back_as_it_was(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    run_id = start()
    found = store.find_run(run_id)
    assert found.id == run_id
    assert found.run == run_record
    assert found.evaluation_set == evaluation_set
    status = found.status
    assert (status.fingerprint, status.name, status.visibility) == (FINGERPRINT, None, "shown")
    assert status.created_at == status.updated_at
    assert status.created_at.endswith("Z")
    assert found.pairs["S2", "L1"] == PairRecord(
        "S2", "L1", "track two", reference("S2", "L1"), "pending", None, None, None, None, None
    )
    assert list(found.pairs) == [(pair.scene, pair.listener) for pair in PAIRS]
    assert store.statuses() == [status]


def test_all_that_may_be_declared_comes_back(store: Store, start: Start, run_record: RunRecord) -> None:
    more: dict[str, Any] = {
        "folder": "/x",
        "team": "Ä",
        "contact": "a@b",
        "url": "https://x",
        "paper": "doi",
        "description": "d\ne",
    }
    run_id = start(**more)
    assert store.find_run(run_id).run == replace(run_record, **more)


def test_there_is_no_such_run(store: Store) -> None:
    with pytest.raises(LeaderboardError, match=r"there is no run 7 in .*: harness runs lists them"):
        store.find_run(7)


def test_starting_again_keeps_states_and_updates_declarations(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    run_id = start()
    give_score(store, run_id)
    store.mark_failed(run_id, {("S1", "L2"): "it raised"})
    assert start(version="5", not_eligible="private data", parameters=3) == run_id
    assert store.find_run(run_id).run.version == "5"
    assert store.start_run(run_record, evaluation_set, FINGERPRINT, {}, PAIRS) == run_id
    found = store.find_run(run_id)
    assert found.run == run_record
    assert {pair: record.state for pair, record in found.pairs.items()} == {
        ("S1", "L1"): "scored",
        ("S1", "L2"): "failed",
        ("S2", "L1"): "pending",
        ("S2", "L2"): "pending",
    }
    assert found.pairs["S1", "L2"].reason == "it raised"
    assert (count(store, "runs"), count(store, "evaluation_sets"), count(store, "evaluators")) == (1, 1, 1)


def test_a_set_that_was_known_in_part_is_completed_in_every_run(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    first = store.start_run(run_record, evaluation_set, FINGERPRINT, {}, PAIRS[:1])
    give_score(store, first)
    second = store.start_run(replace(run_record, key="b"), evaluation_set, FINGERPRINT, {}, PAIRS)
    for run_id in (first, second):
        assert len(store.find_run(run_id).pairs) == 4
        mark(store, run_id, "S2", "L2")
    assert pair_of(store, first).state == "scored"
    assert pair_of(store, first, "S2", "L1").state == "pending"


def test_a_run_on_a_set_of_which_no_pair_is_known(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    run_id = store.start_run(run_record, evaluation_set, FINGERPRINT, {}, [])
    assert store.find_run(run_id).pairs == {}
    (run,) = store.runs()
    assert run.scored == 0


def test_runs_are_told_apart_by_key_and_set_and_not_by_evaluator(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    first = start()
    assert start(fingerprint="0" * 64) == first
    other = store.start_run(run_record, replace(evaluation_set, sha256="0" * 64), FINGERPRINT, {}, PAIRS)
    assert len({first, other, start(key="b" * 64)}) == 3


def test_sets_share_references_and_with_them_scores(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    give_score(store, start())
    other = store.start_run(run_record, replace(evaluation_set, name="x", sha256="0" * 64), FINGERPRINT, {}, PAIRS)
    mark(store, other, "S1", "L1")
    assert pair_of(store, other).state == "scored"
    assert (count(store, "reference_signals"), count(store, "scores")) == (4, 1)
    # What runs on different sets have in common is not what their boards are about.
    assert [run.shares for run in store.runs()] == [{}, {}]


def test_a_set_cannot_change_under_its_hash(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    start()
    with pytest.raises(LeaderboardError, match="has 2 scenes and 5 pairs, but 2 and 4 under the same hash"):
        store.start_run(run_record, replace(evaluation_set, pairs=5), FINGERPRINT, {}, PAIRS)


def test_a_pair_given_twice_is_refused_and_nothing_stored(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    with pytest.raises(LeaderboardError, match="evaluation set demo has the pair S1 for L1 twice"):
        store.start_run(run_record, evaluation_set, FINGERPRINT, {}, [*PAIRS, PAIRS[0]])
    assert store.runs() == []
    assert count(store, "evaluation_sets") == 0


def test_impossible_declarations_are_refused_and_nothing_is_stored(store: Store, start: Start) -> None:
    with pytest.raises(LeaderboardError, match=r"refused impossible data, nothing was stored: .*ck_runs_parameters"):
        start(parameters=-1)
    assert (count(store, "runs"), count(store, "evaluation_sets"), count(store, "set_pairs")) == (0, 0, 0)


def test_large_models_fit(store: Store, start: Start) -> None:
    run_id = start(parameters=70_000_000_000)
    assert store.find_run(run_id).run.parameters == 70_000_000_000


def test_the_same_file_keeps_its_score(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id)
    mark(store, run_id, "S1", "L1", clipped=8)
    pair = pair_of(store, run_id)
    assert pair.state == "scored"
    assert pair.clipped == 8


def test_another_file_has_another_score_and_the_first_keeps_its_own(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id)
    mark(store, run_id, "S1", "L1", OTHER_FILE)
    assert pair_of(store, run_id) == PairRecord(
        "S1", "L1", "track one", reference("S1", "L1"), "enhanced", None, OTHER_FILE, 0, None, None
    )
    assert [run.scored for run in store.runs()] == [0]
    mark(store, run_id, "S1", "L1", FILE)
    assert [run.scores.left for run in store.runs()] == [(0.1,)]


def test_a_failure_has_no_score_until_the_file_is_there_again(store: Store, start: Start) -> None:
    run_id, other = start(), start(key="b" * 64)
    give_score(store, run_id)
    mark(store, other, "S1", "L1")
    store.mark_failed(run_id, {("S1", "L1"): "the file is gone"})
    assert pair_of(store, run_id) == PairRecord(
        "S1", "L1", "track one", reference("S1", "L1"), "failed", "the file is gone", None, None, None, None
    )
    # What fails here takes nothing from anybody else.
    assert [(run.failed, run.scored) for run in store.runs()] == [(1, 0), (0, 1)]
    mark(store, run_id, "S1", "L1")
    assert pair_of(store, run_id).state == "scored"
    assert pair_of(store, run_id).reason is None


def test_a_pair_may_be_pending_again(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id)
    store.mark_failed(run_id, {("S1", "L2"): "it raised"})
    store.mark_pending(run_id, [("S1", "L1"), ("S1", "L2")])
    for listener in ("L1", "L2"):
        pair = pair_of(store, run_id, "S1", listener)
        assert (pair.state, pair.reason, pair.file_sha256, pair.clipped, pair.score) == ("pending", *[None] * 4)
    assert [(run.failed, run.scored) for run in store.runs()] == [(0, 0)]
    store.mark_pending(run_id, [])


def test_many_files_are_marked_at_once_or_not_at_all(store: Store, start: Start) -> None:
    run_id = start()
    give_score(store, run_id)
    files = [EnhancedFile("S1", "L1", FILE, 1), EnhancedFile("S2", "L2", OTHER_FILE, None)]
    with pytest.raises(LeaderboardError, match="has no pair S9 for L1: its evaluation set has no such pair"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S9", "L1", FILE, 0)])
    assert pair_of(store, run_id, "S2", "L2").state == "pending"
    with pytest.raises(LeaderboardError, match="ck_run_pairs_clipped"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S2", "L1", FILE, -1)])
    assert pair_of(store, run_id, "S2", "L2").state == "pending"
    store.mark_all_enhanced(run_id, files)
    store.mark_all_enhanced(run_id, [])
    assert pair_of(store, run_id).state == "scored"
    assert pair_of(store, run_id, "S2", "L2").file_sha256 == OTHER_FILE


def test_failures_are_stored_all_or_none(store: Store, start: Start) -> None:
    run_id = start()
    with pytest.raises(LeaderboardError, match=r"run 1 in .* has no pair S9 for L1"):
        store.mark_failed(run_id, {("S1", "L1"): "it raised", ("S9", "L1"): "it raised"})
    assert pair_of(store, run_id).state == "pending"
    with pytest.raises(LeaderboardError, match=r"run 99 in .* has no pair S1 for L1"):
        store.mark_failed(99, {("S1", "L1"): "no such run"})


def test_runs_carry_what_the_ranking_needs(store: Store, start: Start, run_record: RunRecord) -> None:
    run_id = start()
    start(key="b" * 64)
    give_score(store, run_id, 0.1, 0.2)
    store.mark_failed(run_id, {("S1", "L2"): "it raised"})
    first, second = store.runs()
    assert first.run == run_record
    assert (first.scores.scene, first.scores.listener, first.scores.track) == (("S1",), ("L1",), ("track one",))
    assert (first.scores.left, first.scores.right) == ((0.1,), (0.2,))
    assert (first.sums.scene, first.sums.pairs, first.sums.left, first.sums.totals) == (
        ("S1",),
        (1,),
        (0.1,),
        (0.1, 0.2, (0.1 + 0.2) / 2),
    )
    assert first.failed == 1
    assert first.last_scored is not None
    assert (second.scores.score, second.scored, second.failed, second.last_scored) == ((), 0, 0, None)


def test_more_pairs_than_one_statement_may_have_values(store: Store, run_record: RunRecord) -> None:
    names = [(f"S{number // 20:03}", f"L{number % 20:02}", "track") for number in range(1200)]
    about = EvaluationSetRecord("large", "valid", "1" * 64, 60, 1200)
    run_id = store.start_run(run_record, about, FINGERPRINT, {}, set_pairs(names))
    store.mark_all_enhanced(run_id, [EnhancedFile(scene, listener, FILE, 0) for scene, listener, _ in names])
    new = [
        NewScore(FILE, reference(scene, listener), "locked", place / 1200, 0.5)
        for place, (scene, listener, _) in enumerate(names)
    ]
    environments: dict[str, dict[str, str]] = {"locked": {}, "fast": {}}
    store.add_scores(new, FINGERPRINT, environments)
    store.add_scores([replace(score, right=0.25, replaces=True) for score in new], FINGERPRINT, environments)
    (run,) = store.runs()
    assert (run.scored, sorted(run.scores.left), set(run.scores.right)) == (
        1200,
        [n / 1200 for n in range(1200)],
        {0.25},
    )
    assert len(run.sums.scene) == 60


WRITER = """
import sys
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, RunRecord, SetPair
from harness_leaderboard.store import Store
url, me, writers, pairs = sys.argv[1], *map(int, sys.argv[2:])
with Store.open(url, create=True) as store:
    due = [SetPair(f"S{scene}", "L1", "track", f"r{scene}") for scene in range(pairs)]
    about = EvaluationSetRecord("demo", "valid", "e" * 64, pairs, pairs)
    for key in ("shared", f"own {me}"):
        run = RunRecord(key, "s", "1", {}, True, 0, "none", "none", "", None, False, key)
        run_id = store.start_run(run, about, "f", {}, due)
        for number, pair in enumerate(due):
            if key != "shared" or number % writers == me:
                file = f"{key} {number}"
                store.mark_all_enhanced(run_id, [EnhancedFile(pair.scene, pair.listener, file, 0)])
                score = NewScore(file, pair.reference_sha256, "locked", 0.5, 0.5)
                store.add_scores([score], "f", {score.engine: {"writer": "any"}})
"""


def test_writers_in_several_processes_lose_nothing(new_url: Callable[..., str]) -> None:
    writers, pairs = 3, 12
    url = new_url()
    command = [sys.executable, "-c", WRITER, url]
    processes = [
        subprocess.Popen([*command, str(me), str(writers), str(pairs)], stderr=subprocess.PIPE, text=True)
        for me in range(writers)
    ]
    for process in processes:
        _, said = process.communicate(timeout=100)
        assert process.returncode == 0, said
    with Store.open(url, create=False) as store:
        runs = store.runs()
    assert sorted(run.run.key for run in runs) == ["own 0", "own 1", "own 2", "shared"]
    assert [len(run.scores.score) for run in runs] == [pairs] * 4


def test_readers_see_what_is_committed_while_somebody_writes(url: str, store: Store, start: Start) -> None:
    start()
    with (
        store.engine.execution_options(immediate=True).begin() as connection,
        Store.open(url, create=False) as reader,
    ):
        connection.execute(text("UPDATE runs SET visibility = 'hidden'"))
        assert len(reader.runs()) == 1
    assert store.runs() == []
