"""A system at work in this very process, for debugging and for notebooks (`running` has the other way)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from harness.apart.child import Wrong
from harness.apart.host import OwnHost
from harness.apart.measuring import Cost
from harness.apart.returned import Returned, returned_from
from harness.apart.running import Found, Isolation, Wanted
from harness.challenge import STEMS, Gains
from harness.enhancement import Signal
from harness.errors import SystemFailure
from harness.hearing import Listener
from harness.systems import System
from harness.systems.base import kind_of
from harness.systems.declaring import declared
from harness.systems.streaming import OwnStream, Stream


class InProcess:
    """A system in this very process, for debugging: its prompts, profilers and exceptions are the user's.

    Args:
        wanted: which system.
    """

    isolation: Isolation = "in-process"
    python: str | None = None

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.host = OwnHost()

    @classmethod
    def of(cls, system: System) -> Self:
        """A system that was made and loaded already."""
        running = cls(Wanted(system.name))
        running.host.system, running.host.kind = system, kind_of(type(system))
        return running

    def start(self) -> None:
        """Nothing to start."""

    def find(self) -> Found:
        found = self.host.do_find(self.wanted.plugins, self.wanted.system)
        self.host.do_choose(self.wanted.options)
        broken = tuple((each["name"], each["origin"], each["error"]) for each in found["broken"])
        return Found(self.wanted.system, found["version"], found["kind"], broken, found["streaming"], found["many"])

    def load(self) -> Mapping[str, Any]:
        return declared(self.host.system) if self.host.system is not None else self.host.do_load()

    def separate(self, mixture: Signal, true_stems: Mapping[str, Signal] | None) -> tuple[list[Returned], Cost | None]:
        true = None if true_stems is None else [true_stems[name].copy() for name in STEMS]
        with _wrong_as_failure():
            return [returned_from(stem) for stem in self.host.separate(mixture.copy(), true)], None

    def separate_many(self, mixtures: Sequence[Signal]) -> tuple[list[list[Returned]], Cost | None]:
        with _wrong_as_failure():
            stems = [returned_from(stem) for stem in self.host.separate_many([each.copy() for each in mixtures])]
        return [stems[first : first + len(STEMS)] for first in range(0, len(stems), len(STEMS))], None

    def enhance(self, mixture: Signal, listener: Listener, gains: Gains) -> tuple[Returned, Cost | None]:
        with _wrong_as_failure():
            return returned_from(self.host.enhance(mixture.copy(), listener, gains)), None

    def open_stream(self, listener: Listener | None = None, gains: Gains | None = None) -> Stream:
        return OwnStream(self.host.system, listener, gains)

    def seed(self, value: int) -> None:
        self.host.do_seed(value)

    def close(self) -> None:
        """Nothing to end."""


@contextmanager
def _wrong_as_failure() -> Iterator[None]:
    """What `Apart._raise` makes of it when it comes from a child."""
    try:
        yield
    except Wrong as error:
        raise SystemFailure(str(error)) from None
