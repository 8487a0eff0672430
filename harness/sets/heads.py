"""Heads: measured impulse responses from loudspeakers to both ears, on disk as the official recipe names them."""

from dataclasses import dataclass
from pathlib import Path

from harness.enhancement import Signal


@dataclass(frozen=True)
class Position:
    """A head between two loudspeakers: an entry of head_loudspeaker_positions.json.

    Attributes:
        subject: whose head, e.g. "VP_E1".
        left_angle: of the left loudspeaker in degrees from straight ahead, negative: it stands on the left.
        right_angle: of the right one, positive.
        mic: where the sound is taken up, e.g. "BTE_fr".
    """

    subject: str
    left_angle: float
    right_angle: float
    mic: str


def speaker_files(folder: Path, position: Position) -> tuple[Path, Path]:
    """The files of both loudspeakers: `<mic>-<subject>-n30.0.wav` for the left one, `...-p30.0.wav` for the right one.

    Raises:
        DataError: an angle's sign is on the wrong side, a name leads out of the folder, or a file is not there: says
            which angles of that head are there.
    """
    raise NotImplementedError


def read_impulse_responses(path: Path) -> Signal:
    """Read a loudspeaker's impulse responses to the left and to the right ear: (taps, 2), float64, 44.1 kHz.

    Raises:
        DataError: not there, not a sound file, mono, another sample rate than 44.1 kHz, silent in an ear, not finite,
            or longer than a room's.
    """
    raise NotImplementedError
