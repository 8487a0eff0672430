"""Several pieces of music at once: how many, what comes of them, and what happens when it goes wrong."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from making.made import content
from support import Outcome, RunCli, TinySet

from harness.errors import StorageError
from harness.making import make, writing
from harness.making.batching import PATIENCE, TRIALS, Batches
from harness.submission.manifest import MANIFEST

Write = Callable[..., Path]

PIECE = 10.0
"""Seconds of music in each piece, where that makes no difference."""


def measured(batches: Batches, seconds: dict[int, float]) -> list[int]:
    """The sizes that the policy tries, where a second of music takes so long in each; until it has found one."""
    tried = []
    while batches.in_words is None:
        size = batches.size
        tried.append(size)
        batches.took(size, seconds[size] * size * PIECE, size * PIECE)
        assert len(tried) < 100
    return tried


@pytest.mark.parametrize(
    ("most", "seconds", "tried", "found"),
    [
        (8, {1: 4.0, 2: 3.0, 4: 2.0, 8: 1.0}, [1, 2, 4, 8], 8),
        (6, {1: 4.0, 2: 3.0, 4: 2.0, 6: 1.0}, [1, 2, 4, 6], 6),
        (8, {1: 4.0, 2: 3.0, 4: 3.5}, [1, 2, 4], 2),
        (8, {1: 4.0, 2: 4.0}, [1, 2], 1),
        (2, {1: 4.0, 2: 3.0}, [1, 2], 2),
    ],
)
def test_sizes_are_doubled_as_long_as_that_is_faster(
    most: int, seconds: dict[int, float], tried: list[int], found: int
) -> None:
    batches = Batches(most)
    assert measured(batches, seconds) == [size for size in tried for _ in range(TRIALS)]
    assert batches.size == found
    batches.took(found, 1e9, PIECE)  # nothing is measured any more
    assert batches.size == found


def test_a_first_batch_that_takes_long_decides_nothing() -> None:
    batches = Batches(2)
    for seconds in (99.0, 1.0, 1.0):
        batches.took(1, seconds * PIECE, PIECE)
    for seconds in (99.0, 0.6, 0.6):
        batches.took(2, seconds * 2 * PIECE, 2 * PIECE)
    assert batches.in_words == "batches of 2 are fastest: 6 s per piece, one by one 10 s"


def test_what_is_found_is_said() -> None:
    batches = Batches(4)
    measured(batches, {1: 0.052, 2: 0.04, 4: 0.031})
    assert batches.in_words == "batches of 4 are fastest: 0.31 s per piece, one by one 0.52 s"
    batches = Batches(4)
    measured(batches, {1: 0.05, 2: 0.06})
    assert batches.in_words == "one by one is fastest: 0.5 s per piece, in batches of 2 0.6 s"


def test_a_batch_that_was_not_filled_teaches_nothing() -> None:
    batches = Batches(4)
    for _ in range(TRIALS):
        batches.took(1, PIECE, PIECE)
    assert batches.size == 2
    for _ in range(TRIALS):
        batches.took(1, 0.0, PIECE)
    assert (batches.size, batches.in_words, batches.largest) == (2, None, 1)


def test_memory_that_runs_out_makes_batches_smaller() -> None:
    seconds = {1: 4.0, 2: 3.0, 4: 2.0, 8: 1.0}
    batches = Batches(8)
    while batches.size < 8:
        batches.took(batches.size, seconds[batches.size] * batches.size * PIECE, batches.size * PIECE)
    batches.too_large(8)
    assert (batches.size, batches.largest) == (4, 4)
    assert "batches of 4 are fastest: 20 s per piece, one by one 40 s (with more memory ran out" in str(
        batches.in_words
    )
    # Another piece is longer.
    batches.too_large(4)
    assert batches.size == 2
    batches.too_large(2)
    assert batches.size == 1
    assert "one by one: 40 s per piece (with more memory ran out" in str(batches.in_words)


def test_a_method_that_always_fails_is_not_asked_for_ever() -> None:
    batches = Batches(4)
    for _ in range(TRIALS):
        batches.took(1, PIECE, PIECE)
    for _ in range(PATIENCE - 1):
        batches.failed()
    batches.took(2, PIECE, 2 * PIECE)  # it was the piece
    for _ in range(PATIENCE - 1):
        batches.failed()
    assert batches.size == 2
    batches.failed()
    assert (batches.size, batches.in_words) == (1, "one by one: 10 s per piece (3 batches in a row failed)")


# ---- through the program --------------------------------------------------------------------------------

SEPARATE = "def separate(self, mixture, sample_rate):\n    return dict.fromkeys(STEMS, mixture / 4)\n"
COUNTED = "    with open('asked', 'a') as file: file.write(f'{len(mixtures)} ')\n"
MANY = "def separate_many(self, mixtures, sample_rate):\n" + COUNTED
GOOD = "    return [self.separate(mixture, sample_rate) for mixture in mixtures]"


@pytest.fixture
def enhance(
    run_cli: RunCli, tiny_set: TinySet, plugin: Write, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Run a system with this class body over the tiny set, whose two pieces are handed over at once."""
    # Two pieces are too few to measure anything: as if it were known already that two at once are faster than one.
    known = {"_seconds": {1: [2.0], 2: [1.0]}, "_lengths": [10.0], "_found": 2}
    monkeypatch.setattr(make, "Batches", lambda most: Batches(most, **known))

    def run(body: str, *args: object, base: str = "Separator") -> Outcome:
        path = plugin(body, base=base)
        return run_cli(
            *("enhance", "--system", "probe", "--plugin", path.name, *tiny_set.args, "--batch", 2, "--json", *args)
        )

    return run


