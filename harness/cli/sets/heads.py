"""harness set head, listeners"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import Json, add_command, given
from harness.errors import UsageError
from harness.files import SAFE_NAME, expanded

if TYPE_CHECKING:
    from harness.sets.sofa import SofaHead

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that hold something else.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, head)
    add_command(app, listeners)


def head(
    file: Annotated[Path, typer.Argument(metavar="FILE.sofa", help="A head in a SOFA file (SimpleFreeFieldHRIR).")],
    angles: Annotated[
        str | None,
        typer.Option(
            "--angles",
            metavar="A,B",
            callback=given,
            help="Where loudspeakers stand, in degrees from straight ahead, negative to the left: --angles=-30,30.",
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="NAME", callback=given, show_default="the file's", help="Whose head it is."),
    ] = None,
    mic: Annotated[
        str, typer.Option("--mic", metavar="NAME", callback=given, help="Where the sound is taken up: ear, BTE_fr.")
    ] = "ear",
    output: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="ROOT", callback=given, help="Write to this evaluation set's audio/hrtf and metadata."
        ),
    ] = None,
    resample: Annotated[bool, typer.Option("--resample", help="Resample another rate to 44.1 kHz.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show the angles at which a head was measured; with --output, write it as the official recipe's files.

    Those are ROOT/audio/hrtf/MIC-SUBJECT-n30.0.wav for a loudspeaker 30 degrees to the left, MIC-SUBJECT-p30.0.wav for
    one to the right. All pairs of a left and a right angle are added to ROOT/metadata/head_loudspeaker_positions.json.
    """
    from harness.sets.sofa import read_head

    wanted = None if angles is None else _numbers(angles)
    if wanted is None and output is not None:
        raise UsageError("--output goes with --angles: say where the loudspeakers stand, such as --angles=-30,30")
    found = read_head(expanded(str(file), "FILE.sofa"))
    report = {
        "file": str(found.path),
        "about": found.about,
        "sample_rate": found.sample_rate,
        "taps": found.taps,
        "directions": found.directions,
        "angles": found.angles,
        "swapped": found.swapped,
    }
    if not as_json:
        _show_head(found)
    if wanted is not None:
        report |= _take(found, wanted, output, subject or _subject(found.path), mic, resample, overwrite, as_json)
    if as_json:
        console.print_json(report)


def _take(
    found: "SofaHead",
    angles: list[float],
    output: str | None,
    subject: str,
    mic: str,
    resample: bool,
    overwrite: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Read the wanted angles, write them if there is an --output, and say what came of it."""
    from harness.sets.headfiles import save_head
    from harness.sets.positions import records_of
    from harness.sets.sofa import read_response

    if output is None:
        for angle in angles:
            read_response(found, angle, resample)
        if not as_json:
            console.say("these angles can be taken; add --output ROOT to write them")
        return {}
    root = expanded(output, "--output").absolute()
    saved = save_head(found, angles, root, subject, mic, resample, overwrite)
    if not as_json:
        for path, new in saved.files.items():
            console.out.print(f"{'wrote' if new else 'unchanged:'} {path}", markup=False, soft_wrap=True)
        console.say(f"{len(saved.positions)} positions: {', '.join(saved.positions)}")
    return {
        "written": [str(path) for path, new in saved.files.items() if new],
        "unchanged": [str(path) for path, new in saved.files.items() if not new],
        "positions": records_of(saved.positions),
    }


def _numbers(angles: str) -> list[float]:
    try:
        return [float(part) for part in angles.split(",")]
    except ValueError:
        raise UsageError(f"--angles {angles!r}: expected numbers with commas between them, such as -30,30") from None


def _subject(path: Path) -> str:
    """The file's name, as far as it can be part of another file's."""
    name = "".join(c if SAFE_NAME.fullmatch(f"a{c}") else "_" for c in path.stem).strip("_.-")
    return name[:100] or "head"


def _show_head(found: "SofaHead") -> None:
    for key, value in found.about.items():
        console.out.print(f"{key}: {value}", markup=False, soft_wrap=True)
    console.out.print(
        f"{found.directions} directions, {found.taps} samples at {found.sample_rate:g} Hz"
        + ("; the right ear comes first, ears are put in order" if found.swapped else "")
    )
    front = [f"{angle:g}" for angle in found.angles if abs(angle) <= 90]
    console.out.print(
        f"angles in the horizontal plane, from -90 (left) to 90 (right): {', '.join(front) or 'none'}; "
        f"{len(found.angles) - len(front)} behind",
        soft_wrap=True,
    )


def listeners(
    named: Annotated[
        str,
        typer.Argument(
            metavar="FILE|clarity|bisgaard|N",
            help="A table of thresholds (.csv), a file in the official form (.json), the 83 Clarity listeners, the ten "
            "standard audiograms, or how many Clarity listeners to draw.",
        ),
    ],
    seed: Annotated[
        str, typer.Option("--seed", metavar="TEXT", callback=given, help="What N listeners are drawn from.")
    ] = "icassp2024",
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE.json", callback=given, help="Write them in the official form."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show listeners with their hearing loss; with --output, write them as an evaluation set's listeners.SPLIT.json.

    A table has the columns listener, ear, frequency and level, in Hz and dB HL, and a row for each threshold:
    L1,left,250,20. Each listener needs both ears at 250, 500, 1000, 2000, 4000 and 6000 Hz at least.
    """
    from harness.sets.listeners import load_listeners
    from harness.sets.writing import ensure_replaceable, write_metadata

    records = load_listeners(named, seed)
    if output is not None:
        path = expanded(output, "--output").absolute()
        if path.suffix.lower() != ".json":
            raise UsageError(f"--output {output}: expected a name that ends in .json")
        if not overwrite:
            ensure_replaceable(path, records)
        new = write_metadata(path, records)
    if as_json:
        console.print_json(records)
    else:
        _show_listeners(records)
    if output is not None:
        console.say(f"{'wrote' if new else 'unchanged:'} {path}")


def _show_listeners(records: dict[str, dict[str, Any]]) -> None:
    from rich.table import Column, Table

    from harness.hearing import grade_of
    from harness.sets.listeners import as_listeners

    titles = ("left", "right", "better ear")
    table = Table(
        "listener", *(Column(title, justify="right") for title in titles), "hearing loss", box=None, pad_edge=False
    )
    for who in as_listeners(records):
        averages = (who.left.pure_tone_average, who.right.pure_tone_average, who.better_ear_average)
        table.add_row(who.id, *(f"{average:.1f}" for average in averages), grade_of(who.better_ear_average))
    console.out.print(table)
    console.say(f"{len(records)} listeners; averages of 500, 1000, 2000 and 4000 Hz in dB HL, grades of the WHO (2021)")
