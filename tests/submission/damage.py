"""How files of a submission are damaged, remixes and manifests alike, and what validation says of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import Outcome

from harness.submission.manifest import MANIFEST

NAME = "scene_V001_V1_remix.flac"
"""Of the remix that is damaged."""


def replaced(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Have something else stand where the file was."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a submission's manifest in place."""
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def problems(outcome: Outcome) -> list[tuple[str, str]]:
    """The problems of the one submission that was validated, each the file and the message."""
    (verdict,) = outcome.json
    return [(problem["file"], problem["message"]) for problem in verdict["problems"]]
