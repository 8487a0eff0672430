"""Agreement with the first challenge's own program (pyclarity 0.3.4), on stems that it made and scored.

The data lies beside the repository (../shared/golden_data) where it exists; without it these tests are skipped. The
vectors that travel with the repository are tested in haaqi/test_stems.py and haaqi/test_lock.py.
"""

import csv
from pathlib import Path

import pytest

from harness.challenge import CAD1
from harness.haaqi import stems
from harness.haaqi.conformance_cad1 import score_in
from harness.music.songs import load_songs
from harness.submission.protocols import form_of

GOLDEN = Path(__file__).parents[2] / "shared" / "golden_data" / "cad1_task1"
TOLERANCE = 1e-8
FAST_TOLERANCE = 2e-7  # a stem that is silent for long has fewer tiles, over which rounding averages out

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout"),
]


def official(name):
    with (GOLDEN / "official" / name).open(encoding="utf-8", newline="") as file:
        return {(row["song"], row["listener"]): row for row in csv.DictReader(file)}


def largest(score, row):
    """The largest difference of any stem's score from a row of the official CSV."""
    return max(abs(value - score_in(row).stems[name]) for name, value in score.stems.items())


def test_the_fast_engine_meets_the_official_scores():
    due, other = official("v0.3.4_scores_1-1.csv"), official("v0.9.0_scores.csv")
    found = load_songs(GOLDEN, "valid", "golden")
    assert [pair.id for pair in found.pairs] == list(due)
    for scene in found.scenes:
        references = stems.reference_stems(scene.read_stems())
        for pair in (pair for pair in found.pairs if pair.scene == scene):
            submitted = form_of(CAD1).read(GOLDEN / "enhanced_signals", pair).signals
            score = stems.score_stems_fast(scene.id, references, submitted, pair.listener)
            assert largest(score, due[pair.id]) <= FAST_TOLERANCE, pair.id
            assert abs(score.mean - float(due[pair.id]["score"])) <= FAST_TOLERANCE
            # The later program's rule of the level is another one: these scores are not those.
            assert largest(score, other[pair.id]) > 0.01


def test_the_locked_evaluator_gives_the_official_csv(run_cli, tmp_path):
    result = run_cli(
        *("score", GOLDEN / "enhanced_signals", "--data", GOLDEN, "--workers", "2"),
        *("--csv", tmp_path / "scores.csv"),
    )
    assert result.code == 0, result.stderr
    with (tmp_path / "scores.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.reader(file))
    with (GOLDEN / "official" / "v0.3.4_scores_1-1.csv").open(encoding="utf-8", newline="") as file:
        due = list(csv.reader(file))
    assert found[0] == due[0]
    for ours, theirs in zip(found[1:], due[1:], strict=True):
        assert ours[:2] == theirs[:2]
        for one, other in zip(ours[2:], theirs[2:], strict=True):
            assert abs(float(one) - float(other)) <= TOLERANCE
            assert one == str(float(one))
