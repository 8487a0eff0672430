"""The sounds of one pair: reference, mixture and remixes, as in the file and as the listener hears them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from harness.chain import NALR_DELAY
from harness.challenge import CAD1, PROTOCOL
from harness.enhancement import MIN_SECONDS, Signal, amplify
from harness.errors import SubmissionError
from harness.haaqi.evaluator import reference_mixture
from harness.listening.clips import Clip, check_mp3, clip
from harness.listening.levels import full_scale_spl
from harness.listening.simulation import heard
from harness.music.evaluationset import Pair, Scene
from harness.submission.flac import read_remix
from harness.submission.protocols import form_of

FADE_SECONDS = 0.01
"""At both ends of a clip, so that it can be cut anywhere, and looped, without a click."""

STEP_SECONDS = 0.1
"""The excerpt starts at a multiple of this."""


@dataclass(frozen=True)
class Sound:
    """One signal of a pair.

    Attributes:
        name: "reference", "mixture", or what the caller calls the remix.
        as_file: the signal itself, at 44.1 kHz.
        as_heard: the same through the simulation of the listener's hearing loss (`listening.simulation`).
    """

    name: str
    as_file: Clip
    as_heard: Clip


def sounds_of(
    pair: Pair,
    remixes: Mapping[str, Path],
    *,
    hashes: Mapping[Path, str] | None = None,
    seconds: float = 10.0,
    lossless: bool = False,
) -> list[Sound]:
    """Make the clips of a pair: of its reference, its mixture, and remixes by their names, in this order.

    All clips are the same excerpt, equally long, and aligned to the sample: the `seconds` in which the scene's
    reference is loudest (before NAL-R, so that it is the same for all listeners), or all of it where the music is
    shorter. The reference is what HAAQI compares with, NAL-R included; the mixture is as it came, without NAL-R.
    NAL-R delays by 110 samples, in the reference and in every remix that is amplified as the recipe does it; the delay
    is taken from both. A remix by a system with another delay keeps the difference. Remixes are resampled from 32 to
    44.1 kHz, the only rate that the simulation knows.

    Under the first challenge's protocol the reference is the sum of the true stems with NAL-R, which a remix of perfect
    stems would be but for the tanh that every remix there goes through; of a song with a segment only that is heard.

    The same arguments give the same clips to the byte.

    Args:
        pair: scene and listener.
        remixes: the submitted file for this pair, by name.
        hashes: SHA-256 that the files must have, by path: those of remixes, and of the scene's music
            (`EvaluationSet.hashes`). A remix that is not among them is not checked, nor is the music if its mixture
            is not. Where a pair has several files, a remix stands for all of them (`submission.forms.content`).
        seconds: longest clip, at least 0.4.
        lossless: FLAC of 16 bit instead of MP3.

    Raises:
        SubmissionError: a remix is missing, changed or not what a submission holds; `check_remix` finds out before.
        DataError: the same of the scene's music.
        EvaluatorError: the scene's reference is silent.
        HarnessError: libsndfile cannot write MP3.
        ValueError: `seconds` is shorter than 0.4.
    """
    if not seconds >= MIN_SECONDS:
        raise ValueError(f"clips of {seconds} s are too short: at least {MIN_SECONDS} s")
    if not lossless:
        check_mp3()
    scene = pair.scene
    mixture, before_nalr = _music(scene, hashes)
    full_scale = full_scale_spl(before_nalr)
    start, count = loudest_excerpt(before_nalr, seconds)
    signals = [
        ("reference", _cut(amplify(before_nalr, pair.listener), start + NALR_DELAY, count)),
        ("mixture", _cut(mixture, start, count)),
    ]
    for name, path in remixes.items():
        signals.append((name, _cut(_remix(path, pair, (hashes or {}).get(path)), start + NALR_DELAY, count)))

    def sound(name: str, signal: Signal) -> Sound:
        ears = _faded(heard(signal, pair.listener, full_scale))
        return Sound(name, clip(signal, full_scale, lossless), clip(ears, full_scale, lossless))

    return [sound(name, signal) for name, signal in signals]


def check_remix(path: Path, pair: Pair, sha256: str | None = None) -> None:
    """Check that a remix is what `sounds_of` can use, so that one bad file does not take the sound of all.

    Args:
        path: the submitted file.
        pair: the scene that it is a remix of, and the listener that it is for.
        sha256: what it must contain, it and what else is submitted for the pair (`submission.forms.content`); None:
            whatever it contains.

    Raises:
        SubmissionError: missing, changed, or not what a submission holds.
        DataError: the scene's mixture cannot be read.
    """
    _read_remix(path, pair, sha256)


def loudest_excerpt(signal: Signal, seconds: float) -> tuple[int, int]:
    """First sample and number of samples of the loudest excerpt: that with the greatest energy, the first if several.

    Args:
        signal: (samples, channels) at 44.1 kHz.
        seconds: length of the excerpt; a shorter signal is taken as a whole.
    """
    count = round(seconds * PROTOCOL.sample_rate)
    if count >= len(signal):
        return 0, len(signal)
    energy = np.concatenate([[0.0], np.cumsum(np.square(signal).sum(axis=1))])
    starts = np.arange(0, len(signal) - count + 1, round(STEP_SECONDS * PROTOCOL.sample_rate))
    return int(starts[np.argmax(energy[starts + count] - energy[starts])]), count


def _music(scene: Scene, hashes: Mapping[Path, str] | None) -> tuple[Signal, Signal]:
    """A scene's mixture, and its reference before NAL-R: of each what is scored."""
    known = hashes if hashes is not None and scene.folder / "mixture.wav" in hashes else None
    mixture = scene.read("mixture", known)
    stems = scene.read_stems(known)
    if scene.protocol == CAD1:
        return mixture[scene.scored], np.sum([stems[name] for name in CAD1.score_order], axis=0)[scene.scored]
    return mixture, reference_mixture(stems, mixture, scene.gains)


