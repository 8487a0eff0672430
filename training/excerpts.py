"""Training data: rendered pieces in memory, and augmented excerpts drawn from them.

A folder of pieces holds one folder for each, with `drums.flac`, `bass.flac`, `other.flac` and `vocals.flac`: 16 bit,
stereo, 44.1 kHz, all of the same length. A stem may be silent.

The augmentation is the usual one of music separation: stems of different pieces remixed, gains, channels swapped,
signs, speed and pitch (Uhlich et al., "Improving music source separation based on deep neural networks through data
augmentation and network blending", ICASSP 2017; Défossez, arXiv:2111.03600), with shelving filters, stereo width,
effects, and loudspeakers before a head (`effects`).
"""

import os
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pedalboard
import rich.progress
import soundfile
import soxr

from training import effects

STEMS = ("drums", "bass", "other", "vocals")
"""The order of demucs' own models."""

SAMPLE_RATE = effects.SAMPLE_RATE
FULL_SCALE = 32768.0

COHERENT = 0.5
"""Share of excerpts whose stems belong together: one piece, one time, one speed."""

STEM_GAIN = ((-9.0, 6.0), (-9.0, 6.0), (-8.0, 8.0), (-12.0, 6.0))
"""Range of each stem's gain in dB, in the order of `STEMS`: vocals are quiet in much music."""

DOUBLED = (0.0, 0.0, 0.15, 0.1)
"""How often the same stem of another piece is added to it, where stems do not belong together anyway."""

LEVEL = (-10.0, 4.0)
"""Range of the whole mixture's gain in dB. Open-Unmix does not normalise its input, so it has to meet all levels."""

DROPPED = (0.08, 0.05, 0.05, 0.12)
"""How often each stem is left out, in the order of `STEMS`."""

CHANGED_SPEED = 0.5
SPEED = (0.85, 1.15)
"""How often, and by what factor, an excerpt is played faster or slower; its pitch follows, as on tape."""

SHELVED = 0.5
SHELF_GAIN = (-6.0, 6.0)
LOW_SHELF = (80.0, 600.0)
HIGH_SHELF = (1500.0, 8000.0)
"""How often a stem gets a shelving filter, its gain in dB, and the ranges of its corner in Hz."""

CHANGED_WIDTH = 0.3
WIDTH = (0.0, 1.3)
"""How often a stem's stereo side signal is scaled, and by what: 0 is mono."""

SILENCE = 10 ** (-50 / 20)
"""RMS, relative to full scale, below which an excerpt counts as silent."""

MAY_BE_SILENT = 0.07
ATTEMPTS = 5
"""How often a silent excerpt is taken as it is, and else how many places are tried for one that is not."""

_SPARE = 16
"""Samples that the resampler is given beyond what it needs."""

Piece = npt.NDArray[np.int16]
"""(4, samples, 2), stems in the order of `STEMS`."""

Batch = npt.NDArray[np.float32]
"""(excerpts, 4, 2, samples), full scale at 1. The mixtures are the sums over axis 1."""


class TrainingProblem(Exception):
    """Something that a user can fix, said in one line."""


# ---- pieces on disk -------------------------------------------------------------------------------------


def load(folder: Path) -> list[Piece]:
    """Read all pieces of a folder into memory (0.7 MB for each second of music), in the order of their names.

    Raises:
        TrainingProblem: there are none, or a file is missing, unreadable or of another form.
    """
    paths = sorted(path for path in folder.glob("*") if path.is_dir())
    if not paths:
        raise TrainingProblem(f"{folder}: no pieces in it; render them first (python -m training render)")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        pieces = threads.map(read, paths)
        return list(rich.progress.track(pieces, f"Reading {folder}", total=len(paths)))


def read(folder: Path) -> Piece:
    """Read a piece.

    Raises:
        TrainingProblem: a file is missing, unreadable or of another form.
    """
    paths = [folder / f"{stem}.flac" for stem in STEMS]
    try:
        forms = {(info.frames, info.channels, info.samplerate) for info in map(soundfile.info, paths)}
        if len(forms) > 1:
            raise TrainingProblem(f"{folder}: its stems differ in length or form")
        frames, channels, rate = forms.pop()
        if (channels, rate) != (2, SAMPLE_RATE):
            raise TrainingProblem(f"{folder}: {channels} channels at {rate} Hz, expected 2 at {SAMPLE_RATE}")
        piece = np.empty((len(STEMS), frames, channels), np.int16)
        for path, stem in zip(paths, piece, strict=True):
            soundfile.read(path, dtype="int16", out=stem)
    except soundfile.LibsndfileError as error:
        raise TrainingProblem(f"{folder}: {error}") from error
    return piece


def checksum(pieces: Sequence[Piece]) -> str:
    """Tells sets of pieces apart, from a part of their samples: it is for mix-ups, not against fraud."""
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece[:, ::499].tobytes(), zlib.crc32(str(piece.shape).encode(), value))
    return f"{value:08x}"


# ---- excerpts for training ------------------------------------------------------------------------------


