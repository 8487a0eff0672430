"""Who computes: the options that `run`, `enhance` and `score` share, and opening what they ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.common import given
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.compute.cluster.config import Purpose
    from harness.compute.executor import Executor

Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="WHERE",
        callback=given,
        help="Compute on a cluster: `slurm` for its jobs, `local` to try it on this machine, or a Dask cluster that "
        "runs, by its address or scheduler file.",
    ),
]
ClusterConfig = Annotated[
    Path | None,
    typer.Option(
        "--cluster-config", metavar="FILE", help="How Slurm's jobs are to be: a YAML file (docs/how-to/slurm.md)."
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="I/N",
        callback=given,
        help="Only this part of the scenes: the I-th of N, for the jobs of an array.",
    ),
]


def check_cluster(cluster: str | None, config: Path | None) -> None:
    """Look at what the options say, before the work begins. Raises UsageError."""
    if cluster is None:
        if config is not None:
            raise UsageError("--cluster-config goes with --cluster")
        return
    from harness.compute.cluster.opening import check_cluster as check

    check(cluster, config)


@contextmanager
def executor_of(
    cluster: str | None, config: Path | None, purpose: "Purpose", workers: int, apart: bool = False
) -> "Iterator[Executor]":
    """Who computes, as the options say; a cluster that we started ends with the context.

    Args:
        cluster, config: as the user named them, looked at by `check_cluster`.
        purpose: the configuration may differ for enhancement.
        workers: processes on this machine, where it works.
        apart: never compute in this process: a stranger's code has run in it.

    Raises:
        UsageError: what they name cannot be used.
        HarnessError: the cluster cannot be reached or started.
    """
    from harness.compute.local import LocalProcesses

    if cluster is None:
        yield LocalProcesses(workers, apart)
        return
    from harness.compute.cluster.opening import opened_cluster

    with opened_cluster(cluster, config, purpose, workers) as executor:
        yield executor
