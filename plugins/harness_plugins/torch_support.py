"""What the separators built on PyTorch share: device, weights and their hash, bounded downloads, demonstration models.

PyTorch takes seconds to import, so every function imports it for itself: listing the systems stays fast.
"""

import contextlib
import hashlib
import socket
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

from harness.systems import STEMS, Option, Separator, Signal, SystemFailure, WeightsMissing

DECLARABLE = (
    "official",
    "official + augmentation",
    "official + supplementation",
    "synthetic",
    "private",
    "evaluation data",
)
"""What a user can declare about weights of their own: the harness cannot know it."""

DEVICE = Option("device", str, "auto", "where to compute: auto (cuda, else mps, else cpu) or a torch device")
TRAINING = Option(
    "training",
    str,
    None,
    "what weights of your own were trained on (published models and demo cannot be relabelled)",
    choices=DECLARABLE,
)

DEMO = "demo"
"""What `--option model=` calls the model that ships with this package. It is never taken unless it is asked for."""

DEMO_TRAINING_DATA = "synthetic"
DEMO_REASON = "is a demonstration model trained on synthetic music, not a published one"
DEMO_LICENCE = "MIT"
DEMO_WAY_OUT = f"; without a network, --option model={DEMO} works (a small demonstration model that is here already)"
"""What the error about weights that cannot be fetched ends with."""

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""A folder for each system with a demonstration model: weights, model card, loss curve."""

ANSWER_SECONDS = 5.0
"""How long a server has to show that it is there. Bounds the wait of a machine without a network."""

STALL_SECONDS = 30.0
"""How long a running download may stand still."""


def package_version(package: str) -> str:
    """Version of an installed package without importing it, "absent" if it is not installed."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return "absent"


def one_line(error: BaseException) -> str:
    """An exception in one line; torch likes to append pages of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# ---- device ---------------------------------------------------------------------------------------------


def choose_device(name: str) -> Any:
    """The torch device of that name, "auto" being the fastest that is here.

    Raises:
        SystemFailure: there is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SystemFailure(
            f"option device={name}: not usable here ({one_line(error)}); use device=auto or device=cpu"
        ) from error
    return device


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out: every backend has its own way to say so."""
    if isinstance(error, MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)


# ---- weights --------------------------------------------------------------------------------------------


def count_parameters(module: Any) -> int:
    """Number of learned parameters of a torch module."""
    return sum(parameter.numel() for parameter in module.parameters())


def state_sha256(state: Mapping[str, Any], description: str = "") -> str:
    """SHA-256 of a state dict: names, types, shapes and bytes of its tensors, in their order.

    Args:
        state: as returned by `module.state_dict()`.
        description: whatever else decides what the weights compute (order of the sources, for instance).
    """
    import torch

    digest = hashlib.sha256(description.encode("utf-8"))
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def demo_folder(system: str, *files: str) -> Path:
    """The folder of a system's demonstration model, after a look whether these files (or patterns) are in it.

    Raises:
        WeightsMissing: one is not: the installation is broken.
    """
    folder = CHECKPOINTS / system
    missing = [file for file in files if not any(folder.glob(file))]
    if missing:
        raise WeightsMissing(
            f"option model={DEMO}: this installation is not complete, "
            f"{', '.join(missing)} missing in {folder}: install the harness again"
        )
    return folder


def checkpoint_cache() -> Path:
    """The folder in which torch.hub keeps downloaded weights."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


# ---- network --------------------------------------------------------------------------------------------


def answers(url: str) -> bool:
    """Whether the server behind `url` gives any answer at all within `ANSWER_SECONDS`.

    A thread does the asking, because name resolution obeys no time limit. The environment's proxies are used.
    """
    heard: list[bool] = []

    def ask() -> None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=ANSWER_SECONDS):  # noqa: S310 - our own URLs
                heard.append(True)
        except HTTPError:
            heard.append(True)  # a refusal is an answer
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return bool(heard)


def download(url: str, path: Path, sha256_prefix: str | None = None) -> None:
    """Fetch a file whole or not at all, in silence, giving up when the transfer stands still.

    Raises:
        OSError: the network, or the disk.
        RuntimeError: the content does not have the checksum.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    # torch.hub opens its connection without a time limit; this is the only one that it cannot override.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_prefix, progress=False)
    finally:
        socket.setdefaulttimeout(before)


# ---- the common part of the systems ---------------------------------------------------------------------


class TorchSeparator(Separator):
    """A separator around a torch model: resampling, size, hash and out-of-memory errors.

    A subclass sets `_model`, `_device` and `_model_rate` in `load` and implements `_estimate`.
    """

    more_memory: str = "use --option device=cpu"
    """What a user can do when memory runs out."""

    _model: Any = None
    _device: Any = None
    _model_rate: float = 44100
    _sha256: str = ""

    @abstractmethod
    def _estimate(self, mixture: Signal) -> Mapping[str, Signal]:
        """The four stems of a mixture at the model's rate, each of the mixture's shape."""

    def separate(self, mixture: Signal, sample_rate: int) -> Mapping[str, Signal]:
        if self._model is None:
            raise SystemFailure(f"{self.name}: load() must be called before separate()")
        try:
            stems = self._estimate(_resampled(mixture, sample_rate, self._model_rate))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise SystemFailure(f"{self.name}: out of memory on {self._device}; {self.more_memory}") from error
        frames = len(mixture)
        return {stem: _fitted(_resampled(stems[stem], self._model_rate, sample_rate), frames) for stem in STEMS}

    @property
    def parameters(self) -> int:
        """Number of learned parameters; 0 until the model is loaded."""
        return count_parameters(self._model) if self._model is not None else 0

    def _description(self) -> str:
        """What decides the output beside the tensors of the state dict."""
        return ""

    def weights_sha256(self) -> str:
        """SHA-256 of the loaded weights and of what goes with them; "" until the model is loaded."""
        if not self._sha256 and self._model is not None:
            self._sha256 = state_sha256(self._model.state_dict(), self._description())
        return self._sha256


def _resampled(signal: Signal, rate: float, new_rate: float) -> Signal:
    if rate == new_rate:
        return signal
    import soxr

    # VHQ: the HQ setting computes in single precision.
    result: Signal = soxr.resample(signal, rate, new_rate, quality="VHQ")
    return result


def _fitted(signal: Signal, frames: int) -> Signal:
    """Cut or pad a signal by the sample or two by which resampling there and back may miss."""
    return np.pad(signal[:frames], ((0, max(0, frames - len(signal))), (0, 0)))


@contextlib.contextmanager
def hushed(*names: str) -> Iterator[None]:
    """Keep libraries from logging retries and advice: what matters is said in one error."""
    import logging

    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
