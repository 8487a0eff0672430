"""What enhancement made: how much, and what is in its files."""

from pathlib import Path

from support import Outcome

from harness.submission.manifest import MANIFEST


def counts(outcome: Outcome) -> tuple[int, int, int]:
    """The exit code, and how many remixes were made and kept."""
    assert outcome.stdout, outcome.stderr
    return outcome.code, outcome.json["made"], outcome.json["kept"]


def content(folder: Path) -> dict[str, bytes]:
    """The files of a submission but its manifest."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
