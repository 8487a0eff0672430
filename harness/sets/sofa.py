"""Heads in SOFA files (AES69, Spatially Oriented Format for Acoustics), read with the library `sofar`.

A file of the convention SimpleFreeFieldHRIR holds the impulse responses of one head from many directions to two
receivers, the ears. SOFA counts azimuth anticlockwise: 30 degrees is to the left, 330 to the right; here, as in the
challenge, -30 is to the left and 30 to the right. Of all directions those in the horizontal plane are of use.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.errors import DataError, UsageError, printable
from harness.sets.heads import MAX_SECONDS, check_response

CONVENTION = "SimpleFreeFieldHRIR"
PLANE_DEGREES = 0.5
"""How far above or below the horizontal plane a direction may lie: no grid of measurements is as fine."""
SAME_DEGREES = 0.05
"""Angles so close are one: positions in metres, and in single precision, give 29.9999 for 30."""
MAX_DIRECTIONS = 200_000
MAX_BYTES = 2 * 2**30
"""Of all impulse responses in float64. A head at two thousand directions has some megabytes."""
RATES = (8000.0, 384_000.0)
NEAR = 4
"""How many angles a message names where the wanted one was not measured."""


@dataclass(frozen=True)
class SofaHead:
    """What a SOFA file says of its head.

    Attributes:
        path: the file.
        about: its Title, DatabaseName, ListenerShortName, Organization, License and so on, as far as they are given.
        sample_rate: in Hz.
        taps: length of the impulse responses in samples.
        directions: how many directions were measured.
        rows: by angle in the horizontal plane, ascending, the rows of its measurements: degrees from straight ahead,
            negative to the left.
        swapped: whether the first receiver is the right ear.
    """

    path: Path
    about: dict[str, str]
    sample_rate: float
    taps: int
    directions: int
    rows: dict[float, tuple[int, ...]]
    swapped: bool

    @property
    def angles(self) -> list[float]:
        """Angles in the horizontal plane, ascending."""
        return list(self.rows)


def read_head(path: Path) -> SofaHead:
    """Read what a SOFA file holds, all but the impulse responses.

    Raises:
        UsageError: the library sofar is not installed.
        DataError: not there, no SOFA file, of another convention, or not of one head with two ears that looks ahead:
            says what is expected.
    """
    with _opened(path) as file:
        convention = _text(file, "GLOBAL_SOFAConventions")
        if convention != CONVENTION:
            raise DataError(
                f"{path}: its convention is {convention or 'not given'}, expected {CONVENTION}: "
                "impulse responses of a head in a free field"
            )
        shape = tuple(file.Data_IR.shape)
        directions, receivers, taps = shape if len(shape) == 3 else (0, 0, 0)
        if receivers != 2:
            raise DataError(
                f"{path} has impulse responses of the shape {shape}, expected (directions, 2 ears, samples): "
                "save the two microphones of one hearing aid, or the two ears, as a file of their own"
            )
        rate = _rate(path, file)
        if not 1 <= taps <= MAX_SECONDS * rate:
            raise DataError(f"{path}: {taps} samples of each impulse response, expected 1 to {MAX_SECONDS:g} s of them")
        if not 1 <= directions <= MAX_DIRECTIONS or directions * taps * 16 > MAX_BYTES:
            raise DataError(
                f"{path} has {directions:,} directions of {taps:,} samples: more than any head was measured at"
            )
        _check_view(path, file)
        azimuth, elevation = _directions(path, file, directions)
        return SofaHead(
            path=path,
            about=_about(file),
            sample_rate=rate,
            taps=taps,
            directions=directions,
            rows=_horizontal(azimuth, elevation),
            swapped=_swapped(path, file),
        )


def read_response(head: SofaHead, angle: float, resample: bool = False) -> Signal:
    """Read the impulse responses from one angle to both ears: (taps, 2), float64, 44.1 kHz, left ear first.

    Args:
        head: what `read_head` gave.
        angle: degrees from straight ahead, negative to the left.
        resample: resample another rate to 44.1 kHz (soxr HQ), and keep the gain.

    Raises:
        UsageError: this angle was not measured: names those near it; or the rate is another one and not resampled.
        DataError: the samples are damaged, all zero for an ear, or delayed by parts of a sample.
    """
    row = _row(head, angle)
    target = PROTOCOL.sample_rate
    if head.sample_rate != target and not resample:
        raise UsageError(f"{head.path}: the sample rate is {head.sample_rate:g} Hz, expected {target}: give --resample")
    with _opened(head.path) as file:
        response = _numbers(file.Data_IR[row]).T
        delays = _delays(head.path, file, row)
    what = f"{head.path}, angle {angle:g}"
    if response.shape != (head.taps, 2):
        raise DataError(f"{what}: the file was changed meanwhile: run the command again")
    check_response(response, what)
    response = _delayed(response, delays)
    if head.swapped:
        response = response[:, ::-1]
    if head.sample_rate == target:
        return np.ascontiguousarray(response)
    import soxr

    # Samples of an impulse response stand for more time at a lower rate: the filter's gain stays.
    scale = head.sample_rate / target
    return scale * np.asarray(soxr.resample(np.ascontiguousarray(response), head.sample_rate, target, quality="HQ"))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import sofar
    except ImportError:
        raise UsageError('SOFA files are read with the package sofar: pip install "cadenza-harness[sofa]"') from None
    if not path.is_file():
        raise DataError(f"no SOFA file {path}: check the path")
    try:
        with sofar.SofaStream(str(path.absolute())) as file:
            yield file
    except (OSError, RuntimeError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        # The library, and HDF5 below it, raise whatever they stumble over in a damaged file.
        reason = printable(str(error))[:200] or type(error).__name__
        raise DataError(f"{path} cannot be read as a SOFA file ({reason}): export it again") from None


def _text(file: Any, name: str) -> str:
    return printable(str(getattr(file, name, ""))).strip()


def _about(file: Any) -> dict[str, str]:
    names = ("Title", "DatabaseName", "ListenerShortName", "Organization", "AuthorContact", "License")
    found = {name: _text(file, f"GLOBAL_{name}")[:300] for name in names}
    return {name: text for name, text in found.items() if text}


def _numbers(values: Any) -> Signal:
    """Values of a variable as float64; those that are missing as NaN."""
    return np.asarray(np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan))


def _rate(path: Path, file: Any) -> float:
    if math.prod(file.Data_SamplingRate.shape) > MAX_DIRECTIONS:
        raise DataError(f"{path}: has too many sample rates, expected one")
    rates = set(_numbers(file.Data_SamplingRate[...]).ravel().tolist())
    if len(rates) != 1 or not RATES[0] <= (rate := rates.pop()) <= RATES[1]:
        raise DataError(f"{path}: expected one sample rate in Hz, such as {PROTOCOL.sample_rate}, for all directions")
    return float(rate)


def _vectors(path: Path, file: Any, name: str, count: int, like: str | None = None) -> Signal:
    """Positions as x (ahead), y (left), z (up): (count, 3), whatever their type in the file.

    Of spherical ones the distance is left out: only directions are of interest.

    Args:
        path, file: the SOFA file.
        name: of the variable.
        count: how many positions there are, unless one stands for all.
        like: the variable that says of which type they are; by default this one.
    """
    variable = getattr(file, name)
    if math.prod(variable.shape) > 3 * MAX_DIRECTIONS:
        raise DataError(f"{path}: {name} has the shape {tuple(variable.shape)}, expected three numbers each")
    values = _numbers(variable[...])
    values = values.reshape(values.shape[:2]) if values.ndim == 3 and values.shape[2] == 1 else values
    if values.ndim != 2 or values.shape[1] != 3 or values.shape[0] not in (1, count):
        raise DataError(f"{path}: {name} has the shape {values.shape}, expected ({count}, 3)")
    if not np.all(np.isfinite(values)):
        raise DataError(f"{path}: {name} has values that are missing or no numbers: export it again")
    kind = str(getattr(getattr(file, like or name), "Type", "")).lower()
    if kind == "spherical":
        azimuth, elevation = np.radians(values[:, 0]), np.radians(values[:, 1])
        level = np.cos(elevation)
        values = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], axis=1)
    elif kind != "cartesian":
        raise DataError(f"{path}: the type of {name} is {printable(kind)!r}, expected spherical or cartesian")
    return np.broadcast_to(values, (count, 3))


def _directions(path: Path, file: Any, count: int) -> tuple[Signal, Signal]:
    """Azimuth, anticlockwise, and elevation of every measurement in degrees."""
    if file.SourcePosition.shape[0] != count:
        raise DataError(f"{path}: SourcePosition has {file.SourcePosition.shape[0]} rows for {count} measurements")
    x, y, z = _vectors(path, file, "SourcePosition", count).T
    if np.any(np.hypot(np.hypot(x, y), z) == 0):
        raise DataError(f"{path}: a source stands in the middle of the head: SourcePosition is wrong")
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _check_view(path: Path, file: Any) -> None:
    """Raise DataError unless the head looks along x, upright: angles are counted from where it looks."""
    for name, expected, where in (("ListenerView", (1, 0, 0), "straight ahead"), ("ListenerUp", (0, 0, 1), "up")):
        variable = getattr(file, name, None)
        if variable is None:
            continue
        values = _vectors(path, file, name, variable.shape[0], like="ListenerView")
        length = np.linalg.norm(values, axis=1, keepdims=True)
        if not np.all(length > 0) or not np.allclose(values, length * np.array(expected), atol=1e-3):
            raise DataError(f"{path}: {name} is not {where}: turn the head to the front, and export it again")


def _swapped(path: Path, file: Any) -> bool:
    variable = getattr(file, "ReceiverPosition", None)
    if variable is None:
        return False
    first, second = _vectors(path, file, "ReceiverPosition", 2)[:, 1]
    # Where nothing tells them apart, the left ear comes first, as the convention has it.
    return bool(first < second)


def _horizontal(azimuth: Signal, elevation: Signal) -> dict[float, tuple[int, ...]]:
    """Rows of the measurements in the horizontal plane by angle, ascending."""
    found: dict[float, tuple[int, ...]] = {}
    for row in np.flatnonzero(np.abs(elevation) <= PLANE_DEGREES):
        angle = round(-float(azimuth[row]), 2) + 0.0
        angle = 180.0 if angle == -180.0 else angle
        found[angle] = (*found.get(angle, ()), int(row))
    return dict(sorted(found.items()))


def _row(head: SofaHead, angle: float) -> int:
    near = sorted(head.rows, key=lambda measured: abs(measured - angle))[:NEAR]
    if not near:
        raise UsageError(f"{head.path} has no direction in the horizontal plane: choose another file")
    if abs(near[0] - angle) > SAME_DEGREES:
        listed = ", ".join(f"{measured:g}" for measured in sorted(near))
        raise UsageError(f"{head.path}: {angle:g} degrees was not measured; near it are {listed}")
    rows = head.rows[near[0]]
    if len(rows) > 1:
        raise UsageError(
            f"{head.path} has {len(rows)} measurements at {angle:g} degrees, perhaps at several distances: "
            "save one distance as a file of its own"
        )
    return rows[0]


def _delays(path: Path, file: Any, row: int) -> tuple[int, int]:
    """Samples by which the ears' responses are delayed on top of what they hold."""
    variable = getattr(file, "Data_Delay", None)
    if variable is None:
        return 0, 0
    if variable.ndim != 2 or variable.shape[1] != 2:
        raise DataError(f"{path}: Data.Delay has the shape {tuple(variable.shape)}, expected (directions, 2)")
    delays = _numbers(variable[row if variable.shape[0] > 1 else 0])
    limit = MAX_SECONDS * PROTOCOL.sample_rate
    if not np.all(delays == np.round(delays)) or not np.all((delays >= 0) & (delays <= limit)):
        raise DataError(
            f"{path}: Data.Delay is {delays.tolist()}, expected whole samples: put delays into the responses"
        )
    return int(delays[0]), int(delays[1])


def _delayed(response: Signal, delays: tuple[int, int]) -> Signal:
    if not any(delays):
        return response
    longer = np.zeros((len(response) + max(delays), 2))
    for ear, delay in enumerate(delays):
        longer[delay : delay + len(response), ear] = response[:, ear]
    return longer
