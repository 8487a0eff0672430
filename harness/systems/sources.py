"""The source files that a system is made of: the plugin's own, what they import beside them, and whose versions count.

Found by reading import statements, wherever they stand (also within functions), so that the result does not depend on
what the process has imported before. Own code counts by content:

- a plugin given as a file: the file, the modules and packages beside it that it imports, and those that these import;
- a plugin in a package: the whole top-level package, installed by pip or not;
- modules that are found elsewhere outside the standard library and installed packages (on PYTHONPATH, say).

Of other distributions only the names are returned: their versions stand for them. The harness's own modules count where
a system's class is derived from them, other than the base classes of every system.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType

from harness.errors import PluginError
from harness.files import sha256_of
from harness.systems.neighbours import BUNDLED, OURS, active_folders


@dataclass
class Sources:
    """What a system's code consists of.

    Attributes:
        files: SHA-256 of each source file, by a path that does not say where it lies.
        others: top-level names of modules of other distributions that it imports.
        folders: where its own packages lie; what they ship beside code is theirs too.
    """

    files: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)

    def packages(self) -> dict[str, str]:
        """Versions of the distributions that are imported, by name."""
        known = _distributions()
        return {name: version(name) for top in sorted(self.others) for name in known.get(top, ())}


@lru_cache(maxsize=1)
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in packages_distributions().items()}


def sources_of(system: type, neighbours: Path | None = None) -> Sources:
    """The sources of a system's class.

    Args:
        system: the class.
        neighbours: folder whose modules it may import by name: that of a plugin given as a file.
    """
    found = Sources()
    walk = _Walk(found, neighbours)
    for base in system.__mro__:
        module = sys.modules.get(base.__module__)
        top = base.__module__.partition(".")[0]
        if module is None or top in ("abc", "builtins", "typing"):
            continue
        if top in OURS:
            if base.__module__ != "harness.systems.base" and module.__file__:
                found.files[base.__module__] = sha256_of(Path(module.__file__))
            continue
        walk.add_own(module)
    return found


def add_modules(found: Sources, modules: Iterable[ModuleType], folder: Path) -> None:
    """Add modules below a folder that no import statement names: those that were imported by name at run time."""
    for module in modules:
        file = getattr(module, "__file__", None)
        if file and Path(file).suffix == ".py" and Path(file).is_relative_to(folder):
            label = Path(file).relative_to(folder).as_posix()
            if label not in found.files:
                found.files[label] = sha256_of(Path(file))


def neighbourhood(path: Path) -> Sources:
    """The sources of a plugin file with its neighbours, before it is imported.

    Raises:
        PluginError: it imports a neighbour whose name is that of another module, which Python would find instead.
    """
    found = Sources()
    _Walk(found, path.parent)._file(path, path.name)
    return found


class _Walk:
    """Follows import statements from file to file."""

    def __init__(self, found: Sources, neighbours: Path | None) -> None:
        self.found = found
        self.neighbours = neighbours
        self.own: set[str] = set()
        self.own_is_installed = False
        self.seen: set[Path] = set()

    def add_own(self, module: ModuleType) -> None:
        """Add a plugin's own module: its file, or the whole package that it is in."""
        file = getattr(module, "__file__", None)
        if file is None:
            return
        parts = module.__name__.split(".")
        path = Path(file)
        if parts[0] == BUNDLED:
            self._bundled(module.__name__)
        elif len(parts) > 1 or path.name == "__init__.py":
            self._top_level(parts[0], own=True)
        else:
            self._file(path, path.name)

    def _bundled(self, name: str) -> None:
        """Add one of the bundled plugins, or what they share."""
        inner = name.removeprefix(f"{BUNDLED}.").split(".")[0]
        spec = importlib.util.find_spec(f"{BUNDLED}.{inner}")
        if spec is not None and spec.origin:
            package = sys.modules[BUNDLED]
            self.found.folders.update(map(Path, package.__path__))
            self._module(Path(spec.origin), f"{BUNDLED}/{inner}")

    def _top_level(self, name: str, own: bool = False) -> None:
        """Add a module or package that is imported by its top-level name, if it is not of another distribution."""
        if name in self.own or name in self.found.others:
            return
        if self.neighbours is not None:
            for beside in (self.neighbours / f"{name}.py", self.neighbours / name / "__init__.py"):
                if beside.exists():
                    self._refuse_other(name, beside)
                    self.own.add(name)
                    self._module(beside, name)
                    return
        if name in sys.stdlib_module_names or name in OURS:
            return
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            return  # an optional import of something that is not installed
        locations = list(spec.submodule_search_locations or ())
        place = Path(spec.origin) if spec.origin and spec.has_location else Path(locations[0]) if locations else None
        installed = place is not None and any(part in ("site-packages", "dist-packages") for part in place.parts)
        if place is None or (installed and not (own or self._of_our_distribution(name))):
            self.found.others.add(name)
            return
        self.own.add(name)
        self.own_is_installed |= installed
        self._module(place, name)

    def _refuse_other(self, name: str, beside: Path) -> None:
        """Raise PluginError if Python finds something else by the name of a neighbour."""
        # Not in the folder of another plugin that was active before: its neighbours are put away when ours are needed.
        apart = {self.neighbours, *active_folders()}
        elsewhere = [entry for entry in sys.path if Path(entry or ".").resolve() not in apart]
        spec = PathFinder.find_spec(name, elsewhere)
        installed = spec is not None and spec.origin is not None and Path(spec.origin).resolve() != beside.resolve()
        if name in sys.stdlib_module_names or name in OURS or installed:
            raise PluginError(f"{beside.name} beside it has the name of another module that is installed: rename it")

    def _of_our_distribution(self, name: str) -> bool:
        if not self.own_is_installed:
            return False
        known = _distributions()
        ours = {distribution for own in self.own for distribution in known.get(own, ())}
        return bool(ours & set(known.get(name, ())))

    def _module(self, place: Path, label: str) -> None:
        """Add a module by the place of its file, or of its package's folder."""
        folder = place.parent if place.name == "__init__.py" else place if place.is_dir() else None
        if folder is None:
            self._file(place, f"{label}.py")
            return
        self.found.folders.add(folder)
        for path in sorted(folder.rglob("*.py")):
            self._file(path, f"{label}/{path.relative_to(folder).as_posix()}")

    def _file(self, path: Path, label: str) -> None:
        if path in self.seen or path.suffix != ".py" or not path.is_file():
            return
        self.seen.add(path)
        content = path.read_bytes()
        self.found.files[label] = sha256_of(path)
        try:
            tree = ast.parse(content)
        except (SyntaxError, ValueError):
            return  # a file of the package that nobody imports, or Python would have said so
        for name in _imported(tree):
            if name.startswith(f"{BUNDLED}."):
                self._bundled(name)
            else:
                self._top_level(name.partition(".")[0])


def _imported(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that a file imports absolutely. What is relative is in its package, added as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == BUNDLED:
                yield from (f"{BUNDLED}.{alias.name}" for alias in node.names)
            else:
                yield node.module
