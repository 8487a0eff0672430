"""The process that a system runs in: the child's side of the protocol.

Started by `harness.apart.process` as a program, by whichever interpreter the system needs: this module and what it
loads from beside it need NumPy alone (1.23 to 2.x) and Python 3.8 or later.

A message is a header (magic, length of a JSON document, number of arrays), the document, and for each array its dtype,
its shape and its bytes in C order, little-endian. Nothing is pickled: what comes from here is a stranger's, and the
parent checks all of it (`harness.apart.channel`).

Music that is streamed comes in shorter messages, one for each block: a header (magic, length in bytes, number of the
request) and the samples, float64. The answer is the like: the seconds that the system took (`TOOK`: CPU, wall), and the
samples of its signals, one signal after the other; or, where the system failed, an ordinary message.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import FileIO

MAGIC = b"HARNESS1"
BLOCK = b"HARNESSB"
HEADER = struct.Struct("<8sII")
TOOK = struct.Struct("<dd")
ARRAY = struct.Struct("<4sB")
DIMENSION = struct.Struct("<Q")
DTYPES = ("<f2", "<f4", "<f8", "<c8", "<c16", "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8")
"""What may travel. A system must return floats, but should be told what it returned instead."""

SAMPLE_RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")

KNOWN_ERRORS = ("UsageError", "DataError", "PluginError", "SystemFailure", "WeightsMissing")
"""Errors whose text is one line for the user; of others it is also said where they arose."""

TEXT = 2000
"""Characters of an error's text that travel."""


def packed(document: Mapping[str, Any], arrays: Sequence[Any]) -> list[Any]:
    """A message as a list of buffers.

    Args:
        document: what JSON can express.
        arrays: NumPy arrays with a dtype of `DTYPES`.
    """
    content = json.dumps(document, allow_nan=False).encode("ascii")
    buffers: list[Any] = [HEADER.pack(MAGIC, len(content), len(arrays)), content]
    for array in arrays:
        kind = array.dtype.newbyteorder("<").str.encode("ascii")
        buffers.append(ARRAY.pack(kind, array.ndim) + b"".join(DIMENSION.pack(size) for size in array.shape))
        if array.size:
            buffers.append(memoryview(array).cast("B"))
    return buffers


