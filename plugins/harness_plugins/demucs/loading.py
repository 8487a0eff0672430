"""Loading demucs models: from a folder, this machine's caches, the Hugging Face hub or demucs' server."""

import contextlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.systems import SystemFailure
from harness.systems.torch import one_line
from harness_plugins.demucs.published import (
    HUB_OWNER,
    PUBLISHED,
    Checkpoint,
    catalogue,
    owner_and_name,
    read_bag,
)
from harness_plugins.torch_support import (
    answers,
    checkpoint_cache,
    download,
    host,
    hushed,
    quiet_downloads,
    weights_missing,
)

_NEEDS_DIFFQ = "has quantized weights, which need the package diffq: pip install 'demucs[quantized]'"


def load_local(name: str, repo: Path) -> Any:
    """A model in a folder in the format of demucs' LocalRepo. Its checkpoints are programs: they are run.

    Raises:
        SystemFailure: it cannot be loaded.
    """
    # demucs gives this name a model with random weights, without looking into the folder.
    if name == "demucs_unittest":
        raise SystemFailure("option model=demucs_unittest: demucs reserves this name, rename the model")
    with _explaining(name, f"the checkpoints in {repo}"):
        from demucs.pretrained import get_model

        return get_model(name, repo=repo)


def load_published(name: str) -> Any:
    """A published model: from the caches if it is there, so that no network is needed, else fetched.

    `demucs.pretrained.get_model` asks the hub first, even for what is cached, and without a network
    repeats each question for half a minute. Beyond that the order is its own: hub, then demucs' server.

    Args:
        name: of a model, its signature, or `hf://[OWNER/]NAME`.

    Raises:
        WeightsMissing: they are not here and could not be fetched.
        SystemFailure: they cannot be loaded.
    """
    return _Source(name).load()


@dataclass(frozen=True)
class _Weights:
    """Files of a model in the order of its bag; `bag` is None if it is a single checkpoint."""

    files: list[Path]
    bag: Mapping[str, Any] | None


