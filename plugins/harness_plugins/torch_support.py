"""What the bundled PyTorch systems share beyond `harness.systems.torch`: bounded downloads, demonstration models.

PyTorch takes seconds to import, so every function imports it for itself: listing the systems stays fast.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from harness.systems import TRAINING_DATA, Option, SystemFailure, WeightsMissing

DECLARABLE = (
    "official",
    "official + augmentation",
    "official + supplementation",
    "synthetic",
    "private",
    "evaluation data",
)
"""What a user can declare about weights of their own: the harness cannot know it."""

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
DEMO_ADVICE = f"or use --option model={DEMO} (small, synthetic, needs no network)"
"""The last line of the error about weights that cannot be fetched."""

CHECKPOINTS = Path(__file__).parent / "checkpoints"
"""A folder for each system with a demonstration model: weights, model card, loss curve, and `BLEND_FILE`."""

BLEND_FILE = "blend.json"
"""How much of the mixture a demonstration model's stems hold, and how that was chosen: `python -m training blend`."""

ANSWER_SECONDS = 5.0
"""How long a server has to show that it is there. Bounds the wait of a machine without a network."""

STALL_SECONDS = 30.0
"""How long a running download may stand still."""


def refuse_relabelling(model: str, known: str, declared: str | None) -> None:
    """Raise SystemFailure if a user declares that a model was trained on something else than what is known of it."""
    if declared not in (None, known):
        raise SystemFailure(
            f"option training={declared}: {model} is no model of your own, its training data is known ({known})"
        )


def why_not_eligible(repo: Path, declared: str | None) -> str | None:
    """Why the challenge's rules exclude a user's own model, given what the user declares; None if they do not."""
    if declared is None:
        return f"the training data of the model in {repo} is not declared (--option training=...)"
    if TRAINING_DATA[declared] is not None:
        return f"the model in {repo} is declared as {TRAINING_DATA[declared]}"
    return None


def package_version(package: str) -> str:
    """Version of an installed package without importing it, "absent" if it is not installed."""
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return "absent"


# ---- weights --------------------------------------------------------------------------------------------


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


def demo_blend(system: str) -> float:
    """The share of the mixture in each stem that was chosen for a system's demonstration model, 0 to below 1.

    Raises:
        WeightsMissing: the file with it is missing or damaged: the installation is broken.
    """
    path = demo_folder(system, BLEND_FILE) / BLEND_FILE
    try:
        return float(json.loads(path.read_bytes())["blend"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsMissing(f"option model={DEMO}: {path} is damaged: install the harness again") from error


def weights_missing(model: str, problems: Sequence[str], fetch: str, instead: str = DEMO_ADVICE) -> WeightsMissing:
    """The error about published weights that are not here: what is wrong, what to fetch, and what works without.

    Args:
        model: its name.
        problems: why they could not be fetched, one or more: "HOST does not answer", for instance.
        fetch: one line: what to fetch, from where, and where to put it.
        instead: one more line: what works without.
    """
    *others, last = [f"the weights of {model} are not here", *problems]
    wrong = f"{', '.join(others)}, and {last}"
    return WeightsMissing(f"{wrong}\n  {fetch}\n  {instead}")


def host(url: str) -> str:
    """The server in a URL, for messages."""
    return urlsplit(url).netloc or url


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


@contextlib.contextmanager
def quiet_downloads() -> Iterator[None]:
    """Keep huggingface_hub from drawing progress bars."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_off = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            enable_progress_bars()
