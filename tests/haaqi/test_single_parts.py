"""An ear or stem by itself has the score that it has in its pair, to the last digit: its noise begins where it must."""

import numpy as np
import pytest

from harness.challenge import CAD1, EARS
from harness.haaqi import conformance_cad1, evaluator, fast, stems
from harness.haaqi.conformance import scenes
from harness.haaqi.evaluator import Score


@pytest.fixture(scope="module")
def given():
    """The arguments of `score_pair` for a pair of the conformance set."""
    scene = next(iter(scenes()))
    listener = scene.listeners[0]
    reference = evaluator.reference_mixture(scene.stems, scene.mixture, scene.gains)
    return scene.id, reference, (scene.processed(listener) / 32768).astype(np.float32), listener


def test_an_ear_by_itself_has_its_score_in_the_pair(given):
    found = fast.score_pair(*given)
    before = np.random.get_state()
    whole = evaluator.score_pair(*given)
    alone = {ear: evaluator.score_ear(ear, *given, found.drawn_before(ear)) for ear in EARS}
    assert alone == whole.parts
    # From anywhere else in the noise it is another one.
    assert evaluator.score_ear("right", *given, found.drawn_before("right") + 1) != whole.right
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), before, strict=True))


def test_double_precision_of_an_ear_is_that_of_the_pair(given):
    found, whole = fast.score_pair(*given), fast.score_pair(*given, in_double=True)
    assert whole.in_double == set(EARS)
    assert (whole.margin, whole.closest) == (None, None)
    for ear in EARS:
        drawn = found.drawn_before(ear)
        assert evaluator.score_ear(ear, *given, drawn, fast.in_double_precision()) == pytest.approx(
            whole.parts[ear], abs=1e-13
        )
    assert found.draws == whole.draws


def test_a_score_tells_where_its_closest_decision_was(given):
    found = fast.score_pair(*given)
    assert found.margin >= 1
    assert found.closest in EARS
    assert found.in_double.isdisjoint({found.closest})


@pytest.mark.slow
def test_a_stem_by_itself_has_its_score_in_the_pair(tmp_path):
    pair, references, processed = next(iter(conformance_cad1.submitted(tmp_path)))
    given = pair.scene.id, references, processed, pair.listener
    found, whole = stems.score_stems_fast(*given), stems.score_stems(*given)
    assert list(found.draws) == list(CAD1.signals)
    for name in ("left_drums", "left_bass", "right_vocals"):
        drawn = found.drawn_before(name)
        assert stems.score_stem(name, *given, drawn) == whole.stems[name]
        double = stems.score_stem(name, *given, drawn, fast.in_double_precision())
        assert double == pytest.approx(whole.stems[name], abs=1e-9)


def test_where_the_noise_begins_is_known_only_if_all_before_was_computed():
    score = Score(0.5, 0.25, draws={"left": 7})
    assert [score.drawn_before(ear) for ear in EARS] == [0, 7]
    assert Score(0.5, 0.25).drawn_before("right") is None
    assert Score(0.5, 0.25, {"left_drums": 0.5, "right_drums": 0.25}, draws={"left_drums": 3}).parts == {
        "left_drums": 0.5,
        "right_drums": 0.25,
    }