def manifest(folder: str = "submissions/probe") -> dict[str, object]:
    found: dict[str, object] = json.loads((Path(folder) / MANIFEST).read_text())
    return found


@pytest.mark.parametrize("more", [(), ("--in-process",)])
def test_pieces_that_are_separated_at_once_become_the_same_files(
    more: tuple[str, ...], enhance: Callable[..., Outcome], run_cli: RunCli, tiny_set: TinySet, plugin: Write
) -> None:
    made = enhance(SEPARATE + MANY + GOOD, *more)
    assert (made.code, made.json["made"]) == (0, 4)
    assert Path("asked").read_text() == "2 "
    assert manifest()["batch"] == 2
    common = ("enhance", "--system", "probe", "--plugin", "plugin.py", *tiny_set.args, "--json", *more)
    assert run_cli(*common, "--output", "one").code == 0
    assert content(Path("submissions/probe")) == content(Path("one"))
    assert manifest("one")["batch"] is None
    # Both are one system's: what is there stays, and the manifest still says how it was made.
    again = run_cli(*common)
    assert (again.code, again.json["kept"]) == (0, 4)
    assert manifest()["batch"] == 2


def test_files_of_a_batch_that_was_stopped_are_known_as_such(
    enhance: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = writing.Whole.write, []

    def stopped(self: writing.Whole, name: str, content: bytes, clipped: int | None) -> None:
        if written:
            raise StorageError("the disk is full")
        written.append(name)
        write(self, name, content, clipped)

    monkeypatch.setattr(writing.Whole, "write", stopped)
    assert "the disk is full" in enhance(SEPARATE + MANY + GOOD, "--workers", 1).error
    assert list(manifest()["files"]) == written
    assert manifest()["batch"] == 2


def test_costs_are_shared_by_length(enhance: Callable[..., Outcome]) -> None:
    burns = "    import time\n    until = time.process_time() + 0.4\n    while time.process_time() < until: pass\n"
    assert enhance(SEPARATE + MANY + burns + GOOD).code == 0
    costs = manifest()["costs"]
    assert len(costs) == 2
    first, second = (cost["cpu_seconds"] for cost in costs.values())
    # The pieces have the same length.
    assert first == pytest.approx(second)
    assert 0.4 < first + second < 10


def test_a_batch_that_raises_is_done_one_by_one(enhance: Callable[..., Outcome]) -> None:
    body = (
        "def separate(self, mixture, sample_rate):\n    with open('alone', 'a') as file: file.write('x')\n"
        "    return dict.fromkeys(STEMS, mixture / 4)\n"
    )
    made = enhance(body + MANY + "    raise ValueError('all of them')")
    assert (made.code, made.json["made"]) == (0, 4)
    assert (Path("asked").read_text(), Path("alone").read_text()) == ("2 ", "xx")
    assert manifest()["batch"] is None


@pytest.mark.parametrize(
    "ends",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')",
        "raise MemoryError",
        "return []",
        "return 3",
        "return [None] * len(mixtures)",
        "return [dict.fromkeys(STEMS, mixture * np.nan) for mixture in mixtures]",
        "return [dict.fromkeys(STEMS, mixture[:9]) for mixture in mixtures]",
    ],
)
def test_whatever_a_batch_does_no_piece_is_lost(ends: str, enhance: Callable[..., Outcome]) -> None:
    made = enhance(SEPARATE + MANY + f"    {ends}")
    assert (made.code, made.json["made"], made.json["failures"]) == (0, 4, [])
    assert Path("asked").read_text() == "2 "


