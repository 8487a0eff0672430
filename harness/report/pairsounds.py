"""The sound of a pair, made in a worker: of all that is still what was scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import HarnessError
from harness.music.evaluationset import Pair

if TYPE_CHECKING:
    from harness.listening import Sound


@dataclass(frozen=True)
class Remix:
    """A run's remix of a pair.

    Attributes:
        run: number of the run.
        folder: where its submission lies; None if that is not known.
        sha256: of the file that was scored.
    """

    run: int
    folder: Path | None
    sha256: str


@dataclass(frozen=True)
class SoundTask:
    """A pair to be heard.

    Attributes:
        pair: scene and listener.
        remixes: of the runs.
        hashes: SHA-256 of the scene's music by path.
        lossless: FLAC instead of MP3.
    """

    pair: Pair
    remixes: tuple[Remix, ...]
    hashes: Mapping[Path, str] = field(hash=False)
    lossless: bool = False


@dataclass(frozen=True)
class PairSounds:
    """What became of it.

    Attributes:
        sounds: reference, mixture, and remixes, which are called by the numbers of their runs. Empty if there is none.
        missing: by the numbers of other runs why their remix cannot be heard. Names no path: pages are published.
        problem: why there is no sound at all.
    """

    sounds: tuple["Sound", ...]
    missing: Mapping[int, str]
    problem: str | None = None


def make_sounds(task: SoundTask) -> PairSounds:
    """Make the clips of a pair. What cannot be heard is left out, with the reason."""
    from harness.listening import sounds_of

    paths, missing = {}, {}
    hashes = dict(task.hashes)
    for remix in task.remixes:
        reason = _unusable(remix, task.pair)
        if reason is not None:
            missing[remix.run] = reason
        elif remix.folder is not None:
            path = remix.folder / task.pair.remix_name
            paths[str(remix.run)] = path
            hashes[path] = remix.sha256
    try:
        return PairSounds(tuple(sounds_of(task.pair, paths, hashes=hashes, lossless=task.lossless)), missing)
    except HarnessError as error:
        return PairSounds((), missing, str(error))


def _unusable(remix: Remix, pair: Pair) -> str | None:
    from harness.listening import check_remix

    if remix.folder is None:
        return "it is not known where its files are"
    if remix.folder.is_file():
        return "its files are in a zip file"
    path = remix.folder / pair.remix_name
    if not path.exists():
        return "its file is no longer there"
    try:
        check_remix(path, pair.scene, remix.sha256)
    except HarnessError:
        return "its file is no longer the one that was scored"
    return None
