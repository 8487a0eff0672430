"""Arrays of jobs by `--part`: the scripts of docs/how-to/slurm.md, as they stand there, run by a real Slurm."""

import json
import re
from collections import Counter
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "slurm.md").read_text(encoding="utf-8")
PARTS = 3


def script(work, name: str) -> str:
    """Write a script of the documentation into the folder of work; returns its name."""
    (found,) = re.findall(rf"^`{name}`:\n\n```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (work.folder / name).write_text(found)
    return name


def submit(work, name: str, *options: str, **variables: str) -> str:
    """Submit a script of the documentation as an array of three small tasks."""
    small = (f"--array=1-{PARTS}", "--cpus-per-task=1", f"--output={name}-%a.out")
    given = {"SYSTEM": "passthrough", "DATA": "set", "SUBMISSION": "made", "PARTS": str(PARTS), **variables}
    return work.slurm.submit(*small, *options, script(work, name), folder=work.folder, **work.environment, **given)


def said(work) -> str:
    return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(work.folder.glob("*.out")))


def ended(work, job: str) -> set[str]:
    return set(work.slurm.wait_for(job).values())


def test_an_array_scores_into_one_postgresql(work):
    job = submit(work, "score.sbatch")
    assert ended(work, job) == {"COMPLETED"}, said(work)
    scores = work.scores()
    assert [row for row in scores if row[2] == "fast"] == work.expected("fast")
    for part in range(1, PARTS + 1):
        assert "Scoring: 4 of 4 pairs" in (work.folder / f"score.sbatch-{part}.out").read_text()
    # One run, which is complete and ranked.
    (run,) = work.harness("leaderboard", "--json").json
    assert (run["scored"], run["rank"]) == (work.pairs, 1)
    # The checks of the run as a whole: 2 % of the ears, at least 2.
    assert Counter(row[2] for row in scores) == {"fast": work.pairs}
    assert (run["parts"], run["checked"], run["checked_in_double"]) == (2 * work.pairs, 0, 2)

    # A task that is submitted again has nothing left to do.
    again = submit(work, "score.sbatch", "--array=2", "--output=again.out")  # the last option of a name counts
    assert ended(work, again) == {"COMPLETED"}
    assert "4 pairs are scored already" in (work.folder / "again.out").read_text()
    assert work.scores() == scores


def test_parts_with_leaderboards_of_their_own_are_merged(work):
    own = script(work, "score.sbatch")
    text = (work.folder / own).read_text()
    (lines,) = re.findall(r"^```bash\n((?:.*\n)?export HARNESS_DB=parts.*\n)```", TEXT, re.MULTILINE)
    (work.folder / own).write_text(text.replace("set -euo pipefail\n", f"set -euo pipefail\n{lines}"))
    small = (f"--array=1-{PARTS}", "--cpus-per-task=1", "--output=%a.out")
    given = {"DATA": "set", "SUBMISSION": "made", "PARTS": str(PARTS)}
    job = work.slurm.submit(*small, own, folder=work.folder, **work.environment, **given)
    assert ended(work, job) == {"COMPLETED"}, said(work)
    for part in (*range(1, PARTS + 1), 1):
        merged = work.harness("runs", "import", f"parts/{part}.db", "--reason", f"part {part} of {PARTS}")
        assert merged.code == 0, merged.stderr
    assert [row for row in work.scores() if row[2] == "fast"] == work.expected("fast")
    # Each leaderboard drew a sample of its own for the checks, so that some may lack.
    again = work.harness("score", "made", "--data", "set", "--engine", "fast")
    assert again.code == 0
    assert f"{work.pairs} pairs are scored already" in again.stderr
    (run,) = work.harness("leaderboard", "--json").json
    assert (run["scored"], run["rank"]) == (work.pairs, 1)


def test_enhancement_as_an_array_and_scoring_after_it(work):
    (work.folder / "made").rename(work.folder / "whole")
    made = submit(work, "enhance.sbatch")
    scored = submit(work, "score.sbatch", f"--dependency=afterok:{made}")
    assert ended(work, made) | ended(work, scored) == {"COMPLETED"}, said(work)

    def files(folder):
        return {path.name: path.read_bytes() for path in (work.folder / folder).glob("*.flac")}

    assert files("made") == files("whole")
    assert {path.name for path in (work.folder / "made").iterdir()} == {*files("whole"), "submission.json"}
    manifests = [json.loads((work.folder / folder / "submission.json").read_text()) for folder in ("made", "whole")]
    assert manifests[0]["files"] == manifests[1]["files"]
    assert [row for row in work.scores() if row[2] == "fast"] == work.expected("fast")
