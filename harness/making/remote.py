"""Pieces of music made by workers: each opens the system in a child process of its own, and keeps it for the next task.

A worker writes finished files beside the submission, each under its hash and a name of its own, and says which these
are and what they hold. Only the main process gives them their names: a task may be done twice, when a worker is lost,
and a system that draws random numbers makes two different files then, of which the manifest describes one.
"""

import atexit
import hashlib
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.apart import sandbox
from harness.apart.naming import named
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
from harness.errors import DataError, HarnessError, StorageError, SystemFailure, UsageError
from harness.files import cache_folder, write_whole
from harness.making.batching import Batches
from harness.making.pieces import Maker, Piece
from harness.music.evaluationset import PairId
from harness.submission.causality import LoadRecord
from harness.submission.manifest import CostRecord, FileRecord, Manifest

SHARED = "it must lie on a file system that all nodes share, at the same path"


@dataclass(frozen=True)
class Surroundings:
    """Where a command was started, for systems that look at it.

    Attributes:
        folder: the current folder.
        environment, path: variables, and where Python looks for modules; None for what the worker has: another
            machine's may be no good there.
    """

    folder: Path
    environment: Mapping[str, str] | None
    path: tuple[str, ...] | None


@dataclass(frozen=True)
class Recipe:
    """A system as a worker opens it.

    Attributes:
        wanted, terms, hidden: see `Apart`.
        declared, python: what it declares, and its interpreter's version, in the main process: no other will do.
        manifest: of what it makes; no files.
        around: where it runs.
        staging: where files go; there as long as the main process wants any.
        log: where what it prints goes; on other machines with the machine's name in it.
        threads: that amplify and encode.
        far: whether workers are on other machines.
        batch: how many pieces the system may be handed at once; None: one.
    """

    wanted: Wanted
    terms: Terms
    hidden: tuple[Path, ...] | None
    declared: Mapping[str, Any]
    python: str | None
    manifest: Manifest
    around: Surroundings
    staging: Path
    log: Path
    threads: int
    far: bool
    batch: int | None = None


def recipe_of(
    running: Apart, manifest: Manifest, staging: Path, log: Path, threads: int, far: bool, batch: int | None = None
) -> Recipe:
    """How workers are to open a system that was loaded here.

    Args:
        running: the system, loaded.
        manifest: of it.
        staging, log, threads, far, batch: see `Recipe`; paths may be relative.

    Raises:
        UsageError: the current folder is gone.
    """
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone: change to another one") from None
    return Recipe(
        running.wanted,
        running.given,
        None if running.hidden is None else (*running.hidden, staging.absolute().parent),
        dict(running.declared or {}),
        running.python,
        manifest.model_copy(update={"files": {}, "costs": {}, "loads": {}}),
        Surroundings(folder, None, None) if far else Surroundings(folder, dict(os.environ), tuple(sys.path)),
        staging.absolute(),
        log.absolute(),
        threads,
        far,
        batch,
    )


@dataclass(frozen=True)
class MakeTask:
    """Pieces of music to be made; everything that a worker needs."""

    recipe: Recipe
    pieces: tuple[Piece, ...]


@dataclass
class Made:
    """What came of a task.

    Attributes:
        files: by name in the submission: the name in the staging folder, and the record.
        costs, loads: see `Manifest`.
        failures: why a pair has no files.
        log: where there is something in it.
        largest: how many pieces were separated at once, at most.
        batches: which number of them is fastest, in words, once the worker has found it.
    """

    files: dict[str, tuple[str, FileRecord]] = field(default_factory=dict)
    costs: dict[str, CostRecord] = field(default_factory=dict)
    loads: dict[str, LoadRecord] = field(default_factory=dict)
    failures: dict[PairId, str] = field(default_factory=dict)
    log: Path | None = None
    largest: int = 1
    batches: str | None = None


def make_pieces(task: MakeTask) -> Made:
    """What a worker does.

    Raises:
        HarnessError: this machine cannot see what it needs, or the system is not what it is in the main process.
        StorageError: a file cannot be written.
    """
    global _opened
    recipe, made = task.recipe, Made()
    with _lock, _as_there(recipe.around):
        if recipe.far:
            _check_music(task.pieces)
        if _opened is None or _opened.recipe != recipe:
            if _opened is not None:
                _opened.close()
            # Before another is opened, which may fail.
            _opened = None
            _opened = _Opened(recipe)
        _opened.make(task.pieces, made)
    return made


def _host() -> str:
    return socket.gethostname()


def _check_music(pieces: tuple[Piece, ...]) -> None:
    """Raise DataError unless this machine sees the music: what it lacks all of is no single piece's failure."""
    for piece in pieces:
        folder = piece.scene.folder
        if not folder.is_dir():
            raise DataError(f"{_host()} does not see {folder}: {SHARED}")


