"""The official generator's job: an evaluation set's songs brought to the microphones of its heads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from harness.challenge import STEMS
from harness.errors import DataError
from harness.files import is_inner_path, locked_folder, remove_leftovers, sha256_of
from harness.music.layout import POSITION_FILES, positions_file
from harness.music.metadata import EACH_SCENE, MusicRecord, MusicRecords, SceneRecord, Text, read
from harness.sets.heads import Position, speaker_files
from harness.sets.making import RECIPE, Made, Piece, clipped_in, make_pieces, silent_in, song_folder
from harness.sets.positions import read_positions
from harness.sets.provenance import write_provenance
from harness.sets.sources import Source
from harness.sets.writing import ensure_replaceable, write_metadata

FOLDER = "at_mic_music"
"""Where music at the microphones lies, below `audio/`."""

DECISIONS = (
    "each file is brought back to the loudness that it had before the head, alone: stems do not add up to the mixture",
    "files that are silent, or too quiet for the loudness meter, are zeros",
    "the head's delay and the end of its response are left as in the official program: music keeps its length",
    "music that cannot be made is not listed",
)


@dataclass(frozen=True)
class Sample:
    """A song at the microphones of a head, as scenes ask for it.

    Attributes:
        name: "<Track Name>-<position>".
        track: the song's Track Name.
        position: the id of the position.
        folder: where its files go, below `audio/`.
        source: where the song's files lie.
    """

    name: str
    track: str
    position: str
    folder: Path
    source: Path

    @property
    def record(self) -> dict[str, str]:
        """Its entry in at_mic_music.<split>.json."""
        path = self.folder.relative_to(FOLDER)
        return {
            "Track Name": self.name,
            "Split": path.parts[0],
            "Path": path.as_posix(),
            "Original Track Name": self.track,
            "Head Position": self.position,
        }


@dataclass(frozen=True)
class AtMic:
    """What `make_at_mic` did.

    Attributes:
        made: what came of each piece, in the order of the scenes; those that could not even be begun included.
        file: at_mic_music.<split>.json, which lists those that are there.
        in_headphones: scenes without a position, which need no music at the microphones.
    """

    made: tuple[Made, ...]
    file: Path
    in_headphones: int

    @property
    def problems(self) -> dict[str, list[str]]:
        """What went wrong, each with the names of the pieces that it befell."""
        problems: dict[str, list[str]] = {}
        for made in self.made:
            if made.problem is not None:
                problems.setdefault(made.problem, []).append(made.piece.name)
        return problems

    @property
    def silent(self) -> dict[str, list[str]]:
        """The files that are zeros, by piece."""
        return silent_in(self.made)

    @property
    def clipped(self) -> dict[str, dict[str, int]]:
        """How many samples were clipped, by piece and file."""
        return clipped_in(self.made)


def samples_of(root: Path, split: str) -> tuple[list[Sample], int]:
    """The music at the microphones that the scenes of a split need, in their order, each once.

    Returns:
        The samples, and how many scenes are in headphone form.

    Raises:
        DataError: metadata missing or malformed, or a scene names a song that is not listed.
    """
    metadata = root / "metadata"
    scenes_file, tracks_file = metadata / f"scenes.{split}.json", metadata / f"musdb18.{split}.json"
    scenes: dict[str, SceneRecord] = read(scenes_file, Annotated[dict[Text, SceneRecord], EACH_SCENE])
    tracks: dict[str, MusicRecord] = {}
    for music in read(tracks_file, MusicRecords):
        if tracks.setdefault(music.track, music) is not music:
            raise DataError(f"{tracks_file}: {music.track!r} is listed twice: each song has one entry")
    samples: dict[str, Sample] = {}
    in_headphones = 0
    for scene_id, scene in scenes.items():
        position = scene.head_loudspeaker_positions
        if position is None:
            in_headphones += 1
            continue
        if scene.music not in tracks:
            raise DataError(f"{scenes_file}: {scene_id}: no song {scene.music!r} in {tracks_file.name}")
        song = tracks[scene.music]
        name = f"{song.track}-{position}"
        path = song.path or f"{song.split}/{song.track}"
        if not is_inner_path(path):
            raise DataError(f"{tracks_file}: {song.track}: Path {path!r} leads out of {root / 'audio' / 'music'}")
        folder = FOLDER / song_folder(song.split, name, f"{tracks_file}: {song.track}")
        sample = Sample(name, song.track, position, folder, root / "audio" / "music" / path)
        if samples.setdefault(name, sample) != sample:
            raise DataError(
                f"{scenes_file}: {scene_id}: another song and position are called {name!r} together: rename one of them"
            )
    if not samples:
        raise DataError(f"{scenes_file}: no scene has head_loudspeaker_positions: there is nothing to bring to a head")
    return list(samples.values()), in_headphones


def make_at_mic(
    root: Path,
    split: str,
    output: Path | None,
    workers: int,
    overwrite: bool,
    resample: bool,
    begin: Callable[[int], Any],
) -> AtMic:
    """Bring the songs of a split to the microphones, and list them in at_mic_music.<split>.json.

    Reads scenes.<split>.json, musdb18.<split>.json and head_loudspeaker_positions.json in `root/metadata`, the songs in
    `root/audio/music` and the heads in `root/audio/hrtf`. What is there already, made from the same, is kept. The list
    is written at the end and holds what is there: after a failure it is shorter than the official one.

    Args:
        root: an evaluation set in the making, in the official layout.
        split: e.g. "train".
        output: where `audio/at_mic_music` and `metadata/` are written; by default `root`.
        workers: number of processes.
        overwrite: whether a list that says something else is replaced.
        resample: whether songs of another sample rate than 44.1 kHz are resampled, and not refused.
        begin: called with the number of pieces, gives a context manager that yields what `make_pieces` calls.

    Raises:
        DataError: metadata missing or malformed.
        UsageError: the list is there and says something else.
        StorageError: a file cannot be written.
        SubmissionError: another process holds the folder.
    """
    samples, in_headphones = samples_of(root, split)
    path = positions_file(root)
    if path is None:
        raise DataError(
            f"missing metadata file {root / 'metadata' / POSITION_FILES[0]}: harness set scenes writes "
            "the challenge's own, harness set head those of a head"
        )
    positions = read_positions(path)
    for sample in samples:
        if sample.position not in positions:
            raise DataError(f"{path}: no position {sample.position!r}, which a scene with {sample.track!r} needs")
    if not (root / "audio" / "music").is_dir():
        raise DataError(
            f"no folder {root / 'audio' / 'music'}: the songs go there, {samples[0].source}/mixture.wav first "
            "(a link to the folder of MUSDB18-HQ will do)"
        )
    target = output or root
    listed = target / "metadata" / f"at_mic_music.{split}.json"
    with locked_folder(target):
        remove_leftovers(listed.parent)
        if not overwrite:
            ensure_replaceable(listed, {sample.name: sample.record for sample in samples}, extending=True)
        pieces, failed = _pieces(root, samples, positions, resample)
        with begin(len(pieces)) as advance:
            done = {made.piece.name: made for made in make_pieces(target, split, pieces, workers, advance)}
        made = tuple((failed | done)[sample.name] for sample in samples)
        result = AtMic(made, listed, in_headphones)
        there = {each.piece.name for each in made if each.problem is None}
        write_metadata(listed, {sample.name: sample.record for sample in samples if sample.name in there})
        write_provenance(target, split, "set at-mic", _provenance(root, split, path, pieces, resample, result))
    return result


def _pieces(
    root: Path, samples: list[Sample], positions: Mapping[str, Position], resample: bool
) -> tuple[list[Piece], dict[str, Made]]:
    """What is to be made, and what cannot be for want of a head, by name."""
    pieces, failed = [], {}
    for sample in samples:
        signals = {name: Source(_file(sample.source, name), resample=resample) for name in ("mixture", *STEMS)}
        piece = Piece(sample.name, sample.folder, signals)
        try:
            speakers = speaker_files(root / "audio" / "hrtf", positions[sample.position])
        except DataError as error:
            failed[sample.name] = Made(piece, {}, {}, (), kept=False, problem=f"{sample.position}: {error}")
        else:
            pieces.append(Piece(sample.name, sample.folder, signals, speakers))
    return pieces, failed


def _file(folder: Path, name: str) -> Path:
    """A song's file: WAV as in MUSDB18-HQ, or FLAC where only that is there."""
    wav, flac = folder / f"{name}.wav", folder / f"{name}.flac"
    return flac if flac.is_file() and not wav.exists() else wav


def _provenance(
    root: Path, split: str, positions: Path, pieces: list[Piece], resample: bool, result: AtMic
) -> dict[str, Any]:
    metadata = (root / "metadata" / f"scenes.{split}.json", root / "metadata" / f"musdb18.{split}.json", positions)
    heads = sorted({path for piece in pieces for path in piece.speakers or ()})
    return {
        "recipe": RECIPE,
        "resample": resample,
        "metadata": {path.name: sha256_of(path) for path in metadata},
        "heads": {path.name: sha256_of(path) for path in heads},
        "pieces": len(result.made),
        "failed": {name: problem for problem, names in result.problems.items() for name in names},
        "silent": result.silent,
        "clipped": result.clipped,
        "decisions": list(DECISIONS),
    }
