"""One child: starting it, asking it, ending it with all that it started, and saying how it died."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.apart import child
from harness.apart.channel import Channel, Gone, TimedOut
from harness.apart.measuring import Meter, end
from harness.apart.output import Output, Pump
from harness.apart.sandbox import MAX_PROCESSES, View
from harness.compute.local import ONE_THREAD


@dataclass(frozen=True)
class Terms:
    """How children are run.

    Attributes:
        python: the interpreter; None for the harness's own.
        timeout: seconds that a request may take, or None.
        memory: bytes that the child's processes may have together, or None.
        sandbox: what the sandbox shows, or None for no sandbox.
        one_thread: whether numerical libraries are told to compute in one thread.
    """

    python: Path | None = None
    timeout: float | None = None
    memory: int | None = None
    sandbox: View | None = None
    one_thread: bool = False


class Child:
    """A child process.

    Args:
        terms: how it is run.
        output: where what it prints goes.

    Raises:
        Gone: it cannot be started.
    """

    def __init__(self, terms: Terms, output: Output) -> None:
        self.terms = terms
        self._number = 0
        self.closed = False
        self.deadline: float | None = None
        """By `time.monotonic`, when all that is asked must have been answered; None: every request has its timeout."""
        to_child, our_end = os.pipe()
        from_child_ours, from_child = os.pipe()
        printed, prints = os.pipe()
        view = terms.sandbox
        settings = {
            "read": to_child,
            "write": from_child,
            "path": None if terms.python else _path(view),
            "limits": {} if view is None else view.limits(terms.memory),
            "environment": ONE_THREAD if terms.one_thread else {},
            # In a sandbox the parent cannot be seen; bubblewrap ends the child with it.
            "parent": 0 if view else os.getpid(),
        }
        interpreter = [str(terms.python), "-I"] if terms.python else [sys.executable]
        arguments = [*interpreter, "-u", "-X", "faulthandler", child.__file__, json.dumps(settings)]
        if view is not None:
            arguments = view.command(arguments)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=prints,
                stderr=prints,
                pass_fds=(to_child, from_child),
                env=_environment(terms),
                start_new_session=True,
            )
        except OSError as error:
            for descriptor in (our_end, from_child_ours, printed):
                os.close(descriptor)
            raise Gone(f"cannot be started with {arguments[0]}: {error.strerror}") from None
        finally:
            for descriptor in (to_child, from_child, prints):
                os.close(descriptor)
        self._pump = Pump(printed, output)
        self._channel = Channel(from_child_ours, our_end, lambda: self._process.poll() is None)
        self.meter = Meter(self._process.pid, terms.memory, MAX_PROCESSES if view else None)

    def ask(
        self,
        method: str,
        document: Mapping[str, Any],
        arrays: Sequence[NDArray[Any]],
        limit: int,
        most: int,
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Ask for something and wait for the reply.

        Args:
            limit: bytes that each array of the reply may have.
            most: arrays that the reply may have.

        Raises:
            Gone: the child died, did not answer in time, or broke the protocol; it has been ended, and the message
                says what happened.
        """
        self._number += 1
        request = {**document, "method": method, "number": self._number, "limit": limit}
        with self._ending():
            return self._channel.exchange(request, arrays, self._left(), limit, most)

    def process(self, content: bytes, expected: int) -> bytearray | dict[str, Any]:
        """Have the next block of a stream processed.

        Args:
            content: its samples.
            expected: bytes that the answer has, but for its header.

        Returns:
            The answer, or a reply that says what went wrong.

        Raises:
            Gone: as `ask`.
        """
        self._number += 1
        with self._ending():
            return self._channel.exchange_block(self._number % 2**32, content, self._left(), expected)

    def _left(self) -> float | None:
        """Seconds that the next answer may take."""
        return self.terms.timeout if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """End the child if it cannot be used any more, and say what happened."""
        try:
            yield
        except TimedOut:
            self.close()
            raise Gone(f"took longer than {self.terms.timeout:g} s, and was ended") from None
        except Gone as error:
            status = self._process.poll()
            self.close()
            raise Gone(self.meter.violation or str(error) or how_it_ended(status)) from None
        except BaseException:  # Ctrl-C, most likely: it is in the middle of an answer
            self.close()
            raise

    def close(self) -> None:
        """End the child with all that it started."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(OSError):
            self._channel.close()
        family = self.meter.family()
        # First as a group, which is quick; then those that left it.
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        end(family)
        self._process.wait()
        self.meter.close()
        self._pump.close()


def _path(view: View | None) -> list[str]:
    """This process's sys.path for a child; where there is a sandbox, only what that shows."""
    if view is not None:
        return view.path(sys.path)
    return [str(Path(entry or ".").absolute()) for entry in sys.path]


def _environment(terms: Terms) -> dict[str, str] | None:
    if terms.sandbox is not None:
        return {}
    if terms.python is None:
        return None
    # Of another interpreter: what is set for ours would mislead it.
    ours = ("PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def how_it_ended(status: int | None) -> str:
    """The end of a process in words, from its return code as `subprocess` gives it."""
    if status is None:
        return "stopped answering, and was ended"
    if status < 0 or status > 128:  # bubblewrap passes a signal on as a shell does
        number = -status if status < 0 else status - 128
        with contextlib.suppress(ValueError):
            words = (signal.strsignal(number) or signal.Signals(number).name).lower()
            hint = ": out of memory?" if number == signal.SIGKILL else ""
            return f"died with signal {number} ({words}){hint}"
    return f"ended with exit code {status}"
