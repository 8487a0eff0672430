"""The manifest of a submission, `submission.json`: what made it, for which evaluation set, SHA-256 of every file.

It may come from a stranger: its size is bounded before it is read, and so are the number and length of all that it
holds.
"""

import json
import secrets
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from harness import __version__, enhancement
from harness import chain as live
from harness.chain import Chain
from harness.challenge import CAD1, PROTOCOL, Protocol
from harness.documents import PRINTABLE, PRINTABLE_LINES, Document, at_most, ensure_few_values, ensure_printable
from harness.errors import MAX_KEY, SubmissionError, first_problem, printable
from harness.files import canonical_sha256, read_bounded, sha256_of, write_whole
from harness.music.evaluationset import EvaluationSet
from harness.submission import stems
from harness.submission.causality import CausalityRecord, LoadRecord, StreamingRecord
from harness.systems import TRAINING_DATA
from harness.systems.declaring import MAX_NAMED

MANIFEST = "submission.json"
MAX_MANIFEST_BYTES = 32 * 2**20
"""Where it is not known for which evaluation set: a manifest of 19,200 files has 3 MB, a streaming Enhancer's 13 MB."""

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=500), PRINTABLE]
_Name = Annotated[str, Field(min_length=1, max_length=100), PRINTABLE]
_FileName = Annotated[str, Field(min_length=1, max_length=700), PRINTABLE]
"""A listener's folder, a song's, and a file's name: 100, 300 and 255 characters at most."""
_Path = Annotated[str, Field(min_length=1, max_length=300), PRINTABLE]
_Link = Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=500), PRINTABLE]
_Number = Annotated[float, Field(allow_inf_nan=False)]


