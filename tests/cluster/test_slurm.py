"""`--cluster slurm` on a real Slurm: workers over TLS, scores into PostgreSQL, and all that may die on the way."""

import re
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.compute.cluster.config import Jobs, read_jobs, with_dasks_own
from harness.compute.cluster.slurm import _cluster
from harness.errors import UsageError

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text(encoding="utf-8")

CLUSTER = ("--cluster", "slurm", "--cluster-config", "slurm.yaml")
SCORE = ("score", "made", "--data", "set", *CLUSTER)

DEADLY = """
import os, signal
import numpy as np
from harness.systems import STEMS, Separator, hookimpl

class Deadly(Separator):
    name, version, training_data, licence = "deadly", "1", "none", "none"

    def separate(self, mixture, sample_rate):
        if np.argmax(np.abs(mixture[:, 0])) == {peak}:
            os.kill(os.getppid(), signal.SIGKILL)
        return {{stem: mixture / 4 for stem in STEMS}}

@hookimpl
def register_systems(register):
    register(Deadly)
"""
"""A system that kills the worker that it runs for, at one piece of music."""


@pytest.mark.parametrize("engine", ["fast", "locked"])
def test_scores_are_those_of_this_machine(work, engine):
    done = work.harness(*SCORE, "--engine", engine)
    assert done.code == 0, done.stderr
    scores = work.scores()
    assert [row for row in scores if row[2] == engine] == work.expected(engine)
    assert len(scores) == work.pairs
    assert work.slurm.jobs() == []
    # The evaluator and the environment that workers computed with are those of this machine, which all nodes are.
    assert work.provenance(engine) == work.provenance(engine, f"sqlite:///{work.folder}/{engine}.db")
    assert "Traceback" not in done.stderr
    assert work.password not in done.stderr + done.stdout
    # The jobs' logs stay, but no keys.
    assert {path.suffix for path in (work.folder / "jobs").iterdir()} <= {".out", ".err"}


def test_a_job_that_is_killed_loses_nothing(work):
    process = work.start(*SCORE)
    work.until(work.scores, process)
    first, *_ = work.slurm.jobs("running")
    work.slurm.command("scancel", "--signal=KILL", "--full", first.id)
    done = work.finish(process)
    assert done.code == 0, done.stderr
    assert work.scores() == work.expected("locked")
    assert work.slurm.jobs() == []


def test_a_job_whose_time_is_up_is_replaced(work):
    # Workers of one job have names that are not the job's: Dask would replace only a job of one.
    work.configure(jobs=1, cores=2)
    process = work.start(*SCORE)
    work.until(work.scores, process)
    # What Slurm does when the walltime ends: SIGTERM, and SIGKILL after KillWait. Nobody else is there to go on.
    (only,) = work.slurm.jobs("running")
    work.slurm.command("scancel", only.id)
    done = work.finish(process)
    assert done.code == 0, done.stderr
    assert work.scores() == work.expected("locked")
    assert max(int(job.id) for job in work.slurm.jobs("all")) > int(only.id)
    assert work.slurm.jobs() == []


