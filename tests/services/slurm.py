"""A Slurm of the tests' own: a controller and nodes that all are this machine, for as long as a test session lives.

Debian's programs are started in the foreground, as root or as an ordinary user, in a folder of their own: nothing in
/etc or /var is read or written. Nodes have the processors and the memory that they are said to have; there are no
cgroups, so limits on memory are not enforced, and no accounting, so `sacct` knows nothing.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from services.guard import PATIENCE, daemon, free_ports, guard, guarded, wait_for

# Where Debian has daemons; not everybody's PATH does.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")

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
    with guarded("services.slurm", nodes) as guard:
        yield Slurm(guard.folder, nodes)


# Within the guard


def _start(folder: Path, nodes: int) -> None:
    for name in ("state", "spool", "log"):
        (folder / name).mkdir()
    key = folder / "key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    # munged wants a folder that everybody can enter, and a key that nobody else can read.
    folder.chmod(0o755)
    controller, *ports = free_ports(1 + nodes)
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
    daemons = [daemon(["munged", "--foreground", "--force", f"--key-file={key}", *files], folder, environment)]
    wait_for(socket_of_munge.exists, daemons, folder)
    daemons.append(daemon(["slurmctld", "-D", "-i"], folder, environment))
    for number in range(1, nodes + 1):
        (folder / "spool" / f"node{number}").mkdir()
        daemons.append(daemon(["slurmd", "-D", "-N", f"node{number}"], folder, environment))

    def all_idle() -> bool:
        asked = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True)
        return asked.stdout.split() == ["idle"] * nodes

    wait_for(all_idle, daemons, folder)


_MUNGE = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "log/munged", "seed-file": "seed"}


if __name__ == "__main__":
    guard("harness-slurm-", partial(_start, nodes=int(sys.argv[1])))
