"""A Slurm of the tests' own: a controller and nodes that all are this machine, for as long as a test session lives.

Debian's programs are started in the foreground, as root or as an ordinary user, in a folder of their own: nothing in
/etc or /var is read or written. Nodes have the processors and the memory that they are said to have; there are no
cgroups, so limits on memory are not enforced, and no accounting, so `sacct` knows nothing.

A guard between the tests and the daemons ends everything when the tests end, however they end:

    python tests/services/slurm.py NODES      # prints a folder; lives until its standard input is closed
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

# Where Debian has daemons; not everybody's PATH does.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
PATIENCE = 60

CONFIGURATION = """\
ClusterName=harness
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/log/slurmctld
SlurmdLogFile={folder}/log/%n
# What needs neither cgroups nor other services
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SwitchType=switch/none
# Processors and memory are allotted, as many as nodes are said to have
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
# Nobody waits for the next round
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
KillWait=2
MinJobAge=300
InactiveLimit=0
MessageTimeout=30
"""


def missing() -> str | None:
    """Why there can be no Slurm here, if so."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    return f"{', '.join(absent)} not installed (make services)" if absent else None


@dataclass(frozen=True)
class Job:
    """A job as `squeue` shows it."""

    id: str
    state: str
    reason: str
    node: str


@dataclass(frozen=True)
class Slurm:
    """A Slurm that runs.

    Attributes:
        folder: of configuration and logs.
        nodes: how many there are, each with 2 processors and 64,000 MB.
    """

    folder: Path
    nodes: int

    @property
    def environment(self) -> dict[str, str]:
        """What a process must have among its variables for `sbatch` and its like to find this Slurm."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def command(self, *arguments: str, **more: object) -> str:
        """Run one of Slurm's commands and return what it prints."""
        result = subprocess.run(
            arguments, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=PATIENCE, **more
        )
        assert result.returncode == 0, (arguments, result.stdout, result.stderr)
        return result.stdout

    def jobs(self, state: str = "PENDING,RUNNING,COMPLETING,CONFIGURING,SUSPENDED") -> list[Job]:
        """Jobs in these states: by default all that have not ended."""
        lines = self.command(
            "squeue", "--noheader", "--array", f"--states={state}", "--format=%i|%T|%r|%N"
        ).splitlines()
        return [Job(*line.split("|")) for line in lines]

    def submit(self, *arguments: str, folder: Path, **variables: str) -> str:
        """`sbatch ARGUMENTS` in a folder; returns the job's number."""
        submitted = subprocess.run(
            ["sbatch", "--parsable", *arguments], cwd=folder, env={**os.environ, **self.environment, **variables},
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert submitted.returncode == 0, submitted.stderr
        return submitted.stdout.strip()

    def wait_for(self, job: str) -> dict[str, str]:
        """Wait until a job, or every job of an array, has ended; returns how each did, such as COMPLETED."""
        deadline = time.monotonic() + 5 * PATIENCE
        ended: dict[str, str] = {}
        while time.monotonic() < deadline:
            states = {found.id: found.state for found in self.jobs("all") if found.id.split("_")[0] == job}
            ended = {name: state for name, state in states.items() if state not in _UNDERWAY}
            if states and len(ended) == len(states):
                return ended
            time.sleep(0.2)
        raise AssertionError(f"job {job} has not ended: {states}")

    def cancel_all(self) -> None:
        """Cancel every job and wait until the nodes are free again."""
        deadline = time.monotonic() + PATIENCE
        while jobs := self.jobs():
            assert time.monotonic() < deadline, jobs
            self.command("scancel", *{job.id.split("_")[0] for job in jobs})
            time.sleep(0.2)


_UNDERWAY = {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"}


@contextmanager
def running_slurm(nodes: int = 2) -> Iterator[Slurm]:
    """A Slurm that ends, with all its jobs, when the context does, or when this process does."""
    # Somebody may take a port that was free a moment before.
    for _ in range(3):
        guard = subprocess.Popen(
            [sys.executable, __file__, str(nodes)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert guard.stdout is not None
        if folder := guard.stdout.readline().strip():
            break
        problem = guard.communicate()[1]
    else:
        raise RuntimeError(f"Slurm does not start: {problem}")
    try:
        yield Slurm(Path(folder), nodes)
    finally:
        guard.communicate(timeout=PATIENCE)  # closes its standard input


# The guard


def _guard(nodes: int) -> None:
    # What loses its parent becomes our child: jobs too, which daemons start apart from themselves.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    # Not in pytest's folders: sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="harness-slurm-"))
    try:
        _start(folder, nodes)
        print(folder, flush=True)
        sys.stdin.read()
    finally:
        _end_all()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, nodes: int) -> None:
    for name in ("state", "spool", "log"):
        (folder / name).mkdir()
    key = folder / "key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    # munged wants a folder that everybody can enter, and a key that nobody else can read.
    folder.chmod(0o755)
    controller, *ports = _free_ports(1 + nodes)
    host = socket.gethostname().split(".")[0]
    user = psutil.Process().username()
    lines = [
        *CONFIGURATION.format(host=host, controller=controller, user=user, folder=folder).splitlines(),
        *(
            f"NodeName=node{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=64000"
            for number, port in enumerate(ports, 1)
        ),
        "PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE DefMemPerCPU=1000 State=UP",
    ]
    configuration = folder / "slurm.conf"
    configuration.write_text("\n".join(lines) + "\n")
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": PATH}
    socket_of_munge = folder / "munge.socket"
    files = [f"--{name}={folder / file}" for name, file in _MUNGE.items()]
    daemons = [_daemon(["munged", "--foreground", "--force", f"--key-file={key}", *files], folder, environment)]
    _wait_for(socket_of_munge.exists, daemons, folder)
    daemons.append(_daemon(["slurmctld", "-D", "-i"], folder, environment))
    for number in range(1, nodes + 1):
        (folder / "spool" / f"node{number}").mkdir()
        daemons.append(_daemon(["slurmd", "-D", "-N", f"node{number}"], folder, environment))

    def all_idle() -> bool:
        asked = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True)
        return asked.stdout.split() == ["idle"] * nodes

    _wait_for(all_idle, daemons, folder)


_MUNGE = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "log/munged", "seed-file": "seed"}


def _daemon(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    with (folder / "log" / f"{command[0]}.output").open("ab") as output:
        return subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def _wait_for(condition, daemons: "Sequence[subprocess.Popen[bytes]]", folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline or any(daemon.poll() is not None for daemon in daemons):
            logs = sorted((folder / "log").iterdir())
            raise SystemExit("\n".join(f"{log.name}: {log.read_text(errors='replace')[-1000:]}" for log in logs))
        time.sleep(0.05)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def _end_all() -> None:
    """End everything that we started, and what that started."""
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=1)
        # Those that were given to us are not reaped by anybody else.
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