def sendable(value: Any, limit: int) -> Any:
    """An array in the form that can travel, or what to say of it: {"is": "a NoneType"} or {"shape": [...]}."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        return {"is": type(value).__name__[:100]}
    plain = np.asarray(value)  # not a subclass, which may answer as it likes
    if plain.dtype.kind == "f" and plain.dtype.itemsize > 8:
        with np.errstate(all="ignore"):
            plain = plain.astype(np.float64)
    if plain.dtype.newbyteorder("<").str not in DTYPES or plain.ndim > 8:
        return {"is": f"{str(plain.dtype)[:100]} array"}
    if plain.nbytes > limit:
        return {"shape": list(plain.shape)}
    return np.array(plain, dtype=plain.dtype.newbyteorder("<"), order="C", copy=True)


class Wrong(Exception):
    """A system returned something else than it must."""


class Host:
    """A system at work; a subclass finds and loads it."""

    system: Any = None
    kind = ""
    stream: Any = None
    """Of the piece of music that is being streamed (`harness.systems.streaming.OwnStream`)."""

    def separate(self, mixture: Any, true_stems: Sequence[Any] | None) -> list[Any]:
        """The stems that the system makes of a mixture, in the order of `STEMS`."""
        if self.kind == "reference":
            found = self.system.stems(dict(zip(STEMS, true_stems or ())), SAMPLE_RATE)
        else:
            found = self.system.separate(mixture, SAMPLE_RATE)
        return self._stems(found)

    def separate_many(self, mixtures: Sequence[Any]) -> list[Any]:
        """The stems that the system makes of several mixtures at once, those of the first one first."""
        returned = self.system.separate_many(list(mixtures), SAMPLE_RATE)
        try:
            results = list(returned)
        except TypeError:
            raise Wrong(f"separate_many must return a list; it returned a {type(returned).__name__}") from None
        if len(results) != len(mixtures):
            raise Wrong(f"separate_many returned {len(results)} results for {len(mixtures)} mixtures")
        return [stem for found in results for stem in self._stems(found)]

    def _stems(self, found: Any) -> list[Any]:
        """What a system returned for a mixture, in the order of `STEMS`."""
        import numpy as np

        try:
            return [np.asarray(found[name]) for name in STEMS]
        except (KeyError, IndexError, TypeError, ValueError):
            given = ", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__
            raise Wrong(f"must return a signal for each of {', '.join(STEMS)}; it returned {given}") from None

    def enhance(self, mixture: Any, listener: Any, gains: Mapping[str, float]) -> Any:
        """What an Enhancer makes of a mixture for a listener."""
        if self.kind != "enhancer":
            raise Wrong("is neither a Separator nor an Enhancer")
        return self.system.enhance(mixture, SAMPLE_RATE, listener, dict(gains))

    def do_open(
        self, listener: Mapping[str, Any] | None = None, gains: Mapping[str, float] | None = None
    ) -> dict[str, int]:
        """Begin to stream a piece of music, for a listener if the system is an enhancer: block and latency."""
        from harness.systems.streaming import OwnStream

        self.stream = OwnStream(self.system, None if listener is None else listener_of(listener), gains)
        return {"block": self.stream.block, "latency": self.stream.latency}

    def do_prepare(self) -> None:
        """Have the system forget what it heard."""
        self.stream.prepare()

    def block(self, content: bytearray) -> bytes:
        """Stream one block: the answer without its header."""
        import numpy as np

        signals, took = self.stream.process(np.frombuffer(content, "<f8").reshape(-1, 2))
        return b"".join([TOOK.pack(took.cpu, took.wall), *(signal.astype("<f8").tobytes() for signal in signals)])

    def do_end(self) -> None:
        """End the piece."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None

    def do_seed(self, value: int) -> None:
        """Seed the generators that this process shares: random's, NumPy's, and torch's if it is imported."""
        import random

        import numpy as np

        random.seed(value)
        np.random.seed(value)
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.manual_seed(value)

    def answer(self, document: Mapping[str, Any], arrays: Sequence[Any]) -> tuple[dict[str, Any], list[Any]]:
        """Do what a request asks for: (document, arrays) of the reply."""
        method = document["method"]
        if method == "separate":
            signals = self.separate(arrays[0], arrays[1:])
        elif method == "separate_many":
            signals = self.separate_many(arrays)
        elif method == "enhance":
            signals = [self.enhance(arrays[0], listener_of(document["listener"]), document["gains"])]
        else:
            return {"result": getattr(self, "do_" + method)(**document["arguments"])}, []
        sent = [sendable(signal, document["limit"]) for signal in signals]
        # Of each signal null where it follows as an array, else what to say of it.
        unsent = [each if isinstance(each, dict) else None for each in sent]
        return {"unsent": unsent}, [each for each in sent if not isinstance(each, dict)]


def listener_of(document: Mapping[str, Any]) -> Any:
    """A listener as systems know it."""
    from harness.hearing import Audiogram, Listener

    left, right = (Audiogram(tuple(ear[0]), tuple(ear[1])) for ear in document["ears"])
    return Listener(document["id"], left, right)


# ---- errors ---------------------------------------------------------------------------------------------


def text_of(error: BaseException) -> str:
    """The text of an exception, whatever its `__str__` does, in any encoding."""
    try:
        text = str(error)
    except BaseException:
        text = "(its text cannot be had)"
    return text[:TEXT].encode("utf-8", "backslashreplace").decode()[:TEXT]


def told(error: BaseException) -> dict[str, Any]:
    """An exception as it travels: its type and text, where it arose, and whether it is one of `KNOWN_ERRORS`."""
    known = [each.__name__ for each in type(error).__mro__ if each.__module__ == "harness.errors"]
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    try:
        trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except BaseException:
        trace = "".join(traceback.format_list(frames))
    ours = bool(known) and known[0] in KNOWN_ERRORS
    return {
        "type": type(error).__name__[:100],
        # Of ours the lines are as they should be shown; what others say becomes a part of one.
        "text": text_of(error) if ours else " ".join(text_of(error).split()),
        "known": known[0] if ours else None,
        "wrong": isinstance(error, Wrong),
        "where": where.encode("utf-8", "backslashreplace").decode()[:200],
        "traceback": trace.encode("utf-8", "backslashreplace").decode()[-10 * TEXT :],
    }


