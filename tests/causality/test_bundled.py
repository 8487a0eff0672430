"""The systems that come with the harness, on the embedded evaluation set."""

import pytest
from support import RunCli

pytestmark = pytest.mark.slow


def audited(run_cli: RunCli, *args: object) -> tuple[int, dict]:
    outcome = run_cli("audit-causality", "--system", *args, "--json")
    assert outcome.code in (0, 1), outcome.stderr
    return outcome.code, outcome.json


def test_passthrough_looks_nowhere_ahead(run_cli: RunCli) -> None:
    code, found = audited(run_cli, "passthrough")
    assert (code, found["look_ahead_samples"], found["delay_samples"]) == (0, 0, 110)


def test_centre_looks_half_a_second_ahead(run_cli: RunCli) -> None:
    code, found = audited(run_cli, "centre")
    assert (code, found["whole_piece"], found["delay_samples"]) == (1, False, 0)
    assert 20000 < found["look_ahead_samples"] < 30000


@pytest.mark.parametrize("name", ["umx", "demucs"])
def test_networks_with_recurrence_both_ways_look_at_the_whole_piece(name: str, run_cli: RunCli) -> None:
    code, found = audited(run_cli, name, "--option", "model=demo", "--seconds", 2)
    assert (code, found["whole_piece"], found["delay_samples"]) == (1, True, 0)
    assert found["cuts"] == 1
