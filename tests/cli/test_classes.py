"""Classes on the command line: a board for each, and what is known of a run's."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored import EVALUATION_SET, FINGERPRINT, LOAD, MEASURED, PAIRS, RUN, STREAMED, WHOLE_PIECE, add, mark
from support import RunCli

from harness_leaderboard.store import Store

LIVE: dict[str, Any] = {"causal": True, "live": True, "chain": "live", "causality": STREAMED, "load": LOAD}
RUNS: dict[str, dict[str, Any]] = {
    "offline": {},
    "caught": {"causality": WHOLE_PIECE},
    "tried": {"causal": True, "causality": MEASURED},
    "live": LIVE,
    "believed": {"causal": True},
}
"""What runs declare, and what was found out about it; the first has the highest scores."""


@pytest.fixture
def board(tmp_path: Path) -> None:
    """A leaderboard with these runs, all complete."""
    with Store.open(f"sqlite:///{tmp_path / 'leaderboard.db'}", create=True) as store:
        for place, (name, declared) in enumerate(RUNS.items()):
            run = replace(RUN, key=name, system=name, **declared)
            run_id = store.start_run(run, EVALUATION_SET, FINGERPRINT, {}, PAIRS)
            for index, pair in enumerate(PAIRS):
                mark(store, run_id, pair.scene, pair.listener, name)
                score = 0.9 - 0.1 * place + 0.01 * index
                add(store, pair.scene, pair.listener, score, score, file=name)


@pytest.mark.usefixtures("board")
def test_each_class_is_ranked_by_itself(run_cli: RunCli) -> None:
    ranks = {
        "live": [("live", 1)],
        "causal": [("tried", 1), ("live", 2), ("believed", 3)],
        "non-causal": [("offline", 1), ("caught", 2)],
    }
    for name, expected in ranks.items():
        found = run_cli("leaderboard", "--class", name, "--json").json
        assert [(row["system"], row["rank"]) for row in found] == expected
        assert f"only {name} systems" in run_cli("leaderboard", "--class", name).stdout
    assert len(run_cli("leaderboard", "--json").json) == 5
    wrong = run_cli("leaderboard", "--class", "slow")
    assert (wrong.code, "live" in wrong.stderr) == (2, True)


@pytest.mark.usefixtures("board")
def test_columns_of_classes(run_cli: RunCli) -> None:
    names = "system,class,basis,look_ahead,delay,through,load,processor"
    table = list(csv.DictReader(io.StringIO(run_cli("leaderboard", "--columns", names, "--csv").stdout)))
    assert [line["class"] for line in table] == ["non-causal", "non-causal", "causal", "live", "causal"]
    assert (table[3]["look_ahead"], table[3]["through"], table[3]["load"]) == ("219", "329", "0.44")
    assert (table[1]["basis"], table[1]["look_ahead"]) == ("measured", "")
    text = " ".join(run_cli("leaderboard", "--columns", "system,basis,look_ahead").stdout.split())
    assert "tried measured (16 cuts) 4.8 ms" in text
    assert "caught measured (1 cut) whole piece" in text


@pytest.mark.usefixtures("board")
def test_all_that_is_known_of_a_run(run_cli: RunCli) -> None:
    text = " ".join(run_cli("runs", "show", "live").stdout.split())
    for said in (
        "class live, streamed",
        "through-delay 329 samples (7.5 ms)",
        "load, processor time p50 0.20, p99 0.44, worst 0.59, 0 late",
        "load, wall clock p50 0.21, p99 2.05, worst 3.65, 99 late",
    ):
        assert said in text
    tried = " ".join(run_cli("runs", "show", "tried").stdout.split())
    assert "look-ahead at -140 dB 219 samples (5.0 ms)" in tried
    declared = run_cli("runs", "show", "tried", "--json").json["declared"]
    assert declared["causality"]["evidence"] == MEASURED.evidence
    assert (declared["causality"]["cuts"], declared["load"]) == (16, None)
    assert "declared causal, but the output depends" in " ".join(run_cli("runs", "show", "caught").stdout.split())
