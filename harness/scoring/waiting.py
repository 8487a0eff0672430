"""Scores on their way to the leaderboard: those that come in the same moment are one transaction."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from harness.scoring.tasks import Proof, ScoreTask
from harness_leaderboard.records import Engine, NewCheck, NewScore

AT_ONCE = 50
"""Scores that are stored at the latest when there are so many."""

SECONDS = 0.5
"""So long they wait at most, if results come one after the other."""

PAUSE = 0.1
"""After a pause as long as this the next result may be long in coming, so nothing waits for it."""

Environments = Mapping[Engine, Mapping[str, str]]


@dataclass
class Waiting:
    """What is not stored yet.

    A transaction costs 1.5 ms in SQLite and 5 ms or more in PostgreSQL, be it for one score or for fifty
    (benchmarks/databases.py). Where results come slowly each is stored at once, so that hardly anything is lost when
    this process is killed.

    Attributes:
        failures: tasks that failed, why, and whether a score that another process has stored stands against that.
    """

    failures: list[tuple[ScoreTask, str, bool]] = field(default_factory=list)
    _scores: dict[str, tuple[list[NewScore], list[NewCheck], Environments]] = field(default_factory=dict)
    _came: float = 0.0
    _stored: float = 0.0

    def add(self, scores: Sequence[NewScore], proof: Proof, checks: Sequence[NewCheck] = ()) -> None:
        """Have scores and checks wait, each beside those that the same environment gave."""
        known, of_parts, _ = self._scores.setdefault(proof.sha256, ([], [], proof.environments))
        known += scores
        of_parts += checks

    def due(self, came: bool) -> bool:
        """Whether it is time to store what waits: now that results have `come`, or while others are waited for."""
        now = time.monotonic()
        pause = now - self._came
        if came:
            self._came = now
        count = sum(len(scores) + len(checks) for scores, checks, _ in self._scores.values()) + len(self.failures)
        return count > 0 and (count >= AT_ONCE or pause >= PAUSE or now - self._stored >= SECONDS)

    def take(self) -> Iterator[tuple[list[NewScore], list[NewCheck], Environments]]:
        """What waits, to be stored now; it waits no longer once the next is asked for."""
        self._stored = time.monotonic()
        while self._scores:
            environment = next(iter(self._scores))
            yield self._scores[environment]
            del self._scores[environment]
