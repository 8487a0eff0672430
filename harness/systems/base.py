"""The base classes of systems, and what a system declares of itself.

Two kinds of systems compete:

- a `Separator` maps a mixture to its four stems; the harness does the rest of the baseline pipeline
  (gains, remix, loudness, NAL-R);
- an `Enhancer` owns the whole Enhancement block, from the mixture to the amplified remix.

A third kind, `Reference`, is handed the true stems. It marks the ceiling and is never ranked.

Signals are float64 arrays of shape (samples, 2), full scale +-1, at 44100 Hz.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import SystemFailure, UsageError

if TYPE_CHECKING:
    # Not at run time: this module also serves other Python environments, where only `harness.apart.foreign` is.
    from collections.abc import Mapping, Sequence

    from harness.challenge import Gains
    from harness.enhancement import Signal
    from harness.hearing import Listener
    from harness.systems.options import Option

TRAINING_DATA = {
    "none": None,
    "official": None,
    "official + augmentation": None,
    "official + supplementation": None,
    "synthetic": "trained on synthetic music instead of the challenge's data",
    "private": "trained on private data, which the challenge excludes",
    "evaluation data": "trained on the evaluation music itself",
    "unknown": "its training data is not declared",
}
"""Labels for what a system was trained on, and why a label makes a system not eligible (None: it does not).

The first four are the challenge's own classes of entries, with "none" for systems without learned weights.
"""


class System(ABC):
    """Common part of all systems: what a system declares about itself.

    Attributes:
        name: as used in `--system NAME`: letters, digits, dot, dash, underscore.
        version: change it whenever the output changes; results of different versions are never mixed.
        summary: one line for `harness systems`.
        causal: True if the output at time t uses no input later than t + 5 ms; `harness run` measures whether that
            holds. Of a system that streams it follows from its block.
        measure_look_ahead: True to have `harness run` measure the look-ahead although `causal` is False.
        training_data: one of `TRAINING_DATA`.
        licence: licence of the weights, "none" without weights.
        options: the settings that `--option` may change.
        environment: name of the Python environment that the system needs, if that is not the harness's own: it then
            runs in the interpreter that `--python`, or HARNESS_PYTHON_<NAME>, names.
        settings: the options' values, checked and complete: what was asked for, else the defaults.
        reference: True for a `Reference`; nobody else sets it.

    What depends on settings (training data of the chosen model, for instance) may be set on the instance in
    `__init__` or `load`.
    """

    name: ClassVar[str]
    version: str
    summary: str = ""
    causal: bool = False
    measure_look_ahead: bool = False
    training_data: str = "unknown"
    licence: str = "unknown"
    options: ClassVar[Sequence[Option]] = ()
    environment: ClassVar[str | None] = None
    reference: ClassVar[bool] = False
    # What it is made of and may import: kept by `harness.systems.discovery` and `harness.systems.identity`.
    neighbours: ClassVar[Any] = None
    """Kept by the harness: modules beside the plugin's file."""
    sources: ClassVar[Any] = None
    """Kept by the harness: its code."""
    read: ClassVar[Any] = ()
    """Kept by the harness: files that were read while the plugin was loaded."""
    identity: Any = None
    """Kept by the harness: what it is made of."""

    def __init__(self, **settings: Any) -> None:
        known = {option.name: option for option in self.options}
        for name in settings:
            if name not in known:
                choices = ", ".join(known) or "none"
                raise UsageError(f"system {self.name} has no option {name!r} (its options: {choices})")
        self.settings: dict[str, Any] = {
            name: option.check(settings.get(name, option.default)) for name, option in known.items()
        }

    def load(self) -> None:  # noqa: B027 (most systems have nothing to load)
        """Get ready to process music: load weights and the like. Called once, before anything else.

        Raises:
            WeightsMissing: weights are not here; the message says what to fetch, from where, where to put it.
        """

    @property
    def parameters(self) -> int:
        """Number of learned parameters, counted from the loaded model."""
        return 0

    def weights_sha256(self) -> str:
        """SHA-256 of the loaded weights, or "" for a system without.

        Need not be overridden: files that are read in `load`, and torch modules on the instance, are hashed anyway. A
        system that overrides it says itself what its weights are, and nothing else that it reads counts.
        """
        return ""

    @property
    def not_eligible(self) -> str | None:
        """Why the challenge's rules exclude this system, or None if they do not."""
        return TRAINING_DATA[self.training_data]


