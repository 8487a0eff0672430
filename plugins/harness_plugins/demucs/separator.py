"""The system `demucs`: its options, and separation with the model that they choose."""

import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.systems import STEMS, Option, Signal, SystemFailure
from harness.systems.torch import DEVICE, TorchBatchSeparator, count_parameters, state_sha256
from harness_plugins.demucs.judging import LICENCE, judge, licence_of, local_parts, published_parts
from harness_plugins.demucs.loading import load_local, load_published
from harness_plugins.demucs.published import PUBLISHED
from harness_plugins.torch_support import DEMO, TRAINING, demo_blend, demo_folder, package_version

STEM_OF = {**{stem: stem for stem in STEMS}, "guitar": "other", "piano": "other"}
"""To which stem each source that a demucs model may have belongs."""

# `demucs.apply` takes its random shifts from Python's global generator.
_RANDOM_LOCK = threading.Lock()


class Demucs(TorchBatchSeparator):
    """Separates with a model of the demucs package, as the challenge's baseline does with Hybrid Demucs.

    The mixture is normalised by mean and standard deviation of its mono mix, separated in overlapping
    segments and scaled back. Sources are taken by name; guitar and piano of six-source models are added to
    "other".
    """

    name = "demucs"
    version = f"2+demucs{package_version('demucs')}"
    summary = "Hybrid Demucs and its relatives, with the demucs package"
    training_data = PUBLISHED["mdx"]
    licence = LICENCE
    more_memory = "use a shorter --option segment=SECONDS or --option device=cpu"
    moves_itself = True  # demucs moves one model of a bag after the other
    options = (
        Option(
            "model",
            str,
            "mdx",
            "a name or signature that demucs knows, hf://[OWNER/]NAME, a name in the folder given by repo, "
            "or demo: small, trained on synthetic music, needs no network",
        ),
        Option(
            "repo",
            Path,
            None,
            "folder of local checkpoints (demucs' LocalRepo format); "
            "loading one runs code in it: only load checkpoints you trust",
        ),
        TRAINING,
        DEVICE,
        Option("segment", float, None, "seconds of music at a time; by default the model's own", minimum=0.5),
        Option("overlap", float, 0.25, "share of a segment that overlaps the next", minimum=0, maximum=0.99),
        Option("shifts", int, 0, "average over so many shifts in time; each costs a whole pass", 0, 20),
        Option(
            "consistent",
            bool,
            None,
            "make the stems add up to the mixture: divide it by their magnitudes (by default for model=demo only)",
        ),
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._model_name: str = self.settings["model"]
        self._repo: Path | None = self.settings["repo"]
        consistent: bool | None = self.settings["consistent"]
        self._consistent = self._is_demo if consistent is None else consistent
        if self._is_demo:
            self._repo = demo_folder(self.name, f"{DEMO}-*.th")
        name = self._model_name
        parts = local_parts(name, self._repo) if self._repo else published_parts(name)
        self.training_data, self._not_eligible = judge(name, parts, self.settings["training"])
        self.licence = licence_of(parts)

    @property
    def _is_demo(self) -> bool:
        return self.settings["repo"] is None and self.settings["model"] == DEMO

    @property
    def not_eligible(self) -> str | None:
        return self._not_eligible

    @property
    def default_blend(self) -> float:
        """For the demonstration model what was chosen for it; 0 for any other."""
        return demo_blend(self.name) if self._is_demo else 0.0

    def load_model(self) -> Any:
        model = load_local(self._model_name, self._repo) if self._repo else load_published(self._model_name)
        self._check(model)
        self.model_rate = model.samplerate
        return model

    def _check(self, model: Any) -> None:
        """Refuse a model that cannot give the four stems of stereo music, or not with these settings."""
        from demucs.htdemucs import HTDemucs

        name, sources = self._model_name, list(model.sources)
        lacking = [stem for stem in STEMS if stem not in sources]
        strange = [source for source in sources if source not in STEM_OF]
        if lacking or strange or len(set(sources)) != len(sources):
            raise SystemFailure(
                f"model {name} separates into {', '.join(sources)}; "
                f"expected {', '.join(STEMS)}, and at most guitar and piano beside them"
            )
        if model.audio_channels != 2:
            raise SystemFailure(f"model {name} has {model.audio_channels} audio channel(s), expected stereo")
        for source, weights in zip(sources, zip(*getattr(model, "weights", []), strict=True), strict=False):
            if not sum(weights):
                raise SystemFailure(f"model {name}: its weights for {source} add up to 0, see its yaml file")
        segment = self.settings["segment"]
        limit = min((float(part.segment) for part in _parts_of(model) if isinstance(part, HTDemucs)), default=np.inf)
        if segment is not None and segment > limit:
            raise SystemFailure(
                f"option segment={segment:g}: model {name} takes at most {limit:g} seconds, "
                "the length that it was trained with"
            )

    # ---- the loaded model -------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Number of learned parameters of all models of the bag; one that is in it twice counts once."""
        if self.model is None:
            return 0
        distinct = {state_sha256(part.state_dict()): count_parameters(part) for part in _parts_of(self.model)}
        return sum(distinct.values())

    def weights_sha256(self) -> str:
        """Of the model itself: caches and the hub have files of their own beside it, which say nothing about it."""
        return super().weights_sha256()

    def description(self) -> str:
        parts = [
            (type(part).__qualname__, getattr(part, "_init_args_kwargs", None), part.segment)
            for part in _parts_of(self.model)
        ]
        # Through JSON, because the same model has lists in one file format where it has tuples in another.
        return json.dumps([self.model.sources, getattr(self.model, "weights", None), parts], default=str)

    def estimate(self, mixture: Signal) -> Mapping[str, Signal]:
        with _shifts_from(mixture):
            return self._estimates([mixture])[0]

    def estimate_many(self, mixtures: Sequence[Signal]) -> Sequence[Mapping[str, Signal]]:
        if self.settings["shifts"]:  # these follow from each piece's music, and demucs shifts a batch as one
            return [self.estimate(mixture) for mixture in mixtures]
        return self._estimates(mixtures)

    def _estimates(self, mixtures: Sequence[Signal]) -> list[Mapping[str, Signal]]:
        """The stems of mixtures of one length; the segments of all are computed together, one place after another."""
        import torch

        monos = [mixture.mean(axis=1) for mixture in mixtures]
        levels = [(mono.mean(), mono.std() or 1.0) for mono in monos]  # silence has no scale
        normalised = [
            ((mixture - mean) / scale).astype(np.float32)
            for mixture, (mean, scale) in zip(mixtures, levels, strict=True)
        ]
        # Transposed, not copied: in which order a sum is computed follows from how the samples lie in memory.
        separated = self.separate_tensor(self.model, torch.from_numpy(np.stack(normalised)).transpose(1, 2))
        return [
            self._stems(sources, mean, scale, mixture)
            for sources, (mean, scale), mixture in zip(separated, levels, mixtures, strict=True)
        ]

    def _stems(self, sources: Any, mean: float, scale: float, mixture: Signal) -> Mapping[str, Signal]:
        """The stems of a mixture, from its sources (sources, 2, samples)."""
        signals = sources.cpu().double().numpy().transpose(0, 2, 1) * scale + mean
        stems = {stem: np.zeros_like(signals[0]) for stem in STEMS}
        for source, signal in zip(self.model.sources, signals, strict=True):
            stems[STEM_OF[source]] += signal
        return _consistent(stems, mixture) if self._consistent else stems

    def separate_tensor(self, model: Any, mixture: Any) -> Any:
        """Separate normalised mixtures (pieces, 2, samples) into `model.sources`: (pieces, sources, 2, samples)."""
        from demucs.apply import apply_model

        return apply_model(
            model,
            mixture,
            shifts=self.settings["shifts"],
            split=True,
            overlap=self.settings["overlap"],
            segment=self.settings["segment"],
            device=self.device,
        )


def _consistent(stems: Mapping[str, Signal], mixture: Signal) -> dict[str, Signal]:
    """Make the stems add up to the mixture, and take its phase.

    What the stems leave of the mixture goes to all alike first, as it did while the demonstration model learned. Then
    the mixture is divided in proportion to the stems' magnitudes, in frames of 93 ms at 44.1 kHz: its phase is better
    than what a small network guesses.

    Sources: S. Wisdom et al., "Differentiable Consistency Constraints for Improved Deep Speech Enhancement", ICASSP
    2019, section 3.2 (equal shares); A. Liutkus, R. Badeau, "Generalized Wiener filtering with fractional power
    spectrograms", ICASSP 2015 (masks; exponent 1).
    """
    from scipy import signal

    window = signal.windows.hann(4096, sym=False)
    transform = signal.ShortTimeFFT(window, 1024, 1.0)  # in samples

    def spectrum(of: Signal) -> Any:
        missing = max(0, len(window) - len(of))  # it refuses what is shorter than half a window
        return transform.stft(np.pad(of, ((0, missing), (0, 0))), axis=0)

    share = (mixture - np.sum(list(stems.values()), axis=0)) / len(stems)
    magnitudes = np.stack([np.abs(spectrum(stem + share)) for stem in stems.values()]) + 1e-9
    parts = magnitudes / magnitudes.sum(axis=0) * spectrum(mixture)
    return {name: transform.istft(part, f_axis=0)[: len(mixture)] for name, part in zip(stems, parts, strict=True)}


def _parts_of(model: Any) -> list[Any]:
    """The models of a bag, or the one model."""
    return list(getattr(model, "models", [model]))


@contextlib.contextmanager
def _shifts_from(mixture: Signal) -> Iterator[None]:
    """Make demucs' random shifts a function of the music, and leave Python's generator as it was."""
    with _RANDOM_LOCK:
        state = random.getstate()
        random.seed(hashlib.sha256(mixture.tobytes()).digest())
        try:
            yield
        finally:
            random.setstate(state)
