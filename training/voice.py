"""A singer: speech synthesisers' words, sung to a melody with the WORLD vocoder.

Speech is analysed into pitch, spectral envelope and aperiodicity (M. Morise, F. Yokomori and K. Ozawa, "WORLD: A
vocoder-based high-quality speech synthesis system for real-time applications", IEICE Trans. Inf. & Syst. E99-D,
2016; the package pyworld, MIT). To sing, its syllables are moved to the melody's notes, their vowels held, and its
pitch is replaced by the melody's with glides, vibrato and drift; then WORLD makes sound of it.

The speakers come from Debian's packages: flite (BSD-like), espeak-ng (GPL 3), festival (BSD-like) with voices for it
(GPL, LGPL, BSD-like). Only their sound is used.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from training.composition import Note
from training.excerpts import SAMPLE_RATE

FRAME = 0.005
"""Seconds between frames of WORLD's analysis."""

FFT = 2048
CODED = 60
"""Mel-cepstral coefficients to which the envelope is reduced: they smooth it and save memory."""


@dataclass(frozen=True)
class Speaker:
    """A synthetic voice.

    Attributes:
        engine: "flite", "espeak" or "festival".
        voice: what the engine calls it.
        language: "en", or "open" for voices that read plain syllables as they are written.
        low, high: MIDI pitches between which it sings.
    """

    engine: str
    voice: str
    language: str
    low: int
    high: int


LOW, MIDDLE, HIGH, CHILD = (43, 62), (47, 66), (54, 74), (58, 77)

SPEAKERS = (
    Speaker("flite", "slt", "en", *HIGH),
    Speaker("flite", "rms", "en", *MIDDLE),
    Speaker("flite", "awb", "en", *MIDDLE),
    Speaker("festival", "cmu_us_slt_arctic_hts", "en", *HIGH),
    Speaker("festival", "czech_dita", "open", *HIGH),
    Speaker("festival", "czech_machac", "open", *LOW),
    Speaker("festival", "czech_krb", "open", *CHILD),
    Speaker("festival", "suo_fi_lj_diphone", "open", *HIGH),
    Speaker("festival", "hy_fi_mv_diphone", "open", *MIDDLE),
    Speaker("festival", "lp_diphone", "open", *HIGH),
    Speaker("festival", "pc_diphone", "open", *LOW),
    Speaker("festival", "upc_ca_ona_hts", "open", *HIGH),
    Speaker("espeak", "en-us+m3", "en", *MIDDLE),
    Speaker("espeak", "en-us+f2", "en", *HIGH),
    Speaker("espeak", "en-gb+Andy", "en", *MIDDLE),
    Speaker("espeak", "it+f4", "open", *HIGH),
)

HELD_OUT_SPEAKERS = (
    Speaker("flite", "kal16", "en", *MIDDLE),
    Speaker("festival", "ked_diphone", "en", *LOW),
    Speaker("festival", "czech_ph", "open", *MIDDLE),
    Speaker("espeak", "es+f5", "open", *HIGH),
)
"""Heard in the held-out pieces alone, so that they tell how well a model does with voices that it has not met."""

WORDS = """
    love night heart time away home light fire rain river dream stay go down alone never ever always maybe
    baby tonight morning sun moon sky blue road city ocean wind hold hand eyes see feel know believe remember
    forget running falling dancing waiting calling shine over under higher lower tomorrow yesterday summer
    winter golden silver shadow window you me we are all in the of and my your I will be there when if only
    say no more come back to let it be slow sweet wild free young old world mind soul body move take make
    leave why how long strong wrong right left turn around ground
""".split()  # noqa: SIM905
ONSETS = tuple("l m n r s t d k v p b f g h st tr l m n s r".split())  # noqa: SIM905
VOWELS = tuple("a a a e i o o u ai ou ei".split())  # noqa: SIM905


