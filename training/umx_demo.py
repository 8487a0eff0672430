"""Train the demonstration model of Open-Unmix: openunmix's own networks with a small hidden size.

As in openunmix's training (scripts/train.py in https://github.com/sigsep/open-unmix-pytorch) each network learns the
magnitude spectrogram of its stem from that of the mixture. The four learn from the same batches here, so that excerpts
and spectrograms of the mixture are made once.

The loss is the root mean square error of each excerpt, averaged, where openunmix takes the mean square error of the
batch. In that, an excerpt with loud vocals counts sixteen times as much as one where they are 12 dB lower, and the
network hears vocals everywhere in music where they are quiet. The roots of the magnitudes count as well: what is soft
or high would hardly do otherwise.
"""

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness_plugins.umx import OpenUnmix, import_openunmix
from training import curves, figures, learning
from training.excerpts import SAMPLE_RATE, STEMS, TrainingProblem

HIDDEN_SIZE = 208
FFT = 4096
HOP = 1024
BANDWIDTH = 16000
"""Highest frequency in Hz that the networks look at; they estimate all."""

BATCH = 8
SECONDS = 4.0

ROOTS = 5.0
"""Weight of the roots of the magnitudes beside the magnitudes: with it both count about the same."""

ROOT_OF = 1e-4
"""Added before a root is taken, because it has no slope at 0."""

RATE = 2e-3
WEIGHT_DECAY = 1e-5
LARGEST_GRADIENT = 100.0


class Recipe:
    """Open-Unmix for `training.learning`. The network is openunmix's `Separator` without a Wiener filter."""

    name = "umx"

    def __init__(self, hidden_size: int = HIDDEN_SIZE, batch: int = BATCH, seconds: float = SECONDS) -> None:
        self.hidden_size = hidden_size
        self.batch = batch
        self.seconds = seconds
        self.rate = RATE
        self.weight_decay = WEIGHT_DECAY
        self.largest_gradient = LARGEST_GRADIENT
        self.architecture: Mapping[str, Any] = {
            "hidden_size": hidden_size,
            "nfft": FFT,
            "nhop": HOP,
            "bandwidth": BANDWIDTH,
        }

    def build(self) -> Any:
        model = import_openunmix().model
        networks = {
            stem: model.OpenUnmix(
                nb_bins=FFT // 2 + 1,
                nb_channels=2,
                hidden_size=self.hidden_size,
                max_bin=int(BANDWIDTH / SAMPLE_RATE * FFT) + 1,
            )
            for stem in STEMS
        }
        return model.Separator(networks, niter=0, sample_rate=float(SAMPLE_RATE), n_fft=FFT, n_hop=HOP, nb_channels=2)

    def prepare(self, network: Any, stems: Iterator[Any]) -> None:
        """Set shift and scale of each frequency at the input from mixtures, as openunmix's training does."""
        with torch.no_grad():
            count = 0
            total: Any = 0.0
            squares: Any = 0.0
            for batch in stems:
                magnitudes = _magnitudes(network, batch.sum(dim=1)).double()
                count += magnitudes.numel() // magnitudes.shape[2]
                total = total + magnitudes.sum(dim=(0, 1, 3))
                squares = squares + magnitudes.square().sum(dim=(0, 1, 3))
            mean = total / count
            scale = (squares / count - mean.square()).clamp(min=0).sqrt()
            scale = scale.clamp(min=max(1e-4 * scale.max().item(), 1e-9))
            for target in network.target_models.values():
                target.input_mean.copy_(-mean[: target.nb_bins])
                target.input_scale.copy_(1 / scale[: target.nb_bins])

    def losses(self, network: Any, stems: Any) -> Iterator[Any]:
        with torch.no_grad():
            mixture = _magnitudes(network, stems.sum(dim=1))
        for index, target in enumerate(network.target_models.values()):
            with torch.no_grad():
                wanted = _magnitudes(network, stems[:, index])
            yield _loss(target(mixture), wanted)

    def evaluate(self, network: Any, stems: Any) -> tuple[float, Any]:
        mixture = stems.sum(dim=1)
        spectrogram = torch.view_as_complex(network.stft(mixture))
        phase = torch.polar(torch.ones_like(spectrogram.real), spectrogram.angle())
        loss = 0.0
        estimates = []
        for index, target in enumerate(network.target_models.values()):
            magnitudes = target(spectrogram.abs())
            loss += _loss(magnitudes, _magnitudes(network, stems[:, index])).item()
            estimates.append(network.istft(torch.view_as_real(magnitudes * phase), length=mixture.shape[-1]))
        return loss, torch.stack(estimates, dim=1)


