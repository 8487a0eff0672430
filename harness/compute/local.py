"""Who does the work: this process, or several beside it.

Workers only compute; they return results, and this process alone writes files and the database.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from harness.errors import HarnessError

Task = TypeVar("Task")
Result = TypeVar("Result")

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def available_cpus() -> int:
    """Cores that this process may use: what a scheduler such as Slurm leaves it, not what the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def map_unordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    """Apply a function to every task and yield (task, result) as results come.

    Args:
        function: of a module, so that other processes can find it. What it raises ends the whole.
        tasks: may be pickled. Given in an order in which neighbours share work.
        workers: number of processes; with 1 the work is done in this one.

    Raises:
        HarnessError: a worker died, most likely for want of memory.
    """
    if workers <= 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, function(task)
        return
    # Spawn, not fork: a forked child would inherit locks held by threads of numba, torch or BLAS.
    context = multiprocessing.get_context("spawn")
    with _one_thread_each():
        pool = ProcessPoolExecutor(max_workers=min(workers, len(tasks)), mp_context=context, initializer=_start_worker)
        futures = {pool.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool:
        raise HarnessError(
            "a worker process died (out of memory?): run the same command again with fewer --workers; it continues"
        ) from None
    finally:
        # On an error or Ctrl-C: do not wait for minutes of work that nobody will use.
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        if any(not future.done() for future in futures):
            for process in processes:
                process.terminate()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let each worker use one thread: the workers share the cores already."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and end when that is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
