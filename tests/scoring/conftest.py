"""Passthrough's submission scored by the fast engine, and checks that are made often."""

import pytest

from harness_leaderboard import checks


@pytest.fixture
def score(run_cli, tiny_set, submission):
    """`score(*args)`: score passthrough's submission with the fast engine, in this process."""
    return lambda *args: run_cli("score", submission, *tiny_set.args, "--engine", "fast", "--workers", "1", *args)


@pytest.fixture
def often(monkeypatch):
    """Have the locked evaluator check one part in four, as it does one in 640."""
    monkeypatch.setattr(checks, "PARTS_PER_CHECK", 4)
