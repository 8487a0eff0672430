"""A system at work, as the rest of the harness sees it: in a process of its own, or in this one (`inprocess`)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NoReturn, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness import errors
from harness.apart.channel import Gone
from harness.apart.child import KNOWN_ERRORS
from harness.apart.measuring import Cost
from harness.apart.output import Output
from harness.apart.places import interpreter_of, view_for
from harness.apart.process import Child, Terms
from harness.apart.returned import Returned, Unsent, described
from harness.apart.streams import ChildStream
from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import Signal
from harness.errors import SystemFailure
from harness.files import canonical_sha256
from harness.hearing import Listener
from harness.systems.declaring import some
from harness.systems.sources import neighbourhood
from harness.systems.streaming import Stream, form_of

MAX_STARTS = 3
"""So many times in a row a child that died is started anew in vain; then the rest fails for the same reason."""


Answer = TypeVar("Answer")

Isolation = Literal["process", "sandbox", "in-process"]


@dataclass(frozen=True)
class Wanted:
    """Which system is to run.

    Attributes:
        system: its name.
        options: its settings, as on the command line: "key=value".
        plugins: files or modules with plugins, besides those that are installed.
    """

    system: str
    options: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A system that was found, before it is loaded.

    Attributes:
        name, version: as it calls itself.
        kind: "separator", "enhancer" or "reference".
        streaming: whether it works block by block.
        many: whether it separates several pieces of music at once.
        broken: plugins that are broken, where they come from, and why.
    """

    name: str
    version: str
    kind: str
    broken: tuple[tuple[str, str, str], ...] = ()
    streaming: bool = False
    many: bool = False


class Raised(SystemFailure):
    """A system raised an exception of its own. The text goes on after the system's name."""


class Running(Protocol):
    """A system at work.

    `start`, `find` and `load` come first, in this order.
    """

    isolation: Isolation
    """How it runs: "process", "sandbox" or "in-process"."""
    python: str | None
    """Version of its interpreter where that is not the harness's, or None."""

    def start(self) -> None:
        """Get ready to find it. Raises UsageError or PluginError."""

    def find(self) -> Found:
        """Find the system and read its settings. Raises UsageError, PluginError or SystemFailure."""

    def load(self) -> Mapping[str, Any]:
        """Make it and have it load its weights: what it declares, unchecked. Raises SystemFailure."""

    def separate(self, mixture: Signal, true_stems: Mapping[str, Signal] | None) -> tuple[list[Returned], Cost | None]:
        """Its four stems of a mixture; a reference is handed the true ones. Raises SystemFailure."""

    def separate_many(self, mixtures: Sequence[Signal]) -> tuple[list[list[Returned]], Cost | None]:
        """Its four stems of each of several mixtures that it is handed at once, and what all of them cost together.

        For a system that does so (`Found.many`). Raises SystemFailure.
        """

    def enhance(self, mixture: Signal, listener: Listener, gains: Gains) -> tuple[Returned, Cost | None]:
        """Its remix of a mixture for a listener. Raises SystemFailure."""

    def open_stream(self, listener: Listener | None = None, gains: Gains | None = None) -> Stream:
        """Begin a piece of music with a streaming system, one piece at a time; close what is returned.

        Args:
            listener, gains: for an enhancer.

        Raises:
            SystemFailure: it cannot begin.
        """

    def seed(self, value: int) -> None:
        """Seed the generators of the system's process: random's, NumPy's, and torch's if it is loaded there.

        Args:
            value: 0 to 2**32 - 1.
        """


