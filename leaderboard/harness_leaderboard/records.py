"""What goes into the store and comes out of it: plain frozen dataclasses, no database behind them.

Scores are HAAQI values from 0 to 1. Hashes are lower-case hexadecimal SHA-256. Times are UTC in ISO 8601, to
the second ("2024-01-31T12:00:00Z"), so that their order as text is their order in time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal

from harness_leaderboard.causality import Basis, Class
from harness_leaderboard.causality import Causality as Causality
from harness_leaderboard.causality import Load as Load
from harness_leaderboard.checks import CHECK_TOLERANCE as CHECK_TOLERANCE
from harness_leaderboard.checks import CheckRecord as CheckRecord
from harness_leaderboard.checks import NewCheck as NewCheck
from harness_leaderboard.checks import checks_due, difference, double_checks_due
from harness_leaderboard.stems import StemScores
from harness_leaderboard.sums import PairScores as PairScores
from harness_leaderboard.sums import SceneSums as SceneSums

State = Literal["pending", "enhanced", "scored", "failed"]
"""Where a pair stands: nothing there yet, a file is there, the file is scored, or it went wrong."""

Isolation = Literal["process", "sandbox", "in-process"]
"""Where a system ran: in a process of its own, in one that is locked in, or in the harness's (for debugging)."""

Chain = Literal["baseline", "live"]
"""What makes the remix of a separator's stems: the challenge's baseline, or the chain for live music."""

Engine = Literal["locked", "fast"]
"""What computed a score: the locked program itself, or a fast one that has to give the same number."""


class By(StrEnum):
    """What a breakdown groups pairs by. A track is a piece of music, wherever the listener's head was."""

    listener = "listener"
    scene = "scene"
    track = "track"
    pair = "pair"


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
class SetPair:
    """One scene for one listener of an evaluation set.

    Attributes:
        reference_sha256: hash of all that a score depends on beside the remix: the scene's name (it seeds the metric's
            noise), the hashes of its music, its gains, and the listener's audiograms. Not the listener's name.
    """

    scene: str
    listener: str
    track: str
    reference_sha256: str


