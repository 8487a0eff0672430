"""What is summed up and kept is what would be computed: after any operations, in any order."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, RunRecord, SetPair
from harness_leaderboard.store import Store

LISTENERS = [("S1", "L1"), ("S1", "L2"), ("S2", "L1")]
SETS = {
    "whole": (EvaluationSetRecord("whole", "valid", "w", 2, 3), [SetPair(*p, "t", "-".join(p)) for p in LISTENERS]),
    "part": (EvaluationSetRecord("part", "valid", "p", 1, 2), [SetPair(*p, "t", "-".join(p)) for p in LISTENERS[:2]]),
}
RUNS = [("a", "whole"), ("b", "whole"), ("a", "part")]

pairs = st.integers(0, 2)
files = st.sampled_from(["1", "2"])
operations = st.one_of(
    st.tuples(st.just("mark"), st.integers(0, 2), pairs, files),
    st.tuples(st.just("fail"), st.integers(0, 2), pairs),
    st.tuples(
        st.just("score"),
        pairs,
        files,
        st.sampled_from(["locked", "fast"]),
        st.sampled_from(["f", "g"]),
        st.floats(0, 1),
        st.booleans(),
    ),
    st.tuples(st.just("keep")),
    st.tuples(st.just("evaluator"), st.integers(0, 2), st.sampled_from(["f", "g"])),
    st.tuples(st.just("hide"), st.integers(0, 2)),
)


def shown(store: Store) -> list[Any]:
    """The runs, with their scores instead of the function that reads them."""
    return [{**vars(run), "load_scores": None, "scores": run.scores} for run in store.runs()]


def enter(store: Store, index: int, fingerprint: str) -> int:
    key, name = RUNS[index]
    run = RunRecord(key, "s", "1", {}, True, 0, "none", "none", "", None, False, "s")
    return store.start_run(run, SETS[name][0], fingerprint, {}, SETS[name][1])


@settings(max_examples=40, deadline=None)
@given(st.lists(operations, max_size=25))
def test_summaries_are_right_after_any_operations(todo: list[Any]) -> None:
    with TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 'x.db'}", create=True) as store:
        runs = [enter(store, index, "f") for index in range(3)]
        enter(store, 0, "g")
        for what, *values in todo:
            if what in ("mark", "fail"):
                run, pair = values[0], LISTENERS[values[1]]
                if pair not in store.find_run(runs[run]).pairs:
                    continue
                if what == "mark":
                    store.mark_all_enhanced(runs[run], [EnhancedFile(*pair, values[2], 0)])
                else:
                    store.mark_failed(runs[run], {pair: "it raised"})
            elif what == "score":
                pair, file, engine, fingerprint, value, replaces = values
                score = NewScore(file, "-".join(LISTENERS[pair]), engine, value, 1 - value, replaces)
                store.add_scores([score], fingerprint, {engine: {"engine": engine}})
            elif what == "keep":
                store.keep_summaries()
            elif what == "evaluator":
                enter(store, *values)
            else:
                status = store.find_run(runs[values[0]]).status
                store.set_visibility(status.id, "hidden" if status.visibility == "shown" else "unhidden", "why not")
        kept = shown(store)
        with store.engine.begin() as connection:
            connection.execute(text("DELETE FROM summaries"))
        assert shown(store) == kept
