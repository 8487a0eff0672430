"""An `Executor` whose workers are Dask's."""

import asyncio
import contextlib
import logging
import pickle
import queue
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from harness.compute.cluster.code import code_sha256
from harness.compute.cluster.worker import perform
from harness.compute.executor import IDLE_SECONDS, Lost, Result, Task, nothing
from harness.errors import HarnessError

log = logging.getLogger(__name__)

WINDOW = 1000
"""Tasks that Dask is given at a time, unless there are more workers: it keeps some kilobytes for each."""

FETCH_SECONDS = 30.0
"""So long at most results are fetched before the cluster is looked after again: who had them may be gone, and nobody
be there to compute them again."""

QUEUED = {"_data_producer": True}
"""Keeps a task with the scheduler until a worker is free: a worker's death is held against all tasks that are with it.
Without it Dask queues tasks only where there are many more than workers."""

GONE = "the connection to the cluster's scheduler is lost: run the same command again: it continues"


class DaskExecutor:
    """Workers of a Dask cluster.

    Args:
        client: a `distributed.Client` of it.
        workers: how many there are to be.
        look: called again and again while work goes on: it replaces workers that are gone, and says why there are none.
    """

    far = True

    def __init__(self, client: Any, workers: Callable[[], int], look: Callable[[], None]) -> None:
        self._client, self._workers, self._look = client, workers, look

    @property
    def workers(self) -> int:
        """How many tasks may be worked on at a time."""
        return max(1, self._workers())

    def map_unordered(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], idle: Callable[[], None] = nothing
    ) -> Iterator[tuple[Task, Result | Lost]]:
        """See `executor.Executor`.

        Results are fetched as they come, and released at once: those that stay on a worker die with it, and their tasks
        would be worked on again.
        """
        name = f"{function.__module__}:{function.__qualname__}"
        waiting, given = iter(tasks), dict[Any, tuple[Any, Task]]()
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def give(count: int) -> None:
            for task in islice(waiting, count):
                # Pickled here, or the scheduler, most often in this process, makes objects of it and keeps them.
                # Not by the hash of what is asked: the same is asked again where a worker was lost.
                packed = pickle.dumps(task)
                future = self._client.submit(perform, name, packed, code_sha256(), pure=False, **QUEUED)
                given[future.key] = future, task
                future.add_done_callback(finished.put)

        def window() -> int:
            return max(0, max(WINDOW, 2 * self.workers) - len(given))

        try:
            give(window())
            taken: list[Any] = []
            while given:
                self._look()
                new = _taken(finished)
                taken += new
                results, error = self._results(taken)
                for future, result in results:
                    _, task = given.pop(future.key)
                    future.release()
                    yield task, result
                if error is not None:
                    raise error
                if not new:
                    idle()
                taken = [future for future in taken if future.key in given]
                give(window())
        except OSError as error:
            if self._client.status == "running":
                raise
            raise HarnessError(GONE) from error
        finally:
            if given:
                with contextlib.suppress(Exception):
                    self._client.cancel([future for future, _ in given.values()], force=True)

    def _results(self, futures: Sequence[Any]) -> tuple[list[tuple[Any, Any]], Exception | None]:
        """What came of tasks that were finished, and what one has raised.

        There is nothing for those whose worker died before their results were fetched.

        Raises:
            HarnessError: the cluster is gone.
        """
        from distributed.scheduler import KilledWorker

        found: list[tuple[Any, Any]] = []
        good, raised = [], None
        for future in futures:
            status = future.status
            if status == "cancelled":
                raise HarnessError(GONE)
            if status == "finished":
                good.append(future)
            if status != "error":
                continue
            error = future.exception()
            if isinstance(error, KilledWorker):
                times = error.allowed_failures + 1
                found.append((future, Lost(f"its worker process died {times} times (out of memory?)")))
            elif isinstance(error, ImportError) and (error.name or "").partition(".")[0].startswith("harness"):
                raised = HarnessError(
                    f"the cluster's scheduler or workers have no harness ({error}): install the same cadenza-harness "
                    "where they run"
                )
            else:
                raised = error
        try:
            results = self._fetched(good)
        except (KilledWorker, TimeoutError):
            # Of one that was finished and has to be done again. Who it is says its status.
            return found, raised
        except Exception as error:
            if self._client.status == "running":
                raise
            raise HarnessError(GONE) from error
        return found + list(zip(good, results, strict=True)), raised

    def _fetched(self, futures: Sequence[Any]) -> list[Any]:
        """The results of futures. Raises TimeoutError: they take too long; what is under way goes on, for nobody."""
        if not futures:
            return []
        coming = self._client.gather(list(futures), asynchronous=True)
        fetching = asyncio.run_coroutine_threadsafe(coming, self._client.loop.asyncio_loop)
        found: list[Any] = fetching.result(FETCH_SECONDS)
        return found


def _taken(finished: "queue.SimpleQueue[Any]") -> list[Any]:
    """All that is finished, as soon as anything is; nothing if that takes longer than a moment."""
    taken = []
    with contextlib.suppress(queue.Empty):
        taken.append(finished.get(timeout=IDLE_SECONDS))
        while True:
            taken.append(finished.get_nowait())
    return taken
