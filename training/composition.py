"""Composes short pop and rock pieces at random: who plays which note when, and with what force.

The rules are those of any book on pop harmony and drum patterns, kept loose on purpose: a separator learns from
variety. A piece is a chain of sections of four bars over one or two chord progressions; each section has its own
choice of players.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Stem = Literal["drums", "bass", "other", "vocals"]
Role = Literal["drums", "percussion", "bass", "pad", "comp", "strum", "power", "arpeggio", "riff", "lead", "vocals"]

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}

PROGRESSIONS = {
    "major": (
        (0, 4, 5, 3),
        (0, 5, 3, 4),
        (5, 3, 0, 4),
        (0, 3, 4, 3),
        (0, 3, 0, 4),
        (0, 2, 3, 4),
        (3, 4, 2, 5),
        (0, 0, 3, 4),
    ),
    "minor": ((0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 4, 0), (0, 2, 6, 3), (0, 5, 6, 0), (0, 0, 5, 6), (5, 6, 0, 0)),
    "dorian": ((0, 3, 0, 3), (0, 6, 3, 0), (0, 2, 3, 6), (0, 0, 3, 3)),
    "mixolydian": ((0, 6, 3, 0), (0, 3, 6, 3), (0, 6, 0, 6), (0, 4, 6, 3)),
}
"""Scale degrees, from 0, of the four chords of a section."""

KICK, SIDE_STICK, SNARE, CLAP, LOW_TOM, CLOSED_HAT, PEDAL_HAT, MID_TOM, OPEN_HAT, HIGH_TOM = (
    36,
    37,
    38,
    39,
    43,
    42,
    44,
    47,
    46,
    50,
)
CRASH, RIDE, RIDE_BELL, TAMBOURINE, COWBELL, SHAKER, CONGA_HIGH, CONGA_LOW, SECOND_CRASH = (
    49,
    51,
    53,
    54,
    56,
    70,
    63,
    64,
    57,
)
"""Keys of General MIDI's percussion map."""

GROOVES = {
    # kick and snare, as chances for each of the sixteen sixteenths of a bar
    "rock": ("9000001090100010", "0000900000009001"),
    "pop": ("9000002090300000", "0000900000009000"),
    "four": ("9000900090009000", "0000900000009000"),
    "half": ("9001000000300010", "0000000090000000"),
    "hiphop": ("9003001000900300", "0000900100009001"),
    "punk": ("9000009090000090", "0090009000900090"),
    "ballad": ("9000000090000030", "0000900000009000"),
    "funk": ("9010003000900100", "0000910100109010"),
    "train": ("9000900090009000", "2323923223239232"),
    "sparse": ("9000000000100000", "0000000090000000"),
}


@dataclass(frozen=True)
class Note:
    """One note: start and duration in seconds, MIDI pitch (or percussion key), velocity from 1 to 127."""

    start: float
    duration: float
    pitch: int
    velocity: int


@dataclass
class Part:
    """What one player plays."""

    stem: Stem
    role: Role
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Piece:
    """A composition.

    Attributes:
        seconds: from the first beat to the end of the last bar.
        beat: duration of a quarter note in seconds.
        parts: the players; one that got no note is left out.
    """

    seconds: float
    beat: float
    parts: Sequence[Part]


