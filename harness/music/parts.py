"""A part of an evaluation set, for one of several commands that share the work."""

import heapq
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.music.evaluationset import EvaluationSet, Scene

MAX_PARTS = 100_000


@dataclass(frozen=True)
class Part:
    """One of several parts.

    Attributes:
        number: which one, from 1.
        count: how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Read "I/N". Raises UsageError."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None:
            raise UsageError(f"--part {text!r}: expected I/N, such as 3/96")
        number, count = int(found[1]), int(found[2])
        if not 1 <= count <= MAX_PARTS:
            raise UsageError(f"--part {text}: there can be 1 to {MAX_PARTS} parts")
        if not 1 <= number <= count:
            raise UsageError(f"--part {text}: parts are numbered from 1 to {count} (sbatch --array=1-{count})")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def part_of(evaluation_set: EvaluationSet, part: Part) -> EvaluationSet:
    """The same set with only the scenes of a part selected, of those that are.

    The parts are disjoint, together they are the whole, and none has far more to do than another: pieces of music, the
    longest first, each go to the part that has least so far. Scenes of one piece stay together, since systems are run
    once for each.

    Raises:
        UsageError: there are more parts than pieces of music, and nothing is left for this one.
        DataError: the length of a piece cannot be read.
    """
    by_music: dict[Path, list[Scene]] = defaultdict(list)
    for scene in evaluation_set.scenes:
        by_music[scene.folder].append(scene)
    # By what it takes to score them; equally long pieces stand in the set's order, on every machine.
    work = [sum(scene.scored_frames * len(scene.listeners) for scene in scenes) for scenes in by_music.values()]
    pieces = sorted(zip(work, by_music.values(), strict=True), key=lambda piece: -piece[0])
    loads = [(0, number) for number in range(1, part.count + 1)]
    ours: list[str] = []
    for frames, scenes in pieces:
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + frames, number))
        if number == part.number:
            ours += [scene.id for scene in scenes]
    if not ours:
        raise UsageError(
            f"--part {part}: nothing is left for this part of {len(pieces)} pieces of music: ask for fewer parts"
        )
    return evaluation_set.select(ours)
