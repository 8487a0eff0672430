"""What is known of a run's causality and of its load, as a manifest holds it.

Samples are at 44.1 kHz. See `harness.systems.streaming` for look-ahead, delay and through-delay.
"""

from typing import Annotated, Literal

from pydantic import Field

from harness.documents import PRINTABLE, Document, at_most

Samples = Annotated[int, Field(ge=0, le=2**31)]
_Text = Annotated[str, Field(max_length=500), PRINTABLE]
_Load = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_Decibels = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class StreamingRecord(Document, extra="forbid"):
    """How a streaming system works: samples at a time, and samples by which its output lags."""

    block: Annotated[int, Field(ge=1, le=65536)]
    latency: Samples


class EvidenceRecord(Document, extra="forbid"):
    """What was tried once: a future in place of the music's own, and what that changed before the cut.

    Attributes:
        past: "music", or "quiet" for the music 26 dB softer.
        future: "stop" (the piece ends), "other" (other music), "silence", or "loud" (other music, 18 dB louder).
        cut: the sample from which the music was changed.
        first_changed: the first sample of the output that changed; None if none before the cut did.
    """

    past: Literal["music", "quiet"]
    future: Literal["stop", "other", "silence", "loud"]
    cut: Samples
    first_changed: Samples | None = None


class CausalityRecord(Document, extra="forbid"):
    """The verdict on a system's causality, and what it rests on.

    Attributes:
        basis: "measured" by changing the future of the music, or "streamed": it never had the future.
        verdict: "causal" within what was tried, "not causal", or "none" where it cannot be told.
        reason: what the verdict rests on, in words, one line.
        look_ahead: L in samples; None for the whole piece, and without a verdict.
        whole_piece: whether the output depends on statistics of the whole piece.
        gain_db: the single gain that explains the whole-piece dependence, if one does.
        delay: D in samples, as measured; None where the output does not resemble the music.
        cuts: at how many places the future was changed.
        sensitivity_db: what differs by less, below the output's peak, does not count.
        noise_db: how far two calls with the same music differ; None if not at all.
        levels: the look-ahead at other thresholds, by their level in dB below the peak ("-40"); None: not seen.
        evidence: what was tried, one entry for each cut and future.
    """

    basis: Literal["measured", "streamed"]
    verdict: Literal["causal", "not causal", "none"]
    reason: _Text
    look_ahead: Samples | None = None
    whole_piece: bool = False
    gain_db: _Decibels | None = None
    delay: Samples | None = None
    cuts: Annotated[int, Field(ge=0, le=10_000)] = 0
    sensitivity_db: _Decibels | None = None
    noise_db: _Decibels | None = None
    levels: Annotated[dict[str, Samples | None], at_most(20)] = Field(default_factory=dict)
    evidence: Annotated[list[EvidenceRecord], Field(max_length=1000)] = Field(default_factory=list)

    @property
    def through(self) -> int | None:
        """Through-delay T = L + D in samples; None where one of them is not known."""
        return None if self.look_ahead is None or self.delay is None else self.look_ahead + self.delay

    @property
    def in_words(self) -> str:
        """The verdict with its reason."""
        causal = "causal within what was tried" if self.basis == "measured" else "causal"
        verdict = {"causal": causal, "not causal": "not causal", "none": "no verdict"}[self.verdict]
        return f"{verdict}: {self.reason}"


class LoadRecord(Document, extra="forbid"):
    """Real-time load of one piece of music: the time that blocks took, as a share of the time that they last.

    Attributes:
        blocks: how many there were; none is left out.
        cpu_p50, cpu_p99, cpu_worst: processor time of the system's process: what the system needs.
        cpu_late: blocks with a load over 1.
        wall_p50, wall_p99, wall_worst, wall_late: the same by the clock on the wall: what this machine gave.
        processor: its name.
    """

    blocks: Annotated[int, Field(ge=1, le=2**40)]
    cpu_p50: _Load
    cpu_p99: _Load
    cpu_worst: _Load
    cpu_late: Annotated[int, Field(ge=0, le=2**40)]
    wall_p50: _Load
    wall_p99: _Load
    wall_worst: _Load
    wall_late: Annotated[int, Field(ge=0, le=2**40)]
    processor: _Text = ""
