"""Workers in Slurm's jobs, by dask-jobqueue."""

import logging
import secrets
import shutil
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.compute.cluster.config import Jobs, Purpose, seconds_of
from harness.compute.cluster.settings import ENCRYPTED, applied
from harness.compute.executor import Executor
from harness.compute.local import DOUBTFUL, ONE_THREAD
from harness.errors import HarnessError, StorageError, UsageError

log = logging.getLogger(__name__)

GIGABYTES = {"score": 2, "enhance": 8}
"""Memory for each worker, unless the configuration says otherwise: one that scores 30 s of music takes under 1 GB."""

ORPHAN_SECONDS = 60
"""So long a job stays that finds no scheduler: the main process may have been killed while it was in the queue."""

UPKEEP_SECONDS = 10.0

COMMAND_SECONDS = 30
"""So long Slurm's commands may take."""


@contextmanager
def opened_slurm(jobs: Jobs, purpose: Purpose) -> Iterator[Executor]:
    """Jobs with workers, submitted and replaced until the context ends, which cancels them.

    Raises:
        UsageError: Slurm is not here, or refuses such jobs.
        HarnessError: the jobs end before there is any worker.
    """
    from harness.compute.cluster.executor import DaskExecutor
    from harness.compute.cluster.opening import connected
    from harness.compute.cluster.watching import Watch

    for program in ("sbatch", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UsageError(f"--cluster slurm: there is no {program} here: run this where Slurm's commands are")
    name = f"harness-{secrets.token_hex(4)}"
    folder, private = _folders(jobs, name)
    with applied(ENCRYPTED):
        cluster = _cluster(jobs, purpose, name, folder, private)
        try:
            _ensure_accepted(cluster.job_script())
            with connected(address=cluster) as client:
                upkeep = _Upkeep(cluster, jobs, name, folder)
                cluster.scale(jobs=jobs.jobs)
                log.info("%d jobs of %d workers are submitted; their logs: %s", jobs.jobs, jobs.workers_of_job, folder)
                yield DaskExecutor(
                    client, lambda: jobs.jobs * jobs.workers_of_job, Watch(client, upkeep, UPKEEP_SECONDS)
                )
        finally:
            # Whatever stops the cluster from being closed, and however: no job stays.
            with suppress(OSError, subprocess.TimeoutExpired):
                _run("scancel", "--name", name)
            with suppress(Exception):
                cluster.close(timeout=20)
            # dask-jobqueue holds the certificates' files, and would remove them a second time.
            for held in [value for name_, value in vars(cluster).items() if name_.startswith("_job_")]:
                with suppress(Exception):
                    held.close()
            shutil.rmtree(private, ignore_errors=True)


def _folders(jobs: Jobs, name: str) -> tuple[Path, Path]:
    """The folder of jobs' logs, and in it one of this command's own for keys, into which nobody else may look."""
    folder = Path(jobs.folder).expanduser().absolute()
    private = folder / name
    try:
        private.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise StorageError(
            f"cannot use the folder {folder} for jobs' logs and certificates: {error.strerror}; name another "
            "one in --cluster-config (folder)"
        ) from error
    return folder, private


def _cluster(jobs: Jobs, purpose: Purpose, name: str, folder: Path, private: Path) -> Any:
    import dask
    from dask_jobqueue import SLURMCluster
    from distributed.security import Security

    walltime = jobs.walltime or dask.config.get("jobqueue.slurm.walltime", None) or "01:00:00"
    lifetime = jobs.lifetime or max(30, seconds_of(walltime) * 9 // 10)
    count = jobs.workers_of_job
    prologue = [
        "export " + " ".join(f"{variable}={value}" for variable, value in ONE_THREAD.items()),
        f"unset {' '.join(DOUBTFUL)}",
        *jobs.prologue,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SLURMCluster(
            # Of Dask's view: a worker has one thread, however many cores its job has for it.
            cores=count,
            processes=count,
            job_cpu=jobs.cores,
            memory=jobs.memory or f"{GIGABYTES[purpose] * count}GB",
            walltime=walltime,
            queue=jobs.queue,
            account=jobs.account,
            interface=jobs.interface,
            # Isolated: nothing in the user's environment or home changes what is computed.
            python=f"{jobs.python or _own_python()} -I",
            job_name=name,
            log_directory=str(folder),
            local_directory=str(private),
            shared_temp_directory=str(private),
            death_timeout=ORPHAN_SECONDS,
            worker_extra_args=[
                *("--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{max(1, lifetime // 20)}s"),
                "--no-dashboard",
            ],
            job_script_prologue=prologue,
            job_extra_directives=list(jobs.directives),
            security=Security.temporary(),
            protocol="tls://",
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        )


def _own_python() -> str:
    import sys

    return sys.executable


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - Slurm's own commands
        command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
    )


def _ensure_accepted(script: str) -> None:
    """Have Slurm say whether it would take such a job: dask-jobqueue would not tell."""
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        try:
            tried = _run("sbatch", "--test-only", file.name)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"--cluster slurm: sbatch does not answer within {COMMAND_SECONDS} s") from None
    if tried.returncode:
        said = " ".join(tried.stderr.replace("sbatch: error:", "").replace("allocation failure:", "").split())
        raise UsageError(
            f"--cluster slurm: Slurm refuses such jobs ({said[:300]}): check queue, account, cores, memory and "
            "walltime in --cluster-config"
        )


class _Upkeep:
    """Replaces jobs that ended, and says in words what the rest waits for."""

    def __init__(self, cluster: Any, jobs: Jobs, name: str, folder: Path) -> None:
        self._cluster, self._jobs, self._name, self._folder = cluster, jobs, name, folder
        self._started = time.monotonic()
        self._ever = False

    def __call__(self, workers: int) -> str:
        """See `watching.Watch`. Raises HarnessError: all jobs have ended, and there was never a worker."""
        self._ever = self._ever or workers > 0
        if workers >= self._jobs.jobs * self._jobs.workers_of_job:
            return ""
        # Again and again: once does not replace a job that has ended.
        self._cluster.scale(jobs=self._jobs.jobs)
        if workers:
            return ""
        try:
            listed = _run("squeue", "--noheader", "--name", self._name, "--format", "%T (%r)")
        except (OSError, subprocess.TimeoutExpired):
            return "and squeue does not answer"
        if listed.returncode:
            return f"and squeue fails ({' '.join(listed.stderr.split())[:200]})"
        states = Counter(line.strip() for line in listed.stdout.splitlines())
        alive = {state: count for state, count in states.items() if state.split()[0] not in ENDED}
        if not alive and not self._were_any() and time.monotonic() - self._started > 2 * UPKEEP_SECONDS:
            raise HarnessError(f"Slurm's jobs ended before there was a worker: {self._last_words()}")
        return ", ".join(_in_words(state, count) for state, count in sorted(alive.items()))

    def _were_any(self) -> bool:
        """Whether there was ever a worker, if only between two looks."""
        events = () if self._ever else self._cluster.scheduler.get_events("all")
        self._ever = self._ever or any(event.get("action") == "add-worker" for _, event in events)
        return self._ever

    def _last_words(self) -> str:
        logs = sorted(self._folder.glob(f"{self._name}-*.err"))
        for path in reversed(logs):
            lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"{lines[-1][:300]} ({path})"
        return f"their logs in {self._folder} are empty; see scontrol show job"


ENDED = ("COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")


def _in_words(state: str, count: int) -> str:
    """ "3 jobs pending (Resources)"."""
    word, _, reason = state.partition(" ")
    return f"{count} job{'s' * (count != 1)} {word.lower()}{'' if reason in ('', '(None)') else ' ' + reason}"
