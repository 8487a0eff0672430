"""What both engines do with signals that HAAQI was not made for.

(Agreement with the official scores: test_lock.py and test_golden.py; of the engines: test_agreement.py.)
"""

import numpy as np
import pytest

from harness.errors import EvaluatorError
from harness.haaqi import evaluator, fast
from harness.haaqi.conformance import scenes

SCENE = scenes()[0]
LISTENER = SCENE.listeners[0]
REMIX = (SCENE.processed(LISTENER) / 32768).astype(np.float32)


@pytest.fixture(params=[evaluator, fast], ids=["locked", "fast"])
def score_pair(request):
    return request.param.score_pair


def test_a_silent_reference_is_an_error_with_a_name(score_pair):
    silent_right = SCENE.mixture * [1, 0]
    with pytest.raises(EvaluatorError, match="reference of the right ear is silent"):
        score_pair(SCENE.id, silent_right, REMIX, LISTENER)


def test_a_reference_on_which_haaqi_itself_fails_is_an_error_with_a_name(score_pair):
    click = np.zeros_like(SCENE.mixture)
    click[20000] = 0.5
    with pytest.raises(EvaluatorError, match="HAAQI fails on the left ear"):
        score_pair(SCENE.id, click, REMIX, LISTENER)


@pytest.mark.filterwarnings("ignore:Use of fft convolution on input with NAN or inf")
def test_what_is_not_finite_is_an_error_with_a_name(score_pair):
    with pytest.raises(EvaluatorError, match="HAAQI"):
        score_pair(SCENE.id, SCENE.mixture, np.full_like(REMIX, np.nan), LISTENER)


def test_one_silent_channel_scores_low_and_the_generator_is_left_as_it_was(score_pair):
    np.random.seed(7)
    expected = np.random.standard_normal()
    np.random.seed(7)
    score = score_pair(SCENE.id, SCENE.mixture, REMIX * np.float32([0, 1]), LISTENER)
    assert np.random.standard_normal() == expected
    assert score.left < 0.1 < score.right
    assert score.mean == (score.left + score.right) / 2


def test_an_error_leaves_the_generator_as_it_was(score_pair):
    np.random.seed(7)
    expected = np.random.standard_normal()
    np.random.seed(7)
    with pytest.raises(EvaluatorError):
        score_pair(SCENE.id, SCENE.mixture * [1, 0], REMIX, LISTENER)
    assert np.random.standard_normal() == expected
