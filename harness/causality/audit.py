"""The audit: how far into the future a system looks, found by changing the future.

The music is changed from a sample on, the cut. Where the output begins to differ from what the system made of the
music as it is, it has seen the cut coming: one call measures the look-ahead at one cut, without any search.

Only what is found is proof. A look-ahead that shows at a share p of all cuts is missed by n cuts with the probability
(1 - p)^n (`missed`), and a system that knows the music, or knows that it is audited, can hide anything. A streaming
system cannot: it is never given the future.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.causality.delay import delay_of
from harness.causality.futures import FUTURES, IN_WORDS, PASTS, Future, Past, changed
from harness.challenge import PROTOCOL
from harness.enhancement import MIN_SECONDS, Signal
from harness.errors import SystemFailure
from harness.submission.causality import CausalityRecord, EvidenceRecord
from harness.systems.streaming import ALLOWED

DECIDES = -100.0
"""dB below the output's peak: what differs by less is not counted. Below the 16 bit of the files (-90 dB), and above
the rounding of systems that are repeatable."""

LEVELS = (-40.0, -60.0, -80.0, DECIDES, -120.0, -140.0)
"""dB below the peak at which the look-ahead is noted as well: soft masks and the edges of windows look further ahead
the closer one looks."""

ABOVE_NOISE = 4.0
"""A difference must be so many times (12 dB) that of two calls with the same music."""

REPEATABLE = -60.0
"""dB: where only differences above this count, because the output is never the same, there is no verdict."""

CUTS = 16
"""For a system that is said to be causal. A look-ahead in a tenth of the music is missed with a probability of 0.19;
one cut finds whatever is always there."""

EARLIEST, LATEST = 0.25, 0.9
"""Cuts are at random, never on a grid (blocks would all be met at the same phase), in this part of the piece."""

FIRST_EARLIEST = 0.6
"""The first cut is late: the more music lies before it, the better is the whole piece told from some of it."""

FULL_CUTS = 2
"""At so many cuts all futures are tried, at the others two in turn."""

FAR = PROTOCOL.sample_rate
"""Samples before the cut: a change so early that is one gain, or that reaches the start even faintly, is that of the
whole piece."""

FAINTLY = -120.0
"""dB below the peak. Networks forget: what reaches their start may be softer than what decides."""

START = PROTOCOL.sample_rate // 20
"""Samples from the first that is heard: a change in there reaches the start."""

AUDIBLE = 0.01
"""Of the peak: from here on something is heard."""

ONE_GAIN = 0.03
"""A gain explains a change if it leaves less than this share of it."""

MISSED = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of cuts at which a look-ahead might show, for `missed`."""

SHORTEST = math.ceil(MIN_SECONDS * PROTOCOL.sample_rate)

Processing = Callable[[Signal], Signal]
"""(samples, 2) -> (samples or more, channels), at the same rate, with nothing random that is not seeded anew."""

Advance = Callable[[int, str], None]


def missed(cuts: int) -> dict[float, float]:
    """For a look-ahead that shows at a share of all cuts: the probability that so many cuts did not show it."""
    return {share: (1 - share) ** cuts for share in MISSED}


def calls_for(cuts: int, futures: Sequence[Future] = tuple(FUTURES)) -> int:
    """How often a system is called by an audit that finds no look-ahead; a search for the exact one adds some 20."""
    return 2 * len(_pasts(futures)) + 1 + sum(len(_futures_at(number, futures)) for number in range(cuts))


def audit(
    process: Processing,
    music: Signal,
    other: Signal,
    *,
    cuts: int = CUTS,
    seed: int = 0,
    futures: Sequence[Future] = tuple(FUTURES),
    exact: bool = True,
    advance: Advance = lambda _count, _what: None,
) -> CausalityRecord:
    """Measure how far ahead a system looks; ends at the first cut that shows more than the challenge allows.

    Args:
        process: the system. Called about `calls_for(cuts)` times.
        music: (samples, 2), 44.1 kHz; seconds of it, so that a long look-ahead can be told from the whole piece.
        other: other music, as long (`harness.causality.futures.other_than`).
        cuts: at how many places the future is changed.
        seed: of the random cuts.
        futures: which futures are tried.
        exact: whether to search for the last sample that the earliest changed one depends on.
        advance: called with the number of calls that are done, 1 each, and what was tried.

    Returns:
        The verdict, basis "measured". `look_ahead` is the largest that was seen, if `exact` after that search.

    Raises:
        ValueError: the music is too short, or no future is to be tried.
        SystemFailure: the output is too short or not finite; and whatever `process` raises.
    """
    if len(music) * LATEST <= SHORTEST + 1:
        raise ValueError(f"an audit takes at least {(SHORTEST + 2) / LATEST / PROTOCOL.sample_rate:.2f} s of music")
    if cuts < 1 or not futures:
        raise ValueError("an audit takes at least one cut and one future")
    found = _Audit(process, music, other, futures, advance)
    found.hear()
    if found.sensitivity <= REPEATABLE:
        for number, cut in enumerate(_cuts(len(music), cuts, seed)):
            if found.refuted:
                break
            found.try_at(cut, _futures_at(number, futures))
        if exact:
            found.search()
    return found.record()


