"""Building an evaluation set from songs, listeners, gains and positions: metadata and music in the official layout."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.challenge import CAD1, Protocol
from harness.console import Advance
from harness.errors import DataError, HarnessError, StorageError, UsageError
from harness.files import locked_folder, remove_leftovers, sha256_of
from harness.music.layout import POSITION_FILES, load, positions_file, splits
from harness.sets.at_mic import samples_of
from harness.sets.heads import Position, speaker_files
from harness.sets.making import RECIPE, Made, Piece, clipped_in, make_pieces, silent_in
from harness.sets.positions import records_of
from harness.sets.provenance import excerpts_entry, hashes_of, read_provenance, write_provenance
from harness.sets.scenes import draw_listeners, draw_scenes
from harness.sets.songs import FoundSongs, in_short
from harness.sets.writing import Content, as_official, difference_from, write_metadata

COMMAND = "set new"

SHARED = ("gains.json", *POSITION_FILES)
"""Metadata files that all splits of an evaluation set share."""

DECISIONS = (
    "scenes are drawn as the official program draws them: seeded by the song's name, without a gain or position twice",
    "listeners of scenes are drawn on one random stream, seeded by a text",
    "names of songs are in Unicode's composed form (NFC)",
    "music at the microphones: each file is brought back to the loudness that it had before the head, alone",
    "music for headphones: the song's samples in 16 bit, truncated towards zero",
    "files that are silent, or too quiet for the loudness meter at the microphones, are zeros",
)


@dataclass(frozen=True)
class Plan:
    """What an evaluation set is made of.

    Attributes:
        root: where it is made.
        split: its only split, or another one of those that are there.
        protocol: by which it is to be scored.
        found: the songs.
        listeners: the content of listeners.<split>.json.
        gains: the content of gains.json; not used where the protocol has no gains.
        positions: heads between loudspeakers by id; empty: headphone form.
        heads: the folder with the heads' impulse responses.
        per_song: scenes of a song.
        per_scene: listeners of a scene.
        seed: the text that seeds the draw of listeners.
        options: as they were given, for the provenance.
    """

    root: Path
    split: str
    protocol: Protocol
    found: FoundSongs
    listeners: Mapping[str, Mapping[str, Any]]
    gains: Mapping[str, Mapping[str, float]]
    positions: Mapping[str, Position]
    heads: Path
    per_song: int
    per_scene: int
    seed: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Built:
    """What came of a plan.

    Attributes:
        made: every piece of music, in the order of the metadata.
        scenes: number of scenes; of songs, where the protocol has no scenes.
        pairs: number of scene-listener pairs.
        written: metadata files that were written, not those that said the same already.
        unused: folders of music of the split that are not part of it.
    """

    made: tuple[Made, ...]
    scenes: int
    pairs: int
    written: tuple[Path, ...]
    unused: tuple[Path, ...]


def build(plan: Plan, workers: int, begin: Callable[[int], AbstractContextManager[Advance]]) -> Built:
    """Make the music and the metadata of a plan; what is there already, made from the same, is kept.

    The file that makes it a split of the evaluation set is written last, and removed first where anything is to be made
    differently than before: at no time is there a set of which a part is old and a part new.

    Args:
        plan: what is to be made.
        workers: number of processes.
        begin: called with the number of pieces of music, gives a context manager that yields what shows progress.

    Raises:
        UsageError: a metadata file is there that says something else and is not this command's.
        DataError: the songs, listeners, gains or positions do not make an evaluation set.
        HarnessError: pieces of music could not be made: names them. Those that could are kept.
        StorageError, SubmissionError: a file cannot be written, or another process is writing there.
    """
    content, pieces, pairs = _checked(plan)
    last = _decisive(plan)
    metadata = plan.root / "metadata"
    inputs = _inputs(plan, pieces)
    with locked_folder(plan.root, instead="choose another ROOT"):
        former = read_provenance(plan.root, plan.split).get(COMMAND)
        _ensure_replaceable(plan, content, former)
        remove_leftovers(metadata)
        if former is not None and any(former.get(key) != value for key, value in inputs.items()):
            _withdraw(plan, content)
        with begin(len(pieces)) as advance:
            made = make_pieces(plan.root, plan.split, pieces, workers, advance)
        _ensure_made(made)
        order = [name for name in content if name != last]
        written = [metadata / name for name in order if write_metadata(metadata / name, content[name])]
        outcome: dict[str, Any] = {
            "silent": silent_in(made),
            "clipped": clipped_in(made),
        }
        write_provenance(plan.root, plan.split, COMMAND, {**inputs, **outcome})
        if write_metadata(metadata / last, content[last]):
            written.append(metadata / last)
    scenes = len(content[f"musdb18.{plan.split}.json"] if plan.protocol == CAD1 else content[last])
    return Built(tuple(made), scenes, pairs, tuple(written), _unused(plan, pieces))


def _decisive(plan: Plan) -> str:
    """The metadata file without which there is no such split."""
    return f"musdb18.{plan.split}.json" if plan.protocol == CAD1 else f"scenes.{plan.split}.json"


def _checked(plan: Plan) -> tuple[dict[str, Content], list[Piece], int]:
    """Metadata by file name, the music that goes with it, and the number of pairs.

    The metadata are read back as any evaluation set's, from a folder of their own, before anything is made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="harness-set-"))
    except OSError as error:
        raise StorageError(f"cannot make a temporary folder: {error.strerror}; set TMPDIR to another place") from None
    try:
        content = _cad1_metadata(plan) if plan.protocol == CAD1 else _metadata(plan)
        for name, each in content.items():
            write_metadata(folder / "metadata" / name, each)
        if plan.protocol == CAD1:
            pieces = _as_they_are(plan)
        elif plan.positions:
            samples, _ = samples_of(folder, plan.split)
            songs = {song.name: song for song in plan.found.songs}
            speakers = {key: _speakers(plan, key) for key in {each.position for each in samples}}
            pieces = [
                Piece(each.name, each.folder, songs[each.track].signals, speakers[each.position]) for each in samples
            ]
            content[name := f"at_mic_music.{plan.split}.json"] = {each.name: each.record for each in samples}
            write_metadata(folder / "metadata" / name, content[name])
        else:
            pieces = _as_they_are(plan)
        loaded = load(folder, plan.split, plan.root.name, plan.protocol)
        return content, pieces, len(loaded.pairs)
    except DataError as error:
        raise DataError(str(error).replace(str(folder), str(plan.root))) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _metadata(plan: Plan) -> dict[str, Content]:
    names = [song.name for song in plan.found.songs]
    scenes = draw_scenes(names, list(plan.gains), list(plan.positions), plan.per_song)
    music: list[Any] = [
        {"Track Name": song.name, **song.about, "Split": plan.split, "Path": f"{plan.split}/{song.name}"}
        for song in plan.found.songs
    ]
    content: dict[str, Content] = {
        "gains.json": {key: dict(gains) for key, gains in plan.gains.items()},
        f"listeners.{plan.split}.json": {key: dict(each) for key, each in plan.listeners.items()},
        f"musdb18.{plan.split}.json": music,
        f"scene_listeners.{plan.split}.json": dict(
            draw_listeners(list(scenes), list(plan.listeners), plan.per_scene, plan.seed)
        ),
        f"scenes.{plan.split}.json": dict(scenes),
    }
    if plan.positions:
        there = positions_file(plan.root)
        content[POSITION_FILES[0] if there is None else there.name] = records_of(plan.positions)
    return content