# ---- the loop -------------------------------------------------------------------------------------------


class ParentGone(Exception):
    """The parent has closed its end."""


def _read(stream: FileIO, count: int) -> bytearray:
    content = bytearray(count)
    view, done = memoryview(content), 0
    while done < count:
        got = stream.readinto(view[done:])
        if not got:
            raise ParentGone
        done += got
    return content


def received(stream: FileIO, length: int, count: int) -> tuple[dict[str, Any], list[Any]]:
    """The rest of a request after its header: (document, arrays). Raises ParentGone."""
    document = json.loads(bytes(_read(stream, length)))
    arrays = []
    for _ in range(count):
        import numpy as np  # only here: that it is missing must be an answer, not an end

        kind, dimensions = ARRAY.unpack(_read(stream, ARRAY.size))
        shape = [DIMENSION.unpack(_read(stream, DIMENSION.size))[0] for _ in range(dimensions)]
        dtype = np.dtype(kind.rstrip(b"\0").decode("ascii"))
        content = _read(stream, int(np.prod(shape)) * dtype.itemsize)
        arrays.append(np.frombuffer(content, dtype).reshape(shape))
    return document, arrays


def answered(reader: FileIO, host: Host) -> list[Any]:
    """Wait for the next request and do what it asks for: the buffers of the reply. Raises ParentGone."""
    magic, length, number = HEADER.unpack(_read(reader, HEADER.size))
    if magic == BLOCK:
        content = _read(reader, length)
        try:
            made = host.block(content)
        except BaseException as error:  # a stranger's code: whatever it raises is its failure
            return packed({"error": told(error), "number": number}, [])
        return [HEADER.pack(BLOCK, len(made), number) + made]
    document, arrays = received(reader, length, number)
    try:
        reply, outgoing = host.answer(document, arrays)
        return packed(dict(reply, number=document["number"]), outgoing)
    except BaseException as error:
        return packed({"error": told(error), "number": document["number"]}, [])


def serve(reader: FileIO, writer: FileIO, host: Host) -> None:
    """Answer requests until the parent closes the pipe."""
    own = os.getpid()
    while True:
        try:
            buffers = answered(reader, host)
        except ParentGone:
            return
        if os.getpid() != own:
            os._exit(0)  # a copy that the system made of itself by os.fork: only one of the two may answer
        for buffer in buffers:
            view, done = memoryview(buffer), 0
            while done < len(view):
                try:
                    done += writer.write(view[done:]) or 0
                except BrokenPipeError:  # the parent has read enough, and ends this process
                    return


def end_with(parent: int) -> None:
    """End this process and its group when the parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def limit(limits: Mapping[str, int]) -> None:
    """Take resources from this process, and from those that it starts, for good: {"AS": bytes, "CORE": 0, ...}."""
    import resource

    for name, value in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def main() -> None:
    """`child.py SETTINGS`, a JSON object: descriptors to read and write, sys.path or null, limits, the parent's pid.

    Environment variables come with them, and not as others do: a sandbox has none.
    """
    settings = json.loads(sys.argv[1])
    os.environ.update(settings["environment"])
    here = os.path.dirname(os.path.abspath(__file__))
    # Python puts a program's folder on the path, and these modules are nobody's to import by their short names.
    sys.path[:] = [entry for entry in sys.path if entry != here]
    del sys.argv[1:]
    limit(settings["limits"])
    if settings["parent"]:
        end_with(settings["parent"])
    if settings["path"] is None:
        import importlib.util

        # By its path: the harness is not installed in this environment.
        spec = importlib.util.spec_from_file_location("harness_foreign", os.path.join(here, "foreign.py"))
        foreign = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        sys.modules["harness_child"] = sys.modules["__main__"]
        spec.loader.exec_module(foreign)  # type: ignore[union-attr]
        host: Host = foreign.ForeignHost()
    else:
        sys.path[:] = settings["path"]

        sys.modules["harness.apart.child"] = sys.modules["__main__"]  # one module, not two of the same text
        from harness.apart.host import OwnHost

        host = OwnHost()
    with open(settings["read"], "rb", buffering=0) as reader, open(settings["write"], "wb", buffering=0) as writer:
        serve(reader, writer, host)


if __name__ == "__main__":
    main()
