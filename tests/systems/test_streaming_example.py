"""The streaming system of docs/how-to/live-systems.md: as it is there, through the command line."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def example() -> str:
    text = (ROOT / "docs/how-to/live-systems.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python[^\n]*\n(.*?)```", text, re.S) if "StreamingSeparator" in block]
    return str(code)


def test_the_example_of_the_documentation_runs(run_cli, tiny_set, tmp_path):
    assert len([line for line in example().splitlines() if line.strip()]) <= 25
    (tmp_path / "crossover.py").write_text(example(), encoding="utf-8")
    system = ["--plugin", tmp_path / "crossover.py", "--system", "crossover"]
    made = run_cli("enhance", *system, *tiny_set.args, "--output", tmp_path / "made", "--chain", "live")
    assert made.code == 0, made.stderr
    manifest = json.loads((tmp_path / "made/submission.json").read_text())
    assert manifest["class"] == "causal"
    assert manifest["chain"] == "live"
    assert (manifest["streaming"]["block"], manifest["streaming"]["latency"]) == (64, 0)
