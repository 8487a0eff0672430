"""What is written comes back, and a score never outlives its file."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, PairRecord, RunRecord, StoredRun, checks_due
from harness_leaderboard.store import Store

FINGERPRINT = "f" * 64
FILE, OTHER_FILE = "1" * 64, "2" * 64
Start = Callable[..., int]


def stored(store: Store, key: str = "a" * 64) -> StoredRun:
    found = store.find_run(key, "e" * 64, FINGERPRINT)
    assert found is not None
    return found


def score(store: Store, run_id: int, left: float = 0.1, right: float = 0.2) -> None:
    store.mark_enhanced(run_id, "S1", "L1", FILE, 7)
    store.add_score(run_id, "S1", "L1", FILE, left, right, FINGERPRINT, {"numpy": "2.0"})


def count(store: Store, table: str) -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


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
    found = stored(store)
    assert found.id == run_id
    assert found.run == run_record
    assert found.evaluation_set == evaluation_set
    assert found.fingerprint == FINGERPRINT
    assert found.created_at == found.updated_at
    assert found.created_at.endswith("Z")
    assert found.pairs["S2", "L1"] == PairRecord("S2", "L1", "track two", "pending", None, None, None, None)
    assert len(found.pairs) == 4


def test_a_run_is_found_by_all_of_its_identity(store: Store, start: Start) -> None:
    start()
    assert store.find_run("b" * 64, "e" * 64, FINGERPRINT) is None
    assert store.find_run("a" * 64, "0" * 64, FINGERPRINT) is None
    assert store.find_run("a" * 64, "e" * 64, "0" * 64) is None


def test_starting_again_keeps_states_and_updates_declarations(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    run_id = start()
    score(store, run_id)
    store.mark_failed(run_id, "S1", "L2", "it raised")
    assert start(version="5", not_eligible="private data", parameters=3) == run_id
    more = [("S1", "L1", "track one"), ("S3", "L1", "track three")]
    assert store.start_run(run_record, evaluation_set, FINGERPRINT, {}, more) == run_id
    found = stored(store)
    assert found.run == run_record
    assert {pair: record.state for pair, record in found.pairs.items()} == {
        ("S1", "L1"): "scored",
        ("S1", "L2"): "failed",
        ("S2", "L1"): "pending",
        ("S2", "L2"): "pending",
        ("S3", "L1"): "pending",
    }
    assert found.pairs["S1", "L2"].reason == "it raised"
    assert (count(store, "runs"), count(store, "evaluation_sets"), count(store, "evaluators")) == (1, 1, 1)


def test_other_evaluators_and_sets_are_other_runs(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    first = start()
    second = store.start_run(run_record, evaluation_set, "0" * 64, {}, [])
    third = store.start_run(run_record, replace(evaluation_set, sha256="0" * 64), FINGERPRINT, {}, [])
    assert len({first, second, third, start(key="b" * 64)}) == 4


def test_a_set_cannot_change_under_its_hash(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    start()
    with pytest.raises(LeaderboardError, match="has 2 scenes and 5 pairs, but 2 and 4 under the same hash"):
        store.start_run(run_record, replace(evaluation_set, pairs=5), FINGERPRINT, {}, [])


def test_a_pair_given_twice_is_refused_and_nothing_stored(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    twice = [("S1", "L1", "track one")] * 2
    with pytest.raises(LeaderboardError, match="refused impossible data, nothing was stored: UNIQUE"):
        store.start_run(run_record, evaluation_set, FINGERPRINT, {}, twice)
    assert store.runs() == []
    assert count(store, "evaluation_sets") == 0


def test_impossible_declarations_are_refused(start: Start) -> None:
    with pytest.raises(LeaderboardError, match="ck_runs_parameters"):
        start(parameters=-1)
    with pytest.raises(LeaderboardError, match="ck_runs_pairs_due"):
        start(pairs_due=0)


def test_large_models_fit(store: Store, start: Start) -> None:
    start(parameters=70_000_000_000)
    assert stored(store).run.parameters == 70_000_000_000


def test_a_score_comes_back_to_the_last_bit(store: Store, start: Start) -> None:
    score(store, start(), 0.1 + 0.2, 1 / 3)
    pair = stored(store).pairs["S1", "L1"]
    assert (pair.state, pair.file_sha256, pair.clipped, pair.reason) == ("scored", FILE, 7, None)
    assert pair.score is not None
    assert (pair.score.left, pair.score.right) == (0.1 + 0.2, 1 / 3)
    assert pair.score.score == (0.1 + 0.2 + 1 / 3) / 2
    assert (pair.score.engine, pair.score.locked_left, pair.score.locked_right) == ("locked", None, None)
    assert (pair.score.difference, pair.score.disputed) == (None, False)


def fast(store: Store, run_id: int, listener: str, left: float, locked: tuple[float, float] | None = None) -> None:
    """Store a fast score of the first scene, the right ear's being 0.2."""
    store.mark_enhanced(run_id, "S1", listener, FILE, 0)
    store.add_score(run_id, "S1", listener, FILE, left, 0.2, FINGERPRINT, {}, engine="fast", locked=locked)


