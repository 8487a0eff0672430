"""The music of the embedded evaluation sets: the real excerpt with stems that the package `stempeg` ships.

"Falcon 69" by The Easton Ellises, from MUSDB18's test set, CC BY-NC-SA 3.0: mixture and four stems, decoded with PyAV.
Its first and last 0.14 s hold clicks and are cut.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.challenge import PROTOCOL
from harness.enhancement import Signal
from harness.errors import DataError
from harness.files import sha256_of

EXCERPT = "The Easton Ellises - Falcon 69.stem.mp4"
EXCERPT_SHA256 = "874a2552f4d6e2421789e9816f0db58337e97e20539579e34a6100029e3cde5d"
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
"""Order of the streams in a Native Instruments stem file, as MUSDB18 uses it."""
TRACK = "The Easton Ellises - Falcon 69"
ABOUT = {"Genre": "Pop/Rock", "Source": "C't Remix Comp.", "License": "CC BY-NC-SA 3.0"}
"""What MUSDB18's list of tracks (sigsep's tracklist.csv) says of it."""
ATTRIBUTION = (
    "Music: “Falcon 69” by The Easton Ellises, an excerpt with stems from MUSDB18's test set, as the package stempeg "
    "ships it, remixed. Licence: CC BY-NC-SA 3.0; what is made of it may be passed on under the same licence, not sold."
)
"""What has to stand wherever the excerpt is heard."""
CLICK_SECONDS = 0.14


def read_excerpt() -> dict[str, Signal]:
    """Mixture and stems of the excerpt: (samples, 2) each, float64, 44.1 kHz, 5.8 s, without the clicks at both ends.

    A sample may lie slightly beyond full scale.

    Raises:
        DataError: the excerpt is missing or not the known one, or cannot be decoded.
    """
    return _decode(_excerpt())


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
