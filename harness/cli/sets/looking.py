"""harness set check, show, reference"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import (
    Json,
    ProtocolOption,
    Split,
    Workers,
    add_command,
    evaluation_set,
    output_folder,
    workers_or_default,
)
from harness.cli.verdicts import on_a_line, print_line
from harness.errors import UsageError
from harness.files import expanded

if TYPE_CHECKING:
    from harness.music.evaluationset import EvaluationSet
    from harness.sets.checking.findings import Finding
    from harness.sets.checking.whole import Checked

SHOWN = 40
"""Lines of problems, and of remarks, that are printed; --json has all."""
EXAMPLES = 3
"""Places that are named of those with the same problem."""
_VARYING = re.compile(r'"[^"]*"|\d[\d.,]*')

Root = Annotated[str, typer.Argument(metavar="ROOT", help="The evaluation set's folder.")]
Named = Annotated[str, typer.Argument(metavar="ROOT|demo", help="The evaluation set: its folder, or an embedded one.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (check, show, reference):
        add_command(app, command)


def check(
    root: Root,
    split: Split = None,
    protocol: ProtocolOption = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Find everything that is wrong with an evaluation set: metadata, names, music.

    Problems must be fixed before the set can be used or trusted; remarks only point out what is unusual. All music is
    read.

    Exit code: 0 no problem, 1 there are some, 2 there is no such set.
    """
    from harness.challenge import PROTOCOLS
    from harness.music.finding import EMBEDDED
    from harness.sets.checking.whole import check_set

    if root in EMBEDDED and not Path(root).exists():
        raise UsageError(f"{root} is embedded: its hashes are checked whenever it is used. Name the folder of a set")

    def progress(folders: int) -> AbstractContextManager[console.Advance]:
        return console.progress("reading music", folders, "folders", workers_or_default(workers))

    by = None if protocol is None else PROTOCOLS[protocol.value]
    checked = check_set(expanded(root, "ROOT"), split, by, workers_or_default(workers), progress)
    if as_json:
        console.print_json(_as_json(root, checked))
    else:
        _show(checked)
    raise typer.Exit(1 if checked.findings.problems else 0)