def test_a_checked_score_comes_back_with_its_check(store: Store, start: Start) -> None:
    fast(store, start(), "L1", 0.1 + 0.2, (0.3, 0.2 + 1e-9))
    found = stored(store).pairs["S1", "L1"].score
    assert found is not None
    assert (found.engine, found.left, found.right) == ("fast", 0.1 + 0.2, 0.2)
    assert (found.locked_left, found.locked_right) == (0.3, 0.2 + 1e-9)
    assert found.difference == (0.2 + 1e-9) - 0.2
    assert not found.disputed


@pytest.mark.parametrize("locked", [(0.5, 0.2), (0.5 + 1.001e-6, 0.2), (0.5, 0.2 - 1.001e-6), (0.5 - 0.999e-6, 0.2)])
def test_a_score_is_disputed_from_the_tolerance_on(store: Store, start: Start, locked: tuple[float, float]) -> None:
    fast(store, start(), "L1", 0.5, locked)
    found = stored(store).pairs["S1", "L1"].score
    assert found is not None
    gap = max(abs(locked[0] - 0.5), abs(locked[1] - 0.2))
    assert found.difference == gap
    assert found.disputed == (gap > 1e-6)
    assert [run.largest_difference for run in store.runs()] == [gap]


def test_runs_count_fast_and_checked_scores(store: Store, start: Start) -> None:
    run_id = start()
    start(key="b" * 64)
    fast(store, run_id, "L1", 0.5, (0.5 + 2e-9, 0.2))
    fast(store, run_id, "L2", 0.5)
    store.mark_enhanced(run_id, "S2", "L1", FILE, 0)
    store.add_score(run_id, "S2", "L1", FILE, 0.1, 0.2, FINGERPRINT, {})
    store.mark_failed(run_id, "S2", "L2", "it raised")
    first, second = store.runs()
    assert (first.fast, first.checked, first.largest_difference) == (2, 1, (0.5 + 2e-9) - 0.5)
    assert (first.failed, len(first.scores.score)) == (1, 3)
    assert (second.fast, second.checked, second.largest_difference) == (0, 0, None)
    # The right ear counts as much as the left.
    fast(store, run_id, "L2", 0.5, (0.5, 0.2 - 3e-9))
    (first, _) = store.runs()
    assert (first.fast, first.checked, first.largest_difference) == (2, 2, 0.2 - (0.2 - 3e-9))


def test_a_locked_score_replaces_a_fast_one_and_its_check(store: Store, start: Start) -> None:
    run_id = start()
    fast(store, run_id, "L1", 0.5, (0.6, 0.2))
    assert [run.largest_difference for run in store.runs()] == [0.6 - 0.5]
    store.add_score(run_id, "S1", "L1", FILE, 0.6, 0.2, FINGERPRINT, {}, engine="locked")
    (run,) = store.runs()
    assert (run.fast, run.checked, run.largest_difference, run.scores.left) == (0, 0, None, (0.6,))


