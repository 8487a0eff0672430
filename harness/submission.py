"""Submissions: a folder with one stereo remix for each scene and listener, and a manifest.

```
<submission>/submission.json                  what made it, for which evaluation set, SHA-256 of every file
<submission>/<scene>_<listener>_remix.flac    stereo, 32 kHz, 16 bit
```
A submission may come from a stranger: sizes are bounded before anything is read, links are not followed, and each
file is read once, so that what was checked and hashed is what is scored.
"""

import hashlib
import io
import json
import os
import stat
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError, field_validator

from harness import __version__, enhancement
from harness.challenge import PROTOCOL
from harness.errors import SubmissionError, first_problem
from harness.evaluationset import EvaluationSet
from harness.files import canonical_sha256, sha256_of, sha256_of_tree, write_whole
from harness.systems import TRAINING_DATA, Reference, System

MANIFEST = "submission.json"
MAX_MANIFEST_BYTES = 32 * 2**20
"""A manifest of 19,200 files has 3 MB."""

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=500)]
_Name = Annotated[str, Field(min_length=1, max_length=100)]
_Number = Annotated[float, Field(allow_inf_nan=False)]


class FileRecord(BaseModel, extra="forbid"):
    """One file: its hash, and how many of its samples (both channels) were clipped, where that is known."""

    sha256: _Sha256
    clipped: Annotated[int, Field(ge=0)] | None = None


class EvaluationSetRecord(BaseModel, extra="forbid"):
    """Which evaluation set a submission is for; the hash is `EvaluationSet.mixtures_sha256`."""

    name: _Name
    split: _Name
    mixtures_sha256: _Sha256 | None = None


class Manifest(BaseModel, extra="forbid"):
    """What `submission.json` holds. Only the first six fields are required of a stranger's submission."""

    format: Literal[1]
    system: _Name
    version: _Name
    class_: Literal["causal", "non-causal"] = Field(alias="class")
    training_data: str
    evaluation_set: EvaluationSetRecord
    files: dict[_Name, FileRecord] = Field(default_factory=dict)
    licence: _Text = "unknown"
    parameters: Annotated[int, Field(ge=0)] | None = None
    settings: dict[_Name, bool | int | _Number | _Text | None] = Field(default_factory=dict)
    soft_clip: bool = False
    inputs_sha256: dict[_Name, _Sha256] = Field(default_factory=dict)
    pipeline_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    weights_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    code_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    not_eligible: _Text | None = None
    reference: bool = False
    harness: _Name | None = None

    @field_validator("training_data")
    @classmethod
    def _known_training_data(cls, value: str) -> str:
        if value not in TRAINING_DATA:
            raise ValueError(f"expected one of: {', '.join(TRAINING_DATA)}")
        return value

    @property
    def key(self) -> str:
        """Identity of what made the files, and of what it declares of itself.

        Files made under one key are never taken for files of another.
        """
        return canonical_sha256(self.identity)

    @property
    def identity(self) -> dict[str, Any]:
        """The parts of `key`, by the names that messages use."""
        return {
            "system": self.system,
            "version": self.version,
            "options": self.settings,
            "soft clip": self.soft_clip,
            "files named by options": self.inputs_sha256,
            "weights": self.weights_sha256,
            "code": self.code_sha256,
            "harness's own processing": self.pipeline_sha256,
            "declaration": {
                "class": self.class_,
                "training_data": self.training_data,
                "licence": self.licence,
                "parameters": self.parameters,
                "not_eligible": self.not_eligible,
                "reference": self.reference,
            },
            "evaluation set": self.evaluation_set.mixtures_sha256,
        }

    def is_for(self, evaluation_set: EvaluationSet) -> bool:
        """Whether the submission is for that evaluation set (as far as it says)."""
        declared = self.evaluation_set
        return declared.split == evaluation_set.split and declared.mixtures_sha256 in (
            None,
            evaluation_set.mixtures_sha256,
        )

    @property
    def why_not_eligible(self) -> str | None:
        """Why the rules exclude it, as declared or as follows from its training data."""
        return self.not_eligible or TRAINING_DATA[self.training_data]

    def to_bytes(self) -> bytes:
        """The manifest as the content of `submission.json`."""
        return json.dumps(self.model_dump(by_alias=True), indent=1).encode() + b"\n"


