"""Sounds of instruments: General MIDI sound fonts through FluidSynth, and Hydrogen's drum kits.

What is used, and where it comes from (all are packages of Debian; only their sound is used, no sample is copied):

- `fluid-soundfont-gm`: Fluid R3 by Frank Wen and others, MIT licence;
- `musescore-general-soundfont`: MuseScore General by S. Christian Collins, MIT licence;
- `timgm6mb-soundfont`: TimGM6mb by Tim Brechbill, GPL 2;
- `hydrogen-drumkits`: recorded drum kits by their several authors, CC0, CC BY, CC BY-SA and GPL.

FluidSynth 2 (LGPL 2.1) is reached through pyfluidsynth (LGPL 2.1).
"""

import contextlib
import functools
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from training.composition import (
    CLAP,
    CLOSED_HAT,
    COWBELL,
    CRASH,
    HIGH_TOM,
    KICK,
    LOW_TOM,
    MID_TOM,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE,
    RIDE_BELL,
    SIDE_STICK,
    SNARE,
    TAMBOURINE,
    Note,
)
from training.excerpts import SAMPLE_RATE

Stereo = NDArray[np.float32]
"""(samples, 2), full scale +-1, at 44100 Hz."""

SOUND_FONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "musescore": Path("/usr/share/sounds/sf3/MuseScore_General.sf3"),
    "tim": Path("/usr/share/sounds/sf2/TimGM6mb.sf2"),
}
DRUM_KITS = Path("/usr/share/hydrogen/data/drumkits")

DRUM_BANK = 128
DRUM_PROGRAMS = {
    "fluid": (0, 8, 16, 24, 25, 32, 40),
    "musescore": (0, 8, 16, 24, 25, 32, 40),
    "tim": (0, 8, 16, 24, 25),
}
"""Standard, room, power, electronic, TR-808, jazz and brush kits (General MIDI 2's numbers)."""

BASS_PROGRAMS = (32, 33, 33, 33, 34, 34, 35, 36, 37, 38, 38, 39, 39)

PROGRAMS = {
    "pad": (16, 18, 19, 48, 49, 50, 51, 52, 61, 62, 88, 89, 90, 91, 92, 94, 95),
    "comp": (0, 1, 2, 4, 5, 7, 16, 17, 18, 26, 27, 61, 62, 63),
    "strum": (24, 25, 25, 26, 27, 27, 28),
    "power": (29, 30, 29, 30, 27),
    "arpeggio": (0, 4, 6, 11, 12, 24, 25, 26, 27, 45, 46, 80, 81, 88),
    "riff": (4, 7, 27, 28, 29, 30, 56, 61, 62, 63, 66, 80, 81, 87, 48),
    "lead": (0, 11, 21, 22, 27, 29, 30, 40, 56, 57, 65, 66, 73, 75, 80, 81, 84),
}
"""General MIDI programs, from 0, that may play a role."""

ANY_PROGRAM = (*range(32), *range(40, 52), *range(55, 112))
"""All of General MIDI's instruments but for basses, voices and effects."""

TAIL = 2.0
"""Seconds that sounds may ring on after the last note."""

KIT_NAMES = (
    (KICK, r"kick|bass ?drum|^bd"),
    (SIDE_STICK, r"stick|rim ?click"),
    (CLAP, r"clap"),
    (SNARE, r"snare"),
    (LOW_TOM, r"tom.*(low|floor)|(low|floor).*tom"),
    (MID_TOM, r"tom.*(mid|2)|mid.*tom"),
    (HIGH_TOM, r"tom.*(hi|1)|high tom|^tom$"),
    (PEDAL_HAT, r"(pedal|foot|pd).*|hat.*(pedal|foot|pd|choke)"),
    (OPEN_HAT, r"open|op$|ohh"),
    (CLOSED_HAT, r"clos|cl$|chh|side hh"),
    (RIDE_BELL, r"bell|cup"),
    (RIDE, r"ride"),
    (CRASH, r"crash|china|cymbal"),
    (COWBELL, r"cowbell"),
    (TAMBOURINE, r"tambourine|maraca|shake"),
)
"""What the instruments of a kit are called (the first line that fits wins, in this order), by percussion key."""


@contextlib.contextmanager
def _synthesiser(font: str) -> Iterator[tuple[Any, int]]:
    """A FluidSynth with a sound font, whose samples are read when an instrument is chosen.

    A new one each time: what it played before stays in its buffers and in the state of its dither.
    """
    import fluidsynth

    synth = fluidsynth.Synth(gain=0.35, samplerate=SAMPLE_RATE)
    try:
        synth.setting("synth.dynamic-sample-loading", 1)
        synth.setting("synth.reverb.active", 0)
        synth.setting("synth.chorus.active", 0)
        handle = synth.sfload(str(SOUND_FONTS[font]))
        if handle < 0:
            raise FileNotFoundError(f"FluidSynth cannot load {SOUND_FONTS[font]}: run training/system-packages")
        yield synth, handle
    finally:
        synth.delete()


