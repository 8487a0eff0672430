"""harness audit-causality, whole."""

import time

import pytest
from support import RunCli, TinySet

SCALED = "return {stem: y / 4 for stem in STEMS}"


def separator(process: str, more: str = "") -> str:
    return f"""
        causal = True
        {more}

        def separate(self, x, sample_rate):
            y = {process}
            {SCALED}
    """


def test_a_liar_is_found_out_in_seconds(run_cli: RunCli, plugin) -> None:
    path = plugin(separator("x / np.abs(x).max()"))
    started = time.monotonic()
    outcome = run_cli("audit-causality", "--plugin", path, "--system", "probe", "--json")
    assert time.monotonic() - started < 60  # 3 s on a free machine; the embedded set may have to be made first
    assert outcome.code == 1
    found = outcome.json
    assert found["verdict"] == "not causal"
    assert found["class"] == "causal"
    assert found["whole_piece"] is True
    assert found["look_ahead_samples"] is found["look_ahead_ms"] is found["through_samples"] is None
    assert found["gain_db"] < -20
    assert (found["cuts"], found["calls"]) == (1, 6)
    assert found["missed"] == {}
    assert found["evidence"][0]["future"] == "loud"
    assert found["evidence"][0]["first_changed"] < found["evidence"][0]["cut"] - 44100


def test_a_causal_system_shows_what_was_measured(run_cli: RunCli, tiny_set: TinySet) -> None:
    args = ("audit-causality", "--system", "passthrough", *tiny_set.args, "--seconds", 1.5, "--in-process")
    outcome = run_cli(*args, "--json")
    assert outcome.code == 0, outcome.stderr
    found = outcome.json
    assert (found["system"], found["kind"], found["chain"], found["basis"]) == (
        "passthrough",
        "enhancer",
        None,
        "measured",
    )
    assert (found["verdict"], found["look_ahead_samples"], found["delay_samples"]) == ("causal", 0, 110)
    assert found["through_samples"] == 110
    assert found["through_ms"] == pytest.approx(110 / 44.1)
    assert (found["cuts"], found["calls"]) == (16, 41)
    assert found["levels"] == dict.fromkeys(("-40", "-60", "-80", "-100", "-120", "-140"), 0)
    assert found["missed"]["0.1"] == pytest.approx(0.9**16)
    assert len(found["evidence"]) == 36
    assert found["seconds"] > 0
    shown = run_cli(*args, "--cuts", 2)
    assert shown.code == 0
    assert "passthrough 1 (remix), declared causal" in shown.stdout
    assert "causal within what was tried: looks 0 samples (0.00 ms) ahead, 220 are allowed, 2 cuts" in shown.stdout
    assert "delay D" in shown.stdout
    assert "2.49" in shown.stdout
    assert "2 cuts missed" in shown.stdout
    assert "2 cuts, 13 calls" in shown.stderr


def test_no_verdict_has_a_code_of_its_own(run_cli: RunCli, plugin, tiny_set: TinySet) -> None:
    path = plugin(separator("x + 1e-3 * self.own.standard_normal(x.shape)", "own = np.random.default_rng()"))
    args = ("audit-causality", "--plugin", path, "--system", "probe", *tiny_set.args, "--seconds", 1)
    outcome = run_cli(*args, "--in-process", "--json")
    assert outcome.code == 3
    assert (outcome.json["verdict"], outcome.json["look_ahead_samples"], outcome.json["levels"]) == ("none", None, {})
    assert outcome.json["noise_db"] > -72
    shown = run_cli(*args, "--in-process")
    assert (shown.code, "no verdict: two calls with the same music differ by" in shown.stdout) == (3, True)


def test_a_chain_is_part_of_what_is_audited(run_cli: RunCli, plugin, tiny_set: TinySet) -> None:
    path = plugin("""
        def separate(self, x, sample_rate):
            late = np.concatenate([np.zeros((1, 2)), x[:-1]])
            return {"vocals": x - late, "drums": late / 2, "bass": late / 4, "other": late / 4}
    """)
    args = ("audit-causality", "--plugin", path, "--system", "probe", *tiny_set.args, "--seconds", 2, "--cuts", 2)
    by_chain = {}
    for chain in ("baseline", "live"):
        outcome = run_cli(*args, "--in-process", "--chain", chain, "--json")
        by_chain[chain] = (outcome.code, outcome.json["chain"], outcome.json["whole_piece"])
        assert outcome.json["delay_samples"] == 110
    assert by_chain == {"baseline": (1, "baseline", True), "live": (0, "live", False)}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def separate(self, x, sample_rate):\n    return 1 / 0", "system probe raised ZeroDivisionError"),
        ("def load(self):\n    raise RuntimeError('no weights')", "could not be set up"),
        ("def separate(self, x, sample_rate):\n    return {s: x[:99] for s in STEMS}", "has 99 samples, expected"),
    ],
)
def test_a_system_that_fails_is_not_refuted(body: str, said: str, run_cli: RunCli, plugin, tiny_set: TinySet) -> None:
    path = plugin(body if "separate" in body else f"{body}\n\ndef separate(self, x, sample_rate):\n    return x")
    outcome = run_cli("audit-causality", "--plugin", path, "--system", "probe", *tiny_set.args)
    assert outcome.code == 2
    assert said in outcome.error


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--system", "oracle"), "oracle is a reference"),
        (("--system", "passthrough", "--chain", "live"), "leave --chain out"),
        (("--system", "nobody"), "no system named 'nobody'"),
        (("--system", "passthrough", "--split", "other"), "split"),
    ],
)
def test_what_cannot_start_is_said(args, said: str, run_cli: RunCli, tiny_set: TinySet) -> None:
    outcome = run_cli("audit-causality", *args, *tiny_set.args)
    assert outcome.code == 2
    assert said in outcome.error
