"""How files of a submission are damaged: remixes and manifests alike."""

from collections.abc import Callable
from pathlib import Path

NAME = "scene_V001_V1_remix.flac"
"""Of the remix that is damaged."""


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Have something else stand where the file was."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage
