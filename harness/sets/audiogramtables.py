"""Audiograms from a table, as a spreadsheet exports it: CSV, one threshold in each row.

```
listener,ear,frequency,level
L1,left,250,20
L1,left,500,25
```
`ear` is left or right (l or r), `frequency` is in Hz, `level` in dB HL. Columns may stand in any order, beside others,
which are left out; `id` will do for `listener`. They are separated by commas, semicolons or tabs; a decimal comma is
understood. Every listener needs both ears, at the same frequencies, 250, 500, 1000, 2000, 4000 and 6000 Hz among them:
HAAQI uses these, and where one is missing, pyclarity would guess it in silence.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import DataError, SubmissionError, printable
from harness.files import SAFE_NAME, read_bounded
from harness.music.metadata import HAAQI_FREQUENCIES, LEVELS_DB_HL, MAX_SCENES
from harness.sets.writing import plain

MAX_TABLE_BYTES = 16 * 2**20
"""A hundred thousand listeners at eight frequencies would have some 40; nobody has measured so many."""

MAX_NAME = 100
"""Characters of a listener's name, as in the metadata."""

MAX_FREQUENCY = 24000.0

COLUMNS = ("listener", "ear", "frequency", "level")
EXAMPLE = f"expected the columns {', '.join(COLUMNS)} in the first row, and rows such as L1,left,250,20"
EARS = {"left": "left", "l": "left", "right": "right", "r": "right"}
SHOWN = 40
"""Characters of a stranger's value that a message shows."""

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")

Ears = dict[str, dict[float, tuple[float, int]]]
"""By ear and frequency in Hz: the level in dB HL, and the row where it stands."""


def read_table(path: Path) -> dict[str, dict[str, Any]]:
    """Read the listeners of a table, in the order in which they first appear, as records of listeners.<split>.json.

    Raises:
        DataError: missing, not such a table, or a threshold is missing, impossible or there twice: names row or
            listener, and what is expected.
    """
    found: dict[str, Ears] = {}
    for row, values in _rows(path):
        where = f"{path}: row {row}"
        name = values["listener"]
        if not SAFE_NAME.fullmatch(name) or len(name) > MAX_NAME:
            raise DataError(
                f"{where}: the listener is {_shown(name)}, expected 1 to {MAX_NAME} of the characters "
                "A-Z a-z 0-9 _ . - that begin with a letter or digit: the name becomes part of file names"
            )
        ear = EARS.get(values["ear"].lower())
        if ear is None:
            raise DataError(f"{where}: the ear is {_shown(values['ear'])}, expected left or right")
        frequency = _number(where, "frequency", values["frequency"], "Hz", (0.0, MAX_FREQUENCY))
        if frequency <= 0:
            raise DataError(f"{where}: the frequency is 0, expected one in Hz, such as 250")
        level = _number(where, "level", values["level"], "dB HL", LEVELS_DB_HL)
        thresholds = found.setdefault(name, {"left": {}, "right": {}})[ear]
        if frequency in thresholds:
            raise DataError(
                f"{where}: the {ear} ear of {name} has a level at {frequency:g} Hz in row {thresholds[frequency][1]} "
                "already: keep one of them"
            )
        thresholds[frequency] = level, row
    if not found:
        raise DataError(f"{path}: holds no listener; {EXAMPLE}")
    if len(found) > MAX_SCENES:
        raise DataError(f"{path}: holds {len(found):,} listeners, at most {MAX_SCENES:,} are expected")
    _check_names(path, list(found))
    return {name: _record(path, name, ears) for name, ears in found.items()}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each row that is not empty, as a spreadsheet counts them, and its values by column."""
    rows = _cells(path)
    header = [cell.strip().lower() for cell in next(rows, [])]
    header = ["listener" if cell == "id" and "listener" not in header else cell for cell in header]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; {EXAMPLE}")
    twice = [column for column in COLUMNS if header.count(column) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]}: rename one of them")
    places = {column: header.index(column) for column in COLUMNS}
    for row, cells in enumerate(rows, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(
                f"{path}: row {row} has {len(cells)} values for {len(header)} columns: where the decimal sign is a "
                "comma, separate columns by semicolons"
            )
        yield row, {column: cells[place].strip() for column, place in places.items()}


def _cells(path: Path) -> Iterator[list[str]]:
    try:
        text = read_bounded(path, MAX_TABLE_BYTES, follow=True).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no file {path}: check the path") from None
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}; {EXAMPLE}") from None
    except UnicodeDecodeError:
        raise DataError(f'{path} is not UTF-8: export it as "CSV UTF-8"') from None
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise DataError(f"{path} is not a table ({error}); {EXAMPLE}") from None


def _number(where: str, column: str, text: str, unit: str, bounds: tuple[float, float]) -> float:
    low, high = bounds
    if not _NUMBER.fullmatch(text) or len(text) > SHOWN:
        hint = ": where a tone was not heard, write the highest level that was played" if column == "level" else ""
        raise DataError(f"{where}: the {column} is {_shown(text)}, expected a number in {unit}{hint}")
    number = float(text.replace(",", "."))
    if not low <= number <= high:
        raise DataError(f"{where}: the {column} is {number:g} {unit}, expected {low:g} to {high:g}")
    return number


def _shown(text: str) -> str:
    return repr(printable(text[:SHOWN])) if text else "missing"


def _check_names(path: Path, names: list[str]) -> None:
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            raise DataError(f"{path}: the listeners {other} and {name} differ in case only: rename one of them")


def _record(path: Path, name: str, ears: Ears) -> dict[str, Any]:
    left, right = ears["left"], ears["right"]
    for ear, thresholds, other in (("left", left, right), ("right", right, left)):
        if not thresholds:
            raise DataError(f"{path}: {name} has no level for the {ear} ear: add its rows")
        needed = {*map(float, HAAQI_FREQUENCIES), *other}
        missing = [f"{frequency:g}" for frequency in sorted(needed - set(thresholds))]
        if missing:
            raise DataError(
                f"{path}: {name} has no level for the {ear} ear at {', '.join(missing)} Hz: both ears need "
                f"{', '.join(map(str, HAAQI_FREQUENCIES))} Hz, and every other frequency that one of them has"
            )
    frequencies = sorted(left)
    return {
        "name": name,
        "audiogram_cfs": [plain(frequency) for frequency in frequencies],
        "audiogram_levels_l": [plain(left[frequency][0]) for frequency in frequencies],
        "audiogram_levels_r": [plain(right[frequency][0]) for frequency in frequencies],
    }
