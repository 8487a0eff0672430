"""The cases on which the fast engine is compared with the locked evaluator, and the comparison.

Each case is one ear: two signals at 24 kHz, an audiogram, and what else `compute_haaqi` takes. There is real music
(of the embedded evaluation set), some of it through the whole protocol as `harness.haaqi.evaluator` does it, and there
is what music seldom holds but where a second engine may go astray: silence, clicks, delays, noise, clipping, extreme
levels and losses, odd and unequal lengths, and signals on which HAAQI itself fails. Both engines start from the same
seed, and must end with the same score to `TOLERANCE` or with the same exception, and with the generator in the same
state: the right ear of a pair draws from where the left one stopped.

The conformance set is compared too, as whole pairs, against the official scores: that is where the noise kept from one
listener of a scene to the next shows.

Nothing here is random: noise comes from NumPy's legacy generator, whose streams are frozen.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.compute.local import map_unordered
from harness.enhancement import Signal, amplify, amplify_ear, remix, to_remix_format
from harness.errors import EvaluatorError
from harness.files import cache_folder, canonical_sha256
from harness.haaqi import fast
from harness.haaqi.conformance import ConformanceScene, official_scores, scenes
from harness.haaqi.evaluator import reference_mixture
from harness.haaqi.fast.sources import sources_sha256
from harness.haaqi.lock import environment, remember
from harness.hearing import Audiogram, Listener
from harness.music.audiograms import AUDIOGRAMS, FREQUENCIES
from harness.music.demo import demo
from harness.music.evaluationset import Scene

log = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""Largest difference of an ear's score between the engines. Other seeds of the noise change a score by up to 4e-5."""

RATE = PROTOCOL.haaqi_sample_rate


@dataclass(frozen=True, eq=False)
class Case:
    """One ear: everything that an engine is given.

    Attributes:
        name: says what is special about it.
        processed, reference: signals at 24 kHz.
        audiogram: of this ear.
        equalisation: 1, HAAQI adds NAL-R to the reference; 2, the reference already carries it, as in the challenge.
        level1: sound pressure level in dB of a signal whose root mean square is one.
        seed: of NumPy's global generator.
    """

    name: str
    processed: NDArray[Any]
    reference: NDArray[Any]
    audiogram: Audiogram
    equalisation: int
    level1: float
    seed: int

    @property
    def seconds(self) -> float:
        """Length of the audio that is scored; the locked evaluator takes about as long."""
        return min(len(self.processed), len(self.reference)) / RATE


Outcome = float | str
"""A finite score, or the name of the exception that came instead of it, or "nan" or "inf"."""


@dataclass(frozen=True)
class Comparison:
    """What both engines make of one ear.

    Attributes:
        name: of the case.
        locked, fast: the score that the engine gives, or how it fails (see `Outcome`).
        same_draws: whether both took the same amount of noise from NumPy's generator.
    """

    name: str
    locked: Outcome
    fast: Outcome
    same_draws: bool = True

    @property
    def difference(self) -> float | None:
        """Between both scores; None without two scores."""
        if isinstance(self.locked, str) or isinstance(self.fast, str):
            return None
        return abs(self.fast - self.locked)

    @property
    def agrees(self) -> bool:
        """Whether both scores are the same to `TOLERANCE`, with the same draws, or both fail in the same way."""
        if self.difference is None:
            return self.locked == self.fast
        return self.difference <= TOLERANCE and self.same_draws


def comparisons(todo: Sequence[Case], workers: int) -> Iterator[Comparison]:
    """Have both engines score the cases, and yield what comes of each as it comes: not in their order.

    Args:
        todo: the cases; long ones are started first.
        workers: number of processes.
    """
    by_length = sorted(todo, key=lambda case: -case.seconds)
    for _, comparison in map_unordered(compare, by_length, workers):
        yield comparison


def compare(case: Case) -> Comparison:
    """Have both engines score one case from the same seed; NumPy's generator is left as it was found."""
    from clarity.evaluator.haaqi import compute_haaqi

    before = np.random.get_state()
    try:
        locked, locked_next = _outcome(compute_haaqi, case)
        found, found_next = _outcome(fast.compute_haaqi, case)
    finally:
        np.random.set_state(before)
    return Comparison(case.name, locked, found, bool(np.allclose(found_next, locked_next, rtol=1e-9, atol=1e-9)))


