"""From a pair's signals to its score: what is computed in which precision, what is kept, what is left to pyclarity."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.evaluator.haspi import eb
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from numpy.typing import NDArray

from harness.challenge import EARS, PROTOCOL
from harness.enhancement import Signal, nalr_fir
from harness.errors import EvaluatorError
from harness.haaqi import evaluator
from harness.haaqi.evaluator import EarSignals, Score
from harness.haaqi.fast import nalr
from harness.haaqi.fast.double import engine as double
from harness.haaqi.fast.double import hair_cells
from harness.haaqi.fast.memory import PASSING, Workspace
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS
from harness.haaqi.fast.result import Result
from harness.haaqi.fast.single import engine as single
from harness.hearing import Audiogram, Listener
from harness.startup import uncollected

_SHORTEST = 6000  # samples: 0.25 s, of which the locked evaluator makes short work
_SOFTEST, _LOUDEST = 1e-8, 1e4  # peak amplitude; full scale is 1


class _Precision(Protocol):
    """What `single.engine` and `double.engine` are: the stages of HAAQI in one precision."""

    def prepare(self, reference: Any) -> Any: ...

    def analyse_reference(
        self, reference: Any, bulk: Any, hearing_loss: Any, equalisation: int, level1: float, own: Any
    ) -> Any: ...

    def score(self, reference: Any, processed: Any, noise: Noise, offset: int, scratch: Any) -> Result | None: ...


class _TooOdd(EvaluatorError):
    """The signals are for the locked evaluator."""


@dataclass(frozen=True)
class _Ear:
    """What HAAQI is given for an ear: signals at 24 kHz of equal length, audiogram and settings."""

    reference: Any
    processed: Any
    audiogram: ClarityAudiogram
    equalisation: int
    level1: float

    def analyse(self, precision: _Precision, own: Any) -> Any:
        """The reference's share of the work."""
        bulk = precision.prepare(self.reference)
        if bulk.stop - bulk.start < _SHORTEST:
            raise _TooOdd
        return precision.analyse_reference(
            self.reference, bulk, _levels(self.audiogram), self.equalisation, self.level1, own
        )

    def in_double_precision(self, noise: Noise, offset: int) -> Result:
        """The result, with memory that is given back at once: few ears need it."""
        found = double.score(self.analyse(double, Workspace()), self.processed, noise, offset, Workspace())
        if found is None:
            raise _TooOdd
        return found


def how_computed(
    results: Mapping[str, Result | None],
) -> tuple[frozenset[str], float | None, str | None, dict[str, int]]:
    """What a `Score` says of how it was computed: `in_double`, `margin`, `closest` and `draws`.

    Args:
        results: of each part by its name; None where it was left to pyclarity.
    """
    ours = {part: result for part, result in results.items() if result}
    margins = {part: result.margin for part, result in ours.items() if result.decided}
    closest = min(margins, key=lambda part: margins[part], default=None)
    return (
        frozenset(ours.keys() - margins.keys()),
        None if closest is None else margins[closest],
        closest,
        {part: result.draws for part, result in ours.items()},
    )


class HaaqiFunction:
    """In place of pyclarity's `compute_haaqi`: same arguments, same random draws, same errors, same result.

    The random numbers come from NumPy's global generator.

    Args:
        in_double: whether all is computed in double precision.

    Attributes:
        results: of the calls so far; None of those that were left to pyclarity.
    """

    def __init__(self, *, in_double: bool = False) -> None:
        self._in_double = in_double
        self.results: list[Result | None] = []

    def __call__(
        self,
        processed_signal: NDArray[Any],
        reference_signal: NDArray[Any],
        processed_sample_rate: float,
        reference_sample_rate: float,
        audiogram: ClarityAudiogram,
        equalisation: int = 1,
        level1: float = 65.0,
    ) -> float:
        """HAAQI of a processed signal; see pyclarity."""
        _load_code()
        before = np.random.get_state()
        try:
            reference, processed = _same_length(
                eb.resample_24khz(_fit(reference_signal), reference_sample_rate)[0],
                eb.resample_24khz(_fit(processed_signal), processed_sample_rate)[0],
            )
            if equalisation not in (1, 2):
                raise _TooOdd
            found = self._score(_Ear(reference, processed, audiogram, equalisation, level1))
        except _TooOdd:
            from clarity.evaluator.haaqi import compute_haaqi as locked

            np.random.set_state(before)
            self.results.append(None)
            return float(
                locked(
                    processed_signal, reference_signal, processed_sample_rate, reference_sample_rate,
                    audiogram, equalisation, level1,
                )
            )  # fmt: skip
        self.results.append(found)
        return found.score

    def _score(self, ear: _Ear) -> Result:
        engine = _engine(in_double=False)
        engine.kept.clear()
        noise = engine.draw(np.random.mtrand._rand, _capacity(len(ear.reference)))
        found = None
        if not self._in_double:
            reference = ear.analyse(single, engine.memory["left"])
            found = single.score(reference, ear.processed, noise, 0, engine.scratch)
        if found is None or not found.certain:
            engine.make_room()
            found = ear.in_double_precision(noise, 0)
        noise.read(0, found.draws)
        return found


