"""Summaries are always right: whatever was done, the board with them is the board without them."""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, text, update
from stored import EVALUATION_SET, PAIRS, RUN, add, count, mark, reference, set_pairs

from harness_leaderboard.checksums import of_summary
from harness_leaderboard.merging import Merged
from harness_leaderboard.models import SummaryRow
from harness_leaderboard.records import Engine, EnhancedFile, NewScore, ScoredRun
from harness_leaderboard.store import Store

OTHER_SET = replace(EVALUATION_SET, sha256="9" * 64)
OTHER_PAIRS = [*set_pairs([("S0", "L1", "track none")]), *PAIRS[:3]]
"""Shares three references with the first set."""

SETS = ((EVALUATION_SET, PAIRS), (OTHER_SET, OTHER_PAIRS))
RUNS = [(key, which) for key in "ab" for which in (0, 1)]

runs = st.sampled_from(range(len(RUNS)))
places = st.integers(0, 3)
files = st.sampled_from(["1" * 64, "2" * 64])
values = st.sampled_from([0.0, 0.1, 1 / 3, 0.7, 0.7 + 1e-7, 1.0])
evaluators = st.sampled_from(["f", "g"])
engines: st.SearchStrategy[Engine] = st.sampled_from(["locked", "fast"])
operations = st.one_of(
    st.tuples(st.just("enter"), runs, evaluators),
    st.tuples(st.just("mark"), runs, st.lists(st.tuples(places, files), min_size=1, max_size=4)),
    st.tuples(st.just("fail"), runs, places),
    st.tuples(st.just("wait"), runs, places),
    st.tuples(st.just("score"), runs, places, files, engines, values, values, st.booleans(), evaluators),
    st.tuples(st.just("score"), runs, places, files, engines, values, values, st.booleans(), evaluators),
    st.tuples(st.just("hide"), runs),
    st.tuples(st.just("keep")),
    st.tuples(st.just("keep")),
)


def board(store: Store) -> list[Any]:
    """What the ranking starts from, with the scores of the pairs."""

    def all_of(run: ScoredRun) -> Any:
        columns = run.scores
        in_order = sorted(zip(columns.scene, columns.listener, columns.left, columns.right, columns.score, strict=True))
        return replace(run, load_scores=None), in_order  # type: ignore[arg-type]

    return [all_of(run) for run in store.runs(("shown", "hidden"))] + [all_of(run) for run in store.runs()]


def without_summaries(store: Store) -> list[Any]:
    """The same, from nothing but scores."""
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM summaries"))
    return board(store)


def enter(store: Store, which: int, evaluator: str) -> int:
    key, place = RUNS[which]
    return store.start_run(replace(RUN, key=key), SETS[place][0], evaluator, {}, SETS[place][1])


def do(store: Store, ids: list[int], what: str, *rest: Any) -> None:
    """One operation of those above."""
    if what == "keep":
        store.keep_summaries()
        return
    which, *more = rest
    run_id, pairs = ids[which], SETS[RUNS[which][1]][1]
    if what == "enter":
        enter(store, which, more[0])
    elif what == "mark":
        marked = [(pairs[place], file) for place, file in more[0]]
        store.mark_all_enhanced(run_id, [EnhancedFile(pair.scene, pair.listener, file, 0) for pair, file in marked])
    elif what == "fail":
        store.mark_failed(run_id, {(pairs[more[0]].scene, pairs[more[0]].listener): "it raised"})
    elif what == "wait":
        store.mark_pending(run_id, [(pairs[more[0]].scene, pairs[more[0]].listener)])
    elif what == "hide":
        hidden = store.find_run(run_id).status.visibility == "hidden"
        store.set_visibility(run_id, "unhidden" if hidden else "hidden", "")
    else:
        place, file, engine, left, right, replaces, evaluator = more
        score = NewScore(file, pairs[place].reference_sha256, engine, left, right, replaces)
        store.add_scores([score], evaluator, {"locked": {}, "fast": {}})


@pytest.fixture(scope="module")
def entered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the runs above, each entered under both evaluators; their ids are one more than their places."""
    path = tmp_path_factory.mktemp("entered") / "x.db"
    with Store.open(f"sqlite:///{path}", create=True) as store:
        for evaluator in ("g", "f"):
            assert [enter(store, which, evaluator) for which in range(len(RUNS))] == [1, 2, 3, 4]
        store.keep_summaries()
    return path


@settings(max_examples=30, deadline=None)
@given(work=st.lists(operations, min_size=5, max_size=25))
def test_the_board_with_summaries_is_the_board_without(entered: Path, work: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copy(entered, folder)
        with Store.open(f"sqlite:///{path}", create=True) as store:
            for operation in work:
                do(store, [1, 2, 3, 4], *operation)
            found = board(store)
            store.keep_summaries()
            kept = board(store)
            assert found == kept == without_summaries(store)


def test_they_are_kept_and_read(store: Store, start: Callable[..., int]) -> None:
    """Were they not read at all, the test above would show nothing."""
    run_id = start()
    mark(store, run_id, "S1", "L1")
    add(store, "S1", "L1", 0.25, 0.75)
    assert count(store, "summaries") == 0
    store.keep_summaries()
    store.keep_summaries()
    assert count(store, "summaries") == 1
    with store.engine.begin() as connection:
        summary = connection.execute(text("SELECT CAST(summary AS TEXT) FROM summaries")).scalar_one()
        summary = summary.replace('failed": 0', 'failed": 3')
        fingerprint = str(connection.execute(text("SELECT fingerprint FROM evaluators")).scalar())
        connection.execute(
            update(SummaryRow).values(summary=json.loads(summary), checksum=bindparam("of_it")),
            {"of_it": of_summary(run_id, fingerprint, summary)},
        )
    assert [run.failed for run in store.runs()] == [3]
    # Only what has to do with a change is forgotten.
    other = start(key="b")
    mark(store, other, "S2", "L1")
    add(store, "S2", "L1", 0.5, 0.5)
    assert [run.failed for run in store.runs()] == [3, 0]
    add(store, "S1", "L1", 0.5, 0.5, "fast")
    assert [run.failed for run in store.runs()] == [0, 0]


def test_whoever_comes_to_share_a_file_is_summed_up_anew(store: Store, start: Callable[..., int]) -> None:
    first, second = start(), start(key="b")
    mark(store, first, "S1", "L1")
    add(store, "S1", "L1", 0.25, 0.75)
    store.keep_summaries()
    mark(store, second, "S1", "L1")
    assert [run.shares for run in store.runs()] == [{second: 1}, {first: 1}]
    store.keep_summaries()
    store.mark_failed(first, {("S1", "L1"): "it is gone"})
    assert [run.shares for run in store.runs()] == [{}, {}]


def test_a_merge_forgets_what_it_changes(store: Store, start: Callable[..., int], tmp_path: Path) -> None:
    run_id = start()
    mark(store, run_id, "S1", "L1")
    store.keep_summaries()
    with Store.open(f"sqlite:///{tmp_path / 'other.db'}", create=True) as other:
        theirs = other.start_run(replace(RUN, key="b"), *(EVALUATION_SET, "f" * 64, {}, PAIRS))
        mark(other, theirs, "S1", "L1")
        add(other, "S1", "L1", 0.25, 0.75)
        other.keep_summaries()
    assert store.import_(tmp_path / "other.db", "") == Merged(runs=1, scores=1)
    assert [run.scored for run in store.runs()] == [1, 1]
    assert board(store) == without_summaries(store)
    assert reference("S1", "L1") == PAIRS[0].reference_sha256