class Separator(System):
    """A system that separates a mixture into its stems.

    It may also have a method for several mixtures at once, which pays on a GPU:

        def separate_many(self, mixtures: Sequence[Signal], sample_rate: int) -> Sequence[Mapping[str, Signal]]

    Each mixture is as for `separate`; they may differ in length. What is returned for each is what `separate` returns
    for it, whichever others are beside it, up to what sums in another order make: `BATCH_TOLERANCE` of full scale in
    every sample. It is called only if the user asks for batches; the other way is always open, so it may raise on any
    doubt: the pieces are then separated one by one.
    """

    separate_many: ClassVar[Any] = None
    """A method, where a class has one: see above."""

    @abstractmethod
    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """Separate a mixture.

        Args:
            mixture: (samples, 2), float64, full scale +-1. A copy: it may be changed.
            sample_rate: 44100.

        Returns:
            For each of "vocals", "drums", "bass", "other" an array of the mixture's shape.
        """


BATCH_TOLERANCE = 1e-4
"""By how much a sample of a stem may differ between separating a mixture alone and among others; full scale is 1.

Three steps of 16 bits. On a CPU the bundled systems keep within 1e-6.
"""


def separates_many(system: type[System]) -> bool:
    """Whether a system separates several mixtures at once, by a method that knows its `separate`.

    A class that inherits `separate_many` and overrides `separate` alone does something else in one than in the other.
    """
    lineage = system.__mro__
    many, one = (next((c for c in lineage if name in vars(c)), None) for name in ("separate_many", "separate"))
    if many is None or one is None or not callable(vars(many)["separate_many"]):
        return False
    return lineage.index(many) <= lineage.index(one)


class Enhancer(System):
    """A system that owns the whole Enhancement block, level and amplification included."""

    @abstractmethod
    def enhance(self, mixture: Signal, sample_rate: int, listener: Listener, gains: Gains) -> Signal:
        """Enhance a mixture for a listener.

        Args:
            mixture: (samples, 2), float64, full scale +-1. A copy: it may be changed.
            sample_rate: 44100.
            listener: the audiograms of both ears.
            gains: target gain of each stem in dB.

        Returns:
            The amplified remix at the same rate, (samples, 2) or up to 220 samples (NAL-R's tail) longer.
            0 dB FS is 100 dB SPL; the harness resamples, clips to +-1 and writes the file.
        """


class Reference(System):
    """A system that is handed the true stems: a yardstick, always marked as such and never ranked."""

    reference = True

    @abstractmethod
    def stems(self, true_stems: Mapping[str, Signal], sample_rate: int) -> Mapping[str, Signal]:
        """Return the stems to remix, given the true ones.

        Args:
            true_stems: "vocals", "drums", "bass" and "other", each (samples, 2), float64, full scale +-1.
            sample_rate: 44100.

        Returns:
            Stems of the same form.
        """


def kind_of(system: type[System]) -> str:
    """What a system is: "separator", "enhancer" or "reference"."""
    return "reference" if issubclass(system, Reference) else "enhancer" if issubclass(system, Enhancer) else "separator"


def constructed(system: type[System], settings: Mapping[str, Any]) -> System:
    """A system with these settings, not loaded.

    Raises:
        SystemFailure: it does not call the constructor of its base class; and whatever else it raises itself.
    """
    made = system(**settings)
    if not isinstance(getattr(made, "settings", None), dict):
        raise SystemFailure(f"system {system.name} has no settings: call super().__init__(**settings) in its __init__")
    return made


def parse_options(system: type[System], pairs: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs from the command line against what the system declares.

    Raises:
        UsageError: a pair without "=", an option given twice or unknown, a value of the wrong type or range.
    """
    known = {option.name: option for option in system.options}
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--option {pair}: expected key=value (harness systems {system.name} lists them)")
        if name in settings:
            raise UsageError(f"--option {name} is given twice")
        if name not in known:
            choices = ", ".join(known) or "none"
            raise UsageError(f"system {system.name} has no option {name!r} (its options: {choices})")
        settings[name] = known[name].parse(text)
    return settings
