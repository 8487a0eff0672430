"""How Slurm's jobs are to be: what a file may say, and what is said of one that says something else."""

import logging
import subprocess
from types import SimpleNamespace

import pytest

from harness.compute.cluster import slurm
from harness.compute.cluster.config import Jobs, read_jobs, seconds_of
from harness.compute.cluster.slurm import ENDED, _in_words, _Upkeep
from harness.errors import HarnessError, UsageError

WHOLE = """
jobs: 16
cores: 8
memory: 16GB
walltime: "04:00:00"
queue: standard
account: my-project
interface: ib0
folder: jobs
prologue:
  - module load libsndfile
directives: [--constraint=avx2]
enhance:
  queue: gpu
  jobs: 2
  processes: 1
"""


def test_each_purpose_has_its_own(tmp_path):
    file = tmp_path / "slurm.yaml"
    file.write_text(WHOLE)
    score, enhance = read_jobs(file, "score"), read_jobs(file, "enhance")
    assert (score.queue, score.jobs, score.workers_of_job) == ("standard", 16, 8)
    assert (enhance.queue, enhance.jobs, enhance.workers_of_job, enhance.cores) == ("gpu", 2, 1, 8)
    assert enhance.prologue == score.prologue == ("module load libsndfile",)
    file.write_text("")
    assert read_jobs(file, "score") == read_jobs(None, "score")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("job: 3", r"job: Extra inputs are not permitted \(keys: jobs, cores, processes, memory, walltime"),
        ("jobs: many", "jobs: Input should be a valid integer"),
        ("jobs: 0", "jobs: .*greater than or equal to 1"),
        ("walltime: 4 hours", "walltime: .*pattern"),
        ("walltime: 14400", "walltime: Input should be a valid string"),
        ("memory: much", "memory: .*pattern"),
        ("queue: |\n  a\n  b\n", "queue: .*pattern"),
        ("prologue: [1]", "prologue.0: Input should be a valid string"),
        ("enhance: gpu", "enhance and score hold keys and values"),
        ("score:\n  ques: gpu", "ques: Extra inputs"),
        ("- jobs", "expected keys and values, such as jobs: 8"),
        ("jobs: [", "this is no YAML"),
        ("!!python/object/apply:os.system [ls]", "this is no YAML"),
        ("jobs: 1\n" + "#" * 100_000, "at most 100000 are expected"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, text, said):
    file = tmp_path / "slurm.yaml"
    file.write_text(text)
    # Also what is for the other purpose, before anybody has waited for hours.
    with pytest.raises(UsageError, match=said):
        read_jobs(file, "enhance")


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"--cluster-config .*slurm.yaml: No such file"):
        read_jobs(tmp_path / "slurm.yaml", "score")


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("90", 5400), ("90:30", 5430), ("04:00:00", 14400), ("1-12", 129600), ("1-00:30", 88200), ("2-01:02:03", 176523)],
)
def test_walltimes_are_read_as_slurm_reads_them(walltime, seconds):
    assert seconds_of(walltime) == seconds


def test_states_of_jobs_in_words():
    assert _in_words("PENDING (Resources)", 3) == "3 jobs pending (Resources)"
    assert _in_words("RUNNING (None)", 1) == "1 job running"
    assert "PENDING" not in ENDED


class Cluster:
    """As Dask's, with jobs that Slurm takes only while there are fewer than `limit`, and a squeue that lists those."""

    def __init__(self, jobs: int, limit: int) -> None:
        self.limit, self.submitted = limit, 0
        self.worker_spec = {f"job-{number}": {} for number in range(jobs)}
        self.workers = {}
        self.scheduler_info = {"workers": {}}
        self.scheduler = SimpleNamespace(get_events=lambda _topic: ())
        self.loop = SimpleNamespace(add_callback=lambda function, *given: function(*given))
        self.scale(jobs)

    def scale(self, jobs):
        self.workers = {name: job for name, job in self.workers.items() if name in self.worker_spec}
        for name in self.worker_spec.keys() - self.workers.keys():
            self.submitted += 1
            taken = sum(job.job_id is not None for job in self.workers.values()) < self.limit
            number = str(self.submitted) if taken else None
            self.workers[name] = SimpleNamespace(job_id=number, refused="the limit is 2")

    def listed(self, *_command):
        lines = [f"{job.job_id} PENDING (Priority)\n" for job in self.workers.values() if job.job_id]
        return subprocess.CompletedProcess([], 0, "".join(lines), "")


def test_jobs_that_slurm_refuses_are_submitted_again_later_and_told_of_once(tmp_path, monkeypatch, caplog):
    cluster = Cluster(3, limit=2)
    monkeypatch.setattr(slurm, "_run", cluster.listed)
    upkeep = _Upkeep(cluster, Jobs(jobs=3, cores=2), "harness-test", tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert upkeep(0) == "2 jobs pending (Priority)"
    assert caplog.messages == [
        "Slurm refuses 1 of 3 jobs (the limit is 2): the others go on, and these are submitted again later"
    ]
    # Once more at once; then Slurm is left alone for a while.
    assert cluster.submitted == 4
    cluster.limit = 3
    monkeypatch.setattr(upkeep, "_ask_again", 0.0)
    upkeep(0)
    assert upkeep(0) == "3 jobs pending (Priority)"


def test_when_slurm_refuses_all_jobs_again_and_again_that_is_the_end(tmp_path, monkeypatch):
    cluster = Cluster(3, limit=0)
    monkeypatch.setattr(slurm, "_run", cluster.listed)
    upkeep = _Upkeep(cluster, Jobs(jobs=3, cores=2), "harness-test", tmp_path)
    upkeep(0)
    upkeep(0)
    with pytest.raises(HarnessError, match="Slurm refuses all jobs: the limit is 2"):
        upkeep(0)
    assert cluster.submitted == 9


def test_a_job_is_replaced_once_however_long_sbatch_takes(tmp_path, monkeypatch):
    cluster = Cluster(1, limit=1)
    monkeypatch.setattr(slurm, "_run", lambda *_: subprocess.CompletedProcess([], 0, "", ""))
    monkeypatch.setattr(cluster, "scale", lambda **_: None)
    upkeep = _Upkeep(cluster, Jobs(jobs=1, cores=2), "harness-test", tmp_path)
    for _ in range(5):
        assert upkeep(0) == ""
    assert list(cluster.worker_spec) == ["harness-test-again-1"]


def test_a_job_whose_workers_are_here_lives_whatever_squeue_says(tmp_path, monkeypatch):
    cluster = Cluster(2, limit=2)
    cluster.scheduler_info["workers"] = {"tls://1": {"name": "job-1-0"}}
    monkeypatch.setattr(slurm, "_run", lambda *_: subprocess.CompletedProcess([], 0, "", ""))
    _Upkeep(cluster, Jobs(jobs=2, cores=2), "harness-test", tmp_path)(1)
    assert set(cluster.worker_spec) == {"job-1", "harness-test-again-1"}
