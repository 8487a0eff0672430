"""The metadata files of evaluation sets: what each may hold, and reading one that may come from a stranger."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, FailFast, Field, TypeAdapter, ValidationError, model_validator

from harness.documents import PRINTABLE, Document, at_most, ensure_few_values
from harness.errors import DataError, SubmissionError, first_problem
from harness.files import SAFE_NAME, read_bounded
from harness.hearing import Audiogram, Listener
from harness.music.evaluationset import EvaluationSet

MAX_METADATA_BYTES = 64 * 2**20
"""Far above the official files (the largest has 2 MB)."""

MAX_SCENES = 100_000
"""The official sets have up to 960 scenes, for 20 listeners each."""
MAX_PAIRS = 1_000_000
MAX_METADATA_VALUES = 1_500_000
"""In one file: those of that many pairs, each in the list of its scene, and some more."""
MAX_LABEL = 100
"""Characters of the name of a set or a split, as in a manifest."""

HAAQI_FREQUENCIES = (250, 500, 1000, 2000, 4000, 6000)
"""Frequencies in Hz that NAL-R and HAAQI use. Where one is missing, pyclarity would guess it in silence."""


LEVELS_DB_HL = (-10.0, 140.0)
"""Hearing levels that a threshold can have: audiometers start at -10 dB HL (IEC 60645-1), and none plays 140.

Slightly negative levels are real (better than average hearing, as in the challenge's own listeners).
"""


Name = Annotated[str, Field(pattern=rf"^{SAFE_NAME.pattern}$", max_length=100)]


_Level = Annotated[float, Field(strict=True, ge=LEVELS_DB_HL[0], le=LEVELS_DB_HL[1], allow_inf_nan=False)]


_Decibel = Annotated[float, Field(strict=True, ge=-100, le=100, allow_inf_nan=False)]


_Frequency = Annotated[float, Field(strict=True, gt=0, le=24000, allow_inf_nan=False)]


Text = Annotated[str, Field(min_length=1, max_length=300), PRINTABLE]


_Levels = Annotated[list[_Level], Field(max_length=100), FailFast()]


class GainsRecord(Document, extra="forbid"):
    vocals: _Decibel
    drums: _Decibel
    bass: _Decibel
    other: _Decibel


class ListenerRecord(BaseModel):
    audiogram_cfs: Annotated[list[_Frequency], Field(max_length=100), FailFast()]
    audiogram_levels_l: _Levels
    audiogram_levels_r: _Levels

    @model_validator(mode="after")
    def _complete(self) -> "ListenerRecord":
        frequencies = self.audiogram_cfs
        if frequencies != sorted(set(frequencies)):
            raise ValueError("audiogram_cfs must ascend")
        missing = [str(frequency) for frequency in HAAQI_FREQUENCIES if frequency not in frequencies]
        if missing:
            raise ValueError(f"audiogram_cfs lacks {', '.join(missing)} Hz")
        for key in ("audiogram_levels_l", "audiogram_levels_r"):
            levels = getattr(self, key)
            if len(levels) != len(frequencies):
                raise ValueError(f"{key} has {len(levels)} levels for {len(frequencies)} frequencies")
        return self


class SceneRecord(BaseModel):
    music: Text
    gain: Text
    head_loudspeaker_positions: Text | None = None


class MusicRecord(BaseModel):
    track: Text = Field(alias="Track Name")
    split: Annotated[str, Field(max_length=300), PRINTABLE] = Field(alias="Split")
    path: Annotated[str, Field(max_length=1000), PRINTABLE] | None = Field(alias="Path", default=None)


MusicRecords = Annotated[list[MusicRecord], Field(max_length=MAX_SCENES), FailFast()]


_Angle = Annotated[float, Field(strict=True, ge=-360, le=360, allow_inf_nan=False)]


class PositionRecord(BaseModel):
    left_angle: _Angle
    right_angle: _Angle


EACH_SCENE = at_most(MAX_SCENES)


def read(path: Path, kind: Any) -> Any:
    """Read a metadata file as `kind`; errors name the file, the key and what was expected."""
    try:
        content = read_bounded(path, MAX_METADATA_BYTES, follow=True)
        ensure_few_values(content, MAX_METADATA_VALUES)
        return TypeAdapter(kind).validate_json(content)
    except FileNotFoundError:
        raise DataError(f"missing metadata file {path}: check --data and --split") from None
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}: is this the right file?") from None
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error)}") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def read_listeners(path: Path) -> dict[str, Listener]:
    """The listeners in a file, in its order. Raises DataError."""
    known = read(path, Annotated[dict[Name, ListenerRecord], EACH_SCENE])
    return {key: listener_of(key, value) for key, value in known.items()}


def listener_of(listener_id: str, raw: ListenerRecord) -> Listener:
    frequencies = tuple(raw.audiogram_cfs)
    return Listener(
        listener_id,
        Audiogram(frequencies, tuple(raw.audiogram_levels_l)),
        Audiogram(frequencies, tuple(raw.audiogram_levels_r)),
    )


def check_names(pairs_file: Path, loaded: EvaluationSet, what: str = "scenes") -> None:
    """Check the pairs of an evaluation set.

    Args:
        pairs_file: where they are listed, for the message.
        loaded: the set.
        what: what stands beside a listener in a pair, for the message.

    Raises:
        DataError: there is no pair, or two names are one on a disk that does not tell "a" from "A".
    """
    count = sum(len(scene.listeners) for scene in loaded.scenes)
    if not count:
        raise DataError(f"{pairs_file}: holds no scene-listener pair")
    if count > MAX_PAIRS:
        raise DataError(f"{pairs_file}: holds {count:,} scene-listener pairs, at most {MAX_PAIRS:,} are expected")
    used = {listener.id for scene in loaded.scenes for listener in scene.listeners}
    for kind, ids in ((what, [scene.id for scene in loaded.scenes]), ("listeners", sorted(used))):
        folded: dict[str, str] = {}
        for each in ids:
            if (other := folded.setdefault(each.casefold(), each)) != each:
                raise DataError(f"{pairs_file}: the {kind} {other} and {each} differ in case only: rename one of them")
    names = {pair.remix_name.casefold() for pair in loaded.pairs}
    if len(names) != count:
        raise DataError(f"{pairs_file}: two pairs would share one file name: rename a scene or a listener")