def play(notes: Iterable[Note], font: str, bank: int, program: int, seconds: float) -> Stereo:
    """Play notes with an instrument of a sound font.

    Args:
        notes: in any order.
        font: a key of `SOUND_FONTS`.
        bank: 0, or `DRUM_BANK`.
        program: General MIDI program, from 0.
        seconds: duration of the result; `TAIL` is added.
    """
    channel = 9 if bank == DRUM_BANK else 0
    events = []
    for note in notes:
        start = int(note.start * SAMPLE_RATE)
        end = int((note.start + max(note.duration, 0.03)) * SAMPLE_RATE)
        events += [(start, 1, note.pitch, note.velocity), (end, 0, note.pitch, 0)]
    total = int((seconds + TAIL) * SAMPLE_RATE)
    blocks, now = [], 0
    with _synthesiser(font) as (synth, handle):
        synth.program_select(channel, handle, bank, program)
        for at, on, pitch, velocity in sorted(events):
            at = min(at, total)
            if at > now:
                blocks.append(synth.get_samples(at - now))
                now = at
            if on:
                synth.noteon(channel, pitch, velocity)
            else:
                synth.noteoff(channel, pitch)
        blocks.append(synth.get_samples(max(total - now, 1)))
    samples = np.concatenate(blocks)[: 2 * total].reshape(-1, 2)
    return (samples / np.float32(32768)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def drum_kit(name: str) -> dict[int, list[list[Stereo]]]:
    """Samples of a Hydrogen kit: for each percussion key its instruments, each with layers from soft to hard."""
    folder = DRUM_KITS / name
    text = (folder / "drumkit.xml").read_text(encoding="utf-8", errors="replace")
    # The system's own package: not a stranger's file. Some kits declare a namespace, some do not.
    root = ElementTree.fromstring(re.sub(r'\sxmlns="[^"]+"', "", text))  # noqa: S314
    kit: dict[int, list[list[Stereo]]] = {}
    for instrument in root.iter("instrument"):
        label = (instrument.findtext("name") or "").lower()
        key = next((key for key, pattern in KIT_NAMES if re.search(pattern, label)), None)
        layers = [(float(layer.findtext("max") or 1), layer.findtext("filename")) for layer in instrument.iter("layer")]
        files = [file for _, file in sorted(layers, key=lambda layer: layer[0])] or [instrument.findtext("filename")]
        sounds = [_sample(folder / file) for file in files if file and (folder / file).is_file()]
        if key is not None and sounds:
            kit.setdefault(key, []).append(sounds)
    return kit


def _sample(path: Path) -> Stereo:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True, frames=44100 * 6)
    audio = np.repeat(audio, 2, axis=1)[:, :2] if audio.shape[1] == 1 else audio[:, :2]
    return np.asarray(soxr.resample(audio, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else audio, dtype=np.float32)


SUBSTITUTES = {
    40: SNARE, 57: CRASH, PEDAL_HAT: CLOSED_HAT, OPEN_HAT: CLOSED_HAT, RIDE: CLOSED_HAT, RIDE_BELL: RIDE,
    MID_TOM: LOW_TOM, HIGH_TOM: MID_TOM, LOW_TOM: HIGH_TOM, SIDE_STICK: SNARE, CLAP: SNARE, CRASH: OPEN_HAT,
}  # fmt: skip
"""What is struck where a kit lacks a key."""


def play_kit(notes: Iterable[Note], name: str, seconds: float, rng: np.random.Generator) -> Stereo:
    """Play percussion notes on a recorded kit; which of several snares or kicks is drawn once per piece."""
    kit = drum_kit(name)
    chosen = {key: kit[key][int(rng.integers(len(kit[key])))] for key in sorted(kit)}
    tuning = float(rng.uniform(0.9, 1.12))
    total = int((seconds + TAIL) * SAMPLE_RATE)
    out = np.zeros((total, 2), np.float32)
    tuned: dict[tuple[int, int], Stereo] = {}
    for note in sorted(notes, key=lambda note: note.start):
        key: int | None = note.pitch
        for _ in range(3):
            if key in chosen:
                break
            key = SUBSTITUTES.get(key) if key is not None else None
        if key not in chosen:
            continue
        layers = chosen[key]
        layer = min(int(note.velocity / 128 * len(layers)), len(layers) - 1)
        if (key, layer) not in tuned:
            tuned[key, layer] = np.asarray(soxr.resample(layers[layer], SAMPLE_RATE * tuning, SAMPLE_RATE), np.float32)
        sound = tuned[key, layer]
        start = int(note.start * SAMPLE_RATE)
        sound = sound[: total - start]
        strength = (note.velocity / 127) ** (1.5 if len(layers) == 1 else 0.5)
        out[start : start + len(sound)] += np.float32(0.5 * strength) * sound
    return out
