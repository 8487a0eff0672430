"""The one family of errors that the command line turns into a single line: what is wrong, and what to do next.

Everything a user can cause or fix is a `HarnessError`; any other exception is a bug and keeps its traceback.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


def printable(text: str) -> str:
    """A stranger's text on one line, with an escape for every character that is not printable.

    Names of files and systems come from strangers, and a terminal obeys what is printed to it.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


MAX_KEY = 200
"""Characters of a key that a message shows."""


def first_problem(error: "ValidationError") -> str:
    """The first thing that is wrong with a document, as "key: what was expected"."""
    first = error.errors(include_url=False, include_input=False)[0]
    # A key is a stranger's text.
    key = printable(".".join(str(part)[:MAX_KEY] for part in first["loc"])[:MAX_KEY]) or "the file"
    return f"{key}: {first['msg']}"


class HarnessError(Exception):
    """A problem that the user can act on.

    `str(error)` is one line that says what is wrong and what to do next.

    Attributes:
        exit_code: with which a command ends that meets it.
    """

    exit_code = 1


class UsageError(HarnessError):
    """The command was asked for something that does not exist or does not fit together."""

    exit_code = 2


class DataError(HarnessError):
    """The evaluation set on disk is missing, malformed or damaged."""

    exit_code = 2


class PluginError(HarnessError):
    """A plugin cannot be found, does not import, or registers something that is not a system."""

    exit_code = 2


class SystemFailure(HarnessError):
    """A system cannot be set up, or failed on a piece of music."""


class WeightsMissing(SystemFailure):
    """The pretrained weights of a system are missing and could not be fetched."""


class SubmissionError(HarnessError):
    """A submission folder cannot be written, or does not belong to what is asked of it."""


class ArchiveRefused(SubmissionError):
    """An archive is damaged, or is not packed as a submission may be."""


class StorageError(HarnessError):
    """A file cannot be written: no room, no permission."""


class EvaluatorError(HarnessError):
    """The evaluator is not the locked one, or a signal cannot be scored."""
