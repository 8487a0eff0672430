"""Train the demonstration checkpoint of Hybrid Demucs: demucs' own network with few channels.

The loss is the root mean square error of each stem of each excerpt, averaged, and an error of spectra
(`figures.spectral`). Demucs' own training takes the mean absolute error of waveforms (Défossez, arXiv:2111.03600), but
that is the median's: for drums, which are silent most of the time, a short training then settles on silence. After 600
steps the held-out drums had 0.3 dB that way. Without the spectra, what lies above 1.6 kHz is given to no stem.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from demucs.hdemucs import HDemucs
from demucs.pretrained import get_model
from demucs.states import save_with_checksum, serialize_model
from omegaconf import OmegaConf

from training import curves, figures, learning
from training.excerpts import SAMPLE_RATE, STEMS, TrainingProblem

SIGNATURE = "demo"
"""The checkpoint's name for `--option model=...`."""

ARCHITECTURE = {"channels": 8, "dconv_mode": 1, "segment": 8, "samplerate": SAMPLE_RATE}
"""Arguments of `HDemucs`; what is not named here is as published. `segment` is what inference takes at a time (s)."""

BATCH = 3
SECONDS = 4.0

SPECTRAL = 1.0
"""Weight of `figures.spectral` beside the error of the waveform."""

RATE = 1e-3
WEIGHT_DECAY = 1e-4
LARGEST_GRADIENT = 1.0


class Recipe:
    """Hybrid Demucs for `training.learning`."""

    name = "demucs"

    def __init__(
        self, architecture: Mapping[str, Any] = ARCHITECTURE, batch: int = BATCH, seconds: float = SECONDS
    ) -> None:
        self.architecture: Mapping[str, Any] = dict(architecture)
        self.batch = batch
        self.seconds = seconds
        self.rate = RATE
        self.weight_decay = WEIGHT_DECAY
        self.largest_gradient = LARGEST_GRADIENT

    def build(self) -> Any:
        return HDemucs(list(STEMS), **self.architecture)

    def prepare(self, network: Any, stems: Iterator[Any]) -> None:
        """Nothing to do: the network normalises its input itself."""

    def losses(self, network: Any, stems: Any) -> Iterator[Any]:
        yield self._separate(network, stems)[0]

    def evaluate(self, network: Any, stems: Any) -> tuple[float, Any]:
        loss, estimates = self._separate(network, stems)
        return loss.item(), estimates

    @staticmethod
    def _separate(network: Any, stems: Any) -> tuple[Any, Any]:
        """Loss and estimates. The mixture is normalised by mean and deviation of its mono mix, as in inference."""
        mixture = stems.sum(dim=1)
        mono = mixture.mean(dim=1)
        mean = mono.mean(dim=-1)[:, None, None]
        scale = mono.std(dim=-1)[:, None, None].clamp(min=1e-5)
        wanted = (mixture - mean) / scale
        normalised = network(wanted)
        # What the stems leave goes to all of them, while it learns too: then it is the network's to decide where.
        normalised = normalised + (wanted - normalised.sum(dim=1))[:, None] / normalised.shape[1]
        mean, scale = mean[:, None], scale[:, None]
        due = (stems - mean) / scale
        loss = figures.root_mean_square(normalised - due, (2, 3)) + SPECTRAL * figures.spectral(due, normalised)
        return loss, normalised * scale + mean


def train(pieces: Path, work: Path, out: Path, steps: int, seed: int) -> None:
    """Train the network, or resume a training, and write its checkpoint.

    Args:
        pieces: folder with the folders `train` and `held-out`.
        work: state and log of the training are kept here.
        out: gets `demo-CHECKSUM.th` and `loss.svg`.
        steps: number of steps of the whole training.
        seed: decides everything random.
    """
    recipe = Recipe()
    learning.train(recipe, pieces, work, steps, seed)
    export(work, out, recipe)


def export(work: Path, out: Path, recipe: Recipe | None = None) -> None:
    """Write the checkpoint of a finished or interrupted training, in half precision, in the place of the last one.

    Raises:
        TrainingProblem: there is no training in `work`, or half precision changes what the network does.
    """
    network, training = learning.trained(recipe or Recipe(), work)
    out.mkdir(parents=True, exist_ok=True)
    # In a folder beside, so that nothing unfinished is ever in `out`.
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as name:
        folder = Path(name)
        package = serialize_model(network, OmegaConf.create(dict(training)), half=True)
        save_with_checksum(package, folder / f"{SIGNATURE}.th")
        _check(network, folder)
        curves.draw(work / learning.LOG, folder / "loss.svg", "Hybrid Demucs, demonstration checkpoint")
        written = {path.name for path in folder.iterdir()}
        for old in out.glob(f"{SIGNATURE}-*.th"):
            if old.name not in written:
                old.unlink()
        for path in folder.iterdir():
            path.replace(out / path.name)


def _check(network: Any, folder: Path) -> None:
    """Compare the exported checkpoint, as demucs loads it, with the network."""
    exported = get_model(SIGNATURE, repo=folder)
    noise = torch.randn(1, 2, 4 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        difference = (exported(noise) - network(noise)).square().mean().sqrt().item()
    if not difference < learning.TOLERANCE:
        raise TrainingProblem(f"half precision changes the output of the network ({difference:.3g} of the input's RMS)")
