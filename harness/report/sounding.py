"""The sound of chosen pairs: made by workers, one pair each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.challenge import PROTOCOL
from harness.compute.local import map_unordered
from harness.errors import HarnessError
from harness.listening import Sound, check_remix, sounds_of
from harness.music.evaluationset import Pair

LONGEST = 10.0
"""Seconds of a clip."""


@dataclass(frozen=True)
class Wanted:
    """A pair whose sound is wanted.

    Attributes:
        pair: scene and listener.
        remixes: the submitted files, by the numbers of their runs.
        hashes: what these (`listening.check_remix`) and the scene's music must contain (SHA-256), by path.
        lossless: FLAC rather than MP3.
    """

    pair: Pair
    remixes: Mapping[int, Path]
    hashes: Mapping[Path, str]
    lossless: bool

    @property
    def seconds(self) -> float:
        """How long its clips are."""
        return min(LONGEST, self.pair.scene.scored_frames / PROTOCOL.sample_rate)


@dataclass(frozen=True)
class Made:
    """The sound of a pair.

    Attributes:
        sounds: the reference, the mixture, then remixes; none if that failed.
        runs: the runs of these remixes, in the same order.
        missing: why other runs' remixes cannot be heard.
        failure: why there is no sound at all; None if there is.
    """

    sounds: Sequence[Sound] = ()
    runs: Sequence[int] = ()
    missing: Mapping[int, str] = field(default_factory=dict)
    failure: str | None = None


def make_sound(wanted: Sequence[Wanted], workers: int) -> Iterator[tuple[Wanted, Made]]:
    """Make the sound of pairs; they come as they are made."""
    return map_unordered(_make, wanted, workers)


def _make(task: Wanted) -> Made:
    missing = {}
    good = {}
    for number, path in task.remixes.items():
        try:
            check_remix(path, task.pair, task.hashes.get(path))
            good[number] = path
        except (HarnessError, OSError):
            # The error names a path of this machine; pages are published.
            missing[number] = "its file is no longer the one that was scored"
    try:
        names = {str(number): path for number, path in good.items()}
        sounds = sounds_of(task.pair, names, hashes=task.hashes, seconds=LONGEST, lossless=task.lossless)
    except (HarnessError, OSError) as error:
        return Made(failure=str(error))
    return Made(sounds, list(good), missing)
