"""Cutting songs into excerpts, as songs of their own: sample by sample what the song's files hold."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal
from harness.errors import DataError, SubmissionError
from harness.files import read_bounded, write_whole
from harness.music.microphones import loudness
from harness.sets.songs import SIGNALS
from harness.sets.sources import Song, opened

SILENT_LUFS = -60.0
"""A stem below this integrated loudness counts as silent. BS.1770 gives no loudness to what stays below its gate of -70
LUFS, and then neither the music at the microphones nor gains can be computed; 10 dB are left for what a head takes away
from some music."""


@dataclass(frozen=True)
class Excerpt:
    """A part of a song.

    Attributes:
        name: its own; the song's and the start, for consecutive ones.
        song: the song's name.
        start, end: the first sample at 44.1 kHz, and the one after the last.
        silent: the stems that count as silent in it.
        made: whether it is one of the excerpts; consecutive ones with silent stems are not.
    """

    name: str
    song: str
    start: int
    end: int
    silent: tuple[str, ...]
    made: bool

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start) / PROTOCOL.sample_rate

    @property
    def record(self) -> dict[str, Any]:
        """The same as a JSON value, with times in seconds."""
        rate = PROTOCOL.sample_rate
        return {
            "name": self.name,
            "song": self.song,
            "start": self.start / rate,
            "end": self.end / rate,
            "samples": self.end - self.start,
            "silent": list(self.silent),
        }


Cuts = Callable[[Song, int], Sequence[tuple[str, int, int]]]
"""Where a song of so many samples is cut: names, first samples, and those after the last."""


def cut_song(song: Song, output: Path, cuts: Cuts, keep_silent: bool) -> list[Excerpt]:
    """Cut a song, and write each excerpt as a song in the layout `folders`; files that say the same already stay.

    One signal of the song is in memory at a time.

    Args:
        song: the song.
        output: where a folder for each excerpt goes.
        cuts: where it is cut.
        keep_silent: whether excerpts with silent stems are made as well.

    Returns:
        All excerpts, also those that were not made, in their order.

    Raises:
        DataError: the song cannot be read, its files differ in length, or a cut leads out of it.
        StorageError: a file cannot be written.
    """
    frames, silent = _silent_stems(song, cuts)
    excerpts = [
        Excerpt(name, song.name, start, end, quiet, keep_silent or not quiet)
        for (name, start, end), quiet in zip(cuts(song, frames), silent, strict=True)
    ]
    made = [excerpt for excerpt in excerpts if excerpt.made]
    for signal_name in SIGNALS if made else ():
        source = song.signals[signal_name]
        signal = source.read()
        if len(signal) != frames:
            raise DataError(
                f"{source.path} has {len(signal)} samples, the song's others have {frames}: bring them to one length"
            )
        subtype = _subtype(song, signal_name)
        for excerpt in made:
            content = wav(signal[excerpt.start : excerpt.end], subtype)
            write_if_new(output / excerpt.name / f"{signal_name}.wav", content)
    return excerpts


def _silent_stems(song: Song, cuts: Cuts) -> tuple[int, list[tuple[str, ...]]]:
    """A song's length in samples, and for each of its excerpts the stems that count as silent in it."""
    silent: list[list[str]] = []
    frames = None
    for stem in STEMS:
        signal = song.signals[stem].read()
        if frames is not None and len(signal) != frames:
            raise DataError(
                f"{song.signals[stem].path} has {len(signal)} samples, the song's others have {frames}: "
                "bring them to one length"
            )
        frames = len(signal)
        parts = cuts(song, frames)
        silent = silent or [[] for _ in parts]
        for (_, start, end), quiet in zip(parts, silent, strict=True):
            if not 0 <= start < end <= frames:
                raise DataError(
                    f"{song.signals[stem].path} has {frames} samples at {PROTOCOL.sample_rate} Hz, "
                    f"the part from sample {start} to {end} is not in it"
                )
            if not loudness(signal[start:end]) >= SILENT_LUFS:
                quiet.append(stem)
    assert frames is not None
    return frames, [tuple(quiet) for quiet in silent]


def _subtype(song: Song, signal_name: str) -> str:
    """libsndfile's name of the sample format in which a signal of a song loses nothing."""
    source = song.signals[signal_name]
    with opened(source.path, source.resample) as file:
        unchanged = file.samplerate == PROTOCOL.sample_rate and not source.added
        return str(file.subtype) if unchanged else "FLOAT"


def wav(signal: Signal, subtype: str) -> bytes:
    """A WAV file with a signal at 44.1 kHz.

    Args:
        signal: (samples, 2), full scale +-1. Of an integer format, each sample is a multiple of its smallest step.
        subtype: one of `sources.SUBTYPES`.
    """
    import soundfile
    from scipy.io import wavfile

    buffer = io.BytesIO()
    if subtype in ("FLOAT", "DOUBLE"):
        # libsndfile would note the time in a file of floats, so that no two are the same.
        wavfile.write(buffer, PROTOCOL.sample_rate, signal.astype(np.float32 if subtype == "FLOAT" else np.float64))
        return buffer.getvalue()
    # As integers, from the left of 32 bits: libsndfile scales floats by 2**15 - 1 when it writes them, but by 2**15
    # when it reads them.
    samples = np.rint(signal * 2.0**31).astype(np.int32)
    soundfile.write(buffer, samples, PROTOCOL.sample_rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def write_if_new(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, unless it says the same already."""
    try:
        if read_bounded(path, len(content)) == content:
            return
    except (FileNotFoundError, SubmissionError):
        pass
    write_whole(path, content)
