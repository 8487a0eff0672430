"""From a pair's signals to its score: what the engine is given, what it keeps, and what it leaves to the locked one."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from clarity.evaluator.haaqi.haaqi import HAAQI_AUDIOGRAM_FREQUENCIES
from clarity.evaluator.haspi import eb
from clarity.utils.audiogram import Audiogram as ClarityAudiogram
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.haaqi import evaluator
from harness.haaqi.evaluator import Score
from harness.haaqi.fast import input_align
from harness.haaqi.fast.double import engine, hair_cells
from harness.haaqi.fast.noise import Noise
from harness.haaqi.fast.numerics import BANDS
from harness.hearing import Listener

_SHORTEST = 6000  # samples: 0.25 s, of which the locked evaluator makes short work
_SOFTEST, _LOUDEST = 1e-8, 1e4  # peak amplitude; full scale is 1


class _TooOdd(Exception):
    """The signals are for the locked evaluator."""


def compute_haaqi(
    processed_signal: NDArray[Any],
    reference_signal: NDArray[Any],
    processed_sample_rate: float,
    reference_sample_rate: float,
    audiogram: ClarityAudiogram,
    equalisation: int = 1,
    level1: float = 65.0,
) -> float:
    """See `harness.haaqi.fast.compute_haaqi`."""
    _load_code()
    before = np.random.get_state()
    try:
        return _compute_haaqi(
            processed_signal, reference_signal, processed_sample_rate, reference_sample_rate,
            audiogram, equalisation, level1,
        )  # fmt: skip
    except _TooOdd:
        from clarity.evaluator.haaqi import compute_haaqi as locked

        np.random.set_state(before)
        return float(
            locked(
                processed_signal, reference_signal, processed_sample_rate, reference_sample_rate,
                audiogram, equalisation, level1,
            )
        )  # fmt: skip


def _compute_haaqi(
    processed_signal: NDArray[Any],
    reference_signal: NDArray[Any],
    processed_sample_rate: float,
    reference_sample_rate: float,
    audiogram: ClarityAudiogram,
    equalisation: int,
    level1: float,
) -> float:
    reference, processed = _same_length(
        eb.resample_24khz(_fit(reference_signal), reference_sample_rate)[0],
        eb.resample_24khz(_fit(processed_signal), processed_sample_rate)[0],
    )
    if equalisation not in (1, 2):
        raise _TooOdd
    bulk = _bulk(reference)
    stream = Noise(np.random.mtrand._rand, _capacity(len(reference)))
    levels = _levels(audiogram)
    found = engine.analyse_reference(reference, bulk, levels, equalisation, level1, stream, 0, engine.Workspace())
    result = engine.score(found, processed, stream, 0, engine.Workspace())
    if result is None:
        raise _TooOdd
    stream.read(0, found.draws)
    return result


@dataclass(frozen=True)
class _Kept:
    """The reference's share of the work for one ear, and for which reference and listener it was done."""

    scene_id: str
    source: Signal
    listener: Listener
    length: int
    offset: int
    found: engine.Reference

    def is_for(self, scene_id: str, source: Signal, listener: Listener, length: int, offset: int) -> bool:
        """Whether it is of use for these."""
        ours = (self.scene_id, self.listener, self.length, self.offset)
        return self.source is source and ours == (scene_id, listener, length, offset)


