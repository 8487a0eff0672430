"""How Slurm's jobs are to be: what a file may say, and what is said of one that says something else."""

import pytest

from harness.compute.cluster.config import read_jobs, seconds_of
from harness.compute.cluster.slurm import ENDED, _in_words
from harness.errors import UsageError

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
