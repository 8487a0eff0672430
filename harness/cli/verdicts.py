"""How the judgement of submissions is shown: to people on the console, to programs as JSON."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness import console
from harness.errors import printable

if TYPE_CHECKING:
    from harness.submission.twins import Twins
    from harness.submission.validation import Problem, Verdict

SHOWN = 10
"""Lines of one kind that are printed one by one; --json has all of them."""
EXAMPLES = 3
"""Files that are named of those with the same problem."""
_NUMBER = re.compile(r"\b[0-9a-f]{12,}\b|\d[\d.,]*")


def in_groups(problems: "Sequence[Problem]") -> list[str]:
    """Problems as lines, one for all files that have the same but for numbers and hashes, the first ones first."""
    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[_NUMBER.sub("#", problem.message)].append(problem)
    return [_group_as_line(group) for group in groups.values()]


def _group_as_line(group: "Sequence[Problem]") -> str:
    first = group[0]
    if len(group) == 1:
        return f"{first.file}: {first.message}" if first.file else first.message
    examples = [problem.file for problem in group[:EXAMPLES]]
    if any(problem.message != first.message for problem in group):
        return f"{first.file} {first.message}; the like: {len(group) - 1:,} more, e.g. {', '.join(examples[1:])}"
    such = ", e.g. " if len(group) > EXAMPLES else ": "
    return f"{first.message}: {len(group):,} files{such}{', '.join(examples)}"


def complain(verdict: "Verdict") -> None:
    """Warn of what is wrong with a submission, without stopping."""
    lines = in_groups(verdict.problems)
    for line in lines[:SHOWN]:
        console.warn(printable(f"{verdict.source}: {line}"))
    if len(lines) > SHOWN:
        console.warn(f"{verdict.source}: {len(lines) - SHOWN} more kinds of problems (harness validate)")


def show_verdict(verdict: "Verdict") -> None:
    """Print the judgement of a submission; the same problem of many files is one line."""
    source = on_a_line(str(verdict.source))
    if verdict.not_judged:
        print_line(f"{source}: [yellow]not judged[/yellow]: {on_a_line(verdict.not_judged)}")
    elif verdict.valid:
        remixes, files = _remixes(verdict), len(verdict.hashes)
        counted = f"{files:,} files" if files > remixes else f"{remixes:,} remixes"
        print_line(f"{source}: [green]valid[/green], {counted}")
        if verdict.why_not_ranked:
            print_line(f"  cannot be ranked: {console.escape(verdict.why_not_ranked)}")
    else:
        count = len(verdict.problems)
        print_line(f"{source}: [red]not valid[/red], {count:,} problem{'s' * (count != 1)}")
        for line in in_groups(verdict.problems):
            print_line(f"  {on_a_line(line)}")


def _remixes(verdict: "Verdict") -> int:
    return sum(name.endswith("_remix.flac") for name in verdict.hashes)


def on_a_line(text: str) -> str:
    """Text as rich may print it; a name with a line end in it makes no line of its own."""
    return console.escape(printable(text))


def print_line(line: str) -> None:
    """Print a line, with rich's markup, on standard output; it is not wrapped."""
    console.out.print(line, soft_wrap=True)


def summary(verdicts: "Sequence[Verdict]") -> str:
    """How many are valid, e.g. "7 valid, 5 not, 1 not judged"."""
    unjudged = sum(verdict.not_judged is not None for verdict in verdicts)
    valid = sum(verdict.valid for verdict in verdicts)
    said = f"{valid} valid, {len(verdicts) - valid - unjudged} not"
    return f"{said}, {unjudged} not judged" if unjudged else said


def find_twins(verdicts: "Sequence[Verdict]") -> "list[Twins]":
    """Which of the submissions share files, or all stems of a pair: one alone may well be silent in both."""
    from harness.submission.twins import twins

    return twins([_scored(verdict) for verdict in verdicts])


def _scored(verdict: "Verdict") -> dict[str, str]:
    """SHA-256 of what is scored of each pair: of its file, or of all that lies in its folder but the remix."""
    from harness.files import canonical_sha256

    alone: dict[str, str] = {}
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for name, sha256 in verdict.hashes.items():
        folder = name.rpartition("/")[0]
        if not folder:
            alone[name] = sha256
        elif not name.endswith("_remix.flac"):
            folders[folder][name] = sha256
    return alone | {folder: canonical_sha256(files) for folder, files in folders.items()}


def twins_as_lines(verdicts: "Sequence[Verdict]", found: "Sequence[Twins]") -> list[str]:
    """Which submissions share files, those with the most first; not all if they are many."""
    lines = []
    for each in sorted(found, key=lambda twins: -twins.files)[:SHOWN]:
        one, other = verdicts[each.one], verdicts[each.other]
        counts = len(_scored(one)), len(_scored(other))
        unit = "files" if counts[0] == len(one.hashes) else "pairs"
        shared = f"{each.files:,} of {counts[0]:,} {unit}"
        if counts[0] != counts[1]:
            shared = f"{each.files:,} {unit} (of {counts[0]:,} and {counts[1]:,})"
        lines.append(f"{one.source} and {other.source} share {shared}")
    if len(found) > SHOWN:
        lines.append(f"{len(found) - SHOWN} more pairs of submissions share files (--json has all)")
    return lines


def twins_as_json(position: int, verdicts: "Sequence[Verdict]", found: "Sequence[Twins]") -> list[dict[str, str | int]]:
    """Of the submission at a position: with which others it shares how many files."""
    others = [
        (each.other if each.one == position else each.one, each.files)
        for each in found
        if position in (each.one, each.other)
    ]
    return [{"submission": printable(str(verdicts[other].source)), "files": files} for other, files in others]


def prospects_as_json(verdict: "Verdict") -> dict[str, Any]:
    """Whether a submission can be ranked once all its pairs are scored, and why not."""
    why = verdict.why_not_ranked
    return {"ranked": why is None, "why_not_ranked": why}


def verdict_as_json(verdict: "Verdict") -> dict[str, Any]:
    """The judgement of a submission, with every problem.

    Names that are not printable are escaped: such as are not UTF-8 are no text, and other programs stumble over them.
    """
    return {
        "submission": printable(str(verdict.source)),
        "verdict": "not judged" if verdict.not_judged else "valid" if verdict.valid else "not valid",
        "reason": printable(verdict.not_judged) if verdict.not_judged else None,
        "remixes": _remixes(verdict),
        "files": len(verdict.hashes),
        "problems": [
            {"file": printable(problem.file), "message": printable(problem.message)} for problem in verdict.problems
        ],
        **prospects_as_json(verdict),
    }
