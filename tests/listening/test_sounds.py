"""The sounds of a pair: all aligned, all of the same excerpt, from files that are what they should be."""

import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from listening.signals import RATE, lag, noise
from support import TinySet

from harness.challenge import STEMS
from harness.enhancement import amplify, to_remix_format
from harness.errors import DataError, EvaluatorError, SubmissionError
from harness.haaqi.evaluator import reference_mixture
from harness.listening import Clip, check_remix, sounds_of
from harness.listening.levels import full_scale_spl
from harness.listening.simulation import heard
from harness.listening.sounds import loudest_excerpt
from harness.music.evaluationset import EvaluationSet, Pair
from harness.music.layout import load
from harness.submission.flac import encode


@pytest.fixture
def evaluation_set(tiny_set: TinySet) -> EvaluationSet:
    return load(tiny_set.root, "valid", "tiny")


@pytest.fixture
def pair(evaluation_set: EvaluationSet) -> Pair:
    """Left ear severe, right ear normal, where NAL-R only delays."""
    return next(pair for pair in evaluation_set.pairs if pair.id == ("scene_V001", "V2"))


def reference_of(pair: Pair) -> np.ndarray:
    scene = pair.scene
    return reference_mixture(scene.read_stems(), scene.read("mixture"), scene.gains)


def write(path: Path, signal: np.ndarray) -> Path:
    path.write_bytes(encode(to_remix_format(signal)[0]))
    return path


def decoded(clip: Clip) -> np.ndarray:
    return soundfile.read(io.BytesIO(clip.content), always_2d=True)[0] * clip.gain


def test_gives_reference_mixture_and_remixes_in_order_and_equally_long(pair: Pair, submission: Path) -> None:
    path = submission / pair.remix_name
    sounds = sounds_of(pair, {"<b>mine</b>": path, "reference": path})
    assert [sound.name for sound in sounds] == ["reference", "mixture", "<b>mine</b>", "reference"]
    lengths = {len(decoded(clip)) for sound in sounds for clip in (sound.as_file, sound.as_heard)}
    assert lengths == {pair.scene.frames}
    assert sounds[2].as_file == sounds[3].as_file
    assert all(clip.suffix == "mp3" for sound in sounds for clip in (sound.as_file, sound.as_heard))


