"""What is submitted for a pair: one remix, or as many files as another protocol asks for.

Everything that lists, checks, packs or reads a submission's files goes by its form (`harness.submission.protocols`),
and need not know the protocol. Files are named by their paths in the submission, with "/" between folders.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.files import canonical_sha256
from harness.music.evaluationset import Pair, Scene
from harness.submission.flac import max_bytes, read_remix


@dataclass(frozen=True)
class Submitted:
    """What was submitted for a pair, as it is scored.

    Attributes:
        signals: as the protocol's evaluator takes them, float32, full scale +-1: a remix as (samples, 2) at 32 kHz, or
            eight stems by the names in `Protocol.signals`, each (samples,) at 24 kHz.
        sha256: of the files' content, see `content`.
    """

    signals: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]
    sha256: str


class Form(ABC):
    """The form of a submission under a protocol."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """What is submitted for a pair, in words and in the plural."""

    @abstractmethod
    def check(self, folder: Path, name: str, scene: Scene) -> str:
        """Read and check one file of a pair.

        Args:
            folder: of the submission.
            name: one of `Pair.files`.
            scene: that of the pair.

        Returns:
            The SHA-256 of the file.

        Raises:
            FileNotFoundError: there is none.
            SubmissionError: it is not what belongs there; begins with the file's last name.
            DataError: the scene's music cannot be read.
        """

    @abstractmethod
    def read(self, folder: Path, pair: Pair, known: bool = False) -> Submitted:
        """Read and check everything that is scored of a pair. Raises as `check`.

        Args:
            folder: of the submission.
            pair: what is read.
            known: the caller holds `Submitted.sha256` against that of files that were checked: what is slow to check
                is left out.
        """

    @abstractmethod
    def max_bytes(self, name: str, frames: int) -> int:
        """Size in bytes that a file of a pair can have; `frames` is the length of its music in samples at 44.1 kHz."""

    @abstractmethod
    def max_clipped(self, name: str, frames: int) -> int:
        """How many samples of a file can be clipped: all that it has, over its channels."""

    @property
    @abstractmethod
    def why_no_folder(self) -> str:
        """What to say of a folder that holds no file of a pair."""

    @abstractmethod
    def why_stray(self, name: str) -> str | None:
        """What to say of a file that is none of `Pair.files`; None where this form has nothing to say of it."""


def content(pair: Pair, hashes: Mapping[str, str]) -> str | None:
    """SHA-256 of what is submitted for a pair, by those of its files; None if one of them is missing.

    Of a single file it is the file's own.
    """
    return content_sha256(pair, hashes) if all(name in hashes for name in pair.files) else None


def content_sha256(pair: Pair, hashes: Mapping[str, str]) -> str:
    """The same where all files are known to be there."""
    names = pair.files
    return hashes[names[0]] if len(names) == 1 else canonical_sha256([hashes[name] for name in names])


class RemixForm(Form):
    """One stereo remix for each scene and listener."""

    @property
    def unit(self) -> str:
        """See `Form.unit`."""
        return "remixes"

    def check(self, folder: Path, name: str, scene: Scene) -> str:
        """See `Form.check`."""
        return read_remix(folder / name, scene.frames).sha256

    def read(self, folder: Path, pair: Pair, known: bool = False) -> Submitted:
        """See `Form.read`."""
        remix = read_remix(folder / pair.remix_name, pair.scene.frames, known)
        return Submitted(remix.signal, remix.sha256)

    def max_bytes(self, name: str, frames: int) -> int:
        """See `Form.max_bytes`."""
        del name
        return max_bytes(PROTOCOL.remix_frames(frames)[-1], 2)

    def max_clipped(self, name: str, frames: int) -> int:
        """See `Form.max_clipped`."""
        del name
        return 2 * PROTOCOL.remix_frames(frames)[-1]

    @property
    def why_no_folder(self) -> str:
        """See `Form.why_no_folder`."""
        return "is a folder: a submission holds files only"

    def why_stray(self, name: str) -> str | None:
        """See `Form.why_stray`."""
        if name.endswith(".txt"):
            return "is a text file: the official program would take it for a scale factor; remove it"
        if name.endswith("_remix.flac"):
            return "names no scene-listener pair of the evaluation set"
        if name.endswith(".flac"):
            return "is not named <scene>_<listener>_remix.flac"
        return None