def _cad1_metadata(plan: Plan) -> dict[str, Content]:
    music: list[Any] = [{"Track Name": song.name, **song.about, "Split": plan.split} for song in plan.found.songs]
    return {
        f"listeners.{plan.split}.json": {key: dict(each) for key, each in plan.listeners.items()},
        f"musdb18.{plan.split}.json": music,
    }


def _as_they_are(plan: Plan) -> list[Piece]:
    """The songs as they are: for headphones, or for the first challenge."""
    half = plan.split if plan.protocol != CAD1 else "test" if plan.split == "test" else "train"
    return [
        Piece(song.name, Path(PurePosixPath("musdb18hq", half, song.name)), song.signals) for song in plan.found.songs
    ]


def _speakers(plan: Plan, key: str) -> tuple[Path, Path]:
    try:
        return speaker_files(plan.heads, plan.positions[key])
    except DataError as error:
        raise DataError(f"{key}: {error}") from None


def _inputs(plan: Plan, pieces: list[Piece]) -> dict[str, Any]:
    """What the set is made from, as the provenance says it: the same where the same is made."""
    heads = sorted({path for piece in pieces for path in piece.speakers or ()})
    inputs: dict[str, Any] = {
        "protocol": plan.protocol.name,
        "recipe": RECIPE,
        "options": dict(plan.options),
        "decisions": list(DECISIONS),
        "songs": hashes_of(plan.found.songs),
        "summed": list(plan.found.summed),
        "resampled": sorted(song.name for song in plan.found.songs if song.resampled),
        "listeners": _sha256(dict(plan.listeners)),
    }
    if plan.protocol != CAD1:
        inputs["seeds"] = {"scenes": "the song's name", "listeners": plan.seed}
        inputs["gains"] = _sha256(dict(plan.gains))
        inputs["positions"] = _sha256(dict(records_of(plan.positions)))
        inputs["heads"] = {path.name: sha256_of(path) for path in heads}
    if excerpts := excerpts_entry(plan.found.folder):
        inputs["excerpts"] = {key: excerpts[key] for key in ("options", "decisions", "songs") if key in excerpts}
    return inputs