def batch(pieces: Sequence[Piece], rng: np.random.Generator, size: int, samples: int) -> Batch:
    """Draw augmented excerpts.

    Args:
        pieces: where from; each longer than `samples` at the highest speed.
        rng: decides everything.
        size: number of excerpts.
        samples: length of each.
    """
    excerpts = np.zeros((size, len(STEMS), 2, samples), np.float32)
    for stems in excerpts:
        level = rng.uniform(*LEVEL)
        coherent = rng.random() < COHERENT
        if coherent:
            sources = [_source(pieces, rng, samples, range(len(STEMS)))] * len(STEMS)
        else:
            sources = [_source(pieces, rng, samples, [index]) for index in range(len(STEMS))]
        for index, (source, dropped) in enumerate(zip(sources, DROPPED, strict=True)):
            if rng.random() < dropped:
                continue
            played = _played(source, index, samples)
            if not coherent and rng.random() < DOUBLED[index]:
                played = played + _played(_source(pieces, rng, samples, [index]), index, samples)
            _augment(played, rng, rng.uniform(*STEM_GAIN[index]) + level, stems[index])
        if rng.random() < effects.AT_EARS:
            effects.at_ears(stems, rng)
    return excerpts


def shortest(samples: int) -> int:
    """How many samples a piece must have for excerpts of `samples`."""
    return _length(samples, SPEED[1])


@dataclass(frozen=True)
class _Source:
    """A place in a piece (in samples), and the speed at which it is played."""

    piece: Piece
    start: int
    speed: float


def _source(pieces: Sequence[Piece], rng: np.random.Generator, samples: int, stems: Sequence[int]) -> _Source:
    """A place at which, as a rule, at least one of the stems sounds."""
    speed = rng.uniform(*SPEED) if rng.random() < CHANGED_SPEED else 1.0
    length = _length(samples, speed)
    attempts = 1 if rng.random() < MAY_BE_SILENT else ATTEMPTS
    for _ in range(attempts):
        piece = pieces[int(rng.integers(len(pieces)))]
        start = int(rng.integers(piece.shape[1] - length + 1))
        if any(_rms(piece[stem, start : start + length]) > SILENCE for stem in stems):
            break
    return _Source(piece, start, speed)


def _length(samples: int, speed: float) -> int:
    """How much music makes `samples` at a speed."""
    return samples if speed == 1 else int(np.ceil(samples * speed)) + _SPARE


def _played(source: _Source, stem: int, samples: int) -> npt.NDArray[np.float32]:
    """(samples, 2) of a stem, at the source's speed. The resampler's fastest quality is good enough to learn from."""
    recorded = source.piece[stem, source.start : source.start + _length(samples, source.speed)]
    signal = recorded.astype(np.float32) / np.float32(FULL_SCALE)
    if source.speed == 1:
        return signal
    played: npt.NDArray[np.float32] = soxr.resample(signal, SAMPLE_RATE * source.speed, SAMPLE_RATE, quality="QQ")
    return played[:samples]


def _rms(recorded: npt.NDArray[np.int16]) -> float:
    """Relative to full scale; from a part of the samples, which is enough to tell sound from silence."""
    part = recorded[::16].astype(np.float32) / np.float32(FULL_SCALE)
    return float(np.sqrt(np.mean(part**2)))


def _augment(played: npt.NDArray[np.float32], rng: np.random.Generator, gain: float, out: Batch) -> None:
    """Treat a stem (samples, 2), change its gain (dB), sign, sides and width, and write it to `out` (2, samples)."""
    signal = effects.treat(np.ascontiguousarray(played.T), rng)
    if rng.random() < SHELVED:
        shelf = rng.uniform(*SHELF_GAIN)
        if rng.random() < 0.5:
            signal = pedalboard.LowShelfFilter(effects.log_uniform(rng, *LOW_SHELF), shelf)(signal, SAMPLE_RATE)
        else:
            signal = pedalboard.HighShelfFilter(effects.log_uniform(rng, *HIGH_SHELF), shelf)(signal, SAMPLE_RATE)
    width = rng.uniform(*WIDTH) if rng.random() < CHANGED_WIDTH else 1.0
    channels = np.array([[1 + width, 1 - width], [1 - width, 1 + width]]) / 2
    if rng.random() < 0.5:
        channels = channels[::-1]
    sign = rng.choice((-1.0, 1.0))
    factor = sign * 10 ** (gain / 20)
    np.matmul((factor * channels).astype(np.float32), signal, out=out)


def batches(
    pieces: Sequence[Piece], seed: int, first: int, last: int, size: int, samples: int, threads: int = 1
) -> Generator[Batch, None, None]:
    """The batches of the steps from `first` up to, not including, `last`, made ahead in threads.

    The batch of a step depends on the seed and on its number alone, so a training that is resumed sees what it
    would have seen.
    """

    def make(step: int) -> Batch:
        return batch(pieces, np.random.default_rng([seed, step]), size, samples)

    pool = ThreadPoolExecutor(threads)
    try:
        ahead = deque(pool.submit(make, step) for step in range(first, min(first + threads + 1, last)))
        for step in range(first, last):
            ready = ahead.popleft().result()
            if step + threads + 1 < last:
                ahead.append(pool.submit(make, step + threads + 1))
            yield ready
    finally:
        pool.shutdown(cancel_futures=True)


# ---- excerpts for validation ----------------------------------------------------------------------------


def held_out(pieces: Sequence[Piece], samples: int) -> Batch:
    """One excerpt of each piece, as it is: where the four stems taken together sound most."""
    return np.stack([richest(piece, samples) for piece in pieces])


def richest(piece: Piece, samples: int) -> Batch:
    """The excerpt (4, 2, samples) with the highest sum of the stems' levels in dB, silence counting as -50 dB."""

    def richness(start: int) -> float:
        return float(sum(np.log10(max(_rms(stem[start : start + samples]), SILENCE)) for stem in piece))

    start = max(range(0, piece.shape[1] - samples + 1, samples // 2), key=richness)
    return piece[:, start : start + samples].transpose(0, 2, 1).astype(np.float32) / np.float32(FULL_SCALE)
