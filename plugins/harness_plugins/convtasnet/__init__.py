"""The causal Conv-TasNet of the second Cadenza challenge: vocals and accompaniment, 20 samples at a time.

Sources:
- G. Roa Dabike, J. P. Barker and others, CAD2 task 1 (lyrics intelligibility): the recipe `cad2/task1` of pyclarity,
  and https://huggingface.co/cadenzachallenge/ConvTasNet_Lyrics_Causal, with weights and model card (Apache-2.0;
  trained on the training split of MUSDB18-HQ, which is the official data of this challenge, too).
- Y. Luo, N. Mesgarani, "Conv-TasNet: Surpassing ideal time-frequency magnitude masking for speech separation",
  IEEE/ACM TASLP 27(8), 2019.

The baseline of that challenge brings each excerpt to -40 LUFS over its whole length first, which is not causal. Here
the music goes in as it is.
"""

from collections.abc import Callable

from harness.systems import System, hookimpl
from harness_plugins.convtasnet.separator import ConvTasNet

__all__ = ["ConvTasNet", "register_systems"]


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(ConvTasNet)