def show(
    root: Named,
    split: Split = None,
    protocol: ProtocolOption = None,
    levels: Annotated[bool, typer.Option("--levels", help="Measure the loudness of the mixtures too.")] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Show what an evaluation set holds: counts, length, hearing, gains, positions, and what it was made from."""
    from dataclasses import asdict

    from harness.cli.sets import tables
    from harness.music.finding import EMBEDDED
    from harness.sets.provenance import read_provenance
    from harness.sets.showing import mixture_loudness, summary

    def progress(pieces: int) -> AbstractContextManager[console.Advance]:
        return console.progress("measuring mixtures", pieces, "pieces", workers_or_default(workers))

    loaded = evaluation_set(root, split, protocol=protocol)
    found = summary(loaded)
    loudness = mixture_loudness(loaded, workers_or_default(workers), progress) if levels else None
    provenance = {} if root in EMBEDDED else read_provenance(expanded(root, "ROOT"), loaded.split)
    if not as_json:
        tables.show_summary(found, loudness, provenance)
        return
    measured = None if loudness is None else {"lufs": loudness[0] and asdict(loudness[0]), "without": loudness[1]}
    gains = {stem: {f"{gain:g}": n for gain, n in of.items()} for stem, of in (found.gains or {}).items()}
    console.print_json({**asdict(found), "gains": gains or None, "loudness": measured, "provenance": provenance})


def reference(
    root: Named,
    scene: Annotated[str, typer.Option("--scene", metavar="NAME", help="The scene; a song where there are none.")],
    listener: Annotated[str, typer.Option("--listener", metavar="NAME", help="One of its listeners.")],
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE.wav|DIR", help="Where to write it; a folder for stems.")
    ] = None,
    split: Split = None,
    protocol: ProtocolOption = None,
    as_json: Json = False,
) -> None:
    """Write what a system's output is compared with for a scene and a listener, to listen to.

    Of the ICASSP 2024 challenge: the remix of the true stems with the gains asked for, through NAL-R, at 44.1 kHz. Of
    the first challenge: a folder with the four true stems, as HAAQI amplifies and compares them, at 24 kHz.

    The level is that of the music unless it would exceed full scale; then it is lowered, and said by how much.
    """
    from harness.sets.reference import reference_of, write_reference

    loaded = evaluation_set(root, split, protocol=protocol)
    found = next((pair for pair in loaded.pairs if pair.id == (scene, listener)), None)
    if found is None:
        raise UsageError(_no_pair(loaded, scene, listener))
    made = reference_of(found)
    name = f"reference_{scene}_{listener}{'.wav' if len(made.signals) == 1 else ''}"
    written = write_reference(made, output_folder(output, Path(name)))
    if as_json:
        console.print_json({"files": [str(path) for path in written], "rate": made.rate, "gain_db": made.gain_db})
        return
    for silent in made.silent:
        console.warn(f"{silent}: silent, so it cannot be scored")
    for path in written:
        print_line(on_a_line(str(path)))
    level = f"lowered by {-made.gain_db:.1f} dB, to fit" if made.gain_db else "level kept"
    print_line(f"24 bit, {made.rate / 1000:g} kHz, {level}; amplified by NAL-R for {on_a_line(listener)}")


def _no_pair(loaded: "EvaluationSet", scene: str, listener: str) -> str:
    """Why there is no such pair, and which there are."""
    of = next((each for each in loaded.scenes if each.id == scene), None)
    if of is None:
        some = ", ".join(each.id for each in loaded.scenes[:3])
        return f"--scene {scene}: none of that name in {loaded.name}; it has {some}" + ", ..." * (
            len(loaded.scenes) > 3
        )
    return f"--listener {listener}: does not listen to {scene}; {', '.join(who.id for who in of.listeners[:20])} do"


def _as_json(root: str, checked: "Checked") -> dict[str, Any]:
    def listed(findings: "Sequence[Finding]") -> list[dict[str, str]]:
        return [
            {"file": each.file, "entry": each.entry, "message": each.message}
            | ({"example": each.example} if each.example else {})
            for each in findings
        ]

    return {
        "root": root,
        "splits": [{"split": split, "protocol": protocol.name} for split, protocol in checked.splits.items()],
        "problems": listed(checked.findings.problems),
        "remarks": listed(checked.findings.remarks),
        "left_off": dict(checked.findings.left_off),
    }


def _show(checked: "Checked") -> None:
    findings = checked.findings
    for word, colour, found in (("problem", "red", findings.problems), ("remark", "yellow", findings.remarks)):
        groups: dict[tuple[str, str], list[Finding]] = {}
        for each in found:
            # Of music, what several files have in common is one line; of metadata, what several entries have.
            file = "" if each.file.startswith("audio/") and not each.entry else each.file
            groups.setdefault((file, _VARYING.sub("#", each.message)), []).append(each)
        explained = set()
        for number, group in enumerate(groups.values()):
            if number == SHOWN:
                print_line(f"{len(groups) - SHOWN:,} more kinds of {word}s (--json has them)")
                break
            print_line(f"[{colour}]{word}[/{colour}]: {_line(group)}")
            if group[0].example and group[0].file not in explained:
                explained.add(group[0].file)
                print_line(f"  a right entry: {on_a_line(group[0].example)}")
    for file, count in findings.left_off.items():
        print_line(f"{on_a_line(file)}: {count:,} more findings were left off")
    splits = ", ".join(f"{split} ({protocol.title})" for split, protocol in checked.splits.items()) or "no split"
    counts = _count(len(findings.problems), "problem"), _count(len(findings.remarks), "remark")
    print_line(f"{on_a_line(splits)}: {counts[0]}, {counts[1]}")


def _line(group: "Sequence[Finding]") -> str:
    first = group[0]
    where = ": ".join(filter(None, (first.file, first.entry)))
    line = f"{where}: {first.message}"
    if len(group) > 1:
        others = [each.entry or each.file for each in group[1 : EXAMPLES + 1]]
        more = ", ..." if len(group) > EXAMPLES + 1 else ""
        line += f"; the same in {_count(len(group) - 1, 'other place')}: {', '.join(others)}{more}"
    return on_a_line(line)


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}" if count < 1000 else f"{count:,} {what}s"
