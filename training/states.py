"""Saved states of a training, which it resumes from: one file, and what decides whether it may be used."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.excerpts import TrainingProblem

STATE = "state.pt"


def write_state(work: Path, state: Mapping[str, Any]) -> None:
    """Write a state whole or not at all."""
    partial = work / f"{STATE}.partial"
    torch.save(state, partial)
    partial.replace(work / STATE)


def read_state(work: Path) -> Any:
    """The state in a folder, on the CPU; None if there is none.

    Raises:
        TrainingProblem: it cannot be read.
    """
    path = work / STATE
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingProblem(f"{path} cannot be read ({error}); delete it to start afresh") from error


def require_same(before: Mapping[str, Any], now: Mapping[str, Any], work: Path) -> None:
    """Compare the settings of a saved training with those asked for: "recipe" and whatever else decides the result.

    Raises:
        TrainingProblem: they differ; the message says in what.
    """
    before, now = _flat(before), _flat(now)
    changes = [
        f"{key}: {before.get(key)} there, {now.get(key)} now"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if changes:
        raise TrainingProblem(
            f"{work} holds a training of other settings ({'; '.join(changes)}): "
            "keep those, choose another folder, or delete it to start afresh"
        )


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in identity.items() if key != "recipe"}
    return {**rest, **identity["recipe"]}
