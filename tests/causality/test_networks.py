"""The audit on the second Cadenza challenge's Conv-TasNet, with weights at random: the recipe's own module.

The recipe's causal baseline brings the whole extract to -40 LUFS before its causal network.
"""

from typing import Any

import numpy as np
import pyloudnorm
import pytest
import torch
from causality.small import music
from recipes.cad2.task1.ConvTasNet.local.tasnet import ConvTasNetStereo

from harness.causality.audit import audit
from harness.causality.futures import other_than
from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.submission.causality import CausalityRecord

LENGTH = 20
"""Samples of the encoder's filters, as published; the other sizes are small."""


def network(norm: str, causal: bool) -> Any:
    torch.manual_seed(0)
    sizes = {"N": 32, "L": LENGTH, "B": 32, "H": 48, "P": 3, "X": 4, "R": 1, "C": 2}
    return ConvTasNetStereo(**sizes, audio_channels=2, norm_type=norm, causal=causal).eval()


def separated(model: Any, signal: Signal) -> Signal:
    """Vocals and accompaniment side by side, (samples, 4)."""
    with torch.no_grad():
        stems = model(torch.tensor(signal.T[np.newaxis], dtype=torch.float32))
    return np.asarray(stems[0].reshape(4, -1).T, dtype=float)


def audited(process: Any, cuts: int) -> CausalityRecord:
    piece = music(2.5)
    return audit(process, piece, other_than(piece), cuts=cuts)


def test_the_causal_network_looks_ahead_by_its_filters() -> None:
    model = network("cLN", causal=True)
    record = audited(lambda signal: separated(model, signal), cuts=2)
    assert (record.verdict, record.look_ahead) == ("causal", LENGTH - 1)


@pytest.mark.parametrize(("norm", "causal"), [("gLN", False), ("gLN", True)])
def test_global_layer_norm_looks_at_the_whole_piece(norm: str, causal: bool) -> None:
    model = network(norm, causal)
    record = audited(lambda signal: separated(model, signal), cuts=1)
    assert (record.verdict, record.whole_piece) == ("not causal", True)


def test_the_causal_baseline_of_the_recipe_is_not_causal() -> None:
    model, meter = network("cLN", causal=True), pyloudnorm.Meter(PROTOCOL.sample_rate)

    def baseline(signal: Signal) -> Signal:
        return separated(model, pyloudnorm.normalize.loudness(signal, meter.integrated_loudness(signal), -40.0))

    record = audited(baseline, cuts=1)
    assert (record.verdict, record.whole_piece) == ("not causal", True)
