"""Systems that tamper with scores, their storage or their surroundings: each pair keeps the score that it deserves."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from reliability import hostile
from reliability.test_hostile_plugins import ensure_way
from support import Outcome

PLUGIN = Path(__file__).with_name("tampering.py")
ANYWHERE = ("evaluator", "store", "for-ever", "environ", "numpy", "modules", "stems", "in-advance")
SANDBOXED = ("stems-on-disk", "write-scores")
"""What a process of the same user can do, and one in a sandbox cannot."""

PROCESS = ("honest", *ANYWHERE, "last")
SANDBOX = ("honest", *ANYWHERE, *SANDBOXED, "last")

Scores = dict[str, tuple[float, float, float]]


def scores_of(outcome: Outcome) -> Scores:
    return {row["listener"]: (row["left_score"], row["right_score"], row["score"]) for row in outcome.json["scores"]}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Outcome]:
    """`scored(listeners, system, *options)`: run a system over these listeners, once for the same arguments."""
    root = tmp_path_factory.mktemp("arena")

    @cache
    def run(listeners: tuple[str, ...], system: str, *options: str) -> Outcome:
        folder = root / f"{system}-{len(options)}"
        folder.mkdir()
        tiny = hostile.write_set(root / f"{folder.name}-tiny", listeners)
        command = ["run", "--system", system, *tiny.args, "--engine", "fast", "--output", "made", "--db", "board.db"]
        if system == "tampering":
            command += ["--plugin", str(PLUGIN), "--option", f"arena={str(root).encode().hex()}"]
        outcome = hostile.run_program([*command, "--json", *options], folder)
        assert hostile.survivors(folder.name) == []
        assert {path.name for path in folder.iterdir()} <= {"made", "made.log", "board.db"}
        return outcome

    return run


@pytest.fixture(scope="module")
def honest(scored: Callable[..., Outcome]) -> Scores:
    """The scores of the same remixes by an honest system."""
    outcome = scored(SANDBOX, "passthrough", "--workers", "1")
    assert outcome.code == 0, outcome.stderr
    return scores_of(outcome)


def check(outcome: Outcome, honest: Scores, mode: str) -> None:
    """The pair has the score that it deserves, or it has failed."""
    assert outcome.code in (0, 1), outcome.stderr
    failures = {failure["listener"]: failure["reason"] for failure in outcome.json["failures"]}
    if mode in failures:
        assert mode not in ("honest", "last", "stems", *SANDBOXED), failures
        assert failures[mode].startswith("system tampering ")
        assert mode not in scores_of(outcome)
    else:
        assert scores_of(outcome)[mode] == honest[mode]


@pytest.mark.parametrize("mode", PROCESS)
def test_in_a_process_of_its_own(scored: Callable[..., Outcome], honest: Scores, mode: str) -> None:
    # With workers, which are started after the system has run.
    check(scored(PROCESS, "tampering", "--workers", "2"), honest, mode)


@pytest.mark.parametrize("mode", SANDBOX)
def test_in_a_sandbox(scored: Callable[..., Outcome], honest: Scores, mode: str) -> None:
    options = ensure_way("sandbox")
    check(scored(SANDBOX, "tampering", *options, "--workers", "1"), honest, mode)
