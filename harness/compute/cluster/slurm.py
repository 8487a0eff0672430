"""Workers in Slurm's jobs, by dask-jobqueue."""

import itertools
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.compute.cluster.config import Jobs, Purpose, seconds_of, with_dasks_own
from harness.compute.cluster.settings import ENCRYPTED, applied
from harness.compute.executor import Executor
from harness.compute.local import DOUBTFUL, ONE_THREAD
from harness.errors import HarnessError, StorageError, UsageError

log = logging.getLogger(__name__)

GIGABYTES = {"score": 2, "enhance": 8}
"""Memory for each worker, unless the configuration says otherwise: one that scores 30 s of music takes under 1 GB."""

ORPHAN_SECONDS = 60
"""So long a job stays that finds no scheduler: the main process may have been killed while it was in the queue."""

WALLTIME = "01:00:00"

ROUNDS = 3
"""After so many times as many jobs as there are to be have ended, and no worker has come from any, none will."""

REFUSED_SECONDS = 60.0
"""So long Slurm is not asked again for jobs that it has refused while others wait or run: the limit may be hours."""

COMMAND_SECONDS = 30
"""So long Slurm's commands may take."""


@contextmanager
def opened_slurm(jobs: Jobs, purpose: Purpose) -> Iterator[Executor]:
    """Jobs with workers, submitted and replaced until the context ends, which cancels them.

    Raises:
        UsageError: Slurm is not here, or refuses such jobs; Dask's own configuration says what it may not.
        HarnessError: the cluster does not start, or its jobs end again and again before there is any worker.
    """
    from harness.compute.cluster.executor import DaskExecutor
    from harness.compute.cluster.opening import close, connected, starting
    from harness.compute.cluster.watching import Watch

    for program in ("sbatch", "squeue", "scancel"):
        if shutil.which(program) is None:
            raise UsageError(f"--cluster slurm: there is no {program} here: run this where Slurm's commands are")
    jobs = with_dasks_own(jobs)
    name = f"harness-{secrets.token_hex(4)}"
    folder, private = _folders(jobs, name)
    # Each step is taken whatever becomes of the others, a second Ctrl-C included; the last one first.
    with applied(ENCRYPTED), ExitStack() as after:
        after.callback(shutil.rmtree, private, ignore_errors=True)
        with starting("slurm", "check interface and memory in --cluster-config"):
            cluster = _cluster(jobs, purpose, name, folder, private)
        # Once more: an sbatch that was under way when the jobs were cancelled has submitted its own since.
        after.callback(_cancel, name)
        after.callback(close, cluster, 20)
        after.callback(_cancel, name)
        _ensure_accepted(cluster.job_script())
        with starting("slurm"):
            client = after.enter_context(connected(address=cluster))
        upkeep = _Upkeep(cluster, jobs, name, folder)
        cluster.scale(jobs=jobs.jobs)
        log.info("%d jobs of %d workers are submitted; their logs: %s", jobs.jobs, jobs.workers_of_job, folder)
        yield DaskExecutor(client, lambda: jobs.jobs * jobs.workers_of_job, Watch(client, upkeep))


def _cancel(name: str) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        _run("scancel", "--name", name)


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
    from dask_jobqueue import SLURMCluster

    walltime = jobs.walltime or WALLTIME
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
            job_cls=_job_class(),
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
            python=f"{jobs.python or sys.executable} -I",
            job_name=name,
            log_directory=str(folder),
            local_directory=str(private),
            death_timeout=ORPHAN_SECONDS,
            worker_extra_args=[
                *("--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{max(1, lifetime // 20)}s"),
                "--no-dashboard",
            ],
            job_script_prologue=prologue,
            job_extra_directives=list(jobs.directives),
            security=_security(private),
            protocol="tls://",
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
        )


def _job_class() -> Any:
    from dask_jobqueue.slurm import SLURMJob
    from distributed.core import Status

    class Job(SLURMJob):  # type: ignore[misc]
        """Knows why there is no such job, which Dask tells nobody."""

        refused = ""

        async def start(self) -> None:
            try:
                await super().start()
            except Exception as error:
                self.refused = _said_by_sbatch(str(error).rpartition("stderr:")[2])
                self.status = Status.failed
                raise

    return Job


def _said_by_sbatch(text: str) -> str:
    for prefix in ("sbatch: error:", "allocation failure:", "Batch job submission failed:"):
        text = text.replace(prefix, "")
    return " ".join(text.split())[:300]


