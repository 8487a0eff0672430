"""What a demucs model was trained on, and so whether it is eligible: known per checkpoint, not per name.

A checkpoint is a published one if its signature and checksum are those of the list that demucs ships. So a bag of one's
own made of published checkpoints has the training data of the worst of them, and a folder called `mdx` with other files
in it does not have that of `mdx`. The same holds for the demonstration model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.systems import TRAINING_DATA, SystemFailure, WeightsMissing
from harness_plugins.demucs.published import (
    HUB,
    HUB_OWNER,
    PUBLISHED,
    catalogue,
    local_signatures,
    owner_and_name,
    read_bag,
)
from harness_plugins.torch_support import DEMO, DEMO_LICENCE, DEMO_REASON, DEMO_TRAINING_DATA, demo_folder

REASONS = {
    "private": "was trained on 800 songs outside the challenge's data",
    "evaluation data": "was trained on MUSDB18's test set, the evaluation music itself",
    DEMO_TRAINING_DATA: DEMO_REASON,
}
"""Why a checkpoint that is known by its checksum is not eligible."""

WORST_FIRST = (
    "evaluation data",
    "private",
    "unknown",
    "synthetic",
    "official + supplementation",
    "official + augmentation",
    "official",
)

LICENCE = "MIT by its Hugging Face card; original files for scientific purposes only (facebookresearch/demucs#327)"


@dataclass(frozen=True)
class Part:
    """What is known of a model or of one checkpoint of it; `label` is None if only the user can know."""

    what: str
    label: str | None


def published_parts(name: str) -> list[Part]:
    """What is known of a model that demucs publishes, or of one on the hub.

    Raises:
        SystemFailure: demucs publishes no such model.
    """
    if name.startswith(HUB):
        owner, short = owner_and_name(name)
        known = owner == HUB_OWNER and short in PUBLISHED
        return [Part(name, PUBLISHED[short] if known else None)]
    known_to_demucs = catalogue()
    if name in known_to_demucs.bags:
        return [Part(name, PUBLISHED.get(name))]
    if name in known_to_demucs.checkpoints:
        return [_part_of(name, known_to_demucs.checkpoints[name].file)]
    names = ", ".join(sorted(known_to_demucs.bags))
    raise SystemFailure(
        f"option model={name}: demucs publishes no such model (names: {names}; single signatures; "
        f"hf://[OWNER/]NAME for others on the Hugging Face hub; --option repo=DIR for your own; {DEMO})"
    )


def local_parts(name: str, repo: Path) -> list[Part]:
    """What is known of each checkpoint of a model in a folder.

    Raises:
        SystemFailure: there is no such folder, or a file in it is malformed.
        WeightsMissing: the model, or a checkpoint that it needs, is not in it.
    """
    if not repo.is_dir():
        raise SystemFailure(f"option repo={repo}: no such folder")
    files = local_signatures(repo)
    bag_file = repo / f"{name}.yaml"
    if name in files:
        signatures = [name]
    elif bag_file.is_file():
        signatures = list(read_bag(bag_file)["models"])
    else:
        found = ", ".join(sorted({*files, *(path.stem for path in repo.glob("*.yaml"))})) or "nothing"
        raise WeightsMissing(
            f"option repo={repo}: no model {name} in it, neither {name}.yaml nor {name}.th nor "
            f"{name}-CHECKSUM.th (found: {found}); choose one with --option model=NAME"
        )
    missing = [signature for signature in signatures if signature not in files]
    if missing:
        wanted = ", ".join(f"{signature}-CHECKSUM.th" for signature in dict.fromkeys(missing))
        raise WeightsMissing(f"{bag_file} needs {wanted}, expected beside it")
    return [_part_of(signature, files[signature].name) for signature in dict.fromkeys(signatures)]


def _part_of(signature: str, file: str) -> Part:
    """A checkpoint with a published file name is that one: demucs verifies the checksum in the name."""
    if signature == DEMO and file in (path.name for path in demo_folder("demucs").glob(f"{DEMO}-*.th")):
        return Part(DEMO, DEMO_TRAINING_DATA)
    published = catalogue().checkpoints.get(signature)
    if published is None or published.file != file:
        return Part(f"checkpoint {file}", None)
    return Part(f"checkpoint {signature} of {published.model}", PUBLISHED.get(published.model))


def judge(name: str, parts: Sequence[Part], declared: str | None) -> tuple[str, str | None]:
    """Training data of the whole model, and why it is not eligible.

    Args:
        name: the model's.
        parts: what it is made of.
        declared: what the user says the unknown ones were trained on.

    Raises:
        SystemFailure: something else is declared than what is known of all parts.
    """
    labels = [(part.label or declared or "unknown", part) for part in parts]
    label, part = min(labels, key=lambda item: WORST_FIRST.index(item[0]))
    if declared and declared != label and all(part.label for part in parts):
        raise SystemFailure(
            f"option training={declared}: {name} is no model of your own, its training data is known ({label})"
        )
    if TRAINING_DATA[label] is None:
        return label, None
    if part.label:
        return label, f"{part.what} {REASONS[label]}"
    if declared:
        return label, f"{part.what} is declared as {TRAINING_DATA[label]}"
    return label, f"the training data of {part.what} is not declared (--option training=...)"


def licence_of(parts: Sequence[Part]) -> str:
    """The licence of the weights of a model made of these parts."""
    if any(part.label is None for part in parts):
        return "unknown"
    return DEMO_LICENCE if all(part.label == DEMO_TRAINING_DATA for part in parts) else LICENCE