def _outcome(engine: Callable[..., float], case: Case) -> tuple[Outcome, NDArray[np.float64]]:
    """What comes of a case, and what the generator would draw next.

    An odd and an even draw show whether the generator is in the same state, however it represents that: normal numbers
    are made in pairs, and the second of a pair is kept.
    """
    np.random.seed(case.seed)
    outcome: Outcome
    with _quiet():
        try:
            score = float(
                engine(
                    # Copies, so that an engine which changes its input cannot change the other's.
                    processed_signal=case.processed.copy(),
                    reference_signal=case.reference.copy(),
                    processed_sample_rate=RATE,
                    reference_sample_rate=RATE,
                    audiogram=case.audiogram.for_pyclarity(),
                    equalisation=case.equalisation,
                    level1=case.level1,
                )
            )
            outcome = score if np.isfinite(score) else str(score)
        except Exception as error:
            outcome = type(error).__name__
    return outcome, np.random.standard_normal(3)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what libraries say about silence and divisions by zero: these cases are meant to be like that."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def conformance_comparisons() -> list[Comparison]:
    """Have the fast engine score the conformance set, pair by pair, against the official scores."""
    return [found for _, of_scene in map_unordered(_compare_scene, scenes(), workers=1) for found in of_scene]


def _compare_scene(scene: ConformanceScene) -> list[Comparison]:
    official = official_scores()
    found = []
    reference = reference_mixture(scene.stems, scene.mixture, scene.gains)
    for listener in scene.listeners:
        submitted = (scene.processed(listener) / 32768).astype(np.float32)
        score = fast.score_pair(scene.id, reference, submitted, listener)
        due = official[scene.id, listener.id]
        for ear in ("left", "right"):
            name = f"conformance vector {scene.id} {listener.id}, {ear} ear"
            found.append(Comparison(name, getattr(due, ear), getattr(score, ear)))
    return found


def ensure_agreement() -> None:
    """Refuse to continue unless the fast engine gives the official scores of the conformance set.

    That is done once for each environment and state of the engine's sources, and remembered in the cache folder; what
    has to be compiled is then there for all workers.

    Raises:
        EvaluatorError: with the first difference.
    """
    identity = canonical_sha256({"environment": environment(), "fast_engine": sources_sha256()})
    proof = cache_folder() / "evaluator" / f"fast-{identity}.json"
    if proof.is_file():
        return
    log.info("compiling and proving the fast engine, once in this environment (half a minute) ...")
    for found in conformance_comparisons():
        if not found.agrees:
            raise EvaluatorError(
                f"the fast engine disagrees with the locked evaluator, so nothing is scored: {found.name} scores "
                f"{found.fast!r}, expected {found.locked!r}; use --engine locked"
            )
    remember(proof)


# The cases


def cases() -> list[Case]:
    """All cases, about 70 s of audio. Needs the embedded evaluation set, which is built if it does not exist yet."""
    return [*_protocol_cases(), *_music_cases(), *_synthetic_cases(), *_hopeless_cases()]


def _ear(name: str) -> Audiogram:
    return Audiogram(tuple(map(float, FREQUENCIES)), tuple(map(float, AUDIOGRAMS[name])))


def _sloping(first: float, last: float) -> Audiogram:
    """A loss that changes steadily, in dB, from 250 Hz to 8 kHz."""
    levels = np.linspace(first, last, len(FREQUENCIES))
    return Audiogram(tuple(map(float, FREQUENCIES)), tuple(map(float, levels)))


def _rms(signal: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(signal))))


def _natural_level(reference: NDArray[Any]) -> float:
    """The level at which the signal is heard at 65 dB SPL."""
    return PROTOCOL.haaqi_level_db - 20 * float(np.log10(_rms(reference)))


def _noise(count: int, seed: int) -> Signal:
    """White noise with a root mean square of one."""
    return np.random.RandomState(seed).standard_normal(count)


@lru_cache(maxsize=1)
def _scenes() -> dict[str, Scene]:
    return {scene.id: scene for scene in demo().whole}


def _protocol_cases() -> list[Case]:
    """Real music on the very way to HAAQI that a submission takes, for every kind of listener."""

    def unprocessed(mixture: Signal, _stems: dict[str, Signal], _scene: Scene) -> Signal:
        return mixture

    def clipped(mixture: Signal, _stems: dict[str, Signal], _scene: Scene) -> Signal:
        return 6 * mixture

    def leaky(mixture: Signal, stems: dict[str, Signal], scene: Scene) -> Signal:
        return remix({name: 0.8 * stem + 0.2 * mixture for name, stem in stems.items()}, scene.gains, mixture)

    return [
        _protocol_case("scene_00001", "L0001", "left", 4.0, "unprocessed", unprocessed),
        _protocol_case("scene_00001", "L0003", "right", 4.0, "leaky remix", leaky),
        _protocol_case("scene_00002", "L0005", "left", 3.0, "clipped", clipped),
        _protocol_case("scene_00002", "L0005", "right", 2.0, "clipped", clipped),
        _protocol_case("scene_00002", "L0004", "right", 3.0, "leaky remix", leaky),
        _protocol_case("scene_00003", "L0002", "left", 2.0, "leaky remix", leaky),
    ]


