"""Reading an evaluation set in the official on-disk layout.

```
<root>/metadata/gains.json, listeners.<split>.json, scenes.<split>.json, scene_listeners.<split>.json
<root>/metadata/at_mic_music.<split>.json   for scenes with head_loudspeaker_positions
<root>/metadata/musdb18.<split>.json        for scenes without (headphone form)
<root>/audio/at_mic_music/<Path>/{mixture,vocals,drums,bass,other}.wav
<root>/audio/musdb18hq/<Path>/{mixture,vocals,drums,bass,other}.wav
```
Both forms of scenes may stand in one split. Music is 44.1 kHz stereo WAV. Metadata may come from strangers: every
file is checked against what is expected, and paths may not lead out of the audio folders.
"""

import hashlib
import io
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile

from harness.challenge import CAD1, PROTOCOL, STEMS, Gains, Protocol
from harness.enhancement import MIN_SECONDS, Signal, check_signal
from harness.errors import DataError, SubmissionError, UsageError
from harness.files import canonical_sha256, read_bounded, sha256_of_all
from harness.hearing import Listener

MAX_MUSIC_SECONDS = 1800.0
"""Far above any song: half an hour. Bounds the memory that one piece of music can take."""

MAX_SAMPLE = 1000.0
"""Full scale is 1; what is a thousand times louder is no music, and sooner or later overflows."""

MAX_SAMPLE_BYTES = 8
"""Of one sample of one channel in a WAV file: float64."""

MAX_OTHER_BYTES = 16 * 2**20
"""What a WAV file may hold beside its samples: tags, pictures."""


@dataclass(frozen=True)
class Scene:
    """One scene: a piece of music with target gains, for some listeners.

    Attributes:
        id: e.g. "scene_10001".
        song: name of the music as the official results call it ("<track>-<position>" at the microphone).
        track: name of the track.
        gains: target gain of each stem in dB.
        listeners: the listeners for whom it is to be remixed, in the official order.
        folder: where mixture.wav and the four stems lie.
        position: name of the head's and loudspeakers' position, e.g. "hlp_0056"; None in headphone form.
        angles: where the left and the right loudspeaker stand, in degrees from straight ahead, positive to the right;
            None where the set does not say.
        protocol: by which it is enhanced and scored. Where that has no scenes, a song stands for one, and its gains
            are all zero.
        segment: the first sample at 44.1 kHz that is scored, and the one after the last; None for all of them. Systems
            are given the whole music in any case.
    """

    id: str
    song: str
    track: str
    gains: Gains = field(hash=False)
    listeners: tuple[Listener, ...]
    folder: Path
    position: str | None = None
    angles: tuple[float, float] | None = None
    protocol: Protocol = PROTOCOL
    segment: tuple[int, int] | None = None

    def read(self, name: str, hashes: Mapping[Path, str] | None = None) -> Signal:
        """Read "mixture" or one stem: (samples, 2), float64, full scale +-1, 44.1 kHz.

        Args:
            name: "mixture" or a stem.
            hashes: what the file must contain (`EvaluationSet.hashes`), so that what is read is what the evaluation
                set's identity stands for, also hours after that was computed. None: whatever it contains.

        Raises:
            DataError: missing, changed, not 44.1 kHz stereo WAV, too short, long or loud, or not finite.
        """
        path = self.folder / f"{name}.wav"
        limit = max_bytes(frames(path))
        try:
            content = read_bounded(path, limit, follow=True)
            if hashes is not None and hashlib.sha256(content).hexdigest() != hashes[path]:
                raise DataError(f"{path} was changed while we worked: restore it, and run the same command again")
            signal, _ = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
            check_signal(signal, str(path))
            loudest = float(np.abs(signal).max())
            if loudest > MAX_SAMPLE:
                raise ValueError(
                    f"{path} peaks at {loudest:.3g} times full scale, at most {MAX_SAMPLE:g} is music: "
                    "scale it, or convert it anew"
                )
        except SubmissionError as error:
            raise DataError(f"{self.id}: {self.folder}/{error}") from None
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            raise DataError(f"{self.id}: {error}") from None
        return np.asarray(signal)

    def read_stems(self, hashes: Mapping[Path, str] | None = None) -> dict[str, Signal]:
        """Read the four true stems, as `read` does; all must be as long as the mixture.

        Args:
            hashes: SHA-256 that the files must have, by path; by default nothing is checked.
        """
        stems = {name: self.read(name, hashes) for name in STEMS}
        expected = self.frames
        for name, stem in stems.items():
            if len(stem) != expected:
                raise DataError(
                    f"{self.folder / name}.wav has {len(stem)} samples, its mixture has {expected}: "
                    "fetch or regenerate this music"
                )
        return stems

    @property
    def has_mixture(self) -> bool:
        """Whether the mixture is there, or ought to be.

        Where true stems are scored, a set without mixtures is enough to score what others have made.
        """
        return self.protocol != CAD1 or (self.folder / "mixture.wav").exists()

    @property
    def frames(self) -> int:
        """Length of the mixture in samples at 44.1 kHz, from the file's header; without one, that of a true stem."""
        return frames(self.folder / ("mixture.wav" if self.has_mixture else f"{STEMS[0]}.wav"))

    @property
    def scored(self) -> slice:
        """The samples at 44.1 kHz that are scored: those of the segment, or all."""
        return slice(None) if self.segment is None else slice(*self.segment)

    @property
    def scored_frames(self) -> int:
        """How many samples at 44.1 kHz are scored: those of the segment, or all."""
        return self.frames if self.segment is None else self.segment[1] - self.segment[0]


