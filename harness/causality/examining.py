"""Whether a system is causal: by an audit, or, of a streaming system, by how it was streamed."""

from typing import Literal

from harness.apart.running import Found, Running
from harness.causality.audit import CUTS, Advance, audit, calls_for, samples_in_words
from harness.causality.delay import delay_of
from harness.causality.futures import FUTURES, Future, other_than
from harness.causality.subject import Subject, music_of, subject_of
from harness.chain import NALR_DELAY
from harness.enhancement import Signal
from harness.errors import DataError, SystemFailure, printable
from harness.music.evaluationset import EvaluationSet
from harness.submission.causality import CausalityRecord
from harness.submission.manifest import Manifest
from harness.systems.streaming import ALLOWED, Streamed, is_causal

SECONDS = 4.0
"""Of music for an audit; a look-ahead that is longer cannot be told from the whole piece."""

STREAMED_SECONDS = 2.0
"""Of music for the check of a streaming system, of which only its block decides how far it looks."""

STREAMED_CUTS = 2
"""It was never given the future; this only finds what comes to it by another way."""

STREAMED_FUTURES: tuple[Future, ...] = ("other", "stop")

TOLERANCE = 22
"""Samples, 0.5 ms: a filter's own group delay need not be declared as latency."""

REASON_LENGTH = 500


class WrongLatency(SystemFailure):
    """A streaming system lags the music by another time than it declares."""


def examined(
    running: Running,
    found: Found,
    manifest: Manifest,
    evaluation_set: EvaluationSet,
    advance: Advance = lambda _count, _what: None,
) -> Manifest:
    """The manifest with the verdict on its system's causality.

    It is found anew each time, also where a submission is resumed: what its manifest says anybody may have written.

    Args are those of `examine`.

    Raises:
        WrongLatency: as `examine`.
        SystemFailure: what the system declares is not what was found.
    """
    if found.streaming != (manifest.streaming is not None):
        raise SystemFailure(f"system {found.name} was found to work block by block or not, and declares the contrary")
    record = examine(running, found, manifest, evaluation_set, advance=advance)
    return manifest.model_copy(update={"causality": record})


def examine(
    running: Running,
    found: Found,
    manifest: Manifest,
    evaluation_set: EvaluationSet,
    advance: Advance = lambda _count, _what: None,
) -> CausalityRecord | None:
    """What `harness run` finds out of a system's causality before it enhances.

    Args:
        running: the system, loaded.
        found: what it is.
        manifest: what it declares.
        evaluation_set: whose music it hears.
        advance: called with each call of the system; there are about `calls_of(found)`.

    Returns:
        The verdict; "none" also where the system fails on one of the pieces that an audit makes up, or where there is
        no music to try. None for a system that neither streams nor is said to be causal, and for a reference.

    Raises:
        WrongLatency: it names both figures.
    """
    if not is_examined(found, manifest):
        return None
    subject = subject_of(running, found, evaluation_set)
    try:
        music = music_of(evaluation_set, STREAMED_SECONDS if found.streaming else SECONDS)
        return look_at(subject, music, advance=advance)
    except WrongLatency:
        raise
    except (SystemFailure, DataError) as error:
        reason = printable(" ".join(str(error).split()))[:REASON_LENGTH]
        return CausalityRecord(basis="streamed" if found.streaming else "measured", verdict="none", reason=reason)


def is_examined(found: Found, manifest: Manifest) -> bool:
    """Whether there is something to find out: the system streams, declares itself causal, or asks to be measured."""
    asks = found.streaming or manifest.measure or manifest.class_ == "causal"
    return asks and found.kind != "reference"


def calls_of(found: Found, cuts: int | None = None) -> int:
    """How often `look_at` calls a system, but for the search of an exact look-ahead."""
    if found.streaming:
        return calls_for(cuts or STREAMED_CUTS, STREAMED_FUTURES)
    return calls_for(cuts or CUTS)


def look_at(
    subject: Subject, music: Signal, *, cuts: int | None = None, advance: Advance = lambda _count, _what: None
) -> CausalityRecord:
    """Find out whether a system is causal.

    A streaming system is streamed again and again: it must return the same each time, with other music in between,
    and lag the music by what it declares. How far it looks ahead and how late it is then follow from its block and its
    latency, to which the live chain adds NAL-R's delay. With the baseline's chain it is measured like any other system.

    Args:
        subject: the system.
        music: (samples, 2), 44.1 kHz.
        cuts: at how many places the future is changed; None for 16, of a streaming system 2.
        advance: called with the number of calls that are done, and what was tried.

    Raises:
        WrongLatency: a streaming system's latency is not the one that it declares.
        SystemFailure: it fails.
    """
    if not subject.found.streaming:
        return audit(subject, music, other_than(music), cuts=cuts or CUTS, advance=advance)
    if subject.chain == "baseline":
        return audit(
            subject, music, other_than(music), cuts=cuts or STREAMED_CUTS, futures=tuple(FUTURES), advance=advance
        )
    delays: list[int | None] = []

    def process(piece: Signal) -> Signal:
        output = subject(piece)
        if not delays:
            delays.append(delay_of(output, music))
        return output

    seen = audit(
        process,
        music,
        other_than(music),
        cuts=cuts or STREAMED_CUTS,
        futures=STREAMED_FUTURES,
        exact=False,  # that is the end of the block
        advance=advance,
    )
    assert subject.streamed is not None
    chain = NALR_DELAY if subject.chain == "live" else 0
    if delays[0] is not None:
        _confirm_latency(subject.found.name, subject.streamed, delays[0] - chain)
    return _streamed_record(seen, subject.streamed, chain, confirmed=delays[0] is not None)


def _confirm_latency(name: str, streamed: Streamed, delay: int) -> None:
    measured = delay + streamed.credited
    if abs(measured - streamed.latency) > TOLERANCE:
        raise WrongLatency(
            f"system {name} declares a latency of {streamed.latency} samples, but its output lags the music by "
            f"{measured}: declare {max(0, measured)}, or correct what it returns"
        )


def _streamed_record(seen: CausalityRecord, streamed: Streamed, chain: int, confirmed: bool) -> CausalityRecord:
    """The verdict on a streaming system, from the audit of what it returned and from how it was streamed.

    Args:
        chain: samples of delay that its chain adds.
        confirmed: whether its latency is.
    """
    changed = [each.cut - each.first_changed for each in seen.evidence if each.first_changed is not None]
    leaked = max(changed, default=0) > streamed.look_ahead
    ahead = samples_in_words(streamed.look_ahead)
    how = f"streamed in blocks of {streamed.block}, looks {ahead} ahead, {ALLOWED} are allowed"
    latency = f"latency {streamed.latency}{'' if confirmed else ' not'} confirmed"
    verdict: Literal["causal", "not causal", "none"] = "none"
    reason = seen.reason
    if leaked:
        verdict = "not causal"
        reason = f"streamed, and yet its output changes {max(changed)} samples before the music does"
    elif seen.verdict != "none":
        verdict = "causal" if is_causal(streamed.block) else "not causal"
        reason = f"{how}; {latency}"
    return seen.model_copy(
        update={
            "basis": "streamed",
            "verdict": verdict,
            "reason": reason,
            "look_ahead": None if verdict == "none" or leaked else streamed.look_ahead,
            "whole_piece": False,
            "gain_db": None,
            "delay": streamed.delay + chain if confirmed else None,
        }
    )
