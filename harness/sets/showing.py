"""What an evaluation set holds: counts, length, levels, hearing, gains and positions."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from harness.challenge import PROTOCOL, STEMS
from harness.compute.local import map_unordered
from harness.console import Advance
from harness.errors import DataError
from harness.hearing import GRADES, grade_of
from harness.music.evaluationset import EvaluationSet, Scene
from harness.music.microphones import loudness


@dataclass(frozen=True)
class Range:
    """Of several values: the smallest, the median and the largest."""

    lowest: float
    median: float
    highest: float


@dataclass(frozen=True)
class Hearing:
    """Listeners of one grade of hearing loss.

    Attributes:
        grade: one of `harness.hearing.GRADES`.
        listeners: how many.
        average: the better ear's mean threshold at 500, 1000, 2000 and 4000 Hz, in dB HL, by which the World Health
            Organization grades hearing (World Report on Hearing, 2021, table 1.3).
    """

    grade: str
    listeners: int
    average: Range


@dataclass(frozen=True)
class Summary:
    """An evaluation set in figures.

    Attributes:
        name, split, protocol: which set it is, and by which challenge's protocol it is scored.
        songs: different tracks.
        pieces: different folders of music: excerpts, and songs before several positions of the loudspeakers.
        scenes, listeners, pairs: how many; under a protocol without scenes, a song counts as one.
        missing: pieces of which no music can be read (`harness set check` says why).
        seconds: what of the pieces is scored, in all.
        length: of a piece, in seconds; None where no music can be read.
        hearing: of the listeners, from the mildest grade.
        gains: in how many scenes each stem has which gain in dB; None where the protocol has none.
        positions: in how many scenes the loudspeakers stand where; None where the protocol has none.
    """

    name: str
    split: str
    protocol: str
    songs: int
    pieces: int
    scenes: int
    listeners: int
    pairs: int
    missing: int
    seconds: float
    length: Range | None
    hearing: tuple[Hearing, ...]
    gains: dict[str, dict[float, int]] | None
    positions: dict[str, int] | None


def summary(loaded: EvaluationSet) -> Summary:
    """What a set holds, from its metadata and the headers of its music."""
    pieces = _pieces(loaded)
    seconds = [length for piece in pieces if (length := _seconds(piece)) is not None]
    listeners = {who.id: who for scene in loaded.scenes for who in scene.listeners}
    averages: dict[str, list[float]] = {}
    for who in listeners.values():
        averages.setdefault(grade_of(who.better_ear_average), []).append(who.better_ear_average)
    has_gains = loaded.protocol == PROTOCOL
    return Summary(
        name=loaded.name,
        split=loaded.split,
        protocol=loaded.protocol.name,
        songs=len({scene.track for scene in loaded.scenes}),
        pieces=len(pieces),
        scenes=len(loaded.scenes),
        listeners=len(listeners),
        pairs=len(loaded.pairs),
        missing=len(pieces) - len(seconds),
        seconds=sum(seconds),
        length=_range(seconds),
        hearing=tuple(Hearing(grade, len(of), _range_of(of)) for grade in GRADES if (of := averages.get(grade))),
        gains={stem: _counts([scene.gains[stem] for scene in loaded.scenes]) for stem in STEMS} if has_gains else None,
        positions=dict(Counter(map(_position, loaded.scenes)).most_common()) if has_gains else None,
    )


def mixture_loudness(
    loaded: EvaluationSet, workers: int, progress: Callable[[int], AbstractContextManager[Advance]]
) -> tuple[Range | None, int]:
    """Integrated loudness of the mixtures in LUFS (ITU-R BS.1770-4), and how many have none: silent, or too quiet.

    Args:
        loaded: the set.
        workers: number of processes.
        progress: called with the number of pieces; shows how they get on.

    Raises:
        DataError: a mixture cannot be read.
    """
    pieces = _pieces(loaded)
    found: list[float] = []
    with progress(len(pieces)) as advance:
        for piece, level in map_unordered(loudness_of, pieces, workers):
            found.append(level)
            advance(1, piece.song)
    heard = [each for each in found if np.isfinite(each)]
    return _range(heard), len(found) - len(heard)


def loudness_of(scene: Scene) -> float:
    """Integrated loudness of a scene's mixture in LUFS; -inf if nothing is above the gate. Runs in a worker.

    Raises:
        DataError: it cannot be read.
    """
    return loudness(scene.read("mixture"))


def _pieces(loaded: EvaluationSet) -> list[Scene]:
    """A scene of each folder of music, in their order."""
    found: dict[Path, Scene] = {}
    for scene in loaded.scenes:
        found.setdefault(scene.folder, scene)
    return list(found.values())


def _seconds(scene: Scene) -> float | None:
    try:
        return min(scene.frames, scene.scored_frames) / PROTOCOL.sample_rate
    except DataError:
        return None


def _range(values: Sequence[float]) -> Range | None:
    return _range_of(values) if values else None


def _range_of(values: Sequence[float]) -> Range:
    return Range(min(values), median(values), max(values))


def _counts(values: Sequence[float]) -> dict[float, int]:
    return dict(sorted(Counter(values).items()))


def _position(scene: Scene) -> str:
    """Where the loudspeakers of a scene stand, in words."""
    if scene.position is None:
        return "headphones"
    if scene.angles is None:
        return f"{scene.position} (angles not known)"
    return f"loudspeakers at {scene.angles[0]:g} and {scene.angles[1]:+g} degrees"
