"""harness audit-causality"""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import Data, Json, PluginSources, ProtocolOption, Split, data_folder, evaluation_set
from harness.cli.running import InProcessOption, Isolate, Manner, Memory, Python, Timeout, loaded, opened
from harness.cli.work import ChainName, Options
from harness.errors import SystemFailure

if TYPE_CHECKING:
    from harness.causality.subject import Subject
    from harness.submission.causality import CausalityRecord
    from harness.submission.manifest import Manifest


SystemName = Annotated[
    str, typer.Option("--system", metavar="NAME", help="The system to audit (see: harness systems).")
]
ChainOption = Annotated[
    ChainName | None,
    typer.Option(
        "--chain",
        show_default="only the system",
        help="Audit a Separator with what follows it, up to the amplified signal at 44.1 kHz.",
    ),
]
Cuts = Annotated[
    int | None,
    typer.Option(
        "--cuts",
        metavar="N",
        min=1,
        max=200,
        show_default="16; of a streaming system 2",
        help="At how many places the future is changed; the first that shows too much look-ahead is the last.",
    ),
]
Seconds = Annotated[
    float,
    typer.Option("--seconds", metavar="S", min=1, max=120, help="Music to audit with, from the evaluation set."),
]

EXIT_CODES = {"causal": 0, "not causal": 1, "none": 3}
FAILED = 2
"""A system that fails has no verdict, nor is it refuted."""


def audit_causality(
    system: SystemName,
    option: Options = None,
    chain: ChainOption = None,
    cuts: Cuts = None,
    seconds: Seconds = 4.0,
    data: Data = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    plugin: PluginSources = None,
    python: Python = None,
    timeout: Timeout = None,
    memory: Memory = None,
    isolate: Isolate = False,
    in_process: InProcessOption = False,
    as_json: Json = False,
) -> None:
    """Measure how far into the future a system looks, and how late its output is.

    The music is changed from a random place on, and the first change in the output shows how far ahead of it the
    system looked. A change is a proof; that there was none is not, and a system that knows the music can hide it. The
    challenge allows 5 ms (220 samples).

    Exit code: 0 causal within what was tried, 1 not causal, 3 no verdict, 2 it could not start or failed.
    """
    from harness.causality.examining import calls_of, look_at
    from harness.causality.subject import music_of, subject_of

    manner = Manner(python, timeout, memory, isolate, in_process)
    folder = data_folder(data)
    hidden = [] if folder is None else [folder]
    try:
        with opened(system, option, plugin, manner, hidden) as found_system:
            found = evaluation_set(data, split, protocol=protocol)
            music = music_of(found, seconds)
            subject = subject_of(
                found_system.running, found_system.found, found, None if chain is None else chain.value
            )
            manifest = loaded(found_system, found, False)
            started = time.monotonic()
            with console.progress(f"Auditing {system}", calls_of(subject.found, cuts), "calls") as advance:
                record = look_at(subject, music, cuts=cuts, advance=advance)
            took = time.monotonic() - started
    except SystemFailure as error:
        # Its own exit code, 1, would say that the system is not causal.
        console.complain(str(error))
        raise typer.Exit(FAILED) from None
    if as_json:
        console.print_json(_as_json(record, manifest, subject, took))
    else:
        _show(record, manifest, subject, took)
    raise typer.Exit(EXIT_CODES[record.verdict])


def _milliseconds(samples: int | None) -> float | None:
    from harness.challenge import PROTOCOL

    return None if samples is None else 1e3 * samples / PROTOCOL.sample_rate


def _missed(record: "CausalityRecord") -> dict[float, float]:
    """What an audit that found nothing may have missed; {} where something refutes, or nothing was tried."""
    from harness.causality.audit import missed

    return missed(record.cuts) if record.verdict == "causal" and record.basis == "measured" else {}


def _as_json(record: "CausalityRecord", manifest: "Manifest", subject: "Subject", took: float) -> dict[str, Any]:
    return {
        "system": manifest.system,
        "version": manifest.version,
        "settings": dict(manifest.settings),
        "kind": manifest.kind,
        "class": manifest.class_,
        "chain": subject.chain,
        "basis": record.basis,
        "verdict": record.verdict,
        "reason": record.reason,
        "look_ahead_samples": record.look_ahead,
        "look_ahead_ms": _milliseconds(record.look_ahead),
        "delay_samples": record.delay,
        "delay_ms": _milliseconds(record.delay),
        "through_samples": record.through,
        "through_ms": _milliseconds(record.through),
        "whole_piece": record.whole_piece,
        "gain_db": record.gain_db,
        "sensitivity_db": record.sensitivity_db,
        "noise_db": record.noise_db,
        "levels": dict(record.levels),
        "cuts": record.cuts,
        "missed": {f"{share:g}": probability for share, probability in _missed(record).items()},
        "calls": subject.calls,
        "seconds": took,
        "evidence": [each.model_dump() for each in record.evidence],
    }


COLOURS = {"causal": "green", "not causal": "red", "none": "yellow"}


def _show(record: "CausalityRecord", manifest: "Manifest", subject: "Subject", took: float) -> None:
    from rich.table import Table

    what = "stems" if manifest.kind == "separator" else "remix"
    at = what if subject.chain is None else f"{subject.chain} chain, amplified"
    name = console.escape(f"{manifest.system} {manifest.version}")
    console.out.print(f"[bold]{name}[/bold] ({at}), declared {manifest.class_}")
    colour = COLOURS[record.verdict]
    console.out.print(f"[{colour}]{console.escape(record.in_words)}[/{colour}]", soft_wrap=True)
    table = Table("", "samples", "ms", "", box=None, pad_edge=False)
    table.columns[1].justify = table.columns[2].justify = "right"
    ahead = "the output uses music so far ahead"
    if record.whole_piece:
        table.add_row("look-ahead L", "all", "", ahead)
    elif record.look_ahead is not None:
        table.add_row("look-ahead L", str(record.look_ahead), f"{_milliseconds(record.look_ahead):.2f}", ahead)
    unknown = "the output does not resemble the music"
    late = "the output lags the music" if record.delay is not None else unknown
    for label, samples, meaning in (
        ("delay D", record.delay, late),
        ("through L + D", record.through, "a sound reaches the ear so late, with any computer"),
    ):
        if samples is not None or label == "delay D":
            shown = ("?", "?") if samples is None else (str(samples), f"{_milliseconds(samples):.2f}")
            table.add_row(label, *shown, meaning)
    console.out.print(table)
    if record.levels and record.basis == "measured":
        console.out.print(_levels(record))
    risks = _missed(record)
    if risks:
        listed = ", ".join(f"{share:.0%} of the music {probability:.2g}" for share, probability in risks.items())
        console.out.print(
            f"probability that {record.cuts} cuts missed a look-ahead that shows in {listed}", soft_wrap=True
        )
    noise = "none" if record.noise_db is None else f"{record.noise_db:.0f} dB"
    told = [f"{record.cuts} cut{'s' if record.cuts != 1 else ''}", f"{subject.calls} calls", f"{took:.1f} s"]
    console.say(
        f"{', '.join(told)}; noise: {noise}; what differs by less than {record.sensitivity_db:.0f} dB is not seen"
    )


def _levels(record: "CausalityRecord") -> Any:
    """The look-ahead at other thresholds, as a table."""
    from rich.table import Table

    table = Table("look-ahead", *(f"{level} dB" for level in record.levels), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("samples", *("?" if ahead is None else str(ahead) for ahead in record.levels.values()))
    return table
