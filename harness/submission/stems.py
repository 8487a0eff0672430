"""The first Cadenza challenge's submissions: eight mono stems with their scale factors, and a remix to listen to.

```
<submission>/<listener>/<song>/<listener>_<song>_{left,right}_{vocals,drums,bass,other}.flac   mono, 24 kHz, 16 bit
<submission>/<listener>/<song>/<listener>_<song>_{left,right}_{vocals,drums,bass,other}.txt    the factor, as text
<submission>/<listener>/<song>/<listener>_<song>_remix.flac                                    stereo, 32 kHz, 16 bit
```
Follows `recipes/cad1/task1/baseline/enhance.py` and `evaluate.py` of pyclarity at the tag v0.3.4.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.challenge import CAD1, EARS
from harness.enhancement import LOUDEST, Signal, amplify_ear, to_16_bit, to_remix_format
from harness.errors import SubmissionError, SystemFailure
from harness.files import read_bounded
from harness.hearing import Listener
from harness.music.evaluationset import Pair, Scene
from harness.submission.flac import Flac, encode, max_bytes, read_flac
from harness.submission.forms import Form, Submitted, content_sha256

MAX_SCALE_BYTES = 64
"""Of a scale factor as text: a number has 24 characters at most."""

_NUMBER = re.compile(rb"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def processed(stems: Mapping[str, Signal], listener: Listener) -> Iterator[tuple[str, Signal]]:
    """Four stereo stems as eight mono ones, each amplified by NAL-R for its ear.

    They come one at a time: those of a whole song together would take ten times the song's own memory.

    Args:
        stems: by name, each (samples, 2) at 44.1 kHz.
        listener: the audiograms of both ears.

    Yields:
        The names in `CAD1.signals`, in their order, each with (samples + 220,) at 44.1 kHz.
    """
    for stem in CAD1.score_order:
        for channel, ear in enumerate(EARS):
            yield f"{ear}_{stem}", amplify_ear(stems[stem][:, channel], getattr(listener, ear))


def to_stem_format(signal: Signal) -> tuple[NDArray[np.int16], str]:
    """Bring an amplified stem into the form of a submission: 24 kHz, divided by its peak, 16 bit.

    Args:
        signal: (samples,) at 44.1 kHz, finite.

    Returns:
        The stem as int16, truncated towards zero, and the peak as text. A silent stem, which the official program
        divides by zero, stays silent, with the factor 1.0: zeros either way.

    Raises:
        SystemFailure: the signal is so loud (over `enhancement.LOUDEST`) that it cannot be resampled.
    """
    import soxr

    peak = np.abs(signal).max(initial=0.0)
    if peak > LOUDEST:
        raise SystemFailure(f"its stem is {peak:.3g} times as loud as full scale: nothing of it would be left")
    resampled = soxr.resample(signal, CAD1.sample_rate, CAD1.stem_sample_rate, quality="HQ")
    scale = float(np.abs(resampled).max(initial=0.0)) or 1.0
    return to_16_bit(resampled / scale), f"{scale}"


def stem_files(stems: Mapping[str, Signal], pair: Pair) -> dict[str, tuple[bytes, int | None]]:
    """The files of a pair: contents, and how many samples were clipped where that can be.

    Args:
        stems: what a system made of the whole song, each (samples, 2) at 44.1 kHz.
        pair: song and listener; of a song with a segment only that is written.

    Raises:
        SystemFailure: the stems are not finite, too loud, or all silent.
    """
    song, listener = pair.id
    files: dict[str, tuple[bytes, int | None]] = {}
    sides: dict[str, Signal] = {}
    for name, whole in processed(stems, pair.listener):
        signal = whole[pair.scene.scored]
        if not np.isfinite(signal).all():
            raise SystemFailure("a stem is not finite: what it returned is far too large")
        samples, scale = to_stem_format(signal)
        files[CAD1.stem_name(song, listener, name)] = encode(samples, CAD1.stem_sample_rate), None
        files[CAD1.scale_name(song, listener, name)] = scale.encode("ascii"), None
        # The sum of a side begins with zeros, as the recipe's: -0.0 becomes 0.0.
        side = sides.setdefault(name.partition("_")[0], np.zeros(len(signal)))
        side += signal
    remix, clipped = to_remix_format(np.stack([sides[ear] for ear in EARS], axis=1), soft_clip=True)
    if not remix.any():
        raise SystemFailure("its remix is silent: every sample is zero in 16 bit")
    files[pair.remix_name] = encode(remix, CAD1.remix_sample_rate), clipped
    return files


def read_scale(path: Path) -> tuple[float, str]:
    """Read and check a scale factor: the number, and the SHA-256 of its file.

    Raises:
        FileNotFoundError: there is none.
        SubmissionError: a link, too large, or not one finite positive number.
    """
    content = read_bounded(path, MAX_SCALE_BYTES)
    number = float(content) if _NUMBER.fullmatch(content) else math.nan
    if not 0 < number <= LOUDEST:
        shown = content[:30].decode("ascii", "replace")
        silent = ", 1.0 for a silent stem" if number == 0 else ""
        raise SubmissionError(f"{path.name}: holds {shown!r}, expected one positive number, such as 0.75{silent}")
    return number, hashlib.sha256(content).hexdigest()


class StemsForm(Form):
    """Eight stems, their scale factors and a remix for each song and listener."""

    @property
    def unit(self) -> str:
        """See `Form.unit`."""
        return "sets of stems"

    def check(self, folder: Path, name: str, scene: Scene) -> str:
        """See `Form.check`."""
        if name.endswith(".txt"):
            return read_scale(folder / name)[1]
        return self._flac(folder, name, scene).sha256

    def _flac(self, folder: Path, name: str, scene: Scene, known: bool = False) -> Flac:
        path, frames = folder / name, scene.scored_frames
        if name.endswith("_remix.flac"):
            return read_flac(path, CAD1.remix_sample_rate, 2, CAD1.remix_frames(frames), known=known)
        # A system may well find no vocals.
        return read_flac(path, CAD1.stem_sample_rate, 1, CAD1.stem_frames(frames), may_be_silent=True, known=known)

    def read(self, folder: Path, pair: Pair, known: bool = False) -> Submitted:
        """See `Form.read`."""
        hashes, signals = {}, {}
        for signal in CAD1.signals:
            stem_name, scale_name = CAD1.stem_name(*pair.id, signal), CAD1.scale_name(*pair.id, signal)
            stem = self._flac(folder, stem_name, pair.scene, known)
            scale, hashes[scale_name] = read_scale(folder / scale_name)
            hashes[stem_name] = stem.sha256
            # In single precision, as the recipe reads and scales them.
            signals[signal] = stem.signal[:, 0] * np.float32(scale)
        hashes[pair.remix_name] = self._flac(folder, pair.remix_name, pair.scene, known).sha256
        return Submitted(signals, content_sha256(pair, hashes))

    def max_bytes(self, name: str, frames: int) -> int:
        """See `Form.max_bytes`."""
        if name.endswith(".txt"):
            return MAX_SCALE_BYTES
        if name.endswith("_remix.flac"):
            return max_bytes(CAD1.remix_frames(frames)[-1], 2)
        return max_bytes(CAD1.stem_frames(frames)[-1], 1)

    def max_clipped(self, name: str, frames: int) -> int:
        """See `Form.max_clipped`."""
        return 2 * CAD1.remix_frames(frames)[-1] if name.endswith("_remix.flac") else CAD1.stem_frames(frames)[-1]

    @property
    def why_no_folder(self) -> str:
        """See `Form.why_no_folder`."""
        return "is a folder of no listener and song of the evaluation set: remove it"

    def why_stray(self, name: str) -> str | None:
        """See `Form.why_stray`."""
        if PurePosixPath(name).suffix in (".flac", ".txt"):
            return "is not named after a pair: <listener>/<song>/<listener>_<song>_left_vocals.flac, .txt and so on"
        return None
