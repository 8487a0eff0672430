"""The code in docs/reference/python.md and the notebook run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from harness.results.frames import RUN_TYPES
from harness_leaderboard.whole import PairColumns

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("reference/python.md", "how-to/validation-loop.md", "reference/results.md")
PYTHON = "\n".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
NOTEBOOK = DOCS / "how-to" / "first-results.ipynb"
# Each stem has a column of its own.
PAIRS = [name if name != "stems" else "left_vocals" for name in PairColumns.__dataclass_fields__]


def test_the_examples_run_in_their_order(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PYTHON, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    # The leaderboard that the last example reads is made by the first.
    program = "\n".join(blocks).replace('evaluate("passthrough")', 'evaluate("passthrough", db="leaderboard.db")')
    assert 'db="leaderboard.db"' in program
    script = tmp_path / "examples.py"
    script.write_text(program + "\nprint(scores.shape)\n", encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["0.0", "0.5", "1.0"]
    assert all(0 < float(line.split()[1]) < 1 for line in lines[:3])
    assert lines[3].startswith("(8, ")


@pytest.mark.parametrize("name", [*RUN_TYPES, "run", "evaluator", *PAIRS])
def test_every_column_is_described(name: str) -> None:
    assert f"`{name}`" in PYTHON


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook: Any = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.output_type for output in outputs if output.output_type == "error"] == []
    texts = [output["data"]["text/plain"] for output in outputs if output.output_type == "execute_result"]
    assert "passthrough" in texts[0]
    assert "not eligible" in texts[2]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    ceiling, own = (float(found) for found in re.findall(r"left=([\d.]+)", printed))
    assert 1 > ceiling > 0.7
    assert ceiling > own > 0
    assert list(tmp_path.iterdir()) == []
