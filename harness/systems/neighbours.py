"""What lies beside a plugin that is given as a file: it can import it, as `python FILE` could."""

import sys
from pathlib import Path
from types import ModuleType

FILE_MODULE = "harness_plugin_"
"""How the names of modules begin that are made of files given as plugins."""

OURS = ("harness", "harness_leaderboard")
BUNDLED = "harness_plugins"
"""A package of many plugins: each of its modules or folders is one, and counts by itself."""


class Neighbours:
    """The folder of a plugin file, and the modules that it imported from there.

    Two plugins in different folders may each have a neighbour `net`. Python knows one module of that name, so before a
    plugin is imported, made or loaded, `activate` puts its own neighbours in place of another's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: dict[str, ModuleType] = {}
        self.added = False

    def activate(self) -> None:
        """Let this plugin's neighbours be found, and no other plugin's."""
        global _current
        if _current is not None and _current is not self:
            _current._put_away()
        _current = self
        if str(self.folder) not in sys.path:
            # Last: a neighbour called like an installed module must not be taken for it by anybody else. The plugin's
            # own imports of such a neighbour are refused (`sources.neighbourhood`).
            sys.path.append(str(self.folder))
            self.added = True
        sys.modules.update(self.modules)

    def _put_away(self) -> None:
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            # The plugin itself has a name of its own, which no other plugin uses.
            if (
                file
                and Path(file).is_relative_to(self.folder)
                and not name.startswith(FILE_MODULE)
                # An environment may lie below the folder, and even the harness: a plugin beside a checkout of it.
                and "site-packages" not in Path(file).relative_to(self.folder).parts
                and name.partition(".")[0] not in (*OURS, BUNDLED)
            ):
                self.modules[name] = sys.modules.pop(name)
        if self.added and str(self.folder) in sys.path:
            sys.path.remove(str(self.folder))
        self.added = False


_current: Neighbours | None = None


def active_folders() -> list[Path]:
    """The folder whose neighbours are in place now, if it was put on the path for that."""
    return [_current.folder] if _current is not None and _current.added else []
