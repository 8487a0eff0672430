"""What a pair's player needs: files to be played and loaded, and what `assets/player.js` is told of them.

Each signal exists in two ways of hearing: as in the file, and as the listener may hear it. For each way there is one
script with all its clips: a page that is opened from a disk may load scripts, but not read files. The same clips
also lie beside it as files, for the browser's own players.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.report.words import MINUS

if TYPE_CHECKING:
    from harness.listening import Clip, Sound

Way = Literal["file", "heard"]
"""How a signal is heard: as in the file, or as the listener may hear it."""

WAYS: tuple[Way, ...] = ("file", "heard")


@dataclass(frozen=True)
class Player:
    """The player of a pair.

    Attributes:
        files: contents by path, relative to the folder that also holds `pairs/`.
        data: what the script is told, as JSON: {"seconds", "ways": {way: {"script", "clips": [{"gain", "matched"}]}}}.
        signals: what the template shows of each signal, in order.
    """

    files: Mapping[str, bytes]
    data: Mapping[str, Any]
    signals: Sequence[Mapping[str, Any]]


def player(page: str, sounds: Sequence["Sound"], titles: Sequence[Mapping[str, Any]], seconds: float) -> Player:
    """Make the player of a pair.

    Args:
        page: name of the pair's page without its suffix; the folder of its sound files is called like it.
        sounds: the signals, all of the same length.
        titles: for each signal what the template needs beside its sound, among it "short": how the names of its
            files begin.
        seconds: length of the signals.
    """
    files: dict[str, bytes] = {}
    ways: dict[str, Any] = {}
    signals: list[dict[str, Any]] = [dict(title) for title in titles]
    for way in WAYS:
        clips = [_clip(sound, way) for sound in sounds]
        for signal, clip in zip(signals, clips, strict=True):
            content = f"audio/{page}/{signal['short']}-{way}-{_short_hash(clip.content)}"
            picture = f"audio/{page}/{signal['short']}-{way}-{_short_hash(clip.spectrogram)}.png"
            files[f"{content}.{clip.suffix}"] = clip.content
            files[picture] = clip.spectrogram
            signal[way] = {
                "path": f"{content}.{clip.suffix}",
                "kilobytes": math.ceil(len(clip.content) / 1000),
                "picture": picture,
                "waveform": waveform_path(clip.waveform),
                "level": level(clip.spl),
                "unit": "" if clip.spl is None else " dB SPL",
            }
        script = _script(way, clips)
        path = f"audio/{page}/{way}-{_short_hash(script)}.js"
        files[path] = script
        ways[way] = {"script": path, "clips": gains(clips)}
    loudest = max((clip["gain"] for way in ways.values() for clip in way["clips"]), default=0.0)
    for way in ways.values():
        for clip in way["clips"]:
            for name, gain in clip.items():
                clip[name] = float(f"{gain / max(loudest, 1.0):.6g}")
    return Player(files, {"seconds": seconds, "ways": ways}, signals)


def gains(clips: Sequence["Clip"]) -> list[dict[str, float]]:
    """Factors with which clips are played: "gain" at their true level, "matched" so that all are equally loud.

    Matched clips get the loudness of the loudest of them (LUFS), or less where one would exceed full scale: clips are
    written at full scale, so no factor may be above 1. One without a loudness keeps its true level.
    """
    # A clip played with factor 1 is -20 log10(gain) louder than at its true level.
    defined = [
        (clip.lufs, clip.lufs - 20 * math.log10(clip.gain)) for clip in clips if clip.lufs is not None and clip.gain > 0
    ]
    target = min(max(loudness for loudness, _ in defined), min(full for _, full in defined)) if defined else 0.0
    return [
        {
            "gain": clip.gain,
            "matched": clip.gain if clip.lufs is None else clip.gain * 10 ** ((target - clip.lufs) / 20),
        }
        for clip in clips
    ]


def waveform_path(peaks: Sequence[float]) -> str:
    """Bars of a waveform as an SVG path in a box of len(peaks) x 100: one a unit wide for each peak from 0 to 1."""
    bars = (max(0.6, 48 * min(max(peak, 0.0), 1.0)) for peak in peaks)
    return "".join(f"M{position + 0.5:g} {50 - bar:.1f}V{50 + bar:.1f}" for position, bar in enumerate(bars))


def level(spl: float | None) -> str:
    """A level in dB SPL as a whole number; "silence" where there is none."""
    return "silence" if spl is None else f"{spl:.0f}".replace("-", MINUS)


def _clip(sound: "Sound", way: Way) -> "Clip":
    return sound.as_file if way == "file" else sound.as_heard


def _script(way: Way, clips: Sequence["Clip"]) -> bytes:
    """The script that hands a page its clips."""
    texts = [base64.b64encode(clip.content).decode("ascii") for clip in clips]
    return f"harnessClips({json.dumps(way)}, {json.dumps(texts)});\n".encode("ascii")


def _short_hash(content: bytes) -> str:
    """Part of a file's name, so that a browser that keeps an older file does not take it for this one."""
    return hashlib.sha256(content).hexdigest()[:10]
