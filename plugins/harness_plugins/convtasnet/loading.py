"""Loading a Conv-TasNet: from a folder, this machine's cache, or the Hugging Face hub."""

from pathlib import Path
from typing import Any

from harness.systems import SystemFailure, WeightsMissing
from harness.systems.torch import load_checkpoint, one_line
from harness_plugins.convtasnet.configuration import read_configuration
from harness_plugins.torch_support import answers, host, hushed, quiet_downloads, weights_missing

FILES = ("config.json", "model.safetensors")

REPOSITORY = "cadenzachallenge/ConvTasNet_Lyrics_Causal"
"""On the Hugging Face hub. The recipe's code calls it ConvTasNet_LyricsSeparation_Causal, as it was named first."""

REVISION = "da3a87dbaa7c814b886d9aa0d1b8c0390f68eaa8"
"""The commit that put these two files there, in May 2024; later ones changed the README only. So nobody can change what
is loaded by changing the repository."""


def load_published() -> Any:
    """The published network, from the hub's cache if it is there, so that no network is needed, else fetched.

    Raises:
        WeightsMissing: it is not here and could not be fetched.
        SystemFailure: it cannot be loaded.
    """
    from huggingface_hub import constants

    found, problem = _files(cached=True), ""
    if found is None and constants.HF_HUB_OFFLINE:
        problem = "HF_HUB_OFFLINE is set"
    elif found is None and not answers(constants.ENDPOINT):
        problem = f"{host(constants.ENDPOINT)} does not answer"
    elif found is None:
        try:
            found = _files(cached=False)
        except Exception as error:  # whatever the hub's client and its HTTP library may raise
            problem = f"{host(constants.ENDPOINT)} fails ({one_line(error)})"
    if found is None:
        raise weights_missing(
            REPOSITORY,
            [problem],
            f"fetch {' '.join(FILES)} from {constants.ENDPOINT}/{REPOSITORY}/tree/{REVISION}",
            "into a folder of their own, and use --option repo=FOLDER --option training=official",
        )
    return _loaded(*found)


def load_local(repo: Path) -> Any:
    """The network in a folder: config.json and model.safetensors, as the hub has them.

    Raises:
        WeightsMissing: a file is missing in it.
        SystemFailure: there is no such folder, a file is damaged, or they do not fit together.
    """
    if not repo.is_dir():
        raise SystemFailure(f"option repo={repo}: no such folder")
    missing = [file for file in FILES if not (repo / file).is_file()]
    if missing:
        raise WeightsMissing(f"option repo={repo}: {', '.join(missing)} missing in it")
    return _loaded(*(repo / file for file in FILES))


def _files(*, cached: bool) -> list[Path] | None:
    """The published files, in the hub's cache; None if `cached` and they are not."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with hushed("huggingface_hub"), quiet_downloads():
        try:
            return [
                Path(hf_hub_download(REPOSITORY, file, revision=REVISION, local_files_only=cached)) for file in FILES
            ]
        except LocalEntryNotFoundError:
            if cached:
                return None
            raise


def _loaded(configuration: Path, weights: Path) -> Any:
    from harness_plugins.convtasnet.network import Network

    described = read_configuration(configuration)
    # Before anything of that size is allocated. Two bytes: half precision.
    if 2 * described.parameters > weights.stat().st_size:
        raise SystemFailure(
            f"{configuration} describes a network of {described.parameters} parameters, more than {weights} can hold: "
            "do they belong together?"
        )
    # Safetensors hold numbers and names: nothing in the file is run.
    return load_checkpoint(Network(described), weights)
