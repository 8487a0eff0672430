"""Demucs: separation with the `demucs` package: its published models, checkpoints of your own, or the small `demo`.

Sources:
- A. Défossez, "Hybrid Spectrogram and Waveform Source Separation", MDX workshop at ISMIR 2021
  (arXiv:2111.03600): Demucs v3, the models `mdx*`, `hdemucs_mmi` and `repro_mdx_a*`.
- S. Rouard, F. Massa and A. Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023
  (arXiv:2211.08553): the models `htdemucs*`.
- https://github.com/adefossez/demucs: the package; its README and docs/training.md say what each model was
  trained on. `mdx` won track A (MUSDB18-HQ only) of the Music Demixing Challenge 2021.

Licence of the published weights: the package is MIT. Its author wrote in 2022 that the original checkpoints
are not under that licence but "only for scientific purposes" (facebookresearch/demucs, issue 327); the model
cards that tools/export_hf.py makes for his copies on the Hugging Face hub say MIT. `licence` says both.

What each checkpoint was trained on is decided in `judging`. The demonstration model is a checkpoint of ours in
plugins/harness_plugins/checkpoints/demucs.
"""

from collections.abc import Callable

from harness.systems import System, hookimpl
from harness_plugins.demucs.judging import WORST_FIRST
from harness_plugins.demucs.published import PUBLISHED, catalogue
from harness_plugins.demucs.separator import Demucs

__all__ = ["PUBLISHED", "WORST_FIRST", "Demucs", "catalogue", "register_systems"]


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Demucs)
