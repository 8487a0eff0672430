"""`harness.haaqi`, `haaqi_batch` and `remix`: the leaderboard's own scores, from signals in memory."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from support import TinySet

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal, amplify, to_remix_format
from harness.errors import EvaluatorError, HarnessError, UsageError
from harness.haaqi.evaluator import Score
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness.results import scoring
from harness.results.evaluating import evaluate
from harness.results.scoring import haaqi, haaqi_batch, remix


@pytest.fixture
def loaded(tiny_set: TinySet) -> EvaluationSet:
    return load(tiny_set.root)


@pytest.fixture(autouse=True)
def no_processes_left() -> Iterator[None]:
    yield
    scoring._close()


def quarters(mixture: Signal, _rate: int) -> list[Signal]:
    return [mixture / 4] * 4


def remixes(loaded: EvaluationSet) -> list[Signal]:
    return [remix(quarters(pair.scene.read("mixture"), 0), pair.scene, pair.listener) for pair in loaded.pairs]


@pytest.fixture
def expected(loaded: EvaluationSet, tmp_path: Path) -> list[Score]:
    """What the leaderboard gives `remixes`; their files stay in `made`."""
    pairs = evaluate(quarters, loaded, output=tmp_path / "made").pairs
    return [Score(left, right) for left, right in zip(pairs["left"], pairs["right"], strict=True)]


def largest(found: list[Score], expected: list[Score]) -> float:
    assert len(found) == len(expected)
    return max(max(abs(a.left - b.left), abs(a.right - b.right)) for a, b in zip(found, expected, strict=True))


def test_scores_are_those_of_the_leaderboard(loaded: EvaluationSet, expected: list[Score], tmp_path: Path) -> None:
    found = remixes(loaded)
    scenes, listeners = [pair.scene for pair in loaded.pairs], [pair.listener for pair in loaded.pairs]
    alone = [haaqi(*each) for each in zip(found, scenes, listeners, strict=True)]
    assert largest(alone, expected) == 0
    assert haaqi_batch(found, scenes, listeners, workers=1) == alone
    files = [soundfile.read(tmp_path / "made" / pair.remix_name)[0] for pair in loaded.pairs]
    assert [haaqi(*each, rate=32000) for each in zip(files, scenes, listeners, strict=True)] == alone
    whole = [soundfile.read(tmp_path / "made" / pair.remix_name, dtype="int16")[0] for pair in loaded.pairs]
    assert haaqi_batch(whole, scenes, listeners, rate=32000, workers=1) == alone


def test_the_locked_engine_gives_the_official_score_to_the_last_digit(loaded: EvaluationSet) -> None:
    pair = loaded.pairs[0]
    found = haaqi(remixes(loaded)[0], *pair.id, data=loaded, engine="locked")
    pairs = evaluate(quarters, loaded, engine="locked", limit=1).pairs
    assert (found.left, found.right, found.mean) == tuple(pairs.loc[0, ["left", "right", "score"]])


def test_everything_in_double_precision(loaded: EvaluationSet) -> None:
    pair = loaded.pairs[0]
    single, double = (haaqi(remixes(loaded)[0], *pair.id, data=loaded, engine=engine) for engine in ("fast", "fast64"))
    assert (double.in_double, double.margin) == ({"left", "right"}, None)
    assert 0 < largest([single], [double]) < 1e-6
    results = evaluate(quarters, loaded, engine="fast64", limit=1)
    assert tuple(results.pairs.loc[0, ["left", "right", "in_double"]]) == (double.left, double.right, "left right")
    assert list(results.runs["engine"]) == ["fast64"]


def test_workers_give_the_same_in_the_same_order_and_stay(loaded: EvaluationSet) -> None:
    found = remixes(loaded)
    pairs = [loaded.pairs[index] for index in (3, 0, 2, 1, 0)]
    signals = [found[index] for index in (3, 0, 2, 1, 0)]
    scenes, listeners = [pair.scene.id for pair in pairs], [pair.listener.id for pair in pairs]
    one = haaqi_batch(signals, scenes, listeners, data=loaded, workers=1)
    assert one[1] == one[4]
    assert len(set(one)) == 4
    others = {child.pid for child in psutil.Process().children()}
    assert haaqi_batch(signals, scenes, listeners, data=loaded, workers=2) == one
    first = {child.pid for child in psutil.Process().children()} - others
    assert len(first) == 2
    assert haaqi_batch(signals[:3], scenes[:3], listeners[:3], data=loaded, workers=2) == one[:3]
    assert first <= {child.pid for child in psutil.Process().children()}


def test_a_failure_in_a_worker_names_the_remix_and_the_next_call_works(
    loaded: EvaluationSet, tiny_set: TinySet
) -> None:
    found, pairs = remixes(loaded), loaded.pairs
    ids = [pair.scene for pair in pairs], [pair.listener for pair in pairs]
    good = haaqi_batch(found, *ids, workers=2)
    stem, rate = soundfile.read(tiny_set.music("bass"))
    for name in STEMS:
        soundfile.write(tiny_set.music(name), 0 * stem, rate, subtype="PCM_16")
    with pytest.raises(
        EvaluatorError, match=r"remix [01] \(scene_V001 V[12]\): the reference of the left ear is silent"
    ):
        haaqi_batch(found, *ids, workers=2)
    for name in STEMS:
        soundfile.write(tiny_set.music(name), stem, rate, subtype="PCM_16")
    again = haaqi_batch(found, *ids, workers=2)
    assert again[2:] == good[2:]
    assert again[:2] != good[:2]  # the music is another now: kept references are not


def test_music_that_was_changed_is_read_again(loaded: EvaluationSet, tiny_set: TinySet) -> None:
    pair, signal = loaded.pairs[0], remixes(loaded)[0]
    before = haaqi(signal, pair.scene, pair.listener)
    stem, rate = soundfile.read(tiny_set.music("vocals"))
    soundfile.write(tiny_set.music("vocals"), stem[::-1], rate, subtype="PCM_16")
    os.utime(tiny_set.music("vocals"), ns=(1, 1))
    assert haaqi(signal, pair.scene, pair.listener) != before


def test_references_are_kept_within_bounds(loaded: EvaluationSet, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = scoring._Kept()
    one, two = loaded.scenes
    reads = []
    original = type(one).read
    monkeypatch.setattr(type(one), "read", lambda self, *args: reads.append(self.id) or original(self, *args))
    first = kept.get("reference", one)
    count = len(reads)
    assert kept.get("reference", one) is first
    assert len(reads) == count
    monkeypatch.setattr(scoring, "KEPT_BYTES", first.nbytes)
    kept.get("reference", two)
    assert sum(signal.nbytes for signal in kept._signals.values()) <= first.nbytes
    assert kept.get("reference", one) is not first


def test_the_generator_is_left_alone(loaded: EvaluationSet) -> None:
    signal, pair = remixes(loaded)[0], loaded.pairs[0]
    np.random.seed(5)
    expected = np.random.RandomState(5).standard_normal(3)
    for engine in ("fast", "locked"):
        haaqi(signal, pair.scene, pair.listener, engine=engine)
    np.testing.assert_array_equal(np.random.standard_normal(3), expected)


def test_remix_is_the_baseline(loaded: EvaluationSet) -> None:
    from harness import enhancement

    pair = loaded.pairs[0]
    stems, mixture = pair.scene.read_stems(), pair.scene.read("mixture")
    expected = amplify(enhancement.remix(stems, pair.scene.gains, mixture), pair.listener)
    np.testing.assert_array_equal(remix(stems, pair.scene, pair.listener), expected)
    np.testing.assert_array_equal(remix(np.stack([stems[name] for name in STEMS]), *pair.id, data=loaded), expected)
    assert expected.shape == (len(mixture) + PROTOCOL.nalr_order, 2)


def test_names_stand_for_objects(loaded: EvaluationSet, tiny_set: TinySet) -> None:
    signal, pair = remixes(loaded)[0], loaded.pairs[0]
    one = haaqi(signal, pair.scene, pair.listener)
    assert haaqi(signal, *pair.id, data=tiny_set.root) == one
    assert haaqi(signal, pair.scene, "V1") == one
    assert haaqi(signal, "scene_V001", pair.listener, data=loaded) == one


def test_from_the_package_whatever_is_imported(loaded: EvaluationSet) -> None:
    import harness
    import harness.haaqi.lock

    signal, pair = remixes(loaded)[0], loaded.pairs[0]
    assert harness.haaqi(signal, pair.scene, pair.listener) == haaqi(signal, pair.scene, pair.listener)
    assert harness.haaqi_batch is haaqi_batch
    assert harness.haaqi.lock.fingerprint()


def wrong(loaded: EvaluationSet) -> Iterator[tuple[str, type[HarnessError], object]]:
    signal, pair = remixes(loaded)[0], loaded.pairs[0]
    short, many = signal[:-300], np.concatenate([signal, signal])
    samples = to_remix_format(signal)[0]
    here = {"data": loaded}
    yield "no scene scene_X in tiny", UsageError, lambda: haaqi(signal, "scene_X", "V1", **here)
    yield "no listener V9 in tiny", UsageError, lambda: haaqi(signal, "scene_V001", "V9", **here)
    yield "has 30790 samples at 44100 Hz, expected 30870 to 31090", UsageError, lambda: haaqi(short, *pair.id, **here)
    yield "has 62180 samples", UsageError, lambda: haaqi(many, *pair.id, **here)
    yield "at 32000 Hz, expected 22400 to 22560", UsageError, lambda: haaqi(signal, *pair.id, rate=32000, **here)
    yield "rate is 48000", UsageError, lambda: haaqi(signal, *pair.id, rate=48000, **here)
    yield "has shape (31090,)", UsageError, lambda: haaqi(signal[:, 0], *pair.id, **here)
    yield "int16 array", UsageError, lambda: haaqi(samples, *pair.id, **here)
    yield "has shape (22560,)", UsageError, lambda: haaqi(samples[:, 0], *pair.id, rate=32000, **here)
    yield "not finite", UsageError, lambda: haaqi(signal * np.nan, *pair.id, **here)
    yield "is silent", HarnessError, lambda: haaqi(0 * signal, *pair.id, **here)
    yield "engine is 'slow'", UsageError, lambda: haaqi(signal, *pair.id, engine="slow", **here)  # type: ignore[arg-type]
    yield "2 remixes, 1 scenes and 1 listeners", UsageError, lambda: haaqi_batch([signal] * 2, ["a"], ["b"], **here)
    yield "workers is 0", UsageError, lambda: haaqi_batch([], [], [], workers=0, **here)
    yield "there are 3 stems", UsageError, lambda: remix([signal] * 3, *pair.id, **here)
    yield "there is no stem drums", UsageError, lambda: remix({"vocals": signal}, *pair.id, **here)
    yield "the stem vocals has 31090 samples, expected 30870", UsageError, lambda: remix([signal] * 4, *pair.id, **here)


def test_what_is_wrong_is_one_line(loaded: EvaluationSet) -> None:
    for message, kind, call in wrong(loaded):
        with pytest.raises(kind) as error:
            call()  # type: ignore[operator]
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    assert haaqi_batch([], [], [], data=loaded) == []
