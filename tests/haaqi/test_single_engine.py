"""Whole ears in single precision, and when they go to double precision.

(Against the locked evaluator: test_agreement.py, test_fast_properties.py, test_golden.py.)
"""

import json
import os
import subprocess
import sys
from math import inf

import numpy as np
import pytest
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from haaqi import one_ear
from haaqi.signals import LEVEL1, LOSS, RATE, real_music

from harness.challenge import CAD1, EARS
from harness.haaqi import conformance_cad1, evaluator, fast
from harness.haaqi.conformance import scenes
from harness.haaqi.fast import pairs, result
from harness.haaqi.fast.double import engine as double
from harness.haaqi.fast.memory import Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS
from harness.haaqi.fast.result import Result
from harness.haaqi.fast.single import engine as single
from harness.haaqi.fast.single.vectors import LANES
from harness.haaqi.stems import score_stems_fast

CLOSE = 2e-7
"""Of a score in single precision to that in double. Rounding, 6e-8 in each step, averages out over the tiles."""

AUDIOGRAM = ClarityAudiogram(levels=LOSS, frequencies=HAAQI_AUDIOGRAM_FREQUENCIES)


def ear(precision, reference, processed, equalisation=2, seed=0):
    """What an engine makes of an ear."""
    bulk = precision.prepare(reference)
    found = precision.analyse_reference(reference, bulk, LOSS, equalisation, LEVEL1, Workspace())
    noise = Noise(np.random.RandomState(seed), 5 * BANDS * len(reference))
    return precision.score(found, processed, noise, 0, Workspace())


@pytest.mark.parametrize("samples", [7207, 14400])
@pytest.mark.parametrize("equalisation", [1, 2])
@pytest.mark.parametrize("damage", ["noise", "another level", "late", "leaky"])
def test_an_ear_scores_the_same_in_both_precisions(samples, equalisation, damage):
    reference = real_music(samples)
    processed = {
        "noise": reference + 0.02 * np.random.RandomState(1).standard_normal(samples),
        "another level": np.clip(2 * reference, -0.3, 0.3),
        "late": np.roll(reference, 101),
        "leaky": 0.8 * reference + 0.2 * real_music(samples, "vocals"),
    }[damage]
    found, due = (ear(precision, reference, processed, equalisation) for precision in (single, double))
    assert 0.05 < due.score < 1
    assert abs(found.score - due.score) < CLOSE
    assert found.draws == due.draws
    assert (due.delay_margin, due.level_margin) == (inf, inf)
    assert found.decided
    assert not due.decided


def test_there_is_no_score_where_nothing_tells_the_delay():
    reference = real_music(7207)
    assert ear(single, reference, np.zeros(7207)) is None


def test_equal_signals_are_certain():
    """The closest rival of no delay is a delay of one sample, of the slowest envelope."""
    found = ear(single, real_music(7207), real_music(7207))
    assert found.score == pytest.approx(ear(double, real_music(7207), real_music(7207)).score, abs=CLOSE)
    assert result.NEAR_TIE < found.delay_margin < 1e-4
    assert found.certain


@pytest.mark.parametrize(
    ("delay", "level", "certain", "margin"),
    [
        (inf, inf, True, inf),
        (1e-8, 5e-6, True, 1),
        (0.99e-8, 1, False, 0.99),
        (1, 4.9e-6, False, 0.98),
        (3e-8, 1e-5, True, 2),
        (0, 0, False, 0),
    ],
)
def test_certain_is_what_was_decided_by_enough(delay, level, certain, margin, monkeypatch):
    monkeypatch.setattr(result, "NEAR_TIE", 1e-8)
    monkeypatch.setattr(result, "NEAR_THRESHOLD", 5e-6)
    found = Result(0.5, 1, delay, level)
    assert (found.certain, found.margin) == (certain, pytest.approx(margin))
    assert found.decided == (margin < inf)


# Which precision it is


