"""Which code of the harness a process runs, so that a worker elsewhere runs no other."""

import importlib.util
from functools import lru_cache
from pathlib import Path

from harness.files import canonical_sha256, sha256_of

PACKAGES = ("harness", "harness_leaderboard")
"""What a worker computes with. Systems are compared by what they declare (`harness.making`)."""


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """SHA-256 over every Python file of the harness that is installed here."""
    found = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for path in folder.rglob("*.py"):
            found[f"{package}/{path.relative_to(folder).as_posix()}"] = sha256_of(path)
    return canonical_sha256(found)
