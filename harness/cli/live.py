"""harness live"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.challenge import PROTOCOL, STEMS
from harness.cli.common import Data, Json, PluginSources, Split, evaluation_set, given
from harness.cli.running import InProcessOption, Isolate, Manner, Memory, Opened, Python, Timeout, opened
from harness.cli.work import Options, SystemName
from harness.errors import HarnessError, SystemFailure, UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from harness.enhancement import Signal
    from harness.hearing import Listener
    from harness.live.device import Device
    from harness.live.exchange import Exchange
    from harness.live.playing import Played
    from harness.live.session import Session

MAX_GAIN_DB = 20.0
"""Of a stem, to either side: twice the challenge's largest."""

File = Annotated[
    str | None,
    typer.Argument(metavar="[FILE]", help="Music to play: WAV, FLAC, OGG, MP3 and more; mono or stereo, any rate."),
]
DeviceName = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        callback=given,
        show_default="the default one, to play FILE",
        help="Sound device, by a part of its name. Without FILE it records, too: microphone in, headphones out.",
    ),
]
OutputFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="FILE",
        callback=given,
        help="Write a WAV or FLAC file (44.1 kHz, 24 bit) instead of playing; needs no sound device.",
    ),
]
GainOption = Annotated[
    list[str] | None,
    typer.Option("--gain", metavar="STEM=DB", help="Gain of a stem in dB, -20 to 20. May be repeated; others have 0."),
]
ListenerId = Annotated[
    str | None,
    typer.Option(
        "--listener",
        metavar="ID",
        callback=given,
        show_default="normal hearing, no amplification",
        help="Amplify for this listener of the evaluation set.",
    ),
]


def live(
    system: SystemName,
    file: File = None,
    device: DeviceName = None,
    output: OutputFile = None,
    gain: GainOption = None,
    listener: ListenerId = None,
    option: Options = None,
    data: Data = None,
    split: Split = None,
    plugin: PluginSources = None,
    python: Python = None,
    timeout: Timeout = None,
    memory: Memory = None,
    isolate: Isolate = False,
    in_process: InProcessOption = False,
    as_json: Json = False,
) -> None:
    """Hear a streaming system: play a file, or what a sound device records, through it and the live chain.

    With --listener, 0 dB FS stands for 100 dB SPL, as in submissions; what is beyond full scale is clipped.

    Ctrl-C ends playing. Exit code: 0 it was played or written, 1 the system or the sound device failed, 2 it could not
    start.
    """
    from harness.live.files import check_writable, read_music

    if file is None and device is None:
        raise UsageError("name the music: a FILE, or a --device to listen to")
    if output is not None and (file is None or device is not None):
        raise UsageError("--output goes with a FILE, and without --device")
    gains = _gains(gain or [])
    if listener is None and (data is not None or split is not None):
        raise UsageError("--data and --split go with --listener")
    who = None if listener is None else _listener(listener, data, split)
    target = None if output is None else expanded(output, "--output").absolute()
    if target is not None:
        check_writable(target)
    source = None if file is None else expanded(file, "FILE")
    music = None if source is None else read_music(source)
    card = None if target is not None else _device(device, captures=music is None)
    manner = Manner(python, timeout, memory, isolate, in_process)
    hidden = [] if source is None else [source.absolute()]
    with opened(system, option, plugin, manner, hidden) as found, _session(found, plugin, gains, who) as session:
        about: dict[str, Any] = {
            "system": found.found.name,
            "version": found.found.version,
            "input": file,
            "output": output,
            "device": None if card is None else card.name,
            "listener": listener,
            "gains": gains,
        }
        if target is not None and music is not None:
            about |= _write(session, found.found.name, music, target)
        elif card is not None:
            about |= _play(session, found.found.name, music, card, amplified=who is not None)
        about |= _outcome(session, about["samples"])
    if as_json:
        console.print_json(about)
    else:
        _show(about)


# What the command is made of


