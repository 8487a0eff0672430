"""What a user hands over as a system, as the harness runs it: a name, a class, an object, or a plain function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from harness.apart.inprocess import InProcess
from harness.apart.naming import named
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Found, Wanted
from harness.challenge import STEMS
from harness.enhancement import Signal
from harness.errors import SystemFailure, UsageError
from harness.systems import Enhancer, Reference, Separator, System
from harness.systems.base import constructed, kind_of
from harness.systems.discovery import check_class
from harness.systems.streaming import is_streaming
from harness.systems.words import words_of

Separation = Callable[[Signal, int], Mapping[str, Signal] | Sequence[Signal] | Signal]
"""A function that separates: (mixture of shape (samples, 2), sample rate) to its four stems.

It returns a mapping from the names in `STEMS` to arrays of shape (samples, 2), or one array of shape (4, samples, 2) in
the order of `STEMS`.
"""


class FunctionSeparator(Separator):
    """A plain function as a system.

    Args:
        function: see `Separation`.
    """

    name = "function"
    version = "?"
    summary = "a function of the user's"

    def __init__(self, function: Separation) -> None:
        super().__init__()
        self.function = function
        called = getattr(function, "__name__", type(function).__name__)
        if called.isprintable() and called != "<lambda>":
            vars(self)["name"] = called[:100]

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """What the function returns, by stem. Raises SystemFailure: it is neither a mapping nor four signals."""
        returned = self.function(mixture, sample_rate)
        if isinstance(returned, Mapping):
            return returned
        if returned is None:
            raise SystemFailure("returned None: does the function end with return?")
        stems = np.asarray(returned)
        if stems.ndim != 3 or len(stems) != len(STEMS):
            raise SystemFailure(
                f"returned an array of shape {stems.shape}, expected ({len(STEMS)}, samples, 2) in the order "
                f"{', '.join(STEMS)}, or a mapping of these"
            )
        return dict(zip(STEMS, stems, strict=True))


class Here(InProcess):
    """A system that the user has made, in this process.

    Nobody knows what it is made of: the user may change it between two calls, as training does. So its files are never
    taken for those of another call.
    """

    def load(self) -> Mapping[str, Any]:
        """What it declares. The user has loaded it."""
        return {**words_of(self.host.system), "unidentified": True}


@dataclass(frozen=True)
class Chosen:
    """A system that was found and may be loaded.

    Attributes:
        running: the system: a registered one in a child process (close it), another one in this process.
        found: what it is.
    """

    running: Apart | Here
    found: Found

    @property
    def here(self) -> bool:
        """Whether it runs in this process."""
        return isinstance(self.running, Here)


def chosen(
    system: str | type[System] | System | Separation, options: Mapping[str, Any] | None, plugins: Sequence[str]
) -> Chosen:
    """Find a system.

    Args:
        system: the name of a registered system; a class derived from Separator, Enhancer or Reference, which is made
            and loaded; an instance, which is used unchanged; or a function (`Separation`).
        options: settings by their names, for a name or a class.
        plugins: files or modules with systems that a name may stand for.

    Raises:
        UsageError: it is none of these, or has no such settings.
        PluginError: a plugin or the class is broken.
        SystemFailure: it cannot be set up.
    """
    if isinstance(system, str):
        texts = tuple(f"{name}={value}" for name, value in (options or {}).items())
        apart = Apart(Wanted(system, texts, tuple(map(str, plugins))), Terms(), Output())
        try:
            named(apart.start, system, "started")
            found = named(apart.find, system, "found")
        except BaseException:
            apart.close()
            raise
        return Chosen(apart, found)
    if plugins:
        raise UsageError("plugins are for systems that are named: leave them out, or give the system's name")
    if isinstance(system, type):
        kind = cast(type[System], system)
        check_class(kind)
        return _here(named(lambda: _made(kind, options or {}), kind.name, "set up"))
    if options:
        raise UsageError("options are for a system's name or class: set up an object or a function yourself")
    if isinstance(system, (Separator, Enhancer, Reference)):
        return _here(system)
    if not callable(system):
        raise UsageError(
            f"{type(system).__name__} is no system: give a name (harness systems lists them), a class or an object "
            "derived from harness.systems.Separator or Enhancer, or a function of (mixture, sample rate)"
        )
    return _here(FunctionSeparator(system))


def _here(system: System) -> Chosen:
    kind = type(system)
    return Chosen(Here.of(system), Found(system.name, system.version, kind_of(kind), streaming=is_streaming(kind)))


def _made(system: type[System], options: Mapping[str, Any]) -> System:
    made = constructed(system, options)
    made.load()
    return made
