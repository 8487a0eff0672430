"""`centre` for live music: the same kind of masks, from the past alone, block by block.

`past_masks` says how the music is divided. The look-ahead is 219 samples, 5 ms: 109 because a block has to be full,
110 because the synthesis windows overlap by a block.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from harness.systems import Option, Signal, StreamingSeparator, System, hookimpl

if TYPE_CHECKING:
    from harness_plugins.past_masks import Divider


class Live(StreamingSeparator):
    """Harmonic-percussive masks from the past, a band table, and a blend with the mixture; the stems sum to it."""

    name = "live"
    version = "1"
    summary = "no learned weights, for live music: harmonic-percussive masks from the past, and frequency bands"
    training_data = "none"
    licence = "none"
    block = 110
    latency = 110
    options: ClassVar[tuple[Option, ...]] = (
        Option(
            "blend",
            float,
            0.3,
            "share of the plain mixture in each stem: more has fewer artefacts, less separates further",
            minimum=0.0,
            maximum=1.0,
        ),
        Option(
            "memory",
            int,
            9,
            "frames in the median over time, 22 ms apart: more hear the start of a tone as percussive for longer",
            choices=(3, 5, 9, 17, 33),
        ),
    )

    _divider: "Divider"

    def prepare(self, sample_rate: int, block: int, channels: int) -> None:  # noqa: ARG002 - the harness says how
        """Forget the music so far."""
        from harness_plugins.past_masks import Divider

        self._divider = Divider(sample_rate, block, self.settings["memory"], self.settings["blend"])

    def process(self, block: Signal) -> Mapping[str, Signal]:
        """Separate the next block, (block, 2), into stems of its shape that sum to the block before it."""
        return self._divider.process(block)


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Live)
