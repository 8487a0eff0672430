"""Demucs: separation with the `demucs` package: its published models, checkpoints of your own, or the small `demo`.

Sources:
- A. Défossez, "Hybrid Spectrogram and Waveform Source Separation", MDX workshop at ISMIR 2021
  (arXiv:2111.03600): Demucs v3, the models `mdx*`, `hdemucs_mmi` and `repro_mdx_a*`.
- S. Rouard, F. Massa and A. Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023
  (arXiv:2211.08553): the models `htdemucs*`.
- https://github.com/adefossez/demucs: the package; its README and docs/training.md say what each model was
  trained on. `mdx` won track A (MUSDB18-HQ only) of the Music Demixing Challenge 2021.

Licence of the published weights: the package is MIT. Its author wrote in 2022 that the original checkpoints
are not under that licence but "only for scientific purposes" (facebookresearch/demucs, issue 327); the model
cards that tools/export_hf.py makes for his copies on the Hugging Face hub say MIT. `licence` says both.

Training data is known per checkpoint, not per name: a checkpoint is a published one if its signature and
checksum are those of the list that demucs ships. So a bag of one's own made of published checkpoints has the
training data of the worst of them, and a folder called `mdx` with other files in it has not that of `mdx`.
The same holds for the demonstration model, which is a checkpoint of ours in plugins/harness_plugins/checkpoints/demucs.
"""

import contextlib
import functools
import hashlib
import importlib.util
import io
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
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
    hushed,
    one_line,
    package_version,
    state_sha256,
)

PUBLISHED = {
    "mdx": "official",
    "mdx_q": "official",
    "repro_mdx_a": "official",
    "repro_mdx_a_hybrid_only": "official",
    "repro_mdx_a_time_only": "official",
    "mdx_extra": "evaluation data",
    "mdx_extra_q": "evaluation data",
    "htdemucs": "private",
    "htdemucs_ft": "private",
    "htdemucs_6s": "private",
    "hdemucs_mmi": "private",
}
"""What each model that demucs publishes was trained on (its README and docs/training.md)."""

REASONS = {
    "private": "was trained on 800 songs outside the challenge's data",
    "evaluation data": "was trained on MUSDB18's test set, the evaluation music itself",
    DEMO_TRAINING_DATA: DEMO_REASON,
}
"""Why a checkpoint that is known by its checksum is not eligible."""

WORST_FIRST = (
    "evaluation data",
    "private",
    "unknown",
    "synthetic",
    "official + supplementation",
    "official + augmentation",
    "official",
)

LICENCE = "MIT by its Hugging Face card; original files for scientific purposes only (facebookresearch/demucs#327)"

STEM_OF = {**{stem: stem for stem in STEMS}, "guitar": "other", "piano": "other"}
"""To which stem each source that a demucs model may have belongs."""

HUB = "hf://"
HUB_OWNER = "adefossez"

# `demucs.apply` takes its random shifts from Python's global generator.
_RANDOM_LOCK = threading.Lock()


@dataclass(frozen=True)
class Checkpoint:
    """One published file: `SIGNATURE-CHECKSUM.th` in a folder of demucs' server."""

    file: str
    folder: str
    model: str

    @property
    def checksum(self) -> str:
        return Path(self.file).stem.rsplit("-", 1)[1]


@dataclass(frozen=True)
class Part:
    """What is known of a model or of one checkpoint of it; `label` is None if only the user can know."""

    what: str
    label: str | None


@dataclass(frozen=True)
class Weights:
    """Files of a model in the order of its bag; `bag` is None if it is a single checkpoint."""

    files: list[Path]
    bag: Mapping[str, Any] | None


@dataclass(frozen=True)
class Catalogue:
    """What demucs publishes, as listed in the package's `remote` folder.

    Attributes:
        folder: the `remote` folder.
        bags: for each named model the content of its yaml file: "models" (signatures), "weights", "segment".
        checkpoints: by signature.
    """

    folder: Path
    bags: Mapping[str, Mapping[str, Any]]
    checkpoints: Mapping[str, Checkpoint]


