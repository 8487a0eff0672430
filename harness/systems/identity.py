"""What a system is made of, by content: its code, the packages that it uses, and what it learned.

A checkpoint or a module that changed makes another system; one that merely moved does not. `made` makes and loads a
system and watches what is read meanwhile:

- code: see `sources`;
- weights: the content of every file that is read while the plugin is imported and the system made and loaded, other
  than code and what belongs to the machine; and the state of every `torch.nn.Module` found on the instance, since
  libraries can read files without Python's knowledge. A system that overrides `weights_sha256` says itself what its
  weights are: nothing else counts.

What is imported or read for the first time while music is processed is not seen (but every import statement is).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.files import cache_folder, canonical_sha256, sha256_of_all
from harness.systems.base import System, constructed
from harness.systems.checkpoints import state_sha256
from harness.systems.neighbours import Neighbours
from harness.systems.sources import Sources, add_modules, sources_of
from harness.systems.watching import belongs_to_the_machine, files_read

DEPTH = 4
"""How deep a module may lie in the lists, mappings and objects of an instance."""


@dataclass(frozen=True)
class Identity:
    """What a system is made of.

    Attributes:
        code: SHA-256 of each of its source files.
        packages: versions of the distributions that it imports.
        files: SHA-256 of each file that it read when it was loaded, by name.
        weights_sha256: of all that it learned, "" if there is nothing.
        unidentified: whether it has learned something, of which nothing could be hashed.
    """

    code: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    unidentified: bool = False


def made(system: type[System], settings: Mapping[str, Any]) -> System:
    """Make a system with these settings and load it; `identity_of` then knows what it read.

    Raises:
        SystemFailure: it does not call the constructor of its base class; and whatever else it raises itself.
    """
    neighbours: Neighbours | None = system.__dict__.get("neighbours")
    if neighbours is not None:
        neighbours.activate()
    before = set(sys.modules)
    with files_read() as read:
        ready = constructed(system, settings)
        ready.load()
    late = [module for name, module in list(sys.modules.items()) if name not in before]
    ready.identity = _identify(ready, sources(system), {*read, *system.__dict__.get("read", ())}, late)
    return ready


def sources(system: type[System]) -> Sources:
    """The sources of a system's class as they were when it was registered, or now if it was not."""
    known = system.__dict__.get("sources")
    return known if known is not None else sources_of(system)


def identity_of(system: System) -> Identity:
    """What a loaded system is made of. If it was not made by `made`, the files that it read are not known."""
    known = getattr(system, "identity", None)
    return known if isinstance(known, Identity) else _identify(system, sources(type(system)), (), ())


def _identify(system: System, code: Sources, read: Iterable[str], late: Iterable[Any]) -> Identity:
    neighbours: Neighbours | None = type(system).__dict__.get("neighbours")
    code = Sources(dict(code.files), set(code.others), code.folders)
    if neighbours is not None:
        add_modules(code, late, neighbours.folder)
    files = _data(read, code.folders)
    states = dict(_states(vars(system), "", 0, set()))
    override = system.weights_sha256() if _says_itself(type(system)) else ""
    if override:
        weights = override
    elif files or states:
        # By content alone: neither where files lie nor how often they were read says anything about them.
        weights = canonical_sha256({"files": sorted(set(files.values())), "modules": states})
    else:
        weights = system.weights_sha256()
    learned = system.parameters > 0 or system.training_data not in ("none", "unknown")
    return Identity(code.files, code.packages(), {} if override else files, weights, learned and not weights)


def _says_itself(system: type[System]) -> bool:
    """Whether the class, or a base of it that is not the harness's, overrides `weights_sha256`."""
    definer = next(base for base in system.__mro__ if "weights_sha256" in base.__dict__)
    return definer.__module__.partition(".")[0] != "harness"


def _data(read: Iterable[str], own: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of the files that were read and are data of the system, by name.

    Args:
        own: folders of the system's own packages: data in them is its own, wherever they are installed.
    """
    own = list(own)

    def foreign(path: Path) -> bool:
        ours = any(path.is_relative_to(folder) for folder in own)
        return not ours and belongs_to_the_machine(path, [cache_folder()])

    paths = []
    for name in sorted(set(read)):
        path = Path(name)
        if path.suffix in (".py", ".pyc", ".pyi") or foreign(path):
            continue
        try:
            if path.is_file() and not foreign(path.resolve()):
                paths.append(path)
        except OSError:
            continue  # gone, or not ours to read
    hashes = sha256_of_all(paths)
    found: dict[str, str] = {}
    for path, sha256 in hashes.items():
        label = path.name if path.name not in found else f"{path.parent.name}/{path.name}"
        found[label] = sha256
    return found


def _states(values: Mapping[str, Any], where: str, depth: int, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Hash of the state of every torch module among some values, and in the lists, mappings and objects among them."""
    torch = sys.modules.get("torch")
    if torch is None or depth > DEPTH:
        return
    for name, value in values.items():
        label = f"{where}.{name}" if where else str(name)
        if id(value) in seen:
            continue
        if isinstance(value, torch.nn.Module):
            seen.add(id(value))
            yield label, module_sha256(value)
        elif isinstance(value, Mapping):
            seen.add(id(value))
            yield from _states({str(key): inner for key, inner in value.items()}, label, depth + 1, seen)
        elif isinstance(value, (list, tuple)):
            seen.add(id(value))
            yield from _states({str(index): inner for index, inner in enumerate(value)}, label, depth + 1, seen)
        elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, (type, ModuleType)):
            seen.add(id(value))
            yield from _states(vars(value), label, depth + 1, seen)


def module_sha256(module: Any) -> str:
    """SHA-256 of a torch module's state, and of what else than tensors it keeps in it."""
    import torch

    state = module.state_dict()
    others = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
    tensors = {name: value for name, value in state.items() if name not in others}
    return state_sha256(tensors, repr(others) if others else "")
