"""Futures in place of the music's own: what an audit gives a system to hear from a cut on.

A system that does not look ahead returns the same up to the cut, whatever follows. Signals are (samples, 2), float64,
at 44.1 kHz.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from harness.enhancement import Signal

Past = Literal["music", "quiet"]
Future = Literal["stop", "other", "silence", "loud"]

PASTS: Mapping[Past, float] = {"music": 1.0, "quiet": 0.05}
"""Two pasts and their factors. The quiet one, 26 dB softer, clips nowhere: it shows what a loud future does to it."""

LOUDER = 8.0
"""The loud future against the other music: +18 dB, far over full scale. What guards against clipping, it sets off."""

FUTURES: Mapping[Future, Past] = {"loud": "quiet", "other": "music", "stop": "music", "silence": "music"}
"""Four futures and the past that each follows, those first that find most."""


IN_WORDS: Mapping[Future, str] = {
    "loud": "loud music later on",
    "other": "other music later on",
    "stop": "an earlier end",
    "silence": "silence later on",
}
"""What a future is, as the subject of a sentence about what it changes."""


def other_than(music: Signal) -> Signal:
    """Other music of the same level and spectrum, always at hand: the piece backwards, its polarity inverted."""
    return -music[::-1]


def changed(music: Signal, other: Signal, past: Past, future: Future, cut: int) -> Signal:
    """The music with another future from sample `cut` on.

    Args:
        music: the piece.
        other: other music, as long.
        past: at which level the music is heard before the cut.
        future: "stop": nothing follows, as a system would have it that hears the music live; "other": the other
            music; "silence"; "loud": the other music, 18 dB louder.
        cut: the first sample that is changed.
    """
    before = PASTS[past] * music[:cut]
    if future == "stop":
        return before
    factor = {"other": 1.0, "silence": 0.0, "loud": LOUDER}[future]
    return np.concatenate([before, factor * other[cut:]])
