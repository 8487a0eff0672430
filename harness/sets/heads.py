"""Heads: measured impulse responses from loudspeakers to both ears, on disk as the official recipe names them.

A head's files lie in one folder, `<mic>-<subject>-n30.0.wav` for a loudspeaker 30 degrees to the left, `...-p30.0.wav`
for one to the right, each with two channels: left ear, right ear. The recipe drops the angles' signs and never looks at
sample rates; here both are checked.
"""

import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.errors import DataError, SubmissionError, printable
from harness.files import read_bounded
from harness.music.heads import KEMAR_ANGLES, KEMAR_FOLDER, KEMAR_MIC, KEMAR_SUBJECT

MAX_SECONDS = 10.0
"""Longest impulse response: a cathedral's. Those of heads last milliseconds."""

MIN_PEAK, MAX_PEAK = 1e-3, 1e6
"""Between these lies the peak of any scaling in use: full scale 1 or 32768, pascals. Loudness is restored after the
head, so that the scaling itself changes nothing, unless the music falls below the loudness meter's gate."""

MAX_BYTES = 32 * 2**20
"""Above what `MAX_SECONDS` take: 10 s of two channels in 64 bit are 7 MB."""

SHOWN = 12
"""How many heads or angles a message lists."""


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

    @property
    def head(self) -> str:
        """Microphone and subject, with which the names of the head's files begin: "BTE_fr-VP_E1"."""
        return f"{self.mic}-{self.subject}"

    @property
    def speakers(self) -> tuple[str, str]:
        """Names of the files of the left and of the right loudspeaker."""
        return speaker_name(self.head, -abs(float(self.left_angle))), speaker_name(self.head, abs(self.right_angle))


def speaker_name(head: str, angle: float) -> str:
    """The name of a loudspeaker's file.

    Args:
        head: microphone and subject, `Position.head`.
        angle: of the loudspeaker in degrees, negative to the left. Straight ahead is both `n0.0` and `p0.0`: the sign
            of the zero decides.
    """
    # The number is Python's text of a float, as in the official program.
    return f"{head}-{'n' if math.copysign(1.0, angle) < 0 else 'p'}{abs(float(angle))}.wav"


def positions_of(
    subject: str, mic: str, left_angles: Iterable[float], right_angles: Iterable[float]
) -> dict[str, Position]:
    """All pairs of a left and a right loudspeaker around a head, as `hlp_0001`, `hlp_0002`, ...

    Args:
        subject, mic: of the head.
        left_angles, right_angles: degrees from straight ahead.

    Returns:
        the positions, by left angle, then by right angle, both ascending as numbers (-40 before -20).
    """
    pairs = [(left, right) for left in sorted(set(left_angles)) for right in sorted(set(right_angles))]
    return {f"hlp_{n:04}": Position(subject, left, right, mic) for n, (left, right) in enumerate(pairs, 1)}


KEMAR_POSITIONS = positions_of(KEMAR_SUBJECT, KEMAR_MIC, (-angle for angle in KEMAR_ANGLES), KEMAR_ANGLES)
"""25 positions of the KEMAR head whose impulse responses are shipped: five angles on the left by five on the right."""


def kemar_folder() -> Path:
    """The folder with the impulse responses of the KEMAR head (Gardner & Martin 1994) that are shipped."""
    return KEMAR_FOLDER


def speaker_files(folder: Path, position: Position) -> tuple[Path, Path]:
    """The files of both loudspeakers: `<mic>-<subject>-n30.0.wav` for the left one, `...-p30.0.wav` for the right one.

    An angle of 30 means 30.0. Straight ahead (0) is allowed for either loudspeaker.

    Raises:
        DataError: an angle's sign is on the wrong side, a name leads out of the folder, or a file is not there: says
            which angles of that head are there.
    """
    for side, angle, fits, expected in (
        ("left", position.left_angle, -180 <= position.left_angle <= 0, "-180 to 0, such as -30.0"),
        ("right", position.right_angle, 0 <= position.right_angle <= 180, "0 to 180, such as 30.0"),
    ):
        if not fits:
            raise DataError(
                f"{side}_angle is {angle:g}, expected {expected}: negative angles are to the left of straight ahead"
            )
    for key, text in (("mic", position.mic), ("subject", position.subject)):
        if not text.isprintable() or any(character in text for character in "/\\") or not 1 <= len(text) <= 100:
            raise DataError(
                f"{key} is {printable(text[:100])!r}, expected 1 to 100 characters without / or \\: "
                "it is part of a file's name"
            )
    left, right = (folder / name for name in position.speakers)
    for path in (left, right):
        if not os.path.isfile(path):  # noqa: PTH113 - unlike Path.is_file, False for a name that is too long
            raise DataError(f"no impulse responses {path}: {_what_is_there(folder, position.head)}")
    return left, right


