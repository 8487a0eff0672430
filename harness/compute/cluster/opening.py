"""Opening a cluster: of Slurm's jobs, of processes on this machine, or any Dask cluster that runs already."""

import importlib
import importlib.util
import logging
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.compute.cluster.config import Purpose, read_jobs
from harness.compute.cluster.settings import ENCRYPTED, applied
from harness.compute.executor import Executor
from harness.compute.local import ONE_THREAD
from harness.errors import HarnessError, UsageError

log = logging.getLogger(__name__)

CONNECT_SECONDS = 30
"""So long a scheduler may take to answer."""

CHOICES = "slurm, local, the address of a Dask scheduler (tls://host:port), or the path of its scheduler file"


def check_cluster(where: str, config: Path | None) -> None:
    """Look at what the user says, without opening anything: before the work begins.

    Args:
        where, config: as of `opened_cluster`.

    Raises:
        UsageError: that is no cluster; the configuration is wrong, or not for this kind of cluster; a package is
            missing.
    """
    given = where.startswith(("tls://", "tcp://")) or Path(where).is_file()
    if where not in ("slurm", "local") and not given:
        if re.fullmatch(r"[\w.-]+:\d+", where):
            raise UsageError(f"--cluster {where}: say tls://{where}, or tcp:// where nothing is encrypted")
        raise UsageError(f"--cluster {where}: expected {CHOICES}")
    if config is not None and where != "slurm":
        raise UsageError("--cluster-config is for --cluster slurm: other clusters have their workers already")
    for name in _packages(where):
        if importlib.util.find_spec(name) is None:
            raise _missing(name)
    if where == "slurm":
        read_jobs(config, "score")


def _packages(where: str) -> list[str]:
    return ["distributed", "cryptography", *(["dask_jobqueue"] if where == "slurm" else [])]


def _missing(name: str) -> UsageError:
    return UsageError(f"--cluster needs {name}, which is not installed: pip install 'cadenza-harness[cluster]'")


@contextmanager
def opened_cluster(where: str, config: Path | None, purpose: Purpose, workers: int) -> Iterator[Executor]:
    """Workers of a cluster; what we started ends with the context.

    Args:
        where: see `CHOICES`.
        config: how Slurm's jobs are to be (`config.Jobs`).
        purpose: the configuration may differ for enhancement.
        workers: processes, where the cluster is on this machine.

    Raises:
        UsageError: that is no cluster; the configuration is wrong, or not for this kind of cluster; a package is
            missing.
        HarnessError: the cluster cannot be started or reached.
    """
    check_cluster(where, config)
    _import(*_packages(where))
    _hush()
    if where == "slurm":
        from harness.compute.cluster.slurm import opened_slurm

        with opened_slurm(read_jobs(config, purpose), purpose) as executor:
            yield executor
    elif where == "local":
        with _opened_local(workers) as executor:
            yield executor
    else:
        with _opened_given(where) as executor:
            yield executor


def _import(*names: str) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        for name in names:
            try:
                importlib.import_module(name)
            except ImportError:
                raise _missing(name) from None
    finally:
        # As it is imported, dask-jobqueue takes Ctrl-C for itself, and would end the program as if all was well.
        if signal.getsignal(signal.SIGINT) is not before:
            signal.signal(signal.SIGINT, before)


def _hush() -> None:
    """Keep Dask's and its event loop's messages from the terminal: what goes wrong is said in one line."""
    # Dask gives each of its loggers a level of its own as it is imported.
    for name in ("distributed", "tornado", "asyncio", "dask_jobqueue", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio", "dask_jobqueue"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def starting(where: str, advice: str = "") -> Iterator[None]:
    """Say in one line why a cluster of ours does not start.

    Raises:
        HarnessError: it does not, for whatever reason Dask has.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise HarnessError(f"--cluster {where}: Dask does not start it ({why}){advice and ': '}{advice}") from error


@contextmanager
def connected(**how: Any) -> Iterator[Any]:
    """A client; it closes with the context, whatever state the cluster is in."""
    from distributed import Client

    client = Client(timeout=CONNECT_SECONDS, set_as_default=False, **how)
    try:
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=5)


@contextmanager
def _opened_local(workers: int) -> Iterator[Executor]:
    from distributed import LocalCluster
    from distributed.security import Security

    from harness.compute.cluster.executor import DaskExecutor
    from harness.compute.cluster.watching import Watch

    environment = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ONE_THREAD.items()}
    with applied({**ENCRYPTED, **environment}):
        with starting("local"):
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                security=Security.temporary(),
                protocol="tls://",
                silence_logs=logging.CRITICAL,
                preload=["harness.compute.cluster.uninterrupted"],
            )
        with ExitStack() as after:
            after.callback(close, cluster, 10)
            with starting("local"):
                client = after.enter_context(connected(address=cluster))
            yield DaskExecutor(client, lambda: workers, Watch(client, lambda _count: ""))


def close(cluster: Any, seconds: float) -> None:
    """Close a cluster of ours, whatever state it is in."""
    with suppress(Exception):
        cluster.close(timeout=seconds)


@contextmanager
def _opened_given(where: str) -> Iterator[Executor]:
    """A cluster that runs already, with the certificates that Dask's own configuration names."""
    from distributed.security import Security

    from harness.compute.cluster.executor import DaskExecutor
    from harness.compute.cluster.watching import Watch

    with applied({}):
        try:
            address = where if "://" in where else _address_in(Path(where))
            if not address.startswith("tls://"):
                log.warning("%s is not encrypted: whoever reaches it can run code as you there", address)
            opening = connected(address=address, security=Security())
            client = opening.__enter__()
        except UsageError:
            raise
        except Exception as error:
            raise HarnessError(_why_unreachable(where, error)) from error
        try:
            watch = Watch(client, lambda _count: "")
            yield DaskExecutor(client, lambda: watch.workers, watch)
        finally:
            opening.__exit__(None, None, None)


def _address_in(path: Path) -> str:
    """The address in a scheduler file."""
    import json

    try:
        address = json.loads(path.read_bytes()[:1_000_000])["address"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"--cluster {path}: this is no file that a Dask scheduler has written") from None
    return str(address)


def _why_unreachable(where: str, error: Exception) -> str:
    text = f"{error} {error.__cause__ or ''}"
    if re.search(r"ssl_context|TLS|certificate|CERTIFICATE|ssl", text):
        return (
            f"--cluster {where}: encryption fails ({' '.join(str(error).split())[:200]}): name the cluster's "
            "certificates in Dask's configuration (distributed.comm.tls, docs/how-to/slurm.md)"
        )
    return (
        f"--cluster {where}: no Dask scheduler answers there within {CONNECT_SECONDS} s: is it running, and reachable?"
    )
