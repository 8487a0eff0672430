"""A process that is many of Dask's workers, which sleep instead of scoring: `python hosts.py` (see `thousand`).

Reads one line of JSON: where the scheduler is, certificates, how many workers, and how long a pair takes. Each worker
is a real one: a connection of its own, with TLS, heartbeats, a thread; a task and its result are pickled as always, and
what is called is the harness's own way from there to `score_chunk`. Ends when its standard input does.
"""

import asyncio
import contextlib
import json
import logging
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import dask

from harness.compute.cluster import worker
from harness.haaqi.evaluator import Score
from harness.scoring import tasks

PATIENCE = "600s"
"""Workers here share their cores with the scheduler, so they may be slow to answer."""


@dataclass(frozen=True)
class Asleep:
    """Takes the place of `score_chunk`: proves itself as that does, sleeps, and makes up scores.

    Attributes:
        seconds: for a pair, give or take a fifth.
    """

    seconds: float

    def __call__(self, chunk: tasks.Chunk) -> tuple[list[tasks.Outcome], tasks.Proof]:
        proof = tasks._proven(chunk.tasks[0].pair.scene.protocol, chunk.tasks[0].engine, chunk.proven)
        draw = random.Random(chunk.tasks[0].sha256)  # noqa: S311
        time.sleep(self.seconds * len(chunk.tasks) * draw.uniform(0.8, 1.2))
        return [Score(draw.random(), draw.random()) for _ in chunk.tasks], proof


async def host(given: dict[str, Any]) -> None:
    """Be workers until standard input ends."""
    from distributed import Worker
    from distributed.security import Security

    with tempfile.TemporaryDirectory() as folder:
        async with contextlib.AsyncExitStack() as alive:
            for _ in range(given["workers"]):
                await alive.enter_async_context(
                    Worker(
                        given["address"],
                        nthreads=1,
                        memory_limit=0,
                        local_directory=folder,
                        security=Security(**given["security"]) if given["security"] else None,
                        protocol=given["address"].partition(":")[0] + "://",
                        dashboard=False,
                    )
                )
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    given = json.loads(sys.stdin.readline())
    tasks.score_chunk = Asleep(given["seconds"])
    # Nothing is computed here, so workers of one process need not take turns.
    worker._turn = contextlib.nullcontext()
    # What costs the worker alone, a thousand of which have no cores here, and patience with those that wait for one.
    sparing = {
        "distributed.admin.system-monitor.interval": "60s",
        "distributed.admin.tick.interval": "60s",
        "distributed.comm.timeouts.connect": PATIENCE,
        "distributed.comm.timeouts.tcp": PATIENCE,
        "distributed.worker.profile.enabled": False,
    }
    with dask.config.set(sparing):
        asyncio.run(host(given))
