"""Who does the work: this process, or several beside it.

Workers only compute; they return results, and this process alone writes files and the database.

Worker processes start afresh: nothing that was done to this process reaches what they compute, neither variables such
as PYTHONPATH nor what a stranger's code changed in memory. So they are started as programs (`harness.compute.worker`):
multiprocessing would hand them this process's import path and main module.
"""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from harness.compute.executor import IDLE_SECONDS, Result, Task, nothing
from harness.errors import HarnessError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_AGAIN = "run the same command again: it continues"


def available_cpus() -> int:
    """Cores that this process may use: what a scheduler such as Slurm leaves it, not what the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


# Where workers start

_PASSED = {
    "HARNESS_CACHE", "HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME",
    # Where the interpreter itself or a library would not be found without them.
    "DYLD_FALLBACK_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH",
    # Which kernels a library computes with: with others than in this process, scores differ in their last digits.
    "MKL_CBWR", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "OPENBLAS_CORETYPE",
}  # fmt: skip
"""Variables that workers are given, besides LC_*; those for Python and numba are not among them."""

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)
"""For processes that share the cores already: variables that libraries look at when they are imported; torch, too, goes
by those of OpenMP and MKL."""

DOUBTFUL = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONOPTIMIZE")
"""Variables with which Python imports other modules than it would, or computes differently."""


@dataclass(frozen=True)
class Surroundings:
    """What a process was started with: interpreter, current folder, environment."""

    python: str
    folder: str
    environment: dict[str, str]

    @property
    def for_workers(self) -> dict[str, str]:
        """The environment that workers get."""
        passed = {name: value for name, value in self.environment.items() if name in _PASSED or name[:3] == "LC_"}
        return {**passed, **ONE_THREAD}

    @property
    def doubtful(self) -> bool:
        """Whether this process may have been given other code than what is installed."""
        if any(self.environment.get(name) for name in DOUBTFUL) or "usercustomize" in sys.modules:
            return True
        customized = getattr(sys.modules.get("sitecustomize"), "__file__", None)
        own = (Path(sys.prefix), Path(sys.base_prefix))
        return customized is not None and not any(Path(customized).is_relative_to(folder) for folder in own)


_kept: Surroundings | None = None


@contextmanager
def kept_surroundings() -> Iterator[None]:
    """Note what this process has now; workers started meanwhile get that, whatever is changed in between."""
    global _kept
    before, _kept = _kept, _surroundings()
    try:
        yield
    finally:
        _kept = before


def _surroundings() -> Surroundings:
    try:
        folder = os.getcwd()  # noqa: PTH109 - Path.cwd() is the same, and slower to import
    except OSError:  # it was removed
        folder = "/"
    return Surroundings(sys.executable, folder, dict(os.environ))


def is_doubtful() -> bool:
    """Whether this process may import other code than what is installed (PYTHONPATH and the like)."""
    return (_kept or _surroundings()).doubtful


# Work


@dataclass
class LocalProcesses:
    """An `Executor` of processes on this machine.

    That one of them dies ends the whole: what one lacks here, most likely memory, the others lack too.

    Attributes:
        workers: number of processes.
        apart: never work in this process: a stranger's code has run in it, or earlier work was done by others. What
            follows that (a last check of a run, say) is not done here because it is little.
    """

    workers: int
    apart: bool = False
    far = False

    def map_unordered(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], idle: Callable[[], None] = nothing
    ) -> Iterator[tuple[Task, Result]]:
        """See `executor.Executor` and `map_unordered`."""
        self.apart = self.apart or (self.workers > 1 and len(tasks) > 1)
        return map_unordered(function, tasks, self.workers, self.apart, idle)


def map_unordered(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int,
    always_apart: bool = False,
    idle: Callable[[], None] = nothing,
) -> Iterator[tuple[Task, Result]]:
    """Apply a function to every task and yield (task, result) as results come.

    Args:
        function: of a module that is installed, so that other processes can import it by its name; what stands under
            that name there is called. What it raises ends the whole.
        tasks: may be pickled. Given in an order in which neighbours share work. Relative paths in them start from
            where the command was started (`kept_surroundings`).
        workers: number of processes; with 1, or for one task, the work is done in this one.
        always_apart: not in this process, however little there is to do: for when it runs a stranger's code. So it is
            in any case where this process may import other code than what is installed (PYTHONPATH and the like).
        idle: called while results of other processes are waited for, about every `IDLE_SECONDS`.

    Raises:
        HarnessError: worker processes cannot start, or one died, most likely for want of memory.
    """
    start = _kept or _surroundings()
    if not tasks:
        return
    if (workers <= 1 or len(tasks) <= 1) and not always_apart and not start.doubtful:
        for task in tasks:
            yield task, function(task)
        return
    with Pool(function, min(workers, len(tasks)), start) as pool:
        yield from pool.map_unordered(tasks, idle)


class Pool:
    """Worker processes that stay, with all that they keep in memory, from one piece of work to the next.

    Args:
        function: what they do, see `map_unordered`.
        workers: number of processes.
        start: what they are started with; by default what this process has.

    Raises:
        HarnessError: they cannot start.
    """

    def __init__(self, function: Callable[[Any], Any], workers: int, start: Surroundings | None = None) -> None:
        self.size = max(1, workers)
        self._workers: list[_Worker] = []
        try:
            for _ in range(self.size):
                self._workers.append(_Worker.start(function, start or _kept or _surroundings()))
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether the processes have ended."""
        return not self._workers

    def map_unordered(self, tasks: Sequence[Task], idle: Callable[[], None] = nothing) -> Iterator[tuple[Task, Any]]:
        """Apply the function to every task and yield (task, result) as results come.

        Whatever stops that ends the processes: some may be at work on something that nobody wants any more.

        Raises:
            HarnessError: a process died; and whatever the function raises.
        """
        try:
            yield from _shared_out(tasks, self._workers, idle)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes."""
        while self._workers:
            self._workers.pop().end()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(eq=False)
class _Worker:
    """A worker process as its parent sees it."""

    python: str
    process: "subprocess.Popen[bytes]"
    tasks: "Connection"
    results: "Connection"
    ready: bool = False
    doing: list[Any] = field(default_factory=list)
    """The task that it works on, if any."""

    @classmethod
    def start(cls, function: Callable[..., Any], start: Surroundings) -> "_Worker":
        """Start a process that will apply a function.

        Raises:
            HarnessError: the system lets none start.
        """
        from multiprocessing import Pipe

        # The same encoding of file names, which an isolated interpreter would not be told otherwise.
        options = ["-I", "-X", f"utf8={sys.flags.utf8_mode}", *(["-B"] if sys.dont_write_bytecode else [])]
        name = [function.__module__, function.__qualname__]
        with ExitStack() as theirs, ExitStack() as ours:
            try:
                tasks, sending = Pipe(duplex=False)
                theirs.callback(tasks.close)
                ours.callback(sending.close)
                results, returning = Pipe(duplex=False)
                theirs.callback(returning.close)
                ours.callback(results.close)
                pipes = [tasks.fileno(), returning.fileno()]
                with _interrupts_blocked():
                    process = subprocess.Popen(  # noqa: S603 - ourselves
                        [start.python, *options, "-m", "harness.compute.worker", *map(str, pipes), *name],
                        env=start.for_workers,
                        cwd=start.folder,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        pass_fds=pipes,
                    )
            except OSError as error:
                raise HarnessError(_cannot_start(error.strerror or str(error))) from error
            ours.pop_all()
        return cls(start.python, process, sending, results)

    def give(self, task: object) -> None:
        """Have it work on a task. Raises HarnessError: it died."""
        self.doing = [task]
        try:
            self.tasks.send_bytes(pickle.dumps(task))
        except OSError as error:
            raise self._died() from error

    def take(self) -> Any:
        """What it has sent. Raises what its work raised, or HarnessError: it died."""
        try:
            good, value = pickle.loads(self.results.recv_bytes())  # noqa: S301 - only this worker holds the other end
        except (EOFError, OSError) as error:
            raise self._died() from error
        if not good:
            raise value
        return value

    def end(self) -> None:
        """End it at once: it works on nothing, or on something that nobody will use."""
        self.tasks.close()
        self.results.close()
        self.process.kill()
        self.process.wait()

    def _died(self) -> HarnessError:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        code = self.process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        if not self.ready and code == 1:
            return HarnessError(f"worker processes cannot start: install cadenza-harness for {self.python}")
        if not self.ready:
            return HarnessError(_cannot_start(how))
        return HarnessError(
            f"a worker process died ({how}; out of memory?): "
            "run the same command again with fewer --workers, or --processes of a system: it continues"
        )


def _cannot_start(why: str) -> str:
    return f"worker processes cannot start ({why}): check the limits on memory, files and processes, then {_AGAIN}"


def _shared_out(tasks: Sequence[Task], pool: Sequence[_Worker], idle: Callable[[], None]) -> Iterator[tuple[Task, Any]]:
    from multiprocessing.connection import wait

    waiting = iter(tasks)
    # Those that have worked before wait for tasks; the others say first that they are ready.
    for worker, task in zip([worker for worker in pool if worker.ready], waiting, strict=False):
        worker.give(task)
    by_pipe: dict[Any, _Worker] = {worker.results: worker for worker in pool}
    missing = len(tasks)
    while missing:
        ready = wait(list(by_pipe), None if idle is nothing else IDLE_SECONDS)
        if not ready:
            idle()
        for pipe in ready:
            worker = by_pipe[pipe]
            value, done = worker.take(), worker.doing
            if not worker.ready:
                _check_same_code(value)
                worker.ready = True
            worker.doing = []
            for task in waiting:
                worker.give(task)
                break
            if done:
                missing -= 1
                yield done[0], value


def _check_same_code(found: str) -> None:
    """Refuse workers that would compute with another copy of harness than this one."""
    if not Path(found).samefile(harness.__file__):
        raise HarnessError(
            f"worker processes import harness from {Path(found).parent}, and this is {Path(harness.__file__).parent}: "
            "unset PYTHONPATH, or install this copy (pip install)"
        )


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from a process that is about to start and cannot deal with it yet; it unblocks it itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