def heads_in(folder: Path) -> dict[str, list[float]]:
    """The heads whose files are in a folder, `<mic>-<subject>`, and the angles of each: ascending, left is negative.

    Files whose names are not of the official form are left out.
    """
    found: dict[str, set[float]] = {}
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return {}
    for name in names:
        head, _, angle = name.removesuffix(".wav").rpartition("-")
        if not name.endswith(".wav") or not head or angle[:1] not in ("n", "p"):
            continue
        try:
            number = float(angle[1:])
        except ValueError:
            continue
        signed = -number if angle[0] == "n" else number
        if speaker_name(head, signed) == name and math.isfinite(number):
            found.setdefault(head, set()).add(signed)
    return {head: sorted(angles) for head, angles in found.items()}


def _what_is_there(folder: Path, head: str) -> str:
    heads = heads_in(folder)
    if not heads:
        return (
            "the folder holds no file of the form <mic>-<subject>-n30.0.wav: copy the head's files there, "
            "or write them with harness set head FILE.sofa --angles=-30,30 --output ROOT"
        )
    if head not in heads:
        return f"the folder holds the heads {_listed(list(heads))}: correct mic and subject, or add the file"
    angles = _listed([f"{angle:g}" for angle in heads[head]])
    return f"of the head {head} there are the angles {angles}: choose one of them, or add the file"


def _listed(texts: Sequence[str]) -> str:
    shown = ", ".join(printable(text) for text in texts[:SHOWN])
    return shown if len(texts) <= SHOWN else f"{shown} and {len(texts) - SHOWN} more"


def read_impulse_responses(path: Path) -> Signal:
    """Read a loudspeaker's impulse responses to the left and to the right ear: (taps, 2), float64, 44.1 kHz.

    Raises:
        DataError: not there, not a WAV file, mono, another sample rate than 44.1 kHz, silent in an ear, not finite,
            scaled beyond `MIN_PEAK` to `MAX_PEAK`, or longer than `MAX_SECONDS`.
    """
    import soundfile

    try:
        content = read_bounded(path, MAX_BYTES, follow=True)
        header = soundfile.info(io.BytesIO(content))
    except FileNotFoundError:
        raise DataError(f"no impulse responses {path}: copy the head's files there") from None
    except SubmissionError as error:
        raise DataError(f"{path.parent}/{error}: expected a WAV file with impulse responses") from None
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path} cannot be read as audio ({error}): expected a WAV file with impulse responses"
        ) from None
    if header.format not in ("WAV", "WAVEX"):
        raise DataError(f"{path} is a {header.format} file inside, expected WAV: convert it")
    # libsndfile would read what is left. A program that wrote into a pipe knew no size: all ones.
    announced = int.from_bytes(content[4:8], "little")
    if len(content) < announced + 8 and announced != 2**32 - 1:
        raise DataError(
            f"{path} ends early, {announced + 8} bytes are expected, {len(content)} are there: copy it again"
        )
    rate = PROTOCOL.sample_rate
    if header.samplerate != rate:
        raise DataError(
            f"{path}: the sample rate is {header.samplerate} Hz, expected {rate}: resample it, "
            "or make it from the head's SOFA file with harness set head FILE.sofa --resample"
        )
    if header.channels != 2:
        raise DataError(
            f"{path} has {header.channels} channel{'s' if header.channels > 1 else ''}, expected 2: "
            "the left and the right ear"
        )
    if not 1 <= header.frames <= MAX_SECONDS * rate:
        raise DataError(
            f"{path} lasts {header.frames / rate:g} s, expected at most {MAX_SECONDS:g} s: is it an impulse response?"
        )
    try:
        response, _ = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path} cannot be read as audio ({error}): copy it again") from None
    check_response(np.asarray(response), str(path))
    return np.asarray(response)


def check_response(response: Signal, what: str) -> None:
    """Check the samples of a loudspeaker's impulse responses.

    Args:
        response: (taps, 2): left ear, right ear.
        what: whose they are, for the message.

    Raises:
        DataError: not finite, zeros in an ear, or scaled beyond `MIN_PEAK` to `MAX_PEAK`.
    """
    if not np.all(np.isfinite(response)):
        raise DataError(f"{what}: a sample is not a finite number: export the head again")
    for ear, channel in zip(("left", "right"), response.T, strict=True):
        if not np.any(channel):
            raise DataError(f"{what}: nothing but zeros reaches the {ear} ear: export the head again")
    peak = float(np.abs(response).max())
    if not MIN_PEAK <= peak <= MAX_PEAK:
        raise DataError(
            f"{what} peaks at {peak:.3g}, expected {MIN_PEAK:g} to {MAX_PEAK:g}: scale all files of the head "
            "by one factor, which changes nothing else"
        )
