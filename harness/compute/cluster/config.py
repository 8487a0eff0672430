"""How Slurm's jobs are to be: a YAML file."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.errors import SubmissionError, UsageError, first_problem
from harness.files import read_bounded

MAX_BYTES = 100_000

Purpose = Literal["enhance", "score"]

DASKS = {
    **{name: name for name in ("cores", "processes", "memory", "walltime", "queue", "account", "interface")},
    "prologue": "job-script-prologue",
    "directives": "job-extra-directives",
}
"""What is taken from Dask's own configuration, and what that calls it."""

Line = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\n\x00]+$")]


class Jobs(BaseModel):
    """What each job is, and how many there are.

    Attributes:
        jobs: so many at a time.
        cores: of each job: so many worker processes with one thread each, unless `processes` says otherwise.
        processes: workers of each job.
        memory: of each job, such as "16GB"; by default 2 GB for each worker, and for enhancement 8 GB.
        walltime: of each job, as Slurm writes it; by default an hour.
        lifetime: seconds after which a worker ends by itself and its job makes room for another; by default nine
            tenths of the walltime.
        queue: the partition.
        account: who pays.
        interface: of the network between the nodes, such as "ib0".
        prologue: lines of shell that each job runs first.
        directives: more lines of "#SBATCH".
        folder: where logs and certificates lie; all nodes must see it.
        python: the interpreter on the nodes; by default the one of this command.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    jobs: Annotated[int, Field(ge=1, le=10_000)] = 1
    cores: Annotated[int, Field(ge=1, le=1024)] = 4
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None
    memory: Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?[kMGT]?i?B?$")] | None = None
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d{1,4}(:\d{2}){0,2}$")] | None = None
    lifetime: Annotated[int, Field(ge=1)] | None = None
    queue: Line | None = None
    account: Line | None = None
    interface: Line | None = None
    prologue: tuple[Line, ...] = ()
    directives: tuple[Line, ...] = ()
    folder: Line = "harness-cluster"
    python: Line | None = None

    @field_validator("prologue", "directives", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @property
    def workers_of_job(self) -> int:
        """Worker processes of each job."""
        return self.processes or self.cores


def read_jobs(path: Path | None, purpose: Purpose) -> Jobs:
    """Read a configuration for one purpose; without a file, what there is by default.

    Raises:
        UsageError: it cannot be read, or holds what it may not.
    """
    document: Any = {}
    if path is not None:
        import yaml

        try:
            document = yaml.safe_load(read_bounded(path, MAX_BYTES, follow=True)) or {}
        except (OSError, SubmissionError) as error:
            raise UsageError(f"--cluster-config {path}: {_strerror(error)}") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = " ".join(str(error).split())[:200]
            raise UsageError(f"--cluster-config {path}: this is no YAML ({where})") from None
    if not isinstance(document, dict):
        raise UsageError(f"--cluster-config {path}: expected keys and values, such as jobs: 8")
    sections = {name: document.pop(name, None) or {} for name in ("enhance", "score")}
    try:
        if not all(isinstance(section, dict) for section in sections.values()):
            raise UsageError(f"--cluster-config {path}: enhance and score hold keys and values, such as queue: gpu")
        for section in sections.values():
            Jobs.model_validate({**document, **section})
        return Jobs.model_validate({**document, **sections[purpose]})
    except ValidationError as error:
        known = ", ".join([*Jobs.model_fields, "enhance", "score"])
        raise UsageError(f"--cluster-config {path}: {first_problem(error)} (keys: {known})") from None


def with_dasks_own(jobs: Jobs) -> Jobs:
    """Jobs with what `jobqueue.slurm` in the user's own files and variables for Dask says of what theirs leaves out.

    Lines of shell and of "#SBATCH" are added: those from there come first.

    Raises:
        UsageError: they say what jobs may not have.
    """
    import dask

    # Without the defaults of dask-jobqueue, by which a job would have half an hour.
    own = dask.config.collect()
    found = {name: dask.config.get(f"jobqueue.slurm.{key}", None, own) for name, key in DASKS.items()}
    try:
        theirs = Jobs.model_validate({name: value for name, value in found.items() if value is not None})
    except ValidationError as error:
        name, _, problem = first_problem(error).partition(": ")
        name = name.partition(".")[0]
        hint = ' (write it in quotes: "01:00:00")' if name == "walltime" else ""
        raise UsageError(f"jobqueue.slurm.{DASKS[name]} in Dask's configuration: {problem}{hint}") from None
    given = {name: value for name in jobs.model_fields_set if (value := getattr(jobs, name)) is not None}
    added = {name: getattr(theirs, name) + getattr(jobs, name) for name in ("prologue", "directives")}
    return theirs.model_copy(update={**given, **added})


def _strerror(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def seconds_of(walltime: str) -> int:
    """Seconds in a walltime as Slurm writes it: minutes, minutes:seconds, hours:minutes:seconds, days-hours..."""
    days, dash, rest = walltime.rpartition("-")
    parts = [int(part) for part in re.split(":", rest)]
    if dash:
        # Days come with hours, then minutes, then seconds.
        hours, minutes, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours = 0
        minutes, seconds = [*parts, 0][:2]
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds
