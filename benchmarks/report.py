"""What the report costs: how long it takes to build, how large its pages are, how soon the first one is painted.

    python benchmarks/report.py [--systems N] [--scenes N] [--rounds N] [--browser PROGRAM]

A database is filled with complete runs of 960 scenes for 20 listeners (19,200 scores each; six runs by default), on an
evaluation set with as many scenes, audiograms and gains; its 48 pieces of music are short, since no sound is made.
`harness report` runs as a process of its own, in turns with `python -c pass`. Then Chromium opens the pages from disk
(goto until two frames after it was loaded and its charts were drawn), the first page several times. Aims: 20 s, 3 MB
for all pages without sound, 1.5 s. Needs the packages `[dev]` and Chromium.

The limit for building is reading and checking the scores: the row "read" says how long `load_results` takes alone.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from commands import add_files_and_scores, record, seconds

from harness.challenge import PROTOCOL, STEMS
from harness.haaqi import lock
from harness.music.evaluationset import EvaluationSet
from harness.music.layout import load
from harness.results.frames import load_results
from harness_leaderboard.records import EvaluationSetRecord, PieceCost, SetPair
from harness_leaderboard.store import Store

TRACKS = 48
LISTENERS = 20
FREQUENCIES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
SPLIT = "benchmark"


def build_set(root: Path, scenes: int) -> EvaluationSet:
    """An evaluation set in the official layout: headphone form, 0.6 s of noise for each track."""
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> None:
        path = root / "metadata" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    tracks = [f"Artist {track % 17} - Song number {track:02}" for track in range(TRACKS)]
    for track in tracks:
        folder = root / "audio" / "musdb18hq" / SPLIT / track
        folder.mkdir(parents=True)
        for name in ("mixture", *STEMS):
            noise = draw.normal(0, 0.05, (round(0.6 * PROTOCOL.sample_rate), 2))
            soundfile.write(folder / f"{name}.wav", noise, PROTOCOL.sample_rate, subtype="PCM_16")
    gains = {
        f"gain_{index:04}": {stem: int(draw.choice([-10, -6, -3, 0, 3, 6, 10])) for stem in STEMS}
        for index in range(60)
    }
    listeners = {}
    for index in range(LISTENERS):
        left = np.clip(draw.uniform(5, 60) + draw.uniform(0, 5) * np.arange(8), 0, 80).round()
        right = np.clip(left + draw.normal(0, 8, 8), 0, 80).round()
        name = f"L{1 + index:04}"
        listeners[name] = {
            "name": name,
            "audiogram_cfs": FREQUENCIES,
            "audiogram_levels_l": left.tolist(),
            "audiogram_levels_r": right.tolist(),
        }
    names = [f"scene_{10001 + index}" for index in range(scenes)]
    write("gains.json", gains)
    write(f"listeners.{SPLIT}.json", listeners)
    write(f"musdb18.{SPLIT}.json", [{"Track Name": t, "Split": SPLIT, "Path": f"{SPLIT}/{t}"} for t in tracks])
    write(
        f"scenes.{SPLIT}.json",
        {n: {"music": tracks[i % TRACKS], "gain": f"gain_{i % 60:04}"} for i, n in enumerate(names)},
    )
    write(f"scene_listeners.{SPLIT}.json", {name: list(listeners) for name in names})
    return load(root, SPLIT)


def fill(url: str, systems: int, evaluation_set: EvaluationSet) -> None:
    """Store complete runs: a listener with a greater loss scores lower, tracks and scenes differ."""
    draw = np.random.default_rng(1)
    references = evaluation_set.references()
    pairs = [SetPair(*pair.id, pair.scene.track, references[pair.id]) for pair in evaluation_set.all_pairs]
    loss = np.array([np.mean(pair.listener.left.levels) for pair in evaluation_set.all_pairs])
    scenes = {scene.id: draw.normal(0, 0.05) for scene in evaluation_set.whole}
    base = 0.62 - 0.003 * loss + np.array([scenes[pair.scene] for pair in pairs])
    about = EvaluationSetRecord(
        evaluation_set.name, SPLIT, evaluation_set.sha256, len(evaluation_set.whole), len(pairs)
    )
    songs = sorted({scene.song for scene in evaluation_set.whole})
    with Store.open(url, create=True) as store:
        for index in range(systems):
            run = record(
                index,
                system=f"system {index}",
                causal=index % 3 == 2,
                parameters=10 ** (4 + index % 5),
                training_data="MUSDB18",
                licence="MIT",
            )
            run_id = store.start_run(run, about, lock.fingerprint(), lock.lock(), pairs)
            scores = np.clip(base[:, None] - 0.01 * index + draw.normal(0, 0.05, (len(pairs), 2)), 0, 1)
            add_files_and_scores(store, run_id, scores)
            store.keep_costs(run_id, [PieceCost(song, 0.1, 0.02 * (1 + index), 10**8) for song in songs])
        store.keep_summaries()


def painted(program: str, folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds until each page is painted, its charts included: the median."""
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program)
        for path in sorted(folder.glob("*.html")):
            taken = []
            for _ in range(rounds):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                start = time.perf_counter()
                page.goto(path.as_uri())
                page.wait_for_function(
                    "[...document.querySelectorAll('figure[data-chart]')].every((each) => each.querySelector('svg'))"
                )
                page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                taken.append(1000 * (time.perf_counter() - start))
                page.close()
            found[path.name] = statistics.median(taken)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=int, default=6, help="runs on the board (default 6)")
    parser.add_argument("--scenes", type=int, default=960, help="scenes of the evaluation set (default 960)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument(
        "--browser", default=shutil.which("chromium"), help="Chromium (default: the one that is installed)"
    )
    wanted = parser.parse_args()
    harness = shutil.which("harness", path=str(Path(sys.executable).parent))
    if harness is None:
        raise SystemExit(f"no program harness beside {sys.executable}: install the project there")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        evaluation_set = build_set(folder / "set", wanted.scenes)
        url = f"sqlite:///{folder}/leaderboard.db"
        fill(url, wanted.systems, evaluation_set)
        print(f"{wanted.systems} systems x {len(evaluation_set.all_pairs):,} pairs", flush=True)
        command = [harness, "report", "--db", url, "--data", str(folder / "set"), "--output", str(folder / "report")]
        nothing = [sys.executable, "-c", "pass"]
        seconds(command, os.environ)  # hashes the music, compiles modules
        built, started, read = [], [], []
        for _ in range(wanted.rounds):
            started.append(seconds(nothing, os.environ))
            built.append(seconds(command, os.environ))
            start = time.perf_counter()
            load_results(url, evaluation_set)
            read.append(time.perf_counter() - start)
        times = statistics.median(each / least for each, least in zip(built, started, strict=True))
        print(f"built      {statistics.median(built):8.2f} s   aim 20 s   {times:.0f} times python -c pass")
        print(f"read       {statistics.median(read):8.2f} s   load_results alone")
        sizes: dict[str, int] = {}
        for path in (folder / "report").rglob("*"):
            if path.is_file():
                kind = path.relative_to(folder / "report").parts[0] if path.parent != folder / "report" else "pages"
                sizes[kind] = sizes.get(kind, 0) + path.stat().st_size
        for kind, size in sorted(sizes.items(), key=lambda item: -item[1]):
            print(f"{kind:10} {size / 1e6:8.2f} MB")
        print(f"all        {sum(sizes.values()) / 1e6:8.2f} MB   aim 3 MB for pages, data and assets")
        if wanted.browser is None:
            print("no Chromium here: nothing was painted")
            return
        for page, taken in painted(wanted.browser, folder / "report", max(wanted.rounds, 3)).items():
            print(f"{page:20} {taken:6.0f} ms{'   aim 1,500 ms' if page == 'index.html' else ''}")


if __name__ == "__main__":
    main()
