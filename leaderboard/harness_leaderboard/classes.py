"""Classes in words: what a run's class rests on, its look-ahead and delay, its load.

A class has a mark where it does not rest on a declaration alone; `legend` explains the marks below a board. Reasons and
names of processors come from strangers.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from harness_leaderboard.causality import SAMPLE_RATE
from harness_leaderboard.records import RunRecord

MARKS: Mapping[str, str] = {"declared": "", "measured": "†", "streamed": "‡"}
"""What stands behind a class, by what it rests on."""

NOT_KNOWN = "-"


def milliseconds(samples: int | None) -> str:
    """Samples as a time: "5.0 ms"; "-" where it is not known."""
    return NOT_KNOWN if samples is None else f"{1000 * samples / SAMPLE_RATE:.1f} ms"


def samples(count: int | None) -> str:
    """Samples with their time: "220 samples (5.0 ms)"; "-" where it is not known."""
    return NOT_KNOWN if count is None else f"{count:,} sample{'s' if count != 1 else ''} ({milliseconds(count)})"


def marked(run: RunRecord) -> str:
    """The class of a run with the mark of what it rests on: "causal†"."""
    return f"{run.class_}{MARKS[run.basis]}"


def basis(run: RunRecord) -> str:
    """What the class of a run rests on: "declared", "measured (16 cuts)", "streamed"."""
    if run.causality is None or run.basis != "measured":
        return run.basis
    return f"measured ({_cuts([run.causality.cuts])})"


def _cuts(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low} to {high} cuts" if low < high else f"{low} cut{'s' if low != 1 else ''}"


def look_ahead(run: RunRecord) -> str:
    """How far a run looks ahead: "5.0 ms", "whole piece"; "-" where it is not known."""
    found = run.causality
    if found is None:
        return NOT_KNOWN
    return "whole piece" if found.whole_piece else milliseconds(found.look_ahead)


def contradicts(run: RunRecord) -> bool:
    """Whether a run is in no causal class because it was found not to be causal."""
    return not run.causal and run.causality is not None and run.causality.verdict == "not causal"


def legend(runs: Sequence[RunRecord]) -> list[str]:
    """What the marks of these runs' classes mean, and on what their loads were measured; empty where nothing was."""
    marks = []
    measured = [run.causality.cuts for run in runs if run.causality is not None and run.basis == "measured"]
    if measured:
        marks.append(f"{MARKS['measured']} measured ({_cuts(measured)})")
    if any(run.basis == "streamed" for run in runs):
        marks.append(f"{MARKS['streamed']} streamed")
    if marks and any(run.basis == "declared" for run in runs):
        marks.append("no mark: only declared")
    lines = [f"class: {', '.join(marks)}"] if marks else []
    processors = dict.fromkeys(run.load.processor or "an unknown processor" for run in runs if run.load is not None)
    if processors:
        lines.append(
            f"load: 99 % of blocks take at most this share of their duration, on one core of {', '.join(processors)}"
        )
    return lines


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """All that is known of a run's class, names with values in words."""
    found = run.causality
    lines = [("class", f"{run.class_}, {basis(run)}"), ("chain", run.chain)]
    if found is not None:
        lines += [
            ("verdict", f"{'no verdict' if found.verdict == 'none' else found.verdict}: {found.reason}"),
            ("look-ahead", "whole piece" if found.whole_piece else samples(found.look_ahead)),
            ("delay", samples(found.delay)),
            ("through-delay", samples(found.through)),
            ("cuts", str(found.cuts)),
        ]
    load = run.load
    if load is not None:
        lines += [
            ("blocks", f"{load.blocks:,} of {samples(load.block)}"),
            ("load, processor time", _load(load.cpu_p50, load.cpu_p99, load.cpu_worst, load.cpu_late)),
            ("load, wall clock", _load(load.wall_p50, load.wall_p99, load.wall_worst, load.wall_late)),
            ("processor", load.processor or "not known"),
        ]
    return lines


def _load(p50: float, p99: float, worst: float, late: int) -> str:
    return f"p50 {p50:.2f}, p99 {p99:.2f}, worst {worst:.2f}, {late:,} late"


def levels(run: RunRecord) -> list[tuple[str, str]]:
    """The look-ahead at each threshold, in words: ("-40 dB", "70 samples (1.6 ms)"); empty where it is not known."""
    found = {} if run.causality is None else run.causality.levels
    return [(f"{level} dB", "none seen" if count is None else samples(count)) for level, count in found.items()]


def declared_before(old: Mapping[str, Any], run: RunRecord, without: Collection[str] = ()) -> str:
    """What a run declared before and does not declare now, on one line: "causal True, parameters 5".

    Args:
        old: what it declared, as JSON values; it may lack what could not be declared then.
        run: what it declares now.
        without: fields that are left out.
    """
    now = run.as_json()
    return ", ".join(
        f"{name} {_briefly(name, value)}"
        for name, value in old.items()
        if name in now and now[name] != value and name not in without
    )


def _briefly(name: str, value: Any) -> str:
    """A declared value; of a verdict or a load only what matters most."""
    keys = {"causality": ("basis", "verdict"), "load": ("cpu_p99",)}.get(name, ())
    return " ".join(str(value.get(key)) for key in keys) if keys and isinstance(value, dict) else repr(value)
