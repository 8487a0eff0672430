"""Which class a run is in, and whose word counts for it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.chain import NALR_DELAY
from harness.music.layout import load
from harness.scoring.classes import MAX_THROUGH, causality_of, classified, load_of
from harness.scoring.entries import run_record
from harness.submission.causality import CausalityRecord, LoadRecord, StreamingRecord
from harness.submission.manifest import Manifest
from harness.submission.validation import judge

STREAMERS = Path(__file__).parents[1] / "streamers.py"

LIAR = """
causal = True

def separate(self, mixture, sample_rate):
    return {stem: mixture / np.abs(mixture).max() / 4 for stem in STEMS}
"""

STREAMED = CausalityRecord(basis="streamed", verdict="causal", reason="streamed", look_ahead=219, delay=0, cuts=2)


def manifest(**changes):
    """Of a causal separator, with the live chain."""
    declared = {
        **{"format": 1, "system": "probe", "version": "1", "class": "causal", "training_data": "none"},
        "evaluation_set": {"name": "tiny", "split": "valid"},
        **{"kind": "separator", "chain": "live"},
    }
    return Manifest.model_validate({**declared, **changes})


@pytest.fixture
def record(submission, tiny_set):
    """A run's record, whose class is still to be found."""
    found = load(tiny_set.root)
    return replace(run_record("0" * 64, judge(submission, found, found.pairs, 1), found), causal=False)


def of(record, manifest, causality="its own"):
    """(causal, live) of a run."""
    verdict = causality_of(manifest) if causality == "its own" else causality
    found = classified(record, manifest, verdict)
    return found.causal, found.live


def test_a_chain_that_was_streamed_within_the_limits_is_live(record):
    assert of(record, manifest(causality=STREAMED)) == (True, True)
    assert of(record, manifest(causality=STREAMED, kind="enhancer", chain="baseline")) == (True, True)


def test_the_baseline_chain_knows_the_whole_piece_so_its_run_is_not_live(record):
    assert of(record, manifest(causality=STREAMED, chain="baseline")) == (True, False)


@pytest.mark.parametrize("over", [0, 1])
def test_the_through_delay_of_a_live_run_has_a_limit(record, over):
    """NAL-R's delay counts for a Separator; an Enhancer's own output has it already."""
    for kind, chain in (("separator", NALR_DELAY), ("enhancer", 0)):
        late = STREAMED.model_copy(update={"delay": MAX_THROUGH - 219 - chain + over})
        assert of(record, manifest(causality=late, kind=kind)) == (True, not over)


@pytest.mark.parametrize(
    "changes", [{"basis": "measured"}, {"verdict": "none"}, {"delay": None}, {"look_ahead": 221}], ids=str
)
def test_what_was_not_streamed_or_not_found_out_is_not_live(record, changes):
    assert of(record, manifest(causality=STREAMED.model_copy(update=changes))) == (True, False)


def test_a_contradiction_makes_a_run_non_causal_and_says_why(record):
    found = STREAMED.model_copy(
        update={"basis": "measured", "verdict": "not causal", "reason": "other music changes the whole piece, 1 cut"}
    )
    run = classified(record, manifest(causality=found), causality_of(manifest(causality=found)))
    assert (run.causal, run.live) == (False, False)
    assert run.causality.reason == "declared causal, but other music changes the whole piece, 1 cut"
    # Who never said so is not contradicted.
    honest = causality_of(manifest(**{"class": "non-causal"}, causality=found))
    assert honest.reason == "other music changes the whole piece, 1 cut"


def test_a_declaration_alone_is_believed_to_be_causal_and_never_live(record):
    assert of(record, manifest(), None) == (True, False)
    assert of(record, manifest(**{"class": "non-causal"}), None) == (False, False)


def test_a_verdict_that_a_stranger_brings_along_counts_only_against_them(record):
    assert of(record, manifest(causality=STREAMED), None) == (True, False)
    refuted = STREAMED.model_copy(update={"verdict": "not causal"})
    assert of(record, manifest(causality=refuted), None) == (False, False)


