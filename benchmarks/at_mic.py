"""What it costs to bring songs to the microphones, and what of it is worth the trouble.

    python benchmarks/at_mic.py [--seconds S] [--positions N] [--rounds N] [--official]

Makes a song (the embedded excerpt again and again, with its stems) of four minutes, and lets `harness set at-mic` bring
its five files to one position of the shipped KEMAR head (512 taps) and to one of a head of 235 taps, as the official
heads have; then to N positions, which read and measure the song once. Processor time is that of a worker process of its
own, its peak memory too. A second run keeps what is there. With --official the installed official program does the same
on the head of 235 taps, and its files have to be the same to the byte: else the exit code is 1.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from harness.challenge import PROTOCOL, STEMS
from harness.music.finding import load_evaluation_set
from harness.sets.heads import KEMAR_POSITIONS, kemar_folder, read_impulse_responses, speaker_files
from harness.sets.positions import records_of

TAPS = 235
"""Of the official heads' impulse responses."""
SHORT = "short"
"""The KEMAR head's mic in the files that are cut to `TAPS`."""


@dataclass(frozen=True)
class Cost:
    """What a program took: CPU seconds, wall seconds, peak memory in MiB."""

    cpu: float
    wall: float
    peak: float


def build(root: Path, seconds: float, positions: list[tuple[str, str]]) -> Path:
    """A set in the making: one song, and a scene for each position, given as mic and id."""
    metadata, song = root / "metadata", root / "audio" / "music" / "train" / "Song"
    for folder in (metadata, song, root / "audio" / "hrtf"):
        folder.mkdir(parents=True)
    records, scenes = {}, {}
    for mic, name in positions:
        position = KEMAR_POSITIONS[name]
        record = records_of({name: position})[name] | {"mic": mic or position.mic}
        records[f"{mic or 'kemar'}_{name}"] = record
        scenes[f"scene_{len(scenes)}"] = {
            "music": "Song",
            "gain": "gain_0001",
            "head_loudspeaker_positions": f"{mic or 'kemar'}_{name}",
        }
        for path in speaker_files(kemar_folder(), position):
            response = read_impulse_responses(path)
            target = root / "audio" / "hrtf" / path.name.replace(position.mic, record["mic"], 1)
            soundfile.write(
                target, response[:TAPS] if mic else response, PROTOCOL.sample_rate, format="WAV", subtype="FLOAT"
            )
    (metadata / "head_loudspeaker_positions.json").write_text(json.dumps(records))
    (metadata / "scenes.train.json").write_text(json.dumps(scenes))
    (metadata / "musdb18.train.json").write_text(
        json.dumps([{"Track Name": "Song", "Split": "train", "Path": "train/Song"}])
    )
    scene = load_evaluation_set("demo", None).scenes[0]
    frames = round(seconds * PROTOCOL.sample_rate)
    for name in ("mixture", *STEMS):
        excerpt, _ = soundfile.read(scene.folder / f"{name}.wav", dtype="int16")
        whole = np.resize(excerpt, (frames, 2))
        soundfile.write(song / f"{name}.wav", whole, PROTOCOL.sample_rate, subtype="PCM_16")
    return root


def measured(arguments: list[str], cwd: Path) -> Cost:
    """Run a Python program in a process of its own."""
    code = (
        "import resource, runpy, sys\n"
        "try:\n    runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)\n"
        "finally:\n    used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "    print('COST', used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)\n"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)  # noqa: S603 - ourselves
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stderr)
    _, cpu, peak = next(line for line in done.stderr.splitlines() if line.startswith("COST")).split()
    return Cost(float(cpu), wall, float(peak))


def at_mic(root: Path, output: Path) -> Cost:
    return measured(["harness", "set", "at-mic", str(root), "--output", str(output), "--workers", "1"], root)


def official(root: Path) -> Cost:
    module = "recipes.cad_icassp_2024.generate_dataset.generate_at_mic_musdb18"
    return measured([module, f"path.root={root}", f"hydra.run.dir={root / 'hydra'}"], root)


def same(root: Path, other: Path) -> bool:
    files = sorted(path.relative_to(root) for path in (root / "audio" / "at_mic_music").rglob("*.wav"))
    return bool(files) and all((root / name).read_bytes() == (other / name).read_bytes() for name in files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0, help="length of the song (default 240)")
    parser.add_argument("--positions", type=int, default=4, help="positions of the song of many (default 4)")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each (default 1)")
    parser.add_argument("--official", action="store_true", help="let the official program do the same, and compare")
    wanted = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    ids = list(KEMAR_POSITIONS)
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; a song of {wanted.seconds:g} s, five files"
    )
    print(f"{'':34} {'CPU s':>8} {'wall s':>8} {'peak MiB':>9}")
    good = True

    def line(what: str, costs: list[Cost]) -> float:
        cpu, wall, peak = (statistics.median(getattr(cost, key) for cost in costs) for key in ("cpu", "wall", "peak"))
        print(f"{what:34} {cpu:8.2f} {wall:8.2f} {peak:9.0f}", flush=True)
        return cpu

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = {
            "one position, 235 taps": [(SHORT, ids[0])],
            "one position, 512 taps": [("", ids[0])],
            f"{wanted.positions} positions, 512 taps": [("", name) for name in ids[: wanted.positions]],
        }
        times = []
        for number, (what, positions) in enumerate(sets.items()):
            root = build(folder / str(number), wanted.seconds, positions)
            costs = []
            for _ in range(wanted.rounds):
                shutil.rmtree(folder / "out", ignore_errors=True)
                costs.append(at_mic(root, folder / "out"))
            times.append(line(what, costs))
        line("the same again: all is kept", [at_mic(root, folder / "out")])
        start = line("nothing: harness --version", [measured(["harness", "--version"], folder)])
        share = (times[2] - start) / max(1, wanted.positions) / (times[1] - start)
        print(f"one of {wanted.positions} positions takes {share:.2f} of what one alone takes")
        if wanted.official:
            root = folder / "0"
            theirs = line("official program, 235 taps", [official(root) for _ in range(1)])
            print(f"{theirs / times[0]:.1f} times the processor time of ours")
            shutil.rmtree(folder / "out")
            at_mic(root, folder / "out")
            good = same(root, folder / "out")
            print("all files are the same to the byte" if good else "FILES DIFFER")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
