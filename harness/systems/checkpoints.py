"""Weights of PyTorch models: read from a file that may be a stranger's, fitted to a model, counted and hashed.

PyTorch takes seconds to import, so every function imports it for itself.
"""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SystemFailure, WeightsMissing


def one_line(error: BaseException) -> str:
    """An exception in one line; torch likes to append pages of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def count_parameters(module: Any) -> int:
    """Number of learned parameters of a torch module."""
    return sum(parameter.numel() for parameter in module.parameters())


def state_sha256(state: Mapping[str, Any], description: str = "") -> str:
    """SHA-256 of a state dict: names, types, shapes and bytes of its tensors, in their order.

    Args:
        state: as returned by `module.state_dict()`.
        description: whatever else decides what the weights compute (order of the sources, for instance).
    """
    import torch

    digest = hashlib.sha256(description.encode("utf-8"))
    for name, value in state.items():
        tensor = value.detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_checkpoint(model: Any, path: Path, key: str | None = None) -> Any:
    """Fill a model with the tensors of a checkpoint, which must fit it exactly.

    Only tensors and plain values are read: no code in the file is run.

    Args:
        model: a torch.nn.Module.
        path: a file that `torch.save` wrote, or safetensors (`*.safetensors`).
        key: where in the file the state dict is, "state_dict" for instance; by default it is the whole file.

    Returns:
        The model.

    Raises:
        WeightsMissing: there is no such file.
        SystemFailure: it cannot be read, holds no state dict, or does not fit the model.
    """
    state = _read_tensors(path)
    if key is not None:
        if not isinstance(state, Mapping) or key not in state:
            found = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise SystemFailure(f"checkpoint {path}: no {key!r} in it (found: {_shortened(found)})")
        state = state[key]
    if not _is_state(state):
        # Training scripts often save optimizer and counters beside the weights.
        inside = [name for name, value in state.items() if _is_state(value)] if isinstance(state, Mapping) else []
        advice = f"try key={inside[0]!r}" if inside else "save model.state_dict() in it"
        raise SystemFailure(f"checkpoint {path} is not a state dict: {advice}")
    expected = model.state_dict()
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name} is not in the model" for name in state if name not in expected]
    problems += [
        f"{name} is {shape_of(state[name])}, expected {shape_of(value)}"
        for name, value in expected.items()
        if name in state and shape_of(state[name]) != shape_of(value)
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise SystemFailure(
            f"checkpoint {path} does not fit the model: {'; '.join(problems[:3])}{more}; "
            "is it one of another architecture or other settings?"
        )
    model.load_state_dict(state)
    return model


def _read_tensors(path: Path) -> Any:
    import torch

    if not path.is_file():
        raise WeightsMissing(f"no checkpoint at {path}: put it there, or name another file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SystemFailure(
            f"checkpoint {path} cannot be read: it is damaged, or holds objects besides tensors; "
            "save model.state_dict() in it"
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise SystemFailure(f"checkpoint {path} cannot be read ({one_line(error)}): is it damaged?") from error


def _is_state(value: Any) -> bool:
    import torch

    return isinstance(value, Mapping) and bool(value) and all(isinstance(each, torch.Tensor) for each in value.values())


def shape_of(tensor: Any) -> tuple[int, ...]:
    """The shape of a tensor as plain numbers."""
    return tuple(tensor.shape)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:76] + " ..."
