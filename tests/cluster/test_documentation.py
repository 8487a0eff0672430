"""docs/how-to/slurm.md: what it says of the configuration is what there is."""

import re
from pathlib import Path

from harness.compute.cluster.config import Jobs, read_jobs
from harness.compute.cluster.slurm import GIGABYTES

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text(encoding="utf-8")


def test_its_configuration_is_one_and_has_every_key(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "slurm.yaml").write_text(block)
    score, enhance = (read_jobs(tmp_path / "slurm.yaml", purpose) for purpose in ("score", "enhance"))
    assert (score.jobs, score.queue, score.workers_of_job) == (32, "standard", 8)
    assert (enhance.jobs, enhance.queue, enhance.workers_of_job) == (2, "gpu", 1)
    assert set(Jobs.model_fields) <= set(re.findall(r"^ *(\w+):", block, re.MULTILINE))


def test_the_defaults_that_it_names_are_those_that_there_are() -> None:
    assert (Jobs().jobs, Jobs().cores, Jobs().folder) == (1, 4, "harness-cluster")
    assert GIGABYTES == {"score": 2, "enhance": 8}
