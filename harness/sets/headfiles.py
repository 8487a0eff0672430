"""A head from a SOFA file as the official recipe's files: impulse responses as WAV, and positions."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from harness.challenge import PROTOCOL
from harness.errors import SubmissionError, UsageError
from harness.files import SAFE_NAME, locked_folder, read_bounded, sha256_of, write_whole
from harness.music.layout import POSITION_FILES, positions_file
from harness.music.metadata import MAX_METADATA_BYTES
from harness.sets.cutting import wav
from harness.sets.heads import MAX_BYTES, Position, positions_of, speaker_name
from harness.sets.positions import read_positions, records_of
from harness.sets.provenance import write_provenance
from harness.sets.sofa import SofaHead, read_response
from harness.sets.writing import write_metadata

HEADS = "heads"
"""Heads are of no split: where they came from stands in provenance.heads.json."""


@dataclass(frozen=True)
class SavedHead:
    """What saving a head did.

    Attributes:
        files: the files, and whether each was written: not if it was there with the same content.
        positions: the head's positions by id, those that were there already included.
    """

    files: dict[Path, bool]
    positions: dict[str, Position]


def save_head(
    head: SofaHead,
    angles: Sequence[float],
    root: Path,
    subject: str,
    mic: str,
    resample: bool = False,
    overwrite: bool = False,
) -> SavedHead:
    """Write a head's impulse responses, 32 bit float, to audio/hrtf under a set's root, and list its positions.

    The positions are all pairs of a left and a right angle. They are added to those that are listed already, with ids
    that follow. provenance.heads.json notes the SOFA file's hash, and its licence.

    Args:
        head: of `read_head`.
        angles: of the loudspeakers, degrees from straight ahead, negative to the left; at least one on either side.
        root: folder of the evaluation set; made if need be.
        subject, mic: what the files are called: `<mic>-<subject>-n30.0.wav`.
        resample: see `read_response`.
        overwrite: whether WAV files that hold something else are replaced.

    Raises:
        UsageError: no angle on a side, an angle that was not measured, a name that cannot be a file's, another sample
            rate, or a file is there with another content.
        DataError: the SOFA file, or the positions that are there, are damaged.
        StorageError, SubmissionError: a file cannot be written, or another harness writes there.
    """
    for what, name in (("--subject", subject), ("--mic", mic)):
        if not SAFE_NAME.fullmatch(name) or len(name) > 100:
            raise UsageError(
                f"{what} {name[:100]!r}: expected 1 to 100 of the characters A-Z a-z 0-9 _ . - that begin with a "
                "letter or digit: it becomes part of file names"
            )
    left, right = _sides(angles)
    head_name = f"{mic}-{subject}"
    hrtf = root / "audio" / "hrtf"
    contents = {
        hrtf / speaker_name(head_name, angle): wav(read_response(head, angle, resample), "FLOAT")
        for angle in (*left, *right)
    }
    with locked_folder(root, wait=True):
        files = {path: _is_new(path, content, overwrite) for path, content in contents.items()}
        listed, known = _known(root)
        wanted = positions_of(subject, mic, left, right)
        ours, records = _added(known, wanted)
        for path, content in contents.items():
            if files[path]:
                write_whole(path, content)
        files[listed] = write_metadata(listed, records)
        provenance: dict[str, JsonValue] = {
            "source": {"file": head.path.name, "sha256": sha256_of(head.path), "about": {**head.about}},
            "sample_rate": head.sample_rate,
            "resampled": head.sample_rate != PROTOCOL.sample_rate,
            "angles": [*left, *right],
        }
        write_provenance(root, HEADS, f"set head {head_name}", provenance)
    return SavedHead(files, ours)


def _sides(angles: Sequence[float]) -> tuple[list[float], list[float]]:
    left = sorted({float(angle) for angle in angles if angle < 0})
    right = sorted({float(angle) for angle in angles if angle > 0})
    if any(not 0 < abs(angle) <= 180 for angle in angles):
        raise UsageError("--angles: expected degrees from straight ahead, -180 to 180 and not 0, such as -30,30")
    for side, found, example in (("left", left, "-30"), ("right", right, "30")):
        if not found:
            raise UsageError(f"--angles: none is on the {side}: name one for each loudspeaker, such as {example}")
    return left, right


def _is_new(path: Path, content: bytes, overwrite: bool) -> bool:
    """Whether a file is to be written. Raises UsageError if that would replace another one."""
    try:
        existing = read_bounded(path, MAX_BYTES, follow=True)
    except FileNotFoundError:
        return True
    except SubmissionError as error:
        raise UsageError(f"{path.parent}/{error}: remove it, or choose another --output") from None
    if existing != content and not overwrite:
        raise UsageError(
            f"{path} is there already and holds something else: give --overwrite to replace it, "
            "or another --subject, --mic or --output"
        )
    return existing != content


def _known(root: Path) -> tuple[Path, dict[str, tuple[Position, dict[str, Any]]]]:
    """The positions' file, and what it lists: each as a position, and as it stands there."""
    path = positions_file(root)
    if path is None:
        return root / "metadata" / POSITION_FILES[0], {}
    positions = read_positions(path)
    records = json.loads(read_bounded(path, MAX_METADATA_BYTES, follow=True))
    return path, {key: (position, records[key]) for key, position in positions.items()}


def _added(
    known: dict[str, tuple[Position, dict[str, Any]]], wanted: dict[str, Position]
) -> tuple[dict[str, Position], dict[str, Any]]:
    """The wanted positions by their ids in the file, and its content with them."""
    ids = {position: key for key, (position, _) in known.items()}
    number = len(known)
    ours: dict[str, Position] = {}
    for position in wanted.values():
        key = ids.get(position)
        while key is None:
            number += 1
            key = None if f"hlp_{number:04}" in known else f"hlp_{number:04}"
        ours[key] = position
    records = {key: record for key, (_, record) in known.items()}
    records |= {key: record for key, record in records_of(ours).items() if key not in records}
    return ours, records