class Apart:
    """A system in a child process; one that died is started anew for the next piece of music.

    Args:
        wanted: which system.
        terms: how the child is run.
        output: where what it prints goes.
        hidden: what it must not see, in a sandbox; None for no sandbox.
    """

    def __init__(self, wanted: Wanted, terms: Terms, output: Output, hidden: Sequence[Path] | None = None) -> None:
        self.wanted, self.terms, self.output, self.hidden = wanted, terms, output, hidden
        self.given = terms
        """As they were before it was found: with them another process finds and runs it in the same way."""
        self.isolation: Isolation = "process" if hidden is None else "sandbox"
        self.python: str | None = None
        self._child: Child | None = None
        self._source: dict[str, str] | None = None
        self._code: dict[str, Any] = {}
        self._declared: dict[str, Any] | None = None
        self._failed_starts = 0

    @property
    def declared(self) -> Mapping[str, Any] | None:
        """What it declared when it was loaded; None before."""
        return self._declared

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def start(self) -> None:
        """Start the child, which takes some tenths of a second to be ready; `find` waits for it.

        Raises:
            UsageError: the sandbox cannot show what the system needs.
        """
        plugins = self.wanted.plugins
        if self.terms.python is not None and plugins and plugins[-1].endswith(".py"):
            # Not looked for in our own environment: it may import what is only in the other one.
            path = Path(plugins[-1]).expanduser().resolve()
            if not path.is_file():
                raise errors.PluginError(f"plugin {plugins[-1]}: no such file: {plugins[-1]}")
            files = neighbourhood(path).files
            self._source = {"file": str(path)}
            self._code = {"code_sha256": canonical_sha256(dict(files)), "code_files": some(files)}
        self._start()

    def _start(self) -> None:
        terms = self.terms if self._source else replace(self.terms, python=None)
        if self.hidden is not None:
            wanted = self.wanted
            view = view_for(wanted.plugins, wanted.options, terms.python, self._source, self.hidden)
            terms = replace(terms, sandbox=view)
        self._child = Child(terms, self.output)

    def listing(self) -> Any:
        """All plugins and systems, as the child describes them, unchecked."""
        return self._ask("list", plugins=[*self.wanted.plugins])

    def find(self) -> Found:
        try:
            return self._found()
        except (AttributeError, KeyError, TypeError, ValueError):
            self.close()
            raise Gone("broke the protocol: it is no system") from None

    def _found(self) -> Found:
        found = self._find()
        broken = found.get("broken", ())
        environment = found.get("environment")
        if self.terms.python is None and environment is not None:
            self.terms = replace(self.terms, python=interpreter_of(self.wanted.system, str(environment)))
        if self.terms.python is not None and self._source is None:
            self._source, self._code = dict(found["source"]), dict(found["code"])
            self.close()
        streaming = bool(found["streaming"])
        if streaming and not self.terms.one_thread:
            # Known only now, when libraries that ask for it are imported already.
            self.terms = replace(self.terms, one_thread=True)
            self.close()
        if self._child is None:
            self._start()
            found = self._find()
        self._choose()
        named = tuple((str(each["name"]), str(each["origin"]), str(each["error"])) for each in broken)
        kind, many = str(found["kind"]), bool(found["many"])
        return Found(self.wanted.system, str(found["version"])[:100], kind, named, streaming, many)

    def _find(self) -> dict[str, Any]:
        if self._source is None:
            found = self._ask("find", plugins=[*self.wanted.plugins], name=self.wanted.system)
        else:
            self.python = str(self._ask("versions")["python"])[:100]
            found = self._ask("find", source=self._source, name=self.wanted.system)
        if found["kind"] not in ("separator", "enhancer", "reference"):
            raise ValueError
        return dict(found)

    def _choose(self) -> None:
        self._ask("choose", options=[*self.wanted.options])

    def load(self) -> Mapping[str, Any]:
        self._declared = self._load()
        return self._declared

    def _load(self) -> dict[str, Any]:
        found = self._ask("load")
        if not isinstance(found, dict):
            raise Gone("broke the protocol: it declares nothing")
        return {**found, **self._code}

    def separate(self, mixture: Signal, true_stems: Mapping[str, Signal] | None) -> tuple[list[Returned], Cost | None]:
        arrays = [mixture, *(true_stems[name] for name in STEMS)] if true_stems is not None else [mixture]
        return self._piece("separate", {}, arrays, len(STEMS))

    def separate_many(self, mixtures: Sequence[Signal]) -> tuple[list[list[Returned]], Cost | None]:
        child, timeout = self._living(), self.terms.timeout
        # As long as one by one.
        child.deadline = None if timeout is None else time.monotonic() + len(mixtures) * timeout
        try:
            stems, cost = self._piece("separate_many", {}, mixtures, len(STEMS) * len(mixtures))
        finally:
            child.deadline = None
        return [stems[first : first + len(STEMS)] for first in range(0, len(stems), len(STEMS))], cost

    def enhance(self, mixture: Signal, listener: Listener, gains: Gains) -> tuple[Returned, Cost | None]:
        document = {"listener": _document(listener), "gains": dict(gains)}
        (signal,), cost = self._piece("enhance", document, [mixture], 1)
        return signal, cost

    def open_stream(self, listener: Listener | None = None, gains: Gains | None = None) -> Stream:
        child = self._living()
        # All of a piece, as in `separate`.
        timeout = self.terms.timeout
        child.deadline = None if timeout is None else time.monotonic() + timeout
        document = None if listener is None else _document(listener)
        form = self._ask("open", listener=document, gains=None if gains is None else dict(gains))
        if self._declared is None or form != self._declared.get("streaming"):
            raise SystemFailure("its block or latency is another one than after it was loaded")
        block, latency = form_of(SimpleNamespace(**form))
        count = len(STEMS) if listener is None else 1
        return ChildStream(child, block, latency, count, self._ask, self._block)

    def seed(self, value: int) -> None:
        self._living()
        self._ask("seed", value=value)

    def _living(self) -> Child:
        """The child, started anew if it died."""
        if self._child is None or self._child.closed:
            self._start_anew()
        assert self._child is not None
        return self._child

    def _piece(
        self, method: str, document: Mapping[str, Any], signals: Sequence[Signal], count: int
    ) -> tuple[list[Returned], Cost]:
        meter = self._living().meter
        arrays = [np.ascontiguousarray(signal, dtype="<f8") for signal in signals]
        before, started = meter.start_piece(), time.monotonic()
        # In whatever floats; a system that returns far more has not understood what is asked of it.
        limit = 2 * (max(len(array) for array in arrays) + PROTOCOL.sample_rate) * 2 * 8
        reply, returned = self._exchange(method, document, arrays, limit, count)
        cost = Cost(time.monotonic() - started, max(0.0, meter.cpu_seconds() - before), meter.peak_bytes())
        unsent, waiting = reply.get("unsent"), iter(returned)
        if not isinstance(unsent, list) or len(unsent) != count or unsent.count(None) != len(returned):
            self.close()
            raise Gone("broke the protocol: its answer has the wrong form")
        return [next(waiting) if each is None else Unsent(described(each)) for each in unsent], cost

    def _start_anew(self) -> None:
        """Start the child again after it died."""
        if self._failed_starts >= MAX_STARTS:
            raise Gone(f"could not be started again {MAX_STARTS} times: this piece was not tried")
        try:
            self._start()
            self._find()
            self._choose()
            now = self._load()
        except (SystemFailure, KeyError, TypeError, ValueError) as error:
            self._failed_starts += 1
            self.close()
            raise Gone(f"could not be started again: {error}") from None
        if now != self._declared:
            self.close()
            raise SystemFailure("declares something else after it was started again: its files or settings changed")
        self._failed_starts = 0

    @property
    def _where(self) -> str:
        """For messages: in which Python environment, where that is not the harness's own."""
        return f" (in {self.terms.python})" if self._source else ""

    def _ask(self, method: str, **arguments: Any) -> Any:
        return self._exchange(method, {"arguments": arguments}, [], 0, 0)[0].get("result")

    def _exchange(
        self, method: str, document: Mapping[str, Any], arrays: Sequence[NDArray[Any]], limit: int, most: int
    ) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        child = self._child
        assert child is not None
        reply, returned = self._received(child, lambda: child.ask(method, document, arrays, limit, most))
        failed = reply.get("error")
        if failed is not None:
            self._raise(failed)
        return reply, returned

    def _block(self, child: Child, content: bytes, expected: int) -> bytearray:
        """The answer of a child to a block of a stream, `expected` bytes."""
        answer = self._received(child, lambda: child.process(content, expected))
        if isinstance(answer, dict):
            self._raise(answer.get("error"))
        return answer

    def _received(self, child: Child, ask: Callable[[], Answer]) -> Answer:
        """What a child answers."""
        try:
            return ask()
        except Gone as error:
            raise type(error)(f"{error}{self._where}") from None
        finally:
            if child.closed and self._child is child:
                self._child = None

    def _raise(self, error: Any) -> NoReturn:
        """Raise what the child says that went wrong there."""
        error = error if isinstance(error, dict) else {}
        text, kind = str(error.get("text", ""))[:2000], str(error.get("type", "an exception"))[:100]
        trace = str(error.get("traceback", ""))
        self.output.log(f"{trace.rstrip()}\n".encode(errors="backslashreplace"))
        known = error.get("known")
        if known in KNOWN_ERRORS:
            raise getattr(errors, str(known))(text + self._where)
        if error.get("wrong"):
            raise SystemFailure(text)
        raised = Raised(f"raised {kind}: {text} ({str(error.get('where', ''))[:200]}){self._where}")
        raised.add_note(trace)
        raise raised


def _document(listener: Listener) -> dict[str, Any]:
    """A listener as `harness.apart.child.listener_of` takes it."""
    ears = [[list(ear.frequencies), list(ear.levels)] for ear in (listener.left, listener.right)]
    return {"id": listener.id, "ears": ears}


def list_systems(plugins: Sequence[str]) -> dict[str, Any]:
    """All plugins and systems of the harness's own environment, as `OwnHost.do_list` describes them.

    Raises:
        PluginError: one of `plugins` is broken.
        SystemFailure: a plugin ended the process that imported it.
    """
    apart = Apart(Wanted("", plugins=tuple(plugins)), Terms(), Output())
    try:
        apart.start()
        found = apart.listing()
    except Gone as error:
        raise SystemFailure(f"a plugin ended the process that imports plugins: it {error}") from None
    finally:
        apart.close()
    if not isinstance(found, dict):
        raise SystemFailure("a plugin broke the list of systems")
    return found
