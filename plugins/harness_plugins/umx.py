"""Open-Unmix: separation with the `openunmix` package: its published models, one of your own, or the small `demo`.

Sources:
- F.-R. Stöter, S. Uhlich, A. Liutkus and Y. Mitsufuji, "Open-Unmix - A Reference Implementation for Music
  Source Separation", Journal of Open Source Software, 2019 (doi:10.21105/joss.01667).
- https://github.com/sigsep/open-unmix-pytorch: the package; its README says what each model was trained on.
- Weights: `umxhq` doi:10.5281/zenodo.3370489, `umx` doi:10.5281/zenodo.3370486,
  `umxl` doi:10.5281/zenodo.5069601.

Licence of the weights: the README puts the whole package under MIT and singles out `umxl`, whose weights are
"only licensed for non-commercial use (CC BY-NC-SA 4.0)". The demonstration model is ours: checkpoints/umx.
"""

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.systems import (
    STEMS,
    TRAINING_DATA,
    Option,
    Signal,
    System,
    SystemFailure,
    WeightsMissing,
    hookimpl,
)
from harness_plugins.torch_support import (
    DEMO,
    DEMO_LICENCE,
    DEMO_REASON,
    DEMO_TRAINING_DATA,
    DEMO_WAY_OUT,
    DEVICE,
    TRAINING,
    TorchSeparator,
    answers,
    checkpoint_cache,
    choose_device,
    count_parameters,
    demo_folder,
    download,
    one_line,
    package_version,
)


@dataclass(frozen=True)
class Published:
    """A published model: what it was trained on, its licence, and where its weights are."""

    training_data: str
    not_eligible: str | None
    licence: str
    url: str
    files: tuple[str, ...]


PUBLISHED = {
    "umxhq": Published(
        "official",
        None,
        "MIT",
        "https://zenodo.org/records/3370489/files/",
        ("vocals-b62c91ce.pth", "drums-9619578f.pth", "bass-8d85a5bd.pth", "other-b52fbbf7.pth"),
    ),
    # MUSDB18 is MUSDB18-HQ's music, compressed (AAC, up to 16 kHz).
    "umx": Published(
        "official",
        None,
        "MIT",
        "https://zenodo.org/records/3370486/files/",
        ("vocals-c8df74a5.pth", "drums-5a48008b.pth", "bass-646024d3.pth", "other-f8e132cc.pth"),
    ),
    "umxl": Published(
        "private",
        "umxl was trained on a private data set of about 400 hours of music",
        "CC BY-NC-SA 4.0 (non-commercial)",
        "https://zenodo.org/records/5069601/files/",
        ("vocals-bccbd9aa.pth", "drums-69e0ebd4.pth", "bass-2ca1ce51.pth", "other-c8c5b3e6.pth"),
    ),
}
"""The addresses are those in openunmix/__init__.py, where they are out of reach of other code."""

_IMPORT_LOCK = threading.Lock()


def import_openunmix() -> ModuleType:
    """Import openunmix, also where torchaudio is absent or broken.

    openunmix imports torchaudio when it is imported itself, but uses it only to read files, to write them and
    to resample: nothing that separation needs. Where torchaudio does not import, an empty module stands in for
    it while openunmix is imported. It is gone from `sys.modules` afterwards, so that all other code finds
    torchaudio in its true state; the few functions of openunmix that need it say so when called.
    """
    with _IMPORT_LOCK:
        # A broken torchaudio raises what its libraries raise: ImportError, OSError (a missing symbol), ...
        with contextlib.suppress(Exception):
            importlib.import_module("torchaudio")
        if "torchaudio" in sys.modules or "openunmix" in sys.modules:
            return _import_whole_openunmix()
        sys.modules["torchaudio"] = _torchaudio_stand_in()
        try:
            return _import_whole_openunmix()
        finally:
            del sys.modules["torchaudio"]


def _import_whole_openunmix() -> ModuleType:
    """With `openunmix.model`, which the package itself imports only later, inside functions."""
    importlib.import_module("openunmix.model")
    return importlib.import_module("openunmix")


def _torchaudio_stand_in() -> ModuleType:
    stand_in = ModuleType("torchaudio", "Stands in for torchaudio while openunmix is imported.")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)

    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ImportError(f"openunmix needs torchaudio.{name}, but torchaudio does not import here")

    stand_in.__dict__["__getattr__"] = missing
    return stand_in