PairId = tuple[str, str]
"""A scene-listener pair by the identifiers of its scene and its listener."""


@dataclass(frozen=True)
class Pair:
    """A scene for one of its listeners: what one remix is made for."""

    scene: Scene
    listener: Listener

    @property
    def id(self) -> PairId:
        """Identifiers of scene and listener."""
        return self.scene.id, self.listener.id

    @property
    def remix_name(self) -> str:
        """File of its remix in a submission, which is the only one under the ICASSP 2024 protocol."""
        return self.scene.protocol.remix_name(*self.id)

    @property
    def files(self) -> tuple[str, ...]:
        """Its files in a submission, as paths with "/" between folders."""
        return self.scene.protocol.files(*self.id)


@dataclass(frozen=True)
class EvaluationSet:
    """An evaluation set: its scenes, in the official order.

    Attributes:
        name: how it is shown, e.g. "demo".
        split: e.g. "valid".
        scenes: the selected scenes; all of them at first.
        whole: all scenes of the set, whatever is selected.
    """

    name: str
    split: str
    scenes: tuple[Scene, ...]
    whole: tuple[Scene, ...]

    @property
    def protocol(self) -> Protocol:
        """By which it is enhanced and scored."""
        return self.whole[0].protocol

    @property
    def pairs(self) -> list[Pair]:
        """The selected scene-listener pairs, in the official order."""
        return [Pair(scene, listener) for scene in self.scenes for listener in scene.listeners]

    @property
    def all_pairs(self) -> list[Pair]:
        """All pairs of the set, whatever is selected."""
        return [Pair(scene, listener) for scene in self.whole for listener in scene.listeners]

    def select(self, ids: Sequence[str] | None = None, limit: int | None = None) -> "EvaluationSet":
        """The same set with only some scenes selected: those named, then the first `limit` of them.

        Args:
            ids: names of scenes; by default all.
            limit: how many of them; by default all.

        Raises:
            UsageError: a scene that is not in the set, or nothing is left.
        """
        scenes = self.scenes
        if ids is not None:
            unknown = sorted(set(ids) - {scene.id for scene in scenes})
            if unknown:
                some = ", ".join(scene.id for scene in scenes[:3])
                raise UsageError(f"no scene {', '.join(unknown)} in {self.name} (it has {some}, ...)")
            scenes = tuple(scene for scene in scenes if scene.id in ids)
        if limit is not None:
            scenes = scenes[:limit]
        if not scenes:
            raise UsageError("no scene is selected: see --scenes and --limit")
        return EvaluationSet(self.name, self.split, scenes, self.whole)

    @cached_property
    def mixtures_sha256(self) -> str:
        """Identity of what systems are given: metadata and mixtures, independent of where they lie."""
        return self._sha256(["mixture"])

    def hashes(self, names: Sequence[str]) -> dict[Path, str]:
        """SHA-256 of audio files of all scenes, by path; of mixtures those that there are.

        Args:
            names: of the files: "mixture", or a stem.
        """
        paths = sorted(
            {
                scene.folder / f"{name}.wav"
                for scene in self.whole
                for name in names
                if name != "mixture" or scene.has_mixture
            }
        )
        longest = max_bytes(int(MAX_MUSIC_SECONDS * PROTOCOL.sample_rate))
        for path in paths:
            _check_size(path, longest)
        return sha256_of_all(paths)

    @cached_property
    def sha256(self) -> str:
        """Identity of what scores depend on: metadata, mixtures and true stems."""
        return self._sha256(["mixture", *STEMS])

    def _sha256(self, names: Sequence[str]) -> str:
        hashes = self.hashes(names)
        return canonical_sha256(
            {
                "split": self.split,
                **_of_protocol(self.protocol),
                "scenes": [
                    {
                        **_of_segment(scene),
                        "scene": scene.id,
                        "song": scene.song,
                        "gains": dict(scene.gains),
                        "listeners": [
                            [who.id, who.left.frequencies, who.left.levels, who.right.levels] for who in scene.listeners
                        ],
                        "audio": _of_files(scene, names, hashes),
                    }
                    for scene in self.whole
                ],
            }
        )

    def references(self) -> dict[PairId, str]:
        """For each pair of the whole set the hash of all that its score depends on beside the remix.

        That is: the scene's name (it seeds the metric's noise), its music's hashes, its gains, and the listener's
        audiograms. Not the listener's name, nor anything of the other scenes: sets that share a scene share its scores.
        """
        hashes = self.hashes(["mixture", *STEMS])
        found = {}
        for scene in self.whole:
            about = {
                **_of_protocol(scene.protocol),
                **_of_segment(scene),
                "scene": scene.id,
                "gains": dict(scene.gains),
                "audio": _of_files(scene, ("mixture", *STEMS), hashes),
            }
            for who in scene.listeners:
                ears = [who.left.frequencies, who.left.levels, who.right.frequencies, who.right.levels]
                found[scene.id, who.id] = canonical_sha256({**about, "audiograms": ears})
        return found

    @property
    def has_mixtures(self) -> bool:
        """Whether every scene has its mixture (see `Scene.has_mixture`)."""
        return all(scene.has_mixture for scene in self.whole)

    def check_music(self, names: Sequence[str], mixtures: bool = True) -> None:
        """Check the header of the selected scenes' files before work starts that may take hours.

        Args:
            names: of the stems that are needed.
            mixtures: whether mixtures are needed, also where a set can be without.

        Raises:
            DataError: a file is missing or not 44.1 kHz stereo WAV, or a stem is not as long as its mixture.
        """
        for folder, scene in {scene.folder: scene for scene in self.scenes}.items():
            needed = ("mixture", *names) if mixtures or scene.has_mixture else tuple(names or STEMS)
            lengths = {name: frames(folder / f"{name}.wav") for name in dict.fromkeys(needed)}
            if len(set(lengths.values())) > 1:
                listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise DataError(
                    f"{folder}: the files differ in length ({listed} samples): fetch or regenerate this music"
                )
        for scene in self.scenes:
            if scene.segment is not None and scene.segment[1] > scene.frames:
                raise DataError(
                    f"{scene.id}: its segment ends at sample {scene.segment[1]}, its music has {scene.frames}: "
                    "correct musdb18.segments, or fetch this music"
                )


