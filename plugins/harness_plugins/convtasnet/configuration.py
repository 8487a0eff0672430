"""What a Conv-TasNet's config.json says of it: read, and held against what can be streamed."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.systems import SystemFailure
from harness.systems.torch import one_line

MAX_BYTES = 65536
"""Of config.json; the published one has 204."""

MAX_FRAME = 440
"""Samples: 10 ms. The sources lag by half a frame, and later than 5 ms is not causal by the challenge's rule."""

MAX_CHANNELS = 4096
MAX_KERNEL = 64
MAX_BLOCKS = 16
MAX_REPEATS = 16
"""Bounds of what a stranger's file may ask for, eight times what is published and more."""


@dataclass(frozen=True)
class Configuration:
    """The arguments of the recipe's `ConvTasNetStereo`, by its names (after Luo and Mesgarani 2019).

    Attributes:
        N: filters of the encoder.
        L: samples of a frame; the next one begins after half of it.
        B: channels between the blocks.
        H: channels within the blocks.
        P: taps of the convolutions over time.
        X: blocks in each repeat; their dilations are 1, 2, 4, ...
        R: repeats.
        C: sources: 2, vocals and accompaniment.
        audio_channels: 2.
        samplerate: 44100, in Hz.
        norm_type: "cLN": each frame is normalised by itself.
        causal: True.
        mask_nonlinear: "relu" or "softmax".
    """

    N: int
    L: int
    B: int
    H: int
    P: int
    X: int
    R: int
    C: int
    audio_channels: int
    samplerate: int
    norm_type: str
    causal: bool
    mask_nonlinear: str

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.L // 2

    @property
    def parameters(self) -> int:
        """Learned parameters of the network."""
        ends = 2 * self.audio_channels * self.N * self.L + self.N * self.B + self.B * self.C * self.N
        block = 2 * self.B * self.H + self.P * self.H + 2 * 2 * self.H + 2  # two normalisations, two slopes
        return ends + 2 * self.N + self.R * self.X * block


_BOUNDS = {
    "N": MAX_CHANNELS,
    "L": MAX_FRAME,
    "B": MAX_CHANNELS,
    "H": MAX_CHANNELS,
    "P": MAX_KERNEL,
    "X": MAX_BLOCKS,
    "R": MAX_REPEATS,
}

_EXPECTED: dict[str, tuple[Any, ...]] = {
    "C": (2,),
    "audio_channels": (2,),
    "samplerate": (44100,),
    "norm_type": ("cLN",),
    "causal": (True,),
    "mask_nonlinear": ("relu", "softmax"),
}


def read_configuration(path: Path) -> Configuration:
    """Read a model's config.json, as `PyTorchModelHubMixin` of huggingface_hub writes it.

    Raises:
        SystemFailure: it cannot be read, lacks a value, or describes a network that cannot be streamed causally.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SystemFailure(f"{path} has more than {MAX_BYTES} bytes: is it the config.json of a Conv-TasNet?")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SystemFailure(f"{path} cannot be read as JSON ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise SystemFailure(f"{path}: expected an object, found a {type(content).__name__}")
    missing = [field.name for field in fields(Configuration) if field.name not in content]
    if missing:
        raise SystemFailure(f"{path}: {', '.join(missing)} missing in it: is it the config.json of a Conv-TasNet?")
    for name, most in _BOUNDS.items():
        value = content[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise SystemFailure(f"{path}: {name} is {_shown(value)}, expected a whole number from 1 to {most}")
    if content["L"] % 2:
        raise SystemFailure(f"{path}: L is {content['L']}, expected an even number: frames overlap by half")
    for name, expected in _EXPECTED.items():
        # By type as well: true is no 1 here.
        if not any(type(content[name]) is type(value) and content[name] == value for value in expected):
            accepted = " or ".join(map(json.dumps, expected))
            raise SystemFailure(f"{path}: {name} is {_shown(content[name])}, expected {accepted}")
    return Configuration(**{field.name: content[field.name] for field in fields(Configuration)})


def _shown(value: Any) -> str:
    """A stranger's value, in at most 40 characters."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:36] + " ..."
