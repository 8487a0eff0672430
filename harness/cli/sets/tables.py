"""How the summary of an evaluation set is printed."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import console
from harness.cli.verdicts import on_a_line, print_line

if TYPE_CHECKING:
    from harness.sets.showing import Range, Summary

SHOWN = 20
"""Rows of positions, and facts of provenance, that are printed; --json has all."""


MAX_TEXT = 200
"""Characters of a fact of provenance that are printed."""


def show_summary(found: "Summary", loudness: "tuple[Range | None, int] | None", provenance: Mapping[str, Any]) -> None:
    """Print a summary.

    Args:
        found: the summary.
        loudness: of the mixtures, and how many have none; None: not measured.
        provenance: what the set was made from, by command.
    """
    from harness.challenge import PROTOCOLS

    print_line(f"{on_a_line(found.name)}, split {on_a_line(found.split)}: {PROTOCOLS[found.protocol].title}")
    print_line("")
    rows = [(name, value) for name, value in _counts(found) if value]
    if loudness is not None:
        level, without = loudness
        said = "none" if level is None else f"median {level.median:.1f}, {level.lowest:.1f} to {level.highest:.1f} LUFS"
        rows.append(("loudness of mixtures", said + (f"; {without:,} too quiet to have one" if without else "")))
    _table(None, rows)
    print_line("")
    _table(
        ("hearing loss", "listeners", "better ear, dB HL (mean of 500, 1000, 2000, 4000 Hz)"),
        [
            (each.grade, f"{each.listeners:,}", _spread(each.average.lowest, each.average.highest))
            for each in found.hearing
        ],
    )
    if found.gains is not None:
        values = sorted({value for of in found.gains.values() for value in of})
        print_line("")
        if len(values) <= SHOWN:
            _table(
                ("scenes with a gain of", *(f"{value:+g} dB" if value else "0 dB" for value in values)),
                [(stem, *(f"{of.get(value, 0) or '-'}" for value in values)) for stem, of in found.gains.items()],
            )
        else:
            rows = [(stem, f"{_spread(min(of), max(of))} dB") for stem, of in found.gains.items()]
            _table(("gains of", f"{len(values):,} different ones"), rows)
    if found.positions:
        print_line("")
        rows = [(on_a_line(where), f"{count:,}") for where, count in list(found.positions.items())[:SHOWN]]
        more = len(found.positions) - len(rows)
        _table(("heard over", "scenes"), rows + ([(f"{more:,} others", "")] if more else []))
    for command, entry in provenance.items():
        print_line("")
        print_line(f"made by harness {on_a_line(command)}")
        _table(None, _facts(entry)[: 2 * SHOWN])


def _counts(found: "Summary") -> list[tuple[str, str]]:
    length = found.length
    each = "" if length is None else f" ({_spread(length.lowest, length.highest, 1)} s each)"
    minutes = f"{found.seconds / 60:,.1f} minutes" if found.seconds >= 120 else f"{found.seconds:.1f} s"
    missing = f"{found.missing:,} of the pieces cannot be read: harness set check"
    return [
        ("songs", f"{found.songs:,}"),
        ("pieces of music", f"{found.pieces:,}, {minutes} in all{each}"),
        ("", missing if found.missing else ""),
        ("scenes", f"{found.scenes:,}" if found.gains is not None else ""),
        ("listeners", f"{found.listeners:,}"),
        ("pairs", f"{found.pairs:,}"),
    ]


def _spread(low: float, high: float, digits: int = 0) -> str:
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return first if first == last else f"{first} to {last}"


def _facts(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an entry of provenance says, on a line for each value; of long lists how many entries there are."""
    facts: list[tuple[str, str]] = []
    for key, value in entry.items():
        name = on_a_line(key)
        if not isinstance(value, dict | list):
            facts.append((name, _said(value)))
        elif len(value) > SHOWN or any(isinstance(each, dict | list) for each in _values(value)):
            facts.append((name, f"{len(value):,} entries (--json)"))
        elif isinstance(value, dict):
            facts.append(
                (name, ", ".join(f"{on_a_line(inner)} {_said(each)}" for inner, each in value.items()) or "none")
            )
        else:
            facts += [(name if not at else "", _said(each)) for at, each in enumerate(value)] or [(name, "none")]
    return facts


def _values(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _said(value: object) -> str:
    """A value in words; hashes are cut short."""
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    text = _HASH.sub(r"\1...", str(value))
    return on_a_line(text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}...")


_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def _table(header: tuple[str, ...] | None, rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    width = max((len(row) for row in rows), default=0)
    table = Table(*(header or ("",) * width), show_header=header is not None, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.out.print(table)
