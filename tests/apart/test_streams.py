"""Streaming systems in a process of their own: they get a block at a time, and whatever they do with it is told."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.apart.channel import Gone
from harness.apart.inprocess import InProcess
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Raised, Running, Wanted
from harness.compute.local import ONE_THREAD
from harness.errors import PluginError, SystemFailure
from harness.haaqi import conformance
from harness.making.driving import enhanced, separated
from harness.systems import STEMS, stream

RATE = 44100
MUSIC = 0.1 * np.random.default_rng(3).standard_normal((26460, 2))
LISTENER = conformance.LISTENERS["V2"]
GAINS = {"vocals": 3.0, "drums": -3.0, "bass": 0.0, "other": 6.0}

LINE = """
block, latency = 110, 110
number = 0
def prepare(self, sample_rate, block, channels):
    self.waiting = np.zeros((self.latency, channels))
    self.number = 0
def process(self, block):
    self.number += 1
    self.fail()
    both = np.concatenate([self.waiting, block])
    self.waiting = both[len(block):]
    return {stem: share * both[:len(block)] for stem, share in zip(STEMS, (0.5, 0.25, 0.125, 0.125))}
def fail(self):
    pass
"""

SMOOTH = """
block = 100
def prepare(self, sample_rate, block, channels, listener, gains):
    self.pole = np.array([listener.left.levels[0], listener.right.levels[0]]) / 200
    self.scale = 10 ** (gains["vocals"] / 20)
    self.last = np.zeros(2)
def process(self, block):
    out = np.empty_like(block)
    for index, sample in enumerate(block):
        self.last = out[index] = self.scale * sample + self.pole * self.last
    return out
"""

Write = Callable[..., Path]
Start = Callable[..., Running]


@pytest.fixture
def start(plugin: Write) -> Iterator[Start]:
    """Start a system with this class body, in a child or in this process, and load it."""
    with ExitStack() as stack:

        def started(body: str, base: str = "StreamingSeparator", here: bool = False, **terms: Any) -> Running:
            wanted = Wanted("probe", plugins=(str(plugin(body, base)),))
            running = InProcess(wanted) if here else Apart(wanted, Terms(**terms), Output())
            stack.enter_context(closing(running))
            running.start()
            found = running.find()
            assert found.streaming == base.startswith("Streaming")
            running.load()
            return running

        yield started


@pytest.mark.parametrize("here", [False, True])
def test_a_separators_latency_is_taken_out_again(here: bool, start: Start) -> None:
    running = start(LINE, here=here)
    for _ in range(2):  # the second piece begins like the first
        made = separated(running, "separator", True, MUSIC)
        assert made.streamed is not None
        assert (made.streamed.look_ahead, made.streamed.delay, made.streamed.through) == (219, 0, 219)
        for stem, share in zip(STEMS, (0.5, 0.25, 0.125, 0.125), strict=True):
            assert np.array_equal(made.stems[stem], share * MUSIC)
        assert len(made.streamed.cpu) == -(-(len(MUSIC) + 110) // 110)
        assert (made.cost is None) == here


@pytest.mark.parametrize("here", [False, True])
def test_an_enhancer_gives_what_a_loop_by_hand_gives_for_that_listener(here: bool, start: Start) -> None:
    made = enhanced(start(SMOOTH, "StreamingEnhancer", here), True, MUSIC, LISTENER, GAINS)
    by_hand = np.empty_like(MUSIC)
    last, pole = np.zeros(2), np.array([LISTENER.left.levels[0], LISTENER.right.levels[0]]) / 200
    for index, sample in enumerate(MUSIC):
        last = by_hand[index] = 10 ** (3 / 20) * sample + pole * last
    assert np.array_equal(made.signal, by_hand)


SPY = (
    LINE
    + """
def fail(self):
    if self.number != 20 or np.abs(self.waiting).max() < 0.5:
        return
    found = set()
    with open("/proc/self/maps") as maps:
        areas = [line.split() for line in maps]
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for area in areas:
            if not area[1].startswith("rw") or area[-1] in ("[vvar]", "[vsyscall]"):
                continue
            first, last = (int(end, 16) for end in area[0].split("-"))
            for at in range(first, last, 2**24):
                try:
                    memory.seek(at)
                    words = np.frombuffer(memory.read(min(2**24, last - at)), "<f8")
                except (OSError, ValueError):
                    continue
                with np.errstate(invalid="ignore"):
                    # The music is 0.7 and its block's number in units of 1e-9, all of it.
                    there = words[(words > 0.7 + 0.5e-9) & (words < 0.7 + 1e-6)]
                found.update(np.round((there - 0.7) * 1e9).astype(int).tolist())
    raise RuntimeError(" ".join(map(str, sorted(found))))
