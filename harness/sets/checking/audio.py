"""Checking the music of a set: whether each folder holds five files that can be used, and what is odd about them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.challenge import CAD1, EARS, PROTOCOL, STEMS
from harness.enhancement import MIN_SECONDS, Signal
from harness.errors import DataError, printable
from harness.music.evaluationset import MAX_MUSIC_SECONDS, MAX_SAMPLE, Scene, max_bytes
from harness.music.microphones import meter
from harness.sets.checking.documents import meant
from harness.sets.checking.findings import shown_text
from harness.sets.checking.metadata import Wanted

NAMES = ("mixture", *STEMS)

_FIRST_BYTES = {
    b"fLaC": "a FLAC file",
    b"ID3": "an MP3 file",
    b"OggS": "an Ogg file",
    b"FORM": "an AIFF file",
    b"version https://git-lfs": "a pointer of Git LFS and not the music itself (git lfs pull fetches that)",
    b"RIFF": "a damaged WAV file",
    b"PK": "a zip file",
}
"""How files begin that are found in place of music."""

FULL_SCALE = 32767 / 32768
"""The largest sample of 16 bit."""

CLIPPED = 4
"""Samples at full scale from which on music is called clipped: a peak may touch it."""


@dataclass(frozen=True)
class Looked:
    """What was found in one folder of music.

    Attributes:
        wanted: the folder.
        problems, remarks: each the name of a file below it (empty for the folder) and what is to be said.
        bits: the sample formats of its files.
    """

    wanted: Wanted
    problems: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, str], ...]
    bits: tuple[str, ...]


def look_at(task: tuple[Path, Wanted]) -> Looked:
    """Read a folder's five files in full. Runs in a worker.

    Args:
        task: the evaluation set's folder, and what of it is wanted.
    """
    root, wanted = task
    folder = root / wanted.folder
    problems: list[tuple[str, str]] = []
    remarks: list[tuple[str, str]] = []
    if not os.path.isdir(folder):  # noqa: PTH112 - unlike Path.is_dir, False for a name that is too long
        return Looked(wanted, (("", _no_folder(root, wanted.folder)),), (), ())
    scene = Scene("", "", "", dict.fromkeys(STEMS, 0.0), (), folder, protocol=wanted.protocol)
    lengths: dict[str, int] = {}
    silent: dict[str, tuple[bool, ...]] = {}
    bits = []
    for name in NAMES:
        file = f"{name}.wav"
        try:
            signal = scene.read(name)
        except DataError as error:
            problems += [(file, why) for why in _why(folder, name, error)]
            continue
        lengths[name] = len(signal)
        part = signal if wanted.segment is None else signal[slice(*wanted.segment)]
        silent[name] = tuple(not part[:, ear].any() for ear in range(len(EARS)))
        remarks += [(file, what) for what in _oddities(name, signal, wanted)]
        bits.append(_subtype(folder / file))
        if leads_out(root, folder / file):
            remarks.append((file, "is a link that leads out of the set: whoever copies the folder may not have it"))
    problems += [("", what) for what in _lengths(lengths, wanted)]
    problems += _silences(silent, wanted)
    return Looked(wanted, tuple(problems), tuple(remarks), tuple(dict.fromkeys(bits)))


def _no_folder(root: Path, inner: str) -> str:
    """Why a folder of music cannot be used: it is not there, or a part of its path is written otherwise."""
    here = root
    for part in Path(inner).parts:
        if not os.path.isdir(here / part):  # noqa: PTH112
            below = shown_text(str(here.relative_to(root)))
            return f"this folder of music is not there: {below} holds no folder {shown_text(part)}{meant(here, part)}"
        here /= part
    return "this folder of music is not there"


def _why(folder: Path, name: str, error: DataError) -> Iterator[str]:
    """All reasons for which a file cannot be used, in plain words; `error` is what reading it said."""
    import soundfile

    path = folder / f"{name}.wav"
    try:
        status = path.stat()
    except OSError:
        if path.is_symlink():
            yield "is a link to a file that is not there"
        else:
            yield f"is missing{meant(folder, path.name)}"
        return
    if not stat.S_ISREG(status.st_mode):
        yield "is no file, a WAV file is expected"
        return
    if not status.st_size:
        yield "is empty (0 bytes): fetch or make it again"
        return
    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        try:
            with path.open("rb") as file:
                start = file.read(32)
        except OSError as unreadable:
            yield f"cannot be read ({unreadable.strerror}): may you read it?"
            return
        what = next((each for begin, each in _FIRST_BYTES.items() if start.startswith(begin)), "no sound file")
        yield f"is {what}, expected is a WAV file: convert it, or fetch it again"
        return
    count = 0
    for wrong, message in (
        (header.format not in ("WAV", "WAVEX"), f"is {header.format} inside, expected is WAV: convert it"),
        (
            header.samplerate != PROTOCOL.sample_rate,
            f"has a sample rate of {header.samplerate:,} Hz, expected are {PROTOCOL.sample_rate:,} Hz: resample it",
        ),
        (
            header.channels != len(EARS),
            f"is {'mono' if header.channels == 1 else f'of {header.channels} channels'}, expected are two channels, "
            "left and right",
        ),
        (
            not MIN_SECONDS <= header.frames / header.samplerate <= MAX_MUSIC_SECONDS,
            f"lasts {header.frames / header.samplerate:.3f} s, expected are {MIN_SECONDS} s "
            f"(shorter music has no loudness) to {MAX_MUSIC_SECONDS:.0f} s",
        ),
        (
            status.st_size > max_bytes(header.frames),
            f"has {status.st_size:,} bytes, far more than its {header.frames:,} samples need: write it anew",
        ),
    ):
        if wrong:
            count += 1
            yield message
    if not count:
        yield from _why_samples(path, error)


def _why_samples(path: Path, error: DataError) -> Iterator[str]:
    """Why samples cannot be used, of a file whose header is good."""
    import soundfile

    try:
        signal, _ = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError):
        yield "is damaged inside: fetch or make it again"
        return
    strange = int(np.count_nonzero(~np.isfinite(signal)))
    if strange:
        first = int(np.flatnonzero(~np.isfinite(signal).all(axis=1))[0])
        yield (
            f"{strange:,} samples are no numbers (NaN or infinite), the first at {first / PROTOCOL.sample_rate:.3f} s: "
            "make it again"
        )
    elif len(signal) and (loudest := float(np.abs(signal).max())) > MAX_SAMPLE:
        yield (
            f"peaks at {loudest:.3g} times full scale, at most {MAX_SAMPLE:g} is music: were 16-bit values written "
            "as floats? divide them by 32768"
        )
    else:
        yield printable(str(error)).replace(f"{path}", "").strip(": ")


def _subtype(path: Path) -> str:
    import soundfile

    return str(soundfile.info(path).subtype)


def leads_out(root: Path, path: Path) -> bool:
    """Whether a file lies elsewhere than below a folder, by way of links below it."""
    return not path.resolve().is_relative_to(root.resolve())


def _oddities(name: str, signal: Signal, wanted: Wanted) -> Iterator[str]:
    """What is unusual about a file that can be used."""
    peak = np.abs(signal).max()
    if not peak:
        if wanted.protocol != CAD1 and name != "mixture":
            yield f"is silent throughout: there are no {name} to separate, and their gain changes nothing"
        return
    if peak > 1:
        count = int(np.count_nonzero(np.abs(signal) > 1))
        yield f"exceeds full scale at {count:,} samples (peak {20 * np.log10(peak):+.1f} dB): 16 bit would clip it"
    elif (count := int(np.count_nonzero((signal >= FULL_SCALE) | (signal <= -1)))) >= CLIPPED:
        yield f"is clipped: {count:,} samples are at full scale"
    if not has_loudness(signal):
        yield (
            "is so quiet that it has no loudness (never above -70 LUFS): it counts as silent, and at the microphone "
            "the official program makes zeros of it"
        )


def _lengths(lengths: dict[str, int], wanted: Wanted) -> Iterator[str]:
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        yield f"the files must be equally long, but have different numbers of samples: {listed}"
    elif wanted.segment is not None and lengths and wanted.segment[1] > (length := min(lengths.values())):
        yield (
            f"its segment ends at {wanted.segment[1] / CAD1.sample_rate:.2f} s, the music at "
            f"{length / CAD1.sample_rate:.2f} s: correct musdb18.segments, or fetch the whole song"
        )


def _silences(silent: dict[str, tuple[bool, ...]], wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Silence for which no score exists."""
    if wanted.protocol == CAD1:
        where = "" if wanted.segment is None else " in the segment that is scored"
        for name in STEMS:
            ears = [ear for ear, is_silent in zip(EARS, silent.get(name, ()), strict=False) if is_silent]
            if ears:
                which = "both channels are" if len(ears) == len(EARS) else f"the {ears[0]} channel is"
                other = "" if wanted.segment is None else ", or choose another segment"
                yield (
                    f"{name}.wav",
                    f"{which} silent{where}: a silent stem cannot be scored, and every pair of this song would fail; "
                    f"leave the song out{other}",
                )
        return
    if all(silent.get("mixture", (False,))):
        yield "mixture.wav", "is silent: there is nothing to hear, and nothing to be scored"
    if set(STEMS) <= set(silent):
        for at, ear in enumerate(EARS):
            if all(silent[name][at] for name in STEMS):
                yield (
                    "",
                    f"all four stems are silent in the {ear} channel: the reference of that ear would be silent, and "
                    "its scenes cannot be scored",
                )


def has_loudness(signal: Signal) -> bool:
    """Whether a signal has a loudness: some 0.4 s of it lie above the absolute gate of -70 LUFS (ITU-R BS.1770-4).

    Where it is loudest is measured first: nearly all signals need no more.
    """
    block = int(0.4 * PROTOCOL.sample_rate)
    energy = np.add.reduceat(np.square(signal).sum(axis=1), np.arange(0, len(signal), block))
    middle = int(energy.argmax()) * block
    loudest = signal[max(0, middle - 2 * block) : middle + 3 * block]
    with np.errstate(divide="ignore", invalid="ignore"):
        return any(np.isfinite(meter().integrated_loudness(part)) for part in (loudest, signal) if len(part) >= block)
