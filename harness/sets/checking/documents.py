"""Reading the metadata files of a set that is checked: what is no JSON is explained, what stands twice is found."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from pydantic_core import from_json

from harness.documents import ensure_few_values
from harness.errors import SubmissionError
from harness.files import read_bounded
from harness.music.metadata import MAX_METADATA_BYTES, MAX_METADATA_VALUES
from harness.sets.checking.findings import Findings, Place, quoted, shown_text, some_of

EXAMPLES = {
    "gains": '"gain_0007": {"vocals": 10, "drums": 0, "bass": 0, "other": 0}',
    "listeners": (
        '"L0066": {"name": "L0066", "audiogram_cfs": [250, 500, 1000, 2000, 3000, 4000, 6000, 8000], '
        '"audiogram_levels_l": [20, 20, 25, 35, 40, 45, 50, 50], '
        '"audiogram_levels_r": [20, 20, 25, 35, 40, 45, 50, 50]}'
    ),
    "scenes": (
        '"scene_10001": {"music": "A Classic Education - NightOwl", "gain": "gain_0639", '
        '"head_loudspeaker_positions": "hlp_0056"}'
    ),
    "scene_listeners": '"scene_10001": ["L0066", "L0057"]',
    "at_mic_music": (
        '"A Classic Education - NightOwl-hlp_0056": {"Track Name": "A Classic Education - NightOwl-hlp_0056", '
        '"Split": "train", "Path": "train/A Classic Education - NightOwl-hlp_0056"}'
    ),
    "musdb18": '{"Track Name": "A Classic Education - NightOwl", "Split": "train"}',
    "positions": '"hlp_0001": {"subject": "VP_E1", "left_angle": -37.5, "right_angle": 22.5, "mic": "BTE_fr"}',
    "segments": (
        '"AM Contra - Heart Peripheral": {"objective_evaluation": {"start": 129.64, "end": 159.64, "duration": 30.0}}'
    ),
}
"""A right entry of each kind of metadata file."""

HINTS = {
    "scenes": ": fetch it, or have harness set scenes draw the scenes",
    "scene_listeners": ": fetch it, or have harness set scenes draw the listeners",
    "at_mic_music": ": fetch it with its music, or have harness set at-mic make both from songs and heads",
}
"""What to do where a file is missing."""

OF_A_SPLIT = re.compile(r"(?:scenes|scene_listeners|listeners|at_mic_music|musdb18|musdb18\.segments)\.([^.]+)\.json")
"""The metadata files of a split, which is the group."""

MISSING = object()
"""Stands for the content of a file that is not there, or of which nothing can be read."""

_MEANINGS = {
    "Expecting value": "a value is missing here, or a text without quotation marks stands here",
    "Expecting property name enclosed in double quotes": (
        'a name in double quotation marks is expected here ("L0001"); is there a comma too many before?'
    ),
    "Illegal trailing comma before end of object": "a comma too many",
    "Illegal trailing comma before end of array": "a comma too many",
    "Expecting ':' delimiter": "a colon is missing here",
    "Expecting ',' delimiter": "a comma is missing here, or a bracket",
    "Unterminated string starting at": "the text that begins here has no closing quotation mark",
    "Invalid control character at": "a line end or tab inside a text",
    "Invalid \\escape": "a backslash inside a text: write two",
    "Invalid \\uXXXX escape": "\\u must be followed by four hexadecimal digits",
    "Extra data": "the file should end here, something follows: two files in one?",
}
"""What the errors of Python's decoder mean to somebody who edits a file by hand."""


