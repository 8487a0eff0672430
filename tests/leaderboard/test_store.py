"""What is written comes back; a score belongs to its file's content, whoever has the file."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from harness_leaderboard.errors import LeaderboardError
from harness_leaderboard.records import (
    EnhancedFile,
    EvaluationSetRecord,
    NewScore,
    PairRecord,
    RunRecord,
    SetPair,
    checks_due,
)
from harness_leaderboard.store import Store

FINGERPRINT = "f" * 64
FILE, OTHER_FILE = "a" * 64, "b" * 64
REFERENCES = {("S1", "L1"): "1" * 64, ("S1", "L2"): "2" * 64, ("S2", "L1"): "3" * 64, ("S2", "L2"): "4" * 64}
ENVIRONMENTS = {"locked": {"numpy": "2.0"}, "fast": {"numpy": "2.0", "fast_engine": "1"}}
Start = Callable[..., int]


def mark(store: Store, run_id: int, pair: tuple[str, str] = ("S1", "L1"), file: str = FILE) -> None:
    store.mark_all_enhanced(run_id, [EnhancedFile(*pair, file, 7)])


def add(
    store: Store,
    left: float,
    right: float,
    engine: str = "locked",
    pair: tuple[str, str] = ("S1", "L1"),
    file: str = FILE,
    replaces: bool = False,
    fingerprint: str = FINGERPRINT,
) -> None:
    score = NewScore(file, REFERENCES[pair], engine, left, right, replaces)  # type: ignore[arg-type]
    store.add_scores([score], fingerprint, ENVIRONMENTS)  # type: ignore[arg-type]


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
    found = store.find_run(run_id)
    assert found.id == run_id
    assert found.run == run_record
    assert found.evaluation_set == evaluation_set
    assert (found.status.fingerprint, found.status.name, found.status.visibility) == (FINGERPRINT, None, "shown")
    assert found.status.created_at == found.status.updated_at
    assert found.status.created_at.endswith("Z")
    assert found.pairs["S2", "L1"] == PairRecord(
        "S2", "L1", "track two", "3" * 64, "pending", None, None, None, None, None
    )
    assert len(found.pairs) == 4
    with pytest.raises(LeaderboardError, match="there is no run 99 in"):
        store.find_run(99)


def test_a_run_is_found_by_its_key_and_set(store: Store, start: Start, run_record: RunRecord) -> None:
    first = start()
    assert start() == first
    other_set = EvaluationSetRecord("other", "valid", "0" * 64, 1, 1)
    second = store.start_run(run_record, other_set, FINGERPRINT, {}, [SetPair("S1", "L1", "track one", "1" * 64)])
    assert len({first, second, start(key="b" * 64)}) == 3
    # Another evaluator is no other run: scores say themselves which evaluator gave them.
    assert store.start_run(run_record, other_set, "0" * 64, {}, [SetPair("S1", "L1", "track one", "1" * 64)]) == second


def test_declaring_anew_keeps_files_and_scores_and_the_old_declaration(
    store: Store, start: Start, run_record: RunRecord
) -> None:
    run_id = start()
    mark(store, run_id)
    add(store, 0.1, 0.2)
    store.mark_failed(run_id, {("S1", "L2"): "it raised"})
    assert start(folder="/somewhere/else") == run_id  # where it lies is no declaration
    assert store.history(run_id)[0] == []
    assert start(version="5", not_eligible="private data", parameters=3, team="us") == run_id
    found = store.find_run(run_id)
    assert found.run == replace(run_record, version="5", not_eligible="private data", parameters=3, team="us")
    assert found.pairs["S1", "L1"].state == "scored"
    assert found.pairs["S1", "L2"].reason == "it raised"
    old, events = store.history(run_id)
    assert [each.run["version"] for each in old] == ["4.0.1"]
    assert [event.what for event in events] == ["entered", "declared anew"]
    assert events[-1].details == {"changed": ["not_eligible", "parameters", "team", "version"]}
    assert (count(store, "runs"), count(store, "evaluation_sets"), count(store, "evaluators")) == (1, 1, 1)


def test_a_set_cannot_change_under_its_hash(
    store: Store, start: Start, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    start()
    with pytest.raises(LeaderboardError, match="has 2 scenes and 5 pairs, but 2 and 4 under the same hash"):
        store.start_run(run_record, replace(evaluation_set, pairs=5), FINGERPRINT, {}, [])


def test_a_pair_given_twice_is_refused_and_nothing_stored(
    store: Store, run_record: RunRecord, evaluation_set: EvaluationSetRecord
) -> None:
    twice = [SetPair("S1", "L1", "track one", "1" * 64)] * 2
    with pytest.raises(LeaderboardError, match="has the pair S1 for L1 twice"):
        store.start_run(run_record, evaluation_set, FINGERPRINT, {}, twice)
    assert store.runs() == []
    assert count(store, "evaluation_sets") == 0


def test_impossible_declarations_are_refused(start: Start) -> None:
    with pytest.raises(LeaderboardError, match="ck_runs_parameters"):
        start(parameters=-1)


def test_large_models_fit(store: Store, start: Start) -> None:
    assert store.find_run(start(parameters=70_000_000_000)).run.parameters == 70_000_000_000


def test_a_score_comes_back_to_the_last_bit(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id)
    add(store, 0.1 + 0.2, 1 / 3)
    pair = store.find_run(run_id).pairs["S1", "L1"]
    assert (pair.state, pair.file_sha256, pair.clipped, pair.reason) == ("scored", FILE, 7, None)
    assert pair.score is not None
    assert (pair.score.left, pair.score.right) == (0.1 + 0.2, 1 / 3)
    assert pair.score.score == (0.1 + 0.2 + 1 / 3) / 2
    assert (pair.score.engine, pair.fast, pair.difference, pair.disputed) == ("locked", None, None, False)
    assert store.environments()[pair.score.environment_sha256] == {"numpy": "2.0"}


@pytest.mark.parametrize("locked", [(0.5, 0.2), (0.5 + 1.001e-6, 0.2), (0.5, 0.2 - 1.001e-6), (0.5 - 0.999e-6, 0.2)])
def test_a_score_is_disputed_from_the_tolerance_on(store: Store, start: Start, locked: tuple[float, float]) -> None:
    run_id = start()
    mark(store, run_id)
    add(store, 0.5, 0.2, "fast")
    add(store, *locked)
    found = store.find_run(run_id).pairs["S1", "L1"]
    gap = max(abs(locked[0] - 0.5), abs(locked[1] - 0.2))
    assert found.difference == gap
    assert found.disputed == (gap > 1e-6)
    assert [run.largest_difference for run in store.runs()] == [gap]


def test_runs_count_fast_and_checked_scores(store: Store, start: Start) -> None:
    run_id = start()
    start(key="b" * 64)
    for pair in (("S1", "L1"), ("S1", "L2"), ("S2", "L1")):
        mark(store, run_id, pair)
    add(store, 0.5, 0.2, "fast")
    add(store, 0.5 + 2e-9, 0.2)
    add(store, 0.5, 0.2, "fast", ("S1", "L2"))
    add(store, 0.1, 0.2, "locked", ("S2", "L1"))
    store.mark_failed(run_id, {("S2", "L2"): "it raised"})
    first, second = store.runs()
    assert (first.fast, first.checked, first.only_fast) == (2, 1, 1)
    assert first.largest_difference == (0.5 + 2e-9) - 0.5
    assert (first.failed, first.scored, len(first.scores.score)) == (1, 3, 3)
    assert (second.fast, second.checked, second.largest_difference, second.scored) == (0, 0, None, 0)
    assert (second.failed, second.last_scored) == (0, None)


@pytest.mark.parametrize("first", ["locked", "fast"])
def test_the_locked_score_counts_whoever_comes_first(store: Store, start: Start, first: str) -> None:
    run_id = start()
    mark(store, run_id)
    for engine in (first, "fast" if first == "locked" else "locked"):
        add(store, 0.5 if engine == "fast" else 0.6, 0.2, engine, replaces=engine == "fast")
    (run,) = store.runs()
    assert run.scores.left == (0.6,)
    assert (run.fast, run.checked, run.only_fast) == (1, 1, 0)


def test_a_stored_score_stays_unless_it_is_replaced(store: Store, start: Start) -> None:
    mark(store, start())
    add(store, 0.1, 0.1)
    add(store, 0.3, 0.3)
    assert store.runs()[0].scores.score == (0.1,)
    add(store, 0.3, 0.3, replaces=True)
    assert store.runs()[0].scores.score == (0.3,)
    assert count(store, "scores") == 1


def test_a_copied_file_is_scored_already(store: Store, start: Start) -> None:
    first, second = start(), start(key="b" * 64)
    mark(store, first)
    add(store, 0.1, 0.2)
    assert [run.scored for run in store.runs()] == [1, 0]
    mark(store, second)
    one, other = store.runs()
    assert one.sums == other.sums
    assert (one.shares, other.shares) == ({second: 1}, {first: 1})
    # The same content for another pair is another remix: it is held against another reference.
    mark(store, second, ("S1", "L2"))
    assert store.runs()[1].scored == 1
    mark(store, second, file=OTHER_FILE)
    assert [run.shares for run in store.runs()] == [{}, {}]


def test_sets_that_share_a_reference_share_its_scores(store: Store, start: Start, run_record: RunRecord) -> None:
    mark(store, start())
    add(store, 0.1, 0.2)
    other = EvaluationSetRecord("part of it", "valid", "0" * 64, 1, 1)
    run_id = store.start_run(run_record, other, FINGERPRINT, {}, [SetPair("S1", "somebody", "track", "1" * 64)])
    store.mark_all_enhanced(run_id, [EnhancedFile("S1", "somebody", FILE, None)])
    assert store.find_run(run_id).pairs["S1", "somebody"].state == "scored"


@pytest.mark.parametrize(
    ("pairs", "due"), [(0, 0), (1, 1), (2, 2), (3, 2), (200, 2), (201, 3), (700, 7), (19_200, 192), (19_201, 193)]
)
def test_how_many_checks_are_due(pairs: int, due: int) -> None:
    assert checks_due(pairs) == due


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_range_are_scores(store: Store, start: Start, value: float) -> None:
    mark(store, start())
    add(store, value, value)
    (run,) = store.runs()
    assert run.scores.score == (value,)


def test_equal_environments_are_stored_once(store: Store, start: Start) -> None:
    start()
    for pair, environment in ((("S1", "L1"), {"a": "1", "b": "2"}), (("S1", "L2"), {"b": "2", "a": "1"})):
        score = NewScore(FILE, REFERENCES[pair], "locked", 0.5, 0.5)
        store.add_scores([score], FINGERPRINT, {"locked": environment})
    assert count(store, "environments") == 1


def test_another_file_has_no_score_and_the_first_keeps_its(store: Store, start: Start) -> None:
    run_id = start()
    mark(store, run_id)
    add(store, 0.1, 0.2)
    mark(store, run_id, file=OTHER_FILE)
    assert store.find_run(run_id).pairs["S1", "L1"].state == "enhanced"
    assert [run.scored for run in store.runs()] == [0]
    mark(store, run_id)
    assert [run.scored for run in store.runs()] == [1]


def test_a_failure_takes_the_file_and_not_its_score(store: Store, start: Start) -> None:
    first, second = start(), start(key="b" * 64)
    mark(store, first)
    mark(store, second)
    add(store, 0.1, 0.2)
    store.mark_failed(first, {("S1", "L1"): "the file is gone"})
    pair = store.find_run(first).pairs["S1", "L1"]
    assert (pair.state, pair.reason, pair.file_sha256, pair.score) == ("failed", "the file is gone", None, None)
    assert [(run.failed, run.scored) for run in store.runs()] == [(1, 0), (0, 1)]
    mark(store, first)
    assert store.find_run(first).pairs["S1", "L1"].state == "scored"
    store.mark_pending(first, [("S1", "L1")])
    assert store.find_run(first).pairs["S1", "L1"].state == "pending"


def test_many_files_are_marked_at_once_or_not_at_all(store: Store, start: Start) -> None:
    run_id = start()
    files = [EnhancedFile("S1", "L1", FILE, 1), EnhancedFile("S2", "L2", OTHER_FILE, None)]
    with pytest.raises(LeaderboardError, match="has no pair S9 for L1"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S9", "L1", FILE, 0)])
    assert store.find_run(run_id).pairs["S2", "L2"].state == "pending"
    with pytest.raises(LeaderboardError, match="ck_run_pairs_clipped"):
        store.mark_all_enhanced(run_id, [*files, EnhancedFile("S2", "L1", FILE, -1)])
    assert store.find_run(run_id).pairs["S2", "L2"].state == "pending"
    store.mark_all_enhanced(run_id, files)
    store.mark_all_enhanced(run_id, [])
    assert store.find_run(run_id).pairs["S2", "L2"].file_sha256 == OTHER_FILE


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1, float("inf")])
@pytest.mark.parametrize("ear", ["left", "right"])
def test_impossible_scores_are_refused(store: Store, start: Start, ear: str, value: float) -> None:
    start()
    ears = {"left": 0.5, "right": 0.5, ear: value}
    with pytest.raises(LeaderboardError, match=f"the {ear} score {value} is not from 0 to 1"):
        add(store, ears["left"], ears["right"])
    assert count(store, "scores") == 0


def test_scores_of_unknown_evaluators_references_and_engines_are_refused(store: Store, start: Start) -> None:
    run_id = start()
    with pytest.raises(LeaderboardError, match="no run was entered under evaluator 000000000000"):
        add(store, 0.5, 0.5, fingerprint="0" * 64)
    with pytest.raises(LeaderboardError, match="no evaluation set has the reference 999999999999"):
        store.add_scores([NewScore(FILE, "9" * 64, "locked", 0.5, 0.5)], FINGERPRINT, {"locked": {}})
    with pytest.raises(LeaderboardError, match=r"refused impossible data.*ck_scores_engine"):
        store.add_scores(
            [NewScore(FILE, "1" * 64, "quick", 0.5, 0.5)],  # type: ignore[arg-type]
            FINGERPRINT,
            {"quick": {}},  # type: ignore[dict-item]
        )
    with pytest.raises(LeaderboardError, match=rf"run {run_id + 98} in .* has no pair S1 for L1"):
        store.mark_failed(run_id + 98, {("S1", "L1"): "no such run"})
    assert count(store, "scores") == 0


def test_scores_under_two_evaluators_stand_side_by_side(store: Store, start: Start, run_record: RunRecord) -> None:
    run_id = start()
    mark(store, run_id)
    add(store, 0.1, 0.2)
    pairs = [SetPair(*pair, "track", sha256) for pair, sha256 in REFERENCES.items()]
    about = EvaluationSetRecord(name="demo", split="valid", sha256="e" * 64, scenes=2, pairs=4)
    store.start_run(run_record, about, "0" * 64, {}, pairs)
    add(store, 0.3, 0.4, fingerprint="0" * 64)
    found = {run.fingerprint: run.scores.score for run in store.runs()}
    assert found == {FINGERPRINT: ((0.1 + 0.2) / 2,), "0" * 64: ((0.3 + 0.4) / 2,)}


WRITER = """
import sys
from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, RunRecord, SetPair
from harness_leaderboard.store import Store
url, me, writers, pairs = sys.argv[1], *map(int, sys.argv[2:])
engine = "fast" if me % 2 else "locked"
with Store.open(url, create=True) as store:
    due = [SetPair(f"S{scene}", "L1", "track", f"reference {scene}") for scene in range(pairs)]
    about = EvaluationSetRecord("demo", "valid", "e" * 64, pairs, pairs)
    for key in ("shared", f"own {me}"):
        run = RunRecord(key, "s", "1", {}, True, 0, "none", "none", "", None, False, key)
        run_id = store.start_run(run, about, "f", {}, due)
        for pair in due:
            store.mark_all_enhanced(run_id, [EnhancedFile(pair.scene, "L1", key, 0)])
            left = 0.25 if engine == "fast" else 0.5
            score = NewScore(key, pair.reference_sha256, engine, left, left, replaces=engine == "fast")
            store.add_scores([score], "f", {engine: {"writer": "any"}})
    store.keep_summaries()
