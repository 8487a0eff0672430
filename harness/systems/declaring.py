"""What a system declares of itself: as the manifest keeps it, and as `harness systems` shows it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import printable
from harness.files import canonical_sha256, sha256_of_tree
from harness.systems.base import System, kind_of
from harness.systems.identity import identity_of
from harness.systems.streaming import is_streaming
from harness.systems.words import class_of, words_of

MAX_NAMED = 1000
"""Source files, weights files and packages that are named one by one. Their hash is over all of them."""


def declared(system: System) -> dict[str, Any]:
    """What a loaded system declares and is made of, by keys of the manifest; in the system's own words, unchecked."""
    identity = identity_of(system)
    return {
        **words_of(system),
        "inputs_sha256": {
            name: sha256_of_tree(value) for name, value in system.settings.items() if isinstance(value, Path)
        },
        "weights_sha256": identity.weights_sha256,
        "weights_files": some(identity.files),
        "code_sha256": canonical_sha256(dict(identity.code)),
        "code_files": some(identity.code),
        "packages": dict(identity.packages),
        "unidentified": identity.unidentified,
    }


def some(files: Mapping[str, str]) -> dict[str, str]:
    """As many names as a manifest takes; a name may be a stranger's, and is cut from the front."""
    return {printable(name)[-300:]: sha256 for name, sha256 in list(files.items())[:MAX_NAMED]}


def described(system: type[System]) -> dict[str, Any]:
    """What a system declares of itself with its default settings; nothing is loaded."""
    # A system's constructor is a stranger's code, and a listing must not fail because of one of them.
    try:
        made = system()
        words = {
            "class": class_of(made),
            "training_data": made.training_data,
            "not_eligible": made.not_eligible,
            "licence": made.licence,
        }
    except (Exception, SystemExit) as error:
        words = {"class": "?", "training_data": "?", "not_eligible": f"cannot be set up: {error}", "licence": "?"}
    return {
        "name": system.name,
        "version": system.version,
        "kind": kind_of(system),
        "streaming": is_streaming(system),
        **words,
        "summary": system.summary,
        "options": [
            {
                "name": option.name,
                "type": option.type.__name__,
                "default": str(option.default) if isinstance(option.default, Path) else option.default,
                "expected": option.expected,
                "help": option.help,
            }
            for option in system.options
        ],
    }
