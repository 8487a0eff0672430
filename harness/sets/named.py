"""Songs, gains and positions as somebody names them: the shipped ones, the challenge's, none, or one's own."""

from pathlib import Path
from typing import Annotated

from harness.challenge import STEMS
from harness.errors import DataError, UsageError
from harness.files import expanded
from harness.music.metadata import EACH_SCENE, GainsRecord, Text, read
from harness.sets.demosongs import demo_songs
from harness.sets.gains import official_gains
from harness.sets.heads import KEMAR_POSITIONS, Position, kemar_folder
from harness.sets.positions import read_positions
from harness.sets.songs import FoundSongs, find_songs
from harness.sets.writing import plain

DEMO = "demo"
"""Stands for the embedded excerpt among songs."""


def named_songs(
    named: str, layout: str | None, resample: bool, option: str = "--songs", split: str | None = None
) -> FoundSongs:
    """The songs that somebody names: "demo" for the embedded excerpt, or a folder; see `find_songs`.

    Args:
        named: what was given.
        layout, resample, split: as for `find_songs`.
        option: what it was given as, for messages.
    """
    if named != DEMO:
        return find_songs(expanded(named, option).absolute(), layout, resample, split)
    if layout not in (None, "folders"):
        raise UsageError(f"--layout {layout} goes with a folder of songs, not with {option} {DEMO}")
    return find_songs(demo_songs(), "folders")


def named_gains(named: str) -> dict[str, dict[str, float]]:
    """Sets of gains in dB by id.

    Args:
        named: "official" for the challenge's 1105, "none" for the one that changes nothing, or a file such as
            gains.json.

    Raises:
        UsageError: no such file.
        DataError: it is malformed, or empty.
    """
    if named == "official":
        return {key: dict(gains) for key, gains in official_gains().items()}
    if named == "none":
        return {"gain_0001": dict.fromkeys(STEMS, 0)}
    path = _file(named, "--gains", "official or none")
    known: dict[str, GainsRecord] = read(path, Annotated[dict[Text, GainsRecord], EACH_SCENE])
    if not known:
        raise DataError(f"{path} holds no gains: expected at least one set")
    return {key: {stem: plain(getattr(record, stem)) for stem in STEMS} for key, record in known.items()}


def named_positions(named: str, heads: str | None, root: Path) -> tuple[dict[str, Position], Path]:
    """Positions by id, and the folder with the heads' impulse responses.

    Args:
        named: "headphones" for none, "kemar" for those of the head that is shipped, or a file such as
            head_loudspeaker_positions.json.
        heads: the folder, where it is given; by default `root/audio/hrtf`. Not with the first two.
        root: of the evaluation set.

    Raises:
        UsageError: no such file or folder.
        DataError: the file is malformed, or empty.
    """
    if named in ("headphones", "kemar"):
        if heads is not None:
            raise UsageError(f"--hrtf goes with --positions FILE, not with --positions {named}")
        return ({}, kemar_folder()) if named == "headphones" else (dict(KEMAR_POSITIONS), kemar_folder())
    path = _file(named, "--positions", "headphones or kemar")
    folder = root / "audio" / "hrtf" if heads is None else expanded(heads, "--hrtf").absolute()
    positions = read_positions(path)
    if not positions:
        raise DataError(f"{path} holds no position: expected at least one, or --positions headphones")
    if not folder.is_dir():
        raise UsageError(f"no folder {folder} with the heads' impulse responses: name it with --hrtf")
    return positions, folder


def _file(named: str, option: str, else_: str) -> Path:
    path = expanded(named, option).absolute()
    if not path.is_file():
        raise UsageError(f"{option} {named}: no such file; {else_} will do as well")
    return path
