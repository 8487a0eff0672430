"""The cases on which the fast engine is compared with the locked evaluator (`harness.haaqi.agreement` does that).

Each case is one ear: two signals at 24 kHz, an audiogram, and what else `compute_haaqi` takes. There is real music
(of the embedded evaluation set), some of it on the whole way that submissions take under either protocol, and there
is what music seldom holds but where a second engine may go astray: silence, clicks, delays, noise, clipping, extreme
levels and losses, odd and unequal lengths, and signals on which HAAQI itself fails.

Nothing here is random: noise comes from NumPy's legacy generator, whose streams are frozen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import CAD1, EARS, PROTOCOL
from harness.enhancement import Signal, amplify, amplify_ear, remix, to_remix_format
from harness.haaqi.evaluator import reference_mixture
from harness.haaqi.stems import level_of, reference_stems
from harness.hearing import Audiogram, Listener
from harness.music.audiograms import AUDIOGRAMS, FREQUENCIES
from harness.music.demo import demo
from harness.music.evaluationset import Scene
from harness.submission.stems import processed, to_stem_format

RATE = PROTOCOL.haaqi_sample_rate
"""Of the signals of every case, in Hz."""


@dataclass(frozen=True, eq=False)
class Case:
    """One ear: everything that an engine is given.

    Attributes:
        name: says what is special about it.
        processed, reference: signals at 24 kHz.
        audiogram: of this ear.
        equalisation: 1, HAAQI adds NAL-R to the reference; 2, the reference already carries it.
        level1: sound pressure level in dB of a signal whose root mean square is 1.
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


def cases() -> list[Case]:
    """All cases, about 73 s of audio. Needs the embedded evaluation set, which is built if it does not exist yet."""
    return [*_protocol_cases(), *_stem_cases(), *_music_cases(), *_synthetic_cases(), *_hopeless_cases()]


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
    channel = EARS.index(ear)
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


def _stem_cases() -> list[Case]:
    """A second of real stems on the way of the first challenge's submissions, with HAAQI's own NAL-R."""
    scene = _scenes()["scene_00003"]
    part = slice(PROTOCOL.sample_rate, 2 * PROTOCOL.sample_rate)
    true = {name: stem[part] for name, stem in scene.read_stems().items()}
    leaky = {name: 0.8 * stem + 0.2 * scene.read("mixture")[part] for name, stem in true.items()}
    references = reference_stems(true)
    made = []
    losses = (("S2", "N3"), ("N5", "N3"), ("normal", "N2"), ("N2", "normal"))
    for stem, (left, right) in zip(CAD1.score_order, losses, strict=True):
        listener = Listener(f"{left} {right}", _ear(left), _ear(right))
        amplified = dict(processed(leaky, listener))
        for ear, loss in zip(EARS, (left, right), strict=True):
            name = f"{ear}_{stem}"
            samples, scale = to_stem_format(amplified[name])
            made.append(
                Case(
                    f"stems: {stem} of the {ear} ear, {loss}, 1 s",
                    (samples / 32768).astype(np.float32) * np.float32(scale),
                    references[name],
                    getattr(listener, ear),
                    CAD1.haaqi_equalisation,
                    level_of(references[name]),
                    CAD1.seed(name),
                )
            )
    return made


@lru_cache(maxsize=1)
def _music() -> dict[str, Signal]:
    """Four seconds of real music at 24 kHz for each scene and ear, "scene_00001 left" and so on."""
    import soxr

    return {
        f"{scene.id} {ear}": soxr.resample(scene.read("mixture")[:, channel], PROTOCOL.sample_rate, RATE, quality="HQ")
        for scene in _scenes().values()
        for channel, ear in enumerate(EARS)
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