def test_impossible_checks_are_refused(store: Store, start: Start) -> None:
    run_id = start()
    for locked in ((float("nan"), float("nan")), (0.5, 1.1), (-0.1, 0.5)):
        with pytest.raises(LeaderboardError, match=r"S1 for L1: the locked (left|right) score .* is not from 0 to 1"):
            fast(store, run_id, "L1", 0.5, locked)
    with pytest.raises(LeaderboardError, match=r"refused impossible data.*ck_scores_checked"):
        store.add_score(run_id, "S1", "L1", FILE, 0.5, 0.2, FINGERPRINT, {}, engine="locked", locked=(0.5, 0.2))
    with pytest.raises(LeaderboardError, match=r"refused impossible data.*ck_scores_engine"):
        store.add_score(run_id, "S1", "L1", FILE, 0.5, 0.2, FINGERPRINT, {}, engine="quick")  # type: ignore[arg-type]
    assert count(store, "scores") == 0


@pytest.mark.parametrize(
    ("pairs", "due"), [(0, 0), (1, 1), (2, 2), (3, 2), (200, 2), (201, 3), (700, 7), (19_200, 192), (19_201, 193)]
)
def test_how_many_checks_are_due(pairs: int, due: int) -> None:
    assert checks_due(pairs) == due


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_range_are_scores(store: Store, start: Start, value: float) -> None:
    score(store, start(), value, value)
    (run,) = store.runs()
    assert run.scores.score == (value,)


def test_scoring_again_replaces(store: Store, start: Start) -> None:
    run_id = start()
    score(store, run_id, 0.1, 0.1)
    store.add_score(run_id, "S1", "L1", FILE, 0.3, 0.3, FINGERPRINT, {"numpy": "2.1"})
    (run,) = store.runs()
    assert run.scores.score == (0.3,)


def test_equal_environments_are_stored_once(store: Store, start: Start) -> None:
    run_id = start()
    for listener, environment in (("L1", {"a": "1", "b": "2"}), ("L2", {"b": "2", "a": "1"})):
        store.mark_enhanced(run_id, "S1", listener, FILE, None)
        store.add_score(run_id, "S1", listener, FILE, 0.5, 0.5, FINGERPRINT, environment)
    assert count(store, "environments") == 1


def test_the_same_file_keeps_its_score(store: Store, start: Start) -> None:
    run_id = start()
    score(store, run_id)
    store.mark_enhanced(run_id, "S1", "L1", FILE, 8)
    pair = stored(store).pairs["S1", "L1"]
    assert pair.state == "scored"
    assert pair.score is not None
    assert pair.clipped == 8


def test_another_file_loses_the_score(store: Store, start: Start) -> None:
    run_id = start()
    score(store, run_id)
    store.mark_enhanced(run_id, "S1", "L1", OTHER_FILE, 0)
    assert stored(store).pairs["S1", "L1"] == PairRecord("S1", "L1", "track one", "enhanced", None, OTHER_FILE, 0, None)
    assert count(store, "scores") == 0


def test_a_failure_loses_the_score_and_can_be_mended(store: Store, start: Start) -> None:
    run_id = start()
    score(store, run_id)
    store.mark_failed(run_id, "S1", "L1", "the file is gone")
    assert stored(store).pairs["S1", "L1"] == PairRecord(
        "S1", "L1", "track one", "failed", "the file is gone", None, None, None
    )
    assert count(store, "scores") == 0
    assert [run.failed for run in store.runs()] == [1]
    score(store, run_id)
    assert stored(store).pairs["S1", "L1"].state == "scored"
    assert stored(store).pairs["S1", "L1"].reason is None


