"""Discovery of systems: entry points (group "harness"), files or modules given by --plugin, HARNESS_PLUGINS.

Bundled systems come in through the same entry points as anybody's. A plugin that fails to import is
remembered with its error and does not stop the others.
"""

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pluggy

from harness.errors import PluginError, UsageError
from harness.files import canonical_sha256
from harness.systems import TRAINING_DATA, Enhancer, Option, Reference, Separator, System, hookspecs
from harness.systems.neighbours import FILE_MODULE, Neighbours
from harness.systems.sources import neighbourhood, sources_of
from harness.systems.streaming import check_streaming
from harness.systems.watching import files_read

GROUP = "harness"
ENVIRONMENT_VARIABLE = "HARNESS_PLUGINS"
"""Names files or modules, separated like the entries of PATH."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

READ = "__harness_read__"
"""Where a plugin's module keeps which files were read while it was imported."""

NEIGHBOURS = "__harness_neighbours__"
"""Where a plugin that is given as a file keeps what lies beside it."""


@dataclass(frozen=True)
class Plugin:
    """A plugin as found: its name, where it came from, its systems, and its error if it is broken."""

    name: str
    origin: str
    systems: tuple[str, ...] = ()
    error: str | None = None


class Plugins:
    """All plugins and the systems that they register.

    Args:
        extra: files (`*.py`) or module names, as given by `--plugin`.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self.plugins: list[Plugin] = []
        self.systems: dict[str, type[System]] = {}
        self._modules: dict[str, ModuleType] = {}
        for entry_point in sorted(entry_points(group=GROUP), key=lambda found: found.name):
            distribution = entry_point.dist
            origin = f"{distribution.name} {distribution.version}" if distribution else entry_point.value
            self._add(entry_point.name, origin, entry_point.load)
        from_environment = os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
        for source in filter(None, from_environment):
            self._add(source, ENVIRONMENT_VARIABLE, lambda source=source: _import(source))
        for source in extra:
            self._add(source, "--plugin", lambda source=source: _import(source))
            # What somebody names on the command line they need: say at once that it is broken.
            if self.plugins[-1].error:
                raise PluginError(f"plugin {source}: {self.plugins[-1].error}")

    def _add(self, name: str, origin: str, load: object) -> None:
        # A plugin is a stranger's code: whatever it raises is its own error, reported by name.
        try:
            with files_read() as read:
                module = load()  # type: ignore[operator]
            # When it is imported first; later, it is only looked up.
            module.__dict__.setdefault(READ, frozenset(read))
            found = _systems_of(module)
            for system in found:
                if system.name in self.systems and self.systems[system.name] is not system:
                    raise PluginError(f"a system named {system.name!r} is registered already")
            self.systems.update((system.name, system) for system in found)
            self._modules.update((system.name, module) for system in found)
            self.plugins.append(Plugin(name, origin, tuple(system.name for system in found)))
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
            reason = " ".join(reason.split())  # some errors have many lines
            self.plugins.append(Plugin(name, origin, error=reason))

    def system(self, name: str) -> type[System]:
        """The system of that name.

        Raises:
            UsageError: there is none; the message lists those that exist and the plugins that are broken.
        """
        if name in self.systems:
            return self.systems[name]
        message = f"no system named {name!r} (known: {', '.join(sorted(self.systems))})"
        broken = [plugin.name for plugin in self.plugins if plugin.error]
        if broken:
            message += f"; broken plugins: {', '.join(broken)} (see: harness plugins)"
        raise UsageError(message)

    def source_of(self, name: str) -> dict[str, str]:
        """Where another interpreter finds the plugin of a system: a file, or a module and its top-level folder."""
        module = self._modules[name]
        file = Path(str(module.__file__))
        if module.__name__.startswith(FILE_MODULE):
            return {"file": str(file)}
        top = sys.modules[module.__name__.partition(".")[0]]
        folder = file if top is module and file.name != "__init__.py" else Path(str(top.__file__)).parent
        return {"module": module.__name__, "folder": str(folder)}


def _import(source: str) -> ModuleType:
    if not source.endswith(".py"):
        return importlib.import_module(source)
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        raise PluginError(f"no such file: {source}")
    # A name of its own, so that two files called system.py do not meet in sys.modules; a file that is named twice
    # is one plugin.
    # And so is one that was edited meanwhile, or a neighbour of which was.
    identity = canonical_sha256({"path": str(path), **neighbourhood(path).files})[:8]
    name = f"{FILE_MODULE}{path.stem}_{identity}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"cannot be imported: {source}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    neighbours = Neighbours(path.parent)
    neighbours.activate()
    module.__dict__[NEIGHBOURS] = neighbours
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _systems_of(module: ModuleType) -> list[type[System]]:
    """Call one plugin's `register_systems` hook and check what it registers."""
    manager = pluggy.PluginManager("harness")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    systems: list[type[System]] = []
    manager.hook.register_systems(register=systems.append)
    if not systems:
        raise PluginError("registers no system (is register_systems marked with @hookimpl?)")
    for system in systems:
        check_class(system)
        neighbours: Neighbours | None = module.__dict__.get(NEIGHBOURS)
        system.neighbours = neighbours
        # Now, not when a manifest is written: files may be edited while the system loads or works.
        if "sources" not in system.__dict__:
            system.sources = sources_of(system, None if neighbours is None else neighbours.folder)
        system.read = module.__dict__[READ]
    return systems


def check_class(system: type[System]) -> None:
    """Raise PluginError unless a class is a complete system."""
    if not (isinstance(system, type) and issubclass(system, (Separator, Enhancer, Reference))):
        raise PluginError(f"{system!r} is not a class derived from Separator or Enhancer")
    for attribute in ("name", "version"):
        if not isinstance(getattr(system, attribute, None), str):
            raise PluginError(f"{system.__name__} declares no {attribute}")
    if not _NAME.fullmatch(system.name):
        raise PluginError(f"system name {system.name!r}: only letters, digits, dots, dashes and underscores")
    if isinstance(system.training_data, str) and system.training_data not in TRAINING_DATA:
        labels = ", ".join(TRAINING_DATA)
        raise PluginError(f"{system.name}: training_data {system.training_data!r} is not one of: {labels}")
    if not isinstance(system.options, (list, tuple)) or not all(isinstance(each, Option) for each in system.options):
        raise PluginError(f"system {system.name}: options must be a list of Option")
    missing = ", ".join(sorted(system.__abstractmethods__))
    if missing:
        raise PluginError(f"system {system.name} does not implement {missing}")
    check_streaming(system)
