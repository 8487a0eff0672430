"""Agreement with the official code, on data that it scored.

The data lies beside the repository (../shared/golden) where it exists; without it these tests are skipped. The vectors
that travel with the repository are tested in test_lock.py. Scoring everything takes minutes: `make test` scores a part,
HARNESS_TEST_ALL=1 everything.
"""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from harness.challenge import PROTOCOL
from harness.enhancement import amplify_ear
from harness.haaqi import fast
from harness.haaqi.evaluator import reference_mixture
from harness.music.layout import load
from harness.submission.flac import read_remix

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
SUBMISSIONS = ("passthrough", "oracle", "leaky")
EVERYTHING = os.environ.get("HARNESS_TEST_ALL") == "1"
SOME_SCENES = "scene_20006"
TOLERANCE = 1e-8
FAST_TOLERANCE = 1e-7

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden data is not beside this checkout")


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_scores_are_the_official_ones(name, run_cli, tmp_path):
    scores = tmp_path / "scores.csv"
    selection = () if EVERYTHING else ("--scenes", SOME_SCENES)
    result = run_cli("score", GOLDEN / "submissions" / name, "--data", GOLDEN, "--csv", scores, *selection)
    assert result.code == 0, result.stderr

    found = read_csv(scores)
    for folder in ("golden", "golden_090"):
        official = [
            row for row in read_csv(GOLDEN / folder / f"{name}.csv") if EVERYTHING or row["scene"] == SOME_SCENES
        ]
        assert [list(row) for row in found] == [list(row) for row in official]
        for ours, theirs in zip(found, official, strict=True):
            for key, value in theirs.items():
                if key.endswith("score"):
                    assert abs(float(ours[key]) - float(value)) <= TOLERANCE, (key, ours, theirs)
                else:
                    assert ours[key] == value


def test_the_fast_engine_meets_the_official_scores():
    found = load(GOLDEN)
    official = {
        (name, row["scene"], row["listener"]): (float(row["left_score"]), float(row["right_score"]))
        for name in SUBMISSIONS
        for row in read_csv(GOLDEN / "golden" / f"{name}.csv")
    }
    for scene in found.scenes if EVERYTHING else [scene for scene in found.scenes if scene.id == SOME_SCENES]:
        reference = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
        for listener in scene.listeners:
            for name in SUBMISSIONS:
                path = GOLDEN / "submissions" / name / PROTOCOL.remix_name(scene.id, listener.id)
                score = fast.score_pair(scene.id, reference, read_remix(path, scene.frames).signal, listener)
                due = official.pop((name, scene.id, listener.id))
                assert max(abs(score.left - due[0]), abs(score.right - due[1])) < FAST_TOLERANCE, path.name
    assert len(official) == (0 if EVERYTHING else 39)


@pytest.mark.parametrize("system", ["passthrough", "oracle"])
def test_remixes_are_the_official_ones(system, run_cli, tmp_path):
    result = run_cli("enhance", "--system", system, "--data", GOLDEN, "--output", tmp_path / "made")
    assert result.code == 0, result.stderr

    official = sorted((GOLDEN / "submissions" / system).glob("*.flac"))
    assert len(official) == 15
    for path in official:
        expected, rate = soundfile.read(path, dtype="int16")
        found, found_rate = soundfile.read(tmp_path / "made" / path.name, dtype="int16")
        assert (found.shape, found_rate) == (expected.shape, rate)
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1, path.name


def test_the_official_submissions_are_valid(run_cli):
    result = run_cli("validate", GOLDEN / "submissions", "--data", GOLDEN)
    assert result.code == 0, result.stdout
    assert result.stdout.count("valid, 15 remixes") == 3


@pytest.mark.parametrize("pair", ["scene_20001_L9001", "scene_20005_L5999"])
def test_intermediate_values_are_the_official_ones(pair):
    golden = np.load(GOLDEN / "golden" / "intermediates" / f"{pair}.npz")
    scene = next(scene for scene in load(GOLDEN).scenes if scene.id == str(golden["scene"]))
    listener = next(who for who in scene.listeners if who.id == str(golden["listener"]))

    assert PROTOCOL.seed(scene.id) == golden["seed"]
    reference = reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)
    assert np.abs(reference[:2000] - golden["reference_mixture_2000"]).max() < 1e-10
    for ear, channel, audiogram in (("left", 0, listener.left), ("right", 1, listener.right)):
        level = PROTOCOL.haaqi_level_db - 20 * np.log10(np.sqrt(np.mean(reference[:, channel] ** 2)))
        assert abs(level - golden[f"level1_{ear}"]) < 1e-10
        fir = amplify_ear(np.array([1.0]), audiogram)
        assert np.abs(fir - golden[f"nalr_fir_{ear}"]).max() < 1e-10
        amplified = amplify_ear(reference[:, channel], audiogram)
        assert len(amplified) == golden[f"reference_ha_{ear}_len"]
        assert np.abs(amplified[:2000] - golden[f"reference_ha_{ear}_2000"]).max() < 1e-10
        resampled = soxr.resample(amplified, PROTOCOL.sample_rate, PROTOCOL.haaqi_sample_rate, quality="HQ")
        assert len(resampled) == golden[f"reference_24k_{ear}_len"]
        assert np.abs(resampled[:2000] - golden[f"reference_24k_{ear}_2000"]).max() < 1e-10
        for name in SUBMISSIONS:
            path = GOLDEN / "submissions" / name / PROTOCOL.remix_name(scene.id, listener.id)
            signal = read_remix(path, scene.frames).signal[:, channel]
            processed = soxr.resample(signal, PROTOCOL.remix_sample_rate, PROTOCOL.haaqi_sample_rate, quality="HQ")
            assert processed.dtype == np.float32
            assert np.abs(processed[:2000] - golden[f"{name}_processed_24k_{ear}_2000"]).max() < 1e-10
