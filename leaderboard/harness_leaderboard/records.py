"""What goes into the store and comes out of it: plain frozen dataclasses, no database behind them.

Scores are HAAQI values from 0 to 1. Hashes are lower-case hexadecimal SHA-256. Times are UTC in ISO 8601, to
the second ("2024-01-31T12:00:00Z"), so that their order as text is their order in time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

State = Literal["pending", "enhanced", "scored", "failed"]
"""Where a pair stands: nothing there yet, a file is there, the file is scored, or it went wrong."""

Engine = Literal["locked", "fast"]
"""What computed a score: the locked program itself, or a fast one that has to give the same number."""


class By(StrEnum):
    """What a breakdown groups pairs by. A track is a piece of music, wherever the listener's head was."""

    listener = "listener"
    scene = "scene"
    track = "track"
    pair = "pair"


CHECK_TOLERANCE = 1e-6
"""How far a fast score of an ear may be from the locked one; any further, and the run is disputed."""


def checks_due(pairs: int) -> int:
    """How many of `pairs` pairs with a fast score the locked engine has to score too: 1 %, and 2 at least."""
    # In integers: 0.01 times a number can come out above a whole number, and would be rounded up.
    return min(pairs, max(2, -(-pairs // 100)))


@dataclass(frozen=True)
class EvaluationSetRecord:
    """What systems are evaluated on.

    Attributes:
        name: for people. Two sets of the same name and different hashes are two sets.
        split: e.g. "valid".
        sha256: of everything in the set that can change a score. It is the identity of the set.
        scenes: how many scenes it has.
        pairs: how many scene-listener pairs it has.
    """

    name: str
    split: str
    sha256: str
    scenes: int
    pairs: int


@dataclass(frozen=True)
class RunRecord:
    """One system, in one version, with one choice of settings, as it declares itself.

    Attributes:
        key: hexadecimal hash of all that decides the system's output. With the evaluation set and the
            evaluator it is the identity of the run; everything else may be declared anew.
        system: name of the system.
        version: of the system.
        settings: its options, as JSON values.
        causal: True for the causal class.
        parameters: number of learned parameters, 0 or more; None where it was not declared.
        training_data: label of what it was trained on.
        licence: of its weights.
        weights_sha256: hash of its weights, "" without weights.
        not_eligible: why the rules exclude it, or None if they do not.
        reference: True for a yardstick that is shown and never ranked.
        submission: name of the folder that the files are in, or another label that tells runs apart.
        pairs_due: how many pairs have to be scored until the run is complete, 1 or more.
    """

    key: str
    system: str
    version: str
    settings: Mapping[str, Any]
    causal: bool
    parameters: int | None
    training_data: str
    licence: str
    weights_sha256: str
    not_eligible: str | None
    reference: bool
    submission: str
    pairs_due: int


@dataclass(frozen=True)
class ScoreRecord:
    """The score of one pair: left ear, right ear and their mean, each from 0 to 1.

    Attributes:
        engine: what computed it.
        locked_left, locked_right: what the locked engine gave for the same file where a fast score was checked;
            None otherwise.
    """

    left: float
    right: float
    score: float
    scored_at: str
    engine: Engine
    locked_left: float | None
    locked_right: float | None

    @property
    def difference(self) -> float | None:
        """How far the fast score is from the locked one, in the ear where it is further; None if not checked."""
        if self.locked_left is None or self.locked_right is None:
            return None
        return max(abs(self.left - self.locked_left), abs(self.right - self.locked_right))

    @property
    def disputed(self) -> bool:
        """Whether the score was checked and is further from the locked one than `CHECK_TOLERANCE`."""
        return self.difference is not None and self.difference > CHECK_TOLERANCE


@dataclass(frozen=True)
class PairRecord:
    """One scene for one listener in one run.

    Attributes:
        reason: why it failed; None unless the state is "failed".
        file_sha256: hash of the enhanced file; None unless the state is "enhanced" or "scored".
        clipped: how many samples of the file were clipped; None where nobody counted.
        score: None unless the state is "scored".
    """

    scene: str
    listener: str
    track: str
    state: State
    reason: str | None
    file_sha256: str | None
    clipped: int | None
    score: ScoreRecord | None


@dataclass(frozen=True)
class EnhancedFile:
    """A file that a system made: hash and number of clipped samples (None if nobody counted)."""

    scene: str
    listener: str
    file_sha256: str
    clipped: int | None


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it, with every one of its pairs by (scene, listener)."""

    id: int
    run: RunRecord
    evaluation_set: EvaluationSetRecord
    fingerprint: str
    created_at: str
    updated_at: str
    pairs: Mapping[tuple[str, str], PairRecord]


@dataclass(frozen=True)
class PairScores:
    """The scored pairs of a run as parallel columns, in no particular order.

    Columns, because a real run has 19,200 pairs and a leaderboard has many runs.
    """

    scene: tuple[str, ...] = ()
    listener: tuple[str, ...] = ()
    track: tuple[str, ...] = ()
    left: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    score: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScoredRun:
    """What the ranking needs to know of a run.

    Attributes:
        id: its number in the database, which people may use to name it.
        name: what its owner chose to call it, or None.
        failed: how many of its pairs failed.
        last_scored: when its last score was stored, or None without scores.
        fast: how many of its scores are the fast engine's.
        checked: how many of these pairs the locked engine scored too.
        largest_difference: the largest `ScoreRecord.difference` among them, or None if none was checked.
    """

    id: int
    name: str | None
    run: RunRecord
    evaluation_set: EvaluationSetRecord
    fingerprint: str
    scores: PairScores
    failed: int
    last_scored: str | None
    fast: int
    checked: int
    largest_difference: float | None
