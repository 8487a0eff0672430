"""The embedded evaluation set: real music, built once into the user's cache folder in the official layout.

Music: the excerpt that the package `stempeg` ships ("Falcon 69" by The Easton Ellises, from MUSDB18's test set,
CC BY-NC-SA 3.0), mixture and four stems, decoded with PyAV. Its first and last 0.14 s hold clicks and are cut.
Two scenes at the ear microphones of a listener before two loudspeakers (`harness.music.heads`), one in headphone form.

Listeners: standard audiograms of Bisgaard, Vlaming & Dahlquist, "Standard audiograms for the IEC 60118-15
measurement procedure", Trends in Amplification 14(2), 2010 (table 2): N groups are flat to moderately sloping, S groups
steeply sloping. Those end at 6 kHz; here their last value also stands at 8 kHz (NAL-R and HAAQI use 250 Hz to 6 kHz).
"""

import io
import json
import shutil
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL, STEMS
from harness.enhancement import Signal
from harness.errors import DataError, StorageError
from harness.files import cache_folder, locked_folder, sha256_of
from harness.music.evaluationset import EvaluationSet
from harness.music.heads import at_microphones, impulse_responses
from harness.music.layout import load

NAME = "demo"
SPLIT = "demo"
REVISION = 1
"""Part of the folder's name: raise it whenever anything below changes."""

EXCERPT = "The Easton Ellises - Falcon 69.stem.mp4"
EXCERPT_SHA256 = "874a2552f4d6e2421789e9816f0db58337e97e20539579e34a6100029e3cde5d"
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Order of the streams in a Native Instruments stem file, as MUSDB18 uses it."""
TRACK = "The Easton Ellises - Falcon 69"
ATTRIBUTION = (
    "Music: “Falcon 69” by The Easton Ellises, an excerpt with stems from MUSDB18's test set, as the package stempeg "
    "ships it, remixed. Licence: CC BY-NC-SA 3.0; what is made of it may be passed on under the same licence, not sold."
)
"""What has to stand wherever the excerpt is heard."""
CLICK_SECONDS = 0.14
SCENE_SECONDS = 4.0
"""Scenes are cut to four seconds, so that a first result takes minutes: HAAQI needs a second of computing for each
second of one ear."""

FREQUENCIES = [250, 500, 1000, 2000, 3000, 4000, 6000, 8000]
AUDIOGRAMS = {
    "normal": [0, 0, 0, 0, 0, 0, 0, 0],
    "N2": [20, 20, 25, 35, 40, 45, 50, 50],
    "N3": [35, 35, 40, 50, 55, 60, 65, 65],
    "N5": [65, 70, 75, 80, 80, 80, 80, 80],
    "S2": [20, 20, 25, 55, 75, 95, 95, 95],
}
"""Hearing levels in dB HL at `FREQUENCIES` (Bisgaard et al. 2010, table 2)."""

LISTENERS = {
    "L0001": ("normal", "normal"),
    "L0002": ("N2", "N2"),  # mild
    "L0003": ("N3", "N3"),  # moderate
    "L0004": ("N5", "N5"),  # severe
    "L0005": ("S2", "N3"),  # asymmetric, steep in the left ear
}
"""Audiogram of the left and of the right ear."""

POSITIONS: dict[str, dict[str, Any]] = {
    "hlp_0001": {"subject": "sphere", "left_angle": -30.0, "right_angle": 30.0, "mic": "model"},
    "hlp_0002": {"subject": "sphere", "left_angle": -22.5, "right_angle": 37.5, "mic": "model"},
}
"""Angles of the two loudspeakers in degrees, in the form of the official head_positions.json."""

GAINS = {
    "gain_0001": {"vocals": 6, "drums": 0, "bass": 0, "other": -6},
    "gain_0002": {"vocals": 0, "drums": -10, "bass": 6, "other": 0},
    "gain_0003": {"vocals": 10, "drums": 0, "bass": -3, "other": 0},
}

SCENES: dict[str, dict[str, Any]] = {
    "scene_00001": {"start": 0.0, "gain": "gain_0001", "position": "hlp_0001"},
    "scene_00002": {"start": 1.6, "gain": "gain_0002", "position": "hlp_0002"},
    "scene_00003": {"start": 0.8, "gain": "gain_0003", "position": None},
}
"""Start in seconds after the click. A scene without position is in headphone form."""

SCENE_LISTENERS = {
    "scene_00001": ["L0001", "L0003", "L0005"],
    "scene_00002": ["L0002", "L0004", "L0005"],
    "scene_00003": ["L0002", "L0003"],
}


def demo() -> EvaluationSet:
    """The embedded evaluation set; built if it does not exist yet, rebuilt if a file is missing or damaged.

    Raises:
        DataError: the excerpt is missing or not the known one, or cannot be decoded.
        StorageError: the cache folder cannot be written.
    """
    root = cache_folder() / f"demo-{REVISION}"
    if not _intact(root):
        with locked_folder(root.parent, wait=True, instead="set HARNESS_CACHE to another one"):
            if not _intact(root):  # somebody else may have built it meanwhile
                _build(root)
    return load(root, SPLIT, NAME)


def _intact(root: Path) -> bool:
    """Whether exactly the files that were built are present, with the content they had then."""
    try:
        lines = (root / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
        return lines == _sums(root)
    except (OSError, ValueError):
        return False


def _sums(root: Path) -> list[str]:
    """A line with hash and path for every file under `root` but the list itself, as sha256sum writes it."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return [f"{sha256_of(path)}  {path.relative_to(root).as_posix()}" for path in files]


