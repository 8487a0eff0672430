"""The system `convtasnet`: its options, and four stems from the two sources of the network, block by block."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from harness.systems import Option, Signal
from harness.systems.torch import DEVICE, TorchStreamingSeparator
from harness_plugins.torch_support import TRAINING, refuse_relabelling, why_not_eligible

if TYPE_CHECKING:
    from harness_plugins.convtasnet.network import Stream
    from harness_plugins.past_masks import Divider

PUBLISHED_TRAINING_DATA = "official"
PUBLISHED_LICENCE = "Apache-2.0"
"""By its model card: trained on the training split of MUSDB18-HQ."""

PART = 100
"""Samples at most that the accompaniment is divided by: a block has two such parts, and the stems lag by one."""

MEMORY = 9
BLEND = 0.3
"""How the accompaniment is divided: the defaults of `live`."""


class ConvTasNet(TorchStreamingSeparator):
    """Vocals by a causal Conv-TasNet; drums, bass and other from its accompaniment, by masks from the past.

    The level of the music makes no difference: the masks of the network follow a normalisation of each frame.
    """

    name = "convtasnet"
    version = "1"
    summary = "vocals by the causal Conv-TasNet of the second Cadenza challenge, the rest divided as by live"
    training_data = PUBLISHED_TRAINING_DATA
    licence = PUBLISHED_LICENCE
    options: ClassVar[tuple[Option, ...]] = (
        Option("repo", Path, None, "folder of a model of your own: config.json and model.safetensors"),
        TRAINING,
        DEVICE,
    )
    # Those of the published network; `load` sets them.
    block = 2 * PART
    latency = PART + 10

    _stream: "Stream"
    _divider: "Divider"
    _vocals: Signal

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._repo: Path | None = self.settings["repo"]
        declared: str | None = self.settings["training"]
        self._not_eligible: str | None = None
        if self._repo is None:
            refuse_relabelling("the published network", self.training_data, declared)
        else:
            self.training_data, self.licence = declared or "unknown", "unknown"
            self._not_eligible = why_not_eligible(self._repo, declared)

    @property
    def not_eligible(self) -> str | None:
        return self._not_eligible

    def load_model(self) -> Any:
        from harness_plugins.convtasnet.loading import load_local, load_published

        network = load_local(self._repo) if self._repo else load_published()
        hop = network.configuration.hop
        part = max(1, PART // hop) * hop
        self.block, self.latency = 2 * part, part + hop
        return network

    def description(self) -> str:
        return repr(self.model.configuration)

    def prepare(self, sample_rate: int, block: int, channels: int) -> None:  # noqa: ARG002 - the harness says how
        """Forget the music so far."""
        from harness_plugins.convtasnet.network import Stream
        from harness_plugins.past_masks import Divider

        self._require_loaded("prepare")
        self._stream = Stream(self.model, block // self.model.configuration.hop)
        self._divider = Divider(sample_rate, block // 2, MEMORY, BLEND)
        self._vocals = np.zeros((block // 2, 2))

    def process(self, block: Signal) -> Mapping[str, Signal]:
        """Separate the next block, (block, 2), into stems of its shape."""
        sources = self._compute(self._stream.process, self._tensor(block)[0]).cpu().double().numpy()
        # In this order: the recipe stacks them so (local/musdb18_dataset.py), and its baseline takes them so.
        vocals, accompaniment = sources.swapaxes(1, 2)
        parts = [self._divider.process(part) for part in np.split(accompaniment, 2)]
        rest = {stem: np.concatenate([part[stem] for part in parts]) for stem in parts[0]}
        vocals = np.concatenate([self._vocals, vocals])
        self._vocals = vocals[len(block) :]
        return {
            "vocals": vocals[: len(block)],
            "drums": rest["drums"],
            "bass": rest["bass"],
            # What sounds like a voice in the accompaniment is another instrument, if the network is right.
            "other": rest["other"] + rest["vocals"],
        }
