"""Which pairs get a page."""

import numpy as np
import pandas as pd
import pytest

from harness.report.choosing import Choice, choose

RUNS = (7, 3, 5, 9)
"""Numbers of runs in the order of the board."""

LABELS = {7: "first", 3: "second", 5: "third", 9: "fourth"}
BANDS = pd.CategoricalDtype(["normal", "mild", "moderate", "severe"], ordered=True)


@pytest.fixture
def listeners() -> pd.DataFrame:
    bands = pd.Series(["normal", "mild", "mild", "severe", "severe"], dtype=BANDS)
    return pd.DataFrame({"listener": [f"L{number}" for number in range(5)], "pta": [5, 25, 30, 70, 75], "band": bands})


@pytest.fixture
def pairs() -> pd.DataFrame:
    """Scores of four runs on 12 scenes for five listeners."""
    random = np.random.default_rng(1)
    rows = [(run, f"S{scene:02}", f"L{who}") for run in RUNS for scene in range(12) for who in range(5)]
    made = pd.DataFrame(rows, columns=["run", "scene", "listener"])
    return made.assign(score=random.uniform(0.2, 0.8, len(made)))


def reasons(choices: list[Choice]) -> dict[str, tuple[str, str]]:
    """The pair that each reason chose."""
    return {reason: choice.id for choice in choices for reason in choice.reasons}


def score(pairs: pd.DataFrame, run: int) -> "pd.Series[float]":
    return pairs[pairs["run"] == run].set_index(["scene", "listener"])["score"]


def test_each_step_of_the_rule(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    found = reasons(choose(pairs, RUNS, LABELS, listeners, most=30))

    for run in RUNS[:3]:
        scores = score(pairs, run)
        assert found[f"worst pair of {LABELS[run]}"] == scores.idxmin()
        assert found[f"best pair of {LABELS[run]}"] == scores.idxmax()
        below = (scores < scores[found[f"median pair of {LABELS[run]}"]]).sum()
        assert below == (len(scores) - 1) // 2
    assert not any("of fourth" in reason for reason in found)

    for one, other in ((7, 3), (3, 7), (7, 5), (5, 7), (3, 5), (5, 3)):
        ahead = score(pairs, one) - score(pairs, other)
        reason = f"{LABELS[one]} is furthest ahead of {LABELS[other]} (by {ahead.max():.3f})"
        assert found[reason] == ahead.idxmax()

    means = pairs.groupby(["scene", "listener"])["score"].mean()
    for who, words in (("L0", "normal hearing"), ("L1 L2", "a mild hearing loss"), ("L3 L4", "a severe hearing loss")):
        of_band = means[means.index.get_level_values("listener").isin(who.split())]
        typical = found[f"typical of listeners with {words}"]
        assert typical[1] in who.split()
        assert (of_band < of_band[typical]).sum() == (len(of_band) - 1) // 2
    assert not any("moderate" in reason for reason in found)


def test_room_that_is_left_goes_to_evenly_spaced_pairs(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    choices = choose(pairs, RUNS, LABELS, listeners, most=40)

    assert len({choice.id for choice in choices}) == len(choices) == 40
    means = pairs.groupby(["scene", "listener"])["score"].mean().sort_values()
    spaced = [list(means.index).index(c.id) for c in choices if c.reasons[0].startswith("number ")]
    assert spaced == sorted(spaced)
    assert [f"number {place + 1} of 60" for place in spaced] == [
        c.reasons[0].partition(" from")[0] for c in choices if c.reasons[0].startswith("number ")
    ]
    assert spaced[0] < 10
    assert spaced[-1] > 50
    assert max(np.diff(spaced)) <= 8


def test_the_first_steps_come_first_where_there_is_little_room(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    many = choose(pairs, RUNS, LABELS, listeners, most=30)
    few = choose(pairs, RUNS, LABELS, listeners, most=4)

    assert [choice.id for choice in few] == [choice.id for choice in many[:4]]
    assert [choice.reasons[0] for choice in few[:3]] == [
        "median pair of first",
        "worst pair of first",
        "best pair of first",
    ]
    assert choose(pairs, RUNS, LABELS, listeners, most=0) == []


def test_neither_order_nor_types_of_the_rows_matter(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    pairs["score"] = pairs["score"].round(1)  # many are equal
    shuffled = pairs.sample(frac=1, random_state=2).astype({"scene": "category", "listener": "category"})

    chosen = choose(pairs, RUNS, LABELS, listeners, most=25)
    assert choose(shuffled, RUNS, LABELS, listeners.sample(frac=1, random_state=3), most=25) == chosen


def test_of_a_small_set_every_pair_has_a_page(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    small = pairs[pairs["scene"].isin(["S00", "S01"])]

    choices = choose(small, RUNS, LABELS, listeners, most=12)
    assert {choice.id for choice in choices} == {(scene, f"L{who}") for scene in ("S00", "S01") for who in range(5)}
    assert all(choice.reasons for choice in choices)


def test_pairs_that_only_some_systems_have(pairs: pd.DataFrame) -> None:
    partial = pairs[(pairs["run"] == 7) | (pairs["scene"] == "S03")]

    found = reasons(choose(partial, RUNS, LABELS, most=30))
    assert found["worst pair of first"] == score(pairs, 7).idxmin()
    assert found["best pair of second"][0] == "S03"
    assert {pair[0] for reason, pair in found.items() if "furthest" in reason} == {"S03"}


def test_equal_systems_are_not_ahead_of_each_other(pairs: pd.DataFrame) -> None:
    one = pairs[pairs["run"] == 7]
    twins = pd.concat([one, one.assign(run=3)])

    assert not any("furthest" in reason for reason in reasons(choose(twins, (7, 3), LABELS, most=30)))


def test_without_scores_nothing_is_chosen(pairs: pd.DataFrame, listeners: pd.DataFrame) -> None:
    assert choose(pairs.iloc[:0], RUNS, LABELS, listeners, most=10) == []