def _build(root: Path) -> None:
    try:
        # What a killed process left; we hold the folder, so nobody is building there now.
        for leftover in root.parent.glob(".demo-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with ExitStack() as stack:
            partial = Path(tempfile.mkdtemp(prefix=".demo-", dir=root.parent))
            stack.callback(shutil.rmtree, partial, ignore_errors=True)
            _write_metadata(partial)
            _write_audio(partial, _decode(_excerpt()))
            (partial / "SHA256SUMS").write_text("\n".join(_sums(partial)), encoding="utf-8")
            shutil.rmtree(root, ignore_errors=True)
            partial.rename(root)
    except OSError as error:
        raise StorageError(
            f"cannot build the embedded evaluation set in {root.parent}: {error.strerror or error}; "
            "make room there, or set HARNESS_CACHE to a folder that can be written"
        ) from error


def _excerpt() -> Path:
    """The excerpt inside the installed `stempeg`, found without importing it (that wants an ffmpeg program)."""
    spec = find_spec("stempeg")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / "data" / EXCERPT if folders else None
    if path is None or not path.is_file():
        raise DataError("the music excerpt of the package stempeg is missing: pip install stempeg==0.2.6")
    if sha256_of(path) != EXCERPT_SHA256:
        raise DataError(f"{path} is not the known excerpt: pip install --force-reinstall --no-deps stempeg==0.2.6")
    return path


def _decode(path: Path) -> dict[str, Signal]:
    """Decode mixture and stems: (samples, 2) each, float64, without the clicks at both ends."""
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.audio
            pieces: dict[int, list[NDArray[Any]]] = {stream.index: [] for stream in streams}
            for packet in container.demux(streams):
                pieces[packet.stream.index] += [frame.to_ndarray() for frame in packet.decode()]
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path} cannot be decoded ({error}): pip install --force-reinstall av") from None
    click = round(CLICK_SECONDS * PROTOCOL.sample_rate)
    # The decoder gives float32 planes, one per channel, which may peak slightly above full scale.
    signals = [np.concatenate(parts, axis=1).T[click:-click].astype(float) for parts in pieces.values()]
    return dict(zip(STREAMS, signals, strict=True))


def _write_metadata(root: Path) -> None:
    def write(name: str, content: object) -> None:
        path = root / "metadata" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=4), encoding="utf-8")

    write("gains.json", GAINS)
    write("head_positions.json", POSITIONS)
    write(
        f"listeners.{SPLIT}.json",
        {
            name: {
                "name": name,
                "audiogram_cfs": FREQUENCIES,
                "audiogram_levels_l": AUDIOGRAMS[left],
                "audiogram_levels_r": AUDIOGRAMS[right],
            }
            for name, (left, right) in LISTENERS.items()
        },
    )
    write(f"scene_listeners.{SPLIT}.json", SCENE_LISTENERS)
    scenes: dict[str, dict[str, str]] = {}
    at_mic: dict[str, dict[str, str]] = {}
    tracks = []
    for scene_id, scene in SCENES.items():
        track = _track(scene)
        scenes[scene_id] = {"music": track, "gain": scene["gain"]}
        tracks.append({"Track Name": track, "Split": SPLIT, "Path": f"{SPLIT}/{track}"})
        if scene["position"]:
            scenes[scene_id]["head_loudspeaker_positions"] = scene["position"]
            song = f"{track}-{scene['position']}"
            at_mic[song] = {"Track Name": song, "Split": SPLIT, "Path": f"{SPLIT}/{song}"}
    write(f"scenes.{SPLIT}.json", scenes)
    write(f"at_mic_music.{SPLIT}.json", at_mic)
    write(f"musdb18.{SPLIT}.json", tracks)


def _track(scene: dict[str, Any]) -> str:
    return f"{TRACK} ({scene['start']:g} s)"


def _write_audio(root: Path, music: dict[str, Signal]) -> None:
    import soundfile

    def write(path: Path, signal: Signal) -> Signal:
        # Truncated to 16 bit, as the official generator writes its files.
        samples = np.clip(signal * 32768.0, -32768.0, 32767.0).astype(np.int16)
        path.parent.mkdir(parents=True, exist_ok=True)
        # By way of memory: of a full disk soundfile says little, and not always.
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, PROTOCOL.sample_rate, format="WAV", subtype="PCM_16")
        path.write_bytes(buffer.getvalue())
        return np.asarray(samples / 32768.0)

    audio = root / "audio"
    for scene in SCENES.values():
        first = round(scene["start"] * PROTOCOL.sample_rate)
        last = first + round(SCENE_SECONDS * PROTOCOL.sample_rate)
        track = _track(scene)
        position = POSITIONS.get(scene["position"])
        if position is None:
            for name in ("mixture", *STEMS):
                write(audio / "musdb18hq" / SPLIT / track / f"{name}.wav", music[name][first:last])
            continue
        speakers = [
            write(
                audio / "hrtf" / f"{position['mic']}-{position['subject']}-{sign}{abs(angle)}.wav",
                # Half scale, since towards the ear the response rises above one; loudness is restored below.
                0.5 * impulse_responses(angle),
            )
            for sign, angle in (("n", float(position["left_angle"])), ("p", float(position["right_angle"])))
        ]
        for name in ("mixture", *STEMS):
            excerpt = music[name][first:last]
            folder = audio / "at_mic_music" / SPLIT / f"{track}-{scene['position']}"
            write(folder / f"{name}.wav", at_microphones(excerpt, *speakers))