def test_all_clips_are_aligned_with_the_music(pair: Pair, tmp_path: Path) -> None:
    """NAL-R's delay is gone from reference and remix: those of this right ear are the music itself."""
    mixture, reference = pair.scene.read("mixture"), reference_of(pair)
    quiet = 0.25 * reference  # nothing is clipped
    path = write(tmp_path / "remix.flac", amplify(quiet, pair.listener))
    of_reference, of_mixture, of_remix = sounds_of(pair, {"remix": path}, lossless=True)
    inside = slice(RATE // 20, -RATE // 20)
    for sound, expected in ((of_reference, reference), (of_mixture, mixture), (of_remix, quiet)):
        found = decoded(sound.as_file)
        assert lag(found[:, 1], expected[:, 1]) == 0
        # The drums are white noise: of a remix, what lies above 16 kHz is gone.
        similar = 0.98 if sound is of_remix else 0.99999
        assert np.corrcoef(found[inside, 1], expected[inside, 1])[0, 1] > similar
        assert np.std(found[inside, 1]) == pytest.approx(np.std(expected[inside, 1]), rel=0.03)


def test_a_remix_without_the_tail_of_nalr_ends_in_silence(pair: Pair, tmp_path: Path) -> None:
    frames = pair.scene.frames
    path = write(tmp_path / "remix.flac", amplify(0.2 * reference_of(pair), pair.listener)[:frames])
    remix = decoded(sounds_of(pair, {"remix": path}, lossless=True)[2].as_file)
    assert len(remix) == frames
    assert np.abs(remix[-100:]).max() < 0.02 * np.abs(remix).max()


def test_as_heard_is_the_simulation_of_the_clip_under_the_evaluators_calibration(pair: Pair) -> None:
    mixture = sounds_of(pair, {}, lossless=True)[1]
    full_scale = full_scale_spl(reference_of(pair))
    expected = heard(decoded(mixture.as_file), pair.listener, full_scale)
    found = decoded(mixture.as_heard)
    inside = slice(RATE // 20, -RATE // 20)
    np.testing.assert_allclose(found[inside, 1], expected[inside, 1], atol=2e-3 * np.abs(expected).max())
    # The reference has 65 dB SPL before NAL-R, and the mixture is as loud. Of both ears one hears next to nothing.
    assert mixture.as_file.spl == pytest.approx(65, abs=1.5)
    assert mixture.as_heard.spl == pytest.approx(65 - 3, abs=3)
    assert np.std(found[:, 0]) < 1e-3 * np.std(found[:, 1])


def test_clips_are_deterministic_and_can_come_from_a_worker(pair: Pair, submission: Path) -> None:
    remixes = {"run": submission / pair.remix_name}
    sounds = sounds_of(pair, remixes, seconds=0.4)
    assert pickle.loads(pickle.dumps(sounds)) == sounds == sounds_of(pair, remixes, seconds=0.4)


# Which excerpt


def test_the_excerpt_is_the_loudest(pair: Pair, tiny_set: TinySet) -> None:
    for name in ("mixture", *STEMS):
        path = tiny_set.music(name)
        music = soundfile.read(path)[0]
        music[: round(0.3 * RATE)] *= 0.01
        soundfile.write(path, music, RATE, subtype="PCM_16")
    mixture = sounds_of(pair, {}, seconds=0.4, lossless=True)[1]
    found = decoded(mixture.as_file)
    assert len(found) == round(0.4 * RATE)
    inside = slice(RATE // 50, -RATE // 50)
    expected = pair.scene.read("mixture")[round(0.3 * RATE) :][: len(found)]
    np.testing.assert_allclose(found[inside], expected[inside], atol=mixture.as_file.gain * 2**-14)


def test_the_first_of_equally_loud_excerpts_is_taken() -> None:
    signal = np.ones((3 * RATE, 2))
    assert loudest_excerpt(signal, 1.0) == (0, RATE)
    assert loudest_excerpt(signal, 3.5) == (0, 3 * RATE)
    signal[: RATE // 2] = 0.5
    assert loudest_excerpt(signal, 1.0) == (RATE // 2, RATE)


def test_the_cut_is_faded(pair: Pair) -> None:
    for sound in sounds_of(pair, {}, seconds=0.4, lossless=True):
        for clip in (sound.as_file, sound.as_heard):
            samples = np.abs(decoded(clip)) / clip.gain
            assert samples[[0, -1]].max() < 0.001


def test_too_short_an_excerpt_is_refused(pair: Pair) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.4 s"):
        sounds_of(pair, {}, seconds=0.1)


# Files that are not what they should be


def test_a_remix_must_be_the_one_that_was_scored(pair: Pair, submission: Path) -> None:
    path = submission / pair.remix_name
    known = {path: hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(sounds_of(pair, {"run": path}, hashes=known, seconds=0.4)) == 3
    check_remix(path, pair, known[path])
    write(path, noise(0.7)[:, None].repeat(2, axis=1))
    for call in (
        lambda: sounds_of(pair, {"run": path}, hashes=known),
        lambda: check_remix(path, pair, known[path]),
    ):
        with pytest.raises(SubmissionError, match="has changed since it was scored: score the submission again"):
            call()


def test_a_remix_that_is_gone_or_damaged_is_named(pair: Pair, submission: Path) -> None:
    path = submission / pair.remix_name
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SubmissionError, match=path.name):
        sounds_of(pair, {"run": path})
    path.unlink()
    with pytest.raises(SubmissionError, match="is gone: put it back"):
        sounds_of(pair, {"run": path})
    with pytest.raises(SubmissionError, match="is gone: put it back"):
        check_remix(path, pair)


def test_music_must_be_the_one_that_was_scored(pair: Pair, tiny_set: TinySet, evaluation_set: EvaluationSet) -> None:
    hashes = evaluation_set.hashes(["mixture", *STEMS])
    assert len(sounds_of(pair, {}, hashes=hashes, seconds=0.4)) == 2
    path = tiny_set.music("bass")
    music = soundfile.read(path)[0]
    soundfile.write(path, 0.5 * music, RATE, subtype="PCM_16")
    with pytest.raises(DataError, match=r"bass\.wav was changed"):
        sounds_of(pair, {}, hashes=hashes)


def test_a_silent_scene_has_no_sounds(pair: Pair, tiny_set: TinySet) -> None:
    for name in ("mixture", *STEMS):
        soundfile.write(tiny_set.music(name), np.zeros((pair.scene.frames, 2)), RATE, subtype="PCM_16")
    with pytest.raises(EvaluatorError, match="reference of the scene is silent"):
        sounds_of(pair, {})
