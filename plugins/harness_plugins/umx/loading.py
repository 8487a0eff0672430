"""Loading Open-Unmix models: from torch.hub's cache, Zenodo, or a folder as openunmix's training writes it."""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.systems import STEMS, SystemFailure, WeightsMissing
from harness.systems.torch import one_line
from harness_plugins.torch_support import answers, checkpoint_cache, download, host, weights_missing
from harness_plugins.umx.importing import import_openunmix
from harness_plugins.umx.published import PUBLISHED


def load_published(name: str, niter: int) -> Any:
    """A published model, from torch.hub's cache if it is there, else fetched from Zenodo.

    Args:
        name: in `PUBLISHED`.
        niter: rounds of the Wiener filter.

    Raises:
        WeightsMissing: its weights are not here and could not be fetched.
        SystemFailure: they cannot be loaded.
    """
    published = PUBLISHED[name]
    cache = checkpoint_cache()
    missing = [file for file in published.files if not (cache / file).is_file()]
    problem = ""
    if missing and not answers(published.url):
        problem = f"{host(published.url)} does not answer"
    elif missing:
        try:
            for file in missing:
                download(published.url + file, cache / file)
        except (OSError, RuntimeError) as error:
            problem = f"{host(published.url)} fails ({one_line(error)})"
    if problem:
        raise weights_missing(name, [problem], f"fetch {' '.join(missing)} from {published.url} into {cache}")
    openunmix = import_openunmix()
    with _explaining(f"{cache} holds {', '.join(published.files)}; delete them to fetch them again"):
        return getattr(openunmix, name)(
            targets=list(STEMS),
            niter=niter,
            residual=False,
            device="cpu",
            pretrained=True,
        )


def load_local(repo: Path, niter: int) -> Any:
    """A model in a folder, as openunmix's training writes it.

    `openunmix.utils.load_separator` is not used: it takes any file that begins with the target's name,
    lets weights that a file lacks stay random, and builds bidirectional networks only.

    Args:
        repo: the folder: separator.json, and STEM.json and STEM.pth for each stem.
        niter: rounds of the Wiener filter.

    Raises:
        WeightsMissing: a file is missing in it.
        SystemFailure: a file is damaged, or they do not fit together.
    """
    if not repo.is_dir():
        raise SystemFailure(f"option repo={repo}: no such folder")
    weights = {stem: sorted({*repo.glob(f"{stem}.pth"), *repo.glob(f"{stem}-*.pth")}) for stem in STEMS}
    missing = [file for file in ["separator.json", *(f"{stem}.json" for stem in STEMS)] if not (repo / file).is_file()]
    missing += [f"{stem}.pth or {stem}-*.pth" for stem, paths in weights.items() if not paths]
    if missing:
        raise WeightsMissing(f"option repo={repo}: {', '.join(missing)} missing in it")
    for paths in weights.values():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise SystemFailure(f"option repo={repo}: which of {names}? Keep one")
    encoder = _read_numbers(repo / "separator.json", None, ("sample_rate", "nfft", "nhop", "nb_channels"))
    if encoder["nb_channels"] != 2:
        raise SystemFailure(f"{repo / 'separator.json'}: nb_channels is {encoder['nb_channels']}, expected 2")
    model = import_openunmix().model
    targets = {stem: _target(model, repo / f"{stem}.json", weights[stem][0], encoder) for stem in STEMS}
    with _explaining(str(repo / "separator.json")):
        return model.Separator(
            target_models=targets,
            niter=niter,
            sample_rate=encoder["sample_rate"],
            n_fft=encoder["nfft"],
            n_hop=encoder["nhop"],
            nb_channels=encoder["nb_channels"],
        )


def _target(model: Any, description: Path, path: Path, encoder: Mapping[str, Any]) -> Any:
    """The network of one stem."""
    import torch

    arguments = _read_numbers(description, "args", ("nfft", "nb_channels", "hidden_size"))
    for key in ("nfft", "nb_channels"):
        if arguments[key] != encoder[key]:
            raise SystemFailure(f"{description}: {key} is {arguments[key]}, but {encoder[key]} in separator.json")
    with _explaining(str(path)):
        # A file of tensors: unlike demucs' checkpoints it needs no code of its own to be loaded.
        state = torch.load(path, map_location="cpu", weights_only=True)
        network = model.OpenUnmix(
            nb_bins=arguments["nfft"] // 2 + 1,
            nb_channels=arguments["nb_channels"],
            hidden_size=arguments["hidden_size"],
            unidirectional=bool(arguments.get("unidirectional", False)),
            max_bin=state["input_mean"].shape[0],
        )
        # Older files carry windows that are computed today, so more entries than needed are no error.
        absent = network.load_state_dict(state, strict=False).missing_keys
    absent = [key for key in absent if not key.endswith("num_batches_tracked")]
    if absent:
        raise SystemFailure(f"{path}: weights missing in it: {', '.join(absent)}")
    return network


@contextlib.contextmanager
def _explaining(where: str) -> Iterator[None]:
    """Turn whatever goes wrong while weights are loaded into one line."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    except SystemFailure:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise SystemFailure(
            f"the Open-Unmix model cannot be loaded ({one_line(error)}): is a file damaged? Look at {where}"
        ) from error


def _read_numbers(path: Path, section: str | None, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read a JSON file (or a section of it) that holds positive numbers under `keys`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemFailure(f"{path} cannot be read as JSON ({one_line(error)})") from error
    values: Any = content.get(section) if section and isinstance(content, dict) else content
    for key in keys:
        value = values.get(key) if isinstance(values, dict) else None
        whole = key != "sample_rate"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or value <= 0:
            where = f"{section}.{key}" if section else key
            kind = "whole number" if whole else "number"
            raise SystemFailure(f"{path}: expected a positive {kind} as {where}, found {value!r}")
    return dict(values)
