"""Shared by the tests on submissions: validating them."""

from collections.abc import Callable

import pytest
from support import Outcome, RunCli, TinySet


@pytest.fixture
def validate(run_cli: RunCli, tiny_set: TinySet) -> Callable[..., Outcome]:
    """`harness validate` against the tiny set."""
    return lambda *args: run_cli("validate", *args, *tiny_set.args)
