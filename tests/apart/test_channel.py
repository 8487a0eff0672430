"""The parent's end of the pipes: whatever a child sends, it is refused in time and in bounded memory."""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.apart.channel import MAX_DOCUMENT, Channel, Gone, TimedOut
from harness.apart.child import ARRAY, DIMENSION, DTYPES, HEADER, MAGIC, packed, sendable

Talk = Callable[..., Channel]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """`talk(bytes)`: a channel to a child that answers with these bytes, whatever it is asked."""
    opened: list[int] = []

    def start(answer: bytes, alive: bool = True) -> Channel:
        to_child, ours = os.pipe()
        reading, from_child = os.pipe()

        def child() -> None:
            view = memoryview(answer)
            try:
                while view:
                    view = view[os.write(from_child, view) :]
            except OSError:
                pass
            if not alive:
                os.close(from_child)

        opened.extend([to_child, ours, reading, *([from_child] if alive else [])])
        writer = threading.Thread(target=child, daemon=True)
        writer.start()
        if not alive:
            writer.join()
        return Channel(reading, ours, lambda: alive)

    yield start
    for descriptor in opened:
        os.close(descriptor)


def message(document: object, arrays: list[np.ndarray] | None = None) -> bytes:
    return b"".join(bytes(each) for each in packed(document, arrays or []))  # type: ignore[arg-type]


def ask(channel: Channel, limit: int = 2**20) -> tuple[dict[str, object], list[np.ndarray]]:
    return channel.exchange({"number": 1}, [], 3, limit, 4)


def test_what_is_sent_comes_back(talk: Talk) -> None:
    signals = [np.arange(6.0).reshape(3, 2), np.zeros((0, 2), "<f4"), np.array([[1j]])]
    reply, returned = ask(talk(message({"number": 1, "x": "é"}, signals)))
    assert reply == {"number": 1, "x": "é"}
    for sent, got in zip(signals, returned, strict=True):
        assert sent.dtype == got.dtype
        assert np.array_equal(sent, got)


DOCUMENT = json.dumps({"number": 1}).encode()
HUGE = DIMENSION.pack(2**62)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"x" * 1000, "has the wrong form"),
        (HEADER.pack(MAGIC, MAX_DOCUMENT + 1, 0), "has the wrong form"),
        (HEADER.pack(MAGIC, 2**32 - 1, 2**32 - 1), "has the wrong form"),
        (HEADER.pack(MAGIC, 3, 0) + b"{1}", "is not JSON"),
        (HEADER.pack(MAGIC, 4, 0) + b"\xff\xfe\x00\x01", "is not JSON"),
        (HEADER.pack(MAGIC, 12, 0) + b'{"number":NaN}'[:12], "is not JSON"),
        (HEADER.pack(MAGIC, 10**6, 0) + b"[" * 10**6, "is not JSON"),
        (HEADER.pack(MAGIC, 2, 0) + b"[]", "is no object"),
        (message({"number": 2}), "answers what was not asked"),
        (HEADER.pack(MAGIC, len(DOCUMENT), 1) + DOCUMENT + ARRAY.pack(b"|O8", 1) + HUGE, "what is no signal"),
        (HEADER.pack(MAGIC, len(DOCUMENT), 1) + DOCUMENT + ARRAY.pack(b"<f8", 1) + HUGE, "a signal of"),
        (HEADER.pack(MAGIC, len(DOCUMENT), 1) + DOCUMENT + ARRAY.pack(b"<f8", 255), "what is no signal"),
        (HEADER.pack(MAGIC, len(DOCUMENT), 1) + DOCUMENT + ARRAY.pack(b"<f8", 8) + 8 * HUGE, "a signal of"),
    ],
)
def test_what_does_not_follow_the_form_ends_the_child(answer: bytes, expected: str, talk: Talk) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Gone, match=expected):
        ask(talk(answer))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_half_an_answer_is_waited_for_no_longer_than_is_allowed(talk: Talk) -> None:
    with pytest.raises(TimedOut):
        talk(message({"number": 1})[:10]).exchange({"number": 1}, [], 0.3, 0, 4)


def test_a_child_that_does_not_read_is_waited_for_no_longer_than_is_allowed(talk: Talk) -> None:
    with pytest.raises(TimedOut):
        talk(b"").exchange({"number": 1}, [np.zeros(2**22)], 0.3, 0, 4)


def test_what_a_child_said_before_it_died_is_heard(talk: Talk) -> None:
    reply, _ = ask(talk(message({"number": 1, "last": "words"}), alive=False))
    assert reply["last"] == "words"


def test_a_child_that_died_is_noticed(talk: Talk) -> None:
    with pytest.raises(Gone):
        ask(talk(b"", alive=False))


def test_what_can_be_sent() -> None:
    class Odd(np.ndarray):
        def astype(self, *_: object, **__: object) -> "Odd":
            raise RuntimeError

    odd = np.ones((2, 2)).view(Odd)
    assert type(sendable(odd, 100)) is np.ndarray
    assert sendable(None, 100) == {"is": "NoneType"}
    assert sendable(np.array(["la"]), 100) == {"is": "<U2 array"}
    assert sendable(np.array([object()]), 100) == {"is": "object array"}
    assert sendable(np.ones((9, 9)), 100) == {"shape": [9, 9]}
    assert np.isinf(sendable(np.array([np.longdouble("1e4000")]), 100)[0])
    backwards = sendable(np.arange(3, dtype=">i4"), 100)
    assert backwards.dtype.str in DTYPES
    assert backwards.tolist() == [0, 1, 2]
    strided = sendable(np.arange(9.0).reshape(3, 3).T, 100)
    assert strided.flags.c_contiguous


def test_a_program_may_have_many_files_open(tmp_path: Path) -> None:
    """Descriptors above 1023, in a process of its own with many files open."""
    script = """
import os, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard != resource.RLIM_INFINITY and hard < 1500:
    sys.exit(77)
resource.setrlimit(resource.RLIMIT_NOFILE, (1500, hard))
opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
from harness.apart.output import Output
from harness.apart.process import Terms
from harness.apart.running import Apart, Wanted
apart = Apart(Wanted("passthrough"), Terms(), Output())
apart.start()
print(apart.find().kind)
apart.close()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if done.returncode == 77:
        pytest.skip("so many files may not be opened here")
    assert (done.returncode, done.stdout) == (0, "enhancer\n"), done.stderr
