"""Looking after a cluster: how many workers there are, what the jobs wait for, and what became of them."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0
"""After so long without a worker it is said that there is none."""

SAY_SECONDS = 30.0
"""At most so often."""


class Watch:
    """Says what the user would otherwise wonder about.

    Args:
        client: of the cluster.
        upkeep: replaces workers that are gone, and raises where none can come any more; called about every
            `PATIENCE_SECONDS`. It is told how many workers there are, and returns in words what is waited for.

    Attributes:
        workers: how many there were when it last looked.
    """

    def __init__(self, client: Any, upkeep: Callable[[int], str]) -> None:
        self._client, self._upkeep = client, upkeep
        self._looked = self._there = time.monotonic()
        self._said: tuple[float, str] = (0.0, "")
        self._several = False
        self.workers = len(client.nthreads())

    def __call__(self) -> None:
        """Look, if it is time to."""
        now = time.monotonic()
        if now - self._looked < PATIENCE_SECONDS:
            return
        self._looked = now
        threads = self._client.nthreads() if self._client.status == "running" else {}
        if not self._several and (several := Counter(threads.values())) and max(several) > 1:
            self._several = True
            log.warning("workers have %d threads and use one: start them with --nthreads 1, and more", max(several))
        self.workers = len(threads)
        said = self._upkeep(self.workers)
        if threads:
            self._there = now
            if self._said[1]:
                log.info("%d workers", self.workers)
                self._said = now, ""
        elif now - self._there >= PATIENCE_SECONDS:
            text = f"0 workers{said and ', '}{said}"
            if text != self._said[1] or now - self._said[0] >= SAY_SECONDS:
                log.info("%s", text)
                self._said = now, text
