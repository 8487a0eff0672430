"""The real-time load of a streaming system as the manifest keeps it."""

import platform
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import printable
from harness.submission.causality import LoadRecord

MOST = 1e9
"""Load that a record holds at most: a child says what its blocks took."""


def load_of(cpu: NDArray[Any], wall: NDArray[Any]) -> LoadRecord:
    """The record of one piece of music: quantiles over all its blocks, and how many of them came late.

    Args:
        cpu, wall: load of each block by the two clocks, (blocks,); see `harness.systems.streaming.Streamed`.
    """
    cpu, wall = (np.minimum(load, MOST) for load in (cpu, wall))
    return LoadRecord(
        blocks=len(cpu),
        cpu_p50=float(np.quantile(cpu, 0.5)),
        cpu_p99=float(np.quantile(cpu, 0.99)),
        cpu_worst=float(cpu.max()),
        cpu_late=int((cpu > 1).sum()),
        wall_p50=float(np.quantile(wall, 0.5)),
        wall_p99=float(np.quantile(wall, 0.99)),
        wall_worst=float(wall.max()),
        wall_late=int((wall > 1).sum()),
        processor=processor(),
    )


@cache
def processor() -> str:
    """Name of this machine's processor as far as the operating system knows it, or ""."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    # Not every architecture's Linux gives one.
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return printable(named[0] if named else platform.processor())[:500]