def _gains(pairs: list[str]) -> dict[str, float]:
    """The gain of each stem in dB, as --gain says.

    Raises:
        UsageError: no stem, no number, out of range, or given twice.
    """
    gains: dict[str, float] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or name not in STEMS:
            raise UsageError(f"--gain {pair}: expected STEM=DB, a stem being one of {', '.join(STEMS)}")
        if name in gains:
            raise UsageError(f"--gain {name} is given twice")
        try:
            gains[name] = float(text)
        except ValueError:
            raise UsageError(f"--gain {pair}: {text!r} is no number of dB") from None
        if not -MAX_GAIN_DB <= gains[name] <= MAX_GAIN_DB:
            raise UsageError(f"--gain {pair}: expected {-MAX_GAIN_DB:g} to {MAX_GAIN_DB:g} dB")
    return {name: gains.get(name, 0.0) for name in STEMS}


def _listener(name: str, data: str | None, split: str | None) -> "Listener":
    known = {who.id: who for scene in evaluation_set(data, split).whole for who in scene.listeners}
    if name not in known:
        some = ", ".join(sorted(known)[:5]) + (", ..." if len(known) > 5 else "")
        raise UsageError(f"no listener {name} in the evaluation set (it has {some})")
    return known[name]


def _device(name: str | None, captures: bool) -> "Device":
    from harness.live.device import find_device

    return find_device(name, captures)


@contextmanager
def _session(
    found: Opened, plugins: list[str] | None, gains: dict[str, float], listener: "Listener | None"
) -> Iterator["Session"]:
    """A loaded system with what follows it, warmed up."""
    from harness.apart.naming import named
    from harness.live.session import Session

    name, kind = found.found.name, found.found.kind
    if not found.found.streaming:
        raise UsageError(_not_streaming(name, plugins))
    if kind == "enhancer" and listener is None:
        raise UsageError(f"system {name} amplifies for a listener: name one with --listener")
    console.say(f"setting up {name} {found.found.version} ...")
    named(found.running.load, name, "set up")
    # A separator hears nothing of the listener: what is for them comes after it.
    arguments = (listener, gains) if kind == "enhancer" else ()
    with _failures(name), found.running.open_stream(*arguments) as stream:
        yield Session(stream, kind, gains, listener)


def _not_streaming(name: str, plugins: list[str] | None) -> str:
    from harness.cli.systems import listed

    known = [each["name"] for each in listed(plugins)[1] if each["streaming"]]
    instead = (
        f"streaming systems are: {', '.join(known)}"
        if known
        else "derive one from harness.systems.StreamingSeparator, which gets a block at a time "
        "(docs/how-to/live-systems.md)"
    )
    return f"system {name} needs the whole piece before it returns a sample, and cannot be heard live; {instead}"


@contextmanager
def _failures(name: str) -> Iterator[None]:
    """What a system raises in our own process is its failure; what the harness itself has to say stays as it is."""
    from harness.making.driving import ANYTHING, reason_for

    try:
        yield
    except HarnessError as error:
        if isinstance(error, SystemFailure):
            raise SystemFailure(reason_for(name, error)) from error
        raise
    except ANYTHING as error:
        raise SystemFailure(reason_for(name, error)) from error