class Repeated(dict[str, Any]):
    """A JSON object in which a key stands more than once; only the last value is left."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.twice = list(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]


def read_document(folder: Path, name: str, kind: str, findings: Findings, form: type = dict) -> Any:
    """Read a metadata file, and note whatever is wrong with it as a file.

    Args:
        folder: the metadata folder of the evaluation set.
        name: of the file.
        kind: one of `EXAMPLES`.
        findings: where to note it.
        form: dict or list: what the whole of it must be.

    Returns:
        Its content, or `MISSING`.
    """
    place = Place(findings, f"metadata/{name}", example=EXAMPLES[kind])
    try:
        content = read_bounded(folder / name, MAX_METADATA_BYTES, follow=True)
    except FileNotFoundError:
        place.problem(f"is missing{meant(folder, name) or HINTS.get(kind, '')}")
        return MISSING
    except SubmissionError as error:
        place.problem(f"{str(error).removeprefix(f'{name} ')}: a text file is expected")
        return MISSING
    try:
        ensure_few_values(content, MAX_METADATA_VALUES)
        found = _parsed(content)
    except ValueError as error:
        place.problem(str(error))
        return MISSING
    for keys, key in _repeated(found):
        place.at(*keys).problem(f"{quoted(key)} stands there more than once, and only the last would count: keep one")
    if not isinstance(found, form):
        brackets = "{ }" if form is dict else "[ ]"
        place.problem(f"is {kind_of(found)}, expected are entries in {brackets}")
        return MISSING
    return found


def meant(folder: Path, name: str) -> str:
    """A file or folder that somebody may have meant where `name` is missing: "; is Bass.wav meant?..." or nothing."""
    try:
        there = sorted(path.name for path in folder.iterdir())
    except OSError:
        return ""
    close = [each for each in there if each.casefold() == name.casefold()]
    strange = [each for each in there[:10_000] if not OF_A_SPLIT.fullmatch(each) and each != "gains.json"]
    close = close or difflib.get_close_matches(name, strange, n=1, cutoff=0.85)
    return f"; {shown_text(close[0])} is there: if that is meant, rename it to {shown_text(name)}" if close else ""


def kind_of(value: object) -> str:
    """What kind of JSON value something is, in words."""
    if value is None:
        return "empty (null)"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {"str": "a text", "list": "a list"}.get(type(value).__name__, "an object in { }")


def shown_value(value: object) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return shown_text(f"{value:g}" if isinstance(value, float) else _digits(value))
    return kind_of(value)


def _digits(number: int) -> str:
    return str(number) if abs(number) < 10**15 else "a number of many digits"


def unknown_keys(record: dict[str, Any], known: list[str], place: Place, ignored: bool = True) -> None:
    """Note keys that look like misspelled ones, or, where none is ignored, all that are not known."""
    strange = [key for key in record if key not in known]
    missing = [key for key in known if key not in record]
    for key in strange[:20]:
        close = difflib.get_close_matches(key.casefold()[:100], [each.casefold() for each in missing], 1, 0.8)
        if close:
            right = next(each for each in missing if each.casefold() == close[0])
            place.problem(f"{quoted(key)} means nothing here; is {quoted(right)} meant?")
        elif not ignored:
            place.problem(f"{quoted(key)} means nothing here; expected: {', '.join(known)}")
    if len(strange) > 20 and not ignored:
        place.problem(f"{len(strange):,} keys mean nothing here, such as {some_of(strange)}")


def _parsed(content: bytes) -> Any:
    """The content of a JSON file; objects with repeated keys are `Repeated`.

    Raises:
        ValueError: it is none, or not one that the harness reads; says where and why.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line}: a character is not in UTF-8: save the file as text in UTF-8") from None
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark: save the file as UTF-8 without it")
    if not text.strip():
        raise ValueError("is empty, entries are expected")
    try:
        found = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        meaning = _MEANINGS.get(error.msg, "cannot be understood from here on")
        at_end = error.pos >= len(text.rstrip())
        raise ValueError(
            f"is not JSON: it ends in line {error.lineno} in the middle of an entry: is it the whole file?"
            if at_end
            else f"is not JSON: line {error.lineno}, column {error.colno}: {meaning}"
        ) from None
    except (ValueError, RecursionError) as error:
        _refused(error)
    try:
        from_json(content)  # which loading an evaluation set is stricter with
    except ValueError as error:
        _refused(error)
    return found


def _refused(error: Exception) -> NoReturn:
    text = str(error)
    if isinstance(error, RecursionError) or "recursion" in text:
        raise ValueError("has brackets in brackets hundreds deep: is this the right file?") from None
    if "digits" in text or "out of range" in text:
        raise ValueError("holds a number of thousands of digits: is this the right file?") from None
    if "hex escape" in text or "surrogate" in text:
        raise ValueError("holds half a character (\\ud800 to \\udfff alone): write the character itself") from None
    raise ValueError("is not JSON as the standard has it: write it anew with a program") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


def _repeated(value: Any, *keys: object) -> Iterator[tuple[tuple[object, ...], str]]:
    """Where keys are repeated: the keys on the way there, and the repeated one."""
    if isinstance(value, Repeated):
        for key in value.twice:
            yield keys, key
    if isinstance(value, dict | list):
        inner: Iterable[tuple[object, Any]] = value.items() if isinstance(value, dict) else enumerate(value, 1)
        for step, each in inner:
            if isinstance(each, dict | list):
                yield from _repeated(each, *keys, step)