"""


def test_writers_in_several_processes_lose_nothing_and_locked_scores_count(tmp_path: Path) -> None:
    writers, pairs = 3, 8
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
        runs = {run.run.key: run for run in store.runs()}
    assert sorted(runs) == ["own 0", "own 1", "own 2", "shared"]
    assert [run.scored for run in runs.values()] == [pairs] * 4
    # Both engines scored the shared files, in whatever order.
    assert set(runs["shared"].scores.score) == {0.5}
    assert (runs["shared"].fast, runs["shared"].checked) == (pairs, pairs)
    assert set(runs["own 1"].scores.score) == {0.25}


def test_a_writer_killed_at_any_moment_leaves_what_is_right(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'leaderboard.db'}"
    for seconds in (0.5, 0.7, 0.9, 1.1):
        process = subprocess.Popen([sys.executable, "-c", WRITER, url, "0", "1", "300"], stderr=subprocess.PIPE)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        if not (tmp_path / "leaderboard.db").exists():
            continue
        with Store.open(url, create=True) as store:
            with store.engine.connect() as connection:
                assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
                assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
            kept = [run.sums for run in store.runs()]
            with store.engine.begin() as connection:
                connection.execute(text("DELETE FROM summaries"))
            assert [run.sums for run in store.runs()] == kept


def test_readers_see_what_is_committed_while_somebody_writes(url: str, store: Store, start: Start) -> None:
    start()
    with (
        store.engine.execution_options(immediate=True).begin() as connection,
        Store.open(url, create=False) as reader,
    ):
        connection.execute(text("UPDATE runs SET visibility = 'hidden'"))
        assert len(reader.runs()) == 1
    assert store.runs() == []
