"""The parent's end of the pipes to a child: sending, and receiving with suspicion.

What comes from the child is a stranger's: sizes are bounded before anything is allocated, and whatever does not follow
the form ends the child.
"""

import contextlib
import errno
import json
import os
import select
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.apart.child import ARRAY, BLOCK, DIMENSION, DTYPES, HEADER, MAGIC, packed
from harness.errors import SystemFailure

MAX_DOCUMENT = 4 * 2**20
"""Bytes of a reply's document: the names and hashes of some thousand files."""

LOOK = 0.2
"""Seconds between looks at whether the child still lives, while nothing comes."""

PIPE = 2**20
"""Size of the pipes, where the system allows it: signals are megabytes."""

_PATIENCE = 5.0
"""Seconds that a child may live on after it closed its end."""


class Gone(SystemFailure):
    """The child died, hung, or broke the protocol: it cannot be used any more."""


class Channel:
    """Pipes to a child.

    Args:
        alive: says whether the child still lives.
    """

    def __init__(self, reading: int, writing: int, alive: Callable[[], bool]) -> None:
        self._reading, self._writing, self._alive = reading, writing, alive
        self._until = float("inf")
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError, ImportError, AttributeError):
                import fcntl

                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)

    def close(self) -> None:
        """Close both ends; the child then ends by itself if it can."""
        os.close(self._reading)
        os.close(self._writing)

    def exchange(
        self, document: dict[str, Any], arrays: Sequence[NDArray[Any]], timeout: float | None, limit: int, most: int
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        """Send a request and wait for its reply.

        Args:
            document: with a "number" that the reply must carry.
            arrays: signals for the child.
            timeout: seconds that this may take in all, or None.
            limit: bytes that each array of the reply may have.
            most: arrays that the reply may have.

        Raises:
            Gone: the child died, did not answer in time, or broke the protocol.
        """
        self._until = float("inf") if timeout is None else time.monotonic() + timeout
        for buffer in packed(document, arrays):
            self._send(memoryview(buffer))
        magic, length, count = HEADER.unpack(self._receive(HEADER.size))
        reply = self._reply(magic, length, count, document["number"], most)
        return reply, [self._array(limit) for _ in range(count)]

    def exchange_block(
        self, number: int, content: bytes, timeout: float | None, expected: int
    ) -> bytearray | dict[str, Any]:
        """Send a block of a stream and wait for what becomes of it.

        Args:
            number: below 2**32; the answer must carry it.
            content: samples.
            timeout: seconds that this may take in all, or None.
            expected: bytes that the answer has, but for its header.

        Returns:
            These bytes, or the document of a reply that says what went wrong.

        Raises:
            Gone: as `exchange`.
        """
        self._until = float("inf") if timeout is None else time.monotonic() + timeout
        self._send(memoryview(HEADER.pack(BLOCK, len(content), number) + content))
        magic, length, count = HEADER.unpack(self._receive(HEADER.size))
        if magic != BLOCK:
            return self._reply(magic, length, count, number, 0)
        if length != expected or count != number:
            raise Gone("broke the protocol: its block has the wrong form")
        return self._receive(length)

    def _reply(self, magic: bytes, length: int, count: int, number: int, most: int) -> dict[str, Any]:
        """The document of an ordinary reply, after its header."""
        if magic != MAGIC or length > MAX_DOCUMENT or count > most:
            raise Gone("broke the protocol: its answer has the wrong form")
        reply = self._document(self._receive(length))
        if reply.get("number") != number:
            raise Gone("broke the protocol: it answers what was not asked")
        return reply

    def _document(self, content: bytearray) -> dict[str, Any]:
        def refuse(word: str) -> Any:
            raise ValueError(word)

        try:
            reply = json.loads(bytes(content), parse_constant=refuse)
        except (ValueError, RecursionError):
            raise Gone("broke the protocol: its answer is not JSON") from None
        if not isinstance(reply, dict):
            raise Gone("broke the protocol: its answer is no object")
        return reply

    def _array(self, limit: int) -> NDArray[Any]:
        name, dimensions = ARRAY.unpack(self._receive(ARRAY.size))
        kind = name.rstrip(b"\0").decode("ascii", "replace")
        if kind not in DTYPES or dimensions > 8:
            raise Gone("broke the protocol: it sends what is no signal")
        shape = [DIMENSION.unpack(self._receive(DIMENSION.size))[0] for _ in range(dimensions)]
        size = np.dtype(kind).itemsize
        for length in shape:
            size *= length
        if size > limit:
            raise Gone(f"broke the protocol: it sends a signal of {size} bytes, at most {limit} are expected")
        return np.frombuffer(self._receive(size), dtype=kind).reshape(shape)

    def _send(self, view: memoryview) -> None:
        view = view.cast("B")
        while view:
            self._wait(self._writing, select.POLLOUT)
            try:
                view = view[os.write(self._writing, view[:PIPE]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self._closed()

    def _receive(self, count: int) -> bytearray:
        content = bytearray(count)
        view = memoryview(content)
        while view:
            self._wait(self._reading, select.POLLIN)
            try:
                got = os.readv(self._reading, [view])
            except BlockingIOError:
                continue
            if not got:
                self._closed()
            view = view[got:]
        return content

    def _wait(self, descriptor: int, event: int) -> None:
        """Wait until a descriptor is ready for an event. Raises Gone if the child is not alive, or time is over."""
        # Not select.select, which knows no descriptor above 1023: the caller's program may have many files open.
        poll = select.poll()
        poll.register(descriptor, event)
        while True:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimedOut
            alive = self._alive()
            # Looked at before: what a child wrote before it died is still there to be read.
            if poll.poll(1000 * min(LOOK, left) if alive else 0):
                return
            if not alive:
                raise Gone

    def _closed(self) -> None:
        """The child has closed its end: most likely it is dying."""
        until = time.monotonic() + _PATIENCE
        while self._alive() and time.monotonic() < until:
            time.sleep(0.01)
        raise Gone("closed its connection to the harness" if self._alive() else "")


class TimedOut(Gone):
    """The child did not answer in time."""
