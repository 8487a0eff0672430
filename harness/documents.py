"""JSON documents from strangers: bounded before they are parsed, and refused at the first thing that is wrong.

A document of some megabytes can hold millions of values, and pydantic keeps an error, or several, for each that is
wrong. So values are counted before they are parsed, and large mappings are validated a piece at a time.
"""

from itertools import islice
from typing import Any

from pydantic import AfterValidator, BaseModel, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

PIECE = 100
"""Entries of a mapping that are validated together: what is wrong with the others of a piece costs little."""

MAX_KEYS = 200
"""Far above the keys that any of our models has."""


def ensure_few_values(content: bytes, limit: int) -> None:
    """Check that a JSON document is small enough to be parsed.

    Args:
        content: the document.
        limit: the most values that it may hold, those of lists and objects in it included.

    Raises:
        ValueError: it may hold more.
    """
    # Every value but the first follows one of these. Those in texts count as well, which errs on the safe side.
    marks = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if marks > limit:
        raise ValueError(f"holds some {marks:,} values, at most {limit:,} are expected: is this the right file?")


class Document(BaseModel):
    """A model of which no error is collected for each of a million unknown keys."""

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_KEYS:
            raise _too_many(len(value), MAX_KEYS)
        return value


def at_most(limit: int) -> WrapValidator:
    """Annotates a mapping that has at most `limit` entries; those after the first that are wrong are not validated."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, dict) or len(value) <= PIECE:
            return handler(value)
        if len(value) > limit:
            raise _too_many(len(value), limit)
        entries = iter(value.items())
        whole: dict[Any, Any] = {}
        while piece := dict(islice(entries, PIECE)):
            whole.update(handler(piece))
        return whole

    return WrapValidator(validate)


def _too_many(found: int, limit: int) -> PydanticCustomError:
    about = {"found": found, "limit": limit}
    return PydanticCustomError("too_many", "has {found} entries, at most {limit} are expected", about)


def ensure_printable(text: str) -> str:
    """The same text, if all of it is printable. Raises PydanticCustomError, for use in validators."""
    if not text.isprintable():
        strange = next(character for character in text if not character.isprintable())
        code = f"U+{ord(strange):04X}"
        raise PydanticCustomError("not_printable", "{code} is not a printable character", {"code": code})
    return text


def _printable_lines(text: str) -> str:
    ensure_printable(text.replace("\n", ""))
    return text


PRINTABLE = AfterValidator(ensure_printable)
"""Annotates a text of printable characters: no line ends, nothing that steers a terminal or turns text around."""

PRINTABLE_LINES = AfterValidator(_printable_lines)
"""The same, with line ends."""
