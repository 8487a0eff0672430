"""The proof that the evaluator is the locked one, for each protocol its own.

`lock.json` (of the first challenge: `lock_cad1.json`) records the exact versions of the packages that make a score,
the SHA-256 of every source file of theirs that can change one, the protocol's constants and the conformance vectors.
`verify` compares installed files and this program with it and scores the vectors. The fingerprint, a hash of the lock,
travels with every score: scores with different fingerprints are never ranked together.
"""

import json
import logging
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.challenge import CAD1, PROTOCOL, Protocol
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
    "haaqi/conformance.py",
    "haaqi/evaluator.py",
    "haaqi/lock.py",
    "submission/flac.py",
)


@dataclass(frozen=True)
class _Evaluator:
    """What makes the scores of a protocol.

    Attributes:
        lock, vectors: names of the files beside this one that hold its lock and the official scores.
        packages: as `LOCKED_PACKAGES`.
        sources: of these packages.
        own: our files on the way to a score, from the folder `harness`: if one changes, the vectors are scored again.
    """

    lock: str
    vectors: str
    packages: Mapping[str, str]
    sources: tuple[str, ...]
    own: tuple[str, ...]


_EVALUATORS: Mapping[str, _Evaluator] = {
    PROTOCOL.name: _Evaluator("lock.json", "conformance.csv", LOCKED_PACKAGES, SOURCES, _OWN_SOURCES),
    # It measures no loudness, and its stems' root mean square is our own (`harness.haaqi.stems`).
    CAD1.name: _Evaluator(
        "lock_cad1.json",
        "conformance_cad1.csv",
        {"pyclarity": "clarity"},
        tuple(
            source
            for source in SOURCES
            if source.startswith("clarity/") and source != "clarity/utils/signal_processing.py"
        ),
        (
            *_OWN_SOURCES,
            "haaqi/conformance_cad1.py",
            "haaqi/stems.py",
            "submission/forms.py",
            "submission/protocols.py",
            "submission/stems.py",
        ),
    ),
}

_REPAIR = "reinstall it: pip install --force-reinstall --no-deps {}"


@lru_cache
def lock(protocol: Protocol = PROTOCOL) -> dict[str, Any]:
    """The lock of a protocol's evaluator, as shipped with the harness."""
    name = _EVALUATORS[protocol.name].lock
    content: dict[str, Any] = json.loads(resources.files(__package__).joinpath(name).read_bytes())
    return content


def fingerprint(protocol: Protocol = PROTOCOL) -> str:
    """SHA-256 that names a protocol's locked evaluator; it stands on every score."""
    return canonical_sha256(lock(protocol))


def current(protocol: Protocol = PROTOCOL) -> dict[str, Any]:
    """What the protocol's lock would hold if it were made from what is installed here."""
    evaluator = _EVALUATORS[protocol.name]
    return {
        "packages": {name: _version(name) for name in evaluator.packages},
        "protocol": json.loads(json.dumps(asdict(protocol))),
        "sources": {source: _source_sha256(source) for source in evaluator.sources},
        "conformance_sha256": sha256_of(Path(__file__).with_name(evaluator.vectors)),
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


def source_problems(protocol: Protocol = PROTOCOL) -> list[str]:
    """Compare installed versions, source files and protocol with the lock; one line for each difference."""
    locked, found = lock(protocol), current(protocol)
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
        problems.append(f"{_EVALUATORS[protocol.name].vectors} has been changed: reinstall cadenza-harness")
    return problems


def _problems_of_workers(protocol: Protocol) -> list[str]:
    """`source_problems` of what scores, where that is not this process but workers which may import other files."""
    if not local.is_doubtful():
        return []
    ((_, problems),) = local.map_unordered(source_problems, [protocol], workers=1)
    return problems


def verify(protocol: Protocol = PROTOCOL) -> list[str]:
    """Prove from the ground up that a protocol's evaluator is the locked one: sources, constants, then scores.

    Returns:
        One line for every difference; empty if the evaluator is the locked one. Takes some seconds, under the first
        challenge's protocol up to half a minute.
    """
    problems = source_problems(protocol) or _problems_of_workers(protocol)
    if not problems:
        problems = _disagreements(protocol)
        if not problems:
            remember(_proof(protocol))
    return problems


def conformance_of(protocol: Protocol) -> ModuleType:
    """The module with a protocol's conformance set: its `official_scores`, and the `disagreements` with them."""
    from harness.haaqi import conformance, conformance_cad1

    return conformance_cad1 if protocol == CAD1 else conformance


def _disagreements(protocol: Protocol) -> list[str]:
    problems: list[str] = conformance_of(protocol).disagreements()
    return problems


def remember(proof: Path) -> None:
    """Write the file whose existence says that something was proven in this environment, if it can be written."""
    try:
        write_whole(proof, json.dumps(environment(), indent=1).encode())
    except StorageError as error:
        log.info("the proof cannot be kept (set HARNESS_CACHE to a writable folder): %s", error)


def ensure_locked(protocol: Protocol = PROTOCOL) -> None:
    """Refuse to continue unless a protocol's evaluator is the locked one.

    Sources, versions and protocol are checked every time; the conformance vectors are scored once for each
    environment (versions of everything that computes, and of our own code) and remembered in the cache folder.

    Raises:
        EvaluatorError: with the first difference.
    """
    problems = source_problems(protocol) or _problems_of_workers(protocol)
    if not problems and not _proof(protocol).is_file():
        log.info("proving the evaluator, once in this environment (some seconds) ...")
        problems = verify(protocol)
    if problems:
        more = f" (and {len(problems) - 1} more: harness evaluator verify)" if problems[1:] else ""
        raise EvaluatorError(f"the evaluator is not the locked one, so nothing is scored: {problems[0]}{more}")


def _proof(protocol: Protocol) -> Path:
    """Where it is remembered that the vectors agreed in this very environment."""
    folder, evaluator = Path(__file__).parent, _EVALUATORS[protocol.name]
    own = {name: sha256_of(folder.parent / name) for name in evaluator.own}
    shipped = {name: sha256_of(folder / name) for name in (evaluator.lock, evaluator.vectors)}
    identity = canonical_sha256({"environment": environment(), "own": {**own, **shipped}, "current": current(protocol)})
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
