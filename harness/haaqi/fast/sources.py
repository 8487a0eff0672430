"""Which state of its sources the engine is in."""

from pathlib import Path

from harness.files import canonical_sha256, sha256_of


def sources_sha256() -> str:
    """SHA-256 over all source files of this engine: it travels with every score that the engine gives."""
    folder = Path(__file__).parent
    return canonical_sha256(
        {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*.py"))}
    )