@pytest.fixture
def fresh():
    """An engine that has scored nothing yet, and none that this test leaves behind."""
    pairs._engine.cache_clear()
    yield
    pairs._engine.cache_clear()


def vectors():
    """The pairs of the conformance set: (scene, reference, what is submitted, listener)."""
    for scene in scenes():
        reference = evaluator.reference_mixture(scene.stems, scene.mixture, scene.gains)
        for listener in scene.listeners:
            yield scene.id, reference, (scene.processed(listener) / 32768).astype(np.float32), listener


def test_the_conformance_vectors_score_the_same_in_both_precisions():
    for pair in vectors():
        found, due = fast.score_pair(*pair), fast.score_pair(*pair, in_double=True)
        for which in EARS:
            assert abs(getattr(found, which) - getattr(due, which)) <= CLOSE
        assert (due.in_double, due.margin) == (set(EARS), None)
        assert found.in_double < set(EARS), "both ears went to double precision"
        assert found.margin >= 1


def test_the_stems_of_the_conformance_vectors_score_the_same_in_both_precisions(tmp_path):
    changed = 0
    for pair, references, processed in list(conformance_cad1.submitted(tmp_path))[::3]:
        found, due = (
            score_stems_fast(pair.scene.id, references, processed, pair.listener, in_double=in_double)
            for in_double in (False, True)
        )
        for name in CAD1.signals:
            difference = abs(found.stems[name] - due.stems[name])
            assert difference <= CLOSE, name
            if name in found.in_double:
                assert difference == 0
            changed += difference > 0
        assert due.margin is None
        assert found.in_double <= due.in_double
    assert changed > 8, "nothing was computed in single precision"


@pytest.mark.parametrize("limit", ["NEAR_TIE", "NEAR_THRESHOLD"])
def test_an_ear_that_is_not_certain_is_computed_in_double_precision(limit, monkeypatch, fresh):
    pair = next(vectors())
    due = fast.score_pair(*pair, in_double=True)
    before = fast.score_pair(*pair)
    assert (before.left, before.right) != (due.left, due.right)
    assert before.in_double == frozenset()
    monkeypatch.setattr(result, limit, 1e9)
    found = fast.score_pair(*pair)
    assert (found.left, found.right) == (due.left, due.right)
    assert (found.in_double, found.margin) == (set(EARS), None)
    monkeypatch.undo()
    assert fast.score_pair(*pair) == before, "what is kept of the reference is still that in single precision"


def test_one_ear_can_be_in_double_precision_and_the_other_not(monkeypatch, fresh):
    pair = next(vectors())
    before, due = fast.score_pair(*pair), fast.score_pair(*pair, in_double=True)
    # Just too much for the ear that has the smaller margin.
    for limit in ("NEAR_TIE", "NEAR_THRESHOLD"):
        monkeypatch.setattr(result, limit, 1.001 * before.margin * getattr(result, limit))
    found = fast.score_pair(*pair)
    (which,) = found.in_double
    (other,) = set(EARS) - {which}
    assert getattr(found, which) == getattr(due, which) != getattr(before, which)
    assert getattr(found, other) == getattr(before, other) != getattr(due, other)
    assert 1 <= found.margin < inf


@pytest.mark.parametrize("how", ["single", "not certain", "in double"])
def test_both_precisions_leave_the_generator_at_the_same_place(how, monkeypatch):
    if how == "not certain":
        monkeypatch.setattr(result, "NEAR_TIE", 1e9)
    reference, processed = real_music(7207), real_music(7207, "vocals") + 0.1 * real_music(7207)
    due = ear(double, reference, processed).draws
    assert due % (2 * BANDS) == 0
    function = pairs.HaaqiFunction(in_double=how == "in double")
    np.random.seed(0)
    function(processed, reference, RATE, RATE, AUDIOGRAM, 2, LEVEL1)
    found = np.random.standard_normal()
    np.random.seed(0)
    np.random.standard_normal(due)
    assert found == np.random.standard_normal()
    (kept,) = function.results
    assert kept.draws == due
    assert kept.decided == (how == "single")