@dataclass(frozen=True)
class RunRecord:
    """What a run declares: who made it, with which system, in which class.

    Attributes:
        key: hexadecimal hash of what made the files, as far as it is known. With the evaluation set it is the identity
            of the run; everything else may be declared anew.
        system: name of the system.
        version: of the system.
        settings: its options, as JSON values.
        causal: True for the causal class, live runs included.
        parameters: number of learned parameters, 0 or more; None where it was not declared.
        training_data: label of what it was trained on.
        licence: of its weights.
        weights_sha256: hash of its weights, "" without weights.
        not_eligible: why the rules exclude it, or None if they do not.
        reference: True for a yardstick that is shown and never ranked.
        submission: name of the folder that the files are in, or another label that tells runs apart.
        folder: where that lies, or None if it is not known.
        team, contact, url, paper, description: as declared, or None.
        isolation: where the system ran; None where it is not known.
        python: the version of Python that it ran under; None where it is not known.
        live: True if all of it was streamed within the limits of live music.
        chain: what came after the stems, "baseline" or "live".
        causality: what was found out of its causality; None where it is only declared.
        load: that of its blocks, if it was streamed.
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
    folder: str | None = None
    team: str | None = None
    contact: str | None = None
    url: str | None = None
    paper: str | None = None
    description: str | None = None
    isolation: Isolation | None = None
    python: str | None = None
    live: bool = False
    chain: Chain = "baseline"
    causality: Causality | None = None
    load: Load | None = None

    @property
    def class_(self) -> Class:
        """The narrowest class that it is in."""
        return "live" if self.live else "causal" if self.causal else "non-causal"

    @property
    def basis(self) -> Basis:
        """What its class rests on. A measurement without a verdict leaves it to the declaration."""
        found = self.causality
        if found is None or (found.basis == "measured" and found.verdict == "none"):
            return "declared"
        return found.basis

    def in_class(self, wanted: Class) -> bool:
        """Whether it competes in a class: live runs do among the causal ones too."""
        return self.causal if wanted == "causal" else self.class_ == wanted

    def as_json(self) -> dict[str, Any]:
        """All that it declares, as JSON values.

        Raises:
            TypeError, ValueError: its causality or load holds what JSON cannot say.
        """
        return {
            **vars(self),
            "settings": dict(self.settings),
            "causality": None if self.causality is None else self.causality.as_json(),
            "load": None if self.load is None else self.load.as_json(),
        }


@dataclass(frozen=True)
class PieceCost:
    """What a piece of music cost the system of a run.

    Attributes:
        piece: what it was given: a song, or a scene and a listener; 1 to 300 characters.
        wall_seconds: how long it took, 0 or more.
        cpu_seconds: processor time of all its threads and processes, 0 or more.
        peak_bytes: the most memory that it held, 0 or more.
    """

    piece: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class NewScore:
    """A score as it is stored: a fact about a file and a reference, whoever submits the file.

    Attributes:
        file_sha256: hash of the remix that was scored.
        reference_sha256: see `SetPair`.
        engine: what computed it.
        left, right: the score of each ear, from 0 to 1.
        replaces: whether it takes the place of this engine's own earlier score of the same file.
        stems: of each stem by its name ("left_vocals"), where the evaluator scores stems: 1 to 64 of them, their names
            as `stems.NAME` says. `left` and `right` are then the means over those of an ear.
        in_double: of a fast score, the parts (`checks`) that were computed in double precision; None if nobody knows.
        margin: of the others, how close the closest decision was that single precision made, as a multiple of what it
            can decide: 1 or more. None if it made none.
        closest: the part in which that was.
    """

    file_sha256: str
    reference_sha256: str
    engine: Engine
    left: float
    right: float
    replaces: bool = False
    stems: StemScores | None = field(default=None, hash=False)
    in_double: tuple[str, ...] | None = None
    margin: float | None = None
    closest: str | None = None


@dataclass(frozen=True)
class ScoreRecord:
    """A stored score: left ear, right ear and their mean, each from 0 to 1, and the environment's hash.

    Attributes:
        disputed_at: when an audit got another score for the file; None if none did.
        stems: of each stem by its name, where the evaluator scores stems.
        in_double, margin, closest: as of `NewScore`.
    """

    engine: Engine
    left: float
    right: float
    score: float
    scored_at: str
    environment_sha256: str
    disputed_at: str | None = None
    stems: StemScores | None = field(default=None, hash=False)
    in_double: tuple[str, ...] | None = None
    margin: float | None = None
    closest: str | None = None


@dataclass(frozen=True)
class PairRecord:
    """One scene for one listener in one run, with its file's scores under one evaluator.

    Attributes:
        state: "scored" if there is a score, of whichever engine.
        reason: why it failed; None unless the state is "failed".
        file_sha256: hash of the enhanced file; None unless the state is "enhanced" or "scored".
        clipped: how many samples of the file were clipped; None where nobody counted.
        locked, fast: the scores that the file has. One that was changed outside the harness is none.
        changed: whether the harness did not write what is stored of the file, which then counts as none, or of a score.
        checks: of parts of the fast score, by whatever checked them.
    """

    scene: str
    listener: str
    track: str
    reference_sha256: str
    state: State
    reason: str | None
    file_sha256: str | None
    clipped: int | None
    locked: ScoreRecord | None
    fast: ScoreRecord | None
    changed: bool = False
    checks: tuple[CheckRecord, ...] = ()

    @property
    def score(self) -> ScoreRecord | None:
        """The score that counts: the locked engine's where there is one."""
        return self.locked or self.fast

    @property
    def difference(self) -> float | None:
        """How far the fast score is from its checks, in the ear or stem where it is furthest; None without a check."""
        return difference(self)

    @property
    def disputed(self) -> bool:
        """Whether the fast score and a check of it differ by more than `CHECK_TOLERANCE`."""
        return self.difference is not None and self.difference > CHECK_TOLERANCE


@dataclass(frozen=True)
class EnhancedFile:
    """A file that a system made: hash and number of clipped samples (None if nobody counted)."""

    scene: str
    listener: str
    file_sha256: str
    clipped: int | None


Visibility = Literal["shown", "hidden", "removed"]
"""Whether a run stands on its board. What is removed can be restored."""


