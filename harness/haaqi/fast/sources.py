"""Which state of its sources the engine is in, and where the code is kept that was compiled from it."""

import logging
from functools import lru_cache
from pathlib import Path

from harness.files import cache_folder, canonical_sha256, sha256_of

log = logging.getLogger(__name__)


def sources_sha256() -> str:
    """SHA-256 over all source files of this engine: it travels with every score that the engine gives."""
    folder = Path(__file__).parent
    return canonical_sha256({path.name: sha256_of(path) for path in sorted(folder.glob("*.py"))})


@lru_cache(maxsize=1)
def code_folder() -> str | None:
    """Where compiled code is kept; None if the cache folder cannot be written to."""
    folder = cache_folder() / "compiled" / sources_sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("code is compiled each time (set HARNESS_CACHE to a writable folder): %s", error)
        return None
    return str(folder)
