"""How many pieces of music a system is handed at once: the number that is fastest, found on the first pieces."""

from dataclasses import dataclass, field
from statistics import median

TRIALS = 3
"""Times that each size is measured: the first of all batches, and the first of a size, may take longer than others."""

PATIENCE = 3
"""So many batches in a row that fail as a whole, and the rest is done one by one."""


@dataclass
class Batches:
    """The policy: it begins with one piece at a time, and doubles as long as a second of music then takes less time.

    Attributes:
        most: how many pieces the user allows at once, 1 or more; it goes down where that fails.
    """

    most: int
    _seconds: dict[int, list[float]] = field(default_factory=lambda: {1: []})
    """Of each size that was tried: wall time for a second of music."""
    _lengths: list[float] = field(default_factory=list)
    """Seconds of music of the pieces that were measured."""
    _found: int | None = None
    _failures: int = 0
    _why: str = ""

    @property
    def size(self) -> int:
        """How many pieces to hand over next, 1 to `most`."""
        return self._found or max(self._seconds)

    def took(self, count: int, wall_seconds: float, music_seconds: float) -> None:
        """Say how long a batch took that went well.

        Args:
            count: pieces in it; if there were fewer than `size`, nothing is learned from it.
            wall_seconds: of the system.
            music_seconds: of all its pieces together.
        """
        if count > 1:
            self._failures = 0
        if self._found is not None or count != self.size or music_seconds <= 0:
            return
        measured = self._seconds[count]
        measured.append(wall_seconds / music_seconds)
        self._lengths.append(music_seconds / count)
        if len(measured) < TRIALS:
            return
        if count < self.most and self._fastest() == count:
            self._seconds[min(2 * count, self.most)] = []
        else:
            self._found = self._fastest()

    def too_large(self, count: int) -> None:
        """Say that memory ran out with so many pieces, 2 or more, or that the system's process ended."""
        self._reduce(max(1, count // 2), "memory is short for more")

    def failed(self) -> None:
        """Say that a batch failed as a whole, for another reason: one of its pieces, or the system's method."""
        self._failures += 1
        if self._failures >= PATIENCE:
            self._reduce(1, f"{PATIENCE} batches in a row failed")

    def _reduce(self, most: int, why: str) -> None:
        self.most, self._why = min(self.most, most), why
        self._seconds = {size: seconds for size, seconds in self._seconds.items() if size <= self.most}
        # It had grown beyond all that is left, so this was measured.
        if self._found is None or self._found > self.most:
            self._found = self._fastest()

    def _fastest(self) -> int:
        return min(self._seconds, key=lambda size: (median(self._seconds[size] or [float("inf")]), size))

    @property
    def in_words(self) -> str | None:
        """What was found, in one line; None while sizes are still measured."""
        if self._found is None:
            return None
        others = [size for size, seconds in self._seconds.items() if size > 1 and seconds]
        why = f" ({self._why})" if self._why else ""
        if self._found > 1:
            words = f"batches of {self._found} are fastest: {self._piece(self._found)} per piece, one by one"
            return f"{words} {self._piece(1)}{why}"
        if not others:
            return f"one by one: {self._piece(1)} per piece{why}"
        second = min(others, key=lambda size: median(self._seconds[size]))
        return f"one by one is fastest: {self._piece(1)} per piece, in batches of {second} {self._piece(second)}{why}"

    def _piece(self, size: int) -> str:
        """What a piece of usual length takes in batches of a size."""
        return f"{median(self._seconds[size]) * median(self._lengths):.3g} s"
