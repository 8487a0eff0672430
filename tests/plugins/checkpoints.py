"""Small real checkpoints in the formats of demucs, Open-Unmix and Conv-TasNet, for tests: random weights.

The weights are drawn from a fixed seed, so a checkpoint is the same in every run. PyTorch's generator is left as
it was.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

SOURCES = ("drums", "bass", "other", "vocals")
"""The order of demucs' own models, which is not the challenge's."""


def hybrid(sources: Sequence[str] = SOURCES, **settings: Any) -> Any:
    """A tiny Hybrid Demucs (v3)."""
    from demucs.hdemucs import HDemucs

    return HDemucs(list(sources), **{"channels": 4, "depth": 5, "dconv_mode": 0, "segment": 1, **settings})


def time_domain(sources: Sequence[str] = SOURCES, **settings: Any) -> Any:
    """A tiny time-domain Demucs (v2)."""
    from demucs.demucs import Demucs

    return Demucs(
        list(sources), **{"channels": 4, "depth": 2, "dconv_mode": 0, "resample": False, "segment": 1, **settings}
    )


def hybrid_transformer(sources: Sequence[str] = SOURCES, **settings: Any) -> Any:
    """A tiny Hybrid Transformer Demucs (v4): it takes at most its training segment of 0.8 s."""
    from demucs.htdemucs import HTDemucs

    defaults = {"channels": 8, "t_layers": 1, "t_heads": 1, "t_hidden_scale": 1, "dconv_mode": 0, "segment": 0.8}
    return HTDemucs(list(sources), **{**defaults, **settings})


def seeded(build: Callable[[], Any], seed: int = 0) -> Any:
    """Build a model with weights drawn from `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().eval()


def save_demucs_model(folder: Path, signature: str, model: Any, *, checksum: bool = True, half: bool = False) -> Path:
    """Write a model as `SIGNATURE-CHECKSUM.th`, as demucs exports it; its checksum is 8 digits of SHA-256.

    With `half` in half precision, as demucs exports models that are to be small.
    """
    from demucs.states import get_state

    args, kwargs = model._init_args_kwargs
    package = {
        "klass": type(model),
        "args": args,
        "kwargs": kwargs,
        "state": get_state(model, None, half=half),
        "training_args": {},
    }
    buffer = io.BytesIO()
    torch.save(package, buffer)
    content = buffer.getvalue()
    ending = f"-{hashlib.sha256(content).hexdigest()[:8]}" if checksum else ""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{signature}{ending}.th"
    path.write_bytes(content)
    return path


def write_demucs_repo(folder: Path) -> str:
    """Write a LocalRepo: a bag "tiny" of two models, "aaaaaaaa" (hybrid) and "bbbbbbbb" (time domain).

    Returns:
        The name of the bag, for `--option model=NAME --option repo=FOLDER`.
    """
    save_demucs_model(folder, "aaaaaaaa", seeded(hybrid, 1))
    save_demucs_model(folder, "bbbbbbbb", seeded(time_domain, 2))
    write_bag(folder, "tiny", ["aaaaaaaa", "bbbbbbbb"], weights=[[1.0, 1.0, 0.5, 0.0], [1.0, 0.0, 0.5, 1.0]])
    return "tiny"


def write_bag(folder: Path, name: str, signatures: Sequence[str], **settings: Any) -> Path:
    """Write a bag of models: JSON is yaml, too."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"models": list(signatures), **settings}), encoding="utf-8")
    return path


def write_umx_repo(
    folder: Path,
    *,
    sample_rate: float = 44100.0,
    nfft: int = 4096,
    hidden_size: int = 8,
    unidirectional: bool = False,
) -> None:
    """Write a model folder as Open-Unmix's training does: separator.json, and .json and .pth for each target."""
    from harness_plugins.umx import import_openunmix

    model = import_openunmix().model
    folder.mkdir(parents=True, exist_ok=True)
    encoder = {"sample_rate": sample_rate, "nb_channels": 2, "seq_dur": 6.0, "nfft": nfft, "nhop": nfft // 4}
    (folder / "separator.json").write_text(json.dumps(encoder), encoding="utf-8")
    for seed, target in enumerate(("vocals", "drums", "bass", "other")):
        network = seeded(
            lambda: model.OpenUnmix(
                nb_bins=nfft // 2 + 1,
                nb_channels=2,
                hidden_size=hidden_size,
                unidirectional=unidirectional,
                max_bin=nfft // 8,
            ),
            seed,
        )
        torch.save(network.state_dict(), folder / f"{target}.pth")
        arguments = {
            "nfft": nfft,
            "nhop": nfft // 4,
            "nb_channels": 2,
            "hidden_size": hidden_size,
            "unidirectional": unidirectional,
        }
        (folder / f"{target}.json").write_text(
            json.dumps({"epochs_trained": 1, "args": arguments, "best_loss": 1.0}), encoding="utf-8"
        )


CONVTASNET = {
    "N": 16,
    "L": 20,
    "B": 8,
    "H": 12,
    "P": 3,
    "X": 3,
    "R": 2,
    "C": 2,
    "audio_channels": 2,
    "samplerate": 44100,
    "norm_type": "cLN",
    "causal": True,
    "mask_nonlinear": "relu",
}
"""The published Conv-TasNet's configuration, with small numbers."""


def recipes_convtasnet(**settings: Any) -> Any:
    """A Conv-TasNet as pyclarity's recipe builds it; normalisations, which begin as 1 and 0, are random as well."""
    from recipes.cad2.task1.ConvTasNet.local.tasnet import ConvTasNetStereo

    network = ConvTasNetStereo(**{**CONVTASNET, **settings})
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("gamma", "beta")):
                parameter += 0.1 * torch.randn_like(parameter)
    return network


def write_convtasnet_repo(folder: Path, **settings: Any) -> None:
    """Write config.json and model.safetensors as the recipe's network itself writes them for the Hugging Face hub."""
    seeded(lambda: recipes_convtasnet(**settings)).save_pretrained(folder)