def _write(session: "Session", name: str, music: "Signal", target: Path) -> dict[str, Any]:
    from harness.live.files import write_music
    from harness.live.playing import process_all

    seconds = -(-len(music) // PROTOCOL.sample_rate)
    done = 0
    with console.progress(f"Streaming through {name}", seconds, "s of music") as advance:

        def count(samples: int) -> None:
            nonlocal done
            before, done = done, done + samples
            whole = min(done // PROTOCOL.sample_rate, seconds) - min(before // PROTOCOL.sample_rate, seconds)
            if whole:
                advance(whole, "")

        made = process_all(session, music, count)
    write_music(target, made)
    return {"samples": len(music)}


def _play(session: "Session", name: str, music: "Signal | None", card: "Device", amplified: bool) -> dict[str, Any]:
    from harness.live.playing import play

    if amplified:
        console.warn("this is amplified for a hearing loss: turn the volume down before you put headphones on")
    console.say(f"{'listening to' if music is None else 'playing on'} {card.name} through {name}; Ctrl-C ends")
    with _status(session, music) as show:
        played: Played = play(session, card, music, show)
    return {
        "samples": played.samples,
        "xruns": played.xruns,
        "device_adds_ms": round(1000 * played.added_seconds, 3),
        "interrupted": played.interrupted,
    }


@contextmanager
def _status(session: "Session", music: "Signal | None") -> Iterator[Callable[["Exchange"], None]]:
    """Shows the load while the music plays: a line that changes on a terminal, one now and then elsewhere."""
    started = monotonic()
    total = None if music is None else len(music) / PROTOCOL.sample_rate

    def text(exchange: "Exchange") -> str:
        return status_line(session, exchange.xruns, monotonic() - started, total)

    if console.err.is_terminal:
        from rich.live import Live
        from rich.text import Text

        with Live(console=console.err, auto_refresh=False, transient=True) as line:
            yield lambda exchange: line.update(Text(text(exchange), no_wrap=True), refresh=True)
        return
    last = started

    def say(exchange: "Exchange") -> None:
        nonlocal last
        if monotonic() - last >= console.LINE_SECONDS:
            last = monotonic()
            console.say(text(exchange))

    yield say


def status_line(session: "Session", xruns: int, spent: float, total: float | None) -> str:
    """How a session does, on one line of a terminal: load of the last seconds, the rest since the start.

    Args:
        session: that has processed a block.
        xruns: so far.
        spent: seconds since it began.
        total: seconds of the music, or None.
    """
    from harness.live.session import LATELY_SECONDS

    load = session.load(LATELY_SECONDS)
    assert load is not None
    of = "" if total is None else f" of {total:.0f}"
    return (
        f"{spent:.1f}{of} s: load p50 {load.wall_p50:.2f}, p99 {load.wall_p99:.2f} (CPU {load.cpu_p99:.2f}), "
        f"late {session.late}, xruns {xruns}, clipped {session.clipped}"
    )


def _outcome(session: "Session", samples: int) -> dict[str, Any]:
    """What a session did, by the keys of --json."""
    load = session.load()
    return {
        "sample_rate": PROTOCOL.sample_rate,
        "seconds": samples / PROTOCOL.sample_rate,
        "block": session.block,
        "latency": session.latency,
        "nalr_delay": session.lag - session.latency,
        "through_delay": session.through,
        "through_delay_ms": 1000 * session.through / PROTOCOL.sample_rate,
        "load": None if load is None else load.model_dump(),
        "clipped": session.clipped,
    }


def _show(about: dict[str, Any]) -> None:
    where = about["output"] or about["device"]
    seconds, samples = about["seconds"], about["samples"]
    lines = [f"{console.escape(str(where))}: {seconds:.2f} s through {console.escape(about['system'])}"]
    rate = about["sample_rate"] / 1000
    nalr = ", NAL-R's 2.5 ms included" if about["nalr_delay"] else ""
    lines.append(
        f"  block {about['block']} samples ({about['block'] / rate:.2f} ms), latency {about['latency']}; "
        f"through-delay {about['through_delay']} samples ({about['through_delay_ms']:.2f} ms{nalr})"
    )
    if "device_adds_ms" in about:
        lines.append(f"  the sound device adds {about['device_adds_ms']:.0f} ms; xruns {about['xruns']}")
    load = about["load"]
    if load is not None:
        for clock, words in (("cpu", "by processor time"), ("wall", "by the clock on the wall")):
            p50, p99, worst, late = (load[f"{clock}_{each}"] for each in ("p50", "p99", "worst", "late"))
            late = f"{late} of {load['blocks']} blocks late"
            lines.append(f"  load {words}: p50 {p50:.2f}, p99 {p99:.2f}, worst {worst:.2f}; {late}")
    share = 100 * about["clipped"] / max(1, 2 * samples)
    lines.append(f"  clipped: {share:.2g} % of all samples" if about["clipped"] else "  clipped: none")
    console.out.print("\n".join(lines), soft_wrap=True)