@functools.cache
def catalogue() -> Catalogue:
    """Read demucs' lists without importing it, which would import torch."""
    spec = importlib.util.find_spec("demucs")
    if spec is None or not spec.submodule_search_locations:
        raise SystemFailure("the package demucs is not installed (pip install 'demucs>=4.1,<5')")
    folder = Path(spec.submodule_search_locations[0]) / "remote"
    bags = {path.stem: _read_bag(path) for path in sorted(folder.glob("*.yaml"))}
    models = {signature: name for name, bag in bags.items() for signature in bag["models"]}
    checkpoints = {}
    server_folder = ""
    for line in (folder / "files.txt").read_text(encoding="utf-8").splitlines():
        entry = line.strip()
        if entry.startswith("root:"):
            server_folder = entry.removeprefix("root:").strip()
        elif entry and not entry.startswith("#"):
            signature = entry.split("-", 1)[0]
            checkpoints[signature] = Checkpoint(entry, server_folder, models.get(signature, ""))
    return Catalogue(folder, bags, checkpoints)


def _read_bag(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        bag = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SystemFailure(f"{path} cannot be read as yaml ({one_line(error)})") from error
    signatures = bag.get("models") if isinstance(bag, dict) else None
    if not isinstance(signatures, list) or not signatures or not all(isinstance(s, str) for s in signatures):
        raise SystemFailure(f"{path}: expected a key 'models' with a list of signatures in quotes")
    return dict(bag)


def local_signatures(repo: Path) -> dict[str, Path]:
    """The checkpoints in a folder by signature, named as demucs' LocalRepo names them."""
    files: dict[str, Path] = {}
    for path in sorted(repo.glob("*.th")):
        signature = path.stem.rsplit("-", 1)[0]
        if signature in files:
            raise SystemFailure(f"{repo} holds two checkpoints {signature}: {files[signature].name}, {path.name}")
        files[signature] = path
    return files


class Demucs(TorchSeparator):
    """Separates with a model of the demucs package, as the challenge's baseline does with Hybrid Demucs.

    The mixture is normalised by mean and standard deviation of its mono mix, separated in overlapping
    segments and scaled back. Sources are taken by name; guitar and piano of six-source models are added to
    "other".
    """

    name = "demucs"
    version = f"1+demucs{package_version('demucs')}"
    summary = "Hybrid Demucs and its relatives, with the demucs package"
    training_data = PUBLISHED["mdx"]
    licence = LICENCE
    more_memory = "use a shorter --option segment=SECONDS or --option device=cpu"
    options = (
        Option(
            "model",
            str,
            "mdx",
            "a name or signature that demucs knows, hf://[OWNER/]NAME, a name in the folder given by repo, "
            "or demo: small, trained on synthetic music, needs no network",
        ),
        Option(
            "repo",
            Path,
            None,
            "folder of local checkpoints (demucs' LocalRepo format); "
            "loading one runs code in it: only load checkpoints you trust",
        ),
        TRAINING,
        DEVICE,
        Option("segment", float, None, "seconds of music at a time; by default the model's own", minimum=0.5),
        Option("overlap", float, 0.25, "share of a segment that overlaps the next", minimum=0, maximum=0.99),
        Option("shifts", int, 0, "average over so many shifts in time; each costs a whole pass", 0, 20),
        Option(
            "consistent",
            bool,
            None,
            "make the stems add up to the mixture: share out what they leave of it (by default for model=demo only)",
        ),
    )

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._model_name: str = self.settings["model"]
        self._repo: Path | None = self.settings["repo"]
        demo = self._repo is None and self._model_name == DEMO
        self._consistent: bool = demo if self.settings["consistent"] is None else self.settings["consistent"]
        if demo:
            self._repo = demo_folder(self.name, f"{DEMO}-*.th")
        self._parts = self._find_local_parts(self._repo) if self._repo else self._find_published_parts()
        self.training_data, self._not_eligible = self._judge()
        if any(part.label is None for part in self._parts):
            self.licence = "unknown"
        elif all(part.label == DEMO_TRAINING_DATA for part in self._parts):
            self.licence = DEMO_LICENCE

    # ---- what was it trained on? ------------------------------------------------------------------------

    def _find_published_parts(self) -> list[Part]:
        name = self._model_name
        if name.startswith(HUB):
            owner, _, short = name.removeprefix(HUB).rpartition("/")
            known = (owner or HUB_OWNER) == HUB_OWNER and short in PUBLISHED
            return [Part(name, PUBLISHED[short] if known else None)]
        known_to_demucs = catalogue()
        if name in known_to_demucs.bags:
            return [Part(name, PUBLISHED.get(name))]
        if name in known_to_demucs.checkpoints:
            return [self._part_of(name, known_to_demucs.checkpoints[name].file)]
        names = ", ".join(sorted(known_to_demucs.bags))
        raise SystemFailure(
            f"option model={name}: demucs publishes no such model (names: {names}; single signatures; "
            f"hf://[OWNER/]NAME for others on the Hugging Face hub; --option repo=DIR for your own; {DEMO})"
        )

    def _find_local_parts(self, repo: Path) -> list[Part]:
        name = self._model_name
        if not repo.is_dir():
            raise SystemFailure(f"option repo={repo}: no such folder")
        files = local_signatures(repo)
        bag_file = repo / f"{name}.yaml"
        if name in files:
            signatures = [name]
        elif bag_file.is_file():
            signatures = list(_read_bag(bag_file)["models"])
        else:
            found = ", ".join(sorted({*files, *(path.stem for path in repo.glob("*.yaml"))})) or "nothing"
            raise WeightsMissing(
                f"option repo={repo}: no model {name} in it, neither {name}.yaml nor {name}.th nor "
                f"{name}-CHECKSUM.th (found: {found}); choose one with --option model=NAME"
            )
        missing = [signature for signature in signatures if signature not in files]
        if missing:
            wanted = ", ".join(f"{signature}-CHECKSUM.th" for signature in dict.fromkeys(missing))
            raise WeightsMissing(f"{bag_file} needs {wanted}, expected beside it")
        return [self._part_of(signature, files[signature].name) for signature in dict.fromkeys(signatures)]

    @staticmethod
    def _part_of(signature: str, file: str) -> Part:
        """A checkpoint with a published file name is that one: demucs verifies the checksum in the name."""
        if signature == DEMO and file in (path.name for path in demo_folder("demucs").glob(f"{DEMO}-*.th")):
            return Part(DEMO, DEMO_TRAINING_DATA)
        published = catalogue().checkpoints.get(signature)
        if published is None or published.file != file:
            return Part(f"checkpoint {file}", None)
        return Part(f"checkpoint {signature} of {published.model}", PUBLISHED.get(published.model))

    def _judge(self) -> tuple[str, str | None]:
        """Training data of the whole model, and why it is not eligible."""
        declared: str | None = self.settings["training"]
        labels = [(part.label or declared or "unknown", part) for part in self._parts]
        label, part = min(labels, key=lambda item: WORST_FIRST.index(item[0]))
        if declared and declared != label and all(part.label for part in self._parts):
            raise SystemFailure(
                f"option training={declared}: {self._model_name} is no model of your own, "
                f"its training data is known ({label})"
            )
        if TRAINING_DATA[label] is None:
            return label, None
        if part.label:
            return label, f"{part.what} {REASONS[label]}"
        if declared:
            return label, f"{part.what} is declared as {TRAINING_DATA[label]}"
        return label, f"the training data of {part.what} is not declared (--option training=...)"

    @property
    def not_eligible(self) -> str | None:
        return self._not_eligible

    # ---- loading ----------------------------------------------------------------------------------------

    def load(self) -> None:
        self._device = choose_device(self.settings["device"])
        model = self._from_repo(self._repo) if self._repo else self._from_demucs()
        self._check(model)
        model.eval()
        model.requires_grad_(False)
        self._model = model
        self._model_rate = model.samplerate

    def _from_repo(self, repo: Path) -> Any:
        # demucs gives this name a model with random weights, without looking into the folder.
        if self._model_name == "demucs_unittest":
            raise SystemFailure("option model=demucs_unittest: demucs reserves this name, rename the model")
        with self._explaining(f"the checkpoints in {repo}"):
            from demucs.pretrained import get_model

            return get_model(self._model_name, repo=repo)

    def _from_demucs(self) -> Any:
        """A published model: from the caches if it is there, so that no network is needed, else fetched.

        `demucs.pretrained.get_model` asks the hub first, even for what is cached, and without a network
        repeats each question for half a minute. Beyond that the order is its own: hub, then demucs' server.
        """
        self._require_diffq()
        problems: list[str] = []
        weights = (
            self._on_hub(problems, cached=True)
            or self._on_server(problems, cached=True)
            or self._on_hub(problems, cached=False)
            or self._on_server(problems, cached=False)
        )
        if weights is None:
            raise WeightsMissing(self._how_to_fetch(problems))
        with self._explaining("its weights, " + ", ".join(str(path) for path in dict.fromkeys(weights.files))):
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

    def _hub_repository(self) -> tuple[str, str] | None:
        """Repository and bag name on the Hugging Face hub; None for single signatures: it has none."""
        if self._model_name in catalogue().checkpoints:
            return None
        from demucs.hf import hf_repo_name

        owner, _, short = self._model_name.removeprefix(HUB).rpartition("/")
        return f"{owner or HUB_OWNER}/{hf_repo_name(short)}", short

    def _on_hub(self, problems: list[str], *, cached: bool) -> Weights | None:
        """The model's files on the Hugging Face hub, or in its cache on this machine if `cached`."""
        repository = self._hub_repository()
        if repository is None:
            return None
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )

        if not cached:
            if constants.HF_HUB_OFFLINE:
                problems.append("HF_HUB_OFFLINE is set")
                return None
            if not answers(constants.ENDPOINT):
                problems.append(f"{constants.ENDPOINT} does not answer")
                return None
        bars_were_off = are_progress_bars_disabled()
        disable_progress_bars()
        try:
            with hushed("huggingface_hub"):
                repo_id, short = repository
                bag = _read_bag(Path(hf_hub_download(repo_id, f"{short}.yaml", local_files_only=cached)))
                files = [
                    Path(hf_hub_download(repo_id, f"{signature}.safetensors", local_files_only=cached))
                    for signature in bag["models"]
                ]
        except SystemFailure:
            raise
        except Exception as error:  # whatever the hub's client and its HTTP library may raise
            if not cached:
                problems.append(f"{constants.ENDPOINT}/{repository[0]}: {one_line(error)}")
            return None
        finally:
            if not bars_were_off:
                enable_progress_bars()
        return Weights(files, bag)

    def _published_checkpoints(self) -> list[Checkpoint]:
        """The checkpoints of a published model in the order of its bag; [] for a stranger's on the hub."""
        published = catalogue()
        owner, _, short = self._model_name.removeprefix(HUB).rpartition("/")
        if (owner or HUB_OWNER) != HUB_OWNER:
            return []
        signatures = published.bags[short]["models"] if short in published.bags else [short]
        return [published.checkpoints[s] for s in signatures if s in published.checkpoints]

    def _on_server(self, problems: list[str], *, cached: bool) -> Weights | None:
        """The model's original checkpoints on demucs' server, or in torch.hub's cache if `cached`."""
        checkpoints = self._published_checkpoints()
        if not checkpoints:
            return None
        paths = [checkpoint_cache() / checkpoint.file for checkpoint in checkpoints]
        missing = {path: point for path, point in zip(paths, checkpoints, strict=True) if not path.is_file()}
        if missing and cached:
            return None
        if missing and not answers(_server()):
            problems.append(f"{_server()} does not answer")
            return None
        try:
            for path, checkpoint in missing.items():
                download(_server() + checkpoint.folder + checkpoint.file, path, checkpoint.checksum)
        except (OSError, RuntimeError) as error:
            problems.append(f"{_server()}: {one_line(error)}")
            return None
        return Weights(paths, catalogue().bags.get(self._model_name.removeprefix(HUB).rpartition("/")[2]))

    def _how_to_fetch(self, problems: list[str]) -> str:
        """One line: what to fetch, from where, and where to put it."""
        line = f"the weights of {self._model_name} are not here and could not be fetched ({'; '.join(problems)})"
        repository = self._hub_repository()
        checkpoints = dict.fromkeys(self._published_checkpoints())
        if not checkpoints and repository:
            line += f": run `hf download {repository[0]}` on a machine with a network, copy its cache here"
            return line + DEMO_WAY_OUT
        cache = checkpoint_cache()
        missing = [point for point in checkpoints if not (cache / point.file).is_file()]
        files = " ".join(point.file for point in missing)
        line += f": fetch {files} from {_server()}{missing[0].folder}"
        if repository:
            line += f" (or `hf download {repository[0]}`)"
        line += f" and put them into {cache}"
        short = self._model_name.removeprefix(HUB).rpartition("/")[2]
        line += ", or into a folder DIR"
        if short in catalogue().bags:
            line += f" beside a copy of {catalogue().folder / short}.yaml"
        return f"{line} and use --option model={short} --option repo=DIR{DEMO_WAY_OUT}"

    def _require_diffq(self) -> None:
        """Fail before a large download if the model is known to be quantized and cannot be unpacked."""
        names = {self._model_name.removeprefix(HUB).rpartition("/")[2]}
        names.update(point.model for point in self._published_checkpoints())
        quantized = any(name in PUBLISHED and name.endswith("_q") for name in names)
        if quantized and importlib.util.find_spec("diffq") is None:
            raise SystemFailure(f"{self._model_name} {_NEEDS_DIFFQ}")

    @contextlib.contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
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
                raise SystemFailure(f"{self._model_name} {_NEEDS_DIFFQ}") from error
            raise SystemFailure(f"model {self._model_name} cannot be loaded: {' '.join(reason.split())}") from error
        except Exception as error:  # unpickling runs anything
            raise SystemFailure(
                f"model {self._model_name} cannot be loaded ({one_line(error)}): "
                f"is it damaged, or not a demucs checkpoint? Look at {what}"
            ) from error

    def _check(self, model: Any) -> None:
        """Refuse a model that cannot give the four stems of stereo music, or not with these settings."""
        from demucs.htdemucs import HTDemucs

        name, sources = self._model_name, list(model.sources)
        lacking = [stem for stem in STEMS if stem not in sources]
        strange = [source for source in sources if source not in STEM_OF]
        if lacking or strange or len(set(sources)) != len(sources):
            raise SystemFailure(
                f"model {name} separates into {', '.join(sources)}; "
                f"expected {', '.join(STEMS)}, and at most guitar and piano beside them"
            )
        if model.audio_channels != 2:
            raise SystemFailure(f"model {name} has {model.audio_channels} audio channel(s), expected stereo")
        for source, weights in zip(sources, zip(*getattr(model, "weights", []), strict=True), strict=False):
            if not sum(weights):
                raise SystemFailure(f"model {name}: its weights for {source} add up to 0, see its yaml file")
        segment = self.settings["segment"]
        limit = min((float(part.segment) for part in _parts_of(model) if isinstance(part, HTDemucs)), default=np.inf)
        if segment is not None and segment > limit:
            raise SystemFailure(
                f"option segment={segment:g}: model {name} takes at most {limit:g} seconds, "
                "the length that it was trained with"
            )

    # ---- the loaded model -------------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Number of learned parameters of all models of the bag; one that is in it twice counts once."""
        if self._model is None:
            return 0
        distinct = {state_sha256(part.state_dict()): count_parameters(part) for part in _parts_of(self._model)}
        return sum(distinct.values())

    def _description(self) -> str:
        parts = [
            (type(part).__qualname__, getattr(part, "_init_args_kwargs", None), part.segment)
            for part in _parts_of(self._model)
        ]
        # Through JSON, because the same model has lists in one file format where it has tuples in another.
        return json.dumps([self._model.sources, getattr(self._model, "weights", None), parts], default=str)

    def _estimate(self, mixture: Signal) -> Mapping[str, Signal]:
        import torch
        from demucs.apply import apply_model

        mono = mixture.mean(axis=1)
        mean, scale = mono.mean(), mono.std() or 1.0  # silence has no scale
        normalised = torch.from_numpy(((mixture - mean) / scale).T.astype(np.float32))
        with _shifts_from(mixture), torch.no_grad():
            sources = apply_model(
                self._model,
                normalised[None],
                shifts=self.settings["shifts"],
                split=True,
                overlap=self.settings["overlap"],
                segment=self.settings["segment"],
                device=self._device,
            )[0]
        signals = sources.cpu().double().numpy().transpose(0, 2, 1) * scale + mean
        stems = {stem: np.zeros_like(signals[0]) for stem in STEMS}
        for source, signal in zip(self._model.sources, signals, strict=True):
            stems[STEM_OF[source]] += signal
        return _consistent(stems, mixture) if self._consistent else stems


