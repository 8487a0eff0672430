"""How evaluation sets are damaged, what loading them then refuses, and words that nobody should read about it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import support
from support import FRAMES, Change, TinySet

from harness.challenge import STEMS, Protocol
from harness.errors import HarnessError
from harness.music.layout import load

LIBRARY_WORDS = re.compile(
    r"Input should|Field required|Extra inputs|validation|pydantic|Expecting|Traceback|Errno|\bNone\b|\bdict\b|"
    r"\bstr\b|\bfloat64\b|LibsndfileError|Error opening|Unspecified|object at 0x|\bTrue\b|\bFalse\b"
)
"""What libraries and Python say of wrong input."""

CFS = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
"""The frequencies of an audiogram, in Hz."""

Damage = Callable[[TinySet], Any]


def edit(name: str, change: Change) -> Damage:
    """Change what a file of metadata holds."""
    return lambda tiny: tiny.edit(name, change)


def put(name: str, *path_and_value: Any) -> Damage:
    """Have a value stand in a file of metadata, at the end of a path of keys."""
    return edit(name, support.put(*path_and_value))


def drop(name: str, *path: Any) -> Damage:
    """Take the entry at the end of a path of keys from a file of metadata."""
    return edit(name, support.drop(*path))


def music(name: str, damage: Callable[[Path], Any], scene: str = "scene_V001") -> Damage:
    """Damage a file of a scene's music."""
    return lambda tiny: damage(tiny.music(name, scene))


def written(
    rate: int = 44100,
    channels: int = 2,
    frames: int = FRAMES,
    kind: str = "WAV",
    subtype: str = "PCM_16",
    level: float = 0.1,
) -> Callable[[Path], None]:
    """Noise in the place of a file's music."""

    def write(path: Path) -> None:
        signal = level * np.random.default_rng(1).standard_normal((frames, channels))
        soundfile.write(path, signal, rate, format=kind, subtype=subtype)

    return write


def write_positions(
    tiny: TinySet, key: str = "hlp_0001", name: str = "head_loudspeaker_positions.json", **angles: float
) -> None:
    """A file of positions with one in it; keywords change its angles."""
    position = {"subject": "VP_E1", "left_angle": -30.0, "right_angle": 30.0, "mic": "BTE_fr", **angles}
    (tiny.root / "metadata" / name).write_text(json.dumps({key: position}))


def refused(root: Path) -> bool:
    """Whether the harness cannot load the set or read its music, which its scores would need."""
    try:
        loaded = load(root)
        for scene in loaded.scenes:
            scene.read("mixture")
            scene.read_stems()
        loaded.check_music(STEMS)
    except HarnessError:
        return True
    return False


def why_not_loaded(root: Path, protocol: Protocol) -> str:
    """What loading a set says against it; empty if nothing."""
    try:
        load(root, "valid", protocol=protocol)
    except HarnessError as error:
        return str(error)
    return ""