@dataclass(frozen=True)
class _Kept:
    """The reference's share of the work for one ear, and for which reference and listener it was done."""

    scene_id: str
    source: Signal
    listener: Listener
    length: int
    found: Any

    def is_for(self, scene_id: str, source: Signal, listener: Listener, length: int) -> bool:
        """Whether it is of use for these."""
        return self.source is source and (self.scene_id, self.listener, self.length) == (scene_id, listener, length)


class _Signals:
    """Brings pairs into the form that HAAQI takes, as `evaluator.ear_signals` does; an ear's last reference is kept."""

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[Signal, nalr.Blocks]] = {}
        self._last: dict[str, tuple[Signal, Audiogram, Signal, float]] = {}

    def of_ear(self, ear: str, reference: Signal, processed: NDArray[np.float32], audiogram: Audiogram) -> EarSignals:
        """One ear's; reference and processed hold both, (samples, 2).

        Raises:
            EvaluatorError: the reference is silent.
        """
        last = self._last.get(ear)
        if last is None or last[0] is not reference or last[1] != audiogram:
            level1 = evaluator.level_of(ear, reference[:, EARS.index(ear)])
            amplified = self._amplified(ear, reference, nalr_fir(audiogram))
            resampled = evaluator.resampled(amplified, PROTOCOL.sample_rate)
            last = self._last[ear] = reference, audiogram, resampled, level1
        channel = processed[:, EARS.index(ear)]
        return EarSignals(last[2], evaluator.resampled(channel, PROTOCOL.remix_sample_rate), last[3])

    def _amplified(self, ear: str, reference: Signal, fir: NDArray[np.float64]) -> Signal:
        blocks = self._blocks.get(ear)
        if blocks is None or blocks[0] is not reference:
            made = nalr.blocks_of(reference[:, EARS.index(ear)], fir.size)
            blocks = self._blocks[ear] = reference, made
        return nalr.filtered(blocks[1], fir)


class _Engine:
    """What a process keeps from one pair to the next.

    Both ears' references need 120 MB for 10 s, in double precision 200, and are of use only where a listener comes
    again. So an engine begins with one workspace that both ears share, and what was found for a reference is dropped
    once its ear is scored; from the first listener that comes again it keeps both ears' references, each in a workspace
    of its own.

    Attributes:
        precision: in which an ear is computed first.
        keeps_references: which of the two ways it is in; it never goes back to the first.
    """

    def __init__(self, precision: _Precision) -> None:
        self.precision = precision
        self.scene_id: str | None = None
        self.noise: Noise | None = None
        self.numbers = Workspace()
        self.signals = _Signals()
        self.kept: dict[str, _Kept] = {}
        self.keeps_references = False
        shared = Workspace()
        self.memory = {"left": shared, "right": shared}
        self.scratch = Workspace()
        self.last: tuple[str, Listener] | None = None

    def score_pair(self, scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener) -> Score:
        if self.last == (scene_id, listener) and not self.keeps_references:
            self.keeps_references = True
            self.memory["right"] = Workspace()
        self.last = scene_id, listener
        found, offset = {}, 0
        for ear in EARS:
            found[ear] = self._score_ear(ear, scene_id, reference, processed, listener, offset)
            offset += found[ear].draws
            if not self.keeps_references:
                # The other ear is going to overwrite the workspace.
                self.kept.clear()
        return Score(found["left"].score, found["right"].score, None, *how_computed(found))

    def _score_ear(
        self,
        ear: str,
        scene_id: str,
        reference: Signal,
        processed: NDArray[np.float32],
        listener: Listener,
        offset: int,
    ) -> Result:
        audiogram = getattr(listener, ear)
        signals = self.signals.of_ear(ear, reference, processed, audiogram)
        before, after = _same_length(_fit(signals.reference), _fit(signals.processed))
        subject = _Ear(before, after, audiogram.for_pyclarity(), PROTOCOL.haaqi_equalisation, signals.level1)
        noise = self._noise(scene_id, len(before))
        kept = self.kept.get(ear)
        with evaluator.failures_named(ear):
            if kept is None or not kept.is_for(scene_id, reference, listener, len(before)):
                # Freed first, so that there are never two of them.
                self.kept.pop(ear, None)
                kept = self.kept[ear] = _Kept(
                    scene_id, reference, listener, len(before), subject.analyse(self.precision, self.memory[ear])
                )
            result = self.precision.score(kept.found, after, noise, offset, self.scratch)
            if result is None or not result.certain:
                kept = None
                self.make_room()
                result = subject.in_double_precision(noise, offset)
        evaluator.checked(ear, result.score)
        return result

    def make_room(self) -> None:
        """Give back the big arrays: those of an ear in double precision are larger still."""
        self.kept.clear()
        for space in (self.scratch, *self.memory.values()):
            space.clear()

    def _noise(self, scene_id: str, samples: int) -> Noise:
        """The random numbers of a scene: the left ear's, then the right ear's."""
        capacity = 2 * _capacity(samples)
        if self.noise is None or self.scene_id != scene_id or self.noise.capacity < capacity:
            self.noise = self.draw(np.random.RandomState(PROTOCOL.seed(scene_id)), capacity)
            self.scene_id = scene_id
        return self.noise

    def draw(self, generator: np.random.RandomState, capacity: int) -> Noise:
        """A stream of random numbers, where those of the scene have been."""
        self.noise = None
        return Noise(generator, capacity, self.numbers)