def _protocol_case(
    scene_id: str,
    listener_id: str,
    ear: str,
    seconds: float,
    how: str,
    process: Callable[[Signal, dict[str, Signal], Scene], Signal],
) -> Case:
    """Real music of which the first seconds go through remix, NAL-R, 32 kHz, 16 bit and resampling to 24 kHz."""
    import soxr

    scene = _scenes()[scene_id]
    listener: Listener = next(who for who in scene.listeners if who.id == listener_id)
    audiogram: Audiogram = getattr(listener, ear)
    channel = ("left", "right").index(ear)
    frames = round(seconds * PROTOCOL.sample_rate)
    mixture = scene.read("mixture")[:frames]
    stems = {name: stem[:frames] for name, stem in scene.read_stems().items()}
    reference = reference_mixture(stems, mixture, scene.gains)[:, channel]
    samples, _ = to_remix_format(amplify(process(mixture, stems, scene), listener))
    submitted = (samples / 32768).astype(np.float32)[:, channel]
    return Case(
        f"protocol: {how}, {scene_id} {listener_id} {ear} ear, {seconds:g} s",
        soxr.resample(submitted, PROTOCOL.remix_sample_rate, RATE, quality="HQ"),
        soxr.resample(amplify_ear(reference, audiogram), PROTOCOL.sample_rate, RATE, quality="HQ"),
        audiogram,
        PROTOCOL.haaqi_equalisation,
        _natural_level(reference),
        PROTOCOL.seed(scene_id),
    )


@lru_cache(maxsize=1)
def _music() -> dict[str, Signal]:
    """Four seconds of real music at 24 kHz for each scene and ear, "scene_00001 left" and so on."""
    import soxr

    return {
        f"{scene.id} {ear}": soxr.resample(scene.read("mixture")[:, channel], PROTOCOL.sample_rate, RATE, quality="HQ")
        for scene in _scenes().values()
        for channel, ear in enumerate(("left", "right"))
    }


def _cut(start: float, seconds: float, which: str = "scene_00003 left") -> Signal:
    return _music()[which][round(start * RATE) : round((start + seconds) * RATE)].copy()


def _late(signal: Signal, samples: int) -> Signal:
    """The signal that much later (or earlier, if negative), of the same length, with silence where nothing is."""
    shifted = np.zeros_like(signal)
    if samples >= 0:
        shifted[samples:] = signal[: len(signal) - samples]
    else:
        shifted[:samples] = signal[-samples:]
    return shifted


def _noisy(signal: Signal, snr_db: float, seed: int) -> Signal:
    return signal + _rms(signal) * 10 ** (-snr_db / 20) * _noise(len(signal), seed)


def _low_pass(signal: Signal) -> Signal:
    """A mean over nine samples: little is left above 2.7 kHz."""
    return np.convolve(signal, np.full(9, 1 / 9), mode="same")