@contextmanager
def _as_there(around: Surroundings) -> Iterator[None]:
    """Be where the command was started, for what a system's process inherits and what is named relative to it."""
    folder, environment, path = os.getcwd(), dict(os.environ), list(sys.path)  # noqa: PTH109 - to go back to
    try:
        if around.folder.is_dir():
            os.chdir(around.folder)
        if around.environment is not None:
            _set_environment(around.environment)
        if around.path is not None:
            sys.path[:] = around.path
        yield
    finally:
        os.chdir(folder)
        _set_environment(environment)
        sys.path[:] = path


def _set_environment(wanted: Mapping[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)


# The system that this process has opened

_lock = threading.Lock()
"""One task at a time: there is one system, whoever runs several threads in a worker."""
_opened: "_Opened | None" = None

LOOK_SECONDS = 2.0
IDLE_SECONDS = 600.0
"""A system that nobody has asked for so long is closed: others may need its memory, and its GPU's."""


class _Log(Output):
    """Only the log: what workers print is not shown in the middle of the main process's own lines."""

    def show(self, line: bytes) -> None:
        """Nothing."""


class _Opened:
    """A system that is open."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.output = _Log()
        log = recipe.log
        self.output.log_to(log.with_name(f"{log.stem}.{_host()}{log.suffix}") if recipe.far else log)
        hidden = None if recipe.hidden is None else [*recipe.hidden, cache_folder()]
        self.running = Apart(recipe.wanted, recipe.terms, self.output, hidden)
        self.batches = None if recipe.batch is None else Batches(recipe.batch)
        self._used = time.monotonic()
        self._closed = threading.Event()
        try:
            self._open()
        except HarnessError as error:
            self.running.close()
            raise type(error)(f"{_host()}: {error}") if recipe.far else error from None
        except BaseException:
            self.running.close()
            raise
        threading.Thread(target=self._watch, daemon=True).start()
        atexit.register(self.running.close)

    def _open(self) -> None:
        recipe, name = self.recipe, self.recipe.wanted.system
        if recipe.far:
            self._check_seen()
        if recipe.hidden is not None:
            sandbox.ensure_possible()
        named(self.running.start, name, "started")
        named(self.running.find, name, "found")
        declared = named(self.running.load, name, "set up")
        theirs: dict[str, Any] = {**declared, "python": self.running.python}
        ours = {**recipe.declared, "python": recipe.python}
        differ = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        if differ:
            raise SystemFailure(
                f"system {name} declares something else than in the main process ({', '.join(differ)}): workers need "
                "the same code, packages and weights"
            )

    def _check_seen(self) -> None:
        recipe = self.recipe
        if not recipe.staging.is_dir():
            raise UsageError(f"does not see {recipe.staging.parent.parent} and what lies in it: {SHARED}")
        python = recipe.terms.python
        if python is not None and not python.is_file():
            raise UsageError(f"does not see --python {python}: {SHARED}")
        for plugin in recipe.wanted.plugins:
            if plugin.endswith(".py") and not Path(plugin).expanduser().is_file():
                raise UsageError(f"does not see the plugin {recipe.around.folder / plugin}: {SHARED}")

    def make(self, pieces: tuple[Piece, ...], made: Made) -> None:
        """Make some pieces, and add what came of them to `made`."""

        def write(name: str, content: bytes, clipped: int | None) -> None:
            staging = self.recipe.staging
            if not staging.is_dir():
                # And not made again: nobody would remove it.
                raise StorageError(f"{staging} is gone: who wanted these files has ended")
            sha256 = hashlib.sha256(content).hexdigest()
            staged = f"{sha256}-{secrets.token_hex(8)}"
            write_whole(staging / staged, content)
            made.files[name] = staged, FileRecord(sha256=sha256, clipped=clipped)

        with ThreadPoolExecutor(self.recipe.threads) as pool:
            maker = Maker(self.running, self.recipe.manifest, pool, write, made.costs, made.loads, self.batches)
            for pair, reason in maker.make(pieces):
                if reason is not None:
                    made.failures[pair.id] = reason
        if self.batches is not None:
            made.largest, made.batches = self.batches.largest, self.batches.in_words
        self._used = time.monotonic()
        made.log = self.output.path

    def close(self) -> None:
        """End the system's process."""
        self._closed.set()
        self.running.close()
        atexit.unregister(self.running.close)

    def _watch(self) -> None:
        """Close the system when its work is done: a worker of a cluster that is not ours stays."""
        global _opened
        while not self._closed.wait(LOOK_SECONDS):
            if self.recipe.staging.is_dir() and time.monotonic() - self._used < IDLE_SECONDS:
                continue
            with _lock:
                if self._closed.is_set() or (
                    self.recipe.staging.is_dir() and time.monotonic() - self._used < IDLE_SECONDS
                ):
                    continue
                self.close()
                if _opened is self:
                    _opened = None