class Composer:
    """Holds what the players of one piece share: tempo, key, chords and the grid of sixteenths."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self.rng = rng
        self.beat = 60 / float(np.clip(rng.normal(115, 25), 66, 178))
        self.beats = 4 if rng.random() < 0.92 else 3
        self.steps = 4 * self.beats
        self.swing = float(rng.choice([0, 0, 0, 0.12, 0.3]))
        self.looseness = float(rng.uniform(0, 0.012))  # seconds by which players miss the grid
        self.bars = max(4, round(seconds / (self.beat * self.beats)))
        self.mode = str(rng.choice(list(SCALES), p=[0.45, 0.4, 0.08, 0.07]))
        self.key = int(rng.integers(12))
        progressions = PROGRESSIONS[self.mode]
        choices = [progressions[int(rng.integers(len(progressions)))] for _ in range(2)]
        slow = rng.random() < 0.25  # two bars to a chord
        self.chords = []
        for bar in range(self.bars):
            progression = choices[(bar // 8) % 2]
            self.chords.append(progression[(bar // 2 if slow else bar) % 4])
        self.sections = [(first, min(first + 4, self.bars)) for first in range(0, self.bars, 4)]

    def time(self, bar: int, step: float) -> float:
        """Seconds of a position, with swing and a player's looseness."""
        late = self.swing * (int(step) % 2) if step == int(step) else 0.0
        position = (bar * self.steps + step + late) * self.beat / 4
        return max(0.0, position + float(self.rng.normal(0, self.looseness)))

    def degree(self, degree: int, octave: int) -> int:
        """MIDI pitch of a scale degree, from 0, in an octave (4 holds middle C)."""
        scale = SCALES[self.mode]
        return 12 * (octave + 1 + degree // 7) + self.key + scale[degree % 7]

    def chord(self, bar: int, octave: int, size: int = 3) -> list[int]:
        """MIDI pitches of a bar's chord in close position: triad, or with the seventh if `size` is 4."""
        root = self.chords[bar]
        return [self.degree(root + 2 * i, octave) for i in range(size)]

    def velocity(self, centre: int, spread: int = 8) -> int:
        return int(np.clip(self.rng.normal(centre, spread), 20, 127))

    # ---- drums ------------------------------------------------------------------------------------------

    def drums(self) -> list[Note]:
        rng, notes = self.rng, []
        kick, snare = GROOVES[str(rng.choice(list(GROOVES)))]
        snare_key = int(rng.choice([SNARE, SNARE, SNARE, 40, CLAP, SIDE_STICK]))
        fill_chance = rng.uniform(0.2, 0.9)
        for first, last in self.sections:
            if rng.random() < 0.08:
                continue
            cymbal = int(rng.choice([CLOSED_HAT, CLOSED_HAT, CLOSED_HAT, RIDE, OPEN_HAT, PEDAL_HAT]))
            every = int(rng.choice([1, 2, 2, 2, 4]))
            open_chance = rng.uniform(0, 0.15)
            if rng.random() < 0.7:
                notes.append(self.hit(first, 0, int(rng.choice([CRASH, SECOND_CRASH])), 110))
            for bar in range(first, last):
                filling = bar == last - 1 and rng.random() < fill_chance
                fill_from = self.steps - int(rng.choice([4, 4, 8])) if filling else self.steps
                for step in range(self.steps):
                    if step >= fill_from:
                        if rng.random() < 0.75:
                            key = int(rng.choice([SNARE, HIGH_TOM, MID_TOM, LOW_TOM, KICK]))
                            notes.append(self.hit(bar, step, key, 100))
                        continue
                    if rng.random() * 9 < int(kick[step]):
                        notes.append(self.hit(bar, step, KICK, 112))
                    if rng.random() * 9 < int(snare[step]):
                        notes.append(self.hit(bar, step, snare_key, 108 if snare[step] == "9" else 60))
                    if step % every == 0:
                        key = OPEN_HAT if cymbal == CLOSED_HAT and rng.random() < open_chance else cymbal
                        notes.append(self.hit(bar, step, key, 95 if step % 4 == 0 else 75))
        return notes

    def percussion(self) -> list[Note]:
        rng = self.rng
        key = int(rng.choice([TAMBOURINE, SHAKER, COWBELL, CLAP, CONGA_HIGH]))
        pattern = rng.random(self.steps) < rng.uniform(0.25, 0.9)
        notes = []
        for first, last in self.sections:
            if rng.random() < 0.4:
                continue
            for bar in range(first, last):
                for step in np.flatnonzero(pattern):
                    other = CONGA_LOW if key == CONGA_HIGH and rng.random() < 0.5 else key
                    notes.append(self.hit(bar, int(step), other, 80 if step % 4 else 100))
        return notes

    def hit(self, bar: int, step: int, key: int, velocity: int) -> Note:
        return Note(self.time(bar, step), self.beat / 4, key, self.velocity(velocity))

    # ---- instruments with pitch -------------------------------------------------------------------------

    def bass(self) -> list[Note]:
        rng, notes = self.rng, []
        style = str(rng.choice(["roots", "eighths", "octaves", "walking", "syncopated", "long"]))
        octave = int(rng.choice([1, 1, 2]))
        rhythm = sorted({0, *(int(step) for step in rng.choice(self.steps, 5, replace=False))})
        for first, last in self.sections:
            if rng.random() < 0.08:
                continue
            for bar in range(first, last):
                root = self.degree(self.chords[bar], octave)
                fifth = self.degree(self.chords[bar] + 4, octave)
                if style == "long":
                    events = [(0, self.steps, root)]
                elif style == "roots":
                    events = [(step, 4, root) for step in range(0, self.steps, 4)]
                elif style == "eighths":
                    events = [(step, 2, root) for step in range(0, self.steps, 2)]
                elif style == "octaves":
                    events = [(step, 2, root + 12 * (step // 2 % 2)) for step in range(0, self.steps, 2)]
                elif style == "walking":
                    walk = [root, self.degree(self.chords[bar] + 2, octave), fifth, fifth + int(rng.choice([-1, 1, 2]))]
                    events = [(4 * i, 4, walk[i]) for i in range(self.beats)]
                else:
                    ends = [*rhythm[1:], self.steps]
                    events = [
                        (step, end - step, int(rng.choice([root, root, root, fifth, root + 12])))
                        for step, end in zip(rhythm, ends, strict=True)
                    ]
                short = rng.uniform(0.6, 1)
                for step, length, pitch in events:
                    notes.append(self.note(bar, step, length * short, pitch, 100))
        return notes

    def note(self, bar: int, step: float, length: float, pitch: int, velocity: int) -> Note:
        """A note of `length` sixteenths."""
        return Note(self.time(bar, step), length * self.beat / 4 * 0.97, int(pitch), self.velocity(velocity))

    def pad(self, octave: int) -> list[Note]:
        size = int(self.rng.choice([3, 3, 4]))
        notes = []
        for bar in self.playing(0.75):
            notes += [self.note(bar, 0, self.steps, pitch, 75) for pitch in self.chord(bar, octave, size)]
        return notes

    def comp(self, octave: int) -> list[Note]:
        """Chords struck in a rhythm of the piece's own."""
        rhythm = sorted(
            {0, *(int(step) for step in self.rng.choice(self.steps, int(self.rng.integers(2, 6)), replace=False))}
        )
        length = float(self.rng.uniform(1, 4))
        notes = []
        for bar in self.playing(0.75):
            for step in rhythm:
                inversion = int(self.rng.integers(0, 2))
                pitches = self.chord(bar, octave)
                pitches = pitches[inversion:] + [pitch + 12 for pitch in pitches[:inversion]]
                notes += [self.note(bar, step, length, pitch, 85) for pitch in pitches]
        return notes

    def strum(self, octave: int) -> list[Note]:
        """A guitar's chords: six strings, a few milliseconds apart."""
        every = int(self.rng.choice([2, 2, 4]))
        skip = float(self.rng.uniform(0, 0.4))
        notes = []
        for bar in self.playing(0.8):
            triad = self.chord(bar, octave)
            strings = [triad[0] - 12, triad[2] - 12, triad[0], triad[1], triad[2], triad[0] + 12]
            for step in range(0, self.steps, every):
                if step and self.rng.random() < skip:
                    continue
                down = step % 4 == 0
                for i, pitch in enumerate(strings if down else strings[::-1][:4]):
                    note = self.note(bar, step, every * 0.95, pitch, 85 if down else 65)
                    notes.append(Note(note.start + 0.008 * i, note.duration, note.pitch, note.velocity))
        return notes

    def power(self, octave: int) -> list[Note]:
        """Root, fifth and octave, as a distorted guitar plays them."""
        every = int(self.rng.choice([1, 2, 2, 4, 8]))
        muted = float(self.rng.choice([0.4, 0.95]))
        notes = []
        for bar in self.playing(0.8):
            root = self.degree(self.chords[bar], octave)
            for step in range(0, self.steps, every):
                if step and self.rng.random() < 0.12:
                    continue
                for interval in (0, 7, 12):
                    notes.append(self.note(bar, step, every * muted, root + interval, 95))
        return notes

    def arpeggio(self, octave: int) -> list[Note]:
        every = int(self.rng.choice([1, 2, 2]))
        order = self.rng.integers(0, 6, self.steps)
        notes = []
        for bar in self.playing(0.7):
            triad = self.chord(bar, octave)
            pitches = triad + [pitch + 12 for pitch in triad]
            notes += [
                self.note(bar, step, every * 1.5, pitches[order[step]], 80) for step in range(0, self.steps, every)
            ]
        return notes

    def riff(self, octave: int) -> list[Note]:
        """Two bars of melody that come again and again."""
        pattern = self.melody_bar(0.55), self.melody_bar(0.55)
        notes = []
        for bar in self.playing(0.6):
            for step, length, degree in pattern[bar % 2]:
                notes.append(self.note(bar, step, length, self.degree(self.chords[bar] + degree, octave), 92))
        return notes

    def lead(self, octave: int) -> list[Note]:
        """A melody that is new in every bar: a solo."""
        notes = []
        for bar in self.playing(0.35):
            for step, length, degree in self.melody_bar(0.7):
                notes.append(self.note(bar, step, length, self.degree(self.chords[bar] + degree, octave), 100))
        return notes

    def playing(self, share: float) -> list[int]:
        """The bars of the sections in which a player takes part."""
        bars: list[int] = []
        for first, last in self.sections:
            if self.rng.random() < share:
                bars.extend(range(first, last))
        return bars

    def melody_bar(self, density: float) -> list[tuple[int, int, int]]:
        """(step, length, degree above the chord's root) of one bar: mostly small steps, chord notes on the beats."""
        steps = [step for step in range(0, self.steps, 2) if self.rng.random() < density] or [0]
        ends = [*steps[1:], self.steps]
        degree, result = int(self.rng.choice([0, 2, 4])), []
        for step, end in zip(steps, ends, strict=True):
            degree = int(np.clip(degree + self.rng.choice([-2, -1, -1, 0, 1, 1, 2]), -3, 9))
            if step % 8 == 0:
                degree = int(min((-3, 0, 2, 4, 7, 9), key=lambda chord_note: abs(chord_note - degree)))
            result.append((step, min(end - step, 8), degree))
        return result

    # ---- the song's voice -------------------------------------------------------------------------------

    def vocals(self, low: int, high: int) -> list[Note]:
        """A sung melody between two MIDI pitches: phrases of one or two bars with rests between them.

        Velocity carries the dynamics; a note that begins where another ends belongs to the same phrase.
        """
        rng, notes = self.rng, []
        pitch = int(rng.integers(low + 3, high - 3))
        themes = [(self.vocal_rhythm(), rng.choice([-2, -1, -1, 0, 0, 1, 1, 2], 40)) for _ in range(2)]
        for number, (first, last) in enumerate(self.sections):
            if rng.random() < 0.15:
                continue
            rhythm, moves = themes[number % 2]
            excited = bool(rng.random() < 0.4)
            for bar in range(first, last):
                if rng.random() < 0.1:
                    rhythm = self.vocal_rhythm()
                scale = [p for p in range(low, high + 1) if (p - self.key) % 12 in SCALES[self.mode]]
                chord = [p for p in scale if any((p - c) % 12 == 0 for c in self.chord(bar, 4))]
                for i, (step, length) in enumerate(rhythm):
                    here = min(range(len(scale)), key=lambda k: abs(scale[k] - pitch))
                    here = int(np.clip(here + moves[i % 40], 0, len(scale) - 1))
                    pitch = scale[here]
                    if step % 8 == 0 or length > 6:
                        pitch = min(chord or scale, key=lambda p: abs(p - pitch))
                    duration = length * self.beat / 4
                    notes.append(Note(self.time(bar, step), duration, pitch, self.velocity(105 if excited else 85)))
        notes.sort(key=lambda note: note.start)
        return [
            Note(a.start, min(a.duration, b.start - a.start), a.pitch, a.velocity)
            for a, b in zip(notes, [*notes[1:], Note(np.inf, 0, 0, 1)], strict=True)
            if b.start - a.start > 0.09
        ]

    def vocal_rhythm(self) -> list[tuple[int, int]]:
        """(step, length) of one bar; a phrase may begin late and end early."""
        rng = self.rng
        first = int(rng.choice([0, 0, 2, 4]))
        last = self.steps - int(rng.choice([0, 0, 2, 4]))
        unit = 1 if self.beat > 0.55 and rng.random() < 0.5 else 2
        steps = [s for s in range(first, last, unit) if rng.random() < rng.choice([0.4, 0.65, 0.9])] or [first]
        ends = [*steps[1:], last]
        return [(s, max(1, end - s)) for s, end in zip(steps, ends, strict=True)]


def compose(rng: np.random.Generator, seconds: float, vocal_range: tuple[int, int]) -> Piece:
    """Compose a piece of about `seconds` with a band chosen at random.

    Args:
        rng: the only source of chance.
        seconds: wanted duration; the piece has whole bars.
        vocal_range: lowest and highest MIDI pitch of the singer.
    """
    composer = Composer(rng, seconds)
    parts = [Part("vocals", "vocals", composer.vocals(*vocal_range))]
    if rng.random() < 0.95:
        parts.append(Part("drums", "drums", composer.drums()))
        if rng.random() < 0.3:
            parts.append(Part("drums", "percussion", composer.percussion()))
    if rng.random() < 0.95:
        parts.append(Part("bass", "bass", composer.bass()))
    roles: list[Role] = ["pad", "comp", "strum", "power", "arpeggio", "riff", "lead"]
    chances = np.array([0.18, 0.2, 0.18, 0.16, 0.12, 0.08, 0.08])
    for role in rng.choice(len(roles), int(rng.integers(1, 6)), replace=True, p=chances):
        name = roles[int(role)]
        octave = {"power": 2, "strum": 3, "pad": int(rng.integers(3, 5)), "lead": int(rng.integers(4, 6))}.get(
            name, int(rng.integers(3, 6))
        )
        parts.append(Part("other", name, getattr(composer, name)(octave)))
    seconds = composer.bars * composer.beats * composer.beat
    return Piece(seconds, composer.beat, [part for part in parts if part.notes])
