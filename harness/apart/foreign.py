"""What the child does in another Python environment, where the harness is not installed.

What a plugin imports as `harness.systems` are the real base classes, options, errors and listeners, read from the
harness's own files by path; these need nothing but the standard library and NumPy. Nothing else of the harness is
there: no torch base classes, no `amplify`, no `remix`. Python 3.8 or later.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import platform
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.apart.child import STEMS, Host
else:
    from harness_child import STEMS, Host

HARNESS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

PLACES = {
    "harness.errors": "errors.py",
    "harness.hearing": "hearing.py",
    "harness.systems.options": "systems/options.py",
    "harness.systems.base": "systems/base.py",
    "harness.systems.streaming": "systems/streaming.py",
    "harness.systems.words": "systems/words.py",
    "harness.systems.watching": "systems/watching.py",
}
"""Modules that are read from the harness's files, in the order in which they need each other."""

MAX_NAMED = 1000
PIECE = 2**20


def _module_from(path: str, name: str, folder: str | None = None) -> types.ModuleType:
    """Import a file as a module, or as a package whose submodules lie in `folder`."""
    where = None if folder is None else [folder]
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=where)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    return module


def set_up_systems() -> Any:
    """Make `harness.systems` importable: what a plugin may use of it."""
    for name in ("harness", "harness.systems"):
        sys.modules[name] = types.ModuleType(name)
    loaded = {name: _module_from(os.path.join(HARNESS, place), name) for name, place in PLACES.items()}
    systems: Any = sys.modules["harness.systems"]
    setattr(sys.modules["harness"], "systems", systems)  # noqa: B010
    for name, origin in (
        ("Separator", "systems.base"),
        ("Enhancer", "systems.base"),
        ("Reference", "systems.base"),
        ("System", "systems.base"),
        ("TRAINING_DATA", "systems.base"),
        ("parse_options", "systems.base"),
        ("StreamingSeparator", "systems.streaming"),
        ("StreamingEnhancer", "systems.streaming"),
        ("OwnStream", "systems.streaming"),
        ("Stream", "systems.streaming"),
        ("Streamed", "systems.streaming"),
        ("Took", "systems.streaming"),
        ("Option", "systems.options"),
        ("SystemFailure", "errors"),
        ("UsageError", "errors"),
        ("WeightsMissing", "errors"),
        ("Audiogram", "hearing"),
        ("Listener", "hearing"),
    ):
        setattr(systems, name, getattr(loaded["harness." + origin], name))
    systems.STEMS = STEMS
    systems.stream = loaded["harness.systems.streaming"].stream
    systems.Gains = systems.Signal = Any  # for annotations
    systems.hookimpl = lambda function: function
    return systems


def _sha256_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            digest.update(piece)
    return digest.hexdigest()


def _sha256_of_tree(path: str) -> str:
    """As `harness.files.sha256_of_tree`."""
    if os.path.isfile(path):
        return _sha256_of(path)
    if not os.path.isdir(path):
        raise sys.modules["harness.errors"].UsageError(f"{path}: no such file or folder")
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return _canonical_sha256({os.path.relpath(file, path): _sha256_of(file) for file in files if os.path.isfile(file)})


