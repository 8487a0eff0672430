"""The fast engine held against the locked evaluator, on the cases that travel with the harness.

All cases take a minute or two on two cores: `make test` compares the short ones, HARNESS_TEST_ALL=1 everything.
"""

import os

import numpy as np
import pytest

from harness.challenge import CAD1, PROTOCOL
from harness.errors import EvaluatorError
from harness.haaqi import agreement, fast, lock
from harness.haaqi.evaluator import Score
from harness.haaqi.fast import pairs

EVERYTHING = os.environ.get("HARNESS_TEST_ALL") == "1"


@pytest.fixture(scope="module")
def cases():
    return agreement.cases()


@pytest.fixture
def locked(monkeypatch):
    """Spare the test the proof that the evaluator is the locked one: that is test_lock.py's."""
    monkeypatch.setattr(lock, "verify", lambda _protocol: [])


def few(cases, *names):
    return [case for case in cases if case.name in names]


def test_the_cases_cover_what_they_claim(cases):
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    assert 70 <= sum(case.seconds for case in cases) <= 90
    assert sum(case.name.startswith("stems: ") for case in cases) == 8
    seconds = [case.seconds for case in cases if case.seconds]
    assert (min(seconds), max(seconds)) == (0.3, 10)
    assert {case.equalisation for case in cases} == {1, 2}
    assert {len(case.reference) % 2 for case in cases} == {0, 1}
    assert {np.sign(len(case.processed) - len(case.reference)) for case in cases} == {-1, 0, 1}
    assert {case.processed.dtype for case in cases} == {np.dtype("float32"), np.dtype("float64")}
    losses = [np.mean(case.audiogram.levels) for case in cases]
    assert min(losses) == 0
    assert max(losses) > 75
    assert min(min(case.audiogram.levels) for case in cases) < 0
    assert len({case.seed for case in cases}) > 20
    # The same signal at levels that differ by 60 dB.
    levels = [case.level1 for case in cases if len(case.reference) == agreement.RATE]
    assert max(levels) - min(levels) >= 60
    assert any(np.abs(case.processed).max(initial=0) == 1 for case in cases), "none is clipped"
    assert any(not case.processed.any() for case in cases if len(case.processed)), "none is silent"
    assert any(not case.processed[len(case.processed) // 2 :].any() and case.processed.any() for case in cases)


def test_the_cases_are_the_same_every_time(cases):
    for case, again in zip(cases, agreement.cases(), strict=True):
        assert np.array_equal(case.processed, again.processed, equal_nan=True)
        assert np.array_equal(case.reference, again.reference, equal_nan=True)
        unlike = {"processed": None, "reference": None}
        assert vars(case) | unlike == vars(again) | unlike


def test_the_engines_agree(cases, run_cli, monkeypatch):
    if not EVERYTHING:
        short = [case for case in cases if case.seconds <= 0.5]
        assert len(short) >= 10
        monkeypatch.setattr(agreement, "cases", lambda: short)
        monkeypatch.setattr(lock, "verify", lambda _protocol: [])  # test_lock.py's
    todo = agreement.cases()
    result = run_cli("evaluator", "verify", "--engine", "fast", "--json", "--workers", 2 if EVERYTHING else 1)

    report = result.json["fast"]
    failed = [case for case in report["cases"] if not case["agrees"]]
    assert (result.code, failed) == (0, [])
    assert report["agrees"] is True
    compared = report["cases"][8 + 32 :]  # after the conformance vectors of both protocols
    assert [case["name"] for case in compared] == [case.name for case in todo]
    assert report["sources_sha256"] == fast.sources_sha256()
    assert report["largest_difference"] <= report["tolerance"] == 1e-6
    # Had one engine been compared with itself, nothing would differ at all.
    assert any(case["difference"] for case in compared)
    # Some fail in both, some are scored by both.
    assert {type(case["locked"]) for case in compared} == {str, float}


def test_a_difference_is_named(cases, run_cli, monkeypatch, locked):
    chosen = few(cases, "0.3 s", "single precision", "silent reference")
    right = fast.compute_haaqi

    def wrong(processed_signal, reference_signal, *args, **kwargs):
        score = right(processed_signal, reference_signal, *args, **kwargs)
        return score + (1e-5 if len(reference_signal) == 7200 else 0)

    monkeypatch.setattr(agreement, "cases", lambda: chosen)
    monkeypatch.setattr(fast, "compute_haaqi", wrong)
    result = run_cli("evaluator", "verify", "--engine", "fast", "--workers", 1)

    assert result.code == 1
    assert next(line for line in result.stdout.splitlines() if line.startswith("✗")).split()[:3] == ["✗", "0.3", "s"]
    assert "not the locked evaluator in 1 of 43 cases (largest difference 1.0e-05, allowed 1e-06)" in result.stdout
    assert result.stdout.count("✗") == 2


@pytest.mark.parametrize("kind", ["another exception", "a score where there is none", "a conformance vector"])
def test_every_kind_of_difference_is_found(cases, run_cli, monkeypatch, locked, kind):
    chosen = few(cases, "silent reference")
    monkeypatch.setattr(agreement, "cases", lambda: chosen)
    if kind == "a conformance vector":
        right = fast.score_pair

        def wrong_pair(scene_id, reference, processed, listener, **options):
            # As if the noise of the first scene had been kept for the second.
            return right("scene_V001", reference, processed, listener, **options)

        monkeypatch.setattr(fast, "score_pair", wrong_pair)
    else:
        right = fast.compute_haaqi

        def wrong(**arguments):
            if arguments["reference_signal"].any():
                return right(**arguments)  # of the conformance vectors
            if kind == "another exception":
                raise ZeroDivisionError
            return 0.162

        monkeypatch.setattr(fast, "compute_haaqi", wrong)
    result = run_cli("evaluator", "verify", "--engine", "fast", "--json", "--workers", 1)

    assert result.code == 1
    failed = [case["name"] for case in result.json["fast"]["cases"] if not case["agrees"]]
    if kind == "a conformance vector":
        assert failed
        assert all("scene_V002" in name for name in failed)
    else:
        assert failed == ["silent reference"]


def test_other_draws_are_a_difference(cases, monkeypatch):
    (case,) = few(cases, "0.3 s")
    right = fast.compute_haaqi

    def one_draw_more(*args, **kwargs):
        score = right(*args, **kwargs)
        np.random.standard_normal()
        return score

    assert agreement.compare(case).agrees
    monkeypatch.setattr(fast, "compute_haaqi", one_draw_more)
    comparison = agreement.compare(case)
    assert comparison.difference <= agreement.TOLERANCE
    assert not comparison.agrees


def test_the_generator_is_left_as_it_was(cases):
    np.random.seed(3)
    expected = np.random.standard_normal()
    np.random.seed(3)
    agreement.compare(few(cases, "silent reference")[0])
    assert np.random.standard_normal() == expected


def test_without_fast_only_the_locked_evaluator_is_looked_at(run_cli, monkeypatch, locked):
    monkeypatch.setattr(agreement, "cases", lambda: pytest.fail("nothing is to be compared"))
    result = run_cli("evaluator", "verify", "--json")
    assert result.code == 0
    assert "fast" not in result.json


def test_with_another_evaluator_nothing_is_compared(run_cli, monkeypatch):
    monkeypatch.setattr(lock, "verify", lambda _protocol: ["eb.py has been changed"])
    monkeypatch.setattr(agreement, "cases", lambda: pytest.fail("nothing is to be compared"))
    result = run_cli("evaluator", "verify", "--engine", "fast", "--json")
    assert result.code == 1
    assert result.json["fast"] is None


@pytest.mark.parametrize("protocol", [PROTOCOL, CAD1], ids=["icassp", "cad1"])
def test_the_fast_engine_is_proven_once_before_it_scores(tmp_path, monkeypatch, protocol):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    # Stems are scored by a function of their own, which keeps how each was computed.
    owner, name = (fast, "score_pair") if protocol == PROTOCOL else (pairs.HaaqiFunction, "__call__")
    right = getattr(owner, name)
    first = "scene_V001 V1, left ear" if protocol == PROTOCOL else "Vector One V1, left_drums"

    def wrong(*args, **kwargs):
        score = right(*args, **kwargs)
        return Score(score.left + 1e-5, score.right) if protocol == PROTOCOL else score + 1e-5

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, wrong)
        with pytest.raises(EvaluatorError, match=rf"{first} .* use --engine locked"):
            agreement.ensure_agreement(protocol)
    agreement.ensure_agreement(protocol)
    monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("it is proven already"))
    agreement.ensure_agreement(protocol)


def test_each_protocol_needs_its_own_proof(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    asked = []
    monkeypatch.setattr(agreement, "conformance_comparisons", lambda *of: asked.append(of) or [])
    for protocol in (CAD1, PROTOCOL, CAD1):
        agreement.ensure_agreement(protocol)
    assert asked == [(protocol, in_double) for protocol in (CAD1, PROTOCOL) for in_double in (False, True)]