def test_what_is_left_to_the_locked_evaluator_is_in_neither_precision():
    function = pairs.HaaqiFunction()
    np.random.seed(0)
    function(real_music(5000), real_music(5000), RATE, RATE, AUDIOGRAM, 2, LEVEL1)
    function(real_music(7207), real_music(7207), RATE, RATE, AUDIOGRAM, 2, LEVEL1)
    odd, ours = function.results
    assert odd is None
    assert pairs.how_computed({"left": odd, "right": ours}) == (
        frozenset(), ours.margin, "right", {"right": ours.draws}
    )  # fmt: skip
    assert pairs.how_computed({"left": odd}) == (frozenset(), None, None, {})
    one, two = Result(0.5, 1, 3e-8, 1), Result(0.5, 1)
    doubled, margin, closest, draws = pairs.how_computed({"a": one, "b": two, "c": ours})
    assert (doubled, margin) == (frozenset("b"), min(one.margin, ours.margin))
    assert closest == ("a" if one.margin < ours.margin else "c")
    assert draws == {"a": 1, "b": 1, "c": ours.draws}


# What is kept


def test_scores_do_not_depend_on_what_was_scored_before():
    first, second = scenes()
    submitted = {
        (scene.id, listener.id): (scene.processed(listener) / 32768).astype(np.float32)
        for scene in (first, second)
        for listener in scene.listeners
    }
    references = {
        scene.id: evaluator.reference_mixture(scene.stems, scene.mixture, scene.gains) for scene in (first, second)
    }

    def score(scene, listener, processed=None):
        remix = submitted[scene.id, listener.id] if processed is None else processed
        return fast.score_pair(scene.id, references[scene.id], remix, listener)

    one, two = first.listeners
    due = {(scene.id, who.id): score(scene, who) for scene in (first, second) for who in (one, two)}
    assert score(first, two) == due[first.id, two.id]
    # The reference is kept for the same listener, and must not be taken for another length, scene or array.
    shorter = submitted[first.id, two.id][:-3000]
    cut = score(first, two, shorter)
    assert cut != due[first.id, two.id]
    assert score(first, two) == due[first.id, two.id]
    assert score(first, two, shorter) == cut
    assert score(second, two) == due[second.id, two.id]
    assert score(first, one) == due[first.id, one.id]
    other = fast.score_pair(first.id, 0.5 * references[first.id], submitted[first.id, one.id], one)
    assert other != due[first.id, one.id]
    assert score(first, one) == due[first.id, one.id]


def test_memory_of_a_longer_signal_leaves_nothing_behind():
    short, long = real_music(7207), real_music(14400)
    due = ear(single, short, np.roll(short, 9))
    own, scratch = Workspace(), Workspace()
    for reference in (long, short, 50 * long, short):
        bulk = single.prepare(reference)
        found = single.analyse_reference(reference, bulk, LOSS, 2, LEVEL1, own)
        noise = Noise(np.random.RandomState(0), 5 * BANDS * len(reference))
        last = single.score(found, np.roll(reference, 9), noise, 0, scratch)
    assert last == due


# Vectors of another width


@pytest.mark.slow
def test_vectors_of_eight_lanes_give_the_same_score(tmp_path):
    """As on a processor whose registers are not wider. Each lane adds up in the same order, whatever is beside it."""
    if LANES == 8:
        pytest.skip("no other width: this processor's registers are not wider")
    settings = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+fma", "HARNESS_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, one_ear.__file__], env=os.environ | settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, due = json.loads(done.stdout), one_ear.scored()
    assert found["lanes"] == 8
    assert found["draws"] == due.draws
    assert found["score"] == pytest.approx(due.score, abs=1e-8)
    assert found["margin"] == pytest.approx(due.margin, rel=0.5)
