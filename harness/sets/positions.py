"""Positions: whose head stands between which loudspeakers, as head_loudspeaker_positions.json lists them."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel

from harness.music.metadata import EACH_SCENE, PositionRecord, Text, read
from harness.sets.heads import Position

SUBJECTS = (
    *(f"VP_E{number}" for number in (1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 13)),
    *(f"VP_N{number}" for number in (1, 3, 4, 5, 6)),
)
"""The 16 people of the head measurements OlHeaD-HRTF (Denk et al. 2018) that the challenge uses."""
LEFT_ANGLES = (-37.5, -30.0, -22.5)
"""Degrees from straight ahead; negative: on the left."""
RIGHT_ANGLES = (22.5, 30.0, 37.5)
MIC = "BTE_fr"
"""The front microphone of a hearing aid behind the ear."""


def official_positions() -> dict[str, Position]:
    """The 144 positions of the challenge by id: "hlp_0001" to "hlp_0144".

    Which subjects and angles there are is published, and that the ids have this number and order is certain, since the
    official draws from them give the published scenes. Which position an id stands for is published for hlp_0001
    alone; the others are inferred from it: subject by subject, left angles ascending, right angles ascending.
    """
    every = product(SUBJECTS, LEFT_ANGLES, RIGHT_ANGLES)
    return {
        f"hlp_{number:04d}": Position(subject, left, right, MIC)
        for number, (subject, left, right) in enumerate(every, 1)
    }


def records_of(positions: Mapping[str, Position]) -> dict[str, dict[str, Any]]:
    """Positions as the content of head_loudspeaker_positions.json, with keys in the official order."""
    return {
        key: {
            "subject": position.subject,
            "left_angle": position.left_angle,
            "right_angle": position.right_angle,
            "mic": position.mic,
        }
        for key, position in positions.items()
    }


class _WholeRecord(PositionRecord):
    """What making music needs to know of a position, and what scoring does without."""

    subject: Text
    mic: Text


class _AnyRecord(BaseModel):
    """A position of which only the id matters."""


def position_ids(path: Path) -> list[str]:
    """The ids in a positions file, in its order. Raises DataError."""
    return list(read(path, Annotated[dict[Text, _AnyRecord], EACH_SCENE]))


def read_positions(path: Path) -> dict[str, Position]:
    """The positions in a file, in its order.

    Raises:
        DataError: missing or malformed, or it leaves out subject, microphone or an angle of a position.
    """
    known: dict[str, _WholeRecord] = read(path, Annotated[dict[Text, _WholeRecord], EACH_SCENE])
    return {
        key: Position(record.subject, record.left_angle, record.right_angle, record.mic)
        for key, record in known.items()
    }