def test_a_job_that_is_cancelled_while_it_waits_is_replaced(work):
    fill = ("--nodes=1", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600")
    filler = work.slurm.submit(*fill, folder=work.folder)
    work.until(lambda: work.slurm.jobs("running"))
    # One on the other node, and one that waits.
    work.configure(jobs=2, cores=2)
    process = work.start(*SCORE)
    work.until(work.scores, process)
    (waiting,) = work.slurm.jobs("pending")
    work.slurm.command("scancel", waiting.id)
    work.until(lambda: work.slurm.jobs("pending"), process)
    (other,) = work.slurm.jobs("pending")
    assert int(other.id) > int(waiting.id)
    process.send_signal(signal.SIGINT)
    assert work.finish(process).code == 130
    assert {job.id for job in work.slurm.jobs()} == {filler}


def test_jobs_that_end_without_workers_are_not_submitted_for_ever(work):
    work.configure(prologue=["echo 'module: command not found' >&2", "exit 1"])
    done = work.harness(*SCORE)
    assert done.code == 1, done.stderr
    assert re.search(r"ended before there was a worker: .*module: command not found \(.*\.err\)$", done.error)
    # Both were submitted three times.
    assert len(list((work.folder / "jobs").glob("*.err"))) == 6
    assert work.slurm.jobs() == []


def test_ctrl_c_cancels_the_jobs_and_the_same_command_continues(work):
    process = work.start(*SCORE)
    work.until(work.scores, process)
    process.send_signal(signal.SIGINT)
    done = work.finish(process)
    assert done.code == 130, done.stderr
    assert done.stderr.splitlines()[-1].endswith("interrupted; run the same command again: it continues")
    assert "Traceback" not in done.stderr
    work.until(lambda: not work.slurm.jobs())
    before = work.scores()
    assert 0 < len(before) < work.pairs
    again = work.harness(*SCORE)
    assert again.code == 0, again.stderr
    assert f"{len(before)} pairs are scored already" in again.stderr
    assert work.scores() == work.expected("locked")


def test_jobs_end_when_the_main_process_is_killed(work):
    process = work.start(*SCORE)
    work.until(work.scores, process)
    process.kill()
    work.finish(process)
    work.until(lambda: not work.slurm.jobs())
    before = work.scores()
    again = work.harness(*SCORE)
    assert again.code == 0, again.stderr
    assert f"{len(before)} pairs are scored already" in again.stderr
    assert work.scores() == work.expected("locked")


def test_the_database_restarts(work, postgresql):
    process = work.start(*SCORE)
    work.until(work.scores, process)
    postgresql.stop()
    postgresql.start()
    done = work.finish(process)
    assert done.code == 0, done.stderr
    assert work.scores() == work.expected("locked")


def test_jobs_that_wait_are_talked_about(work):
    fill = ("--array=1-2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600")
    filler = work.slurm.submit(*fill, folder=work.folder)
    work.until(lambda: len(work.slurm.jobs("running")) == 2)
    process = work.start(*SCORE, "--engine", "fast")
    work.until(lambda: re.search(r"^0 workers, .*pending \((Resources|Priority)\)$", work.said, re.MULTILINE), process)
    work.slurm.command("scancel", filler)
    done = work.finish(process)
    assert done.code == 0, done.stderr
    assert [row for row in work.scores() if row[2] == "fast"] == work.expected("fast")


def test_a_queue_that_is_not_there_is_one_line(work):
    work.configure(queue="nowhere")
    done = work.harness(*SCORE)
    assert done.code in (1, 2)
    assert "invalid partition" in done.error
    assert work.slurm.jobs() == []


def test_an_interface_that_is_not_there_is_one_line(work):
    work.configure(interface="ib9")
    done = work.harness(*SCORE)
    assert done.code == 1
    assert re.search("--cluster slurm: Dask does not start it .*'ib9' is not a valid network interface", done.error)
    assert "Traceback" not in done.stderr
    # Neither keys nor the folder that held them.
    assert list((work.folder / "jobs").iterdir()) == []


def script_of(jobs: Jobs, folder: Path) -> list[str]:
    """The lines of a job's script."""
    private = folder / "private"
    private.mkdir()
    cluster = _cluster(with_dasks_own(jobs), "score", "harness-test", folder, private)
    try:
        return cluster.job_script().splitlines()
    finally:
        cluster.close()


def test_a_job_has_an_hour_unless_somebody_says_otherwise(tmp_path):
    # dask-jobqueue by itself gives half an hour.
    script = script_of(Jobs(interface="lo"), tmp_path)
    assert "#SBATCH -t 01:00:00" in script
    assert "--lifetime 3240s" in script[-1]


def test_what_the_configuration_leaves_out_is_taken_from_dasks_own(tmp_path, monkeypatch):
    own = {
        "WALLTIME": "02:00:00",
        "QUEUE": "theirs",
        "ACCOUNT": "them",
        "CORES": "3",
        "MEMORY": "9GB",
        "INTERFACE": "lo",
        "JOB_SCRIPT_PROLOGUE": "['echo theirs']",
        "JOB_EXTRA_DIRECTIVES": "['--constraint=theirs']",
    }
    for name, value in own.items():
        monkeypatch.setenv(f"DASK_JOBQUEUE__SLURM__{name}", value)
    file = tmp_path / "slurm.yaml"
    file.write_text("queue: ours\nprologue: [echo ours]\ndirectives: [--constraint=ours]\n")
    script = script_of(read_jobs(file, "score"), tmp_path)
    assert {"#SBATCH -t 02:00:00", "#SBATCH -p ours", "#SBATCH -A them", "#SBATCH --cpus-per-task=3"} <= {*script}
    assert "#SBATCH --mem=9G" in script
    assert "--nworkers 3" in script[-1]
    assert "--interface lo" in script[-1]
    # The file's come last: they may undo the others. Ours come first.
    assert script.index("echo theirs") > next(n for n, line in enumerate(script) if line.startswith("export OMP_NUM"))
    for lines in ("echo {}", "#SBATCH --constraint={}"):
        assert script.index(lines.format("theirs")) < script.index(lines.format("ours"))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        # As YAML reads 01:00:00 without quotes.
        (
            "WALLTIME",
            "3600",
            r"slurm.walltime in Dask's configuration: .* string \(write it in quotes: \"01:00:00\"\)$",
        ),
        ("CORES", "many", "slurm.cores in Dask's configuration: Input should be a valid integer$"),
        ("JOB_EXTRA_DIRECTIVES", "[1]", "slurm.job-extra-directives in Dask's configuration: .*string"),
    ],
)
def test_what_is_wrong_in_dasks_own_configuration_is_said(monkeypatch, name, value, said):
    monkeypatch.setenv(f"DASK_JOBQUEUE__SLURM__{name}", value)
    with pytest.raises(UsageError, match=said):
        with_dasks_own(Jobs())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.flac")}


