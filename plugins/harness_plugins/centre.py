"""Separation without learned weights: two-stage harmonic-percussive masks and a table of frequency bands.

`harmonic_percussive` says how the mixture is divided. Last, every stem is blended with a quarter of the mixture: it
separates less, but has fewer artefacts, which pays a little at the microphones and neither helps nor harms in
headphone form.

The name is that of the first idea, a voice in the centre of the stereo image. It was measured and left out: what is
central is drums and bass as well, and at ears before loudspeakers, nothing is alike in both channels any more.
`benchmarks/centre.py` has the figures.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar

from harness.systems import Option, Separator, Signal, System, hookimpl
from harness_plugins.harmonic_percussive import divide


class Centre(Separator):
    """Two-stage harmonic-percussive separation, a band table, and a blend with the mixture."""

    name = "centre"
    version = "1"
    summary = "no learned weights: two-stage harmonic-percussive masks and frequency bands"
    # The median over time and the long window look ahead by 0.6 s.
    causal = False
    training_data = "none"
    licence = "none"
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "blend",
            float,
            0.3,
            "share of the plain mixture in each stem: more has fewer artefacts, less separates further",
            minimum=0.0,
            maximum=1.0,
        ),
    )

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """Separate a mixture, (samples, 2), into stems of its shape that sum to it."""
        return divide(mixture, sample_rate, self.settings["blend"])


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Centre)