def _music_cases() -> list[Case]:
    """Real music, changed in ways that submissions seldom are."""
    long = np.concatenate([_cut(0, 4), 0.7 * _cut(0, 4, "scene_00001 right"), -_cut(0, 2, "scene_00002 left")])
    second, other = _cut(0.6, 1.0), _cut(2.2, 1.0, "scene_00001 right")
    half = _cut(1.7, 0.5)
    clipped = np.clip(10 ** (35 / 20) * second, -1, 1)
    pauses = second * (np.arange(len(second)) // 3600 % 2 == 0)  # 150 ms of music, 150 ms of silence
    stops = np.where(np.arange(2 * RATE) < RATE // 2, _cut(0.6, 2.0), 0.0)
    pause = np.where(np.abs(np.arange(2 * RATE) - RATE) < RATE // 2, 0.0, _cut(0.6, 2.0))
    low_late = second + _late(_low_pass(second), 2900) - _low_pass(second)
    n2, n3, n5, s2 = (_ear(name) for name in ("N2", "N3", "N5", "S2"))
    normal = _ear("normal")

    made: list[Case] = []

    def add(
        name: str, processed: Signal, reference: Signal, ear: Audiogram, equalisation: int = 2, louder: float = 0.0
    ) -> None:
        level = _natural_level(reference) + louder
        made.append(Case(name, processed, reference, ear, equalisation, level, 1000 + len(made)))

    add("music of 10 s, at 25 dB SNR", _noisy(long, 25, 1), long, n3)
    add("the reference itself", second, second, n2)
    add("the reference itself, NAL-R by HAAQI", second, second, n3, equalisation=1)
    add("at 40 dB SNR, normal hearing", _noisy(second, 40, 2), second, normal)
    add("at 10 dB SNR, NAL-R by HAAQI", _noisy(second, 10, 3), second, n2, equalisation=1)
    add("at 0 dB SNR, severe loss, 30 dB louder", _noisy(second, 0, 4), second, n5, louder=30)
    add("at -10 dB SNR, steep loss, NAL-R by HAAQI", _noisy(second, -10, 5), second, s2, equalisation=1)
    add("35 dB louder, both", _noisy(second, 30, 6), second, n3, louder=35)
    add("35 dB louder and clipped, processed", clipped, second, n3)
    add("35 dB louder and clipped, severe loss, NAL-R by HAAQI", clipped, second, n5, equalisation=1)
    add("25 dB quieter, both", _noisy(second, 30, 7), second, n2, louder=-25)
    add("60 dB quieter, processed", 0.001 * second, second, n2)
    add("200 dB quieter, processed", 1e-10 * second, second, n2)
    add("loss from -10 to 120 dB", _noisy(second, 20, 8), second, _sloping(-10, 120))
    add("loss of 110 dB: below threshold", _noisy(second, 20, 9), second, _sloping(110, 110))
    add("loss of 80 to 0 dB, NAL-R by HAAQI", _low_pass(second), second, _sloping(80, 0), equalisation=1)
    add("5.3 ms late", _late(second, 127), second, n3)
    add("3.1 ms early", _late(second, -75), second, n3)
    add("150 ms late", _late(second, 3600), second, n2)
    add("140 ms early", _late(second, -3361), second, n2)
    add("low frequencies 121 ms late", low_late, second, n2)
    add("upside down", -second, second, n3)
    add("other music", other, second, n2)
    add("other music, severe loss, 30 dB louder", second, other, n5, louder=30)
    add("pauses in the reference", _noisy(second, 30, 10), pauses, n3)
    add("pauses in both", _low_pass(pauses), pauses, n2)
    add("processed falls silent", stops, _cut(0.6, 2.0), n2)
    add("both silent for a second, at the same time", _low_pass(pause), pause, normal)
    add("with a constant", second + 0.2, second, n2)
    add("0.3 s", _noisy(half[:7200], 20, 11), half[:7200], n3)
    add("12001 samples, of 12007", _noisy(half, 20, 12), _cut(1.7, 0.6)[:12001], n3)
    add("processed shorter by 487 samples", _low_pass(half)[:-487], half, n2)
    add("processed longer by 1111 samples, NAL-R by HAAQI", _low_pass(_cut(1.7, 0.6))[:13111], half, n2, equalisation=1)
    add("single precision", _low_pass(half).astype(np.float32), half.astype(np.float32), n3)
    return made


def _synthetic_cases() -> list[Case]:
    """Signals that hold a single thing."""
    time = np.arange(RATE // 2) / RATE
    tone = 0.1 * np.sin(2 * np.pi * 1000 * time)
    clicks = np.zeros(RATE // 2)
    clicks[1000::2400] = 0.5
    noise = 0.1 * _noise(RATE // 2, 20)
    music = _cut(0.6, 0.5)
    n2, n5 = _ear("N2"), _ear("N5")

    def case(name: str, processed: Signal, reference: Signal, ear: Audiogram, equalisation: int = 2) -> Case:
        return Case(name, processed, reference, ear, equalisation, _natural_level(reference), 4321)

    return [
        case("a tone, clipped", np.clip(tone, -0.07, 0.07), tone, n2),
        case("a tone for music", tone, music, n2),
        case("clicks, smeared", _low_pass(clicks), clicks, n2),
        case("clicks, severe loss, NAL-R by HAAQI", _noisy(clicks, 20, 21), clicks, n5, equalisation=1),
        case("one click for music", np.where(np.arange(RATE // 2) == 5000, 0.5, 0.0), music, n2),
        case("noise, as another noise", 0.1 * _noise(RATE // 2, 22), noise, n2),
        case("processed is silent", np.zeros_like(music), music, n2),
    ]


def _hopeless_cases() -> list[Case]:
    """Signals on which HAAQI itself fails, or gives a number that means nothing: both engines must do the same."""
    music = _cut(0.6, 0.3)
    silence = np.zeros_like(music)
    click = silence.copy()
    click[3000] = 0.5
    not_finite = music.copy()
    not_finite[100] = np.nan
    stereo = np.stack([music, music], axis=1)
    level, n2 = _natural_level(music), _ear("N2")
    return [
        Case("silent reference", music, silence, n2, 2, level, 1),
        Case("one click as reference", music, click, n2, 2, level, 2),
        Case("processed is empty", music[:0], music, n2, 2, level, 3),
        Case("reference is empty", music, music[:0], n2, 2, level, 4),
        Case("NaN in processed", not_finite, music, n2, 2, level, 5),
        Case("NaN in reference", music, not_finite, n2, 2, level, 6),
        Case("stereo", stereo, stereo, n2, 2, level, 7),
    ]
