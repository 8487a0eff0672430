"""The proof that the evaluator is the locked one.

`lock.json` records the exact versions of the packages that make a score, the SHA-256 of every source file of theirs
that can change one, the protocol's constants and the conformance vectors. `verify` compares installed files and this
program with it and scores the vectors. The fingerprint, a hash of the lock, travels with every score: scores with
different fingerprints are never ranked together.
"""

import json
import logging
import platform
import sys
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.challenge import PROTOCOL
from harness.compute import local
from harness.errors import EvaluatorError, StorageError
from harness.files import cache_folder, canonical_sha256, sha256_of, write_whole

log = logging.getLogger(__name__)

LOCKED_PACKAGES = {"pyclarity": "clarity", "pyloudnorm": "pyloudnorm"}
"""Distributions whose sources make a score, and the package that each installs."""

SOURCES = (
    "clarity/__init__.py",
    "clarity/enhancer/__init__.py",
    "clarity/enhancer/nalr.py",
    "clarity/evaluator/__init__.py",
    "clarity/evaluator/haaqi/__init__.py",
    "clarity/evaluator/haaqi/haaqi.py",
    "clarity/evaluator/haspi/__init__.py",
    "clarity/evaluator/haspi/eb.py",
    "clarity/evaluator/haspi/ebm.py",
    "clarity/evaluator/haspi/haspi.py",
    "clarity/evaluator/haspi/ip.py",
    "clarity/evaluator/msbg/__init__.py",
    "clarity/evaluator/msbg/msbg_utils.py",
    "clarity/utils/__init__.py",
    "clarity/utils/audiogram.py",
    "clarity/utils/signal_processing.py",
    "pyloudnorm/__init__.py",
    "pyloudnorm/iirfilter.py",
    "pyloudnorm/meter.py",
    "pyloudnorm/normalize.py",
    "pyloudnorm/util.py",
)
"""Every file that is imported on the way to a score (a test compares this list with what Python really imports)."""

_OWN_SOURCES = (
    "challenge.py",
    "enhancement.py",
    "music/evaluationset.py",
    "hearing.py",
    "haaqi/conformance.csv",
    "haaqi/conformance.py",
    "haaqi/evaluator.py",
    "haaqi/lock.json",
    "haaqi/lock.py",
    "submission/flac.py",
)

_REPAIR = "reinstall it: pip install --force-reinstall --no-deps {}"


@lru_cache(maxsize=1)
def lock() -> dict[str, Any]:
    """The lock as shipped with the harness."""
    content: dict[str, Any] = json.loads(resources.files(__package__).joinpath("lock.json").read_bytes())
    return content


def fingerprint() -> str:
    """SHA-256 that names the locked evaluator; it stands on every score."""
    return canonical_sha256(lock())


def current() -> dict[str, Any]:
    """What `lock.json` would hold if it were made from what is installed here."""
    return {
        "packages": {name: _version(name) for name in LOCKED_PACKAGES},
        "protocol": json.loads(json.dumps(asdict(PROTOCOL))),
        "sources": {source: _source_sha256(source) for source in SOURCES},
        "conformance_sha256": sha256_of(Path(__file__).with_name("conformance.csv")),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@lru_cache
def _package_folder(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _source_sha256(source: str) -> str | None:
    package, _, inner = source.partition("/")
    folder = _package_folder(package)
    path = folder / inner if folder else None
    return sha256_of(path) if path and path.is_file() else None


def source_problems() -> list[str]:
    """Compare installed versions, source files and protocol with the lock; one line for each difference."""
    locked, found = lock(), current()
    problems = []
    for package, version in locked["packages"].items():
        if found["packages"].get(package) != version:
            problems.append(
                f"{package} is {found['packages'].get(package) or 'not installed'}, locked is {version}: "
                f"pip install {package}=={version}"
            )
    for source in sorted({*locked["sources"], *found["sources"]}):
        expected, actual = locked["sources"].get(source), found["sources"].get(source)
        if expected != actual:
            package = next(name for name, root in LOCKED_PACKAGES.items() if source.startswith(f"{root}/"))
            repair = _REPAIR.format(f"{package}=={locked['packages'][package]}")
            state = "is missing" if actual is None else "has been changed"
            problems.append(f"{source} {state} (expected SHA-256 {expected}, found {actual}); {repair}")
    for name in sorted({*locked["protocol"], *found["protocol"]}):
        expected, actual = locked["protocol"].get(name), found["protocol"].get(name)
        if expected != actual:
            problems.append(
                f"protocol constant {name} is {actual!r}, locked is {expected!r}: reinstall cadenza-harness"
            )
    if found["conformance_sha256"] != locked["conformance_sha256"]:
        problems.append("conformance.csv has been changed: reinstall cadenza-harness")
    return problems


def _problems_of_workers() -> list[str]:
    """`source_problems` of what scores, where that is not this process but workers which may import other files."""
    if not local.is_doubtful():
        return []
    ((_, problems),) = local.map_unordered(_problems_in, [None], workers=1)
    return problems


def _problems_in(_: object) -> list[str]:
    return source_problems()


def verify() -> list[str]:
    """Prove from the ground up that the evaluator is the locked one: sources, protocol, then scores.

    Returns:
        One line for every difference; empty if the evaluator is the locked one. Takes some seconds.
    """
    problems = source_problems() or _problems_of_workers()
    if not problems:
        from harness.haaqi.conformance import disagreements

        problems = disagreements()
        if not problems:
            remember(_proof())
    return problems


def remember(proof: Path) -> None:
    """Write the file whose existence says that something was proven in this environment, if it can be written."""
    try:
        write_whole(proof, json.dumps(environment(), indent=1).encode())
    except StorageError as error:
        log.info("the proof cannot be kept (set HARNESS_CACHE to a writable folder): %s", error)


def ensure_locked() -> None:
    """Refuse to continue unless the evaluator is the locked one.

    Sources, versions and protocol are checked every time; the conformance vectors are scored once for each
    environment (versions of everything that computes, and of our own code) and remembered in the cache folder.

    Raises:
        EvaluatorError: with the first difference.
    """
    problems = source_problems() or _problems_of_workers()
    if not problems and not _proof().is_file():
        log.info("proving the evaluator, once in this environment (some seconds) ...")
        problems = verify()
    if problems:
        more = f" (and {len(problems) - 1} more: harness evaluator verify)" if problems[1:] else ""
        raise EvaluatorError(f"the evaluator is not the locked one, so nothing is scored: {problems[0]}{more}")


def _proof() -> Path:
    """Where it is remembered that the vectors agreed in this very environment."""
    own = Path(__file__).parents[1]
    sources = {name: sha256_of(own / name) for name in _OWN_SOURCES}
    identity = canonical_sha256({"environment": environment(), "own": sources, "current": current()})
    return cache_folder() / "evaluator" / f"{identity}.json"


def environment() -> dict[str, str]:
    """Versions of everything that computes a score: kept with each score."""
    import soundfile

    return {
        "harness": _version("cadenza-harness") or "not installed",
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "libsndfile": soundfile.__libsndfile_version__,
        **{
            name: _version(name) or "not installed"
            for name in ("numpy", "scipy", "numba", "llvmlite", "soxr", "soundfile", *LOCKED_PACKAGES)
        },
    }