def _sha256(content: Content) -> str:
    """Hash of a metadata file's content; the order of its entries counts, since draws depend on it."""
    return hashlib.sha256(as_official(content)).hexdigest()


def _ensure_replaceable(plan: Plan, content: Mapping[str, Content], former: Mapping[str, Any] | None) -> None:
    """Raise UsageError if writing the metadata would lose what is not this command's, or change another split."""
    metadata = plan.root / "metadata"
    there = splits(plan.root)
    others = [split for split in there if split != plan.split]
    strange = [split for split, protocol in there.items() if protocol != plan.protocol]
    if strange or (former is not None and former.get("protocol") != plan.protocol.name):
        raise UsageError(
            f"{plan.root} holds the split {(strange or [plan.split])[0]} of another challenge, "
            f"not of {plan.protocol.name}: choose another ROOT"
        )
    for name, new in content.items():
        difference = difference_from(metadata / name, new)
        if difference is None:
            continue
        if name in SHARED and others:
            raise UsageError(
                f"{metadata / name} is also that of the split {others[0]}, and would change ({difference}): "
                "choose another ROOT, or the same gains and positions"
            )
        if former is None:
            raise UsageError(
                f"{metadata / name} is there already, says something else ({difference}), and was not written by "
                "harness set new: choose another ROOT or --split"
            )


def _withdraw(plan: Plan, content: Mapping[str, Content]) -> None:
    """Remove the metadata file that makes the split one, and those that will not be written again."""
    metadata = plan.root / "metadata"
    others = [split for split in splits(plan.root) if split != plan.split]
    former = [f"at_mic_music.{plan.split}.json", *(() if others else POSITION_FILES)]
    for name in (_decisive(plan), *(each for each in former if each not in content)):
        try:
            (metadata / name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {metadata / name}: {error.strerror}; choose another ROOT") from error


def _ensure_made(made: list[Made]) -> None:
    """Raise HarnessError if pieces of music could not be made."""
    failed = [f"{each.piece.name}: {each.problem}" for each in made if each.problem is not None]
    if failed:
        head = f"{len(failed)} of {len(made)} pieces of music could not be made; what was made is kept:"
        raise HarnessError(in_short(head, failed))


def _unused(plan: Plan, pieces: list[Piece]) -> tuple[Path, ...]:
    """Folders of music that lie beside those of the set, left from another making of the same split."""
    if plan.protocol == CAD1:  # other splits lie there as well
        return ()
    used = {plan.root / "audio" / piece.folder for piece in pieces}
    beside = {folder.parent for folder in used}
    return tuple(sorted(each for folder in beside for each in folder.iterdir() if each.is_dir() and each not in used))
