"""What demucs publishes, and how its checkpoints are named: read from the package's lists, without importing torch."""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.systems import SystemFailure
from harness.systems.torch import one_line

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

HUB = "hf://"
HUB_OWNER = "adefossez"


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
    bags = {path.stem: read_bag(path) for path in sorted(folder.glob("*.yaml"))}
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


def read_bag(path: Path) -> Mapping[str, Any]:
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


def owner_and_name(model: str) -> tuple[str, str]:
    """Who owns a model and its name without the hub's prefix: those of demucs' author for names without an owner."""
    owner, _, short = model.removeprefix(HUB).rpartition("/")
    return owner or HUB_OWNER, short
