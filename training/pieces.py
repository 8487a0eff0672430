"""Renders pieces: composition, sounds, voices and mixing together, into folders of four stems.

    PIECES/voices.npz                                   what the singers sing, analysed
    PIECES/train/0000/{drums,bass,other,vocals}.flac    16 bit, stereo, 44.1 kHz
    PIECES/held-out/0000/...                            other voices, drum kits and instruments: to choose on
    PIECES/test/0000/...                                the same, other pieces: to report on

Piece number n depends on the seed and on n alone. A piece is there whole or not at all, so rendering resumes after an
interruption.
"""

import multiprocessing
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import mixing, sounds, voice
from training.composition import Note, Part, Piece, compose
from training.excerpts import SAMPLE_RATE, STEMS
from training.sounds import TAIL, Stereo

TRAINING_KITS = (
    "Audiophob", "BJA_Pacific", "ColomboAcousticDrumkit", "ElectricEmpireKit", "ForzeeStereo", "HardElectro1",
    "Millo-Drums_v.1", "Millo_MultiLayered2", "The Black Pearl 1.0", "VariBreaks", "rumpf_kit_z01_h2",
)  # fmt: skip
HELD_OUT_KITS = ("Millo_MultiLayered3",)
TRAINING_FONTS = ("fluid", "musescore")
HELD_OUT_FONTS = ("tim",)
"""Never heard in training, like `HELD_OUT_KITS` and the voices of `voice.HELD_OUT_SPEAKERS`."""

ODD = 0.35
"""How often an instrument of `other` is one that its role is not known for."""

SECONDS = 36.0
UTTERANCES = 8


PARTS = ("train", "held-out", "test")


def render(folder: Path, counts: Mapping[str, int], seed: int, workers: int) -> None:
    """Render what is missing of so many pieces of each of `PARTS`.

    Raises:
        FileNotFoundError: a sound font, drum kit or speech synthesiser is not installed; see system-packages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(part, n) for part in PARTS for n in range(counts[part])]
    jobs = [(part, n) for part, n in jobs if not (folder / part / f"{n:04d}").is_dir()]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    context = multiprocessing.get_context("spawn")
    with Progress(*columns) as progress, ProcessPoolExecutor(workers, mp_context=context) as pool:
        if not (folder / "voices.npz").is_file():
            _prepare_voices(folder / "voices.npz", seed, pool, progress)
        bar = progress.add_task("pieces", total=len(jobs))
        for done in as_completed([pool.submit(render_piece, folder, part, n, seed) for part, n in jobs]):
            done.result()
            progress.advance(bar)


# ---- voices -------------------------------------------------------------------------------------------------


def _prepare_voices(path: Path, seed: int, pool: ProcessPoolExecutor, progress: Progress) -> None:
    speakers = [*voice.SPEAKERS, *voice.HELD_OUT_SPEAKERS]
    bar = progress.add_task("voices", total=len(speakers) * UTTERANCES)
    jobs = {
        pool.submit(_utter, speaker, np.random.default_rng([seed, 7, s, u])): f"{s}.{u}"
        for s, speaker in enumerate(speakers)
        for u in range(UTTERANCES)
    }
    arrays: dict[str, Any] = {}
    for done in as_completed(jobs):
        utterance = done.result()
        arrays |= {f"{jobs[done]}.{field.name}": getattr(utterance, field.name) for field in fields(utterance)}
        progress.advance(bar)
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def _utter(speaker: voice.Speaker, rng: np.random.Generator) -> voice.Utterance:
    return voice.analyse(voice.speak(speaker, voice.words(rng, speaker.language)))


def _utterances(path: Path, speaker: int) -> list[voice.Utterance]:
    names = [field.name for field in fields(voice.Utterance)]
    with np.load(path) as file:
        return [voice.Utterance(**{name: file[f"{speaker}.{u}.{name}"] for name in names}) for u in range(UTTERANCES)]


# ---- pieces -------------------------------------------------------------------------------------------------


def render_piece(folder: Path, part: str, number: int, seed: int) -> None:
    """Render one piece into `folder/part/number`."""
    rng = np.random.default_rng([seed, PARTS.index(part), number])
    training = part == "train"
    known = len(voice.SPEAKERS)
    speakers = [*voice.SPEAKERS, *voice.HELD_OUT_SPEAKERS]
    singer = int(rng.integers(known) if training else known + rng.integers(len(voice.HELD_OUT_SPEAKERS)))
    shift = int(rng.integers(-3, 4))
    piece = compose(rng, SECONDS, (speakers[singer].low + shift, speakers[singer].high + shift))
    length = int((piece.seconds + TAIL) * SAMPLE_RATE)
    stems: dict[Any, Stereo] = {stem: np.zeros((length, 2), np.float32) for stem in STEMS}
    font = str(rng.choice(TRAINING_FONTS if training else HELD_OUT_FONTS))
    for player in piece.parts:
        if player.role == "vocals":
            takes = _vocals(player, piece, _utterances(folder / "voices.npz", singer), rng)
        else:
            takes = _played(player, piece, font, TRAINING_KITS if training else HELD_OUT_KITS, rng)
        for take in takes:
            stems[player.stem] += take[:length]
    target = folder / part / f"{number:04d}"
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        for stem, sound in mixing.mixed(stems, rng).items():
            soundfile.write(temporary / f"{stem}.flac", sound, SAMPLE_RATE, subtype="PCM_16")
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _played(player: Part, piece: Piece, font: str, kits: tuple[str, ...], rng: np.random.Generator) -> list[Stereo]:
    """A player's sound after its effects; guitars are often played twice, left and right."""
    level = -20 + float(rng.uniform(-7, 0))
    if player.stem == "drums":
        if player.role == "drums" and rng.random() < 0.6:
            sound = sounds.play_kit(player.notes, str(rng.choice(kits)), piece.seconds, rng)
        else:
            program = int(rng.choice(sounds.DRUM_PROGRAMS[font]))
            sound = sounds.play(player.notes, font, sounds.DRUM_BANK, program, piece.seconds)
        if player.role == "percussion":
            level -= 4
        return [mixing.levelled(mixing.treat(sound, player.role, rng), level)]
    programs = sounds.BASS_PROGRAMS if player.role == "bass" else sounds.PROGRAMS[player.role]
    program = int(rng.choice(programs))
    if player.stem == "other" and rng.random() < ODD:
        program = int(rng.choice(sounds.ANY_PROGRAM))
    if player.role in ("power", "strum") and rng.random() < 0.6:
        side = float(rng.uniform(0.4, 1))
        takes = []
        for place in (-side, side):
            sound = sounds.play(_again(player.notes, rng), font, 0, program, piece.seconds)
            takes.append(mixing.placed(mixing.levelled(mixing.treat(sound, player.role, rng), level - 3), place, 0.3))
        return takes
    sound = sounds.play(player.notes, font, 0, program, piece.seconds)
    return [mixing.levelled(mixing.treat(sound, player.role, rng), level)]