def manifest_for(system: System, evaluation_set: EvaluationSet, soft_clip: bool) -> Manifest:
    """The manifest of what a loaded system makes of an evaluation set; no files yet."""
    return Manifest.model_validate(
        {
            "format": 1,
            "system": system.name,
            "version": system.version,
            "class": "causal" if system.causal else "non-causal",
            "training_data": system.training_data,
            "evaluation_set": {
                "name": evaluation_set.name,
                "split": evaluation_set.split,
                "mixtures_sha256": evaluation_set.mixtures_sha256,
            },
            "licence": system.licence,
            "parameters": system.parameters,
            # A path says where something lies on this machine; what lies there is hashed.
            "settings": {
                name: value.name if isinstance(value, Path) else value for name, value in system.settings.items()
            },
            "soft_clip": soft_clip,
            "inputs_sha256": {
                name: sha256_of_tree(value) for name, value in system.settings.items() if isinstance(value, Path)
            },
            "pipeline_sha256": _pipeline_sha256(),
            "weights_sha256": system.weights_sha256(),
            "code_sha256": system.code,
            "not_eligible": system.not_eligible,
            "reference": isinstance(system, Reference),
            "harness": __version__,
        }
    )


def _pipeline_sha256() -> str:
    """Identity of what turns stems into files: our own code, and the libraries that it calls."""
    versions = {name: metadata.version(name) for name in ("pyclarity", "pyloudnorm", "soxr")}
    return canonical_sha256({"enhancement": sha256_of(Path(enhancement.__file__)), **versions})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a submission, or None if it has none.

    Raises:
        SubmissionError: it is there but cannot be read, or is not a manifest; names the key.
    """
    try:
        content = read_bounded(folder / MANIFEST, MAX_MANIFEST_BYTES)
        return Manifest.model_validate_json(content)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise SubmissionError(f"{folder / MANIFEST}: {first_problem(error)}") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `submission.json`, whole or not at all."""
    write_whole(folder / MANIFEST, manifest.to_bytes())


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a stranger's file: a regular file, no link, not larger than `limit` bytes.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, not a regular file, too large, or it cannot be read.
    """
    try:
        # O_NONBLOCK: a named pipe in place of a file must not make us wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SubmissionError(f"{path.name} is not a regular file")
            if status.st_size > limit:
                raise SubmissionError(f"{path.name} has {status.st_size} bytes, at most {limit} are expected")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink():
            raise SubmissionError(f"{path.name} is a link: submit the file itself") from None
        raise SubmissionError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(content) > limit:  # it has grown since
        raise SubmissionError(f"{path.name} has more than {limit} bytes")
    return content


@dataclass(frozen=True)
class Remix:
    """A submitted remix: int16 samples of shape (samples, 2) at 32 kHz, and the SHA-256 of its file."""

    samples: NDArray[np.int16]
    sha256: str

    @property
    def signal(self) -> NDArray[np.float32]:
        """The samples as the recipe reads them: float32, full scale +-1."""
        return (self.samples / 32768.0).astype(np.float32)


def encode(samples: NDArray[np.int16]) -> bytes:
    """FLAC file, 32 kHz, 16 bit, of int16 samples (samples, 2)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, PROTOCOL.remix_sample_rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def read_remix(path: Path, music_frames: int) -> Remix:
    """Read and check one submitted remix.

    Args:
        path: the file.
        music_frames: length of the scene's music in samples at 44.1 kHz; bounds size and length.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, too large, damaged, or not FLAC, 32 kHz, 16 bit, stereo, of the right length;
            or every sample is zero.
    """
    lengths = PROTOCOL.remix_frames(music_frames)
    # FLAC stores what does not compress as it is: the raw size, with room for headers and tags.
    content = read_bounded(path, limit=int(lengths[-1] * 2 * 2 * 1.1) + 2**18)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            for what, found, expected in (
                ("format", file.format, "FLAC"),
                ("bits", file.subtype, f"PCM_{PROTOCOL.bits}"),
                ("sample rate", file.samplerate, PROTOCOL.remix_sample_rate),
                ("channels", file.channels, 2),
            ):
                if found != expected:
                    raise SubmissionError(f"{path.name}: {what} is {found}, expected {expected}")
            if file.frames not in lengths:
                raise SubmissionError(
                    f"{path.name}: has {file.frames} samples, expected {lengths[0]} to {lengths[-1]} "
                    "(the music's length, with or without NAL-R's tail)"
                )
            announced = file.frames
            samples = file.read(dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SubmissionError(f"{path.name}: damaged or not FLAC inside ({error.error_string})") from None
    if len(samples) != announced:
        raise SubmissionError(f"{path.name}: truncated: {len(samples)} of {announced} samples are there")
    # FLAC's own checksum of the samples; all zeros where the encoder left it out. libsndfile does not look at it, and
    # stops where the header says, which need not be where the music ends.
    checksum = content[26:42]
    found_checksum = hashlib.md5(samples.astype("<i2").tobytes(), usedforsecurity=False).digest()
    if content.startswith(b"fLaC") and any(checksum) and checksum != found_checksum:
        raise SubmissionError(f"{path.name}: damaged: its samples are not those that its header's checksum is of")
    if not samples.any():
        raise SubmissionError(f"{path.name}: is silent: every sample is zero")
    return Remix(samples, hashlib.sha256(content).hexdigest())