def _of_protocol(protocol: Protocol) -> dict[str, str]:
    """What tells an evaluation set from one under the ICASSP 2024 protocol, whose identity names none."""
    return {} if protocol == PROTOCOL else {"protocol": protocol.name}


def _of_files(scene: Scene, names: Sequence[str], hashes: Mapping[Path, str]) -> dict[str, str]:
    """The hashes of a scene's files by their names, without a mixture that is not there."""
    paths = {name: scene.folder / f"{name}.wav" for name in names}
    return {name: hashes[path] for name, path in paths.items() if name != "mixture" or path in hashes}


def _of_segment(scene: Scene) -> dict[str, tuple[int, int]]:
    return {} if scene.segment is None else {"segment": scene.segment}


def _missing_music(path: Path) -> str:
    return f"no music file {path}: fetch or generate the audio of this split, or check --data"


def max_bytes(frames: int) -> int:
    """Size in bytes that no stereo WAV file of so many samples exceeds."""
    return frames * 2 * MAX_SAMPLE_BYTES + MAX_OTHER_BYTES


def _check_size(path: Path, limit: int | None = None) -> None:
    """Check that a music file is there, and not too large to be one.

    Raises:
        DataError: missing, not a regular file, or larger than `limit`.
    """
    try:
        status = path.stat()
    except OSError as error:  # a name that is too long, for one
        raise DataError(_missing_music(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(_missing_music(path))
    if limit is not None and status.st_size > limit:
        raise DataError(
            f"{path} has {status.st_size:,} bytes, at most {limit:,} are expected of its music: fetch it again"
        )


def frames(path: Path) -> int:
    """Number of samples of a 44.1 kHz stereo WAV file, from its header.

    Raises:
        DataError: missing, another rate, format or number of channels, too short or too long, or far larger than its
            samples need.
    """
    _check_size(path)
    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio ({error}): fetch it again") from None
    seconds = header.frames / header.samplerate
    for what, found, expected in (
        ("format", header.format, ("WAV", "WAVEX")),
        ("sample rate", header.samplerate, (PROTOCOL.sample_rate,)),
        ("channels", header.channels, (2,)),
    ):
        if found not in expected:
            raise DataError(f"{path}: {what} is {found}, expected {expected[0]}: convert the file")
    if not MIN_SECONDS <= seconds <= MAX_MUSIC_SECONDS:
        raise DataError(f"{path}: lasts {seconds:.3f} s, expected {MIN_SECONDS} s to {MAX_MUSIC_SECONDS:.0f} s")
    _check_size(path, max_bytes(header.frames))
    return int(header.frames)
