"""harness set check, show, reference"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import console
from harness.cli.common import Json, Split, Workers, add_command, workers_or_default
from harness.errors import UsageError, printable
from harness.files import expanded

if TYPE_CHECKING:
    from harness.challenge import Protocol
    from harness.sets.checking.findings import Finding
    from harness.sets.checking.whole import Checked

SHOWN = 40
"""Lines of problems, and of remarks, that are printed; --json has all."""
EXAMPLES = 3
"""Places that are named of those with the same problem."""
_VARYING = re.compile(r'"[^"]*"|\d[\d.,]*')

ProtocolName = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME", help="Protocol, where the metadata allows several."),
]
Root = Annotated[str, typer.Argument(metavar="ROOT", help="The evaluation set's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (check,):
        add_command(app, command)


def check(
    root: Root,
    split: Split = None,
    protocol: ProtocolName = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Find everything that is wrong with an evaluation set: metadata, names, music.

    Problems must be put right before the set can be used or trusted; remarks say what is unusual. All music is read.

    Exit code: 0 no problem, 1 there are some, 2 there is no such set.
    """
    from harness.sets.checking.whole import check_set

    def progress(folders: int) -> AbstractContextManager[console.Advance]:
        return console.progress("reading music", folders, "folders", workers_or_default(workers))

    by = None if protocol is None else _protocol(protocol)
    checked = check_set(expanded(root, "ROOT"), split, by, workers_or_default(workers), progress)
    if as_json:
        console.print_json(_as_json(root, checked))
    else:
        _show(checked)
    raise typer.Exit(1 if checked.findings.problems else 0)


def _protocol(name: str) -> "Protocol":
    from harness.challenge import PROTOCOLS

    if name not in PROTOCOLS:
        raise UsageError(f"--protocol {printable(name)}: none of that name; there are {' and '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


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
                _print(f"{len(groups) - SHOWN:,} more kinds of {word}s (--json has them)")
                break
            _print(f"[{colour}]{word}[/{colour}]: {_line(group)}")
            if group[0].example and group[0].file not in explained:
                explained.add(group[0].file)
                _print(f"  a right entry: {_plain(group[0].example)}")
    for file, count in findings.left_off.items():
        _print(f"{_plain(file)}: {count:,} more findings were left off")
    splits = ", ".join(f"{split} ({protocol.title})" for split, protocol in checked.splits.items()) or "no split"
    counts = _count(len(findings.problems), "problem"), _count(len(findings.remarks), "remark")
    _print(f"{_plain(splits)}: {counts[0]}, {counts[1]}")


def _line(group: "Sequence[Finding]") -> str:
    first = group[0]
    where = ": ".join(filter(None, (first.file, first.entry)))
    line = f"{where}: {first.message}"
    if len(group) > 1:
        others = [each.entry or each.file for each in group[1 : EXAMPLES + 1]]
        more = ", ..." if len(group) > EXAMPLES + 1 else ""
        line += f" -- the same in {_count(len(group) - 1, 'other place')}: {', '.join(others)}{more}"
    return _plain(line)


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}" if count < 1000 else f"{count:,} {what}s"


def _plain(text: str) -> str:
    return console.escape(printable(text))


def _print(line: str) -> None:
    console.out.print(line, soft_wrap=True)
