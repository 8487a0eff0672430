"""Several pieces of music at once with the bundled models: each as if it were alone, whatever is beside it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import hybrid_transformer, save_demucs_model, seeded, write_demucs_repo, write_umx_repo

from harness.systems import STEMS, Separator, Signal, SystemFailure
from harness.systems.base import BATCH_TOLERANCE, separates_many
from harness.systems.torch import TorchBatchSeparator
from harness_plugins.demucs import Demucs
from harness_plugins.umx import OpenUnmix

RATE = 44100
ON_A_CPU = 1e-6
"""Far within what is allowed: sums in another order, and nothing else."""


def music(seconds: float, seed: int, level: float = 0.1) -> Signal:
    frames = round(seconds * RATE)
    return level * np.random.default_rng(seed).standard_normal((frames, 2)) + 0.01


MIXTURES = [music(1.3, 1), music(0.9, 2), music(1.3, 3, 0.7), np.zeros((round(1.3 * RATE), 2)), music(0.7, 4)]
"""Of three lengths and of all levels; one is alone in its length, as is another."""


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Any]]:
    demucs, umx, slow = (tmp_path_factory.mktemp(name) for name in ("demucs", "umx", "slow"))
    write_demucs_repo(demucs)
    save_demucs_model(demucs, "cccccccc", seeded(hybrid_transformer, 3))
    write_umx_repo(umx)
    write_umx_repo(slow, sample_rate=16000, nfft=1024)
    return {
        "a bag": lambda: Demucs(repo=demucs, model="tiny"),
        "hybrid": lambda: Demucs(repo=demucs, model="aaaaaaaa", segment=0.7),
        "transformer": lambda: Demucs(repo=demucs, model="cccccccc"),
        "shifts": lambda: Demucs(repo=demucs, model="bbbbbbbb", shifts=2),
        "umx": lambda: OpenUnmix(repo=umx),
        "with a Wiener filter": lambda: OpenUnmix(repo=umx, niter=1),
        "another rate": lambda: OpenUnmix(repo=slow),
    }


@pytest.mark.parametrize(
    "name", ["a bag", "hybrid", "transformer", "shifts", "umx", "with a Wiener filter", "another rate"]
)
def test_each_piece_is_separated_as_if_it_were_alone(systems: dict[str, Callable[[], Any]], name: str) -> None:
    assert ON_A_CPU < BATCH_TOLERANCE
    system = systems[name]()
    assert separates_many(type(system))
    system.load()
    together = system.separate_many([mixture.copy() for mixture in MIXTURES], RATE)
    assert len(together) == len(MIXTURES)
    for mixture, found in zip(MIXTURES, together, strict=True):
        alone = system.separate(mixture.copy(), RATE)
        for stem in STEMS:
            assert found[stem].shape == mixture.shape
            assert np.abs(found[stem] - alone[stem]).max() < ON_A_CPU
    assert max(np.abs(stem).max() for stem in together[0].values()) > 1e-3


def test_pieces_of_one_length_are_one_call_and_one_alone_is_as_ever(systems: dict[str, Callable[[], Any]]) -> None:
    system = systems["umx"]()
    system.load()
    calls: list[int] = []
    separate = system.separate_tensor

    def counted(model: Any, batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        return separate(model, batch)

    system.separate_tensor = counted
    together = system.separate_many([mixture.copy() for mixture in MIXTURES], RATE)
    assert sorted(calls) == [1, 1, 3]
    alone = system.separate(MIXTURES[1].copy(), RATE)
    for stem in STEMS:
        np.testing.assert_array_equal(together[1][stem], alone[stem])


def test_a_model_that_mixes_up_its_batch_is_named() -> None:
    class Wrong(TorchBatchSeparator):
        name, version = "wrong", "1"

        def load_model(self) -> Any:
            return torch.nn.Identity()

        def separate_tensor(self, model: Any, mixture: Any) -> Any:
            return model(mixture)[:1, None].repeat(1, 4, 1, 1)

    system = Wrong(device="cpu")
    system.load()
    system.separate(music(0.1, 1), RATE)
    with pytest.raises(
        SystemFailure, match=r"separate_tensor\(\) returned a tensor \(1, 4, 2, 4410\), expected \(2, 4, 2, 4410\)"
    ):
        system.separate_many([music(0.1, 1), music(0.1, 2)], RATE)


class One(Separator):
    name, version = "one", "1"

    def separate(self, mixture: Signal, sample_rate: int) -> dict[str, Signal]:
        return dict.fromkeys(STEMS, mixture / 4)


class Many(One):
    def separate_many(self, mixtures: list[Signal], sample_rate: int) -> list[dict[str, Signal]]:
        return [self.separate(mixture, sample_rate) for mixture in mixtures]


class Inherits(Many):
    pass


class OverridesOne(Many):
    def separate(self, mixture: Signal, sample_rate: int) -> dict[str, Signal]:
        return dict.fromkeys(STEMS, mixture / 3)


class TakesBack(Many):
    separate_many = None


@pytest.mark.parametrize(
    ("system", "expected"), [(One, False), (Many, True), (Inherits, True), (OverridesOne, False), (TakesBack, False)]
)
def test_which_systems_separate_several_at_once(system: type[Separator], expected: bool) -> None:
    assert separates_many(system) is expected