def test_systems_run_on_workers_and_one_piece_that_kills_them_is_given_up(work):
    plugin = ("--plugin", "deadly.py", "--system", "deadly", "--data", "set", "--engine", "fast")
    music = next((work.folder / "set").glob("audio/*/*/scene_V006/mixture.wav"))
    (work.folder / "deadly.py").write_text(DEADLY.format(peak=-1))
    local = work.harness("enhance", *plugin[:-2], "--output", "local")
    assert local.code == 0, local.stderr
    samples, _ = soundfile.read(music)
    (work.folder / "deadly.py").write_text(DEADLY.format(peak=np.argmax(np.abs(samples[:, 0]))))
    done = work.harness("run", *plugin, "--output", "far", *CLUSTER)
    assert done.code == 1, done.stderr
    lost = {"scene_V006_L0_remix.flac", "scene_V006_L1_remix.flac"}
    made = files(work.folder / "far")
    assert len(made) == work.pairs - len(lost), done.stderr
    assert made == {name: content for name, content in files(work.folder / "local").items() if name not in lost}
    assert {path.name for path in (work.folder / "far").iterdir()} == {*made, "submission.json"}
    failed = {line for line in (done.stderr + done.stdout).splitlines() if line.startswith("failed: ")}
    assert len(failed) == len(lost)
    assert all("scene_V006" in line and "died" in line for line in failed), failed
    assert len([row for row in work.scores() if row[2] == "fast"]) == len(made)
    assert work.slurm.jobs() == []


def test_a_cluster_within_one_job(work):
    (script,) = re.findall(r"^`cluster.sbatch`:\n\n```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (work.folder / "cluster.sbatch").write_text(script)
    given = {"DATA": "set", "SUBMISSION": "made", "INTERFACE": "lo"}
    small = ("--nodes=2", "--ntasks-per-node=1", "--output=cluster.out")
    job = work.slurm.submit(*small, "cluster.sbatch", folder=work.folder, **work.environment, **given)
    ended = set(work.slurm.wait_for(job).values())
    assert ended == {"COMPLETED"}, (work.folder / "cluster.out").read_text()
    assert [row for row in work.scores() if row[2] == "fast"] == work.expected("fast")
    # Keys do not stay.
    assert not list(work.folder.glob("dask.*"))
