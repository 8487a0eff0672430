"""How a system is run: the options of `run`, `enhance`, `audit-causality` and `live`, and opening what they ask for."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import console
from harness.cli.common import MAX_WORKERS, set_up_logging
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.apart.inprocess import InProcess
    from harness.apart.output import Output
    from harness.apart.running import Apart, Found
    from harness.chain import Chain
    from harness.music.evaluationset import EvaluationSet
    from harness.submission.manifest import Manifest

Python = Annotated[
    Path | None,
    typer.Option("--python", metavar="FILE", help="Run the system with this Python, of an environment of its own."),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        show_default="none; an hour with --isolate",
        help="Give up on a piece of music, or on loading, after so long.",
    ),
]
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        metavar="GB",
        min=0.1,
        show_default="all; half with --isolate",
        help="End the system when it takes more.",
    ),
]
Isolate = Annotated[
    bool,
    typer.Option("--isolate", help="Run the system in a sandbox, without network or a view of your files."),
]
InProcessOption = Annotated[
    bool,
    typer.Option(
        "--in-process", help="Debug: run the system in the harness's own process. Such a run is never ranked."
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        max=MAX_WORKERS,
        show_default="1; as many as workers for streaming systems, if that pays",
        help="Processes of the system that work side by side on this machine.",
    ),
]
MAX_BATCH = 256
"""Pieces at once: each is four stems in memory, and more than a GPU's worth gains nothing."""

Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        metavar="N",
        min=2,
        max=MAX_BATCH,
        show_default="one by one",
        help="Have the system separate up to N pieces of music at once, for a GPU; the fastest number is found.",
    ),
]


@dataclass(frozen=True)
class Manner:
    """How a system is to be run, as the options say."""

    python: Path | None = None
    timeout: float | None = None
    memory: float | None = None
    isolate: bool = False
    in_process: bool = False


@dataclass(frozen=True)
class Opened:
    """A system that was found and is ready to be loaded."""

    running: "Apart | InProcess"
    found: "Found"
    output: "Output"


AHEAD = ("harness.making.make", "clarity.enhancer.nalr", "pyloudnorm")
"""What enhancement needs and takes long to import: done while the system's process starts."""


@contextmanager
def opened(
    system: str, options: list[str] | None, plugins: list[str] | None, manner: Manner, hidden: list[Path]
) -> Iterator[Opened]:
    """Find a system, in a process of its own unless the user wants to debug it; that ends with the context.

    Args:
        hidden: what a sandboxed system must not see, besides the user's home and the harness's cache.

    Raises:
        UsageError, PluginError, SystemFailure: it cannot be found, or not be run like this.
    """
    from harness.apart import sandbox
    from harness.apart.inprocess import InProcess
    from harness.apart.naming import named
    from harness.apart.output import Output
    from harness.apart.process import Terms
    from harness.apart.running import Apart, Wanted
    from harness.files import cache_folder, expanded

    wanted = Wanted(system, tuple(options or ()), tuple(plugins or ()))
    output = Output()
    running: Apart | InProcess
    if manner.in_process:
        if manner.isolate or manner.python or manner.timeout or manner.memory:
            raise UsageError("--in-process goes with none of --isolate, --python, --timeout and --memory")
        set_up_logging(tracebacks=True)
        running = InProcess(wanted)
    else:
        memory = None if manner.memory is None else round(manner.memory * 1e9)
        timeout = manner.timeout
        if manner.isolate:
            sandbox.ensure_possible()
            hidden = [*hidden, cache_folder()]
            memory, timeout = memory or sandbox.default_memory(), timeout or sandbox.DEFAULT_TIMEOUT
        python = None if manner.python is None else expanded(str(manner.python), "--python").absolute()
        if python is not None and not python.is_file():
            raise UsageError(f"--python {manner.python}: no such file")
        running = Apart(wanted, Terms(python, timeout, memory), output, hidden if manner.isolate else None)
    try:
        named(running.start, system, "started")
        for module in AHEAD:
            importlib.import_module(module)
        found = named(running.find, system, "found")
        for name, origin, error in found.broken:
            console.warn(f"plugin {name} ({origin}) is broken and left out: {error}")
        yield Opened(running, found, output)
    finally:
        running.close()
        if output.path is not None:
            console.say(f"what {system} printed, and its exceptions: {output.path}")


def loaded(system: Opened, evaluation_set: "EvaluationSet", soft_clip: bool, chain: "Chain" = "baseline") -> "Manifest":
    """Have a system load its weights: the manifest of what it makes of an evaluation set.

    Raises:
        UsageError: the chain is not for this kind of system.
        SystemFailure: it cannot be set up.
    """
    from harness.apart.naming import named
    from harness.making.make import loaded_manifest

    name = system.found.name
    console.say(f"setting up {name} {system.found.version} ...")
    manifest = named(
        lambda: loaded_manifest(system.running, system.found.kind, evaluation_set, soft_clip, chain), name, "set up"
    )
    if manifest.why_not_eligible:
        console.warn(f"{name} is not eligible for ranking: {manifest.why_not_eligible}")
    return manifest