def _vocals(player: Part, piece: Piece, utterances: list[voice.Utterance], rng: np.random.Generator) -> list[Stereo]:
    """The lead voice, and at times a second take of it or a harmony to the sides."""
    length = piece.seconds + TAIL

    def take(notes: list[Note], level: float, place: float) -> Stereo:
        # What is sung must be the same in each take: its words are drawn from a generator of their own.
        sung = voice.sing(notes, utterances, length, np.random.default_rng(words))
        sound = np.repeat(sung[:, None], 2, axis=1)
        return mixing.placed(mixing.levelled(mixing.treat(sound, "vocals", rng), level), place, 1.0)

    words = int(rng.integers(2**31))
    takes = [take(player.notes, -20, 0)]
    if rng.random() < 0.4:
        side = float(rng.uniform(0.2, 0.9))
        takes += [take(_again(player.notes, rng), -26, place) for place in (-side, side)]
    if rng.random() < 0.35:
        interval = int(rng.choice([3, 4, 7, -5, 12, -12]))
        loud = [note for note in player.notes if note.velocity > 80]
        harmony = [Note(n.start, n.duration, n.pitch + interval, n.velocity) for n in _again(loud, rng)]
        if harmony:
            takes.append(take(harmony, -25, float(rng.uniform(-0.8, 0.8))))
    return takes


def _again(notes: list[Note], rng: np.random.Generator) -> list[Note]:
    """The same notes played once more, never quite together with the first time."""
    late = rng.normal(0, 0.01, len(notes))
    return [
        Note(max(0.0, note.start + float(d)), note.duration, note.pitch, note.velocity)
        for note, d in zip(notes, late, strict=True)
    ]
