r"""Have the first challenge's own program score its conformance set, and write what it says to conformance_cad1.csv.

    python -m venv official
    official/bin/pip install numpy==1.24.4 scipy==1.11.2 pandas==2.1.4 hydra-core==1.3.2 pyflac==3.0.0 \
        pyloudnorm==0.1.1 soundfile==0.14.0 soxr==1.1.0 librosa==0.11.0
    official/bin/pip install --no-deps pyclarity==0.3.4
    python tests/golden/make_golden_cad1.py official/bin/python [FOLDER] [--write]

The first argument is a Python of an environment in which that program works (Python 3.11, NumPy 1). The set is written
in the official layout to FOLDER (a temporary folder by default). There runs pyclarity 0.3.4's own
`recipes/cad1/task1/baseline/evaluate.py`, unchanged and as a program, and its CSV is compared with
`harness/haaqi/conformance_cad1.csv`; --write replaces that file. None of the harness's scoring is involved.
"""

import argparse
import csv
import json
import os
import subprocess
import tempfile
from pathlib import Path

from harness.haaqi import conformance_cad1
from harness.haaqi.conformance import TOLERANCE
from harness.hearing import Listener

SPLIT = "valid"
CSV = Path(conformance_cad1.__file__).with_name("conformance_cad1.csv")
RECIPE = "recipes.cad1.task1.baseline"
COLUMNS = [
    "song", "listener", "score", "left_bass", "right_bass", "left_drums", "right_drums", "left_other", "right_other",
    "left_vocals", "right_vocals",
]  # fmt: skip


def write_layout(root: Path) -> None:
    """Write the conformance set and its submission to `root`, in the official layout."""
    root.mkdir(parents=True, exist_ok=True)
    pairs = conformance_cad1.write(root)
    songs = list(dict.fromkeys(pair.scene.track for pair in pairs))
    listeners = {pair.listener.id: _listener(pair.listener) for pair in pairs}
    metadata = root / "metadata"
    metadata.mkdir()
    for name, content in (
        ("musdb18", [{"Track Name": song, "Split": SPLIT} for song in songs]),
        ("listeners", listeners),
    ):
        (metadata / f"{name}.{SPLIT}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def _listener(who: Listener) -> dict[str, object]:
    return {
        "name": who.id,
        "audiogram_cfs": list(who.left.frequencies),
        "audiogram_levels_l": list(who.left.levels),
        "audiogram_levels_r": list(who.right.levels),
    }


def official_rows(root: Path, python: str) -> list[dict[str, str]]:
    """Run the evaluation program that `python` has installed on `root`, and return the rows of its CSV."""
    asked = [python, "-c", f"import {RECIPE} as recipe; print(list(recipe.__path__)[0])"]
    program = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()) / "evaluate.py"
    # Where it runs it finds the submission, and writes its CSV.
    subprocess.run(
        [python, str(program), f"path.root={root}", f"path.exp_folder={root}"],
        check=True,
        env={**os.environ, "HYDRA_FULL_ERROR": "1"},
    )
    (found,) = root.glob("scores*.csv")
    with found.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", help="interpreter of an environment with pyclarity 0.3.4")
    parser.add_argument("folder", nargs="?", type=Path, help="where to write the set; must not exist")
    parser.add_argument("--write", action="store_true", help="replace conformance_cad1.csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.folder or Path(temporary) / "conformance").resolve()
        write_layout(root)
        rows = official_rows(root, arguments.python)
    if arguments.write:
        with CSV.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({column: row[column] for column in COLUMNS} for row in rows)
        print(f"wrote {CSV}")
    official = conformance_cad1.official_scores()
    worst = max(
        abs(float(row[name]) - due)
        for row in rows
        for name, due in (official[row["song"], row["listener"]].stems or {}).items()
    )
    print(f"{len(rows)} pairs; largest difference from conformance_cad1.csv: {worst:.3g}")
    if worst > TOLERANCE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