class OpenUnmix(TorchSeparator):
    """Separates with Open-Unmix: four networks estimate magnitudes, the phase is the mixture's.

    The mixture is not normalised. With `niter` the estimates are refined by so many rounds of a multichannel
    Wiener filter; the challenge's baseline uses none.
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
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._repo: Path | None = self.settings["repo"]
        declared: str | None = self.settings["training"]
        if self._repo is None:
            model = self.settings["model"]
            if model == DEMO:
                self.training_data, self.licence = DEMO_TRAINING_DATA, DEMO_LICENCE
                self._not_eligible: str | None = f"{model} {DEMO_REASON}"
            else:
                published = PUBLISHED[model]
                self.training_data, self.licence = published.training_data, published.licence
                self._not_eligible = published.not_eligible
            if declared not in (None, self.training_data):
                raise SystemFailure(
                    f"option training={declared}: {model} is no model of your own, "
                    f"its training data is known ({self.training_data})"
                )
        else:
            self.training_data, self.licence = declared or "unknown", "unknown"
            self._not_eligible = None
            if declared is None:
                self._not_eligible = (
                    f"the training data of the model in {self._repo} is not declared (--option training=...)"
                )
            elif TRAINING_DATA[declared] is not None:
                self._not_eligible = f"the model in {self._repo} is declared as {TRAINING_DATA[declared]}"

    @property
    def not_eligible(self) -> str | None:
        return self._not_eligible

    # ---- loading ----------------------------------------------------------------------------------------

    def load(self) -> None:
        if importlib.util.find_spec("openunmix") is None:
            raise SystemFailure("the package openunmix is not installed (pip install 'openunmix>=1.3,<2')")
        self._device = choose_device(self.settings["device"])
        if self._repo:
            separator = self._from_repo(self._repo)
        elif self.settings["model"] == DEMO:
            files = [f"{stem}.{ending}" for stem in STEMS for ending in ("json", "pth")]
            separator = self._from_repo(demo_folder(self.name, "separator.json", *files))
        else:
            separator = self._from_zenodo()
        # Also puts the networks into evaluation mode, which openunmix leaves to the caller for local models:
        # with batch statistics and dropout alive the output would be random.
        separator.freeze()
        self._model = separator.to(self._device)
        rate = float(separator.sample_rate)
        self._model_rate = rate

    def _from_zenodo(self) -> Any:
        name = self.settings["model"]
        published = PUBLISHED[name]
        cache = checkpoint_cache()
        missing = [file for file in published.files if not (cache / file).is_file()]
        problem = ""
        if missing and not answers(published.url):
            problem = "zenodo.org does not answer"
        elif missing:
            try:
                for file in missing:
                    download(published.url + file, cache / file)
            except (OSError, RuntimeError) as error:
                problem = one_line(error)
        if problem:
            urls = " ".join(published.url + file for file in missing)
            raise WeightsMissing(
                f"the weights of {name} are not here and could not be fetched ({problem}): "
                f"fetch {urls} and put them into {cache}{DEMO_WAY_OUT}"
            )
        openunmix = import_openunmix()
        with _explaining(f"{cache} holds {', '.join(published.files)}; delete them to fetch them again"):
            return getattr(openunmix, name)(
                targets=list(STEMS),
                niter=self.settings["niter"],
                residual=False,
                device="cpu",
                pretrained=True,
            )

    def _from_repo(self, repo: Path) -> Any:
        """A model in a folder, as openunmix's training writes it.

        `openunmix.utils.load_separator` is not used: it takes any file that begins with the target's name,
        lets weights that a file lacks stay random, and builds bidirectional networks only.
        """
        if not repo.is_dir():
            raise SystemFailure(f"option repo={repo}: no such folder")
        weights = {stem: sorted({*repo.glob(f"{stem}.pth"), *repo.glob(f"{stem}-*.pth")}) for stem in STEMS}
        missing = [
            file for file in ["separator.json", *(f"{stem}.json" for stem in STEMS)] if not (repo / file).is_file()
        ]
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
        targets = {stem: self._target(model, repo / f"{stem}.json", weights[stem][0], encoder) for stem in STEMS}
        with _explaining(str(repo / "separator.json")):
            return model.Separator(
                target_models=targets,
                niter=self.settings["niter"],
                sample_rate=encoder["sample_rate"],
                n_fft=encoder["nfft"],
                n_hop=encoder["nhop"],
                nb_channels=encoder["nb_channels"],
            )

    @staticmethod
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

    # ---- the loaded model -------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Number of learned parameters of the four networks; 0 until they are loaded.

        The window of the Fourier transform, which openunmix keeps as a parameter too, is not learned.
        """
        return count_parameters(self._model.target_models) if self._model is not None else 0

    def _description(self) -> str:
        return json.dumps([list(self._model.target_models), self._model.stft.n_fft, self._model.stft.n_hop])

    def _estimate(self, mixture: Signal) -> Mapping[str, Signal]:
        import torch

        audio = torch.from_numpy(np.ascontiguousarray(mixture.T, dtype=np.float32)).to(self._device)
        with torch.no_grad():
            estimates = self._model(audio[None])[0].cpu().double().numpy()
        return {stem: estimate.T for stem, estimate in zip(self._model.target_models, estimates, strict=True)}


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


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(OpenUnmix)
