"""Scoring the official set with workers that sleep, to see what it asks of the main process (see `cluster.py`).

All in this process is as in `harness score --cluster slurm`: evaluation set, run, tasks, executor, Dask's scheduler
with TLS, leaderboard. Only the workers (`hosts`) sleep for as long as a pair takes, and all are on this machine.
"""

import contextlib
import hashlib
import json
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
from excerpt_set import build_many

from clusters.hosts import PATIENCE
from harness.compute.cluster.executor import DaskExecutor
from harness.compute.cluster.opening import _hush, connected
from harness.compute.cluster.settings import ENCRYPTED, applied
from harness.compute.cluster.watching import Watch
from harness.scoring import tasks
from harness.scoring.entries import Entry
from harness.scoring.run import store_and_score
from harness.submission.validation import Verdict
from harness_leaderboard.store import Store

IDLE_SECONDS = 20.0
PROCESSES = 8
"""That host the workers."""


def peak() -> float:
    """The most memory that this process had resident so far, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def by_thread() -> tuple[float, float]:
    """Processor time of this process's main thread and of all others (Dask's loop, TLS): seconds."""
    main = threading.main_thread().native_id
    times = {thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads()}
    return times[main], sum(times.values()) - times[main]


@contextlib.contextmanager
def hosted(address: str, security: Any, workers: int, seconds: float) -> Iterator[None]:
    """Workers that sleep, in some processes beside this one."""
    # Certificates and keys are in it as text.
    certified = {name: getattr(security, name) for name in security.__slots__ if name.startswith("tls_")}
    names = ("tls_ca_file", "tls_worker_cert", "tls_worker_key", "tls_client_cert", "tls_client_key")
    given = {name: certified[name] for name in names}
    processes = []
    count = min(PROCESSES, workers)
    for number in range(count):
        share = workers // count + (number < workers % count)
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, str(Path(__file__).with_name("hosts.py"))], stdin=subprocess.PIPE, text=True
        )
        assert process.stdin is not None
        asked = {"address": address, "security": given, "workers": share, "seconds": seconds}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        processes.append(process)
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def simulate(
    workers: int, scenes: int, seconds: float, database: Literal["sqlite", "postgresql"], chunks_per_worker: int
) -> dict[str, float]:
    """Score a submission of `scenes` for 20 listeners with the locked engine; what it took of the main process."""
    from distributed import LocalCluster
    from distributed.security import Security

    tasks.CHUNKS_PER_WORKER = chunks_per_worker
    _hush()
    with contextlib.ExitStack() as alive:
        root = Path(alive.enter_context(tempfile.TemporaryDirectory()))
        evaluation_set = build_many(root / "set", scenes)
        folder = root / "submission"
        folder.mkdir()
        verdict = Verdict(folder, folder)
        verdict.hashes = {
            name: hashlib.sha256(name.encode()).hexdigest() for pair in evaluation_set.pairs for name in pair.files
        }
        url = f"sqlite:///{root / 'leaderboard.db'}"
        if database == "postgresql":
            sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
            from services import postgresql

            durable = dict.fromkeys(("fsync", "full_page_writes", "autovacuum"), "on")
            server = alive.enter_context(postgresql.running_postgresql(**durable))
            url = server.url(alive.enter_context(server.database()))
        store = alive.enter_context(Store.open(url, create=True))
        before = peak()
        patient = dict.fromkeys(("distributed.comm.timeouts.connect", "distributed.comm.timeouts.tcp"), PATIENCE)
        alive.enter_context(applied({**ENCRYPTED, **patient}))
        security = Security.temporary()
        # A scheduler in this process, as that of `--cluster slurm`.
        cluster = LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", protocol="tls://", security=security,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip
        alive.callback(cluster.close, timeout=10)
        client = alive.enter_context(connected(address=cluster))
        alive.enter_context(hosted(cluster.scheduler_address, security, workers, seconds))
        began, cpu = time.monotonic(), time.process_time()
        while len(client.nthreads()) < workers:
            if time.monotonic() - began > 600:
                raise RuntimeError(f"only {len(client.nthreads())} workers have come")
            time.sleep(0.5)
        joining = time.process_time() - cpu
        time.sleep(5)
        began, cpu = time.monotonic(), time.process_time()
        time.sleep(IDLE_SECONDS)
        idle = (time.process_time() - cpu) / (time.monotonic() - began)

        entered: list[float] = []
        first: list[float] = []
        threads: list[tuple[float, float]] = []
        watch = Watch(client, lambda _count: "")
        began, cpu = time.monotonic(), time.process_time()

        def started(_todo: int, _done: int, _fast: int) -> None:
            entered[:] = time.monotonic(), time.process_time()
            threads.append(by_thread())

        def advance(_count: int, _name: str) -> None:
            if not first:
                first.append(time.monotonic())

        (scored,) = store_and_score(
            store,
            [Entry(verdict)],
            evaluation_set,
            engine="locked",
            executor=DaskExecutor(client, lambda: workers, watch),
            started=started,
            advance=advance,
        )
        wall, used = time.monotonic() - entered[0], time.process_time() - entered[1]
        main, others = (now - then for now, then in zip(by_thread(), threads[0], strict=True))
        pairs = len(evaluation_set.pairs)
        assert len(scored.rows) == pairs, scored.failures
        made = work_of(evaluation_set, folder, verdict)
        chunks = tasks.in_chunks(made, workers, far=True)
        return {
            "workers": workers,
            "pairs": pairs,
            "pairs in a chunk": len(max(chunks, key=len)),
            "joining, CPU ms a worker": joining / workers * 1e3,
            "idle, share of a core": idle,
            "entering the run, CPU s": entered[1] - cpu,
            "entering the run, s": entered[0] - began,
            "first scores after, s": first[0] - entered[0],
            "wall, s": wall,
            "workers busy": pairs * seconds / workers / wall,
            "CPU, s": used,
            "of it main thread, s": main,
            "of it Dask's threads, s": others,
            "share of a core": used / wall,
            "CPU ms a chunk": used / len(chunks) * 1e3,
            "CPU ms a pair": used / pairs * 1e3,
            "memory before, MiB": before,
            "peak memory, MiB": peak(),
        }


def work_of(evaluation_set: Any, folder: Path, verdict: Verdict) -> list[tasks.ScoreTask]:
    """The tasks of a submission, as the harness makes them."""
    shared = tasks.shared_by_scene(evaluation_set)
    return [tasks.task_of(pair, folder, verdict.hashes[pair.files[0]], shared) for pair in evaluation_set.pairs]