@dataclass(frozen=True)
class Utterance:
    """Analysed speech: frames every 5 ms.

    Attributes:
        envelope: (frames, 60), mel-cepstrum of the power spectrum.
        breath: (frames, bands), coded aperiodicity.
        voiced: (frames,), 1 where the voice has a pitch.
        nuclei: frames of the syllables' loudest points.
        borders: frames between them; one more than there are nuclei.
    """

    envelope: NDArray[np.float64]
    breath: NDArray[np.float64]
    voiced: NDArray[np.float64]
    nuclei: NDArray[np.int64]
    borders: NDArray[np.int64]


def words(rng: np.random.Generator, language: str) -> str:
    """Words to sing, or syllables that mean nothing."""
    if language == "en":
        return " ".join(str(word) for word in rng.choice(WORDS, 14))
    return " ".join(
        "".join(str(rng.choice(ONSETS)) + str(rng.choice(VOWELS)) for _ in range(int(rng.integers(1, 4))))
        for _ in range(8)
    )


def speak(speaker: Speaker, text: str) -> NDArray[np.float64]:
    """Let a speech synthesiser say a text: mono at 44100 Hz.

    Raises:
        FileNotFoundError: the synthesiser is not installed.
        subprocess.CalledProcessError: it failed, for instance because it lacks the voice.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        if speaker.engine == "flite":
            command = ["flite", "-voice", speaker.voice, "-t", text, "-o", str(path)]
        elif speaker.engine == "espeak":
            command = ["espeak-ng", "-v", speaker.voice, "-s", "140", "-w", str(path), text]
        else:
            script = f'(voice_{speaker.voice})\n(utt.save.wave (utt.synth (Utterance Text "{text}")) "{path}" \'riff)\n'
            (Path(folder) / "say.scm").write_text(script, encoding="ascii")
            command = ["festival", "-b", str(Path(folder) / "say.scm")]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
        audio, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return np.asarray(soxr.resample(audio.mean(axis=1), rate, SAMPLE_RATE))


def analyse(speech: NDArray[np.float64]) -> Utterance:
    """Take speech apart with WORLD, widen its band and find its syllables."""
    import pyworld

    rough, times = pyworld.dio(speech, SAMPLE_RATE, frame_period=1000 * FRAME, f0_floor=60, f0_ceil=500)
    pitch = pyworld.stonemask(speech, rough, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(speech, pitch, times, SAMPLE_RATE, fft_size=FFT)
    breath = pyworld.d4c(speech, pitch, times, SAMPLE_RATE, fft_size=FFT)
    envelope, breath = _widened(envelope, breath)
    voiced = (pitch > 0).astype(np.float64)
    loudness = 10 * np.log10(envelope[:, : FFT // 8].sum(axis=1) + 1e-9)
    nuclei, borders = _syllables(loudness, voiced)
    # Syllables are equally loud in singing, far more than in speech.
    level = np.interp(np.arange(len(loudness)), nuclei, loudness[nuclei]) if len(nuclei) else loudness
    envelope = envelope * 10 ** (-0.85 * (level[:, None] - 10) / 10)
    return Utterance(
        pyworld.code_spectral_envelope(np.ascontiguousarray(np.maximum(envelope, 1e-12)), SAMPLE_RATE, CODED),
        pyworld.code_aperiodicity(np.ascontiguousarray(breath), SAMPLE_RATE),
        voiced,
        nuclei,
        borders,
    )


def _widened(envelope: NDArray[Any], breath: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Continue the spectrum above 7 kHz, where most speech synthesisers end, as noise that falls by 9 dB an octave."""
    frequencies = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    edge = int(7000 / SAMPLE_RATE * FFT)
    at_edge = np.exp(np.log(envelope[:, edge - 40 : edge] + 1e-14).mean(axis=1, keepdims=True))
    fall = 10 ** (-0.9 * np.log2(np.maximum(frequencies / frequencies[edge], 1)))
    blend = np.clip((frequencies - 6500) / 1000, 0, 1)
    envelope = envelope * (1 - blend) + at_edge * fall * blend
    breath = np.clip(breath * (1 - blend) + 0.9 * blend, 0.001, 0.999)
    return envelope, breath


