"""The audiogram as audiologists draw it: the geometry; the template `pair.html` draws it.

Conventions (ASHA, "Guidelines for Audiometric Symbols", 1990; ISO 8253-1): hearing level in dB HL downwards, frequency
on a logarithmic axis with an octave as wide as 20 dB are high; the right ear as red circles, the left ear as blue
crosses.
"""

import math
from typing import Any

from harness.hearing import Audiogram, Listener

OCTAVE = 54.0
"""Width of an octave in pixels."""

DECIBEL = OCTAVE / 20

LEFT, TOP, EDGE = 48.0, 44.0, 22.0
"""Room for the labels, and between the outermost frequencies and the frame, in pixels."""

OCTAVES = (-3, 4)
"""What is drawn at most: from 125 Hz to 16 kHz, in octaves from 1 kHz."""

LEVELS = (-10, 120)
"""The usual range in dB HL; it is extended downwards for levels below."""


def audiogram(listener: Listener) -> dict[str, Any]:
    """What is drawn for a listener.

    Returns:
        width, height: of the drawing in pixels. frame: its left, top, right and bottom. frequencies, levels: grid
        lines, each with its position and text. ears: for the right and the left ear its name, the points that lie in
        the drawing, a path through them, and all of it in words. table: the same as rows of frequency, left, right.
    """
    frequencies = sorted({*listener.left.frequencies, *listener.right.frequencies})
    lowest = max(OCTAVES[0], math.floor(_octaves(frequencies[0])))
    highest = min(OCTAVES[1], math.ceil(_octaves(frequencies[-1])))
    deepest = max(LEVELS[1], 20 * math.ceil(max(*listener.left.levels, *listener.right.levels) / 20))
    right = LEFT + 2 * EDGE + (highest - lowest) * OCTAVE
    bottom = TOP + (deepest - LEVELS[0]) * DECIBEL

    def x(frequency: float) -> float:
        return round(LEFT + EDGE + (_octaves(frequency) - lowest) * OCTAVE, 1)

    def y(level: float) -> float:
        return round(TOP + (level - LEVELS[0]) * DECIBEL, 1)

    def ear(name: str, of: Audiogram) -> dict[str, Any]:
        points = [
            (x(frequency), y(max(level, LEVELS[0])))
            for frequency, level in zip(of.frequencies, of.levels, strict=True)
            if lowest <= _octaves(frequency) <= highest
        ]
        pairs = zip(of.frequencies, of.levels, strict=True)
        words = ", ".join(f"{level:g} at {frequency:g} Hz" for frequency, level in pairs)
        return {
            "name": name,
            "points": points,
            "path": "M" + "L".join(f"{across} {down}" for across, down in points),
            "words": f"{name} ear, dB HL: {words}",
        }

    left_levels = dict(zip(listener.left.frequencies, listener.left.levels, strict=True))
    right_levels = dict(zip(listener.right.frequencies, listener.right.levels, strict=True))
    return {
        "width": right + 2,
        "height": bottom + 8,
        "frame": (LEFT, TOP, right, bottom),
        "frequencies": [(x(1000 * 2.0**octave), f"{1000 * 2**octave:g}") for octave in range(lowest, highest + 1)],
        "levels": [(y(level), str(level).replace("-", "−")) for level in range(0, deepest + 1, 20)],
        "ears": [ear("right", listener.right), ear("left", listener.left)],
        "table": [
            (f"{frequency:g}", *(_level(levels.get(frequency)) for levels in (left_levels, right_levels)))
            for frequency in frequencies
        ],
    }


def _octaves(frequency: float) -> float:
    return math.log2(frequency / 1000)


def _level(level: float | None) -> str:
    return "–" if level is None else f"{level:g}".replace("-", "−")
