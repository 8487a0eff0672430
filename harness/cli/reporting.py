"""harness report"""

import shlex
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness import console
from harness.cli.common import (
    DEFAULT_DATABASE,
    Database,
    Json,
    ProtocolOption,
    Split,
    Workers,
    data_option,
    given,
    named_set,
    output_folder,
    workers_or_default,
)


class Figures(StrEnum):
    """Form of the figures for a paper."""

    svg = "svg"
    pdf = "pdf"
    png = "png"


MOST_PAIRS = 1000
"""A pair with sound takes a megabyte and more."""


def report(
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="DIR", callback=given, show_default="report", help="Where the pages go."),
    ] = None,
    data: Annotated[
        str | None, data_option("all boards", "Only this evaluation set, with its listeners, gains and music.")
    ] = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    audio: Annotated[
        int | None,
        typer.Option(
            "--audio",
            metavar="N",
            min=0,
            max=MOST_PAIRS,
            show_default="4 of the embedded set, else 0",
            help="Publish the sound of N pairs: only if you may publish the music.",
        ),
    ] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Sound as FLAC, not MP3.")] = False,
    figures: Annotated[
        Figures | None, typer.Option("--figures", help="Also write the charts for a paper, into figures/.")
    ] = None,
    workers: Workers = None,
    db: Database = DEFAULT_DATABASE,
    as_json: Json = False,
) -> None:
    """Write the leaderboard as pages to look at and listen to.

    The pages open from disk, and can be put on any web host as they are: nothing on them is fetched from elsewhere. A
    report that is there already is replaced.

    Listeners, gains and sound are those of the evaluation set that --data names; the embedded one is recognised. Sound
    is opt-in for every other set: not all music may be published (MUSDB18 may not).
    """
    from harness.errors import UsageError
    from harness.report.boards import materials
    from harness.report.placing import ensure_ours
    from harness.report.site import Wishes, write_report
    from harness_leaderboard.store import Store

    folder = output_folder(output, Path("report"))
    ensure_ours(folder)
    chosen = named_set(data, split, protocol)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(db, create=False))
        found = materials(store, chosen)
        if audio and all(material.view.evaluation_set is None for material in found):
            raise UsageError("--audio needs the music: name the evaluation set with --data ROOT")
        bar: list[console.Advance] = []
        processes = workers_or_default(workers)
        wishes = Wishes(
            command=shlex.join(["harness", *sys.argv[1:]]),
            audio=audio,
            lossless=lossless,
            figures=None if figures is None else figures.value,
            workers=processes,
        )
        written = write_report(
            found,
            folder,
            wishes,
            started=lambda total: bar.append(
                stack.enter_context(console.progress("Making sound", total, "pairs", processes))
            ),
            advance=lambda count, what: bar[-1](count, what),
        )
    for (scene, listener), reason in written.silent.items():
        console.warn(f"{scene} {listener}: {reason}")
    if as_json:
        console.print_json(
            {
                "index": str(written.index),
                "pages": written.pages,
                "pairs_with_sound": written.sound,
                "bytes": written.bytes[0],
                "bytes_of_sound": written.bytes[1],
            }
        )
        return
    sound = f", {written.sound} pairs with sound" if written.sound else ""
    console.say(f"{written.pages} pages{sound}, {written.bytes[0] / 1e6:.1f} MB: open {written.index}")
