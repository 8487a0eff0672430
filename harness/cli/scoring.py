"""Scoring as people see it: what `run`, `score` and `runs rescore` share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness import console
from harness.cli.common import Engine

if TYPE_CHECKING:
    from harness.compute.executor import Executor
    from harness.music.evaluationset import EvaluationSet
    from harness.scoring.run import Entry, Scored
    from harness_leaderboard.store import Store


def score_entries(
    store: "Store",
    entries: "Sequence[Entry]",
    found: "EvaluationSet",
    engine: Engine,
    executor: "Executor",
    anew: bool = False,
) -> "list[Scored]":
    """`harness.scoring.run.store_and_score`, with a progress bar."""
    from contextlib import ExitStack

    from harness.scoring.run import store_and_score

    with ExitStack() as stack:
        bar: list[console.Advance] = []

        def started(todo: int, scored_already: int, replaced: int) -> None:
            if scored_already:
                console.say(f"{scored_already} pairs are scored already")
            if replaced:
                by = "by the locked evaluator" if engine is Engine.locked else "in double precision"
                console.say(f"{replaced} pairs scored by the fast engine are scored again {by}")
            if todo:
                bar.append(stack.enter_context(console.progress("Scoring", todo, "pairs", executor.workers)))

        return store_and_score(
            store,
            entries,
            found,
            engine=engine.value,
            executor=executor,
            anew=anew,
            started=started,
            advance=lambda count, what: bar[0](count, what),
        )