class _Source:
    """Where the files of one published model are.

    Attributes:
        name: as the user gave it.
        checkpoints: its files on demucs' server, in the order of its bag; [] for a stranger's on the hub.
        hub: repository and bag name on the Hugging Face hub; None for single signatures: it has none.
        problems: why the files could not be fetched.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        owner, short = owner_and_name(name)
        published = catalogue()
        self.checkpoints: list[Checkpoint] = []
        if owner == HUB_OWNER:
            signatures = published.bags[short]["models"] if short in published.bags else [short]
            self.checkpoints = [published.checkpoints[s] for s in signatures if s in published.checkpoints]
        self.bag = published.bags.get(short)
        self.hub: tuple[str, str] | None = None
        if name not in published.checkpoints:
            from demucs.hf import hf_repo_name

            self.hub = f"{owner}/{hf_repo_name(short)}", short
        self.problems: list[str] = []

    def load(self) -> Any:
        self._require_diffq()
        weights = (
            self._on_hub(cached=True)
            or self._on_server(cached=True)
            or self._on_hub(cached=False)
            or self._on_server(cached=False)
        )
        if weights is None:
            raise weights_missing(self.name, self.problems, self._how_to_fetch())
        what = "its weights, " + ", ".join(str(path) for path in dict.fromkeys(weights.files))
        with _explaining(self.name, what):
            from demucs.apply import BagOfModels
            from demucs.hf import load_safetensors_model
            from demucs.repo import check_checksum
            from demucs.states import load_model

            models = []
            for path in weights.files:
                if path.suffix == ".safetensors":
                    models.append(load_safetensors_model(path))
                else:
                    # Before it is unpickled, and also if it was cached: torch.hub checks new files only.
                    check_checksum(path, path.stem.rsplit("-", 1)[1])
                    models.append(load_model(path))
            if weights.bag is None:
                return models[0]
            return BagOfModels(models, weights.bag.get("weights"), weights.bag.get("segment"))

    def _on_hub(self, *, cached: bool) -> _Weights | None:
        """The model's files on the Hugging Face hub, or in its cache on this machine if `cached`."""
        if self.hub is None:
            return None
        from huggingface_hub import constants, hf_hub_download

        if not cached:
            if constants.HF_HUB_OFFLINE:
                self.problems.append("HF_HUB_OFFLINE is set")
                return None
            if not answers(constants.ENDPOINT):
                self.problems.append(f"{host(constants.ENDPOINT)} does not answer")
                return None
        repo_id, short = self.hub
        try:
            with hushed("huggingface_hub"), quiet_downloads():
                bag = read_bag(Path(hf_hub_download(repo_id, f"{short}.yaml", local_files_only=cached)))
                files = [
                    Path(hf_hub_download(repo_id, f"{signature}.safetensors", local_files_only=cached))
                    for signature in bag["models"]
                ]
        except SystemFailure:
            raise
        except Exception as error:  # whatever the hub's client and its HTTP library may raise
            if not cached:
                self.problems.append(f"{host(constants.ENDPOINT)} fails ({one_line(error)})")
            return None
        return _Weights(files, bag)

    def _on_server(self, *, cached: bool) -> _Weights | None:
        """The model's original checkpoints on demucs' server, or in torch.hub's cache if `cached`."""
        if not self.checkpoints:
            return None
        paths = [checkpoint_cache() / checkpoint.file for checkpoint in self.checkpoints]
        missing = {path: point for path, point in zip(paths, self.checkpoints, strict=True) if not path.is_file()}
        if missing and cached:
            return None
        if missing and not answers(_server()):
            self.problems.append(f"{host(_server())} does not answer")
            return None
        try:
            for path, checkpoint in missing.items():
                download(_server() + checkpoint.folder + checkpoint.file, path, checkpoint.checksum)
        except (OSError, RuntimeError) as error:
            self.problems.append(f"{host(_server())} fails ({one_line(error)})")
            return None
        return _Weights(paths, self.bag)

    def _how_to_fetch(self) -> str:
        """One line: what to fetch, from where, and where to put it."""
        checkpoints = dict.fromkeys(self.checkpoints)
        if not checkpoints and self.hub:
            return f"run `hf download {self.hub[0]}` on a machine with a network and copy its cache here"
        cache = checkpoint_cache()
        missing = [point for point in checkpoints if not (cache / point.file).is_file()]
        line = f"fetch {' '.join(point.file for point in missing)} from {_server()}{missing[0].folder}"
        if self.hub:
            line += f" (or: hf download {self.hub[0]})"
        return f"{line} into {cache}"

    def _require_diffq(self) -> None:
        """Fail before a large download if the model is known to be quantized and cannot be unpacked."""
        names = {owner_and_name(self.name)[1], *(point.model for point in self.checkpoints)}
        quantized = any(name in PUBLISHED and name.endswith("_q") for name in names)
        if quantized and importlib.util.find_spec("diffq") is None:
            raise SystemFailure(f"{self.name} {_NEEDS_DIFFQ}")


@contextlib.contextmanager
def _explaining(name: str, what: str) -> Iterator[None]:
    """Turn whatever goes wrong while weights are loaded into one line; demucs may even call sys.exit."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemFailure:
        raise
    except (SystemExit, ImportError) as error:
        reason = said.getvalue() + str(error)
        if "diffq" in reason.lower():
            raise SystemFailure(f"{name} {_NEEDS_DIFFQ}") from error
        raise SystemFailure(f"model {name} cannot be loaded: {' '.join(reason.split())}") from error
    except Exception as error:  # unpickling runs anything
        raise SystemFailure(
            f"model {name} cannot be loaded ({one_line(error)}): "
            f"is it damaged, or not a demucs checkpoint? Look at {what}"
        ) from error


def _server() -> str:
    """Address of demucs' own server, with a slash at the end."""
    from demucs.pretrained import ROOT_URL

    return str(ROOT_URL)