class _Engine:
    """What a process keeps from one pair to the next.

    Both ears' references need 200 MB for 10 s, and are of use only where a listener comes again. So an engine begins
    with one workspace that both ears share, and what was found for a reference is dropped once its ear is scored; from
    the first listener that comes again it keeps both ears' references, each in a workspace of its own.

    Attributes:
        keeps_references: which of the two ways it is in; it never goes back to the first.
    """

    def __init__(self) -> None:
        self.scene_id: str | None = None
        self.noise: Noise
        self.kept: dict[str, _Kept] = {}
        self.keeps_references = False
        shared = engine.Workspace()
        self.memory = {"left": shared, "right": shared}
        self.scratch = engine.Workspace()
        self.last: tuple[str, Listener] | None = None

    def score_pair(self, scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener) -> Score:
        if self.last == (scene_id, listener) and not self.keeps_references:
            self.keeps_references = True
            self.memory["right"] = engine.Workspace()
        self.last = scene_id, listener
        left = self._score_ear("left", scene_id, reference, processed, listener, 0)
        offset = self.kept["left"].found.draws
        self._drop_unless_kept()
        right = self._score_ear("right", scene_id, reference, processed, listener, offset)
        self._drop_unless_kept()
        return Score(left, right)

    def _drop_unless_kept(self) -> None:
        """Forget the reference just used if the other ear is going to overwrite its workspace."""
        if not self.keeps_references:
            self.kept.clear()

    def _score_ear(
        self,
        ear: str,
        scene_id: str,
        reference: Signal,
        processed: NDArray[np.float32],
        listener: Listener,
        offset: int,
    ) -> float:
        channel = ("left", "right").index(ear)
        audiogram = getattr(listener, ear)
        signals = evaluator.ear_signals(ear, reference[:, channel], processed[:, channel], audiogram)
        before, after = _same_length(_fit(signals.reference), _fit(signals.processed))
        kept = self.kept.get(ear)
        if kept is None or not kept.is_for(scene_id, reference, listener, len(before), offset):
            # Freed first, so that there are never two of them.
            self.kept.pop(ear, None)
            bulk = _bulk(before)
            with evaluator.failures_named(ear):
                found = engine.analyse_reference(
                    before, bulk, _levels(audiogram.for_pyclarity()), PROTOCOL.haaqi_equalisation, signals.level1,
                    self._noise(scene_id, len(before)), offset, self.memory[ear],
                )  # fmt: skip
            kept = self.kept[ear] = _Kept(scene_id, reference, listener, len(before), offset, found)
        with evaluator.failures_named(ear):
            score = engine.score(kept.found, after, self._noise(scene_id, len(before)), offset, self.scratch)
        if score is None:
            raise _TooOdd
        return evaluator.checked(ear, score)

    def _noise(self, scene_id: str, samples: int) -> Noise:
        """The random numbers of a scene: the left ear's, then the right ear's."""
        capacity = 2 * _capacity(samples)
        if self.scene_id != scene_id or self.noise.capacity < capacity:
            self.scene_id = scene_id
            self.noise = Noise(np.random.RandomState(PROTOCOL.seed(scene_id)), capacity)
        return self.noise


_engine = _Engine()


def score_pair(scene_id: str, reference: Signal, processed: NDArray[np.float32], listener: Listener) -> Score:
    """See `harness.haaqi.fast.score_pair`."""
    _load_code()
    try:
        return _engine.score_pair(scene_id, reference, processed, listener)
    except _TooOdd:
        return evaluator.score_pair(scene_id, reference, processed, listener)


@lru_cache(maxsize=1)
def _load_code() -> None:
    """Score a little noise, so that all code is loaded, or compiled and kept, before the first pair.

    Then what stands in the way of that (no room on the disk, say) is no failure of a pair.

    Raises:
        StorageError: compiled code cannot be kept.
    """
    signal = np.random.RandomState(0).standard_normal(2 * _SHORTEST)
    bulk = _bulk(signal)
    noise = Noise(np.random.RandomState(0), 2 * _capacity(len(signal)))
    space = engine.Workspace()
    for processed in (signal, signal.astype(np.float32)):
        found = engine.analyse_reference(signal, bulk, np.full(6, 40.0), 1, 65.0, noise, 0, engine.Workspace())
        engine.score(found, processed, noise, 0, space)


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


def _bulk(reference: Any) -> input_align.Bulk:
    """The reference prepared for alignment; enough of it must be left without the silence around it."""
    bulk = input_align.analyse(reference)
    if bulk.stop - bulk.start < _SHORTEST:
        raise _TooOdd
    return bulk


def _levels(audiogram: ClarityAudiogram) -> NDArray[np.float64]:
    """Hearing levels at the six frequencies of HAAQI."""
    return np.asarray(audiogram.resample(HAAQI_AUDIOGRAM_FREQUENCIES).levels)


def _capacity(samples: int) -> int:
    """Random numbers that an ear takes at most: noise for two signals, and two for each smoothed window and band."""
    return 2 * BANDS * (samples + samples // hair_cells.HOP + 2)
