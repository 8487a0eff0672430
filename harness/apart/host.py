"""What the child does in the harness's own Python environment: finding, loading and describing systems.

The same object serves `--in-process`, without a child around it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.apart.child import Host
from harness.files import canonical_sha256
from harness.systems import System, parse_options
from harness.systems.base import kind_of, separates_many
from harness.systems.declaring import declared, described, some
from harness.systems.discovery import Plugins
from harness.systems.identity import made, sources
from harness.systems.streaming import is_streaming


class OwnHost(Host):
    """Systems of the harness's own Python environment."""

    chosen: type[System]
    settings: Mapping[str, Any]

    def do_find(self, plugins: Sequence[str], name: str) -> dict[str, Any]:
        """Discover all plugins and choose a system.

        Raises:
            PluginError: one of `plugins` is broken.
            UsageError: there is no system of that name.
        """
        found = Plugins(plugins)
        self.chosen = found.system(name)
        self.kind = kind_of(self.chosen)
        code = sources(self.chosen)
        return {
            "version": self.chosen.version,
            "kind": self.kind,
            "streaming": is_streaming(self.chosen),
            "many": separates_many(self.chosen),
            "environment": self.chosen.environment,
            "source": found.source_of(name),
            "code": {"code_sha256": canonical_sha256(dict(code.files)), "code_files": some(code.files)},
            "broken": [
                {"name": each.name, "origin": each.origin, "error": each.error} for each in found.plugins if each.error
            ],
        }

    def do_choose(self, options: Sequence[str]) -> None:
        """Read the chosen system's settings, as on the command line. Raises UsageError."""
        self.settings = parse_options(self.chosen, options)

    def do_load(self) -> dict[str, Any]:
        """Make and load the chosen system: what it declares, by keys of the manifest.

        Raises whatever the system raises.
        """
        self.system = made(self.chosen, self.settings)
        return declared(self.system)

    def do_list(self, plugins: Sequence[str]) -> dict[str, Any]:
        """Describe all plugins and all systems. Raises PluginError if one of `plugins` is broken."""
        found = Plugins(plugins)
        return {
            "plugins": [{**vars(each), "systems": list(each.systems)} for each in found.plugins],
            "systems": [described(system) for _, system in sorted(found.systems.items())],
        }
