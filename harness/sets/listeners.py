"""Listeners: the standard audiograms, the challenge's own listeners, or those in somebody's file.

All become what listeners.<split>.json holds: `{"L0001": {"name": "L0001", "audiogram_cfs": [250, ...],
"audiogram_levels_l": [...], "audiogram_levels_r": [...]}, ...}`, levels in dB HL.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any

from harness.errors import DataError, UsageError
from harness.files import expanded
from harness.hearing import Listener
from harness.music.audiograms import STANDARD_AUDIOGRAMS, listener_record
from harness.music.metadata import EACH_SCENE, ListenerRecord, Name, Text, listener_of, read
from harness.sets.audiogramtables import read_table
from harness.sets.draws import choose, seeded
from harness.sets.writing import plain

CLARITY, BISGAARD = "clarity", "bisgaard"
"""Names of the listeners that are built in."""

CLARITY_FILE = Path(__file__).parent / "clarity" / "listeners.json"
"""The 83 Clarity listeners, with which the challenges train; see the README beside it for source and licence."""

Listeners = dict[str, dict[str, Any]]


class _Named(ListenerRecord):
    name: Text


def load_listeners(named: str, seed: str) -> Listeners:
    """The listeners that somebody names, as the content of listeners.<split>.json.

    Args:
        named: "clarity" for the 83 Clarity listeners; "bisgaard" for ten with the standard audiograms N1 to N7 and S1
            to S3 in both ears (Bisgaard et al. 2010); a number of the Clarity listeners, drawn at random; or a file:
            .json in the official form, or .csv with the columns listener, ear, frequency, level
            (`harness.sets.audiogramtables`).
        seed: text from which the number of listeners is drawn, see `harness.sets.draws.seeded`.

    Raises:
        UsageError: it is none of these, or more listeners are asked for than there are.
        DataError: the file is missing or malformed: names entry or row, and what is expected.
    """
    if named == BISGAARD:
        return {name: listener_record(name, levels, levels) for name, levels in STANDARD_AUDIOGRAMS.items()}
    if named == CLARITY:
        return _clarity()
    if re.fullmatch(r"[0-9]{1,9}", named):
        return _drawn(int(named), seed)
    path = expanded(named, "--listeners")
    if path.suffix.lower() == ".json":
        return read_records(path)
    if path.suffix.lower() == ".csv":
        return read_table(path)
    raise UsageError(
        f"listeners {named!r}: expected a file that ends in .json or .csv, {CLARITY}, {BISGAARD}, "
        "or how many of the Clarity listeners"
    )


def _clarity() -> Listeners:
    return dict(json.loads(CLARITY_FILE.read_bytes()))


def _drawn(count: int, seed: str) -> Listeners:
    known = _clarity()
    if not 1 <= count <= len(known):
        raise UsageError(f"listeners {count}: expected 1 to {len(known)}, so many Clarity listeners are there")
    drawn = set(choose(seeded(seed), list(known), count))
    return {name: record for name, record in known.items() if name in drawn}


def read_records(path: Path) -> Listeners:
    """Read listeners from a file in the official form, in its order.

    Raises:
        DataError: missing or malformed, a listener's name is not its key, or there is no listener.
    """
    records: dict[str, _Named] = read(path, Annotated[dict[Name, _Named], EACH_SCENE])
    for key, record in records.items():
        # Since v0.4 of the official programs, the name and not the key stands in the names of files.
        if record.name != key:
            raise DataError(f"{path}: {key}.name is {record.name[:100]!r}, expected {key!r}: name and key must agree")
    if not records:
        raise DataError(f"{path}: holds no listener")
    return {key: _as_written(record) for key, record in records.items()}


def _as_written(record: _Named) -> dict[str, Any]:
    return {
        "name": record.name,
        "audiogram_cfs": [*map(plain, record.audiogram_cfs)],
        "audiogram_levels_l": [*map(plain, record.audiogram_levels_l)],
        "audiogram_levels_r": [*map(plain, record.audiogram_levels_r)],
    }


def as_listeners(records: Listeners) -> list[Listener]:
    """Records that `load_listeners` gave, as listeners."""
    return [listener_of(key, ListenerRecord.model_validate(record)) for key, record in records.items()]
