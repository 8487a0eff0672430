"""The fast engine held against the locked evaluator, case by case and on the conformance sets.

Both engines start from the same seed, and must end with the same score to `TOLERANCE` or with the same exception, and
with the generator in the same state: the right ear of a pair draws from where the left one stopped.

The conformance sets are compared too, as whole pairs, against the official scores: that is where the noise kept from
one listener of a scene to the next shows, and the one stream that eight stems draw from.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.challenge import CAD1, EARS, PROTOCOL, Protocol
from harness.compute.local import map_unordered
from harness.errors import EvaluatorError
from harness.files import cache_folder, canonical_sha256
from harness.haaqi import conformance_cad1, fast
from harness.haaqi.cases import RATE, Case, cases
from harness.haaqi.conformance import ConformanceScene, official_scores, scenes
from harness.haaqi.evaluator import reference_mixture
from harness.haaqi.fast.sources import sources_sha256
from harness.haaqi.lock import environment, fingerprint, remember
from harness.haaqi.stems import score_stems_fast

__all__ = [
    "RATE", "TOLERANCE", "Case", "Comparison", "Outcome", "cases", "compare", "comparisons",
    "conformance_comparisons", "ensure_agreement",
]  # fmt: skip

log = logging.getLogger(__name__)

TOLERANCE = 1e-6
"""Largest difference of an ear's score between the engines. Other seeds of the noise change a score by up to 4e-5."""

Outcome = float | str
"""A finite score, or the name of the exception that came instead of it, or "nan" or "inf"."""


@dataclass(frozen=True)
class Comparison:
    """What both engines make of one ear.

    Attributes:
        name: of the case.
        locked, fast: the score that the engine gives, or how it fails (see `Outcome`).
        same_draws: whether both took the same amount of noise from NumPy's generator.
    """

    name: str
    locked: Outcome
    fast: Outcome
    same_draws: bool = True

    @property
    def difference(self) -> float | None:
        """Between both scores; None without two scores."""
        if isinstance(self.locked, str) or isinstance(self.fast, str):
            return None
        return abs(self.fast - self.locked)

    @property
    def agrees(self) -> bool:
        """Whether both scores are the same to `TOLERANCE`, with the same draws, or both fail in the same way."""
        if self.difference is None:
            return self.locked == self.fast
        return self.difference <= TOLERANCE and self.same_draws


def comparisons(todo: Sequence[Case], workers: int, in_double: bool = False) -> Iterator[Comparison]:
    """Have both engines score the cases, and yield what comes of each as it comes: not in their order.

    Args:
        todo: the cases; long ones are started first.
        workers: number of processes.
        in_double: whether the fast engine computes everything in double precision.
    """
    by_length = sorted(todo, key=lambda case: -case.seconds)
    for _, comparison in map_unordered(compare_in_double if in_double else compare, by_length, workers):
        yield comparison


def compare(case: Case) -> Comparison:
    """Have both engines score one case from the same seed; NumPy's generator is left as it was found."""
    return _compare(case, fast.compute_haaqi)


def compare_in_double(case: Case) -> Comparison:
    """The same with everything in double precision."""
    return _compare(case, fast.in_double_precision())


def _compare(case: Case, engine: Callable[..., float]) -> Comparison:
    from clarity.evaluator.haaqi import compute_haaqi

    before = np.random.get_state()
    try:
        locked, locked_next = _outcome(compute_haaqi, case)
        found, found_next = _outcome(engine, case)
    finally:
        np.random.set_state(before)
    return Comparison(case.name, locked, found, bool(np.allclose(found_next, locked_next, rtol=1e-9, atol=1e-9)))


def _outcome(engine: Callable[..., float], case: Case) -> tuple[Outcome, NDArray[np.float64]]:
    """What comes of a case, and what the generator would draw next.

    An odd and an even draw show whether the generator is in the same state, however it represents that: normal numbers
    are made in pairs, and the second of a pair is kept.
    """
    np.random.seed(case.seed)
    outcome: Outcome
    with _quiet():
        try:
            score = float(
                engine(
                    # Copies, so that an engine which changes its input cannot change the other's.
                    processed_signal=case.processed.copy(),
                    reference_signal=case.reference.copy(),
                    processed_sample_rate=RATE,
                    reference_sample_rate=RATE,
                    audiogram=case.audiogram.for_pyclarity(),
                    equalisation=case.equalisation,
                    level1=case.level1,
                )
            )
            outcome = score if np.isfinite(score) else str(score)
        except Exception as error:
            outcome = type(error).__name__
    return outcome, np.random.standard_normal(3)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what libraries say about silence and divisions by zero: these cases are meant to be like that."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def conformance_comparisons(protocol: Protocol = PROTOCOL, in_double: bool = False) -> list[Comparison]:
    """Have the fast engine score a protocol's conformance set, pair by pair, against the official scores.

    Args:
        protocol: the protocol.
        in_double: whether it computes everything in double precision.
    """
    if protocol == CAD1:
        with tempfile.TemporaryDirectory() as folder:
            ((_, found),) = map_unordered(_compare_songs, [(Path(folder), in_double)], workers=1)
            return found
    todo = [(scene, in_double) for scene in scenes()]
    return [found for _, of_scene in map_unordered(_compare_scene, todo, workers=1) for found in of_scene]


def _compare_scene(todo: tuple[ConformanceScene, bool]) -> list[Comparison]:
    scene, in_double = todo
    official = official_scores()
    found = []
    reference = reference_mixture(scene.stems, scene.mixture, scene.gains)
    for listener in scene.listeners:
        submitted = (scene.processed(listener) / 32768).astype(np.float32)
        score = fast.score_pair(scene.id, reference, submitted, listener, in_double=in_double)
        due = official[scene.id, listener.id]
        for ear in EARS:
            name = f"conformance vector {scene.id} {listener.id}, {ear} ear"
            found.append(Comparison(name, getattr(due, ear), getattr(score, ear)))
    return found


def _compare_songs(todo: tuple[Path, bool]) -> list[Comparison]:
    root, in_double = todo
    official = conformance_cad1.official_scores()
    found = []
    for pair, references, processed in conformance_cad1.submitted(root):
        score = score_stems_fast(pair.scene.id, references, processed, pair.listener, in_double=in_double).stems or {}
        for name, due in (official[pair.id].stems or {}).items():
            found.append(Comparison(f"conformance vector {' '.join(pair.id)}, {name}", due, score[name]))
    return found


def ensure_agreement(protocol: Protocol = PROTOCOL) -> None:
    """Refuse to continue unless the fast engine gives the official scores of the protocol's conformance set.

    It has to do so in either precision: the double one checks the single one. That is done once for each environment
    and state of the engine's sources, and remembered in the cache folder; what has to be compiled is then there for all
    workers.

    Raises:
        EvaluatorError: with the first difference.
    """
    about = {"environment": environment(), "fast_engine": sources_sha256(), "evaluator": fingerprint(protocol)}
    proof = cache_folder() / "evaluator" / f"fast-{canonical_sha256(about)}.json"
    if proof.is_file():
        return
    log.info("compiling and proving the fast engine, once in this environment (half a minute) ...")
    for in_double in (False, True):
        for found in conformance_comparisons(protocol, in_double):
            if not found.agrees:
                name = f"{found.name}, in double precision," if in_double else found.name
                raise EvaluatorError(
                    f"the fast engine disagrees with the locked evaluator, so nothing is scored: {name} scores "
                    f"{found.fast!r}, expected {found.locked!r}; use --engine locked"
                )
    remember(proof)