def test_many_files_are_marked_at_once_or_not_at_all(store: Store, start: Start) -> None:
    run_id = start()
    score(store, run_id)
    files = [EnhancedFile("S1", "L1", FILE, 1), EnhancedFile("S2", "L2", OTHER_FILE, None)]
    with pytest.raises(LeaderboardError, match="has no pair S9 for L1: start it with this pair"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S9", "L1", FILE, 0)])
    assert stored(store).pairs["S2", "L2"].state == "pending"
    with pytest.raises(LeaderboardError, match="ck_pairs_clipped"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S2", "L1", FILE, -1)])
    assert stored(store).pairs["S2", "L2"].state == "pending"
    store.mark_all_enhanced(run_id, files)
    store.mark_all_enhanced(run_id, [])
    assert stored(store).pairs["S1", "L1"].state == "scored"
    assert stored(store).pairs["S2", "L2"].file_sha256 == OTHER_FILE


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
@pytest.mark.parametrize("ear", ["left", "right"])
def test_impossible_scores_are_refused(store: Store, start: Start, ear: str, value: float) -> None:
    run_id = start()
    store.mark_enhanced(run_id, "S1", "L1", FILE, 0)
    ears = {"left": 0.5, "right": 0.5, ear: value}
    with pytest.raises(LeaderboardError, match=f"S1 for L1: the {ear} score {value} is not from 0 to 1"):
        store.add_score(run_id, "S1", "L1", FILE, ears["left"], ears["right"], FINGERPRINT, {})
    assert count(store, "scores") == 0


def test_scores_of_another_evaluator_file_or_pair_are_refused(store: Store, start: Start) -> None:
    run_id = start()
    with pytest.raises(LeaderboardError, match=r"is not the one that the run has \(pending\)"):
        store.add_score(run_id, "S1", "L1", FILE, 0.5, 0.5, FINGERPRINT, {})
    store.mark_enhanced(run_id, "S1", "L1", FILE, 0)
    with pytest.raises(LeaderboardError, match="scored by evaluator 000000000000, but the run is under ffffffff"):
        store.add_score(run_id, "S1", "L1", FILE, 0.5, 0.5, "0" * 64, {})
    with pytest.raises(LeaderboardError, match=r"is not the one that the run has \(1{12}\): score it again"):
        store.add_score(run_id, "S1", "L1", OTHER_FILE, 0.5, 0.5, FINGERPRINT, {})
    with pytest.raises(LeaderboardError, match="has no pair S9 for L1"):
        store.add_score(run_id, "S9", "L1", FILE, 0.5, 0.5, FINGERPRINT, {})
    with pytest.raises(LeaderboardError, match=r"run 99 in .* has no pair S1 for L1"):
        store.mark_failed(99, "S1", "L1", "no such run")
    assert count(store, "scores") == 0


def test_runs_carry_what_the_ranking_needs(store: Store, start: Start, run_record: RunRecord) -> None:
    run_id = start()
    start(key="b" * 64)
    score(store, run_id, 0.1, 0.2)
    store.mark_failed(run_id, "S1", "L2", "it raised")
    first, second = store.runs()
    assert first.run == run_record
    assert (first.scores.scene, first.scores.listener, first.scores.track) == (("S1",), ("L1",), ("track one",))
    assert (first.scores.left, first.scores.right) == ((0.1,), (0.2,))
    assert first.failed == 1
    assert first.last_scored is not None
    assert (second.scores.score, second.failed, second.last_scored) == ((), 0, None)


WRITER = """
import sys
from harness_leaderboard.records import EvaluationSetRecord, RunRecord
from harness_leaderboard.store import Store
url, me, writers, pairs = sys.argv[1], *map(int, sys.argv[2:])
with Store.open(url, create=True) as store:
    due = [(f"S{scene}", "L1", "track") for scene in range(pairs)]
    about = EvaluationSetRecord("demo", "valid", "e" * 64, pairs, pairs)
    for key in ("shared", f"own {me}"):
        run = RunRecord(key, "s", "1", {}, True, 0, "none", "none", "", None, False, key, pairs)
        run_id = store.start_run(run, about, "f", {}, due)
        for number, (scene, listener, _) in enumerate(due):
            if key != "shared" or number % writers == me:
                store.mark_enhanced(run_id, scene, listener, "1", 0)
                store.add_score(run_id, scene, listener, "1", 0.5, 0.5, "f", {"writer": "any"})
"""


def test_writers_in_several_processes_lose_nothing(tmp_path: Path) -> None:
    writers, pairs = 3, 12
    url = f"sqlite:///{tmp_path / 'leaderboard.db'}"
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
        connection.execute(text("DELETE FROM runs"))
        assert len(reader.runs()) == 1
    assert store.runs() == []
