"""The form of submissions under each protocol."""

from collections.abc import Mapping

from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.submission.forms import Form, RemixForm
from harness.submission.stems import StemsForm

_FORMS: Mapping[str, Form] = {PROTOCOL.name: RemixForm(), CAD1.name: StemsForm()}


def form_of(protocol: Protocol) -> Form:
    """The form of submissions under a protocol."""
    return _FORMS[protocol.name]
