"""Running the installed official programs (pyclarity's recipes) beside ours."""

import subprocess
import sys
from pathlib import Path


def run_official(program: str, root: Path, *settings: str) -> None:
    """Run a program of the recipe `generate_dataset` on an evaluation set in the official layout, as a user would."""
    module = f"recipes.cad_icassp_2024.generate_dataset.{program}"
    done = subprocess.run(
        [sys.executable, "-m", module, f"path.root={root}", f"hydra.run.dir={root / 'hydra'}", *settings],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