def test_only_the_guilty_piece_fails(enhance: Callable[..., Outcome]) -> None:
    body = (
        "n = 0\ndef separate(self, mixture, sample_rate):\n    Probe.n += 1\n"
        "    if Probe.n == 2: raise ValueError('this one')\n    return dict.fromkeys(STEMS, mixture / 4)\n"
    )
    made = enhance(body + MANY + "    raise ValueError('all of them')")
    assert (made.code, made.json["made"]) == (1, 2)
    assert {failure["reason"].partition(" (")[0] for failure in made.json["failures"]} == {
        "system probe raised ValueError: this one"
    }


def more_pieces(tiny_set: TinySet, count: int) -> None:
    """Add scenes with music of their own, for one listener each."""
    names = [f"Piece {number}" for number in range(count)]
    ids = [f"scene_V1{number:02}" for number in range(count)]
    gain = next(iter(json.loads(tiny_set.metadata("gains").read_text())))
    tiny_set.edit(
        "scenes",
        lambda found: found.update({id: {"music": name, "gain": gain} for id, name in zip(ids, names, strict=True)}),
    )
    tiny_set.edit("scene_listeners", lambda found: found.update({id: ["V1"] for id in ids}))
    tiny_set.edit("musdb18", lambda found: [*found, *({"Track Name": name, "Split": "valid"} for name in names)])
    music = tiny_set.music(scene="scene_V002").parent
    for name in names:
        shutil.copytree(music, music.with_name(name))


@pytest.mark.parametrize("processes", [1, 2])
def test_the_best_number_is_found_on_the_way_and_said(
    processes: int, run_cli: RunCli, tiny_set: TinySet, plugin: Write
) -> None:
    # Each worker finds its own number, so one of them needs enough.
    more_pieces(tiny_set, 14 * processes)
    path = plugin(
        "def separate(self, mixture, sample_rate):\n    import time; time.sleep(0.5)\n"
        "    return dict.fromkeys(STEMS, mixture / 4)\n"
        + MANY
        + "    import time; time.sleep(0.1)\n    return [dict.fromkeys(STEMS, mixture / 4) for mixture in mixtures]"
    )
    made = run_cli(
        *("enhance", "--system", "probe", "--plugin", path, *tiny_set.args, "--batch", 2, "--processes", processes)
    )
    assert made.code == 0, made.stderr
    assert "probe: batches of 2 are fastest: " in made.stderr
    assert made.stderr.count("are fastest") == 1
    assert manifest()["batch"] == 2
    assert set(Path("asked").read_text().split()) == {"2"}


@pytest.mark.parametrize(
    ("body", "base"),
    [
        (SEPARATE, "Separator"),
        ("def enhance(self, mixture, sample_rate, listener, gains):\n    return mixture", "Enhancer"),
        ("def stems(self, true_stems, sample_rate):\n    return true_stems", "Reference"),
        (
            "block = 64\nlatency = 0\ndef prepare(self, sample_rate, block, channels): pass\n"
            "def process(self, block):\n    return dict.fromkeys(STEMS, block / 4)\n" + MANY + GOOD,
            "StreamingSeparator",
        ),
    ],
)
def test_batches_are_refused_where_there_are_none(body: str, base: str, enhance: Callable[..., Outcome]) -> None:
    refused = enhance(body, base=base)
    assert refused.code == 2
    assert refused.error == (
        "--batch is for systems that separate several pieces at once; probe does not: leave it out"
    )
    assert not Path("submissions/probe").exists()


# ---- reasons --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--in-process",)])
def test_reasons_hold_nothing_that_a_database_cannot(
    more: tuple[str, ...], run_cli: RunCli, tiny_set: TinySet, plugin: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is logged as it is, for debugging, is more than pytest can send from one process to another.
    monkeypatch.setattr(logging.getLogger("harness"), "propagate", False)
    path = plugin(r"def separate(self, mixture, sample_rate):" "\n" r"    raise ValueError('nul \0 half \udcff end')")
    ran = run_cli("run", "--system", "probe", "--plugin", path, *tiny_set.args, "--engine", "fast", "--json", *more)
    assert ran.code == 1
    reasons = {each["reason"] for each in ran.json["failures"]}
    assert reasons == {r"system probe raised ValueError: nul \x00 half \udcff end (plugin.py:13)"}
