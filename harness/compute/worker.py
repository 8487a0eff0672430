"""What a worker process does: it computes what it is sent and sends back what came of it. `local` starts it.

    python -I -m harness.compute.worker TASKS RESULTS MODULE FUNCTION

TASKS and RESULTS are the numbers of two open pipes. Every message is a pickle: a task on the one; on the other a pair,
(True, result) or (False, exception). The first pair says where this process found harness, once FUNCTION is imported.
"""

import importlib
import os
import pickle
import signal
import sys
import threading
import traceback
from functools import reduce
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import harness
from harness.startup import uncollected

WATCH_SECONDS = 0.5
"""How often a worker looks whether its parent is still there."""


def main() -> None:
    """Work until the parent closes the pipe of tasks, or is gone."""
    # Ctrl-C is for the parent, who ends its workers; it was blocked until here.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    tasks, results = Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False)
    waiting: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks, waiting, os.getppid()), daemon=True).start()
    try:
        with uncollected():
            found: Any = importlib.import_module(sys.argv[3])
        function = reduce(getattr, sys.argv[4].split("."), found)
    except Exception as error:
        results.send_bytes(_failed(error))
        return
    results.send_bytes(pickle.dumps((True, harness.__file__)))
    while True:
        message = waiting.get()
        try:
            answer = pickle.dumps((True, function(pickle.loads(message))))  # noqa: S301 - from our parent alone
        except Exception as error:
            answer = _failed(error)
        results.send_bytes(answer)


def _receive(tasks: Connection, waiting: "SimpleQueue[bytes]", parent: int) -> None:
    """Pass on what the parent sends; end this process, whatever it is doing, when the parent is gone.

    The pipe alone does not tell: a forked child of the parent may still hold its other end.
    """
    try:
        while True:
            while not tasks.poll(WATCH_SECONDS):
                if os.getppid() != parent:
                    os._exit(1)
            waiting.put(tasks.recv_bytes())
    except (EOFError, OSError):
        os._exit(1)


def _failed(error: Exception) -> bytes:
    """The message that a task failed; its traceback travels as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    answer: Any = (False, error)
    try:
        message = pickle.dumps(answer)
        pickle.loads(message)  # noqa: S301 - our own
    except Exception:  # whatever strange exceptions do
        message = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return message


if __name__ == "__main__":
    main()