@lru_cache(maxsize=2)
def _engine(*, in_double: bool) -> _Engine:
    return _Engine(double if in_double else single)


def forget() -> None:
    """See `harness.haaqi.fast.forget`."""
    _engine.cache_clear()
    PASSING.clear()


def score_pair(
    scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener, *, in_double: bool = False
) -> Score:
    """See `harness.haaqi.fast.score_pair`."""
    _load_code()
    try:
        return _engine(in_double=in_double).score_pair(scene_id, reference, processed, listener)
    except _TooOdd:
        return evaluator.score_pair(scene_id, reference, processed, listener)


@lru_cache(maxsize=1)
@uncollected()
def _load_code() -> None:
    """Score a little noise, so that all code is loaded, or compiled and kept, before the first pair.

    Then what stands in the way of that (no room on the disk, say) is no failure of a pair.

    Raises:
        StorageError: compiled code cannot be kept.
    """
    signal = np.random.RandomState(0).standard_normal(2 * _SHORTEST)
    noise = Noise(np.random.RandomState(0), 2 * _capacity(len(signal)))
    audiogram = ClarityAudiogram(levels=np.full(6, 40.0), frequencies=HAAQI_AUDIOGRAM_FREQUENCIES)
    for precision in (single, double):
        space = Workspace()
        for reference in (signal, signal.astype(np.float32)):
            found = _Ear(reference, signal, audiogram, 2, 65.0).analyse(precision, Workspace())
            precision.score(found, signal, noise, 0, space)


def _fit(signal: Any) -> NDArray[np.floating[Any]]:
    """The signal, if this engine is made for such."""
    if (
        not isinstance(signal, np.ndarray)
        or signal.dtype not in (np.float32, np.float64)
        or signal.ndim != 1
        or len(signal) < _SHORTEST
    ):
        raise _TooOdd
    # Written so that NaN, which compares false with everything, is odd too.
    if not _SOFTEST <= np.abs(signal).max() <= _LOUDEST:
        raise _TooOdd
    return signal


def _same_length(reference: Any, processed: Any) -> tuple[Any, Any]:
    """Both cut to the shorter; what is left must still be fit."""
    length = min(len(reference), len(processed))
    return _fit(reference[:length]), _fit(processed[:length])


def _levels(audiogram: ClarityAudiogram) -> NDArray[np.float64]:
    """Hearing levels at the six frequencies of HAAQI."""
    return np.asarray(audiogram.resample(HAAQI_AUDIOGRAM_FREQUENCIES).levels)


def _capacity(samples: int) -> int:
    """Random numbers that an ear takes at most: noise for two signals, and two for each smoothed window and band."""
    return 2 * BANDS * (samples + samples // hair_cells.HOP + 2)
