"""The recipes' own functions, as pyclarity ships them, what they are called on, and how far two results are apart."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from clarity.enhancer.nalr import NALR
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from clarity.utils.audiogram import Listener as ClarityListener

from harness.challenge import PROTOCOL
from harness.haaqi import conformance
from harness.hearing import Listener

RATE = PROTOCOL.sample_rate
SCENES = conformance.scenes()  # the second has a silent stem
LISTENERS = tuple(conformance.LISTENERS.values())
STEMS_IN_ORDER = ("drums", "bass", "other", "vocals")


class Fade:
    """Stands in for torchaudio's, which only loads beside the torch that it was built for: linear fades."""

    def __init__(self, fade_in_len: int, fade_out_len: int, fade_shape: str) -> None:
        assert fade_shape == "linear"
        self.fade_in_len, self.fade_out_len = fade_in_len, fade_out_len

    def __call__(self, music: torch.Tensor) -> torch.Tensor:
        shape = torch.ones(music.shape[-1])
        shape[: self.fade_in_len] = torch.linspace(0, 1, self.fade_in_len)
        shape[len(shape) - self.fade_out_len :] *= torch.linspace(1, 0, self.fade_out_len)
        return music * shape


@contextmanager
def without_torchaudio() -> Iterator[None]:
    """Import the recipes where torchaudio is missing or does not load: only `Fade` is used of it here."""
    parts: dict[str, dict[str, Any]] = {
        "torchaudio": {},
        "torchaudio.pipelines": {"HDEMUCS_HIGH_MUSDB": None},
        "torchaudio.transforms": {"Fade": Fade},
    }
    before = {name: sys.modules.get(name) for name in parts}
    try:
        for name, content in parts.items():
            sys.modules[name] = ModuleType(name)
            vars(sys.modules[name]).update(content)
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


pytest.importorskip("recipes.cad_icassp_2024.baseline.evaluate", reason="the recipe does not import here")
with without_torchaudio():
    icassp_enhance = import_module("recipes.cad_icassp_2024.baseline.enhance")
    cad1_enhance = import_module("recipes.cad1.task1.baseline.enhance")
icassp_evaluate = import_module("recipes.cad_icassp_2024.baseline.evaluate")
cad1_evaluate = import_module("recipes.cad1.task1.baseline.evaluate")

NALR_AT_44 = NALR(nfir=220, sample_rate=RATE)


def theirs(listener: Listener) -> ClarityListener:
    """A listener as the recipes have one."""
    left, right = (
        ClarityAudiogram(levels=np.array(ear.levels), frequencies=np.array(ear.frequencies))
        for ear in (listener.left, listener.right)
    )
    return ClarityListener(left, right, listener.id)


def gap(ours: Any, others: Any) -> float:
    """The largest difference between two arrays, which must have one shape."""
    ours, others = np.asarray(ours), np.asarray(others)
    assert ours.shape == others.shape
    return float(np.abs(ours.astype(float) - others.astype(float)).max(initial=0.0))


def differing(ours: Any, others: Any) -> int:
    """How many things in two lists, or of the bytes of two files, differ."""
    ours, others = list(ours), list(others)
    return sum(one != other for one, other in zip(ours, others, strict=True))