def _loss(estimate: Any, wanted: Any) -> Any:
    """Of magnitudes, (batch, 2, bins, frames); half of it of their roots, so that what is soft counts."""
    roots = (estimate.clamp(min=0) + ROOT_OF).sqrt() - (wanted + ROOT_OF).sqrt()
    return figures.root_mean_square(estimate - wanted, (1, 2, 3)) + ROOTS * roots.abs().mean()


def _magnitudes(network: Any, audio: Any) -> Any:
    """(batch, 2, bins, frames) of (batch, 2, samples)."""
    return network.complexnorm(network.stft(audio.contiguous()))


def train(pieces: Path, work: Path, out: Path, steps: int, seed: int) -> None:
    """Train the networks, or resume a training, and write the model.

    Args:
        pieces: folder with the folders `train` and `held-out`.
        work: state and log of the training are kept here.
        out: gets `separator.json`, `STEM.json`, `STEM.pth` and `loss.svg`.
        steps: number of steps of the whole training.
        seed: decides everything random.
    """
    recipe = Recipe()
    learning.train(recipe, pieces, work, steps, seed)
    export(work, out, recipe)


def export(work: Path, out: Path, recipe: Recipe | None = None) -> None:
    """Write the model of a finished or interrupted training, in half precision, in the place of the last one.

    Raises:
        TrainingProblem: there is no training in `work`, or half precision changes what the networks do.
    """
    recipe = recipe or Recipe()
    separator, training = learning.trained(recipe, work)
    out.mkdir(parents=True, exist_ok=True)
    encoder = {"sample_rate": SAMPLE_RATE, "nb_channels": 2, "seq_dur": recipe.seconds, "nfft": FFT, "nhop": HOP}
    arguments = {
        "nfft": FFT,
        "nhop": HOP,
        "nb_channels": 2,
        "hidden_size": recipe.hidden_size,
        "unidirectional": False,
        "bandwidth": BANDWIDTH,
    }
    # In a folder beside, so that nothing unfinished is ever in `out`.
    with tempfile.TemporaryDirectory(dir=out, prefix=".export-") as name:
        folder = Path(name)
        _write_json(folder / "separator.json", encoder)
        for stem, target in separator.target_models.items():
            _write_json(folder / f"{stem}.json", {"args": arguments, "training": training})
            state = {
                key: value.half() if value.is_floating_point() else value for key, value in target.state_dict().items()
            }
            # Through memory: else the file's name would be in the file, which then is not the same everywhere.
            content = io.BytesIO()
            torch.save(state, content)
            (folder / f"{stem}.pth").write_bytes(content.getvalue())
        _check(separator, folder)
        curves.draw(work / learning.LOG, folder / "loss.svg", "Open-Unmix, demonstration model")
        for path in folder.iterdir():
            path.replace(out / path.name)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _check(separator: Any, folder: Path) -> None:
    """Compare the exported model, as the system `umx` loads it, with the networks."""
    exported = OpenUnmix(repo=folder, device="cpu")
    exported.load()
    noise = np.random.default_rng(0).normal(0, 0.1, (4 * SAMPLE_RATE, 2))
    with torch.no_grad():
        expected = separator(torch.from_numpy(noise.T.astype(np.float32))[None])[0].numpy()
    stems = exported.separate(noise, SAMPLE_RATE)
    for stem, estimate in zip(separator.target_models, expected, strict=True):
        difference = np.sqrt(np.mean((stems[stem] - estimate.T) ** 2)) / 0.1
        if not difference < learning.TOLERANCE:
            raise TrainingProblem(f"half precision changes {stem} ({difference:.3g} of the input's RMS)")