def _canonical_sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class ForeignHost(Host):
    """A system of another Python environment."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        """Files that were read while the system was imported, made and loaded."""

    def do_versions(self) -> dict[str, str]:
        """Which Python this is, and which distributions are installed beside it, by name and version. Asked for first.

        Raises:
            UsageError: NumPy is not among them.
        """
        from importlib import metadata

        errors: Any = sys.modules.get("harness.errors") or _module_from(
            os.path.join(HARNESS, "errors.py"), "harness.errors"
        )
        if importlib.util.find_spec("numpy") is None:
            raise errors.UsageError("this Python has no NumPy: install numpy there (1.23 or later)")
        self.systems = set_up_systems()
        self.base: Any = sys.modules["harness.systems.base"]
        self.watching: Any = sys.modules["harness.systems.watching"]
        packages = {"python": platform.python_version()}
        for each in metadata.distributions():
            if each.metadata["Name"]:
                packages[each.metadata["Name"].lower()] = each.version
        self.packages = dict(sorted(packages.items())[:MAX_NAMED])
        return self.packages

    def do_find(self, source: Mapping[str, str], name: str) -> dict[str, str]:
        """Import the plugin at `source` (see `Plugins.source_of`) and choose a system of it."""
        with self.watching.files_read() as self.read:
            module = self._import(source)
        found: dict[str, Any] = {}
        register = getattr(module, "register_systems", None)
        if register is None:
            raise self.systems.UsageError("the plugin has no register_systems")
        register(lambda system: found.update({system.name: system}))
        if name not in found:
            known = ", ".join(sorted(found))
            raise self.systems.UsageError(f"no system named {name!r} in this plugin (it has: {known})")
        self.chosen = found[name]
        kinds = (self.systems.Separator, self.systems.Enhancer, self.systems.Reference)
        if not issubclass(self.chosen, kinds) or self.chosen.__abstractmethods__:
            raise self.systems.UsageError(f"system {name} is not complete: derive it from Separator or Enhancer")
        streaming: Any = sys.modules["harness.systems.streaming"]
        streaming.check_streaming(self.chosen)
        self.kind = self.base.kind_of(self.chosen)
        return {
            "version": self.chosen.version,
            "kind": self.kind,
            "streaming": streaming.is_streaming(self.chosen),
            "many": self.base.separates_many(self.chosen),
        }

    def _import(self, source: Mapping[str, str]) -> types.ModuleType:
        if "file" in source:
            # What lies beside the file can be imported, as `python FILE` could.
            sys.path.append(os.path.dirname(source["file"]))
            return _module_from(source["file"], "harness_plugin")
        folder, name = source["folder"], source["module"]
        top = name.partition(".")[0]
        if folder.endswith(".py"):
            return _module_from(folder, name)
        # Without its parent folder on the path: that may be another environment's site-packages.
        _module_from(os.path.join(folder, "__init__.py"), top, folder)
        return importlib.import_module(name)

    def do_choose(self, options: Sequence[str]) -> None:
        """Read the chosen system's settings, as on the command line. Raises UsageError."""
        self.settings = self.systems.parse_options(self.chosen, options)

    def do_load(self) -> dict[str, Any]:
        """Make and load the chosen system: what it declares, by keys of the manifest, but for its code."""
        with self.watching.files_read() as read:
            self.system = self.base.constructed(self.chosen, self.settings)
            self.system.load()
        system = self.system
        files = self._data(self.read | read)
        override = type(system).weights_sha256 is not self.systems.System.weights_sha256
        weights = system.weights_sha256() if override else ""
        if not weights and files:
            weights = _canonical_sha256({"files": sorted(set(files.values())), "modules": {}})
        learned = system.parameters > 0 or system.training_data not in ("none", "unknown")
        paths = {name: value for name, value in system.settings.items() if isinstance(value, os.PathLike)}
        return {
            **sys.modules["harness.systems.words"].words_of(system),
            "inputs_sha256": {name: _sha256_of_tree(os.fspath(path)) for name, path in paths.items()},
            "weights_sha256": weights,
            "weights_files": {
                os.path.basename(path)[-300:]: sha256 for path, sha256 in list(files.items())[:MAX_NAMED]
            },
            "packages": self.packages,
            "unidentified": bool(learned and not weights),
        }

    def _data(self, read: set[str]) -> dict[str, str]:
        """SHA-256 of each file that was read, other than code and what belongs to the environment or the machine."""
        machine = self.watching.belongs_to_the_machine
        return {
            path: _sha256_of(path)
            for path in sorted(read)
            if not path.endswith((".py", ".pyc", ".pyi")) and not machine(Path(path), [Path(HARNESS)])
            if os.path.isfile(path)
        }