def _read_remix(path: Path, pair: Pair, sha256: str | None) -> Signal:
    try:
        remix = read_remix(path, pair.scene.scored_frames)
        content = remix.sha256
        if sha256 is not None and len(pair.files) > 1:
            folder = path.parents[len(PurePosixPath(pair.remix_name).parts) - 1]
            content = form_of(pair.scene.protocol).read(folder, pair).sha256
    except FileNotFoundError as error:
        gone = Path(error.filename or path).name
        raise SubmissionError(f"{gone} is gone: put it back, or make the submission again") from None
    if sha256 is not None and content != sha256:
        what = path.name if len(pair.files) == 1 else f"what was submitted for {' and '.join(pair.id)}"
        raise SubmissionError(f"{what} has changed since it was scored: score the submission again")
    return remix.signal


def _remix(path: Path, pair: Pair, sha256: str | None) -> Signal:
    import soxr

    signal = _read_remix(path, pair, sha256).astype(np.float64)
    return np.asarray(soxr.resample(signal, PROTOCOL.remix_sample_rate, PROTOCOL.sample_rate, quality="HQ"))


def _cut(signal: Signal, start: int, count: int) -> Signal:
    """So many samples from `start` on, faded; a remix without NAL-R's tail ends 110 samples early, in silence."""
    part = signal[start : start + count]
    return _faded(np.concatenate([part, np.zeros((count - len(part), part.shape[1]))]))


def _faded(signal: Signal) -> Signal:
    """The signal faded in and out (raised cosine, `FADE_SECONDS`), (samples, channels)."""
    length = round(FADE_SECONDS * PROTOCOL.sample_rate)
    rise = np.sin(np.pi / 2 * (np.arange(length) + 0.5) / length) ** 2
    curve = np.ones((len(signal), 1))
    curve[:length, 0], curve[-length:, 0] = rise, rise[::-1]
    return signal * curve
