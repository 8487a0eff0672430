"""Where what a system needs lies: the interpreter of its Python environment, and what its sandbox shows."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.apart import sandbox
from harness.errors import UsageError
from harness.files import SAFE_NAME


def interpreter_of(system: str, environment: str) -> Path:
    """The interpreter of a Python environment that a system names.

    Raises:
        UsageError: it is not known, or not there.
    """
    if not SAFE_NAME.fullmatch(environment):
        raise UsageError(f"system {system} names a Python environment that has no name for a folder: {environment!r}")
    variable = f"HARNESS_PYTHON_{environment.upper().replace('-', '_').replace('.', '_')}"
    named = os.environ.get(variable)
    beside = Path(f".venv-{environment}/bin/python")
    if named:
        path = Path(named).expanduser()
        if not path.exists():
            raise UsageError(f"{variable}={named}: there is no such interpreter")
        return path.absolute()
    if beside.exists():
        return beside.absolute()
    raise UsageError(
        f"system {system} needs a Python environment of its own ({environment}), which is not here: set it up (make "
        f"{environment} for a bundled system), and name its interpreter with --python FILE or {variable}"
    )


def view_for(
    plugins: Sequence[str],
    options: Sequence[str],
    python: Path | None,
    source: Mapping[str, str] | None,
    hidden: Sequence[Path],
) -> sandbox.View:
    """What the sandbox of a system shows: Python, the plugins' folders, and the files that its options name.

    Args:
        plugins, options: of the system, as on the command line.
        python: the interpreter where that is not the harness's own.
        source: where the plugin lies, for another interpreter (`Plugins.source_of`).
        hidden: what must not be seen.

    Raises:
        UsageError: something that must stay hidden lies in one of these.
    """
    places = sandbox.python_places(python)
    if source is not None and "folder" in source:
        # Where the child says that its plugin lies: a stranger's word, which must not open what was hidden.
        folder = Path(source["folder"])
        if not any(folder.is_relative_to(place.absolute()) for place in sandbox.python_places(None)):
            raise UsageError(f"--isolate: the plugin is not installed in the harness's environment: {folder}")
        places.append(folder)
    for plugin in plugins:
        if plugin.endswith(".py"):
            places.append(Path(plugin).expanduser().resolve().parent)
    for option in options:
        value = Path(option.partition("=")[2]).expanduser()
        if value.parts and value.exists():
            places.append(value)
    return sandbox.view_of(places, hidden)
