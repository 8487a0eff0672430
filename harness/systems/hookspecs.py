"""What a plugin may implement. One hook: a plugin registers its systems."""

from collections.abc import Callable

import pluggy

from harness.systems import System

hookspec = pluggy.HookspecMarker("harness")


@hookspec
def register_systems(register: Callable[[type[System]], None]) -> None:
    """Say which systems a plugin brings.

    Args:
        register: call it once for each of them, with the class: `register(MySystem)`.
    """
