"""Where the music of an evaluation set comes from: songs on disk, whole or in part."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.enhancement import Signal


@dataclass(frozen=True)
class Source:
    """One signal of a song, the mixture or a stem: a file, or a part of it.

    Attributes:
        path: the WAV or FLAC file.
        start, end: the first sample at 44.1 kHz, and the one after the last; None for the file's end.
        resample: whether another sample rate than 44.1 kHz is resampled to it (soxr HQ), and not refused.
    """

    path: Path
    start: int = 0
    end: int | None = None
    resample: bool = False

    def read(self) -> Signal:
        """Read it: (samples, 2), float64, full scale +-1, 44.1 kHz.

        Raises:
            DataError: not there, not stereo, another sample rate, not finite, too short, too long or too loud: names
                the file and what is expected.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Song:
    """A song: mixture and four stems.

    Attributes:
        name: its Track Name, which is also that of its folder.
        signals: "mixture" and the four stems.
        about: what else its entry in musdb18.<split>.json says: "Genre", "Source", "License".
    """

    name: str
    signals: Mapping[str, Source]
    about: Mapping[str, str]