def _consistent(stems: Mapping[str, Signal], mixture: Signal) -> dict[str, Signal]:
    """Make the stems add up to the mixture: what they leave of it goes to each, where and as much as it sounds there.

    A network trained on waveforms gives less where it is in doubt, so that music gets lost; a small one is in doubt
    above 1.6 kHz. The shares are proportional to the stems' magnitudes, in frames of 93 ms at 44.1 kHz.

    Source: S. Wisdom et al., "Differentiable Consistency Constraints for Improved Deep Speech Enhancement", ICASSP
    2019, section 3.2 (mixture consistency; there the weights are fixed over time and frequency or follow the power).
    """
    from scipy import signal

    window = signal.windows.hann(4096, sym=False)
    transform = signal.ShortTimeFFT(window, 1024, 1.0)  # in samples

    def spectrum(of: Signal) -> Any:
        missing = max(0, len(window) - len(of))  # it refuses what is shorter than half a window
        return transform.stft(np.pad(of, ((0, missing), (0, 0))), axis=0)

    magnitudes = np.stack([np.abs(spectrum(stem)) for stem in stems.values()]) + 1e-9
    rest = spectrum(mixture - np.sum(list(stems.values()), axis=0))
    shares = magnitudes / magnitudes.sum(axis=0)
    return {
        name: stem + transform.istft(share * rest, f_axis=0)[: len(mixture)]
        for (name, stem), share in zip(stems.items(), shares, strict=True)
    }


_NEEDS_DIFFQ = "has quantized weights, which need the package diffq: pip install 'demucs[quantized]'"


def _server() -> str:
    """Address of demucs' own server, with a slash at the end."""
    from demucs.pretrained import ROOT_URL

    return str(ROOT_URL)


def _parts_of(model: Any) -> list[Any]:
    """The models of a bag, or the one model."""
    return list(getattr(model, "models", [model]))


@contextlib.contextmanager
def _shifts_from(mixture: Signal) -> Iterator[None]:
    """Make demucs' random shifts a function of the music, and leave Python's generator as it was."""
    with _RANDOM_LOCK:
        state = random.getstate()
        random.seed(hashlib.sha256(mixture.tobytes()).digest())
        try:
            yield
        finally:
            random.setstate(state)


@hookimpl
def register_systems(register: Callable[[type[System]], None]) -> None:
    register(Demucs)
