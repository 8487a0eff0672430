"""Whatever goes wrong while a system is set up is one line with its name."""

from collections.abc import Callable
from typing import TypeVar

from harness.apart.channel import Gone
from harness.apart.running import Raised
from harness.errors import HarnessError, SystemFailure

Result = TypeVar("Result")


def named(call: Callable[[], Result], name: str, what: str) -> Result:
    """Call something of a system; whatever goes wrong in a stranger's code is an error with its name.

    Args:
        call: what to call.
        name: of the system.
        what: what is done with the system meanwhile: "started", "found", "set up".

    Raises:
        SystemFailure: the system's own exception, or the end of its process.
        HarnessError: what the harness itself has to say, as it is.
    """
    try:
        return call()
    except Raised as error:
        raise SystemFailure(f"system {name} could not be {what}: {str(error).removeprefix('raised ')}") from error
    except Gone as error:
        raise SystemFailure(f"system {name} could not be {what}: it {error}") from error
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # in our own process
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SystemFailure(f"system {name} could not be {what}: {reason}") from error
