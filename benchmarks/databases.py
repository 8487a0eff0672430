"""What a leaderboard in PostgreSQL costs beside one in an SQLite file, and how many can write to it at once.

    python benchmarks/databases.py [--pairs N] [--seconds S]

Starts a PostgreSQL of its own on this machine (it takes the packages that `make services` installs), durable as servers
are, or uses none where there is none. Printed for both databases:

    start_run, mark_all_enhanced, find_run, runs    wall and processor time of this process with one run of N pairs
    add_scores     for each score, one by one and 50 at a time
    writers        1, 2, 4 and 8 processes that write for S seconds: scores a second of all of them together, and how
                   long a call took in the median and at most, one score at a time and 20 (a scene)
    connecting     opening and closing a connection (PostgreSQL: with a password)

Then what follows for 1,000 workers that take 5 s for a pair, 200 scores a second, and each write for themselves. The
machine is shared by server and clients: with a server of its own there is more to be had.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from services import postgresql
from stored import FINGERPRINT, RUN, set_pairs

from harness_leaderboard.records import EnhancedFile, EvaluationSetRecord, NewScore, SetPair
from harness_leaderboard.store import Store

LISTENERS = 20
NEEDED = 200
"""Scores a second of 1,000 workers at 5 s a pair."""

WRITER = """
import json, sys, time
from itertools import count
from harness_leaderboard.records import NewScore
from harness_leaderboard.store import Store
url, me, size, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
references, took, numbers = json.loads(sys.stdin.readline()), [], count()
with Store.open(url, create=True) as store:
    store.runs()
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        scores = [NewScore(f"{me} {n}", references[n % len(references)], "locked", 0.5, 0.25)
                  for _, n in zip(range(size), numbers)]
        began = time.monotonic()
        store.add_scores(scores, "f" * 64, {"locked": {"numpy": "2.0"}})
        took.append(time.monotonic() - began)
print(json.dumps(took))
"""


def timed(what: str, work: Callable[[], object], each: int = 1) -> None:
    """Print wall and processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = (time.perf_counter() - wall) / each, (time.process_time() - cpu) / each
    print(f"  {what:34}{wall * 1e3:10.2f} ms{cpu * 1e3:10.2f} ms of processor time", flush=True)


def one_process(url: str, due: Sequence[SetPair]) -> None:
    """What single calls take."""
    about = EvaluationSetRecord("benchmark", "valid", "e" * 64, len(due) // LISTENERS, len(due))
    files = [EnhancedFile(pair.scene, pair.listener, f"{place:064}", 0) for place, pair in enumerate(due)]
    scores = [
        NewScore(file.file_sha256, pair.reference_sha256, "locked", 0.5, 0.25)
        for file, pair in zip(files, due, strict=True)
    ]
    environments = {"locked": {"numpy": "2.0"}}

    def connect() -> None:
        for _ in range(20):
            store.engine.dispose()
            with store.engine.connect():
                pass

    def one_by_one() -> None:
        for score in scores[:200]:
            store.add_scores([score], FINGERPRINT, environments)

    def many() -> None:
        for start in range(200, len(scores), 50):
            store.add_scores(scores[start : start + 50], FINGERPRINT, environments)

    with Store.open(url, create=True) as store:
        timed("connecting", connect, 20)
        timed("start_run", lambda: store.start_run(RUN, about, FINGERPRINT, {}, due))
        timed("mark_all_enhanced", lambda: store.mark_all_enhanced(1, files))
        timed("add_scores, one by one, each", one_by_one, 200)
        timed("add_scores, 50 at a time, each", many, len(scores) - 200)
        # As the next command does.
        Store.open(url, create=True).close()
        timed("find_run", lambda: store.find_run(1))
        timed("runs, summed up anew", store.runs)
        timed("keep_summaries", store.keep_summaries)
        timed("runs", store.runs)


def writers(url: str, count: int, size: int, seconds: float, references: str) -> float:
    """Scores a second that several processes store together, `size` at a time."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = []
    for me in range(count):
        arguments = [url, f"{count} {size} {me}", str(size), str(seconds)]
        process = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], **pipes)  # noqa: S603 - ourselves
        process.stdin.write(references + "\n")
        process.stdin.flush()
        processes.append(process)
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    took = [json.loads(process.communicate()[0]) for process in processes]
    all_of_them = [each for one in took for each in one]
    rate = sum(len(one) for one in took) * size / max(map(sum, took))
    print(
        f"  {count} writers, {size:2} at a time {rate:10.0f} scores a second; a call took "
        f"{statistics.median(all_of_them) * 1e3:.1f} ms in the median, {max(all_of_them) * 1e3:.0f} at most",
        flush=True,
    )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    due = set_pairs(
        (f"scene {scene}", f"L{listener}", "track")
        for scene in range(options.pairs // LISTENERS)
        for listener in range(LISTENERS)
    )
    references = json.dumps([pair.reference_sha256 for pair in due])
    with ExitStack() as services:
        urls = {"SQLite": f"sqlite:///{services.enter_context(tempfile.TemporaryDirectory())}/x.db"}
        if why := postgresql.missing():
            print(f"without PostgreSQL: {why}")
        else:
            durable = dict.fromkeys(("fsync", "full_page_writes", "autovacuum"), "on")
            server = services.enter_context(postgresql.running_postgresql(**durable))
            urls["PostgreSQL"] = server.url(services.enter_context(server.database()))
        for name, url in urls.items():
            print(name)
            one_process(url, due)
            rates = {
                (count, size): writers(url, count, size, options.seconds, references)
                for size in (1, 20)
                for count in (1, 2, 4, 8)
            }
            for size in (1, 20):
                share = NEEDED / rates[8, size]
                print(f"  1,000 workers at 5 s a pair, {size:2} at a time: {share:.0%} of what 8 writers reach")


if __name__ == "__main__":
    main()
