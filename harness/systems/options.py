"""Settings of a system: what they may be, and reading them from the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError


@dataclass(frozen=True)
class Option:
    """One setting of a system, given on the command line as `--option name=value`.

    Attributes:
        name: how it is called, e.g. "overlap".
        type: int, float, str, bool or Path.
        default: used when the option is not given; None means that there is no value.
        help: one line.
        minimum: inclusive bound for numbers.
        maximum: the same.
        choices: the only values allowed, if not empty.
    """

    name: str
    type: type
    default: Any
    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()

    def parse(self, text: str) -> Any:
        """Read a value.

        Args:
            text: as given on the command line.

        Raises:
            UsageError: the text is not of the option's type, or out of its range.
        """
        value: Any
        try:
            if self.type is bool:
                value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
            elif self.type is Path:
                value = Path(text).expanduser()
            else:
                value = self.type(text)
        except (ValueError, KeyError, RuntimeError):  # the last: a home folder that is nobody's
            raise UsageError(f"option {self.name}={text}: expected {self.expected}") from None
        return self.check(value)

    def check(self, value: Any) -> Any:
        """Return `value` if it lies in the option's range; raise UsageError if not."""
        if value is None and self.default is None:
            return value
        numeric = (int, float) if self.type is float else self.type
        wrong_type = not isinstance(value, numeric) or (isinstance(value, bool) and self.type is not bool)
        if (
            wrong_type
            or (isinstance(value, float) and not math.isfinite(value))
            # Written so that NaN, which compares false with everything, is out of range too.
            or (self.minimum is not None and not value >= self.minimum)
            or (self.maximum is not None and not value <= self.maximum)
            or (self.choices and value not in self.choices)
        ):
            raise UsageError(f"option {self.name}={value}: expected {self.expected}")
        return value

    @property
    def expected(self) -> str:
        """What values the option takes, in words: "float from 0 to 0.99"."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        words = {bool: "true or false", Path: "a path"}.get(self.type, self.type.__name__)
        if self.minimum is not None:
            words += f" from {self.minimum:g}"
        if self.maximum is not None:
            words += f" to {self.maximum:g}" if self.minimum is not None else f" up to {self.maximum:g}"
        return words
