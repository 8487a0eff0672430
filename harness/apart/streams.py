"""A piece of music through a streaming system in a child process: one block at a time goes through the pipes."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.apart.channel import Gone
from harness.apart.child import TOOK
from harness.apart.measuring import Cost
from harness.apart.process import Child
from harness.enhancement import Signal
from harness.errors import SystemFailure
from harness.systems.streaming import CHANNELS, Stream, Took


class ChildStream(Stream):
    """A piece of music through a streaming system in a child.

    The child has what it was sent and nothing more: the rest of the music is not in its memory. The clocks run there,
    around the system's `process`.

    Args:
        child: in which the stream was opened.
        block, latency: in samples.
        count: signals that the system returns for each block.
        ask: asks the child for something by name.
        exchange: (child, samples, bytes expected) to the child's answer; raises SystemFailure.
    """

    def __init__(
        self,
        child: Child,
        block: int,
        latency: int,
        count: int,
        ask: Callable[[str], Any],
        exchange: Callable[[Child, bytes, int], bytearray],
    ) -> None:
        self.block, self.latency = block, latency
        self._child, self._count, self._ask, self._exchange = child, count, ask, exchange
        self._expected = TOOK.size + count * block * CHANNELS * 8
        self._before, self._started = 0.0, 0.0
        self._ended = False

    def prepare(self) -> None:
        self._ensure_living()
        self._ask("prepare")
        # What comes before the last time is warming up.
        self._before, self._started = self._child.meter.start_piece(), time.monotonic()

    def process(self, block: Signal) -> tuple[list[NDArray[Any]], Took]:
        self._ensure_living()
        content = np.ascontiguousarray(block, "<f8").tobytes()
        answer = self._exchange(self._child, content, self._expected)
        cpu, wall = TOOK.unpack_from(answer)
        if not (math.isfinite(cpu) and math.isfinite(wall) and cpu >= 0 and wall >= 0):
            self._child.close()
            raise Gone("broke the protocol: it took no time that there is")
        signals = np.frombuffer(answer, "<f8", offset=TOOK.size).reshape(self._count, self.block, CHANNELS)
        return list(signals), Took(cpu, wall)

    def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        if self._child.closed:
            return
        meter = self._child.meter
        if self._started:
            taken = time.monotonic() - self._started, max(0.0, meter.cpu_seconds() - self._before)
            self.cost = Cost(*taken, meter.peak_bytes())
        # All of the piece is here: a child that fails now is started anew for the next one.
        with contextlib.suppress(SystemFailure):
            self._ask("end")
        self._child.deadline = None

    def _ensure_living(self) -> None:
        if self._ended or self._child.closed:
            raise Gone("was ended, and this piece with it")