def test_the_load_of_a_run_is_over_all_its_pieces():
    quick = LoadRecord(
        **{"blocks": 100, "cpu_p50": 0.1, "cpu_p99": 0.2, "cpu_worst": 0.4, "cpu_late": 0},
        **{"wall_p50": 0.1, "wall_p99": 0.2, "wall_worst": 0.5, "wall_late": 0, "processor": "one"},
    )
    slow = quick.model_copy(update={"cpu_p50": 0.3, "cpu_p99": 0.9, "cpu_worst": 3.0, "cpu_late": 2, "wall_late": 5})
    form = StreamingRecord(block=110, latency=110)
    found = load_of(manifest(streaming=form, loads={"a": quick, "b": slow, "c": slow}))
    assert (found.block, found.blocks, found.cpu_late, found.wall_late) == (110, 300, 4, 10)
    assert (found.cpu_p50, found.cpu_p99, found.cpu_worst) == (0.3, 0.9, 3.0)
    assert found.processor == "one"
    assert load_of(manifest(streaming=form)) is None


# ---- through the command line ---------------------------------------------------------------------------


def row(run_cli):
    (found,) = run_cli("leaderboard", "--json").json
    return found


def test_a_liar_is_found_out_by_run(run_cli, tiny_set, plugin):
    outcome = run_cli("run", "--plugin", plugin(LIAR), "--system", "probe", "--engine", "fast", *tiny_set.args)
    assert outcome.code == 0, outcome.stderr
    assert "probe declares itself causal and is not: its run is non-causal" in outcome.stderr
    found = row(run_cli)
    assert (found["class"], found["causal"], found["verdict"]) == ("non-causal", False, "not causal")
    assert "declared causal, but" in run_cli("leaderboard").stdout


def test_a_streamed_run_is_live_and_scoring_it_again_takes_nothing_away(run_cli, tiny_set):
    command = ("--plugin", STREAMERS, "--system", "bands", "--chain", "live", *tiny_set.args)
    assert run_cli("run", *command, "--engine", "fast").code == 0
    found = row(run_cli)
    assert (found["class"], found["basis"], found["chain"]) == ("live", "streamed", "live")
    assert (found["look_ahead"], found["through"]) == (63, 63 + NALR_DELAY)
    assert found["load"] > 0

    scored = run_cli("score", "submissions/bands", "--engine", "fast", *tiny_set.args)
    assert scored.code == 0, scored.stderr
    assert row(run_cli) == found


def test_a_submission_that_calls_itself_live_is_declared(run_cli, tiny_set, plugin):
    """Elsewhere, somebody writes into a manifest what the harness would have found of another system."""
    path = plugin(
        "causal = True\n\ndef separate(self, mixture, sample_rate):\n    return {s: mixture / 4 for s in STEMS}"
    )
    enhance = ("enhance", "--plugin", path, "--system", "probe", "--chain", "live", "--output", "theirs")
    assert run_cli(*enhance, *tiny_set.args).code == 0
    told = json.loads(Path("theirs/submission.json").read_text())
    told["causality"] = STREAMED.model_dump(mode="json")
    told["streaming"] = {"block": 110, "latency": 110}
    Path("theirs/submission.json").write_text(json.dumps(told))
    scored = run_cli("score", "theirs", "--engine", "fast", *tiny_set.args)
    assert scored.code == 0, scored.stderr
    assert (row(run_cli)["class"], row(run_cli)["basis"]) == ("causal", "declared")


def test_a_wrong_latency_stops_the_run_with_both_figures(run_cli, tiny_set, plugin):
    path = plugin(
        """
        block, latency = 64, 0

        def prepare(self, sample_rate, block, channels):
            self.before = np.zeros((block, channels))

        def process(self, block):
            late, self.before = self.before, block
            return {stem: late / 4 for stem in STEMS}
        """,
        base="StreamingSeparator",
    )
    outcome = run_cli("run", "--plugin", path, "--system", "probe", "--engine", "fast", *tiny_set.args)
    assert outcome.code == 1
    assert "declares a latency of 0 samples, but its output lags the music by 64" in outcome.error
