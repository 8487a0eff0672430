"""No separation, no gains: the mixture through NAL-R. What doing nothing scores."""

from collections.abc import Callable

from harness.systems import Enhancer, Gains, Listener, Signal, System, amplify, hookimpl


class Passthrough(Enhancer):
    """Amplifies the mixture as it is."""

    name = "passthrough"
    version = "1"
    summary = "no separation, no gains: the mixture through NAL-R"
    # NAL-R's linear-phase filter only delays, by 110 samples; it never looks ahead.
    causal = True
    training_data = "none"
    licence = "none"

    def enhance(self, mixture: Signal, sample_rate: int, listener: Listener, gains: Gains) -> Signal:  # noqa: ARG002
        return amplify(mixture, listener)


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Passthrough)
