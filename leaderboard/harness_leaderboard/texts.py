"""Text of strangers on its way into a database."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""NUL, which PostgreSQL has no place for, and halves of surrogate pairs, which are no UTF-8."""


def storable(text: str) -> str:
    r"""The text as any database can store it: NUL and lone surrogates are written as `\x00` and `\udc80`."""
    return _UNSTORABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
