"""Have the official program score the conformance set, and write what it says to conformance.csv.

    python tests/golden/make_golden.py [FOLDER] [--write]

Writes the set in the official layout to FOLDER (a temporary folder by default), runs pyclarity's own
`recipes/cad_icassp_2024/baseline/evaluate.py` there, unchanged and as a program of its own, and compares its
scores.csv with `harness/haaqi/conformance.csv`; --write replaces that file. None of the harness's scoring is involved.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import soundfile

from harness.haaqi import conformance
from harness.hearing import Listener

SPLIT = "valid"
CSV = Path(conformance.__file__).with_name("conformance.csv")
COLUMNS = ["scene", "song", "listener", "left_score", "right_score", "score"]


def write_layout(root: Path) -> None:
    """Write the conformance set to `root` in the official layout, its submission to root/submission."""
    metadata = root / "metadata"
    metadata.mkdir(parents=True)
    submission = root / "submission"
    submission.mkdir()
    scenes = conformance.scenes()
    listeners = {who.id: who for scene in scenes for who in scene.listeners}
    for scene in scenes:
        folder = root / "audio" / "at_mic_music" / SPLIT / scene.music
        folder.mkdir(parents=True)
        for name, signal in {"mixture": scene.mixture, **scene.stems}.items():
            soundfile.write(folder / f"{name}.wav", signal, 44100, subtype="PCM_16")
        for who in scene.listeners:
            path = submission / f"{scene.id}_{who.id}_remix.flac"
            soundfile.write(path, scene.processed(who), 32000, subtype="PCM_16")

    def track(scene: conformance.ConformanceScene) -> tuple[str, str]:
        name, _, position = scene.music.rpartition("-")
        return name, position

    def write(name: str, content: object) -> None:
        (metadata / name).write_text(json.dumps(content, indent=1), encoding="utf-8")

    write("gains.json", {f"gain_{scene.id}": dict(scene.gains) for scene in scenes})
    write(
        f"scenes.{SPLIT}.json",
        {
            scene.id: {
                "music": track(scene)[0],
                "gain": f"gain_{scene.id}",
                "head_loudspeaker_positions": track(scene)[1],
            }
            for scene in scenes
        },
    )
    write(f"scene_listeners.{SPLIT}.json", {scene.id: [who.id for who in scene.listeners] for scene in scenes})
    write(f"listeners.{SPLIT}.json", {name: _listener(who) for name, who in listeners.items()})
    write(
        f"at_mic_music.{SPLIT}.json",
        {
            scene.music: {"Track Name": scene.music, "Split": SPLIT, "Path": f"{SPLIT}/{scene.music}"}
            for scene in scenes
        },
    )


def _listener(who: Listener) -> dict[str, object]:
    return {
        "name": who.id,
        "audiogram_cfs": list(who.left.frequencies),
        "audiogram_levels_l": list(who.left.levels),
        "audiogram_levels_r": list(who.right.levels),
    }


def official_rows(root: Path) -> list[dict[str, str]]:
    """Run the official evaluation program on `root` and return the rows of its scores.csv."""
    recipes = find_spec("recipes.cad_icassp_2024.baseline")
    assert recipes is not None
    program = Path(next(iter(recipes.submodule_search_locations or []))) / "evaluate.py"
    experiment = root / "exp"
    experiment.mkdir()
    (experiment / "enhanced_signals").symlink_to(root / "submission")
    subprocess.run(
        [
            sys.executable,
            str(program),
            f"path.root={root}",
            f"path.exp_folder={experiment}",
            *(
                f"path.{key}_file=${{path.metadata_dir}}/{key if key != 'music' else 'at_mic_music'}.{SPLIT}.json"
                for key in ("listeners", "music", "scenes", "scene_listeners")
            ),
        ],
        check=True,
        env={**os.environ, "HYDRA_FULL_ERROR": "1"},
    )
    with (experiment / "scores.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="where to write the set; must not exist")
    parser.add_argument("--write", action="store_true", help="replace conformance.csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (arguments.folder or Path(temporary) / "conformance").resolve()
        write_layout(root)
        rows = official_rows(root)
    if arguments.write:
        with CSV.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({column: row[column] for column in COLUMNS} for row in rows)
        print(f"wrote {CSV}")
    official = conformance.official_scores()
    worst = max(
        abs(float(row[f"{ear}_score"]) - getattr(official[row["scene"], row["listener"]], ear))
        for row in rows
        for ear in ("left", "right")
    )
    print(f"{len(rows)} pairs; largest difference from conformance.csv: {worst:.3g}")
    if worst > conformance.TOLERANCE:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
