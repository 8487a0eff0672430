"""Which class a run is in: live, causal or non-causal; and what that rests on.

What a submission says of itself is a declaration. A verdict counts only where this harness ran the system and looked
for itself, in the same command. It may only be held against who declares it: a manifest that says of itself that it
is not causal is believed.
"""

from dataclasses import replace
from statistics import median

from harness.chain import NALR_DELAY
from harness.submission.causality import CausalityRecord
from harness.submission.manifest import Manifest
from harness.systems.streaming import ALLOWED
from harness_leaderboard.records import Causality, Load, RunRecord

MAX_THROUGH = 441
"""Samples at 44.1 kHz that a sound may take through the whole chain of a live run: 10 ms, within which a hearing aid's
output should follow its input (T. Cox, "Causality and latency", Clarity project's blog, 2021)."""


def causality_of(manifest: Manifest) -> Causality | None:
    """The verdict in a manifest, as the leaderboard keeps it: up to the amplified signal; None where there is none."""
    found = manifest.causality
    if found is None:
        return None
    # What an Enhancer returns is amplified already.
    chain = 0 if manifest.kind == "enhancer" else NALR_DELAY
    reason = found.reason
    if found.verdict == "not causal" and manifest.class_ == "causal":
        reason = f"declared causal, but {reason}"
    told = ("basis", "verdict", "reason", "look_ahead", "whole_piece", "delay", "cuts")
    return Causality(
        basis=found.basis,
        verdict=found.verdict,
        reason=reason,
        look_ahead=found.look_ahead,
        whole_piece=found.whole_piece,
        delay=None if found.delay is None else found.delay + chain,
        through=None if found.through is None else found.through + chain,
        cuts=found.cuts,
        evidence=found.model_dump(mode="json", exclude=set(told)),
    )


def load_of(manifest: Manifest) -> Load | None:
    """The real-time load of a run over all its pieces of music; None where nothing was streamed.

    Of the pieces' quantiles, those of the run are the median of their p50 and the largest of their p99.
    """
    loads = list(manifest.loads.values())
    if not loads or manifest.streaming is None:
        return None
    return Load(
        block=manifest.streaming.block,
        blocks=sum(load.blocks for load in loads),
        cpu_p50=median(load.cpu_p50 for load in loads),
        cpu_p99=max(load.cpu_p99 for load in loads),
        cpu_worst=max(load.cpu_worst for load in loads),
        cpu_late=sum(load.cpu_late for load in loads),
        wall_p50=median(load.wall_p50 for load in loads),
        wall_p99=max(load.wall_p99 for load in loads),
        wall_worst=max(load.wall_worst for load in loads),
        wall_late=sum(load.wall_late for load in loads),
        processor=", ".join(dict.fromkeys(load.processor for load in loads if load.processor)),
    )


def classified(record: RunRecord, manifest: Manifest, causality: Causality | None) -> RunRecord:
    """A run with its class.

    Args:
        record: what it declares.
        manifest: the same, of its submission.
        causality: the verdict that counts, or None to go by the declaration; of a verdict that the manifest brings
            along, that the system is not causal counts in any case.
    """
    said = manifest.causality
    refuted = (causality is not None and causality.verdict == "not causal") or _refutes(said)
    if causality is None and _refutes(said):
        causality = causality_of(manifest)
    causal = manifest.class_ == "causal" and not refuted
    return replace(record, causal=causal, live=causal and _is_live(manifest, causality), causality=causality)


def _refutes(said: CausalityRecord | None) -> bool:
    return said is not None and said.verdict == "not causal"


def _is_live(manifest: Manifest, causality: Causality | None) -> bool:
    """Whether the whole chain was streamed, and is within the limits of look-ahead and through-delay."""
    if causality is None or causality.basis != "streamed" or causality.verdict != "causal":
        return False
    whole = manifest.kind == "enhancer" or manifest.chain == "live"
    ahead, through = causality.look_ahead, causality.through
    return whole and ahead is not None and ahead <= ALLOWED and through is not None and through <= MAX_THROUGH