@dataclass(frozen=True)
class RunStatus:
    """A run without its pairs: what a list of runs says of it.

    Attributes:
        id: its number in the database, by which people may name it.
        name: what its owner chose to call it, or None.
        fingerprint: of the evaluator that it was last scored with.
        intact: whether the harness wrote what is stored of it.
    """

    id: int
    name: str | None
    visibility: Visibility
    run: RunRecord
    evaluation_set: EvaluationSetRecord
    fingerprint: str
    created_at: str
    updated_at: str
    intact: bool = True


@dataclass(frozen=True)
class StoredRun:
    """A run as the store has it, with every one of its pairs by (scene, listener).

    Attributes:
        costs: what each piece of music cost its system, by the pieces' names, as far as that was measured.
        changed_costs: of how many pieces somebody else wrote the costs, which are left out.
        lost: whether scores are gone that its sums tell of.
    """

    status: RunStatus
    pairs: Mapping[tuple[str, str], PairRecord]
    costs: tuple[PieceCost, ...] = ()
    changed_costs: int = 0
    lost: bool = False

    @property
    def id(self) -> int:
        """Its number in the database."""
        return self.status.id

    @property
    def run(self) -> RunRecord:
        """What it declares."""
        return self.status.run

    @property
    def evaluation_set(self) -> EvaluationSetRecord:
        """What it is evaluated on."""
        return self.status.evaluation_set

    @property
    def changed(self) -> tuple[str, ...]:
        """What of it was changed outside the harness, in words."""
        counts = (
            ("pair", "pairs", sum(pair.changed for pair in self.pairs.values())),
            ("piece's costs", "pieces' costs", self.changed_costs),
        )
        words = [f"{count} {one if count == 1 else more}" for one, more, count in counts if count]
        if self.lost and not counts[0][2]:
            words.append("its scores")
        return (*(() if self.status.intact else ("its declaration",)), *words)


@dataclass(frozen=True)
class ScoredRun:
    """What the ranking needs to know of a run under one evaluator.

    Attributes:
        id: its number in the database, by which people may name it.
        name: what its owner chose to call it, or None.
        sums: its scores; where a file has scores of both engines, the locked one counts.
        failed: how many of its pairs failed.
        last_scored: when its last score was stored, or None without scores.
        fast: how many of its pairs have a fast score, whether they have a locked one too or not.
        checked: how many parts of these (`checks`) the locked evaluator scored too.
        largest_difference: the largest `PairRecord.difference` among them, or None if none was checked.
        only_fast: how many pairs have nothing but a fast score.
        shares: how many files it has in common with other runs on the evaluation set, by their ids.
        load_scores: reads the scores of its pairs, which are many.
        disputed: how many of the scores that count differ from what an audit got.
        changed: what of it was changed outside the harness, in words: "its declaration", "3 scores".
        protocol: name of the protocol that the evaluator is locked to, as its details say; "" where they do not.
        parts: how many parts the fast scores have.
        in_single, in_double: how many of these are known to have been computed in single, in double precision.
        checked_in_double: how many parts were checked by double precision.
    """

    id: int
    name: str | None
    run: RunRecord
    evaluation_set: EvaluationSetRecord
    fingerprint: str
    sums: SceneSums
    failed: int
    last_scored: str | None
    fast: int
    checked: int
    largest_difference: float | None
    only_fast: int
    shares: Mapping[int, int]
    load_scores: Callable[[], PairScores] = field(compare=False)
    disputed: int = 0
    changed: tuple[str, ...] = ()
    protocol: str = ""
    parts: int = 0
    in_single: int = 0
    in_double: int = 0
    checked_in_double: int = 0

    @property
    def checks_lacking(self) -> tuple[str, ...]:
        """Which checks of its fast scores are still due, in words."""
        kinds = (
            ("by the locked evaluator", self.checked, checks_due(self.parts)),
            ("by double precision", self.checked_in_double, double_checks_due(self.in_single)),
        )
        return tuple(f"{made} of {due} checks {by} made" for by, made, due in kinds if made < due)

    @cached_property
    def scores(self) -> PairScores:
        """The scores of its pairs, read when they are first asked for."""
        return self.load_scores()

    @property
    def scored(self) -> int:
        """How many of its pairs have a score."""
        return sum(self.sums.pairs)