def _security(private: Path) -> Any:
    """A key and a certificate for all, in files: left to itself, dask-jobqueue removes its own whenever it likes."""
    from distributed.security import Security

    made = Security.temporary()
    files = {"key": (private / "key.pem", made.tls_client_key), "cert": (private / "cert.pem", made.tls_client_cert)}
    for path, content in files.values():
        path.touch(mode=0o600)
        path.write_text(content)
    roles = itertools.product(("scheduler", "worker", "client"), files)
    return Security(
        require_encryption=True,
        tls_ca_file=str(files["cert"][0]),
        **{f"tls_{role}_{kind}": str(files[kind][0]) for role, kind in roles},
    )


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 - Slurm's own commands
        command,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
        # Ctrl-C in a terminal reaches all that run there; it must not end the scancel that it brings about.
        start_new_session=True,
        # Users may have squeue show them some jobs only; all others would seem to have ended.
        env={name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")},
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
        raise UsageError(
            f"--cluster slurm: Slurm refuses such jobs ({_said_by_sbatch(tried.stderr)}): check queue, account, cores, "
            "memory and walltime in --cluster-config"
        )


class _Upkeep:
    """Replaces jobs that ended, and says in words what the rest waits for.

    Dask would not: it looks for a worker of the job's own name, and where a job has several, none is called that.
    """

    def __init__(self, cluster: Any, jobs: Jobs, name: str, folder: Path) -> None:
        self._cluster, self._jobs, self._name, self._folder = cluster, jobs, name, folder
        self._numbers = itertools.count(1)
        self._fruitless, self._since = 0, time.time()
        self._warned, self._ask_again = False, 0.0

    def __call__(self, workers: int) -> str:
        """See `watching.Watch`. Raises HarnessError: jobs end again and again, and no worker comes."""
        if workers:
            self._fruitless, self._since = 0, time.time()
        if workers >= self._jobs.jobs * self._jobs.workers_of_job:
            return ""
        # Those for which sbatch has answered, before squeue is asked: it knows all of them. Those that are no longer
        # specified are replaced already, which may take as long as sbatch does.
        specified = dict(self._cluster.worker_spec)
        submitted = {name: job for name, job in dict(self._cluster.workers).items() if name in specified}
        try:
            listed = _run("squeue", "--noheader", "--user", str(os.getuid()), "--format", "%A %T (%r)")
        except (OSError, subprocess.TimeoutExpired):
            return "and squeue does not answer"
        if listed.returncode:
            return f"and squeue fails ({' '.join(listed.stderr.split())[:200]})"
        states = _states(listed.stdout)
        alive = {name: states[job.job_id] for name, job in submitted.items() if job.job_id in states}
        gone = {name: job for name, job in submitted.items() if name not in alive and not self._has_workers(name)}
        if not workers:
            self._ensure_hope([job for job in gone.values() if job.job_id or not alive])
        if alive or workers:
            gone = self._but_refused(gone)
        self._cluster.loop.add_callback(self._replace, gone)
        counts = Counter(alive.values())
        return ", ".join(_in_words(state, count) for state, count in sorted(counts.items()))

    def _has_workers(self, name: str) -> bool:
        """Whether a job's workers are here: it lives, whatever squeue says."""
        there = {str(worker["name"]) for worker in list(self._cluster.scheduler_info["workers"].values())}
        return bool(there & {name, *(f"{name}-{number}" for number in range(self._jobs.workers_of_job))})

    def _replace(self, gone: dict[str, Any]) -> None:
        """Have other jobs submitted, under other names: late news of the old ones' workers is not about those.

        This runs in the cluster's event loop.
        """
        specified = self._cluster.worker_spec
        for name, job in gone.items():
            # Unless Dask itself has removed it meanwhile, and perhaps submitted it anew.
            if self._cluster.workers.get(name) is job and name in specified:
                specified[f"{self._name}-again-{next(self._numbers)}"] = specified.pop(name)
        # Also where nothing is gone for us: Dask does not replace what it has itself removed.
        self._cluster.scale(jobs=self._jobs.jobs)

    def _but_refused(self, gone: dict[str, Any]) -> dict[str, Any]:
        """Jobs to submit anew; of those that Slurm has refused, it is told once, and they are tried now and then."""
        refused = [job.refused for job in gone.values() if not job.job_id]
        if not refused:
            return gone
        if not self._warned:
            self._warned = True
            log.warning(
                "Slurm refuses %d of %d jobs (%s): the others go on, and these are submitted again later",
                *(len(refused), self._jobs.jobs, refused[0]),
            )
        now = time.monotonic()
        if now < self._ask_again:
            return {name: job for name, job in gone.items() if job.job_id}
        self._ask_again = now + REFUSED_SECONDS
        return gone

    def _ensure_hope(self, ended: list[Any]) -> None:
        """Count jobs of which no worker has come, and give up when there are too many."""
        if not ended:
            return
        self._fruitless = len(ended) + (0 if self._came() else self._fruitless)
        if self._fruitless < ROUNDS * self._jobs.jobs:
            return
        if not ended[-1].job_id:
            raise HarnessError(f"Slurm refuses all jobs: {ended[-1].refused}")
        raise HarnessError(f"Slurm's jobs ended before there was a worker: {self._last_words()}")

    def _came(self) -> bool:
        """Whether a worker has come since this was asked, if only between two looks."""
        since, self._since = self._since, time.time()
        events = self._cluster.scheduler.get_events("all")
        return any(at >= since and event.get("action") == "add-worker" for at, event in events)

    def _last_words(self) -> str:
        logs = sorted(self._folder.glob(f"{self._name}-*.err"))
        for path in reversed(logs):
            lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
            if lines:
                return f"{lines[-1][:300]} ({path})"
        return f"their logs in {self._folder} are empty; see scontrol show job"


ENDED = ("COMPLETED", "COMPLETING", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")


def _states(listed: str) -> dict[str, str]:
    """States of jobs that have not ended, by their numbers, from lines such as "17 PENDING (Resources)"."""
    states = dict(line.strip().split(" ", 1) for line in listed.splitlines() if line.strip())
    return {job: state for job, state in states.items() if state.split()[0] not in ENDED}


def _in_words(state: str, count: int) -> str:
    """ "3 jobs pending (Resources)"."""
    word, _, reason = state.partition(" ")
    return f"{count} job{'s' * (count != 1)} {word.lower()}{'' if reason in ('', '(None)') else ' ' + reason}"
