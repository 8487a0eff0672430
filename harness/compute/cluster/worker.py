"""What a Dask worker does."""

import importlib
import pickle
import socket
import sys
import threading
from functools import lru_cache, reduce
from typing import Any

from harness.compute import local
from harness.compute.cluster.code import code_sha256
from harness.errors import HarnessError

_turn = threading.Lock()
"""One task at a time: HAAQI draws from NumPy's global generator, and a worker may have been given several threads."""


def perform(function: str, task: bytes, code: str, **_marks: Any) -> Any:
    """Apply a function to a task.

    Args:
        function: "module:name".
        task: its argument, pickled: only who runs the same code can make anything of it.
        code: `code_sha256` of whoever asks.
        _marks: for Dask, which takes them away if it knows them.

    Raises:
        HarnessError: this worker runs other code; and whatever the function raises.
    """
    with _turn:
        problem = _unfit(code)
        if problem is not None:
            raise HarnessError(problem)
        module, _, name = function.partition(":")
        found: Any = importlib.import_module(module)
        return reduce(getattr, name.split("."), found)(pickle.loads(task))  # noqa: S301 - workers run whatever they are sent


@lru_cache(maxsize=4)
def _unfit(code: str) -> str | None:
    """Why this process may not work for somebody who runs that code; None if it may."""
    host = socket.gethostname()
    if code_sha256() != code:
        return (
            f"{host} runs another harness: install the same cadenza-harness there, in the Python that runs the worker"
        )
    # An isolated interpreter (python -I) takes no notice of such variables.
    if not sys.flags.isolated and local.is_doubtful():
        return (
            f"{host} may import other code than what is installed there: unset PYTHONPATH and the like, or start its "
            "workers with python -I -m dask worker"
        )
    return None