def _check_setting(value: object) -> object:
    # Before pydantic tries all that a setting may be: a larger integer would become a float, and so another number.
    if isinstance(value, str):
        return ensure_printable(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise PydanticCustomError("too_large", "an integer must fit into 64 bits")
    return value


_Setting = Annotated[bool | int | _Number | _Text | None, BeforeValidator(_check_setting)]


class FileRecord(Document, extra="forbid"):
    """One file: its hash, and how many of its samples (both channels) were clipped, where that is known.

    Half an hour of music has less than 2**27 samples at 32 kHz.
    """

    sha256: _Sha256
    clipped: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class CostRecord(Document, extra="forbid"):
    """What one piece of music cost the system: seconds of time and of CPU, and most bytes of memory at a time."""

    wall_seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    cpu_seconds: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
    peak_bytes: Annotated[int, Field(ge=0, le=2**53)]


class EvaluationSetRecord(Document, extra="forbid"):
    """Which evaluation set a submission is for; the hash is `EvaluationSet.mixtures_sha256`.

    The protocol is named where it is not that of ICASSP 2024, whose manifests stay what they were.
    """

    name: _Name
    split: _Name
    mixtures_sha256: _Sha256 | None = None
    protocol: Literal["cad1"] | None = None

    @model_serializer(mode="wrap")
    def _without_default(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = dump(self)
        if self.protocol is None:
            del content["protocol"]
        return content


class Manifest(Document, extra="forbid"):
    """What `submission.json` holds. Only the first six fields are required of a stranger's submission."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    format: Literal[1]
    """Of the manifest itself."""
    system: _Name
    """What made the files: its name."""
    version: _Name
    """And its version."""
    class_: Literal["causal", "non-causal"] = Field(alias="class")
    """Whether the system looks ahead by 5 ms at most."""
    training_data: str
    """What the system was trained on: none, official, official + augmentation, official + supplementation, synthetic,
    private, evaluation data or unknown; the last four are not eligible."""
    evaluation_set: EvaluationSetRecord
    """For which evaluation set the submission is."""
    files: Annotated[dict[_FileName, FileRecord], at_most(2**20)] = Field(default_factory=dict)
    """Each file's hash, by its name."""
    licence: _Text = "unknown"
    """Of the weights."""
    parameters: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Number of learned parameters."""
    settings: Annotated[dict[_Name, _Setting], at_most(MAX_NAMED)] = Field(default_factory=dict)
    """The system's options."""
    soft_clip: bool = False
    """Whether remixes were passed through tanh before they were clipped."""
    inputs_sha256: Annotated[dict[_Name, _Sha256], at_most(MAX_NAMED)] = Field(default_factory=dict)
    """What files and folders held that options name, by option. The harness writes this and the rest, to `batch`."""
    pipeline_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of the harness's own processing."""
    weights_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of the loaded weights."""
    code_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """Of the system's code."""
    code_files: Annotated[dict[_Path, _Sha256], at_most(MAX_NAMED)] = Field(default_factory=dict)
    """Its files, by their place in the plugin."""
    weights_files: Annotated[dict[_Path, _Sha256], at_most(MAX_NAMED)] = Field(default_factory=dict)
    """Files that were read while the system was made and loaded."""
    packages: Annotated[dict[_Name, _Name], at_most(MAX_NAMED)] = Field(default_factory=dict)
    """Versions of the packages that it uses."""
    unidentified: _Name | None = None
    """What was learned and could not be hashed."""
    kind: Literal["separator", "enhancer", "reference"] | None = None
    """What the system is."""
    isolation: Literal["process", "sandbox", "in-process"] | None = None
    """Where the system ran: a process of its own, a sandbox, or the harness itself (for debugging, never ranked)."""
    python: _Name | None = None
    """Its Python, where that is not the harness's."""
    costs: Annotated[dict[_Path, CostRecord], at_most(2**20)] = Field(default_factory=dict)
    """What each piece of music cost, by its path."""
    chain: Chain = "baseline"
    """What followed separation: the baseline's remix, or the chain for live music."""
    streaming: StreamingRecord | None = None
    """Block and latency of a system that streams."""
    causality: CausalityRecord | None = None
    """The verdict on its look-ahead. From elsewhere it only counts against the system."""
    loads: Annotated[dict[_Path, LoadRecord], at_most(2**20)] = Field(default_factory=dict)
    """Real-time load of each piece of music."""
    batch: Annotated[int, Field(ge=2, le=2**20)] | None = None
    """The most pieces of music that were separated at once; None: one by one. The last bits may differ by it."""
    team: _Name | None = None
    """Who made it."""
    contact: _Text | None = None
    """How to reach them; it stays in the database."""
    url: _Link | None = None
    """Where to read more."""
    paper: _Link | None = None
    """Where it is described."""
    description: Annotated[str, Field(max_length=2000), PRINTABLE_LINES] | None = None
    """What it is; may have several lines."""
    not_eligible: _Text | None = None
    """Why the rules exclude it."""
    reference: bool = False
    """True for a yardstick, which is handed the true stems."""
    harness: _Name | None = None
    """Version of the harness that wrote it."""
    measure: bool = Field(default=False, exclude=True)
    """Whether the system asks to have its look-ahead measured, while it is at work; no part of the file."""

    @field_validator("training_data")
    @classmethod
    def _known_training_data(cls, value: str) -> str:
        if value not in TRAINING_DATA:
            raise ValueError(f"expected one of: {', '.join(TRAINING_DATA)}")
        return value

    @property
    def key(self) -> str:
        """Identity of what made the files.

        Files made under one key are never taken for files of another. What the manifest declares beside that may be
        corrected: see `declaration`.
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
            "packages": self.packages,
            "harness's own processing": self.pipeline_sha256,
            "evaluation set": self.evaluation_set.mixtures_sha256,
            # Something that was learned and could not be hashed: no two such systems are known to be the same.
            **({"weights that could not be identified": self.unidentified} if self.unidentified else {}),
            # Files from a debugging session never stand among others.
            **({"run in the harness's own process": True} if self.isolation == "in-process" else {}),
            # Only where there is something to say: those of older files stay what they are.
            **({"chain": self.chain} if self.chain != "baseline" else {}),
            **({"block and latency": self.streaming.model_dump()} if self.streaming is not None else {}),
        }

    def differences(self, other: "Manifest") -> list[str]:
        """What differs between two identities, by name, with the files that differ where they are known."""
        ours, theirs = self.identity, other.identity
        named: dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
            "code": (self.code_files, other.code_files),
            "weights": (self.weights_files, other.weights_files),
            "packages": (self.packages, other.packages),
            "options": (self.settings, other.settings),
        }
        found = []
        for part in dict.fromkeys([*ours, *theirs]):
            if ours.get(part) == theirs.get(part):
                continue
            one, two = named.get(part, ({}, {}))
            names = sorted(name for name in {*one, *two} if one.get(name) != two.get(name))
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            found.append(f"{part} ({some})" if names else part)
        return found

    def is_for(self, evaluation_set: EvaluationSet) -> bool:
        """Whether the submission is for that evaluation set (as far as it says)."""
        declared = self.evaluation_set
        if declared.mixtures_sha256 is None or not evaluation_set.has_mixtures:
            # What a stranger leaves out is not held against it; what it says is.
            agrees = declared.protocol in (None, evaluation_set.protocol.name)
        else:
            agrees = declared.mixtures_sha256 == evaluation_set.mixtures_sha256
        return declared.split == evaluation_set.split and agrees

    @property
    def why_not_eligible(self) -> str | None:
        """Why the rules exclude it, as declared or as follows from how it ran and from its training data."""
        if self.isolation == "in-process":
            return "ran in the harness's own process (--in-process, or handed to harness.evaluate)"
        return self.not_eligible or TRAINING_DATA[self.training_data]

    def to_bytes(self) -> bytes:
        """The content of `submission.json`; files sorted by name, since threads record them in any order."""
        content = self.model_dump(by_alias=True)
        content["files"] = dict(sorted(content["files"].items()))
        return json.dumps(content, indent=1).encode() + b"\n"


def manifest_for(
    declared: Mapping[str, Any], evaluation_set: EvaluationSet, soft_clip: bool, chain: Chain = "baseline"
) -> Manifest:
    """The manifest of what a loaded system makes of an evaluation set; no files yet.

    Args:
        declared: what the system declares (`harness.systems.declaring.declared`), and how it runs.
        evaluation_set: what it will be run on.
        soft_clip: whether remixes are passed through tanh before they are clipped.
        chain: what follows separation.

    Raises:
        pydantic.ValidationError: what it declares is not what a manifest may hold.
    """
    return Manifest.model_validate(
        {
            **declared,
            "format": 1,
            "evaluation_set": {
                "name": evaluation_set.name,
                "split": evaluation_set.split,
                "mixtures_sha256": evaluation_set.mixtures_sha256,
                "protocol": None if evaluation_set.protocol == PROTOCOL else evaluation_set.protocol.name,
            },
            "soft_clip": soft_clip,
            "chain": chain,
            "pipeline_sha256": _pipeline_sha256(chain, evaluation_set.protocol),
            "unidentified": secrets.token_hex(16) if declared.get("unidentified") else None,
            "files": {},
            "costs": {},
            "loads": {},
            "batch": None,
            "causality": None,
            "harness": __version__,
        }
    )


def _pipeline_sha256(chain: Chain, protocol: Protocol) -> str:
    """Identity of what turns stems into files: our own code, and the libraries that it calls."""
    own = {"enhancement": sha256_of(Path(enhancement.__file__))}
    if chain == "live":
        own["chain"] = sha256_of(Path(live.__file__))
    if protocol == CAD1:
        own["stems"] = sha256_of(Path(stems.__file__))
    versions = {name: metadata.version(name) for name in ("pyclarity", "pyloudnorm", "soxr")}
    return canonical_sha256({**own, **versions})


def max_manifest_bytes(pairs: int) -> int:
    """Size in bytes that no manifest for an evaluation set of so many pairs exceeds, nor one for the official sets."""
    return max(8 * 2**20, 1024 * pairs)


BYTES_PER_VALUE = 40
"""What the limit in bytes means in values: 25 for each pair; file, cost and load of a streaming Enhancer make 20."""


def read_manifest(folder: Path, limit: int = MAX_MANIFEST_BYTES) -> Manifest | None:
    """The manifest of a submission, or None if it has none.

    Args:
        folder: where the submission lies.
        limit: the most bytes that it may have, see `max_manifest_bytes`.

    Raises:
        SubmissionError: it is there but cannot be read, or is not a manifest; names the key.
    """
    try:
        content = read_bounded(folder / MANIFEST, limit)
        ensure_few_values(content, limit // BYTES_PER_VALUE)
        return Manifest.model_validate_json(content)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise SubmissionError(f"{folder / MANIFEST}: {_said(error)}") from None
    except ValueError as error:
        raise SubmissionError(f"{folder / MANIFEST}: {error}") from None


def _said(error: ValidationError) -> str:
    """The first thing that is wrong; for a key that is not known, what is allowed."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] != "extra_forbidden":
        return first_problem(error)
    path = printable(".".join(str(part)[:MAX_KEY] for part in first["loc"])[:MAX_KEY])
    if len(first["loc"]) > 1:
        return f"{path}: unknown key"
    known = sorted(field.alias or name for name, field in Manifest.model_fields.items() if not field.exclude)
    return f"{path}: unknown key (known are {', '.join(known)})"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `submission.json`, whole or not at all."""
    write_whole(folder / MANIFEST, manifest.to_bytes())