def _cuts(samples: int, count: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    low = max(EARLIEST * samples, SHORTEST + 1)
    first = max(FIRST_EARLIEST * samples, low)
    return [int(rng.uniform(low if number else first, LATEST * samples)) for number in range(count)]


def _pasts(futures: Sequence[Future]) -> list[Past]:
    return list(dict.fromkeys(FUTURES[future] for future in futures))


def _futures_at(number: int, futures: Sequence[Future]) -> list[Future]:
    if number < FULL_CUTS or len(futures) <= 2:
        return list(futures)
    return [futures[(number + turn) % len(futures)] for turn in (0, 1)]


@dataclass(frozen=True)
class _Heard:
    """What the system makes of a past that goes on as it is, its peak, and how far two calls differ."""

    output: NDArray[np.float64]
    peak: float
    noise: float

    def limit(self, level: float, changed: NDArray[np.float64]) -> float:
        """The largest difference that does not count between the output and a changed one.

        Args:
            level: in dB below the peak of the louder of the two: rounding may go by the future's level.
            changed: the output with another future, whole.
        """
        peak = max(self.peak, float(np.abs(changed).max()))
        return float(max(peak * 10 ** (level / 20), ABOVE_NOISE * self.noise))

    @property
    def noise_level(self) -> float | None:
        """How far two calls differ in dB below the peak; None if not at all."""
        return _db(self.noise / max(self.peak, self.noise)) if self.noise > 0 else None


@dataclass(frozen=True)
class _Witness:
    """A future, a cut, and the first sample that it changed."""

    future: Future
    cut: int
    first: int

    @property
    def ahead(self) -> int:
        return self.cut - self.first


@dataclass
class _Audit:
    process: Processing
    music: Signal
    other: Signal
    futures: Sequence[Future]
    advance: Advance
    heard: dict[Past, _Heard] = field(default_factory=dict)
    sensitivity: float = DECIDES
    noise: float | None = None
    ahead: dict[float, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    worst: _Witness | None = None
    look_ahead: int = 0
    to_the_end: bool = False
    whole_piece: bool = False
    gain: float | None = None
    cuts: int = 0
    evidence: list[EvidenceRecord] = field(default_factory=list)

    @property
    def refuted(self) -> bool:
        return self.whole_piece or self.look_ahead > ALLOWED

    def call(self, music: Signal, what: str) -> NDArray[np.float64]:
        with _said_where(what):
            output = np.asarray(self.process(music.copy()), float)
            if len(output) < len(music):
                raise SystemFailure(f"returned {len(output)} samples for {len(music)} samples of music")
            if not np.isfinite(output).all():
                raise SystemFailure("returned values that are not finite (NaN or infinity)")
        return output.reshape(len(output), -1)

    def hear(self) -> None:
        """What it makes of the music as it is, twice: how repeatable it is, other music in between."""
        pasts = _pasts(self.futures)
        pieces = [(f"the {past} past", PASTS[past] * self.music) for past in pasts]
        outputs = []
        for what, piece in [*pieces, ("other music", self.other), *pieces]:
            outputs.append(self.call(piece, what))
            self.advance(1, what)
        for past, first, second in zip(pasts, outputs, outputs[len(pasts) + 1 :], strict=False):
            if len(first) != len(second):
                raise SystemFailure(f"returned {len(first)} and {len(second)} samples for the same music")
            self.heard[past] = _Heard(first, float(np.abs(first).max()), float(np.abs(first - second).max()))
        self.noise = max(
            (each.noise_level for each in self.heard.values() if each.noise_level is not None), default=None
        )
        if self.noise is not None:
            self.sensitivity = max(DECIDES, self.noise + _db(ABOVE_NOISE))

    def difference(self, future: Future, cut: int, until: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The output with another future, and in each sample before `until` by how much it differs."""
        past = FUTURES[future]
        output = self.call(changed(self.music, self.other, past, future, cut), f"{past} past, {future} from {cut} on")
        samples = min(len(output), until)
        return output, np.abs(output[:samples] - self.heard[past].output[:samples]).max(axis=1)

    def try_at(self, cut: int, futures: Sequence[Future]) -> None:
        """Try futures at one cut; ends at the first that changes the whole piece."""
        self.cuts += 1
        for future in futures:
            past = FUTURES[future]
            heard = self.heard[past]
            output, difference = self.difference(future, cut, cut)
            self.advance(1, f"{future} from {cut / PROTOCOL.sample_rate:.2f} s on")
            for level in LEVELS:
                seen = _first(difference, heard.limit(level, output))
                self.ahead[level] = max(self.ahead[level], 0 if seen is None else cut - seen)
            first = _first(difference, heard.limit(self.sensitivity, output))
            self.evidence.append(EvidenceRecord(past=past, future=future, cut=cut, first_changed=first))
            if first is None:
                continue
            witness = _Witness(future, cut, first)
            if self._is_whole(witness, output, difference):
                self.worst, self.whole_piece = witness, True
                return
            if self.worst is None or witness.ahead > self.worst.ahead:
                self.worst, self.look_ahead = witness, witness.ahead

    def _is_whole(self, witness: _Witness, output: NDArray[np.float64], difference: NDArray[np.float64]) -> bool:
        """Whether a change is that of a statistic of the whole piece; if one gain explains it, its value is kept."""
        heard = self.heard[FUTURES[witness.future]]
        far = witness.cut - min(FAR, witness.cut // 2)
        largest = float(difference[:far].max(initial=0.0))
        if largest <= heard.limit(self.sensitivity, output):
            return False
        before, after = heard.output[:far], output[:far]
        gain = float((before * after).sum() / max(float((before * before).sum()), 1e-300))
        if gain > 0 and float(np.abs(after - gain * before).max()) < ONE_GAIN * largest:
            self.gain = _db(gain)
            return True
        earliest = _first(difference, heard.limit(FAINTLY, output))
        heard_from = _first(np.abs(heard.output).max(axis=1), AUDIBLE * heard.peak) or 0
        return earliest is not None and earliest <= heard_from + START

    def search(self) -> None:
        """Find the last sample of the music that the earliest changed sample of the output depends on.

        The changed sample is held and the cut moved away from it, in steps that double, then by bisection.
        """
        if self.worst is None or self.whole_piece:
            return
        future, first, samples = self.worst.future, self.worst.first, len(self.music)
        heard = self.heard[FUTURES[future]]

        def reaches(cut: int) -> bool:
            output, difference = self.difference(future, cut, first + 1)
            self.advance(0, "searching for the exact look-ahead")
            return bool((difference > heard.limit(self.sensitivity, output)).any())

        low, step = self.worst.cut, 1
        while low + step < samples and reaches(low + step):
            low, step = low + step, 2 * step
        high = min(low + step, samples)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if reaches(middle) else (low, middle)
        self.look_ahead = low - first
        self.to_the_end = low == samples - 1

    def record(self) -> CausalityRecord:
        """The verdict, with all that it rests on."""
        repeatable = self.sensitivity <= REPEATABLE
        delay = delay_of(self.heard["music"].output, self.music) if "music" in self.heard else None
        return CausalityRecord(
            basis="measured",
            verdict="none" if not repeatable else "not causal" if self.refuted else "causal",
            reason=self._reason() if repeatable else self._not_repeatable(),
            look_ahead=self.look_ahead if repeatable and not self.whole_piece else None,
            whole_piece=self.whole_piece,
            gain_db=self.gain,
            # A record has no room for an output that is early; T = L + D is not made smaller by it.
            delay=None if delay is None else max(0, delay),
            cuts=self.cuts,
            sensitivity_db=self.sensitivity,
            noise_db=self.noise,
            levels=self._levels() if repeatable else {},
            evidence=self.evidence,
        )

    def _levels(self) -> dict[str, int | None]:
        """The look-ahead by level; what was searched for at the deciding level is seen at those below, too."""
        levels: dict[str, int | None] = {}
        for level in LEVELS:
            ahead = self.ahead[level]
            if level <= self.sensitivity and not self.whole_piece:
                ahead = max(ahead, self.look_ahead)
            known = self.noise is None or self.noise + _db(ABOVE_NOISE) < level
            levels[f"{level:g}"] = ahead if known else None
        return levels

    def _reason(self) -> str:
        tried = f"{self.cuts} cut{'s' if self.cuts > 1 else ''}"
        if self.whole_piece and self.worst is not None:
            cause, by = IN_WORDS[self.worst.future], "" if self.gain is None else f" by {self.gain:+.2f} dB"
            return f"{cause} changes {'the gain of ' if by else ''}the whole piece{by}, {tried}"
        at_least = "at least " if self.to_the_end else ""
        return f"looks {at_least}{samples_in_words(self.look_ahead)} ahead, {ALLOWED} are allowed, {tried}"

    def _not_repeatable(self) -> str:
        return f"two calls with the same music differ by {self.noise or 0:.0f} dB of the peak"


def samples_in_words(samples: int) -> str:
    """Samples at 44.1 kHz with their time: "220 samples (4.99 ms)"."""
    return f"{samples} samples ({1e3 * samples / PROTOCOL.sample_rate:.2f} ms)"


def _db(ratio: float) -> float:
    return 20 * math.log10(ratio)


def _first(values: NDArray[np.float64], limit: float) -> int | None:
    """The first place where a value exceeds a limit."""
    above = values > limit
    return int(np.argmax(above)) if above.any() else None


@contextmanager
def _said_where(what: str) -> Iterator[None]:
    """A failure says which piece the system was given."""
    try:
        yield
    except SystemFailure as error:
        raise type(error)(f"{error} (in the audit: {what})") from error
