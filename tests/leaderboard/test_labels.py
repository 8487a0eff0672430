"""What runs are called: by a chosen name, else by their system and what differs."""

from collections.abc import Callable
from typing import Any

import pytest

from harness_leaderboard.labels import checks, labels
from harness_leaderboard.ranking import boards
from harness_leaderboard.records import ScoredRun

PAIRS = [("S1", "L1", "one"), ("S1", "L2", "one"), ("S2", "L1", "two"), ("S2", "L2", "two")]
MakeRun = Callable[..., ScoredRun]


def called(scored_run: MakeRun, *declared: dict[str, Any]) -> list[str]:
    """The labels of runs that declare this, the best first, of the system "halves" if they do not say otherwise."""
    runs = [
        scored_run([(*pair, 0.9 - 0.1 * place, 0.9 - 0.1 * place) for pair in PAIRS], **{"system": "halves", **each})
        for place, each in enumerate(declared)
    ]
    (board,) = boards(runs)
    return labels(board)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([{}], ["halves"]),
        ([{}, {"system": "umx"}], ["halves", "umx"]),
        (
            [{"settings": {"width": 0.5, "seed": 1}}, {"settings": {"width": 1.0, "seed": 1}}],
            ["halves width=0.5", "halves width=1.0"],
        ),
        ([{"settings": {"width": 0.5}}, {"settings": {}}], ["halves width=0.5", "halves"]),
        ([{"chain": "live"}, {}], ["halves chain=live", "halves chain=baseline"]),
        # One setting is enough where it tells all of them apart.
        (
            [{"settings": {"a": 1, "b": 1}}, {"settings": {"a": 1, "b": 2}}, {"settings": {"a": 2, "b": 3}}],
            ["halves b=1", "halves b=2", "halves b=3"],
        ),
        (
            [{"settings": {"a": 1, "b": 1}}, {"settings": {"a": 1, "b": 2}}, {"settings": {"a": 2, "b": 1}}],
            ["halves a=1 b=1", "halves a=1 b=2", "halves a=2 b=1"],
        ),
        ([{"settings": {"on": True}}, {"settings": {"on": None}}], ["halves on=true", "halves on=null"]),
        ([{"version": "2"}, {"version": "v1"}], ["halves v2", "halves v1"]),
        (
            [
                {"settings": {"width": 1}},
                {"settings": {"width": 2}, "version": "1"},
                {"settings": {"width": 2}, "version": "2"},
            ],
            ["halves width=1", "halves width=2 v1", "halves width=2 v2"],
        ),
        ([{"submission": "mine"}, {"submission": "yours"}], ["halves (mine)", "halves (yours)"]),
        ([{}, {}], ["halves #1", "halves #2"]),
        (
            [{"submission": "a"}, {"submission": "b"}, {"submission": "b"}],
            ["halves (a)", "halves (b) #2", "halves (b) #3"],
        ),
        ([{"name": "paper"}, {}], ["paper", "halves"]),
        ([{"name": "paper"}, {"version": "1"}, {"version": "2"}], ["paper", "halves v1", "halves v2"]),
        ([{"name": "halves"}, {"name": "halves"}], ["halves #1", "halves #2"]),
        ([{"name": "halves #2"}, {}, {}], ["halves #2 #1", "halves #2 #2", "halves #3"]),
        (
            [{"settings": {"weights": f"/a/long/way/to/the/weights/{name}.pt"}} for name in ("one", "two")],
            ["halves weights=…/weights/one.pt", "halves weights=…/weights/two.pt"],
        ),
        # Where the ends of long values do not differ either, the number does.
        (
            [{"settings": {"weights": f"/{name}/the/same/weights.pt"}} for name in ("one", "two")],
            ["halves #1", "halves #2"],
        ),
    ],
)  # fmt: skip
def test_runs_are_told_apart_by_what_differs(
    scored_run: MakeRun, declared: list[dict[str, Any]], expected: list[str]
) -> None:
    assert called(scored_run, *declared) == expected


def test_runs_are_called_the_same_in_any_order(scored_run: MakeRun) -> None:
    settings = [{"a": 1, "b": 1}, {"b": 2, "a": 1}, {"a": 2, "b": 1}]
    runs = [
        scored_run([(*pair, 0.5, 0.5) for pair in PAIRS], settings=each, key=str(place))
        for place, each in enumerate(settings)
    ]
    assert labels(boards(runs)[0]) == labels(boards(runs[::-1])[0])


def test_how_scores_were_checked(scored_run: MakeRun) -> None:
    checked = {"fast": 4, "in_double": 1, "checked": 1, "largest_difference": 3e-10}
    (board,) = boards(
        [
            scored_run([(*pair, 0.9, 0.9) for pair in PAIRS], **checked),
            scored_run([(*pair, 0.8, 0.8) for pair in PAIRS], system="b", fast=4, in_double=8),
        ]
    )
    assert checks(board) == [
        "✓ 16 ears with fast scores (9 in double precision): 1 checked by the locked evaluator, 4 by double precision; "
        "largest difference 3e-10, allowed 1e-06"
    ]
    unchecked = {"fast": 4, "in_double": 8, "checked_in_double": 0}
    (board,) = boards([scored_run([(*pair, 0.9, 0.9) for pair in PAIRS], **unchecked)])
    assert checks(board) == [
        "✓ 8 ears with fast scores (8 in double precision): 0 checked by the locked evaluator, 0 by double precision"
    ]
    (board,) = boards([scored_run([(*pair, 0.9, 0.9) for pair in PAIRS], fast=4, checked_in_double=1)])
    assert checks(board) == []