"""
)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="the memory of a process is a file on Linux only")
def test_no_later_block_is_anywhere_in_the_childs_memory(start: Start) -> None:
    music = np.repeat(0.7 + np.arange(1, 241) * 1e-9, 110)[:, None] * np.ones(2)
    running = start(SPY)
    with pytest.raises(Raised) as caught:
        separated(running, "separator", True, music)
    found = [int(word) for word in str(caught.value).partition(": ")[2].partition(" (")[0].split()]
    # It does find what was played.
    assert found[-1] == 20
    # And, where the whole piece is, all of it.
    with pytest.raises(RuntimeError) as everything:
        separated(start(SPY, here=True), "separator", True, music)
    assert {*range(1, 241)} <= {*map(int, str(everything.value).split())}


FAILS = {
    "raises": (
        "raise ValueError('no luck')",
        Raised,
        "raised ValueError: no luck (plugin.py:26) (block 3 of 242)",
    ),
    "dies": ("import os; os._exit(7)", Gone, "ended with exit code 7 (block 3 of 242)"),
    "exits": ("sys.exit(2)", Raised, "raised SystemExit: 2 (plugin.py:26) (block 3 of 242)"),
    "crashes": (
        "import ctypes; ctypes.string_at(0)",
        Gone,
        "died with signal 11 (segmentation fault) (block 3 of 242)",
    ),
    "writes where it must not": (
        "import contextlib, os\n        for fd in range(3, 100):\n"
        "            with contextlib.suppress(OSError): os.write(fd, b'x' * 99)",
        Gone,
        "broke the protocol: its answer has the wrong form (block 3 of 242)",
    ),
    "answers by itself with too little": (
        "import contextlib, os\n        for fd in range(3, 100):\n"
        "            with contextlib.suppress(OSError): os.write(fd, b'HARNESSB' + bytes([16, 0, 0, 0, 1, 0, 0, 0]))",
        Gone,
        "broke the protocol: its block has the wrong form (block 3 of 242)",
    ),
    "takes no time": (
        "import time; time.perf_counter = iter([0.0, float('nan')]).__next__",
        Gone,
        "broke the protocol: it took no time that there is (block 3 of 242)",
    ),
}


@pytest.mark.parametrize("case", FAILS)
def test_what_goes_wrong_in_a_block_is_told_and_the_next_piece_goes_on(case: str, start: Start, tmp_path: Path) -> None:
    code, kind, expected = FAILS[case]
    flag, once = tmp_path / "fail", str(tmp_path / "once")
    body = LINE.replace(
        "    pass\n", f"    import os\n    if self.number == 3 and os.path.exists({str(flag)!r}):\n        {code}\n"
    )
    # In the noise that comes before nothing happens: the flag is raised by the second `prepare`.
    body += (
        "def prepare(self, sample_rate, block, channels, old=prepare):\n"
        "    import os\n    self.times = getattr(self, 'times', 0) + 1\n"
        f"    if self.times == 2 and not os.path.exists({once!r}):\n"
        f"        [open(path, 'w').close() for path in ({str(flag)!r}, {once!r})]\n"
        "    old(self, sample_rate, block, channels)\n"
    )
    running = start(body)
    with pytest.raises(SystemFailure) as caught:
        separated(running, "separator", True, MUSIC)
    assert str(caught.value) == expected
    assert type(caught.value) is kind
    flag.unlink()
    # Whether the child lives on or is another one.
    with running.open_stream() as opened:
        streamed = stream(opened, MUSIC, RATE, warm_up=0)
    assert np.abs(sum(streamed.signals) - MUSIC).max() < 1e-15


def test_the_timeout_is_that_of_the_whole_piece(start: Start) -> None:
    # Each block is quick, but there are 642 of them.
    running = start(LINE.replace("    pass\n", "    import time; time.sleep(0.02)\n"), timeout=3.0)
    with pytest.raises(Gone) as caught:
        separated(running, "separator", True, MUSIC)
    assert str(caught.value).startswith("took longer than 3 s, and was ended (block ")
    # Another piece has its own time.
    running.seed(1)


def test_wrong_stems_are_told_by_the_child(start: Start) -> None:
    running = start(LINE + "def process(self, block):\n    return dict.fromkeys(STEMS, block[1:])\n")
    with pytest.raises(SystemFailure) as caught:
        separated(running, "separator", True, MUSIC)
    assert str(caught.value) == "its stem vocals has shape (109, 2), expected (110, 2) (block 1 of 401 of noise)"


def test_a_system_that_is_silent_fails(start: Start) -> None:
    running = start(LINE + "def process(self, block):\n    return dict.fromkeys(STEMS, 0 * block)\n")
    with pytest.raises(SystemFailure, match=r"^returned silence in all four stems$"):
        separated(running, "separator", True, MUSIC)


def test_a_block_that_changes_after_loading_is_refused(start: Start) -> None:
    running = start(LINE + "def prepare(self, *_):\n    self.block = 64\n")
    with running.open_stream() as opened:
        opened.prepare()
    with pytest.raises(SystemFailure, match=r"^its block or latency is another one than after it was loaded$"):
        running.open_stream()


def test_a_block_out_of_range_is_refused_when_the_system_is_loaded(start: Start) -> None:
    with pytest.raises(SystemFailure, match=r"^block is 0, expected an integer from 1 to 65536"):
        start(LINE + "block = 0\n")


def test_a_class_that_overrides_the_driver_is_a_broken_plugin(start: Start) -> None:
    with pytest.raises(PluginError, match=r"system probe overrides separate\(\)"):
        start(LINE + "def separate(self, mixture, sample_rate):\n    return dict.fromkeys(STEMS, mixture / 4)\n")


def test_a_streaming_system_computes_in_one_thread(start: Start, tmp_path: Path) -> None:
    asks = (
        "\ndef load(self):\n    import json, os, torch\n    with open({!r}, 'w') as file:\n"
        "        json.dump([dict(os.environ), torch.get_num_threads()], file)\n"
    )
    for base, body in (("StreamingSeparator", LINE), ("Separator", "def separate(self, mixture, rate): pass")):
        path = tmp_path / base
        start(body + asks.format(str(path)), base)
        environment, threads = json.loads(path.read_text())
        assert (ONE_THREAD.items() <= environment.items()) == (base == "StreamingSeparator")
        if base == "StreamingSeparator":
            assert threads == 1


@pytest.mark.parametrize("here", [False, True])
def test_seeds_make_a_system_repeatable(here: bool, start: Start) -> None:
    noisy = (
        LINE + "def load(self):\n    import torch\n    self.torch = torch\n"
        "def process(self, block):\n    import random\n"
        "    drawn = random.random(), np.random.rand(), float(self.torch.rand(1))\n"
        "    return {stem: np.full_like(block, each) for stem, each in zip(STEMS, (*drawn, 1))}\n"
    )
    running = start(noisy, here=here)

    def drawn(seed: int) -> Any:
        running.seed(seed)
        with running.open_stream() as opened:
            opened.prepare()
            signals, _ = opened.process(np.zeros((110, 2)))
        return [float(signal[0, 0]) for signal in signals[:3]]

    once = drawn(5)
    assert drawn(5) == once
    assert not set(drawn(6)) & set(once)


def test_costs_and_loads_are_those_of_the_music_without_the_noise(start: Start) -> None:
    spends = "    import time\n    until = time.process_time() + 0.02\n    while time.process_time() < until: pass\n"
    made = separated(start(LINE.replace("110, 110", "2205, 0").replace("    pass\n", spends)), "separator", True, MUSIC)
    assert made.cost is not None
    assert made.streamed is not None
    # 12 blocks of 50 ms, after 20 of noise that would cost 0.4 s more.
    assert len(made.streamed.cpu) == 12
    assert made.streamed.cpu.min() >= 0.4
    assert (made.streamed.wall > 0.399).all()
    assert 0.2 <= made.cost.cpu_seconds < 0.6
    assert made.cost.wall_seconds >= 0.24
    assert made.cost.peak_bytes > 2**24


def test_a_stream_that_was_closed_is_over(start: Start) -> None:
    running = start(LINE)
    with running.open_stream() as opened:
        opened.prepare()
    opened.close()
    with pytest.raises(Gone, match="was ended"):
        opened.process(np.zeros((110, 2)))
