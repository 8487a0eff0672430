"""Systems that tamper with scores, their storage or their surroundings: each pair keeps the score that it deserves."""

from collections.abc import Callable
from functools import cache

import pytest
from reliability import hostile
from reliability.hostile import Scores
from reliability.test_hostile_plugins import ensure_way
from support import Outcome, run_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """`scored(way, system, *options)`: run a system over the listeners of a way, once for the same arguments."""
    root = tmp_path_factory.mktemp("arena")

    @cache
    def run(way: str, system: str, *options: str) -> Outcome:
        folder = root / f"{way}-{system}"
        folder.mkdir()
        tiny = hostile.write_set(root / f"{folder.name}-tiny", hostile.TAMPERING[way])
        command = ["run", "--system", system, *tiny.args, "--engine", "fast", "--output", "made", "--db", "board.db"]
        if system == "tampering":
            command += hostile.tampering_options(root)
        outcome = hostile.run_program([*command, "--json", *options], folder)
        assert hostile.survivors(folder.name) == []
        assert {path.name for path in folder.iterdir()} <= {"made", "made.log", "board.db"}
        return outcome

    return run


@pytest.fixture(scope="module")
def honest(scored: Callable[..., Outcome]) -> Scores:
    """The scores of the same remixes by an honest system."""
    outcome = scored("sandbox", "passthrough", "--workers", "1")
    assert outcome.code == 0, outcome.stderr
    return hostile.scores_of(outcome)


def check(outcome: Outcome, honest: Scores, mode: str) -> None:
    assert outcome.code in (0, 1), outcome.stderr
    failures = {failure["listener"]: failure["reason"] for failure in outcome.json["failures"]}
    assert hostile.problems_of_tampering(mode, honest, hostile.scores_of(outcome), failures) == []


@pytest.mark.parametrize("mode", hostile.TAMPERING["process"])
def test_in_a_process_of_its_own(scored: Callable[..., Outcome], honest: Scores, mode: str) -> None:
    # With workers, which are started after the system has run.
    check(scored("process", "tampering", "--workers", "2"), honest, mode)


@pytest.mark.parametrize("mode", hostile.TAMPERING["sandbox"])
def test_in_a_sandbox(scored: Callable[..., Outcome], honest: Scores, mode: str) -> None:
    check(scored("sandbox", "tampering", *ensure_way("sandbox"), "--workers", "1"), honest, mode)


def test_sharing_our_memory_it_has_its_scores_stored_which_is_why_such_runs_have_no_rank(
    scored: Callable[..., Outcome], honest: Scores, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """That the plugin is no paper tiger: the tests above can fail. A check finds what it had stored."""
    assert honest  # by then the evaluator is proven, which it would not be afterwards
    outcome = scored("in-process", "tampering", "--in-process", "--workers", "1")
    assert outcome.code == 1, outcome.stderr
    assert " ear 0.99, its double precision 0." in outcome.stderr
    board = tmp_path_factory.getbasetemp() / "arena0/in-process-tampering/board.db"
    (row,) = run_app("leaderboard", "--json", "--db", board).json
    assert row["rank"] is None
    assert "--in-process" in row["why_not_ranked"] or row["status"] == "disputed"
