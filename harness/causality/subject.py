"""What is audited: a system at its output, on music of an evaluation set."""

from dataclasses import dataclass

import numpy as np

from harness.apart.running import Found, Running
from harness.chain import Chain
from harness.challenge import PROTOCOL, STEMS, Gains
from harness.enhancement import Signal, amplify
from harness.errors import DataError, SystemFailure, UsageError
from harness.hearing import Listener
from harness.making.driving import ANYTHING, enhanced, reason_for, separated
from harness.music.evaluationset import EvaluationSet, Pair
from harness.systems.streaming import Streamed

SEED = 0
"""Of the random numbers that a system draws from Python, NumPy or PyTorch, before each piece of music."""

AUDIBLE = 0.01
"""Of a piece's peak: what is softer at its start is left out."""


@dataclass
class Subject:
    """A system as an audit calls it: music, (samples, 2), becomes its output, (samples or more, channels).

    A Separator's output is its four stems side by side, in the order of `STEMS`; an Enhancer's is its remix. With a
    chain, a Separator's is the amplified signal at 44.1 kHz. The file at 32 kHz that is made of it is not looked at:
    resampling looks 3 ms ahead by itself, but it belongs to the file and not to the hearing aid.

    Attributes:
        running: the system, loaded.
        found: what it is.
        listener, gains: for an Enhancer, and for a chain.
        chain: what follows a Separator's stems; None to look at these.
        streamed: how the last piece went block by block; None of a system that had the whole piece.
        calls: how many pieces there were.
    """

    running: Running
    found: Found
    listener: Listener
    gains: Gains
    chain: Chain | None = None
    streamed: Streamed | None = None
    calls: int = 0

    def __post_init__(self) -> None:
        if self.found.kind == "reference":
            raise UsageError(
                f"system {self.found.name} is a reference: it is handed the true stems, and has no causality to measure"
            )
        if self.chain is not None and self.found.kind == "enhancer":
            raise UsageError(f"system {self.found.name} is an Enhancer, which owns the whole chain: leave --chain out")

    def __call__(self, music: Signal) -> Signal:
        """What the system makes of the music. Raises SystemFailure, with the system's name."""
        self.calls += 1
        try:
            self.running.seed(SEED)
            return self._output(music)
        except ANYTHING as error:
            raise SystemFailure(reason_for(self.found.name, error)) from error

    def _output(self, music: Signal) -> Signal:
        if self.found.kind == "enhancer":
            whole = enhanced(self.running, self.found.streaming, music, self.listener, self.gains)
            self.streamed = whole.streamed
            return whole.signal
        parts = separated(self.running, self.found.kind, self.found.streaming, music)
        self.streamed = parts.streamed
        if self.chain is None:
            return np.concatenate([parts.stems[name] for name in STEMS], axis=1)
        return amplify(parts.remix(self.chain, self.gains, music), self.listener)


def subject_of(running: Running, found: Found, evaluation_set: EvaluationSet, chain: Chain | None = None) -> Subject:
    """A system with a listener and gains of the evaluation set, so chosen that neither leaves the music as it is.

    Raises:
        UsageError: a reference; an Enhancer with a chain; or a chain where the protocol has none.
    """
    if chain is not None and evaluation_set.protocol != PROTOCOL:
        raise UsageError(
            f"{evaluation_set.name} is of the {evaluation_set.protocol.title}, where nothing follows a system's stems "
            "but NAL-R: leave --chain out"
        )
    pairs = evaluation_set.pairs
    chosen = next((pair for pair in pairs if _does_something(pair)), pairs[0])
    return Subject(running, found, chosen.listener, chosen.scene.gains, chain)


def _does_something(pair: Pair) -> bool:
    ears = (pair.listener.left, pair.listener.right)
    return any(pair.scene.gains.values()) and all(max(ear.levels) > 0 for ear in ears)


def music_of(evaluation_set: EvaluationSet, seconds: float) -> Signal:
    """Music of an evaluation set, (samples, 2): its pieces one after another, cut to so many seconds, or repeated.

    A piece that cannot be used is left out: it fails its own pairs when they are made.

    Raises:
        DataError: none can be used, or all are silent.
    """
    wanted = round(seconds * PROTOCOL.sample_rate)
    pieces: list[Signal] = []
    problem = f"all music of {evaluation_set.name} is silent: name another evaluation set with --data"
    for scene in {scene.folder: scene for scene in evaluation_set.scenes}.values():
        try:
            piece = scene.read("mixture")
        except DataError as error:
            problem = str(error)
            continue
        loud = np.abs(piece).max(axis=1)
        if loud.any():
            pieces.append(piece[np.argmax(loud > AUDIBLE * loud.max()) :])
        if sum(map(len, pieces)) >= wanted:
            break
    if not pieces:
        raise DataError(problem)
    joined = np.concatenate(pieces)
    return np.tile(joined, (-(-wanted // len(joined)), 1))[:wanted]