def _syllables(loudness: NDArray[Any], voiced: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    smooth = gaussian_filter1d(loudness + 12 * voiced, 5)
    nuclei, _ = find_peaks(smooth, distance=int(0.11 / FRAME), prominence=1.5, height=smooth.max() - 30)
    nuclei = nuclei[voiced[nuclei] > 0]
    inner = [int(a + np.argmin(smooth[a:b])) for a, b in pairwise(nuclei)]
    first = max(int(nuclei[0]) - 30, 0) if len(nuclei) else 0
    last = min(int(nuclei[-1]) + 30, len(loudness) - 1) if len(nuclei) else 0
    return nuclei.astype(np.int64), np.array([first, *inner, last], np.int64)


def sing(
    melody: Sequence[Note], utterances: Sequence[Utterance], seconds: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sing a melody.

    Args:
        melody: notes in order of time, one at a time; a gap is a rest.
        utterances: what is sung, from which phrases are drawn.
        seconds: duration of the result.
        rng: the source of chance; the same generator state gives the same performance.

    Returns:
        (samples,), mono at 44100 Hz, peak about 0.5.
    """
    style = _Style.drawn(rng)
    song = np.zeros(int(seconds * SAMPLE_RATE) + SAMPLE_RATE)
    for phrase in _phrases(melody):
        utterance = utterances[int(rng.integers(len(utterances)))]
        count = len(utterance.nuclei)
        if count < 4:
            continue
        first = int(rng.integers(0, max(1, count - len(phrase))))
        source, where = _timing(phrase, utterance, first, rng)
        begin = int(where[0] * FRAME * SAMPLE_RATE)
        sound = _phrase(phrase, utterance, style, source, where * FRAME, rng)[: max(0, len(song) - begin)]
        song[begin : begin + len(sound)] += sound
    song = song[: int(seconds * SAMPLE_RATE)]
    loudest = np.percentile(np.abs(song), 99.9)
    return np.asarray((0.5 * song / max(loudest, 1e-6)).clip(-1, 1), np.float32)


def _phrase(
    phrase: Sequence[Note],
    utterance: Utterance,
    style: "_Style",
    source: NDArray[np.float64],
    times: NDArray[Any],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Sing one phrase: (samples,). WORLD works for its pauses as hard as for its notes, so each phrase goes alone."""
    import pyworld

    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, len(utterance.voiced) - 1)
    share = (source - low)[:, None]
    coded = [values[low] * (1 - share) + values[high] * share for values in (utterance.envelope, utterance.breath)]
    spectrum = pyworld.decode_spectral_envelope(np.ascontiguousarray(coded[0]), SAMPLE_RATE, FFT)
    aperiodicity = pyworld.decode_aperiodicity(np.ascontiguousarray(coded[1]), SAMPLE_RATE, FFT)
    dynamics = np.interp(times, [note.start for note in phrase], [(note.velocity / 100) ** 1.5 for note in phrase])
    dynamics *= 10 ** (gaussian_filter1d(rng.normal(0, 1, len(times)), 10) * 6 / 20)  # a voice is never quite steady
    edges = np.minimum(1, np.minimum(np.arange(len(times)), np.arange(len(times))[::-1]) / 6)
    spectrum = style.shifted(spectrum) * ((dynamics * edges)[:, None] ** 2) + 1e-14
    aperiodicity = np.clip(aperiodicity * style.breathiness + (style.breathiness - 1) * 0.05, 0.001, 0.999)
    voiced = utterance.voiced[np.round(source).astype(int)] > 0
    pitch = np.where(voiced, style.contour(phrase, times, rng), 0)
    return np.asarray(
        pyworld.synthesize(
            pitch, np.ascontiguousarray(spectrum), np.ascontiguousarray(aperiodicity), SAMPLE_RATE, 1000 * FRAME
        )
    )


@dataclass(frozen=True)
class _Style:
    """How somebody sings: glides, vibrato, drift, size of the throat, breath."""

    glide: float
    vibrato_rate: float
    vibrato_depth: float
    drift: float
    scoop: float
    formants: float
    breathiness: float
    transpose: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Style":
        return cls(
            glide=float(rng.uniform(0.015, 0.06)),
            vibrato_rate=float(rng.uniform(4.8, 6.6)),
            vibrato_depth=float(rng.choice([0.0, rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.8)])),
            drift=float(rng.uniform(0.05, 0.2)),
            scoop=float(rng.choice([0.0, rng.uniform(0.5, 2)])),
            formants=float(rng.uniform(0.86, 1.18)),
            breathiness=float(rng.choice([1.0, rng.uniform(1, 2.5)])),
            transpose=float(rng.normal(0, 0.15)),
        )

    def contour(self, phrase: Sequence[Note], times: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
        """Pitch in Hz at the given times."""
        index = np.clip(np.searchsorted([note.start for note in phrase], times, side="right") - 1, 0, len(phrase) - 1)
        tones = np.array([note.pitch for note in phrase], float)[index] + self.transpose
        tones = gaussian_filter1d(tones, self.glide / FRAME, mode="nearest")
        since = times - np.array([note.start for note in phrase])[index]
        lasting = np.array([note.duration for note in phrase])[index]
        swell = np.clip((since - 0.2) / 0.25, 0, 1) * (lasting > 0.35)
        tones += self.vibrato_depth * swell * np.sin(2 * np.pi * self.vibrato_rate * times + rng.uniform(0, 6))
        tones += self.drift * gaussian_filter1d(rng.normal(0, 1, len(times)), 12) * 4
        tones -= self.scoop * np.exp(-(times - times[0]) / 0.05)
        return np.asarray(440 * 2 ** ((tones - 69) / 12))

    def shifted(self, spectrum: NDArray[Any]) -> NDArray[np.float64]:
        """The spectrum with its formants moved up or down."""
        bins = np.arange(spectrum.shape[1])
        source = np.clip(bins / self.formants, 0, len(bins) - 1)
        low = np.floor(source).astype(int)
        share = source - low
        return np.asarray(spectrum[:, low] * (1 - share) + spectrum[:, np.minimum(low + 1, len(bins) - 1)] * share)


def _phrases(melody: Sequence[Note]) -> list[list[Note]]:
    """Notes between rests; a singer also breathes after some 12 notes."""
    phrases: list[list[Note]] = []
    for note in melody:
        previous = phrases[-1][-1] if phrases else None
        if previous is None or note.start - previous.start - previous.duration > 0.06 or len(phrases[-1]) >= 12:
            phrases.append([note])
        else:
            phrases[-1].append(note)
    return phrases


def _timing(
    phrase: Sequence[Note], utterance: Utterance, first: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Which frame of the speech is heard when: for each frame of the song its source frame, and its index.

    A syllable's consonants keep their length and come before the note; its vowel is held until the next.
    """
    anchors: list[tuple[float, float]] = []
    syllable = first
    count = len(utterance.nuclei)
    for i, note in enumerate(phrase):
        begin, nucleus, end = (
            utterance.borders[syllable], utterance.nuclei[syllable], utterance.borders[syllable + 1]
        )  # fmt: skip
        onset = float(np.clip((nucleus - begin) * FRAME, 0.03, 0.12))
        vowel = note.start + min(0.04, note.duration * 0.3)
        release = min(float((end - nucleus) * FRAME), 0.4 * note.duration, 0.14)
        anchors += [(vowel - onset, begin), (vowel, nucleus - 1), (note.start + note.duration - release, nucleus + 3)]
        if i == len(phrase) - 1:
            anchors.append((note.start + note.duration, end))
        # Now and then a syllable is sung on two notes.
        if not (rng.random() < 0.12 and note.duration < 0.5):
            syllable = syllable + 1 if syllable + 1 < count else max(0, count - 1 - int(rng.integers(1, 4)))
    # Short notes make anchors cross: keep those that go forward in time.
    kept = [anchors[0]]
    for anchor in anchors[1:]:
        if anchor[0] > kept[-1][0] + FRAME:
            kept.append(anchor)
    times = np.array([anchor[0] for anchor in kept])
    where = np.arange(max(0, int(times[0] / FRAME)), int(times[-1] / FRAME) + 1)
    source = np.interp(where * FRAME, times, [anchor[1] for anchor in kept])
    return np.clip(source, 0, len(utterance.voiced) - 1), where
