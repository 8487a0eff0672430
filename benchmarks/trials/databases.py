"""Damaged databases, read by `harness leaderboard --json`: the true figures, or word that they are not there."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from . import injected
from .common import DATABASE, Ended, Tally, Task, forked

BATCH = 20
PAGE = 4096
SHOW = ["leaderboard", "--json", "--db", DATABASE]
FIGURES = ("mean", "left", "right", "scored", "due")


def _bytes(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.randint(1, 20)):
        content[draw.randrange(len(content))] = draw.randrange(256)


def _one_used(draw: random.Random, content: bytearray) -> None:
    """A byte that is not zero: most of a small database is empty."""
    content[draw.choice([place for place, byte in enumerate(content) if byte])] = draw.randrange(256)


def _digit(draw: random.Random, content: bytearray) -> None:
    """A digit or a letter of text: names, hashes, JSON."""
    places = [place for place, byte in enumerate(content) if chr(byte).isalnum() and byte < 128]
    content[draw.choice(places)] = draw.choice(b"0123456789abcdefXYZ")


def _page(draw: random.Random, content: bytearray) -> None:
    start = draw.randrange(len(content) // PAGE) * PAGE
    content[start : start + PAGE] = draw.choice([bytes(PAGE), draw.randbytes(PAGE)])


def _swapped_pages(draw: random.Random, content: bytearray) -> None:
    one, two = (draw.randrange(1, len(content) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE], content[two : two + PAGE] = content[two : two + PAGE], content[one : one + PAGE]


def _cut(draw: random.Random, content: bytearray) -> None:
    del content[draw.randrange(len(content)) :]


def _header(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.randint(1, 5)):
        content[draw.randrange(200)] = draw.randrange(256)


KINDS: list[Callable[[random.Random, bytearray], None]] = [
    _bytes,
    _one_used,
    _one_used,
    _digit,
    _page,
    _swapped_pages,
    _cut,
    _header,
]


def judged(ended: Ended, true: list[dict[str, Any]]) -> list[str]:
    """What is wrong with what a command said of a damaged database.

    It may say one line of error, the truth, or that runs were changed; of the others it must say the truth.
    """
    if problems := ended.problems(0, 1, 2):
        return problems
    if ended.code:
        lines = [line for line in ended.stderr.splitlines() if not line.startswith("  ")]
        return [] if len(lines) == 1 and lines[0].startswith("error: ") else [f"no error in one line: {ended.stderr!r}"]
    found = json.loads(ended.stdout)
    if found == true:
        return []
    changed = [row for row in found if row.get("status") == "changed"]
    if not changed:
        return [f"other figures without a word: {_different(found, true)}"]
    rest = {row["number"]: _figures(row) for row in found if row not in changed}
    expected = {row["number"]: _figures(row) for row in true}
    return [f"other figures of run {run}" for run, figures in rest.items() if figures != expected.get(run)]


def _figures(row: dict[str, Any]) -> list[Any]:
    return [row.get(name) for name in FIGURES]


def _different(found: list[dict[str, Any]], true: list[dict[str, Any]]) -> str:
    if len(found) != len(true):
        return f"{len(found)} rows of {len(true)}"
    pairs = zip(found, true, strict=True)
    return ", ".join(f"{key}={row.get(key)!r}" for row, one in pairs for key in one if row.get(key) != one[key])


def batch(seed: int, folder: Path) -> Tally:
    """`BATCH` damaged copies of a database with two runs; the seed of each is the batch's and its number."""
    tally = Tally()
    content = (injected.prepared("replace") / DATABASE).read_bytes()
    (folder / DATABASE).write_bytes(content)
    true = json.loads(forked(SHOW, folder).stdout)
    for number in range(BATCH):
        draw, damaged = random.Random(f"{seed} {number}"), bytearray(content)
        kind = draw.choice(KINDS)
        kind(draw, damaged)
        for path in folder.iterdir():
            path.unlink()
        (folder / DATABASE).write_bytes(damaged)
        problems = judged(forked(SHOW, folder), true)
        name = kind.__name__.strip("_").replace("_", " ")
        tally.add("damaged database", [f"number {number} ({name}): {each}" for each in problems])
    return tally


def tasks(trials: int, draw: random.Random) -> list[Task]:
    """0.4 N damaged databases."""
    injected.load_everything()
    injected.prepared("replace")
    seeds = [draw.randrange(10**9) for _ in range(-(-2 * trials // 5 // BATCH) or 1)]
    return [Task(partial(batch, seed), f"database, batch seed {seed}") for seed in seeds]
