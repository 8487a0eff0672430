"""The system `umx`: its options, and separation with the model that they choose."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from harness.systems import STEMS, Option, SystemFailure
from harness.systems.torch import DEVICE, TorchBatchSeparator, count_parameters
from harness_plugins.torch_support import (
    DEMO,
    DEMO_LICENCE,
    DEMO_REASON,
    DEMO_TRAINING_DATA,
    TRAINING,
    demo_blend,
    demo_folder,
    package_version,
    refuse_relabelling,
    why_not_eligible,
)
from harness_plugins.umx.loading import load_local, load_published
from harness_plugins.umx.published import PUBLISHED


class OpenUnmix(TorchBatchSeparator):
    """Separates with Open-Unmix: four networks estimate magnitudes, the phase is the mixture's.

    The mixture is not normalised. With `niter` the estimates are refined by so many rounds of a multichannel
    Wiener filter, with `softmask` they are only what the mixture is divided by; the challenge's baseline uses neither.

    The published models hear the whole piece before they separate its start. A model of your own whose files say that
    it is unidirectional looks ahead by no more than a window of the Fourier transform (93 ms), as long as there is no
    Wiener filter, which takes its statistics from seconds at a time. That is not causal by the challenge's rule, but
    `harness run` measures and shows it.
    """

    name = "umx"
    version = f"1+openunmix{package_version('openunmix')}"
    summary = "Open-Unmix, with the openunmix package"
    training_data = PUBLISHED["umxhq"].training_data
    licence = PUBLISHED["umxhq"].licence
    more_memory = "use --option device=cpu or shorter music (Open-Unmix takes it whole)"
    options = (
        Option(
            "model",
            str,
            "umxhq",
            "a published model, or demo: small, trained on synthetic music, needs no network; unused with repo",
            choices=(*PUBLISHED, DEMO),
        ),
        Option(
            "repo",
            Path,
            None,
            "folder of a model of your own: separator.json, and STEM.json and STEM.pth for each stem",
        ),
        TRAINING,
        DEVICE,
        Option("niter", int, 0, "rounds of the Wiener filter", minimum=0, maximum=10),
        Option(
            "softmask",
            bool,
            None,
            "make the stems add up to the mixture: divide it by their magnitudes (by default for model=demo only)",
        ),
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._repo: Path | None = self.settings["repo"]
        softmask: bool | None = self.settings["softmask"]
        self._softmask = self._is_demo if softmask is None else softmask
        declared: str | None = self.settings["training"]
        if self._repo is None:
            model = self.settings["model"]
            if self._is_demo:
                self.training_data, self.licence = DEMO_TRAINING_DATA, DEMO_LICENCE
                self._not_eligible: str | None = f"{model} {DEMO_REASON}"
            else:
                published = PUBLISHED[model]
                self.training_data, self.licence = published.training_data, published.licence
                self._not_eligible = published.not_eligible
            refuse_relabelling(model, self.training_data, declared)
        else:
            self.training_data, self.licence = declared or "unknown", "unknown"
            self._not_eligible = why_not_eligible(self._repo, declared)

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
        if importlib.util.find_spec("openunmix") is None:
            raise SystemFailure("the package openunmix is not installed (pip install 'openunmix>=1.3,<2')")
        niter = self.settings["niter"]
        if self._repo:
            model = load_local(self._repo, niter)
        elif self._is_demo:
            files = [f"{stem}.{ending}" for stem in STEMS for ending in ("json", "pth")]
            model = load_local(demo_folder(self.name, "separator.json", *files), niter)
        else:
            model = load_published(self.settings["model"], niter)
        model.softmask = self._softmask
        self.model_rate = float(model.sample_rate)
        self.stem_order = tuple(model.target_models)
        unidirectional = not any(network.lstm.bidirectional for network in model.target_models.values())
        self.measure_look_ahead = unidirectional and niter == 0
        return model

    @property
    def parameters(self) -> int:
        """Number of learned parameters of the four networks; 0 until they are loaded.

        The window of the Fourier transform, which openunmix keeps as a parameter too, is not learned.
        """
        return count_parameters(self.model.target_models) if self.model is not None else 0

    def weights_sha256(self) -> str:
        """Of the model itself: caches and the hub have files of their own beside it, which say nothing about it."""
        return super().weights_sha256()

    def description(self) -> str:
        return json.dumps([list(self.model.target_models), self.model.stft.n_fft, self.model.stft.n_hop])

    def separate_tensor(self, model: Any, mixture: Any) -> Any:
        return model(mixture)
