"""Dask's settings under which nothing is lost and nobody listens; what users have set themselves stays."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

SETTINGS: dict[str, Any] = {
    # A worker holds the task that it works on and no other: none is blamed for the death that another caused.
    "distributed.scheduler.worker-saturation": 1.0,
    # A task that has ended three workers is given up.
    "distributed.scheduler.allowed-failures": 2,
    # After 15 s, the default, a worker that takes longer to start again is given up for good, and nobody says so.
    "distributed.deploy.lost-worker-timeout": "60s",
}

ENCRYPTED = {"distributed.comm.require-encryption": True}
"""For clusters that we start."""


@contextmanager
def applied(more: Mapping[str, Any]) -> Iterator[None]:
    """Dask with these settings and more, but for those that the user's own configuration has (files, variables)."""
    import dask

    own = dask.config.collect()
    ours = {**SETTINGS, **more}
    with dask.config.set({key: value for key, value in ours.items() if dask.config.get(key, None, own) is None}):
        yield
